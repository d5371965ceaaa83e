//! The manners of the API, seen by a client: each case runs the real server over a real connection, with a stub behind it.
#![allow(clippy::unwrap_used)]

#[path = "manners/stub.rs"]
mod stub;

use std::time::Duration;

use bytes::Bytes;
use oubliette::api::reason::Reason;
use oubliette::api::v1;
use oubliette::config::Limits;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use stub::{Server, chunk, metadata};

/// Messages with the shape of ours but other contents: bytes where text belongs.
#[derive(Clone, PartialEq, prost::Message)]
struct RawCreate {
    #[prost(message, optional, tag = "2")]
    details: Option<RawDetails>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawDetails {
    #[prost(bytes = "bytes", tag = "1")]
    customer_id: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawNumber {
    #[prost(uint64, tag = "1")]
    record_id: u64,
}

#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: Reason) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason.as_str(), "oubliette"));
    assert!(status.message().len() > 20, "words are missing in {status:?}");
}

async fn raw<M: prost::Message + Default + 'static>(server: &Server, path: &'static str, messages: Vec<M>) -> Status {
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let codec = ProstCodec::<M, v1::Record>::default();
    let request = Request::new(tokio_stream::iter(messages));
    client.client_streaming(request, PathAndQuery::from_static(path), codec).await.err().unwrap()
}

const CREATE: &str = "/oubliette.v1.RecordService/CreateTranscript";
const GET: &str = "/oubliette.v1.RecordService/GetRecord";

#[tokio::test]
async fn a_message_that_is_none_is_the_callers_mistake_and_names_the_field() {
    let server = Server::start(Limits::default()).await;
    let customer_id = Bytes::from_static(b"\xff\xfe");
    let bad_text = raw(&server, CREATE, vec![RawCreate { details: Some(RawDetails { customer_id }) }]).await;
    assert_refused(&bad_text, Code::InvalidArgument, Reason::MalformedMessage);
    let details = bad_text.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "details.customer_id");
    assert!(bad_text.message().contains("not UTF-8"));

    let bad_type = raw(&server, GET, vec![RawNumber { record_id: 7 }]).await;
    assert_refused(&bad_type, Code::InvalidArgument, Reason::MalformedMessage);
    let nothing = raw::<RawNumber>(&server, GET, Vec::new()).await;
    assert_refused(&nothing, Code::InvalidArgument, Reason::MalformedMessage);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_the_limit() {
    let server = Server::start(Limits::default()).await;
    let record_id = "x".repeat(stub::MESSAGE_BYTES + 1);
    let request = v1::GetRecordRequest { record_id, ..Default::default() };
    let status = server.records().await.get_record(request).await.err().unwrap();
    assert_refused(&status, Code::ResourceExhausted, Reason::MessageTooLarge);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["limit"], stub::MESSAGE_BYTES.to_string());

    let upload = tokio_stream::iter([metadata(), chunk(stub::MESSAGE_BYTES + 1)]);
    let status = server.records().await.upload_recording(upload).await.err().unwrap();
    assert_refused(&status, Code::ResourceExhausted, Reason::MessageTooLarge);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_told_as_such() {
    let server = Server::start(Limits::default()).await;
    for path in ["/oubliette.v1.RecordService/Nope", "/oubliette.v2.RecordService/GetRecord", "/"] {
        let status = raw(&server, path, vec![RawNumber { record_id: 7 }]).await;
        assert_refused(&status, Code::Unimplemented, Reason::UnknownMethod);
    }
    assert!(server.metrics.encode().contains("method=\"unknown\",code=\"UNIMPLEMENTED\""));
}

#[tokio::test]
async fn a_compressed_message_is_refused_with_what_to_do() {
    let server = Server::start(Limits::default()).await;
    let status = server.with_header(GET, "grpc-encoding", "gzip").await;
    assert_refused(&status, Code::Unimplemented, Reason::UnsupportedCompression);
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends() {
    let server = Server::start(Limits { call_timeout_ms: 100, stream_deadline_ms: 300, ..Limits::default() }).await;
    let slow = v1::GetTranscriptRequest::default();
    let status = server.records().await.get_transcript(slow).await.err().unwrap();
    assert_refused(&status, Code::DeadlineExceeded, Reason::Deadline);

    // The stub sends for ever; and a stream is allowed more time than a call.
    let mut endless = server.records().await.download_recording(v1::DownloadRecordingRequest::default()).await.unwrap();
    let begun = std::time::Instant::now();
    let status = loop {
        match endless.get_mut().next().await.expect("the stream must end with a status") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_refused(&status, Code::DeadlineExceeded, Reason::Deadline);
    assert!(begun.elapsed() > Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_upload_that_stands_still_ends() {
    let server = Server::start(Limits { stream_idle_timeout_ms: 100, ..Limits::default() }).await;
    let upload = tokio_stream::iter([metadata(), chunk(10)]).chain(tokio_stream::pending());
    let status = server.records().await.upload_recording(upload).await.err().unwrap();
    assert_refused(&status, Code::DeadlineExceeded, Reason::StreamIdle);
}

/// tonic alone takes the client's reset for the end of the stream.
#[tokio::test]
async fn an_upload_given_up_by_its_client_is_never_taken_for_complete() {
    let mut server = Server::start(Limits::default()).await;
    let mut records = server.records().await;
    let (sent, mut seen) = tokio::sync::mpsc::channel(1);
    let upload = tokio_stream::iter([metadata(), chunk(10)]).chain(tokio_stream::once(()).filter_map(move |()| {
        sent.try_send(()).expect("room for one");
        None
    }));
    let upload = upload.chain(tokio_stream::pending());
    let call = tokio::spawn(async move { records.upload_recording(upload).await.map(drop) });
    seen.recv().await.expect("the upload began");
    server.first_chunk_arrived().await;
    call.abort();
    let ended = server.upload_ended().await.expect_err("a broken upload is no upload");
    assert_refused(&ended, Code::Aborted, Reason::StreamBroken);
}

#[tokio::test]
async fn a_whole_upload_is_complete() {
    let mut server = Server::start(Limits::default()).await;
    let upload = tokio_stream::iter([metadata(), chunk(10), chunk(20)]);
    server.records().await.upload_recording(upload).await.unwrap();
    assert_eq!(server.upload_ended().await.unwrap(), 30);
    let text = server.metrics.encode();
    assert!(text.contains("oubliette_requests_total{method=\"UploadRecording\",code=\"OK\"} 1"), "{text}");
}

#[tokio::test]
async fn a_call_beyond_the_connections_share_waits_and_is_then_refused_with_when_to_retry() {
    let limits = Limits { calls_per_connection: 1, call_queue_timeout_ms: 100, ..Limits::default() };
    let server = Server::start(limits).await;
    let mut records = server.records().await;
    let mut endless = records.download_recording(v1::DownloadRecordingRequest::default()).await.unwrap();
    let status = records.get_record(v1::GetRecordRequest::default()).await.err().unwrap();
    assert_refused(&status, Code::ResourceExhausted, Reason::Overloaded);
    assert!(status.get_error_details().retry_info().is_some());
    endless.get_mut().next().await.unwrap().unwrap();
    drop(endless);
    records.get_record(v1::GetRecordRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_hung_up_on_and_frees_the_place() {
    let limits = Limits { connections: 1, handshake_timeout_ms: 200, ..Limits::default() };
    let server = Server::start_with_tls(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // The only place is taken; the client must wait until the silent one is hung up on.
    let second = async { server.records().await.get_record(v1::GetRecordRequest::default()).await };
    let answer = tokio::time::timeout(Duration::from_secs(5), second).await.expect("a place became free");
    assert!(answer.is_ok(), "{:?}", answer.err());
    let end = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut [0; 1])).await.expect("hung up");
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_stopping_server_lets_open_calls_finish_and_cuts_what_does_not() {
    let mut server = Server::start(Limits { shutdown_grace_ms: 400, ..Limits::default() }).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    let asked = tonic_health::pb::HealthCheckRequest { service: "oubliette.v1.RecordService".to_owned() };
    let mut watch = health.watch(asked).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    let mut records = server.records().await;
    let mut endless = records.download_recording(v1::DownloadRecordingRequest::default()).await.unwrap().into_inner();
    endless.next().await.unwrap().unwrap();

    let begun = std::time::Instant::now();
    server.stop();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2, "health says not serving");
    let last = watch.next().await.expect("a status").err().unwrap();
    assert_refused(&last, Code::Unavailable, Reason::ShuttingDown);
    endless.next().await.expect("still sending").expect("open calls go on");
    let drained = tokio::spawn(async move { while let Some(Ok(_)) = endless.next().await {} });
    server.ended().await.unwrap();
    assert!((300..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    drained.await.unwrap();
    assert!(server.metrics.encode().contains("oubliette_open_connections 0"));
}

#[tokio::test]
async fn idle_connections_are_closed_after_an_erasure() {
    let server = Server::start(Limits::default()).await;
    let mut busy = server.records().await;
    let mut endless = busy.download_recording(v1::DownloadRecordingRequest::default()).await.unwrap().into_inner();
    endless.next().await.unwrap().unwrap();
    let channel = server.channel().await;
    let mut idle = v1::record_service_client::RecordServiceClient::new(channel.clone());
    idle.get_record(v1::GetRecordRequest::default()).await.unwrap();
    // A watcher of health does not keep its connection.
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: "oubliette.v1.RecordService".to_owned() };
    let mut watch = health.watch(asked).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(server.metrics.encode().contains("oubliette_open_connections 2"), "closed without an erasure");

    server.erase();
    let told = tokio::time::timeout(Duration::from_secs(12), watch.next()).await.expect("told in time");
    assert_refused(&told.expect("a status").err().unwrap(), Code::Unavailable, Reason::ShuttingDown);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(server.metrics.encode().contains("oubliette_open_connections 1"), "the idle connection is open");
    endless.next().await.expect("still sending").expect("the busy connection goes on");
    idle.get_record(v1::GetRecordRequest::default()).await.expect("the client connects again");
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let mut server = Server::start(Limits::default()).await;
    server.records().await.get_record(v1::GetRecordRequest::default()).await.unwrap();
    server.stop();
    tokio::time::timeout(Duration::from_secs(2), server.ended()).await.expect("nothing to wait for").unwrap();
}
