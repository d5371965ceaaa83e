//! The service over gRPC: the only room that names tonic and prost.
//!
//! Messages become domain types at the door in and are made of them at the door out; errors leave by one map. Nothing here
//! decides who may do what, opens a key or touches the store.

mod access_service;
mod admin_service;
mod audit_service;
mod failures;
pub mod from_proto;
mod from_vault;
mod gate;
mod leash;
mod leaving;
pub mod listener;
pub mod manners;
pub mod methods;
mod page_token;
mod presented;
mod privacy_service;
pub mod reason;
mod records_service;
pub mod server;
pub mod service;
pub mod status;
pub mod to_proto;

/// The messages, clients and servers of `oubliette.v1`, as the protobuf compiler wrote them.
#[allow(missing_docs, unused_qualifications, clippy::large_enum_variant)]
pub mod v1 {
    tonic::include_proto!("oubliette.v1");
}

/// The API's protobuf descriptors, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/oubliette.bin"));
