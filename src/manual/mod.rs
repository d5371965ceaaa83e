//! # The manual
//!
//! - [`architecture`]: the rooms, and three ideas that hold them together.
//! - [`erasure`]: the protocol, why it holds, what each medium forgets, and the runbook of the root key.
//! - [`formats`]: what stands on the disk, byte by byte.
//! - [`rows`]: what each kind of row holds, under which key, and what the rows link after an erasure.
//! - [`threats`]: against whom it holds, why, and what it does not promise.
//! - [`operations`]: running it, and not losing the root key.

pub mod architecture;
pub mod erasure;
pub mod formats;
pub mod operations;
pub mod rows;
pub mod threats;
