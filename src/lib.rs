//! # Oubliette
#![forbid(unsafe_code)]

pub mod access;
pub mod domain;
