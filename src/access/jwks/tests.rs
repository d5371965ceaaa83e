//! Storms, rotations, outages, on a clock that stands still unless all wait. Fetches are counted by the source itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::access::jwt::Issuer;
use crate::access::jwt::keys::{MAX_SET_BYTES, MOST_KEYS};
use crate::access::jwt::tests::forge::{Signer, with};
use crate::access::jwt::tests::{AUDIENCE, ISSUER, good_claims, mapping, now, reason};

const STORM: usize = 10_000;
const PAUSE: Duration = Duration::from_secs(10);

/// A source that counts, and answers what it is told.
#[derive(Clone, Default)]
struct Fake(Arc<Inside>);

#[derive(Default)]
struct Inside {
    fetches: AtomicU32,
    takes: Mutex<Duration>,
    /// `None`: the address cannot be reached.
    answer: Mutex<Option<Bytes>>,
}

impl Source for Fake {
    async fn fetch(&self) -> Result<Bytes, Unfetched> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let takes = *self.0.takes.lock().unwrap();
        sleep(takes).await;
        self.0.answer.lock().unwrap().clone().ok_or(Unfetched::Status(StatusCode::BAD_GATEWAY))
    }
}

impl Fake {
    fn answering(signers: &[&Signer]) -> Self {
        let fake = Self::default();
        fake.answer(signers);
        fake
    }

    fn answer(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        self.answer_bytes(Some(json!({"keys": keys}).to_string()));
    }

    fn answer_bytes(&self, bytes: Option<String>) {
        *self.0.answer.lock().unwrap() = bytes.map(Bytes::from);
    }

    fn take(&self, duration: Duration) {
        *self.0.takes.lock().unwrap() = duration;
    }

    fn fetches(&self) -> u32 {
        self.0.fetches.load(Ordering::SeqCst)
    }

    fn kept(&self) -> Arc<Jwks> {
        Arc::new(Jwks::keep(ISSUER, self.clone(), Rhythm::default()))
    }
}

fn old() -> &'static Signer {
    Signer::of(Algorithm::Es256)
}

fn new() -> &'static Signer {
    Signer::of(Algorithm::EdDsa)
}

/// Why the signer's key is not found; `None` if it is.
async fn missing(keys: &Jwks, signer: &Signer) -> Option<&'static str> {
    reason(keys.find(signer.algorithm, Some(signer.kid)).await)
}

/// As many calls at once as a storm has, each with a name of its own; how they ended.
async fn storm(keys: &Arc<Jwks>) -> Vec<Option<&'static str>> {
    let mut calls = JoinSet::new();
    for number in 0..STORM {
        let keys = Arc::clone(keys);
        calls.spawn(async move { reason(keys.find(Algorithm::Es256, Some(&format!("strange {number}"))).await) });
    }
    calls.join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_strange_names_costs_one_fetch_a_pause() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    assert_eq!(fake.fetches(), 1);
    let start = Instant::now();
    assert!(storm(&keys).await.iter().all(|outcome| *outcome == Some("unknown_key")));
    assert_eq!((fake.fetches(), start.elapsed()), (1, Duration::ZERO), "within the pause all are refused at once");
    advance(PAUSE + Duration::from_millis(5)).await;
    assert!(storm(&keys).await.iter().all(|outcome| *outcome == Some("unknown_key")));
    assert!(storm(&keys).await.iter().all(|outcome| *outcome == Some("unknown_key")));
    assert_eq!(fake.fetches(), 2);
    println!(
        "3 storms of {STORM} strange names over one pause: {} fetches, the first of them at the start",
        fake.fetches()
    );
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_an_hour_fetches_no_more_often_than_the_pauses_allow() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < Duration::from_secs(3600) {
        assert_eq!(reason(keys.find(Algorithm::Es256, Some("strange")).await), Some("unknown_key"));
        assert_eq!(missing(&keys, old()).await, None);
        calls += 1;
        sleep(Duration::from_millis(250)).await;
    }
    println!("{calls} strange names in an hour: {} fetches", fake.fetches());
    assert!((300..=361).contains(&fake.fetches()), "{}", fake.fetches());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_on_many_threads_costs_one_fetch_too() {
    let fake = Fake::answering(&[old()]);
    let rhythm = Rhythm { pause: Duration::from_secs(2), ..Rhythm::default() };
    let keys = Arc::new(Jwks::keep(ISSUER, fake.clone(), rhythm));
    assert_eq!(missing(&keys, old()).await, None);
    sleep(rhythm.pause + Duration::from_millis(50)).await;
    let start = Instant::now();
    assert!(storm(&keys).await.iter().all(|outcome| *outcome == Some("unknown_key")));
    println!("a storm of {STORM} on 4 threads: {} fetch, {:?}", fake.fetches() - 1, start.elapsed());
    // On a machine so slow that the storm outlasts a pause, the next pause may have its fetch too.
    let pauses = start.elapsed().as_nanos() / rhythm.pause.as_nanos();
    assert!((2..=2 + pauses).contains(&u128::from(fake.fetches())), "{} fetches", fake.fetches());
}

#[tokio::test(start_paused = true)]
async fn nobody_who_shows_a_known_key_waits_for_a_fetch() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    advance(PAUSE + Duration::from_millis(5)).await;
    fake.take(Duration::from_secs(3));
    let start = Instant::now();
    let strange = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { reason(keys.find(Algorithm::Es256, Some("strange")).await) }
    });
    while fake.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!((missing(&keys, old()).await, start.elapsed()), (None, Duration::ZERO));
    assert_eq!(strange.await.unwrap(), Some("unknown_key"));
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait_and_the_others_are_refused_at_once() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    advance(PAUSE + Duration::from_millis(5)).await;
    fake.take(Duration::from_secs(3));
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..MOST_WAITING + 50 {
        let keys = Arc::clone(&keys);
        calls.spawn(async move {
            let _ = keys.find(Algorithm::Es256, Some("strange")).await;
            start.elapsed() > Duration::ZERO
        });
    }
    assert_eq!(calls.join_all().await.into_iter().filter(|waited| *waited).count(), MOST_WAITING);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_neither_ends_a_fetch_nor_brings_about_more() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    fake.answer(&[old(), new()]);
    fake.take(Duration::from_secs(2));
    advance(PAUSE + Duration::from_millis(5)).await;
    for _ in 0..1_000 {
        let gave_up = timeout(Duration::from_micros(10), keys.find(Algorithm::Es256, Some("strange"))).await;
        assert!(gave_up.is_err());
    }
    assert_eq!(missing(&keys, new()).await, None, "the fetch of those who gave up serves the next");
    assert_eq!(fake.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_taken_at_once_and_one_that_is_gone_no_more() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    fake.answer(&[old(), new()]);
    assert_eq!(missing(&keys, new()).await, Some("unknown_key"), "within the pause");
    advance(PAUSE + Duration::from_millis(5)).await;
    assert_eq!((missing(&keys, new()).await, missing(&keys, old()).await), (None, None));
    fake.answer(&[new()]);
    assert_eq!(missing(&keys, old()).await, None, "nobody knows yet");
    sleep(Rhythm::default().refresh + Duration::from_secs(1)).await;
    assert_eq!((missing(&keys, new()).await, missing(&keys, old()).await), (None, Some("unknown_key")));
    assert_eq!(fake.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_broken_set_never_replaces_a_good_one() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    let many: Vec<Value> = (0..=MOST_KEYS).map(|kid| with(new().jwk(), json!({"kid": kid.to_string()}))).collect();
    let broken = [
        None,
        Some(String::new()),
        Some("<html>busy</html>".to_owned()),
        Some(r#"{"keys":[]}"#.to_owned()),
        Some(r#"{"error":"busy"}"#.to_owned()),
        Some(format!(r#"{{"keys":[{}"#, new().jwk())),
        Some(format!(r#"{{"keys":[{0}],"keys":[{0}]}}"#, new().jwk())),
        Some(json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "ES256"}]}).to_string()),
        Some(json!({"keys": many}).to_string()),
        Some(format!(r#"{{"keys":[{}],"x":"{}"}}"#, new().jwk(), "y".repeat(MAX_SET_BYTES))),
    ];
    for (number, broken) in broken.into_iter().enumerate() {
        fake.answer_bytes(broken);
        advance(PAUSE + Duration::from_millis(5)).await;
        assert_eq!(missing(&keys, new()).await, Some("unknown_key"));
        assert_eq!(missing(&keys, old()).await, None, "broken set {number}");
        assert_eq!(fake.fetches() as usize, number + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_fetched_anew_end_after_an_hour_and_come_back() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    let start = Instant::now();
    fake.answer_bytes(None);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(missing(&keys, old()).await, None);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(missing(&keys, old()).await, Some("unavailable"));
    let tries = fake.fetches();
    assert!((330..=333).contains(&tries), "{tries} tries: after 300 s one comes by itself each pause");
    fake.answer(&[old()]);
    sleep(PAUSE).await;
    assert_eq!(missing(&keys, old()).await, None);
    println!("{tries} tries in an hour without an answer; back after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_keys_every_call_is_refused_and_no_call_waits_for_ever() {
    let fake = Fake::answering(&[old()]);
    fake.take(Duration::MAX);
    let keys = fake.kept();
    let start = Instant::now();
    assert_eq!(missing(&keys, old()).await, Some("unavailable"));
    assert!(start.elapsed() <= FETCH_TIMEOUT + Duration::from_millis(5), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!((missing(&keys, old()).await, start.elapsed()), (Some("unavailable"), Duration::ZERO));
    fake.take(Duration::ZERO);
    sleep(PAUSE + Duration::from_millis(5)).await;
    assert_eq!(missing(&keys, old()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_known_key_with_another_algorithm_brings_about_no_fetch() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    advance(PAUSE * 2).await;
    assert_eq!(reason(keys.find(Algorithm::Rs256, Some(old().kid)).await), Some("wrong_algorithm"));
    assert_eq!(fake.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_keys() {
    let fake = Fake::answering(&[old()]);
    let keys = fake.kept();
    assert_eq!(missing(&keys, old()).await, None);
    drop(keys);
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&fake.0), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_tells_who_calls() {
    let fake = Fake::answering(&[old()]);
    let issuer = Issuer {
        max_life_ms: 86_400_000,
        name: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec![Algorithm::Es256],
        mapping: mapping(),
        keys: Jwks::keep(ISSUER, fake, Rhythm::default()),
    };
    let identity = issuer.identify(&old().token(&good_claims()), now()).await.ok().unwrap();
    assert_eq!((identity.tenant.as_str(), identity.name.as_str()), ("acme", "ana"));
    let expired = now().plus_ms(361_000);
    assert_eq!(reason(issuer.identify(&old().token(&good_claims()), expired).await), Some("expired"));
    assert_eq!(reason(issuer.identify(&new().token(&good_claims()), now()).await), Some("wrong_algorithm"));
    assert_eq!(reason(issuer.identify("", now()).await), Some("malformed"));
    let strange = Signer::new(Algorithm::Es256, "strange").token(&good_claims());
    assert_eq!(reason(issuer.identify(&strange, now()).await), Some("unknown_key"));
}
