//! # Oubliette
//!
//! A vault for the call recordings and chat transcripts of customer support. Every customer's records are sealed under a key of that
//! customer's own; erasing a customer destroys the key, and holds against whoever kept every older copy.
//!
//! Two lives tell what the house does: the life of a record and the life of an erasure, both in [`vault`]. The rooms and who may
//! import whom are in [`manual::architecture`], what stands on the disk in [`manual::formats`], why an erasure holds in
//! [`manual::threats`], how to run it in [`manual::operations`].
//!
//! From below to above:
#![forbid(unsafe_code)]

pub mod domain;

pub mod crypto;

pub mod audit;
pub mod keys;
pub mod masking;
pub mod root_key;

pub mod access;
pub mod store;

pub mod vault;

pub mod config;
pub mod telemetry;
pub mod tls;

pub mod api;
pub mod cli;

pub mod manual;

#[cfg(test)]
#[path = "../tests/promises/outside.rs"]
mod outside;
