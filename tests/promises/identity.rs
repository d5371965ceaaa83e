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
async fn a_token_or_a_role_of_an_issuer_is_taken_back_at_once_and_ends_what_is_open() {
    let login = Login::new("one");
    let (server, people) = start(&login).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", "jo", 3_600).await.unwrap();
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let token = |id: &str| login.token(&claims("jo", &[("jti", json!(id))]));
    let read = async |token: &str| Caller::of(&server, token).await.working_on("case-7").chat(&stored, PURPOSE).await;
    for id in ["stolen", "other"] {
        read(&token(id)).await.unwrap();
    }
    let auditor = token_for(&server.admin_client().await, "acme", "audrey", v1::Role::Auditor, &[]).await;
    let auditor = Caller::of(&server, &auditor).await;
    let mut watch = auditor.audit.clone().watch_entries(v1::WatchEntriesRequest::default()).await.unwrap().into_inner();
    let asked = v1::ListEntriesRequest { event: "read".to_owned(), ..Default::default() };
    let entries = auditor.audit.clone().list_entries(asked).await.unwrap().into_inner().entries;
    let stolen = entries[0].fields["credential"].clone();
    assert_ne!(stolen, entries[1].fields["credential"]);
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let mut revoke = async |issued_to: &str| {
        let (tenant, token_id, issued_to) = ("acme".to_owned(), stolen.clone(), issued_to.to_owned());
        admin.revoke_token(v1::RevokeTokenRequest { tenant, token_id, issued_to }).await
    };
    // It is not stored: whose it is has to be said.
    assert_refused(revoke("").await, Code::NotFound, "NOT_FOUND");
    assert!(revoke("jo").await.unwrap().into_inner().token.unwrap().revoked);
    assert!(revoke("jo").await.unwrap().into_inner().token.unwrap().revoked, "a repeat");
    assert_refused(read(&token("stolen")).await, Code::Unauthenticated, "UNAUTHENTICATED");
    read(&token("other")).await.unwrap();

    // The tenant gives the name another role: the token's is worth nothing from then on, also on an open stream.
    let roles = |roles: &[v1::Role]| v1::SetPrincipalRequest {
        tenant: "acme".to_owned(),
        principal: Some(v1::Principal {
            name: "jo".to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..Default::default()
        }),
    };
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    admin.set_principal(roles(&[v1::Role::Auditor])).await.unwrap();
    assert_refused(read(&token("other")).await, Code::PermissionDenied, "PERMISSION_DENIED");
    admin.set_principal(roles(&[v1::Role::Agent, v1::Role::Supervisor])).await.unwrap();
    read(&token("other")).await.unwrap();
    watch.message().await.unwrap().unwrap();
    // Longer than a token may live, by what it says or by what is left.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (iat, exp) in [(json!(now - 86_400), now + 3_600), (Value::Null, now + 90_000), (json!(now), now + 86_500)] {
        let mut long = claims("jo", &[("exp", json!(exp))]);
        match iat {
            Value::Null => drop(long.as_object_mut().unwrap().remove("iat")),
            iat => long["iat"] = iat,
        }
        assert_refused(read(&login.token(&long)).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn two_issuers_name_nobody_of_the_others_and_no_tenant_but_their_own() {
    let (staff, contractors) = (Login::new("staff"), Login::new("contractors"));
    let mut server = Server::make(&[]);
    staff.publish(&server.dir().join("staff.json"));
    contractors.publish(&server.dir().join("contractors.json"));
    let path = server.config();
    let config = fs::read_to_string(&path).unwrap();
    let with = |more: &str| {
        let of = |issuer: &str, keys: &str, more: &str| {
            format!(
                "\n[[identity.issuers]]\nissuer = \"{issuer}\"\naudience = \"oubliette\"\nkeys_file = \"{keys}\"\n\
                 roles_claim = \"realm.roles\"\nrole_names = {{ \"support-agent\" = \"agent\" }}\n{more}\n"
            )
        };
        let staff = "tenant_claim = \"realm.tenant\"\nname_claim = \"login\"\nname_prefix = \"in:\"";
        let staff = of(ISSUER, "staff.json", staff);
        fs::write(&path, format!("{config}{staff}{}", of("https://other.example", "contractors.json", more)))
    };
    // Both may name a principal of one tenant: which of them is meant could not be told.
    for unclear in [
        "tenant = \"acme\"",
        "tenant_claim = \"realm.tenant\"\ntenants = [\"acme\"]",
        // A name of the one could begin with the rest.
        "tenant = \"acme\"\nname_prefix = \"in:ext:\"",
    ] {
        with(unclear).unwrap();
        let refused = server.try_start().await.unwrap_err();
        assert!(refused.contains("name_prefix"), "{refused}");
    }
    with("tenant = \"system\"\nname_prefix = \"x:\"").unwrap();
    assert!(server.try_start().await.is_err(), "an issuer of the tenant that runs the service");
    with("tenant_claim = \"realm.tenant\"\ntenants = [\"acme\"]\nname_prefix = \"ext:\"\nmax_life_s = 600").unwrap();
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    server.tenant_with_people("globex").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", "in:jo", 3_600).await.unwrap();
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let read = async |token: &str| Caller::of(&server, token).await.working_on("case-7").chat(&stored, PURPOSE).await;
    let by_staff =
        |change: &[(&str, Value)]| staff.token(&claims("7f3a", &[&[("login", json!("jo"))], change].concat()));
    read(&by_staff(&[])).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let outside = [("iss", json!("https://other.example")), ("exp", json!(now + 300))];
    let theirs = |change: &[(&str, Value)]| contractors.token(&claims("jo", &[&outside[..], change].concat()));
    // The same name is another's, and a case of hers is not his.
    assert_refused(read(&theirs(&[])).await, Code::NotFound, "NOT_FOUND");
    ingest.assign("case-7", "ada", "ext:jo", 3_600).await.unwrap();
    read(&theirs(&[])).await.unwrap();
    let elsewhere = [("realm", json!({ "tenant": "globex", "roles": ["support-agent"] }))];
    assert_refused(read(&theirs(&elsewhere)).await, Code::Unauthenticated, "UNAUTHENTICATED");
    // Who calls for somebody is found by the same claim as who is called for: so a block is not passed over.
    let behind = |act: Value| by_staff(&[("act", act)]);
    read(&behind(json!({ "sub": "55aa", "login": "dialer" }))).await.unwrap();
    let nameless = read(&behind(json!({ "sub": "55aa" }))).await;
    assert_refused(nameless, Code::Unauthenticated, "UNAUTHENTICATED");
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let roles = vec![v1::Role::Ingest.into()];
    let dialer = v1::Principal { name: "in:dialer".to_owned(), roles, blocked: true, ..Default::default() };
    let set = v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal: Some(dialer) };
    admin.set_principal(set).await.unwrap();
    let blocked = read(&behind(json!({ "sub": "55aa", "login": "dialer" }))).await;
    assert_refused(blocked, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn failed_logins_are_counted_before_they_become_entries_and_a_source_of_too_many_is_refused() {
    let mut server = Server::start_with(&[("limits.failed_logins_per_minute", "40")]).await;
    let people = server.tenant_with_people("acme").await;
    let bad = Caller::of(&server, &format!("obl_{}_{}", "0".repeat(32), "0".repeat(64))).await;
    let list = || v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    let known = Caller::of(&server, &people.supervisor).await;
    known.list(list()).await.unwrap();
    for _ in 0..40 {
        assert_refused(bad.list(list()).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    for _ in 0..500 {
        assert_refused(bad.list(list()).await, Code::ResourceExhausted, "OVERLOADED");
    }
    // Whoever comes from there for the first time waits as well, and is told how long. Who was let in before goes on.
    let new = Caller::of(&server, &people.privacy_officer).await;
    assert_refused(new.list(list()).await, Code::ResourceExhausted, "OVERLOADED");
    known.list(list()).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    server.restart().await;
    let auditor = token_for(&server.admin_client().await, "system", "audrey", v1::Role::Auditor, &[]).await;
    let asked = v1::ListEntriesRequest { event: "authentication_failed".to_owned(), ..Default::default() };
    let auditor = Caller::of(&server, &auditor).await;
    let entries = auditor.audit.clone().list_entries(asked).await.unwrap().into_inner().entries;
    let told: Vec<_> =
        entries.iter().map(|entry| ["reason", "count", "sources"].map(|field| entry.fields[field].as_str())).collect();
    assert_eq!(told, [["rate_limited", "501", "1"], ["unknown", "40", "1"]], "an entry for each reason, whatever came");
}
