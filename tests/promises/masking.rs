//! What somebody may not see is replaced in a chat and silent in a recording, and everybody else gets it as it was stored.

use std::fs;

use oubliette::api::v1;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{AGENT, PURPOSES, People, Server};
use crate::outside;
use crate::wire::{Caller, assert_refused, chat, info, metadata};

const PURPOSE: &str = PURPOSES[0];

async fn start() -> (Server, People) {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    (server, people)
}

fn turn(speaker: v1::Speaker, text: &str) -> v1::Turn {
    v1::Turn { speaker: speaker.into(), text: text.to_owned(), ..Default::default() }
}

/// The part of a text that a span is of.
fn part(turn: &v1::Turn, span: &v1::SensitiveSpan) -> String {
    let (start, end) = (usize::try_from(span.start).unwrap(), usize::try_from(span.end).unwrap());
    turn.text.chars().skip(start).take(end - start).collect()
}

#[tokio::test]
async fn each_role_sees_of_a_chat_what_the_policy_shows_it() {
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let mut new = chat("chat-0001", "ada");
    let marked = v1::SensitiveSpan { start: 12, end: 19, kind: v1::SensitiveKind::Other.into(), masked: false };
    let secret = v1::SensitiveSpan { start: 3, end: 10, kind: v1::SensitiveKind::NationalId.into(), masked: false };
    new.turns = vec![
        turn(v1::Speaker::Agent, "What is your card number?"),
        turn(v1::Speaker::Customer, "It's 4111 1111 1111 1111, and reach me at ada@lovelace.example"),
        turn(v1::Speaker::Customer, "my password is Hunter2-Analytical and my SSN is 078-05-1120"),
        v1::Turn { sensitive: vec![marked, secret], ..turn(v1::Speaker::Customer, "Üm Ωbcdefg, x-rated y") },
        turn(v1::Speaker::Agent, "The 12 items for 1,234.50 dollars arrive on 2026-12-24."),
    ];
    let as_stored: Vec<String> = new.turns.iter().map(|turn| turn.text.clone()).collect();
    let stored = ingest.store_chat(new).await.unwrap().record_id;
    let texts =
        |answer: &v1::GetTranscriptResponse| answer.turns.iter().map(|turn| turn.text.clone()).collect::<Vec<_>>();

    let agent = Caller::of(&server, &people.agent).await.working_on("case-7").chat(&stored, PURPOSE).await.unwrap();
    assert_eq!(
        texts(&agent),
        [
            "What is your card number?",
            "It's [payment card], and reach me at ada@lovelace.example",
            "my password is [password] and my SSN is [national id]",
            "Üm [national id], x-rated y",
            "The 12 items for 1,234.50 dollars arrive on 2026-12-24.",
        ]
    );
    let told: Vec<_> = agent
        .turns
        .iter()
        .flat_map(|turn| turn.sensitive.iter().map(|span| (part(turn, span), span.kind().as_str_name(), span.masked)))
        .collect();
    assert_eq!(
        told,
        [
            ("[payment card]".to_owned(), "SENSITIVE_KIND_PAYMENT_CARD", true),
            ("ada@lovelace.example".to_owned(), "SENSITIVE_KIND_EMAIL", false),
            ("[password]".to_owned(), "SENSITIVE_KIND_PASSWORD", true),
            ("[national id]".to_owned(), "SENSITIVE_KIND_NATIONAL_ID", true),
            ("[national id]".to_owned(), "SENSITIVE_KIND_NATIONAL_ID", true),
            ("x-rated".to_owned(), "SENSITIVE_KIND_OTHER", false),
        ]
    );
    let supervisor = Caller::of(&server, &people.supervisor).await.chat(&stored, PURPOSE).await.unwrap();
    assert_eq!(supervisor.turns[2].text, "my password is [password] and my SSN is 078-05-1120");
    assert!((0..5).filter(|at| *at != 2).all(|at| supervisor.turns[at].text == as_stored[at]));
    let officer = Caller::of(&server, &people.privacy_officer).await.chat(&stored, PURPOSE).await.unwrap();
    assert_eq!(texts(&officer), as_stored);
    assert!(officer.turns.iter().flat_map(|turn| &turn.sensitive).all(|span| !span.masked));
}

#[tokio::test]
async fn an_agent_sees_no_card_number_whatever_is_said_or_marked_around_it_and_a_mark_is_never_lost() {
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let mark = |start, end, kind: v1::SensitiveKind| v1::SensitiveSpan { start, end, kind: kind.into(), masked: false };
    let mut new = chat("chat-0001", "ada");
    new.turns = vec![
        turn(v1::Speaker::Customer, "I paid for my order with 4111 1111 1111 1111 $50"),
        turn(v1::Speaker::Agent, "And what is your address?"),
        turn(v1::Speaker::Customer, "22 Acacia Avenue, Leeds, 4111 1111 1111 1111 120"),
        v1::Turn {
            sensitive: vec![mark(5, 6, v1::SensitiveKind::Other)],
            ..turn(v1::Speaker::Customer, "4111 1111 1111 1111")
        },
        turn(v1::Speaker::Agent, "And what is your address in England?"),
        v1::Turn {
            sensitive: vec![mark(0, 2, v1::SensitiveKind::Other), mark(18, 23, v1::SensitiveKind::PaymentCard)],
            ..turn(v1::Speaker::Customer, "22 Acacia Avenue, Leeds, England")
        },
        turn(v1::Speaker::Agent, "What is your card?"),
        turn(v1::Speaker::Customer, "5500 0000"),
        turn(v1::Speaker::Agent, "ok"),
        turn(v1::Speaker::Customer, "0000 0004"),
    ];
    let stored = ingest.store_chat(new).await.unwrap().record_id;
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7").chat(&stored, PURPOSE).await.unwrap();
    let seen: Vec<_> = agent.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(
        seen,
        [
            "I paid for my order with [payment card] $50",
            "And what is your address?",
            "22 Acacia Avenue, Leeds, [payment card]",
            "[payment card]",
            "And what is your address in England?",
            "22 Acacia Avenue, [payment card], England",
            "What is your card?",
            "[payment card]",
            "ok",
            "[payment card]",
        ]
    );
}

/// The calls of the corpus; `None`, said aloud, where it is not there.
fn calls() -> Option<Vec<(Vec<u8>, Vec<v1::SpokenSpan>)>> {
    let folder = outside::corpus("calls")?;
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let about = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    Some(
        about
            .map(|path| {
                let about: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                let spans = about["spoken_pii"].as_array().unwrap().iter().map(|one| {
                    assert_eq!(one["kind"], "payment_card");
                    let ms = |name: &str| one[name].as_u64().unwrap();
                    let kind = v1::SensitiveKind::PaymentCard.into();
                    v1::SpokenSpan { start_ms: ms("start_ms"), end_ms: ms("end_ms"), kind }
                });
                (fs::read(path.with_extension("wav")).unwrap(), spans.collect())
            })
            .collect(),
    )
}

#[tokio::test]
async fn what_is_spoken_is_silent_for_an_agent_and_byte_identical_for_a_supervisor() {
    let Some(calls) = calls() else { return };
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let mut chance = Chance::of_test("masking, calls");
    assert_eq!(calls.len(), 6);
    let (mut spans, mut silent_bytes) = (0, 0);
    for (number, (wav, spoken)) in calls.iter().enumerate() {
        let about =
            v1::RecordingMetadata { sensitive: spoken.clone(), ..metadata(&format!("call-{number:04}"), "ada") };
        let record = ingest.store_call(about, wav).await.unwrap().record_id;
        let (header, heard) = supervisor.call(&record, PURPOSE, None).await.unwrap();
        assert!(heard == *wav && header.silenced.is_empty(), "call {number} is another for a supervisor");

        let (header, heard) = agent.call(&record, PURPOSE, None).await.unwrap();
        assert!(header.silenced == *spoken, "call {number}");
        assert_eq!(heard.len(), wav.len());
        // By the canonical header of 44 bytes and up: these files have their audio behind `data`.
        let data = 8 + wav.windows(4).position(|name| name == b"data").unwrap();
        let rate = usize::try_from(u32::from_le_bytes(wav[24..28].try_into().unwrap())).unwrap();
        let frame = usize::from(u16::from_le_bytes(wav[32..34].try_into().unwrap()));
        let silence = if u16::from_le_bytes(wav[20..22].try_into().unwrap()) == 1 { 0x00 } else { 0xff };
        let first = |ms: u64| usize::try_from(ms).unwrap() * rate / 1_000;
        let last = |ms: u64| (usize::try_from(ms).unwrap() * rate).div_ceil(1_000);
        let is_hidden = |at: usize| {
            let frame = (at - data) / frame;
            spoken.iter().any(|span| (first(span.start_ms)..last(span.end_ms)).contains(&frame))
        };
        for (at, (is, was)) in heard.iter().zip(wav).enumerate().skip(data) {
            let expected = if is_hidden(at) { silence } else { *was };
            assert!(*is == expected, "call {number}, byte {at}: {is:#04x} instead of {expected:#04x}");
            silent_bytes += usize::from(is_hidden(at));
        }
        assert!(heard[..data] == wav[..data], "call {number}: another header");
        spans += spoken.len();
        for _ in 0..20 {
            let offset = chance.below(wav.len());
            let length = 1 + chance.below((wav.len() - offset).min(400_000));
            let range = Some((offset as u64, length as u64));
            let part = agent.call(&record, PURPOSE, range).await.unwrap().1;
            assert!(part == heard[offset..offset + length], "call {number}, {offset}+{length}");
        }
    }
    crate::tell(&format!("{spans} spoken spans, {silent_bytes} bytes silent for an agent, in 6 calls"));
    assert!(spans >= 6 && silent_bytes > 100_000);
}

#[tokio::test]
async fn what_cannot_be_silenced_is_not_heard_at_all_by_whoever_may_not_hear_all_of_it() {
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let spoken = |kind: v1::SensitiveKind| vec![v1::SpokenSpan { start_ms: 1, end_ms: 2, kind: kind.into() }];
    let call = async |number: usize, sensitive: Vec<v1::SpokenSpan>| {
        let about = v1::RecordingMetadata { sensitive, ..metadata(&format!("call-{number:04}"), "ada") };
        ingest.store_call(about, b"ID3 this is no WAV file").await
    };
    let with_card = call(1, spoken(v1::SensitiveKind::PaymentCard)).await.unwrap().record_id;
    let with_phone = call(2, spoken(v1::SensitiveKind::Phone)).await.unwrap().record_id;
    let plain = call(3, Vec::new()).await.unwrap().record_id;
    for range in [None, Some((0, 3)), Some((20, 1))] {
        let refused = agent.call(&with_card, PURPOSE, range).await;
        assert_refused(refused, Code::FailedPrecondition, "NOT_MASKABLE");
        for may_be_heard in [&with_phone, &plain] {
            agent.call(may_be_heard, PURPOSE, range).await.unwrap();
        }
        supervisor.call(&with_card, PURPOSE, range).await.unwrap();
    }
    for (sensitive, field) in [
        (vec![v1::SpokenSpan { start_ms: 5, end_ms: 5, kind: 1 }], "metadata.sensitive[0].end_ms"),
        (vec![v1::SpokenSpan { start_ms: 1, end_ms: 5, kind: 0 }], "metadata.sensitive[0].kind"),
        (vec![v1::SpokenSpan { start_ms: 1, end_ms: 5, kind: 1 }; 1_001], "metadata.sensitive"),
    ] {
        let refused = call(9, sensitive).await.err().unwrap();
        assert_eq!(info(&refused, "field").as_deref(), Some(field));
    }
}
