//! An issuer says who calls: its tokens are taken for what they say and no more, the platform behind an agent is told too, and a name that is
//! blocked is blocked whatever it comes with.

use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oubliette::api::v1;
use serde_json::{Value, json};
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::fixture::{AGENT, PURPOSES, People, Server, TEAMS, token_for};
use crate::wire::{Caller, assert_refused, chat, connect, until};

const PURPOSE: &str = PURPOSES[0];
const ISSUER: &str = "https://login.example";

/// An issuer with one key.
struct Login {
    key: EcdsaKeyPair,
    kid: String,
}

impl Login {
    fn new(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key, kid: kid.to_owned() }
    }

    /// Writes its keys to a file.
    fn publish(&self, path: &Path) {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y }] });
        fs::write(path, set.to_string()).unwrap();
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        let signed = format!("{}.{}", part(&head), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Claims of an agent of `acme` that are good for an hour, changed.
fn claims(name: &str, change: &[(&str, Value)]) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": ISSUER, "aud": ["oubliette", "other"], "sub": name, "iat": now, "exp": now + 3_600,
        "realm": { "tenant": "acme", "roles": ["support-agent", "something else"] }, "teams": [TEAMS[0]],
    });
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    claims
}

/// A service that takes the tokens of an issuer, whose keys are read every second.
async fn start(login: &Login) -> (Server, People) {
    let mut server = Server::make(&[("limits.access_recheck_ms", "1000")]);
    login.publish(&server.dir().join("keys.json"));
    let mut config = fs::read_to_string(server.config()).unwrap();
    config.push_str(&format!(
        "\n[[identity.issuers]]\nissuer = \"{ISSUER}\"\naudience = \"oubliette\"\nkeys_file = \"keys.json\"\nrefresh_s = 1\npause_s = 1\n\
         tenant_claim = \"realm.tenant\"\nroles_claim = \"realm.roles\"\nteams_claim = \"teams\"\nrole_names = {{ \"support-agent\" = \"agent\" }}\n"
    ));
    fs::write(server.config(), config).unwrap();
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    (server, people)
}

#[tokio::test]
async fn an_issuers_token_is_taken_for_what_it_says_and_for_no_more() {
    let login = Login::new("one");
    let (server, people) = start(&login).await;
    server.tenant_with_people("globex").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", "jo", 3_600).await.unwrap();
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let read = async |token: &str| Caller::of(&server, token).await.working_on("case-7").chat(&stored, PURPOSE).await;
    read(&login.token(&claims("jo", &[]))).await.unwrap();
    // Another name has no case; another tenant has no such record; no claim names the tenant that runs the service.
    assert_refused(read(&login.token(&claims("jim", &[]))).await, Code::NotFound, "NOT_FOUND");
    let of = |tenant: &str| [("realm", json!({ "tenant": tenant, "roles": ["support-agent"] }))];
    assert_refused(read(&login.token(&claims("jo", &of("globex")))).await, Code::NotFound, "NOT_FOUND");
    let no_roles = [("realm", json!({ "tenant": "acme", "roles": ["supervisor"] }))];
    assert_refused(read(&login.token(&claims("jo", &no_roles))).await, Code::PermissionDenied, "PERMISSION_DENIED");
    let stranger = Login::new("one");
    let unsigned = {
        let token = login.token(&claims("jo", &[]));
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    for (what, token) in [
        ("of system", login.token(&claims("jo", &of("system")))),
        ("of a tenant that is not there", login.token(&claims("jo", &of("nowhere")))),
        ("expired", login.token(&claims("jo", &[("exp", json!(1_700_000_000))]))),
        ("for others", login.token(&claims("jo", &[("aud", json!("other"))]))),
        ("of another issuer", login.token(&claims("jo", &[("iss", json!("https://login.example/"))]))),
        ("signed by a stranger", stranger.token(&claims("jo", &[]))),
        ("unsigned", unsigned),
        ("too long", login.token(&claims("jo", &[("x", json!("y".repeat(9_000)))]))),
    ] {
        let refused = read(&token).await;
        assert!(refused.is_err(), "{what}: it is taken");
        if what != "too long" {
            assert_refused(refused, Code::Unauthenticated, "UNAUTHENTICATED");
        }
    }
    // Keys rotate: the new one is taken, the old one is not any more.
    let next = Login::new("two");
    next.publish(&server.dir().join("keys.json"));
    let token = next.token(&claims("jo", &[]));
    until("the new key is known", async || read(&token).await.is_ok()).await;
    let old = login.token(&claims("jo", &[]));
    assert_refused(read(&old).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_platform_that_calls_for_its_agent_is_told_beside_the_agent() {
    let login = Login::new("one");
    let (server, people) = start(&login).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", "jo", 3_600).await.unwrap();
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    // By `act` in the agent's token, and by the platform's own token beside the agent's.
    let by_act = login.token(&claims("jo", &[("act", json!({ "sub": "loader" }))]));
    Caller::of(&server, &by_act).await.working_on("case-7").chat(&stored, PURPOSE).await.unwrap();
    let agent: MetadataValue<_> = format!("Bearer {}", login.token(&claims("jo", &[]))).parse().unwrap();
    let beside = async |token: &str| {
        let caller =
            Caller::over(connect(&server, |endpoint| endpoint).await, Some(&format!("Bearer {}", token.trim())));
        let (record_id, reader_case_id) = (stored.clone(), "case-7".to_owned());
        let message = v1::GetTranscriptRequest { record_id, purpose: PURPOSE.to_owned(), reader_case_id, revision: 0 };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("on-behalf-of", agent.clone());
        caller.records.clone().get_transcript(request).await
    };
    beside(&people.ingest).await.unwrap();
    let others = server.tenant_with_people("globex").await;
    assert_refused(beside(&others.ingest).await, Code::Unauthenticated, "UNAUTHENTICATED");

    let auditor = token_for(&server.admin_client().await, "acme", "audrey", v1::Role::Auditor, &[]).await;
    let asked = v1::ListEntriesRequest { event: "read".to_owned(), ..Default::default() };
    let auditor = Caller::of(&server, &auditor).await;
    let entries = auditor.audit.clone().list_entries(asked).await.unwrap().into_inner().entries;
    let actors: Vec<_> = entries.iter().map(|entry| entry.fields.get("actor").map(String::as_str)).collect();
    assert_eq!(actors, [Some("loader"), Some("loader")]);
    assert!(entries.iter().all(|entry| entry.principal_alias == entries[0].principal_alias), "the agent is another");
}

#[tokio::test]
async fn a_name_that_is_blocked_is_blocked_whatever_it_comes_with() {
    let login = Login::new("one");
    let (server, people) = start(&login).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let issued = Caller::of(&server, &login.token(&claims(AGENT, &[]))).await.working_on("case-7");
    let own = Caller::of(&server, &people.agent).await.working_on("case-7");
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    for blocked in [false, true, false] {
        let principal = v1::Principal {
            name: AGENT.to_owned(),
            roles: vec![v1::Role::Agent.into()],
            teams: vec![TEAMS[0].to_owned()],
            blocked,
        };
        let set = v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal: Some(principal) };
        admin.set_principal(set).await.unwrap();
        for caller in [&issued, &own] {
            match (blocked, caller.chat(&stored, PURPOSE).await) {
                (false, read) => drop(read.unwrap()),
                (true, read) => drop(assert_refused(read, Code::Unauthenticated, "UNAUTHENTICATED")),
            }
        }
    }
}

#[tokio::test]
async fn failed_logins_are_counted_before_they_become_entries_and_a_source_of_too_many_is_refused() {
    let mut server = Server::start_with(&[("limits.failed_logins_per_minute", "40")]).await;
    let people = server.tenant_with_people("acme").await;
    let bad = Caller::of(&server, &format!("obl_{}_{}", "0".repeat(32), "0".repeat(64))).await;
    let list = || v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    for _ in 0..40 {
        assert_refused(bad.list(list()).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    for _ in 0..500 {
        assert_refused(bad.list(list()).await, Code::ResourceExhausted, "OVERLOADED");
    }
    // Whoever is right but comes from there waits as well, and is told how long.
    let good = Caller::of(&server, &people.supervisor).await;
    assert_refused(good.list(list()).await, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(server.stop().await.code(), Some(0));
    server.restart().await;
    let auditor = token_for(&server.admin_client().await, "system", "audrey", v1::Role::Auditor, &[]).await;
    let asked = v1::ListEntriesRequest { event: "authentication_failed".to_owned(), ..Default::default() };
    let auditor = Caller::of(&server, &auditor).await;
    let entries = auditor.audit.clone().list_entries(asked).await.unwrap().into_inner().entries;
    let told: Vec<_> =
        entries.iter().map(|entry| ["reason", "count", "sources"].map(|field| entry.fields[field].as_str())).collect();
    assert_eq!(told, [["unknown", "40", "1"]], "one entry, whatever came");
}
