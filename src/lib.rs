//! # Oubliette
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod domain;
