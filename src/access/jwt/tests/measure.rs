//! How long one token takes. `cargo test --release -- --ignored --nocapture how_long`.

use std::hint::black_box;
use std::time::Instant;

use super::forge::Signer;
use super::{good_claims, identify, mapping, open, set_of};

const RUNS: u32 = 2_000;

#[test]
#[ignore = "a measurement, not a check; run it optimised"]
fn how_long_a_token_takes() {
    for signer in Signer::all() {
        let set = set_of(&[signer.jwk()]);
        let token = signer.token(&good_claims());
        let timed = |run: &dyn Fn()| {
            run();
            let start = Instant::now();
            (0..RUNS).for_each(|_| run());
            start.elapsed().as_nanos() as f64 / f64::from(RUNS) / 1000.0
        };
        let signature = timed(&|| drop(black_box(open(&set, &token))));
        let all = timed(&|| drop(black_box(identify(&set, &token, &mapping()))));
        println!("{:6} {signature:8.1} us to open, {all:8.1} us to the identity", signer.algorithm.name());
    }
}
