//! While the log cannot be written nothing is read, and it is again as soon as it can be, without anybody's hand.

use std::fs;
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use crate::audit::{auditor, entries};
use crate::fixture::{PURPOSES, Server};
use crate::wire::{Caller, chat, reason};

const PURPOSE: &str = PURPOSES[0];

/// Closed, or just beginning anew: then the connection breaks.
fn assert_refused_or_gone(outcome: Result<(), Status>) {
    let Err(status) = outcome else { panic!("a chat was read, and could not be entered") };
    let expected = [Code::Unavailable, Code::Internal, Code::ResourceExhausted, Code::Unknown, Code::Cancelled];
    assert!(expected.contains(&status.code()), "{status:?}");
}

#[tokio::test]
async fn while_the_log_cannot_be_written_nothing_is_read_and_as_soon_as_it_can_be_everything_is() {
    let mut server = Server::make(&[("limits.shutdown_grace_ms", "2000")]);
    server.survive_limits();
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let mut stored = vec![ingest.store_chat(chat("chat-00000", "ada")).await.unwrap().record_id];
    supervisor.chat(&stored[0], PURPOSE).await.unwrap();
    let pid = server.pid();

    // The database's file can grow no more: some writes later one fails.
    let file = server.data_dir().join("db/db");
    server.limit_files(Some(fs::metadata(&file).unwrap().len()));
    let mut refused = None;
    for number in 1..20_000 {
        match ingest.store_chat(chat(&format!("chat-{number:05}"), "ada")).await {
            Ok(record) => stored.push(record.record_id),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    let refused = refused.expect("the limit is never met");
    crate::tell(&format!("refused after {} chats: {refused:?}", stored.len()));
    assert!(["CLOSED_TO_WRITES", "INTERNAL", "DISK_RESERVE"].contains(&reason(&refused).as_str()), "{refused:?}");
    assert_refused_or_gone(supervisor.chat(&stored[0], PURPOSE).await.map(drop));
    // It begins anew, and may find room in the file once more: then a read is entered, and answered; and else refused.
    let (mut answered, mut refused) = (1, 1);
    server.log_says("begins anew").await;
    for _ in 0..60 {
        match supervisor.chat(&stored[0], PURPOSE).await {
            Ok(_) => answered += 1,
            Err(status) => {
                assert_refused_or_gone(Err(status));
                refused += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    server.limit_files(None);
    // The connection is made again by the client.
    let give_up = Instant::now() + Duration::from_secs(60);
    while let Err(status) = supervisor.chat(&stored[0], PURPOSE).await {
        let log = fs::read_to_string(server.log_file()).unwrap();
        assert!(Instant::now() < give_up, "it does not read again: {status:?}; its log:\n{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.pid(), pid, "somebody started it");
    // Whatever was answered is in the log, and whatever was acknowledged is there.
    let entries = entries(&auditor(&server, "acme").await).await;
    let entered = entries.iter().filter(|entry| entry.event == "read" && entry.fields["record"] == stored[0]).count();
    assert!(entered > answered, "{answered} reads were answered before, and {entered} are in the log");
    assert!(refused > 1, "no read was refused");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    for id in &stored {
        supervisor.chat(id, PURPOSE).await.unwrap();
    }
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.store_chat(chat("chat-after", "ada")).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
}

/// Stores chats until the store closes, for its file can grow no more.
async fn close_the_store(server: &Server, token: &str) {
    let ingest = Caller::of(server, token).await;
    let file = server.data_dir().join("db/db");
    server.limit_files(Some(fs::metadata(&file).unwrap().len()));
    for number in 0..20_000 {
        if ingest.store_chat(chat(&format!("fill-{number:05}"), "ada")).await.is_err() {
            return;
        }
    }
    panic!("the limit is never met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_any_moment_of_a_self_restart_is_obeyed() {
    // The service pauses for two seconds after `stopped`, and then takes its own place. Milliseconds from there on.
    const OFFSETS_MS: [u64; 16] =
        [0, 700, 1_900, 1_960, 1_975, 1_985, 1_992, 1_996, 2_000, 2_004, 2_008, 2_014, 2_022, 2_035, 2_060, 2_120];
    let mut lives = tokio::task::JoinSet::new();
    for offset in OFFSETS_MS {
        lives.spawn(async move {
            let mut server = Server::make(&[("limits.shutdown_grace_ms", "100")]);
            server.survive_limits();
            server.restart().await;
            let people = server.tenant_with_people("acme").await;
            close_the_store(&server, &people.ingest).await;
            server.log_says("stopped").await;
            tokio::time::sleep(Duration::from_millis(offset)).await;
            server.signal(rustix::process::Signal::TERM);
            (offset, server.ended().await)
        });
        // A few at a time, so that the moments are met.
        while lives.len() >= 4 {
            obeyed(lives.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(ended) = lives.join_next().await {
        obeyed(ended.unwrap());
    }
}

fn obeyed((offset, status): (u64, std::process::ExitStatus)) {
    assert_eq!(status.code(), Some(0), "{offset} ms after it stopped for its self-restart: {status:?}");
}
