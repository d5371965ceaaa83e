//! Whatever is wrong with a write or a read, the caller learns the reason, the field and the limit, and nothing of it is stored.

use bytes::Bytes;
use oubliette::api::v1;
use prost::Message as _;
use tonic::{Code, Status};

use crate::chance::Chance;
use crate::fixture::{AGENT, PURPOSES, People, Server};
use crate::wire::{Caller, chat, chunk, first, from_now, info, metadata, objects, reason, until};

const PURPOSE: &str = PURPOSES[0];
const MESSAGE_BYTES: usize = 1024 * 1024;
const CREATE: &str = "/oubliette.v1.RecordService/CreateTranscript";
const UPLOAD: &str = "/oubliette.v1.RecordService/UploadRecording";

/// What a refusal must say: code, reason, field, limit. An empty one is not looked at.
type Expected = (Code, &'static str, &'static str, &'static str);

const fn bad(reason: &'static str, field: &'static str, limit: &'static str) -> Expected {
    (Code::InvalidArgument, reason, field, limit)
}

#[track_caller]
fn assert_said<T>(case: &str, outcome: Result<T, Status>, (code, said, field, limit): Expected) {
    let Err(status) = outcome else { panic!("{case}: it was let through") };
    assert_eq!((status.code(), reason(&status).as_str()), (code, said), "{case}: {status:?}");
    for (key, value) in [("field", field), ("limit", limit)] {
        assert!(value.is_empty() || info(&status, key).as_deref() == Some(value), "{case}: {key} in {status:?}");
    }
}

/// Nothing is stored for anyone, and nobody was created by the attempt.
async fn assert_nothing_stored(server: &Server, people: &People) {
    until("no object is left", async || objects(server).is_empty()).await;
    let tenant = Caller::of(server, &server.admin_token()).await.tenant(&people.tenant).await.unwrap();
    assert_eq!((tenant.used_records, tenant.used_content_bytes), (0, 0));
    let asked = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    assert!(Caller::of(server, &people.supervisor).await.list(asked).await.unwrap().is_empty());
}

type Spoil = fn(&mut v1::CreateTranscriptRequest);

fn of(chat: &mut v1::CreateTranscriptRequest) -> &mut v1::RecordDetails {
    chat.details.as_mut().unwrap()
}

const CHATS: &[(&str, Spoil, Expected)] = &[
    ("no request id", |chat| chat.request_id.clear(), bad("MISSING", "request_id", "")),
    ("a short request id", |chat| chat.request_id = "seven77".to_owned(), bad("TOO_SHORT", "request_id", "8")),
    ("a long request id", |chat| chat.request_id = "r".repeat(65), bad("TOO_LONG", "request_id", "64")),
    ("no details", |chat| chat.details = None, bad("MISSING", "details", "")),
    ("no customer", |chat| of(chat).customer_id.clear(), bad("MISSING", "details.customer_id", "")),
    (
        "a customer id of a mebibyte less one",
        |chat| of(chat).customer_id = "c".repeat(MESSAGE_BYTES - 4096),
        bad("TOO_LONG", "details.customer_id", "256"),
    ),
    (
        "NUL in a customer id",
        |chat| of(chat).customer_id = "ada\0bert".to_owned(),
        bad("MALFORMED", "details.customer_id", ""),
    ),
    ("an unknown channel", |chat| of(chat).channel = 4711, bad("UNKNOWN_VALUE", "details.channel", "")),
    ("a negative channel", |chat| of(chat).channel = -1, bad("UNKNOWN_VALUE", "details.channel", "")),
    ("no channel", |chat| of(chat).channel = 0, bad("UNKNOWN_VALUE", "details.channel", "")),
    ("an unknown legal basis", |chat| of(chat).legal_basis = 99, bad("UNKNOWN_VALUE", "details.legal_basis", "")),
    ("an unknown speaker", |chat| chat.turns[1].speaker = 9, bad("UNKNOWN_VALUE", "turns[1].speaker", "")),
    ("no turns", |chat| chat.turns.clear(), bad("MISSING", "turns", "")),
    ("too many turns", |chat| chat.turns = vec![chat.turns[0].clone(); 10_001], bad("TOO_MANY", "turns", "10000")),
    ("too much text", |chat| chat.turns[0].text = "t".repeat(768 * 1024 + 1), bad("TOO_LONG", "", "786432")),
    (
        "a start in the future",
        |chat| of(chat).started_at = Some(from_now(3600)),
        bad("IN_FUTURE", "details.started_at", ""),
    ),
    ("an end in the future", |chat| of(chat).ended_at = Some(from_now(3600)), bad("IN_FUTURE", "details.ended_at", "")),
    (
        "a turn in the future",
        |chat| chat.turns[0].said_at = Some(from_now(3600)),
        bad("IN_FUTURE", "turns[0].said_at", ""),
    ),
    (
        "an end before the start",
        |chat| {
            of(chat).started_at = of(chat).ended_at.map(|at| prost_types::Timestamp { seconds: at.seconds + 1, ..at })
        },
        (Code::InvalidArgument, "OUT_OF_RANGE", "details.ended_at", ""),
    ),
    (
        "a time that is none",
        |chat| of(chat).started_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
        bad("OUT_OF_RANGE", "details.started_at", ""),
    ),
    ("no purposes", |chat| of(chat).purposes.clear(), bad("MISSING", "details.purposes", "")),
    (
        "a purpose that the tenant has not",
        |chat| of(chat).purposes = vec!["fun".to_owned()],
        bad("NOT_CONFIGURED", "details.purposes", ""),
    ),
    (
        "a purpose twice",
        |chat| of(chat).purposes = vec![PURPOSE.to_owned(); 2],
        bad("DUPLICATE", "details.purposes[1]", ""),
    ),
    (
        "a team that the tenant has not",
        |chat| of(chat).team = "nobody".to_owned(),
        bad("NOT_CONFIGURED", "details.team", ""),
    ),
    (
        "too many tags",
        |chat| of(chat).tags = (0..1000).map(|n| format!("t{n}")).collect(),
        bad("TOO_MANY", "details.tags", ""),
    ),
    (
        "a language that is none",
        |chat| of(chat).language = "not a language".to_owned(),
        bad("MALFORMED", "details.language", ""),
    ),
];

#[tokio::test]
async fn a_bad_chat_is_refused_by_its_field_and_nothing_of_it_stays() {
    let server = Server::start_with(&[]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    for (place, (case, spoil, expected)) in CHATS.iter().enumerate() {
        let mut chat = chat(&format!("chat-{place:04}"), &format!("customer-{place}"));
        spoil(&mut chat);
        assert_said(case, ingest.store_chat(chat).await, *expected);
    }
    assert_nothing_stored(&server, &people).await;
    // The same request ids are free: a refused write leaves no trace that its repair would meet.
    for place in 0..CHATS.len() {
        ingest.store_chat(chat(&format!("chat-{place:04}"), &format!("customer-{place}"))).await.unwrap();
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_and_nothing_of_them_stays() {
    let server = Server::start_with(&[]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let good = chat("chat-0001", "ada").encode_to_vec();
    let at = good.windows(3).position(|window| window == b"ada").unwrap();
    let mut no_text = good.clone();
    no_text[at] = 0xff;
    let malformed = bad("MALFORMED_MESSAGE", "", "");
    assert_said(
        "text that is not UTF-8",
        ingest.raw(CREATE, no_text).await,
        bad("MALFORMED_MESSAGE", "details.customer_id", ""),
    );
    for length in (1..good.len()).filter(|length| v1::CreateTranscriptRequest::decode(&good[..*length]).is_err()) {
        assert_said(&format!("the first {length} bytes"), ingest.raw(CREATE, good[..length].to_vec()).await, malformed);
    }
    let mut random = Chance::of_test("bad_input, 51");
    for round in 0..300 {
        let length = 1 + random.below(400);
        let noise = random.bytes(length);
        for path in [CREATE, UPLOAD] {
            let Err(status) = ingest.raw(path, noise.clone()).await else { panic!("noise {round} was let through") };
            assert_eq!(status.code(), Code::InvalidArgument, "noise {round}: {status:?}");
            reason(&status);
        }
    }
    let huge = ingest.raw(CREATE, vec![0; MESSAGE_BYTES * 5]).await;
    assert_said("a huge message", huge, (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "", ""));
    assert_nothing_stored(&server, &people).await;
}

fn upload_of(spoil: impl FnOnce(&mut v1::RecordingMetadata)) -> v1::UploadRecordingRequest {
    let mut metadata = metadata("call-0001", "ada");
    spoil(&mut metadata);
    first(metadata)
}

#[tokio::test]
async fn a_bad_upload_is_refused_and_nothing_of_it_stays() {
    let server = Server::start_with(&[]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let whole = || upload_of(|_| ());
    let nothing = || v1::UploadRecordingRequest { payload: None };
    let some = || chunk(&[7; 1000]);
    let cases = [
        ("no message", vec![], bad("MISSING", "metadata", "")),
        ("an empty first message", vec![nothing()], bad("MISSING", "payload", "")),
        ("a chunk first", vec![some(), whole()], bad("OUT_OF_ORDER", "chunk", "")),
        ("metadata twice", vec![whole(), whole()], bad("OUT_OF_ORDER", "metadata", "")),
        ("metadata behind a chunk", vec![whole(), some(), whole()], bad("OUT_OF_ORDER", "metadata", "")),
        ("an empty message between chunks", vec![whole(), some(), nothing()], bad("MISSING", "payload", "")),
        ("an empty chunk", vec![whole(), some(), chunk(b"")], bad("TOO_SHORT", "chunk", "1")),
        (
            "no customer",
            vec![upload_of(|call| call.details.as_mut().unwrap().customer_id.clear())],
            bad("MISSING", "metadata.details.customer_id", ""),
        ),
        (
            "no media type",
            vec![upload_of(|call| call.media_type.clear()), some()],
            bad("MISSING", "metadata.media_type", ""),
        ),
        (
            "a media type that is none",
            vec![upload_of(|call| call.media_type = "wav".to_owned()), some()],
            bad("MALFORMED", "metadata.media_type", ""),
        ),
        (
            "half a hash",
            vec![upload_of(|call| call.content_sha256 = Bytes::from_static(&[1; 16])), some()],
            bad("MALFORMED", "metadata.content_sha256", ""),
        ),
        (
            "a purpose that the tenant has not",
            vec![upload_of(|call| call.details.as_mut().unwrap().purposes = vec!["fun".to_owned()]), some()],
            bad("NOT_CONFIGURED", "metadata.details.purposes", ""),
        ),
        (
            "the hash of something else",
            vec![upload_of(|call| call.content_sha256 = Bytes::from_static(&[1; 32])), some()],
            bad("HASH_MISMATCH", "", ""),
        ),
        (
            "a chunk too large",
            vec![whole(), chunk(&vec![0; 5 * MESSAGE_BYTES])],
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "", ""),
        ),
    ];
    for (case, messages, expected) in cases {
        assert_said(case, ingest.upload(messages).await, expected);
    }
    assert_nothing_stored(&server, &people).await;
    ingest.store_call(metadata("call-0001", "ada"), &[7; 1000]).await.unwrap();
}

#[tokio::test]
async fn a_bad_read_is_refused_by_its_field() {
    let server = Server::start_with(&[]).await;
    let people = server.tenant_with_people("acme").await;
    let content = Chance::of_test("bad_input, 52").bytes(100_000);
    let ingest = Caller::of(&server, &people.ingest).await;
    let call = ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap().record_id;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    for (case, record, purpose, expected) in [
        ("no record", "", PURPOSE, bad("MISSING", "record_id", "")),
        ("a record id that is none", "../../etc/passwd", PURPOSE, bad("MALFORMED", "record_id", "")),
        ("no purpose", call.as_str(), "", bad("MISSING", "purpose", "")),
        ("a purpose too long", call.as_str(), &"p".repeat(1000), bad("TOO_LONG", "purpose", "64")),
    ] {
        assert_said(case, agent.record(record, purpose).await, expected);
        assert_said(case, agent.chat(record, purpose).await, expected);
        assert_said(case, agent.call(record, purpose, None).await, expected);
    }
    let out = (Code::OutOfRange, "RANGE_NOT_SATISFIABLE", "range", "");
    for range in
        [(100_000, 0), (100_000, 1), (99_999, 2), (0, 100_001), (1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)]
    {
        assert_said(&format!("{range:?}"), agent.call(&call, PURPOSE, Some(range)).await, out);
    }
    assert!(agent.call(&call, PURPOSE, Some((99_999, 1))).await.unwrap().1 == content[99_999..]);

    let asked = || v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    for (case, list, expected) in [
        (
            "a page too large",
            v1::ListRecordsRequest { page_size: 201, ..asked() },
            bad("OUT_OF_RANGE", "page_size", ""),
        ),
        (
            "a page of less than nothing",
            v1::ListRecordsRequest { page_size: -1, ..asked() },
            bad("OUT_OF_RANGE", "page_size", ""),
        ),
        (
            "a page token that is none",
            v1::ListRecordsRequest { page_token: "next".to_owned(), ..asked() },
            bad("MALFORMED", "page_token", ""),
        ),
        (
            "two things to find by",
            v1::ListRecordsRequest { customer_id: "ada".to_owned(), agent: "bert".to_owned(), ..asked() },
            bad("CONFLICTS", "agent", ""),
        ),
        (
            "a case without its customer",
            v1::ListRecordsRequest { case_id: "case-7".to_owned(), ..asked() },
            bad("MISSING", "customer_id", ""),
        ),
        (
            "a span of time that ends before it begins",
            v1::ListRecordsRequest { started_from: Some(from_now(0)), started_before: Some(from_now(-9)), ..asked() },
            bad("OUT_OF_RANGE", "started_before", ""),
        ),
    ] {
        assert_said(case, agent.list(list).await, expected);
    }
}
