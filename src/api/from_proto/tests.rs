//! Bad input, one fault at a time: each must be refused with the path of its field and the right problem.

use super::*;
use crate::api::status::ApiError;
use crate::api::to_proto;
use crate::domain::principal::Role;
use crate::domain::record::{Record, RecordKind};
use crate::domain::sensitive::{ShownSpan, ShownTurn};

const NOW_MS: u64 = 1_790_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS).unwrap()
}

fn at(ms: u64) -> Option<WireTimestamp> {
    Some(to_proto::timestamp(Timestamp::from_ms(ms).unwrap()))
}

fn details() -> v1::RecordDetails {
    v1::RecordDetails {
        customer_id: "c-1".to_owned(),
        channel: v1::Channel::Chat as i32,
        language: "pt-BR".to_owned(),
        agent: "ana".to_owned(),
        case_id: "K-7".to_owned(),
        team: "billing".to_owned(),
        started_at: at(NOW_MS - 5_000),
        ended_at: at(NOW_MS - 1_000),
        purposes: vec!["support".to_owned()],
        legal_basis: v1::LegalBasis::Contract as i32,
        tags: vec!["vip".to_owned()],
    }
}

fn transcript() -> v1::CreateTranscriptRequest {
    let turn = |text: &str| v1::Turn {
        speaker: v1::Speaker::Customer as i32,
        said_at: at(NOW_MS - 4_000),
        text: text.to_owned(),
        ..Default::default()
    };
    v1::CreateTranscriptRequest {
        request_id: "request-1".to_owned(),
        details: Some(details()),
        turns: vec![turn("Hello\n"), turn("")],
    }
}

/// Asserts that the fault is told as `field REASON`.
#[track_caller]
fn refused<T>(result: Result<T, Invalid>, expected: &str) {
    let Err(invalid) = result else { panic!("accepted, but expected {expected}") };
    let (_, reason) = ApiError::from(invalid.clone()).kind();
    assert_eq!(format!("{} {}", invalid.field, reason.as_str()), expected);
}

type Fault<T> = (&'static str, fn(&mut T));

fn each<T>(good: impl Fn() -> T, parse: impl Fn(T) -> Option<Invalid>, faults: &[Fault<T>]) {
    assert!(parse(good()).is_none(), "the message without a fault is accepted");
    for (expected, spoil) in faults {
        let mut message = good();
        spoil(&mut message);
        refused(parse(message).map_or(Ok(()), Err), expected);
    }
}

#[test]
fn every_fault_in_a_record_is_told_by_its_field() {
    let of = |details: v1::RecordDetails| {
        create_transcript(v1::CreateTranscriptRequest { details: Some(details), ..transcript() }, now()).err()
    };
    each(
        details,
        of,
        &[
            ("details.customer_id MISSING", |d| d.customer_id.clear()),
            ("details.customer_id TOO_LONG", |d| d.customer_id = "x".repeat(257)),
            ("details.customer_id MALFORMED", |d| d.customer_id = "a\nb".to_owned()),
            ("details.channel UNKNOWN_VALUE", |d| d.channel = 0),
            ("details.channel UNKNOWN_VALUE", |d| d.channel = 257),
            ("details.channel UNKNOWN_VALUE", |d| d.channel = -1),
            ("details.language TOO_LONG", |d| d.language = "x-".repeat(20)),
            ("details.language MALFORMED", |d| d.language = "pt_BR".to_owned()),
            ("details.language MALFORMED", |d| d.language = "en-".to_owned()),
            ("details.agent TOO_LONG", |d| d.agent = "x".repeat(129)),
            ("details.case_id TOO_LONG", |d| d.case_id = "x".repeat(129)),
            ("details.team MALFORMED", |d| d.team = "\u{7f}".to_owned()),
            ("details.started_at MISSING", |d| d.started_at = None),
            ("details.started_at IN_FUTURE", |d| {
                d.started_at = at(NOW_MS + 60_001);
                d.ended_at = None;
            }),
            ("details.started_at OUT_OF_RANGE", |d| d.started_at = Some(WireTimestamp { seconds: -1, nanos: 0 })),
            ("details.started_at OUT_OF_RANGE", |d| {
                d.started_at = Some(WireTimestamp { seconds: 1, nanos: 1_000_000_000 });
            }),
            ("details.started_at OUT_OF_RANGE", |d| d.started_at = Some(WireTimestamp { seconds: 1, nanos: -1 })),
            ("details.started_at OUT_OF_RANGE", |d| d.started_at = Some(WireTimestamp { seconds: i64::MAX, nanos: 0 })),
            ("details.ended_at IN_FUTURE", |d| d.ended_at = at(NOW_MS + 60_001)),
            ("details.ended_at OUT_OF_RANGE", |d| d.ended_at = at(NOW_MS - 5_001)),
            ("details.purposes MISSING", |d| d.purposes.clear()),
            ("details.purposes TOO_MANY", |d| d.purposes = (0..17).map(|i| format!("p{i}")).collect()),
            ("details.purposes[0] MALFORMED", |d| d.purposes = vec!["Support".to_owned()]),
            ("details.purposes[1] DUPLICATE", |d| d.purposes = vec!["a".to_owned(), "a".to_owned()]),
            ("details.legal_basis UNKNOWN_VALUE", |d| d.legal_basis = 7),
            ("details.tags TOO_MANY", |d| d.tags = (0..33).map(|i| format!("t{i}")).collect()),
            ("details.tags[0] TOO_LONG", |d| d.tags = vec!["x".repeat(65)]),
        ],
    );
}

#[test]
fn every_fault_in_a_chat_is_told_by_its_field() {
    each(
        transcript,
        |message| create_transcript(message, now()).err(),
        &[
            ("request_id MISSING", |t| t.request_id.clear()),
            ("request_id TOO_SHORT", |t| t.request_id = "short".to_owned()),
            ("request_id TOO_LONG", |t| t.request_id = "x".repeat(65)),
            ("request_id MALFORMED", |t| t.request_id = "request/1".to_owned()),
            ("details MISSING", |t| t.details = None),
            ("turns MISSING", |t| t.turns.clear()),
            ("turns TOO_MANY", |t| t.turns = vec![t.turns[0].clone(); TranscriptLimits::MAX_TURNS + 1]),
            ("turns TOO_LONG", |t| {
                t.turns[0].text = "x".repeat(TranscriptLimits::MAX_TURN_BYTES);
                t.turns = vec![t.turns[0].clone(); 13];
            }),
            ("turns[0].speaker UNKNOWN_VALUE", |t| t.turns[0].speaker = 0),
            ("turns[1].text TOO_LONG", |t| t.turns[1].text = "x".repeat(TranscriptLimits::MAX_TURN_BYTES + 1)),
            ("turns[1].said_at IN_FUTURE", |t| t.turns[1].said_at = at(NOW_MS + 60_001)),
        ],
    );
}

#[test]
fn every_fault_in_an_upload_is_told_by_its_field() {
    use v1::upload_recording_request::Payload;
    let message = |payload| v1::UploadRecordingRequest { payload };
    let metadata = || v1::RecordingMetadata {
        request_id: "request-1".to_owned(),
        details: Some(details()),
        media_type: "audio/ogg; codecs=opus".to_owned(),
        content_sha256: Bytes::from_static(&[7; 32]),
        ..Default::default()
    };
    each(
        metadata,
        |metadata| upload_metadata(Some(message(Some(Payload::Metadata(metadata)))), now()).err(),
        &[
            ("metadata.request_id MISSING", |m| m.request_id.clear()),
            ("metadata.details MISSING", |m| m.details = None),
            ("metadata.details.customer_id MISSING", |m| m.details = Some(v1::RecordDetails::default())),
            ("metadata.media_type MISSING", |m| m.media_type.clear()),
            ("metadata.media_type TOO_LONG", |m| m.media_type = format!("audio/{}", "x".repeat(122))),
            ("metadata.media_type MALFORMED", |m| m.media_type = "audio".to_owned()),
            ("metadata.media_type MALFORMED", |m| m.media_type = "audio/".to_owned()),
            ("metadata.media_type MALFORMED", |m| m.media_type = "audio/wav; a=\u{e9}".to_owned()),
            ("metadata.content_sha256 MALFORMED", |m| m.content_sha256 = Bytes::from_static(&[7; 31])),
        ],
    );
    let chunk = |bytes: &'static [u8]| message(Some(Payload::Chunk(Bytes::from_static(bytes))));
    refused(upload_metadata(None, now()), "metadata MISSING");
    refused(upload_metadata(Some(chunk(b"x")), now()), "chunk OUT_OF_ORDER");
    refused(upload_metadata(Some(message(None)), now()), "payload MISSING");
    refused(upload_chunk(chunk(b"")), "chunk TOO_SHORT");
    refused(upload_chunk(message(Some(Payload::Metadata(metadata())))), "metadata OUT_OF_ORDER");
    assert_eq!(upload_chunk(chunk(b"x")).unwrap(), "x");
}

#[test]
fn every_fault_in_a_read_is_told_by_its_field() {
    let list = || v1::ListRecordsRequest { purpose: "support".to_owned(), ..v1::ListRecordsRequest::default() };
    each(
        list,
        |message| list_records(message).err(),
        &[
            ("purpose MISSING", |l| l.purpose.clear()),
            ("page_size OUT_OF_RANGE", |l| l.page_size = 201),
            ("page_size OUT_OF_RANGE", |l| l.page_size = -1),
            ("page_token TOO_LONG", |l| l.page_token = "x".repeat(1_025)),
            ("agent TOO_LONG", |l| l.agent = "x".repeat(129)),
            ("customer_id MISSING", |l| l.case_id = "k".to_owned()),
            ("case_id TOO_LONG", |l| (l.customer_id, l.case_id) = ("c".to_owned(), "k".repeat(129))),
            ("agent CONFLICTS", |l| (l.customer_id, l.agent) = ("c".to_owned(), "a".to_owned())),
            ("customer_id MISSING", |l| (l.case_id, l.agent) = ("k".to_owned(), "a".to_owned())),
            ("agent CONFLICTS", |l| {
                (l.customer_id, l.case_id, l.agent) = ("c".to_owned(), "k".to_owned(), "a".to_owned());
            }),
            ("started_before OUT_OF_RANGE", |l| (l.started_from, l.started_before) = (at(5), at(5))),
        ],
    );
    assert_eq!(list_records(list()).unwrap().page, PageRequest { size: 50, token: None });
    refused(read("", "support", String::new()), "record_id MISSING");
    refused(read("018F0000-0000-7000-8000-000000000000", "support", String::new()), "record_id MALFORMED");
    refused(read("018f0000-0000-7000-8000-000000000000", "Support", String::new()), "purpose MALFORMED");
}

#[test]
fn a_range_lies_within_the_recording_or_is_refused() {
    let within = |offset, length, size| RangeRequest { offset, length: NonZeroU64::new(length) }.within(size);
    assert_eq!(within(0, 0, 10), Some(ByteSpan { offset: 0, length: 10 }));
    assert_eq!(within(9, 1, 10), Some(ByteSpan { offset: 9, length: 1 }));
    assert_eq!(within(0, 0, 0), Some(ByteSpan { offset: 0, length: 0 }));
    for (offset, length) in [(10, 0), (9, 2), (u64::MAX, 0), (1, u64::MAX)] {
        assert_eq!(within(offset, length, 10), None, "{offset}+{length}");
    }
}

#[test]
fn every_fault_in_administration_is_told_by_its_field() {
    let tenant = || v1::CreateTenantRequest {
        name: "acme".to_owned(),
        settings: Some(v1::TenantSettings {
            purposes: vec!["support".to_owned()],
            rule_set: "gdpr".to_owned(),
            teams: vec!["billing".to_owned()],
            ..v1::TenantSettings::default()
        }),
    };
    each(
        tenant,
        |message| create_tenant(message).err(),
        &[
            ("name MISSING", |t| t.name.clear()),
            ("name MALFORMED", |t| t.name = "Acme".to_owned()),
            ("settings MISSING", |t| t.settings = None),
            ("settings.purposes MISSING", |t| t.settings.as_mut().unwrap().purposes.clear()),
            ("settings.rule_set MISSING", |t| t.settings.as_mut().unwrap().rule_set.clear()),
            ("settings.rule_set MALFORMED", |t| t.settings.as_mut().unwrap().rule_set = "GDPR".to_owned()),
            ("settings.teams[0] MISSING", |t| t.settings.as_mut().unwrap().teams[0].clear()),
            ("settings.retention_default_days OUT_OF_RANGE", |t| {
                t.settings.as_mut().unwrap().retention_default_days = 36_501;
            }),
        ],
    );
    let principal = || v1::SetPrincipalRequest {
        tenant: String::new(),
        principal: Some(v1::Principal { name: "ana".to_owned(), roles: vec![2], ..Default::default() }),
    };
    each(
        principal,
        |message| set_principal(message).err(),
        &[
            ("tenant TOO_LONG", |p| p.tenant = "a".repeat(64)),
            ("principal MISSING", |p| p.principal = None),
            ("principal.name MISSING", |p| p.principal.as_mut().unwrap().name.clear()),
            ("principal.roles MISSING", |p| p.principal.as_mut().unwrap().roles.clear()),
            ("principal.roles[0] UNKNOWN_VALUE", |p| p.principal.as_mut().unwrap().roles = vec![0]),
            ("principal.roles[1] DUPLICATE", |p| p.principal.as_mut().unwrap().roles = vec![2, 2]),
            ("principal.roles TOO_MANY", |p| p.principal.as_mut().unwrap().roles = vec![1; 7]),
        ],
    );
    let token = |expires_at| v1::CreateTokenRequest { tenant: String::new(), principal: "ana".to_owned(), expires_at };
    refused(create_token(token(at(NOW_MS)), now()), "expires_at OUT_OF_RANGE");
    refused(create_token(token(at(NOW_MS + 3_654 * 86_400_000)), now()), "expires_at OUT_OF_RANGE");
    assert!(create_token(token(None), now()).is_ok());
    let revoke = |id: &str| {
        revoke_token(&v1::RevokeTokenRequest {
            tenant: String::new(),
            token_id: id.to_owned(),
            issued_to: String::new(),
        })
    };
    refused(revoke(""), "token_id MISSING");
    refused(revoke("ABCD"), "token_id MALFORMED");
}

/// The numbers of the API's enums are those of the domain, which is what lets them be converted by number.
#[test]
fn numbers_mean_the_same_in_the_api_and_in_the_domain() {
    use crate::domain::record::{Channel, LegalBasis};
    let pairs = [
        (Role::Ingest as u8, v1::Role::Ingest as i32),
        (Role::Agent as u8, v1::Role::Agent as i32),
        (Role::Supervisor as u8, v1::Role::Supervisor as i32),
        (Role::PrivacyOfficer as u8, v1::Role::PrivacyOfficer as i32),
        (Role::Auditor as u8, v1::Role::Auditor as i32),
        (Role::Admin as u8, v1::Role::Admin as i32),
        (RecordKind::Transcript as u8, v1::RecordKind::Transcript as i32),
        (RecordKind::Recording as u8, v1::RecordKind::Recording as i32),
        (Speaker::Customer as u8, v1::Speaker::Customer as i32),
        (Speaker::Agent as u8, v1::Speaker::Agent as i32),
        (Speaker::Bot as u8, v1::Speaker::Bot as i32),
        (Speaker::System as u8, v1::Speaker::System as i32),
        (Channel::Chat as u8, v1::Channel::Chat as i32),
        (Channel::Voice as u8, v1::Channel::Voice as i32),
        (Channel::Email as u8, v1::Channel::Email as i32),
        (Channel::Messaging as u8, v1::Channel::Messaging as i32),
        (Channel::Video as u8, v1::Channel::Video as i32),
        (LegalBasis::Consent as u8, v1::LegalBasis::Consent as i32),
        (LegalBasis::Contract as u8, v1::LegalBasis::Contract as i32),
        (LegalBasis::LegalObligation as u8, v1::LegalBasis::LegalObligation as i32),
        (LegalBasis::VitalInterests as u8, v1::LegalBasis::VitalInterests as i32),
        (LegalBasis::PublicTask as u8, v1::LegalBasis::PublicTask as i32),
        (LegalBasis::LegitimateInterests as u8, v1::LegalBasis::LegitimateInterests as i32),
    ];
    for (domain, wire) in pairs {
        assert_eq!(i32::from(domain), wire);
    }
}

#[test]
fn what_comes_in_goes_out_unchanged() {
    let (_, chat) = create_transcript(transcript(), now()).unwrap();
    let record = Record {
        id: RecordId::new(now(), [1; 10]),
        revision: Revision::FIRST,
        kind: RecordKind::Transcript,
        customer: chat.customer,
        details: chat.details,
        created: now(),
        content_bytes: 6,
        content_sha256: None,
        media_type: None,
        spoken: Vec::new(),
    };
    assert!(to_proto::record(record).details == Some(details()));
    let shown = chat.turns.into_iter().map(|turn| ShownTurn { turn, spans: Vec::new() }).collect();
    assert!(to_proto::turns(shown) == transcript().turns);
}

#[test]
fn what_is_marked_counts_code_points_on_the_way_in_and_out() {
    let mut message = transcript();
    let span = |start, end, kind: v1::SensitiveKind| v1::SensitiveSpan { start, end, kind: kind.into(), masked: false };
    let (name, card) = (span(2, 5, v1::SensitiveKind::Name), span(7, 8, v1::SensitiveKind::PaymentCard));
    message.turns[1] =
        v1::Turn { text: "ö, Ümi: 🂡".to_owned(), sensitive: vec![card, name], ..message.turns[1].clone() };
    let (_, chat) = create_transcript(message.clone(), now()).unwrap();
    let told: Vec<_> =
        chat.marked.iter().map(|one| (one.turn, &chat.turns[1].text[one.start as usize..one.end as usize])).collect();
    assert_eq!(told, [(1, " Üm"), (1, " ")]);
    let spans =
        chat.marked.iter().map(|one| ShownSpan { start: one.start, end: one.end, kind: one.kind, is_hidden: false });
    let shown = ShownTurn { spans: spans.collect(), turn: chat.turns[1].clone() };
    assert!(to_proto::turns(vec![shown])[0].sensitive == [name, card]);
    for (spans, complaint) in [
        (vec![span(3, 3, v1::SensitiveKind::Name)], "turns[1].sensitive[0].end OUT_OF_RANGE"),
        (vec![name, span(8, 10, v1::SensitiveKind::Name)], "turns[1].sensitive[1].end OUT_OF_RANGE"),
        (vec![span(u32::MAX, u32::MAX, v1::SensitiveKind::Name)], "turns[1].sensitive[0].end OUT_OF_RANGE"),
        (vec![span(1, 2, v1::SensitiveKind::Unspecified)], "turns[1].sensitive[0].kind UNKNOWN_VALUE"),
        (vec![name, span(4, 6, v1::SensitiveKind::Name)], "turns[1].sensitive DUPLICATE"),
        (vec![name; 1_001], "turns[1].sensitive TOO_MANY"),
    ] {
        message.turns[1].sensitive = spans;
        refused(create_transcript(message.clone(), now()), complaint);
    }
}
