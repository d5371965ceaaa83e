use super::*;

fn status(error: ApiError) -> (Code, ErrorDetails) {
    let status = Status::from(error);
    (status.code(), status.get_error_details())
}

#[test]
fn a_bad_field_is_named_with_its_limit() {
    let (code, details) = status(Invalid::new("turns[3].text", Problem::TooLong { limit_bytes: 65_536 }).into());
    assert_eq!(code, Code::InvalidArgument);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("TOO_LONG", "oubliette"));
    assert_eq!(info.metadata["field"], "turns[3].text");
    assert_eq!(info.metadata["limit"], "65536");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "turns[3].text");
}

#[test]
fn what_can_be_repeated_says_when() {
    let (code, details) = status(ApiError::RateLimited { limit_per_second: 10, retry_ms: 250 });
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(250)));
}

#[test]
fn a_fault_tells_the_caller_its_id_and_nothing_else() {
    let error = ApiError::internal(&std::io::Error::other("/data/db"));
    let status = Status::from(error.clone());
    assert!(!format!("{status:?}").contains("/data/db"));
    let ApiError::Internal { fault_id } = error else { panic!("not a fault") };
    assert!(status.message().contains(&fault_id.to_string()));
}
