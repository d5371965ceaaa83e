//! # Oubliette
#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod audit;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod keys;
pub mod root_key;
pub mod store;
pub mod telemetry;
pub mod vault;
