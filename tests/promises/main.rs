//! What Oubliette promises, one module a promise. Each test goes through public doors only, and can fail.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop and say where")]

mod abused;
mod admin;
mod approvals;
mod audit;
#[path = "../mtls/house/mod.rs"]
mod authorities;
mod bad_input;
mod cases;
mod certificates;
mod chance;
mod closing;
mod demo;
mod elsewhere;
mod erasing;
mod exported_log;
mod fixture;
mod gate;
mod golden;
#[path = "../golden/mod.rs"]
mod golden_files;
mod hsm;
mod idempotency;
mod identifiers;
mod identity;
mod insider;
mod kill;
mod loot;
mod masking;
mod masking_table;
mod memory;
mod memory_scan;
mod mirrors;
mod model;
mod model_rights;
mod old_bytes;
mod operator;
mod oracle;
mod oracle_house;
mod outside;
mod paper;
mod places;
mod policy_matrix;
mod protocol;
mod raw_scan;
mod receipts;
mod repeats;
mod reports;
mod revocation;
mod space;
mod streams;
mod swap;
mod tamper;
mod tree;
mod vectors;
mod wire;

/// Tells the person who runs the tests something, also of a test that passes: `eprintln!` would be held back.
fn tell(line: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{line}").expect("stderr is open while tests run");
}
