//! Answers that tell something of customers: each takes with it what cuts it off.

use tonic::Response;

use super::manners::Watches;
use crate::vault::Fenced;

/// The answer that tells something of customers. Nothing of it leaves once one of them is being erased.
pub fn leaving<T, M>(read: Fenced<T>, message: impl FnOnce(T) -> M) -> Response<M> {
    let mut response = Response::new(message(read.content));
    response.extensions_mut().insert(Watches::new(read.watches));
    response
}

/// The same for the answer to a write.
pub fn leaving_write<T, M>(stored: Fenced<T>, message: impl FnOnce(T) -> M) -> Response<M> {
    let mut response = Response::new(message(stored.content));
    response.extensions_mut().insert(Watches::of_write(stored.watches));
    response
}
