//! tonic's own errors, made whole: the right code, a reason, the field or limit where it is known, and words.
//!
//! tonic tells them apart only by code and text. The texts are those of tonic 0.14 and prost 0.14; the tests go through the real
//! decoder, so that a change of a text fails them.

use std::collections::HashMap;

use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::api::reason::Reason;
use crate::api::status::{ApiError, ERROR_DOMAIN};

/// The status with its details. One that has details came from us and stays as it is. Handlers of client streams put the
/// errors of `message()` through this.
pub fn amend(status: Status) -> Status {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return status;
    }
    match known(&status) {
        Some(error) => error.into(),
        None => {
            let details = ErrorDetails::with_error_info(Reason::Transport.as_str(), ERROR_DOMAIN, HashMap::new());
            Status::with_error_details(status.code(), status.message(), details)
        }
    }
}

/// Amends the status that stands in headers or trailers, if one does, and tells its code.
pub(super) fn amend_headers(headers: &mut HeaderMap) -> Option<Code> {
    let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    if code == Code::Ok || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return Some(code);
    }
    let amended = amend(Status::from_header_map(headers)?);
    headers.remove(Status::GRPC_MESSAGE);
    // A status whose words do not fit a header would stay as tonic wrote it; ours always fit.
    amended.add_header(headers).ok()?;
    Some(amended.code())
}

const TOO_LARGE_IN: &str = "Error, decoded message length too large:";
const TOO_LARGE_OUT: &str = "Error, encoded message length too large:";
const NOT_PROTOBUF: &str = "failed to decode Protobuf message: ";
const BAD_FRAME: &str = "protocol error: received message with ";
const COMPRESSED: &str = "Content is compressed with ";
const CUT_OFF: &str = "Unexpected EOF decoding stream.";
const NO_MESSAGE: &str = "Missing request message.";

fn known(status: &Status) -> Option<ApiError> {
    let text = status.message();
    let malformed = |problem| Some(ApiError::MalformedMessage { field: String::new(), problem });
    match status.code() {
        Code::OutOfRange if text.starts_with(TOO_LARGE_IN) => {
            Some(ApiError::MessageTooLarge { limit_bytes: limit_in(text)? })
        }
        Code::OutOfRange if text.starts_with(TOO_LARGE_OUT) => Some(ApiError::AnswerTooLarge),
        Code::Unimplemented if text.starts_with(COMPRESSED) => Some(ApiError::UnsupportedCompression),
        Code::Unimplemented if text.is_empty() => Some(ApiError::UnknownMethod),
        Code::Cancelled => Some(ApiError::Cancelled),
        Code::Internal | Code::Unknown => match text {
            CUT_OFF => malformed("it ends too early"),
            NO_MESSAGE => malformed("there is none"),
            text if text.starts_with(BAD_FRAME) => malformed("its frame is not that of an uncompressed gRPC message"),
            text => match text.strip_prefix(NOT_PROTOBUF) {
                Some(problem) => Some(not_protobuf(problem)),
                None => Some(ApiError::internal(&std::io::Error::other(text.to_owned()))),
            },
        },
        _ => None,
    }
}

/// The number in "... the limit is: 1048576 bytes".
fn limit_in(text: &str) -> Option<u64> {
    let (_, limit) = text.rsplit_once("the limit is: ")?;
    limit.strip_suffix(" bytes")?.parse().ok()
}

/// prost names the place as "Inner.field: Outer.field: problem", innermost first.
fn not_protobuf(text: &str) -> ApiError {
    let mut parts: Vec<_> = text.split(": ").collect();
    let is_place =
        |part: &&&str| part.split_once('.').is_some_and(|(message, field)| is_name(message) && is_name(field));
    let places = parts.iter().take_while(is_place).count();
    parts.truncate(places);
    let fields = parts.iter().rev().filter_map(|place| place.split_once('.')).map(|(_, field)| field);
    let problem = match text {
        text if text.ends_with("data is not UTF-8 encoded") => "text that is not UTF-8",
        text if text.ends_with("recursion limit reached") => "nested too deeply",
        _ => "the bytes are not protobuf, or of another message",
    };
    ApiError::MalformedMessage { field: fields.collect::<Vec<_>>().join("."), problem }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
