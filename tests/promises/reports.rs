//! A report of exposure names many customers. It ends like every other stream: with the right to see it, and for each customer with her erasure.

use std::time::{Duration, Instant};

use oubliette::api::v1;
use tonic::{Code, Status, Streaming};

use crate::fixture::{PURPOSES, Server, token_for};
use crate::wire::{Caller, assert_refused, chat, connect, reason};

/// So that the lines about them are several times what a client takes ahead.
const CUSTOMERS: usize = 1_200;
/// What a client takes ahead, and what of it may be under way besides: a message or two, a frame, what TLS holds.
const AHEAD: usize = 65_535 + 48 * 1024;

fn name(number: usize) -> String {
    format!("customer-{number:04}-end")
}

async fn begin(server: &Server, token: &str) -> Result<Streaming<v1::ReportExposureResponse>, Status> {
    let small = |endpoint: tonic::transport::Endpoint| {
        endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535)
    };
    let slow = Caller::over(connect(server, small).await, Some(&format!("Bearer {token}")));
    let asked = v1::ReportExposureRequest { principal: "sam".to_owned(), ..Default::default() };
    Ok(slow.audit.clone().report_exposure(asked).await?.into_inner())
}

async fn rest(stream: &mut Streaming<v1::ReportExposureResponse>, text: &mut Vec<u8>) -> Option<Status> {
    loop {
        match stream.message().await {
            Ok(Some(piece)) => text.extend_from_slice(&piece.chunk),
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

#[tokio::test]
async fn a_report_ends_with_the_right_to_see_it_and_names_nobody_who_was_erased_meanwhile() {
    let server = Server::start_with(&[("limits.access_recheck_ms", "1000")]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    for number in 0..CUSTOMERS {
        ingest.store_chat(chat(&format!("chat-{number:05}"), &name(number))).await.unwrap();
    }
    let list = v1::ListRecordsRequest { purpose: PURPOSES[0].to_owned(), page_size: 200, ..Default::default() };
    let shown = Caller::of(&server, &people.supervisor).await.list(list).await.unwrap();
    assert_eq!(shown.len(), CUSTOMERS);
    let admin = server.admin_client().await;
    let revoked = token_for(&admin, "acme", "otto", v1::Role::PrivacyOfficer, &[]).await;

    // Nobody takes anything of it.
    let mut ends = begin(&server, &revoked).await.unwrap();
    let mut open = begin(&server, &people.privacy_officer).await.unwrap();
    // Two at once: each may be large.
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let asked = v1::ReportExposureRequest { principal: "sam".to_owned(), ..Default::default() };
    let third = officer.audit.clone().report_exposure(asked).await;
    assert_refused(third, Code::ResourceExhausted, "OVERLOADED");

    let token_id = revoked.split('_').nth(1).unwrap().to_owned();
    let revoke = v1::RevokeTokenRequest { tenant: "acme".to_owned(), token_id, issued_to: String::new() };
    Caller::of(&server, &server.admin_token()).await.admin.revoke_token(revoke).await.unwrap();
    let erased: Vec<String> = (0..CUSTOMERS).step_by(15).map(name).collect();
    let ids: Vec<&str> = erased.iter().map(String::as_str).collect();
    let outcomes = officer.erase_list("list-0001", &ids).await.unwrap();
    assert!(outcomes.iter().all(|one| one.receipt.is_some()));

    // From here on nothing of them leaves; only what had left already arrives.
    let mut text = Vec::new();
    let ended = rest(&mut open, &mut text).await;
    assert!(ended.as_ref().is_none_or(|status| reason(status) == "ERASED_WHILE_READING"), "{ended:?}");
    let late = String::from_utf8_lossy(text.get(AHEAD.min(text.len())..).unwrap_or_default()).into_owned();
    assert!(
        ended.is_some() || late.contains("customer-"),
        "the report is too short to show anything: {} bytes",
        text.len()
    );
    assert!(!erased.iter().any(|name| late.contains(name)), "somebody is named after the erasure");

    let began = Instant::now();
    let mut text = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        rest(&mut ends, &mut text).await
    });
    let ended = ended.await.unwrap_or_else(|_| panic!("it goes on after {:?}", began.elapsed()));
    let expected = ["UNAUTHENTICATED", "ERASED_WHILE_READING"];
    assert!(ended.as_ref().is_some_and(|status| expected.contains(&reason(status).as_str())), "{ended:?}");

    // Both have made room; and a new report is whole, and says of them that they are erased.
    drop((open, ends));
    let mut whole = None;
    crate::wire::until("there is room for a report", async || {
        whole = begin(&server, &people.privacy_officer).await.ok();
        whole.is_some()
    })
    .await;
    let mut text = Vec::new();
    assert!(rest(&mut whole.unwrap(), &mut text).await.is_none());
    let text = String::from_utf8(text).unwrap();
    assert!(!erased.iter().any(|name| text.contains(name)));
    assert_eq!(text.matches("\"is_erased\":true").count(), erased.len());
    assert_eq!(text.matches("\"is_erased\":false").count(), CUSTOMERS - erased.len());
}
