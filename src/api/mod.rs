//! The service over gRPC.

pub mod from_proto;
pub mod listener;
pub mod manners;
pub mod methods;
pub mod reason;
pub mod server;
pub mod status;
pub mod to_proto;

/// The messages, clients and servers of `oubliette.v1`, as the protobuf compiler wrote them.
#[allow(missing_docs, unused_qualifications, clippy::large_enum_variant)]
pub mod v1 {
    tonic::include_proto!("oubliette.v1");
}

/// The API's protobuf descriptors, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/oubliette.bin"));
