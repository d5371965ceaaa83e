//! The ledger shows who did what, to those who may examine it; it is proven, copied and checked; and it tells exactly what somebody has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use oubliette::api::v1;
use oubliette::audit::merkle;
use oubliette::audit::note::{Checkpoint, VerifierKey};
use tonic::Code;

use crate::elsewhere;
use crate::fixture::{PURPOSES, People, Server, oubliette, token_for, words};
use crate::wire::{Caller, assert_refused, chat, info, metadata, reason, until};

const PURPOSE: &str = PURPOSES[0];

async fn start() -> (Server, People) {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    (server, people)
}

/// All entries that this caller sees, in pages of 200.
pub async fn entries(caller: &Caller) -> Vec<v1::LogEntry> {
    let mut asked = v1::ListEntriesRequest { page_size: 200, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = caller.audit.clone().list_entries(asked.clone()).await.unwrap().into_inner();
        all.extend(page.entries);
        if page.next_page_token.is_empty() {
            return all;
        }
        asked.page_token = page.next_page_token;
    }
}

pub async fn auditor(server: &Server, tenant: &str) -> Caller {
    let token = token_for(&server.admin_client().await, tenant, "audrey", v1::Role::Auditor, &[]).await;
    Caller::of(server, &token).await
}

#[tokio::test]
async fn an_auditor_sees_who_did_what_in_the_own_tenant_and_nothing_personal() {
    let (server, people) = start().await;
    let strangers = server.tenant_with_people("globex").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let stored = ingest.store_chat(chat("chat-0001", "ada-lovelace")).await.unwrap().record_id;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    supervisor.chat(&stored, PURPOSE).await.unwrap();
    supervisor.list(v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() }).await.unwrap();
    let theirs = Caller::of(&server, &strangers.supervisor).await;
    assert_refused(theirs.chat(&stored, PURPOSE).await, Code::NotFound, "NOT_FOUND");

    let seen = entries(&auditor(&server, "acme").await).await;
    let of = |event: &str| seen.iter().filter(|entry| entry.event == event).collect::<Vec<_>>();
    let read = of("read");
    assert_eq!((read.len(), read[0].principal.as_str(), read[0].action.as_str()), (1, "sam", "GetTranscript"));
    assert_eq!((read[0].fields["record"].as_str(), read[0].fields["purpose"].as_str()), (stored.as_str(), "0"));
    assert_eq!(of("listed")[0].fields["records"], stored);
    assert_eq!((of("stored").len(), of("stored")[0].principal.as_str()), (1, "loader"));
    assert!(of("refused").is_empty() && of("log_key").is_empty(), "entries of another tenant, or of the log itself");
    let of_theirs = entries(&auditor(&server, "globex").await).await;
    assert!(of_theirs.iter().any(|entry| entry.event == "refused" && entry.principal == "sam"));
    assert!(!of_theirs.iter().any(|entry| entry.event == "read" || entry.event == "stored"));
    // Whoever belongs to `system` sees all, in their places.
    let all = entries(&auditor(&server, "system").await).await;
    assert!(all.iter().zip(0..).all(|(entry, position)| entry.position == position));
    assert!(all.len() > seen.len() + of_theirs.len());
    for entry in &all {
        let shown = format!("{:?}{:?}", entry.entry, entry.fields);
        for word in ["lovelace", "loader", "charged", "case-7", "first-line"] {
            let bytes = entry.entry.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!bytes && !shown.contains(word), "{word} in entry {}", entry.position);
        }
    }
    // By principal, and by event.
    let auditor = auditor(&server, "acme").await;
    let asked =
        v1::ListEntriesRequest { principal: "sam".to_owned(), event: "listed".to_owned(), ..Default::default() };
    let found = auditor.audit.clone().list_entries(asked).await.unwrap().into_inner().entries;
    assert!(found.iter().all(|entry| entry.principal == "sam" && entry.event == "listed") && found.len() == 1);
    for token in [&people.ingest, &people.agent, &people.supervisor] {
        let denied = Caller::of(&server, token).await.audit.list_entries(v1::ListEntriesRequest::default()).await;
        assert_refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
    }
}

#[tokio::test]
async fn whoever_watches_sees_entries_as_they_come_and_only_for_as_long_as_that_one_may() {
    let server = Server::start_with(&[("limits.access_recheck_ms", "1000")]).await;
    let people = server.tenant_with_people("acme").await;
    let mut auditor = auditor(&server, "acme").await;
    let mut watch = auditor.audit.watch_entries(v1::WatchEntriesRequest::default()).await.unwrap().into_inner();
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut records = Vec::new();
    for number in 0..5 {
        records.push(ingest.store_chat(chat(&format!("chat-{number:04}"), "ada")).await.unwrap().record_id);
    }
    let mut seen = Vec::new();
    while seen.len() < records.len() {
        let next = tokio::time::timeout(Duration::from_secs(30), watch.message()).await.expect("nothing comes");
        let entry = next.unwrap().unwrap().entry.unwrap();
        if entry.event == "stored" {
            seen.push(entry.fields["record"].clone());
        }
    }
    assert_eq!(seen, records);
    // From a position on: the same again.
    let from = v1::WatchEntriesRequest { from_position: Some(0) };
    let mut again = auditor.audit.watch_entries(from).await.unwrap().into_inner();
    let first = again.message().await.unwrap().unwrap().entry.unwrap();
    assert!(first.position < 40, "{}", first.position);
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let roles = vec![v1::Role::Ingest.into()];
    let principal = Some(v1::Principal { name: "audrey".to_owned(), roles, teams: Vec::new(), ..Default::default() });
    admin.set_principal(v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal }).await.unwrap();
    let ended = async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it goes on");
    assert_eq!(reason(&status), "PERMISSION_DENIED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_loses_nothing_while_many_write() {
    const EACH: usize = 250;
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let mut watcher = auditor(&server, "acme").await;
    let from = v1::WatchEntriesRequest { from_position: Some(0) };
    let mut watch = watcher.audit.watch_entries(from).await.unwrap().into_inner();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let ingest = Caller::of(&server, &people.ingest).await;
        writers.spawn(async move {
            for number in 0..EACH {
                let chat = chat(&format!("chat-{writer}-{number:04}"), &format!("customer-{writer}"));
                ingest.store_chat(chat).await.unwrap();
            }
        });
    }
    let mut seen = Vec::new();
    let mut stored = 0;
    while stored < 4 * EACH {
        let next = tokio::time::timeout(Duration::from_secs(60), watch.message()).await;
        let next = next.unwrap_or_else(|_| panic!("{} of {} came", stored, 4 * EACH)).unwrap().unwrap();
        let entry = next.entry.unwrap();
        stored += usize::from(entry.event == "stored");
        seen.push(entry.position);
    }
    writers.join_all().await;
    let all = entries(&auditor(&server, "acme").await).await;
    let until = *seen.last().unwrap();
    let listed: Vec<_> = all.iter().map(|entry| entry.position).filter(|position| *position <= until).collect();
    assert_eq!(seen, listed);
}

#[tokio::test]
async fn the_command_that_watches_goes_on_where_a_stream_ended() {
    let server = Server::start_with(&[("limits.stream_deadline_ms", "1000")]).await;
    let people = server.tenant_with_people("acme").await;
    let token = token_for(&server.admin_client().await, "acme", "audrey", v1::Role::Auditor, &[]).await;
    let mut command = server.command(&token, &["audit", "watch", "--from-position", "0"]);
    let mut watch = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut stored = Vec::new();
    for number in 0..14 {
        stored.push(ingest.store_chat(chat(&format!("chat-{number:04}"), "ada")).await.unwrap().record_id);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    watch.kill().unwrap();
    let seen = watch.wait_with_output().unwrap().stdout;
    let lines = String::from_utf8(seen).unwrap();
    let entries = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let seen: Vec<_> = entries
        .filter(|entry| entry["event"] == "stored")
        .map(|entry| entry["fields"]["record"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(seen, stored);
}

#[tokio::test]
async fn what_is_done_through_a_platform_or_to_a_tenant_from_outside_is_seen_and_reported() {
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let one = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let two = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap().record_id;
    Caller::of(&server, &people.supervisor).await.chat(&two, PURPOSE).await.unwrap();
    // The platform reads for the supervisor.
    let mut request = tonic::Request::new(v1::GetTranscriptRequest {
        record_id: one.clone(),
        purpose: PURPOSE.to_owned(),
        ..Default::default()
    });
    request.metadata_mut().insert("on-behalf-of", format!("Bearer {}", people.supervisor).parse().unwrap());
    ingest.records.clone().get_transcript(request).await.unwrap();
    ingest.assignments("bob").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let at = path.display().to_string();
    let report = |how: &[&str]| {
        let args = [&["audit", "exposure"], how, &["-o", &at]].concat();
        let made = server.command(&people.privacy_officer, &args).output().unwrap();
        assert!(made.status.success(), "{}", words(&made));
        told(&path)
    };
    let of = |customer: &str, records: &[&String]| {
        (Some(customer.to_owned()), records.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>())
    };
    // What it stored, what it read for somebody, and whose cases it looked at; by its name and by its token.
    let all = BTreeMap::from([of("ada", &[&one]), of("bob", &[&two])]);
    assert_eq!(report(&["--principal", "loader"]), all);
    let token = people.ingest.split('_').nth(1).unwrap();
    assert_eq!(report(&["--token", token]), all);
    assert_eq!(report(&["--principal", "sam"]), all);
    let seen = entries(&auditor(&server, "acme").await).await;
    let read = seen.iter().find(|entry| entry.event == "read" && entry.fields["record"] == one).unwrap();
    assert_eq!((read.principal.as_str(), read.fields["actor"].as_str()), ("sam", "loader"));
    assert_eq!(read.fields["actor_credential"], token);
    let listed = seen.iter().filter(|entry| entry.event == "cases_listed").count();
    assert_eq!(listed, 1);
    // Somebody of `system` made these principals and tokens: the tenant sees that.
    let made = seen.iter().filter(|entry| entry.action == "SetPrincipal" && entry.principal.is_empty()).count();
    assert!(made > 4, "{made} principals made from outside are seen");
    // And nobody else does.
    server.tenant_with_people("globex").await;
    let theirs = entries(&auditor(&server, "globex").await).await;
    assert!(!theirs.iter().any(|entry| seen.iter().any(|ours| ours.position == entry.position)));
}

/// The public keys of the log.
async fn keys(server: &Server, people: &People) -> (Vec<VerifierKey>, String) {
    let officer = Caller::of(server, &people.privacy_officer).await;
    let keys = officer.log_keys().await.unwrap();
    (keys.iter().map(|key| VerifierKey::parse(key).unwrap()).collect(), keys.join("\n"))
}

#[tokio::test]
async fn every_entry_is_proven_to_be_in_the_signed_log_and_each_log_to_continue_the_ones_before() {
    let (server, people) = start().await;
    let (keys, _) = keys(&server, &people).await;
    let mut auditor = auditor(&server, "system").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut checkpoints = Vec::new();
    for number in 0..12 {
        ingest.store_chat(chat(&format!("chat-{number:04}"), "ada")).await.unwrap();
        let note = auditor.audit.get_checkpoint(v1::GetCheckpointRequest {}).await.unwrap().into_inner().note;
        checkpoints.push(Checkpoint::open(&note, &keys).unwrap());
    }
    let newest = checkpoints.last().unwrap().clone();
    let hashes = |hashes: Vec<bytes::Bytes>| -> Vec<merkle::Hash> {
        hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect()
    };
    for entry in entries(&auditor).await.iter().filter(|entry| entry.position < newest.size) {
        let asked = v1::GetInclusionProofRequest { position: entry.position, tree_size: newest.size };
        let proof = auditor.audit.get_inclusion_proof(asked).await.unwrap().into_inner();
        let leaf = merkle::leaf(&entry.entry);
        assert_eq!(proof.leaf_hash, leaf.to_vec());
        merkle::check_inclusion(&leaf, entry.position, newest.size, &hashes(proof.hashes), &newest.root).unwrap();
    }
    for earlier in &checkpoints {
        let asked = v1::GetConsistencyProofRequest { from_size: earlier.size, to_size: newest.size };
        let proof = hashes(auditor.audit.get_consistency_proof(asked).await.unwrap().into_inner().hashes);
        merkle::check_consistency((earlier.size, &earlier.root), (newest.size, &newest.root), &proof).unwrap();
    }
    for (position, tree_size, field) in
        [(0, 0, "tree_size"), (newest.size, newest.size, "position"), (0, u64::MAX, "tree_size")]
    {
        let asked = v1::GetInclusionProofRequest { position, tree_size };
        let refused = auditor.audit.get_inclusion_proof(asked).await.err().unwrap();
        assert_eq!(info(&refused, "field").as_deref(), Some(field));
    }
}

fn audit(args: &[&str]) -> Output {
    oubliette(&[&["audit"], args].concat()).output().unwrap()
}

#[tokio::test]
async fn a_copy_of_the_log_is_checked_by_us_and_by_others_and_a_witness_cosigns_it() {
    let (server, people) = start().await;
    let (_, keys) = keys(&server, &people).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("log.pub"), &keys).unwrap();
    let ingest = Caller::of(&server, &people.ingest).await;
    let export = async |records: std::ops::Range<usize>| {
        for number in records {
            ingest.store_chat(chat(&format!("chat-{number:04}"), "ada")).await.unwrap();
        }
        let published = server.data_dir().join("log/checkpoint");
        let size = || std::fs::read_to_string(&published).ok()?.lines().nth(1)?.parse::<u64>().ok();
        let (before, config) = (size(), server.config().display().to_string());
        until("the log's files grow", async || size() > before).await;
        let copied = audit(&["export", "--to", &at("copy"), "--config", &config]);
        assert!(copied.status.success(), "{}", words(&copied));
    };
    export(0..300).await;
    std::fs::copy(at("copy/checkpoint"), at("first.note")).unwrap();
    export(300..320).await;
    let (copy, key, earlier) = (at("copy"), at("log.pub"), at("first.note"));
    let check = [&copy[..], "--key", &key, "--earlier", &earlier];
    let whole = audit(&[&["verify"], &check[..]].concat());
    assert!(whole.status.success(), "{}", words(&whole));
    let first_key = keys.lines().next().unwrap();
    if let Some(theirs) = elsewhere::run("verify_log.py", &[&copy, "--key", first_key, "--earlier", &earlier]) {
        assert!(theirs.status.success(), "{}", words(&theirs));
    }

    // A witness, twice: the second time it holds the log to what it cosigned.
    let (name, kept, witness_key) = ("auditors.example", at("kept.note"), at("witness.key"));
    let witness = |input: &Path, more: &[&str]| {
        let mut command = oubliette(&["audit", "witness", "--name", name, "--signing-key", &witness_key]);
        command.args(["--kept", &kept, "--key", &key]).args(more);
        command.stdin(std::fs::File::open(input).unwrap()).output().unwrap()
    };
    let public = String::from_utf8(witness(Path::new(&key), &["--show-key"]).stdout).unwrap().trim().to_owned();
    let ask = |from: &[&str]| {
        let asked = audit(&[&["request", &copy, "--key", &key], from].concat());
        assert!(asked.status.success(), "{}", words(&asked));
        std::fs::write(at("request"), &asked.stdout).unwrap();
        witness(Path::new(&at("request")), &[])
    };
    let answer = ask(&[]);
    assert!(answer.status.success(), "{}", words(&answer));
    std::fs::write(at("answer"), &answer.stdout).unwrap();
    let cosigned = audit(&["cosign", &at("copy/checkpoint"), &at("answer"), "--witness", &public]);
    assert!(cosigned.status.success(), "{}", words(&cosigned));
    std::fs::write(at("copy/checkpoint"), &cosigned.stdout).unwrap();
    let counted = audit(&[&["verify"], &check[..], &["--witness", &public]].concat());
    assert!(String::from_utf8_lossy(&counted.stdout).contains("cosigned by auditors.example"), "{}", words(&counted));
    assert!(!ask(&[]).status.success(), "the witness forgot what it had cosigned");
    // A witness that is missing is no success, nor is another one's answer.
    let stranger = oubliette(&["audit", "witness", "--name", "other.example", "--signing-key", &at("other.key")])
        .args(["--kept", &at("other.note"), "--key", &key, "--show-key"])
        .output()
        .unwrap();
    let stranger = String::from_utf8(stranger.stdout).unwrap().trim().to_owned();
    let both = ["--witness", &public, "--witness", &stranger];
    let missing = audit(&[&["verify"], &check[..], &both[..]].concat());
    assert_eq!(missing.status.code(), Some(1), "{}", words(&missing));
    let enough = audit(&[&["verify"], &check[..], &both[..], &["--quorum", "1"]].concat());
    assert!(enough.status.success(), "{}", words(&enough));
    let others = audit(&["cosign", &at("copy/checkpoint"), &at("answer"), "--witness", &stranger]);
    assert_eq!(others.status.code(), Some(1), "{}", words(&others));
    // Several at once: each waits for the one before, and is then told to go on from what the other cosigned.
    std::fs::remove_file(&kept).unwrap();
    let at_once = || {
        let mut command = oubliette(&["audit", "witness", "--name", name, "--signing-key", &witness_key]);
        command.args(["--kept", &kept, "--key", &key]).stdin(std::fs::File::open(at("request")).unwrap());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    std::fs::write(at("request"), audit(&["request", &copy, "--key", &key]).stdout).unwrap();
    let witnesses: Vec<_> = (0..4).map(|_| at_once()).collect();
    let cosigned = witnesses.into_iter().map(|one| one.wait_with_output().unwrap());
    assert_eq!(
        cosigned.filter(|one| one.status.success()).count(),
        1,
        "one history was cosigned more than once from nothing"
    );
    assert!(ask(&["--from", &kept]).status.success(), "it does not go on from what it had cosigned");

    // Whatever is changed is found.
    let bundle = folder.path().join("copy/tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let changed = audit(&[&["verify"], &check[..]].concat());
    assert_eq!(changed.status.code(), Some(1));
    assert!(words(&changed).contains("entry 0 "), "{}", words(&changed));
}

/// What a report says, by customer: its records.
pub fn told(report: &Path) -> BTreeMap<Option<String>, BTreeSet<String>> {
    let text = std::fs::read_to_string(report).unwrap();
    let lines = text.split("\n\n").next().unwrap().lines().skip(1);
    let mut told: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let records =
            line["records"].as_array().unwrap().iter().map(|one| one["record_id"].as_str().unwrap().to_owned());
        told.entry(line["customer_id"].as_str().map(str::to_owned)).or_default().extend(records);
    }
    told
}

#[tokio::test]
async fn a_report_names_exactly_the_customers_and_records_that_somebody_touched() {
    let (server, people) = start().await;
    let (_, keys) = keys(&server, &people).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut records = BTreeMap::new();
    for number in 0..30 {
        let customer = format!("customer-{number:02}");
        let one = ingest.store_chat(chat(&format!("chat-{number:04}"), &customer)).await.unwrap().record_id;
        let two =
            ingest.store_call(metadata(&format!("call-{number:04}"), &customer), &[1; 9]).await.unwrap().record_id;
        records.insert(customer, [one, two]);
    }
    let (supervisor, officer) =
        (Caller::of(&server, &people.supervisor).await, Caller::of(&server, &people.privacy_officer).await);
    let mut expected: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for (number, (customer, [one, two])) in records.iter().enumerate() {
        let touched = match number % 5 {
            0 => vec![supervisor.chat(one, PURPOSE).await.map(|_| one).unwrap()],
            1 => vec![supervisor.call(two, PURPOSE, Some((0, 1))).await.map(|_| two).unwrap()],
            2 => vec![supervisor.record(one, PURPOSE).await.map(|_| one).unwrap()],
            3 => {
                let customer_id = customer.clone();
                let asked = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), customer_id, ..Default::default() };
                supervisor.list(asked).await.unwrap();
                vec![one, two]
            }
            // Others read it, and it is refused to this one.
            _ => {
                officer.chat(one, PURPOSE).await.unwrap();
                assert!(supervisor.chat(one, "unknown").await.is_err());
                continue;
            }
        };
        expected.entry(Some(customer.clone())).or_default().extend(touched.into_iter().cloned());
    }
    officer.erase("erase-0001", "customer-00").await.unwrap();
    let erased = expected.remove(&Some("customer-00".to_owned())).unwrap();
    expected.insert(None, erased);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sam.exposure");
    let at = path.display().to_string();
    let report = |token: &str| {
        let mut command = server.command(token, &["audit", "exposure", "--principal", "sam", "-o", &at]);
        command.output().unwrap()
    };
    assert_eq!(report(&people.supervisor).status.code(), Some(3), "whoever is suspected reports about the own reading");
    let made = report(&people.privacy_officer);
    assert!(made.status.success(), "{}", words(&made));
    assert_eq!(told(&path), expected);
    let key = folder.path().join("log.pub");
    std::fs::write(&key, keys).unwrap();
    let check = || audit(&["verify-exposure", &at, "--key", &key.display().to_string()]);
    assert!(check().status.success());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(check().status.code(), Some(1));
    // Nobody reports about oneself, by name or by token, whatever role; and what was reported is told of who did it.
    let whom = |principal: &str| v1::ReportExposureRequest { principal: principal.to_owned(), ..Default::default() };
    let own = officer.audit.clone().report_exposure(whom("petra")).await;
    assert_refused(own, Code::PermissionDenied, "SECOND_PERSON");
    let token_id = people.privacy_officer.split('_').nth(1).unwrap().to_owned();
    let own = v1::ReportExposureRequest { token_id, ..Default::default() };
    let own = officer.audit.clone().report_exposure(own).await;
    assert_refused(own, Code::PermissionDenied, "SECOND_PERSON");
    let second = token_for(&server.admin_client().await, "acme", "otto", v1::Role::PrivacyOfficer, &[]).await;
    let other = server.command(&second, &["audit", "exposure", "--principal", "petra", "-o", &at]).output().unwrap();
    assert!(other.status.success(), "{}", words(&other));
    let head = std::fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    let head: serde_json::Value = serde_json::from_str(&head).unwrap();
    assert_eq!((head["reports"].as_u64(), head["names_customers"].as_bool()), (Some(1), Some(true)));

    // Of a frozen tenant it tells how much it was, and opens nobody's name.
    officer.admin.clone().freeze_tenant(v1::FreezeTenantRequest::default()).await.unwrap();
    let frozen = report(&people.privacy_officer);
    assert!(frozen.status.success(), "{}", words(&frozen));
    let nameless: BTreeSet<String> = expected.values().flatten().cloned().collect();
    assert_eq!(told(&path), BTreeMap::from([(None, nameless)]));
    assert!(check().status.success());
    // Nothing asked, nothing told.
    let nothing = officer.audit.clone().report_exposure(v1::ReportExposureRequest::default()).await;
    assert_refused(nothing, Code::InvalidArgument, "MISSING");
}
