//! A right that is taken away ends what was begun with it: open downloads and uploads too, within a minute. And a policy that cannot be used
//! changes nothing.

use std::fs;
use std::time::{Duration, Instant};

use oubliette::api::v1;
use oubliette::api::v1::download_recording_response::Payload;
use tonic::{Code, Status, Streaming};

use crate::fixture::{AGENT, PURPOSES, People, Server, TEAMS, free_port, metrics_at, oubliette, words};
use crate::wire::{Caller, assert_refused, chat, chunk, connect, first, metadata, reason};

const PURPOSE: &str = PURPOSES[0];
/// What the issue of a right's end promises.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A download that waits for its reader: begun, and its header taken.
async fn begin(server: &Server, token: &str, case: &str, record: &str) -> Streaming<v1::DownloadRecordingResponse> {
    let small = |endpoint: tonic::transport::Endpoint| {
        endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535)
    };
    let header = format!("Bearer {}", token.trim());
    let slow = Caller::over(connect(server, small).await, Some(&header));
    let request = v1::DownloadRecordingRequest {
        record_id: record.to_owned(),
        purpose: PURPOSE.to_owned(),
        reader_case_id: case.to_owned(),
        ..Default::default()
    };
    let mut stream = slow.records.clone().download_recording(request).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().payload, Some(Payload::Header(_))));
    stream
}

/// Takes a piece a second, as a player would, until the stream ends; how it ended.
async fn play(mut stream: Streaming<v1::DownloadRecordingResponse>) -> Option<Status> {
    loop {
        match stream.message().await {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

async fn start(settings: &[(&str, &str)]) -> (Server, People, String) {
    let server = Server::start_with(settings).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    // Longer than anybody who takes a piece a second waits for.
    let call = ingest.store_call(metadata("call-0001", "ada"), &vec![7; 48 << 20]).await.unwrap().record_id;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    (server, people, call)
}

#[tokio::test]
async fn a_download_ends_within_a_minute_of_the_end_of_what_it_was_begun_with() {
    let (server, people, call) = start(&[]).await;
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut token = async || {
        let create = v1::CreateTokenRequest {
            tenant: "acme".to_owned(),
            principal: AGENT.to_owned(),
            expires_at: Some(crate::wire::from_now(4)),
        };
        admin.create_token(create).await.unwrap().into_inner()
    };
    let expires = token().await.bearer;
    let revoked = {
        let create =
            v1::CreateTokenRequest { tenant: "acme".to_owned(), principal: "sam".to_owned(), expires_at: None };
        admin.create_token(create).await.unwrap().into_inner()
    };
    let streams = [
        ("its token ran out", begin(&server, &expires, "case-7", &call).await, "UNAUTHENTICATED"),
        ("its token was revoked", begin(&server, &revoked.bearer, "", &call).await, "UNAUTHENTICATED"),
        ("its role was taken", begin(&server, &people.supervisor, "", &call).await, "PERMISSION_DENIED"),
        ("its case was taken back", begin(&server, &people.agent, "case-7", &call).await, "NOT_FOUND"),
    ];
    let stays = begin(&server, &people.privacy_officer, "", &call).await;
    let revoke = v1::RevokeTokenRequest {
        tenant: "acme".to_owned(),
        token_id: revoked.token.unwrap().token_id,
        issued_to: String::new(),
    };
    admin.revoke_token(revoke).await.unwrap();
    let auditor = v1::Principal {
        name: "sam".to_owned(),
        roles: vec![v1::Role::Auditor.into()],
        teams: Vec::new(),
        ..Default::default()
    };
    let set = v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal: Some(auditor) };
    admin.set_principal(set).await.unwrap();
    ingest.unassign("case-7", "ada", AGENT).await.unwrap();
    let taken = Instant::now();
    let ends = streams.map(|(what, stream, expected)| {
        tokio::spawn(async move {
            let ended = tokio::time::timeout(A_MINUTE, play(stream)).await;
            let status = ended.unwrap_or_else(|_| panic!("{what}, and it runs on")).expect("it ended by itself");
            assert_eq!(reason(&status), expected, "{what}: {status:?}");
            taken.elapsed()
        })
    });
    let stays = tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(40), play(stays)).await });
    for end in ends {
        crate::tell(&format!("a download ended {:?} after what it was begun with", end.await.unwrap()));
    }
    assert!(stays.await.unwrap().is_err(), "the download of somebody who still may ended as well");
}

#[tokio::test]
async fn an_upload_ends_with_the_right_to_store_and_leaves_nothing() {
    let (server, people, _) = start(&[("limits.access_recheck_ms", "1000")]).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let before = crate::wire::objects(&server).len();
    let messages = async_messages();
    let upload = tokio::spawn(async move { ingest.records.clone().upload_recording(messages).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let auditor = v1::Principal {
        name: "loader".to_owned(),
        roles: vec![v1::Role::Auditor.into()],
        teams: Vec::new(),
        ..Default::default()
    };
    let set = v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal: Some(auditor) };
    admin.set_principal(set).await.unwrap();
    let ended = tokio::time::timeout(A_MINUTE, upload).await.expect("it goes on").unwrap();
    assert_refused(ended, Code::PermissionDenied, "PERMISSION_DENIED");
    crate::wire::until("the parts are gone", async || crate::wire::objects(&server).len() == before).await;
}

/// The messages of an upload that goes on for a minute.
fn async_messages() -> impl tokio_stream::Stream<Item = v1::UploadRecordingRequest> {
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let _ = sender.send(first(metadata("call-0002", "bob"))).await;
        for _ in 0..600 {
            if sender.send(chunk(&[1; 10_000])).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(messages)
}

#[tokio::test]
async fn a_broken_policy_is_refused_loudly_and_the_old_one_goes_on_and_a_good_one_decides_at_once() {
    let port = free_port();
    let metrics = format!("\"127.0.0.1:{port}\"");
    let (server, people, call) = start(&[("metrics.address", &metrics), ("limits.access_recheck_ms", "1000")]).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let open = begin(&server, &people.supervisor, "", &call).await;
    let file = server.dir().join("policy.cedar");
    server.set("policy.file", "\"policy.cedar\"");
    let default = include_str!("../../src/access/policy/default.cedar");
    let supervisors = "principal.roles.contains(\"supervisor\")";
    assert!(default.contains(supervisors));
    for (number, broken) in [
        "permit (principal".to_owned(),
        default.replace("resource.purposes", "resource.porpoises"),
        default.replace("GetTranscript", "GetTranscrypt").replace("is Record", "is Rekord"),
        "x".repeat(2 << 20),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, broken).unwrap();
        server.hang_up();
        let counted = format!("oubliette_alerts_total{{sort=\"policy_refused\"}} {}", number + 1);
        crate::wire::until("the policy is refused", async || metrics_at(port).contains(&counted)).await;
        supervisor.chat(&stored, PURPOSE).await.unwrap();
    }
    server.log_says("the policy is not taken over; the one of before goes on deciding").await;
    let checked = oubliette(&["policy", "check"]).arg(&file).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", words(&checked));

    // Without supervisors: decided at once, and what is open ends.
    fs::write(&file, default.replace(supervisors, "principal.roles.contains(\"nobody\")")).unwrap();
    let checked = oubliette(&["policy", "check"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", words(&checked));
    server.hang_up();
    server.log_says("the policy of the configuration decides from now on").await;
    assert_refused(supervisor.chat(&stored, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    let ended = tokio::time::timeout(A_MINUTE, play(open)).await.expect("it goes on").expect("it ended by itself");
    assert_eq!(reason(&ended), "NOT_FOUND");
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    agent.chat(&stored, PURPOSE).await.unwrap();
}

#[tokio::test]
async fn what_decides_is_told_to_those_who_look_after_the_policy() {
    let (server, people, _) = start(&[]).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let boss = crate::fixture::token_for(&server.admin_client().await, "acme", "boss", v1::Role::Admin, &[]).await;
    let explain = |args: &[&str]| {
        let all = [&["policy", "explain"], args].concat();
        let output = server.command(&boss, &all).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let read = ["--as", AGENT, "--action", "GetTranscript", "--purpose", PURPOSE, "--record", &stored];
    let without = explain(&read);
    assert!(
        without.contains(
            "refused\nat the door: allowed by readers may ask\nfor the record: refused by no rule permits it"
        ),
        "{without}"
    );
    let with = explain(&[&read[..], &["--on-case", "case-7"]].concat());
    assert!(with.contains("for the record: allowed by agents read on their cases"), "{with}");
    assert!(with.contains("the stated case is assigned to the principal") && with.contains(&format!("for {PURPOSE}")));
    let other = explain(&["--as", "sam", "--action", "GetTranscript", "--purpose", "unknown", "--record", &stored]);
    assert!(other.contains("for the record: refused by purpose"), "{other}");
    let erase = explain(&["--as", AGENT, "--action", "EraseCustomer"]);
    assert!(erase.contains("at the door: refused by no rule permits it"), "{erase}");
    let officer =
        server.command(&people.supervisor, &["policy", "explain", "--as", AGENT, "--action", "EraseCustomer"]);
    assert_eq!({ officer }.output().unwrap().status.code(), Some(3));
    assert!(TEAMS.iter().all(|team| !with.contains(team)), "names of teams are told");
}
