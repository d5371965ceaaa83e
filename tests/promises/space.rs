//! What erased customers took of the disk comes back while the service serves, and can be seen before.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{PURPOSES, Server, files_below, free_port, metrics_at, oubliette, words};
use crate::tell;
use crate::wire::{Caller, chat, until};

fn database_bytes(server: &Server) -> u64 {
    files_below(&server.data_dir().join("db")).iter().map(|file| file.metadata().map_or(0, |about| about.len())).sum()
}

fn metric(port: u16, name: &str) -> Option<u64> {
    let text = metrics_at(port);
    text.lines().find_map(|line| line.strip_prefix(&format!("oubliette_{name} "))?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn space_of_the_erased_comes_back_while_the_service_serves() {
    const CUSTOMERS: usize = 400;
    const OUT_OF_REACH: &str = "1000000000";
    let port = free_port();
    let metrics = format!("\"127.0.0.1:{port}\"");
    let settings = [
        ("metrics.address", metrics.as_str()),
        ("limits.compact_check_s", "1"),
        ("limits.compact_dead_percent", "40"),
        // Out of reach until all is erased: else a copy is made in between, and nothing is left to give back.
        ("limits.compact_dead_bytes", OUT_OF_REACH),
    ];
    let mut server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let mut stored = Vec::new();
    for number in 0..CUSTOMERS {
        let record = ingest.store_chat(chat(&format!("chat-{number:04}"), &format!("person-{number}"))).await.unwrap();
        stored.push(record.record_id);
    }
    let erased: Vec<String> = (CUSTOMERS / 10..CUSTOMERS).map(|number| format!("person-{number}")).collect();
    let erased: Vec<&str> = erased.iter().map(String::as_str).collect();
    officer.erase_list("erase-0001", &erased).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap();
    assert!(config.contains(OUT_OF_REACH));
    fs::write(server.config(), config.replace(OUT_OF_REACH, "1000000")).unwrap();
    let mut peak = database_bytes(&server);
    server.restart().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    until("a look shows what can be reclaimed", async || metric(port, "database_file_bytes").unwrap_or(0) > 0).await;
    // Others read and write meanwhile, and wait for nobody.
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let (mut slowest, mut calls) = (Duration::ZERO, 0);
    let end = Instant::now() + Duration::from_secs(60);
    while database_bytes(&server) >= peak / 2 {
        peak = peak.max(database_bytes(&server));
        assert!(
            Instant::now() < end,
            "it is not compacted, peak {peak}, now {}: {}\n{}",
            database_bytes(&server),
            metrics_at(port),
            fs::read_to_string(server.log_file()).unwrap()
        );
        let began = Instant::now();
        supervisor.chat(&stored[calls % (CUSTOMERS / 10)], PURPOSES[0]).await.unwrap();
        ingest.store_chat(chat(&format!("more-{calls:05}"), "person-1")).await.unwrap();
        (slowest, calls) = (slowest.max(began.elapsed()), calls + 1);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    server.log_says("the database was compacted").await;
    until("the compaction is counted", async || metric(port, "compactions_total") >= Some(1)).await;
    let after = database_bytes(&server);
    let log = fs::read_to_string(server.log_file()).unwrap();
    let line = log.lines().rfind(|line| line.contains("the database was compacted")).unwrap();
    tell(&format!(
        "space: {peak} bytes before, {after} afterwards; {calls} reads and writes beside it, the slowest pair took {slowest:?}; {line}"
    ));
    assert!(metric(port, "compactions_total") >= Some(1), "something else gave it back");
    // What it cannot give back it does not try to give back over and over.
    let compactions = metric(port, "compactions_total").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(metric(port, "compactions_total").unwrap() <= compactions + 1, "it compacts without end");
    for record in &stored[..CUSTOMERS / 10] {
        supervisor.chat(record, PURPOSES[0]).await.unwrap();
    }
    assert_eq!(server.stop().await.code(), Some(0));
    // By way of another disk, where there is no room for both.
    let via = tempfile::tempdir().unwrap();
    let via_words = ["compact", "--json", "--via", via.path().to_str().unwrap(), "--config"];
    let output = oubliette(&via_words).arg(server.config()).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(said["rows"].as_u64() > Some(100), "{said}");
    server.restart().await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    for record in &stored[..CUSTOMERS / 10] {
        supervisor.chat(record, PURPOSES[0]).await.unwrap();
    }
    assert_eq!(server.stop().await.code(), Some(0));
}
