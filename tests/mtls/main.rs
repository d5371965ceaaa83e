//! Clients with certificates, at the listener: who is believed, by which name, and how soon a revocation counts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop and say where")]

mod following;
mod handshake;
mod house;
mod names;
mod slowness;
