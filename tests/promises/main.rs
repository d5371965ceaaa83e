//! What Oubliette promises, one module a promise. Each test goes through public doors only, and can fail.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop and say where")]

mod fixture;
mod operator;
