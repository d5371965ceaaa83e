//! # Operations
//!
//! ## Setting up
//!
//! `oubliette init --dir DIR --root-key FILE` makes everything and touches nothing that exists: `DIR/oubliette.toml` (each setting with
//! its meaning, unit, default and range), `DIR/tls/` (a private CA and the server's certificate), `DIR/data/`, `DIR/profile.toml` for
//! clients, the root key, and one admin token of the tenant `system`, shown once.
//!
//! `oubliette serve --config DIR/oubliette.toml` serves until SIGTERM or SIGINT, then drains: health says "not serving", no new calls come in,
//! open ones may end within `limits.shutdown_grace_ms`.
//!
//! ## The root key
//!
//! - FILE should lie on another device than the data. Whoever has both has everything that is not erased.
//! - Every erasure replaces it. **A copy of FILE is worthless after the next erasure, and dangerous before it**: with the copy and an
//!   image of the data, every erasure after the copy is undone. So it does not belong in ordinary backups. Keep it on redundant storage that
//!   you can destroy, or accept that its loss is the loss of all records.
//! - The service refuses to start with a missing or older file, and says which key it needs.
//!
//! ## Tenants and people
//!
//! Admins of `system` create tenants and set quotas; admins of a tenant manage its settings, principals and tokens. Neither reads
//! content. The roles are `ingest`, `agent`, `supervisor`, `privacy_officer`, `auditor` and `admin`. What each may do stands in
//! `src/access/policy/default.cedar`, written to be read by people, with the whole table beside it in `matrix.txt`.
//!
//! ## When something is wrong
//!
//! | words | what to do |
//! |---|---|
//! | closed to writes after a failed write | look at the disk; restart; what was acknowledged is there |
//! | full up to its reserve | erasure, audit and reads go on; free space, or lower `limits.disk_reserve_bytes` for a while |
//! | memory is not locked | set `LimitMEMLOCK=infinity` for the service, or run without swap or with an encrypted one |
//! | the erasure is not final (`ERASURE_NOT_FINAL`) | the log says why, most often the root key's medium; the customer is refused to everybody meanwhile. Repeat the request: it goes on where it stopped. After a restart it goes on by itself |
//! | does not verify | the record was damaged or tampered with; nothing of it was released |
//!
//! ## sled
//!
//! The embedded engine is sled 0.34.7, with what it lacks added in `store/sled_engine.rs`: an fsync after its flush, directories synced,
//! leftover snapshots removed, a replay without snapshots where it cannot open. Its unmaintained dependencies `fxhash`
//! (RUSTSEC-2025-0057) and `instant` (RUSTSEC-2024-0384) are known.
