//! # Oubliette
#![forbid(unsafe_code)]

pub mod crypto;
pub mod domain;
