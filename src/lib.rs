//! # Oubliette
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod crypto;
pub mod domain;
pub mod keys;
pub mod root_key;
