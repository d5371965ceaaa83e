//! Claims of the wrong kind, of another's, out of time; and the identity that good ones give.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::forge::{Signer, with, without};
use super::{NOW, good_claims, identify, mapping, path, reason, set_of};
use crate::access::identity::RejectReason;
use crate::access::jwt::mapping::{ClaimPath, Identity, MOST_TEAMS, Mapping, TenantFrom};
use crate::crypto::jws::Algorithm;
use crate::domain::clock::Timestamp;
use crate::domain::ids::TenantName;
use crate::domain::principal::Role;

fn signer() -> &'static Signer {
    Signer::of(Algorithm::EdDsa)
}

fn of_text(claims: &str, mapping: &Mapping) -> Result<Identity, RejectReason> {
    identify(&set_of(&[signer().jwk()]), &signer().token_of(signer().header().to_string(), claims), mapping)
}

fn of(claims: &Value) -> Result<Identity, RejectReason> {
    of_text(&claims.to_string(), &mapping())
}

fn changed(more: Value) -> Result<Identity, RejectReason> {
    of(&with(good_claims(), more))
}

/// Each value in the place of the claim `name` must be refused for `expected`.
fn refused(name: &str, expected: &str, values: &[Value]) {
    for value in values {
        let outcome = changed(json!({name: value}));
        assert_eq!(reason(outcome), Some(expected), "{name}: {value}");
    }
    println!("`{name}`: {} tried, 0 taken", values.len());
}

#[test]
fn a_good_token_gives_an_identity() {
    let identity = of(&good_claims()).ok().unwrap();
    assert_eq!(identity.tenant.as_str(), "acme");
    assert_eq!(identity.name.as_str(), "ana");
    assert!(identity.roles.iter().eq([&Role::Agent]), "`offline_access` is no role of ours");
    assert!(identity.teams.iter().map(|team| team.as_str()).eq(["billing"]));
    assert_eq!(identity.token_id.as_deref(), Some("7c1f"));
    assert_eq!(identity.expires.as_ms(), (NOW + 300) * 1000);
    assert!(identity.actor.is_none());
    let least = json!({"iss": super::ISSUER, "aud": super::AUDIENCE, "sub": "ana", "exp": NOW + 1, "tenant": "acme"});
    let identity = of(&least).ok().unwrap();
    assert!(identity.roles.is_empty() && identity.teams.is_empty() && identity.token_id.is_none());
}

#[test]
fn each_claim_that_is_needed_is_needed() {
    for name in ["iss", "aud", "exp", "sub", "tenant"] {
        assert_eq!(reason(of(&without(good_claims(), name))), Some("bad_claims"), "{name}");
        assert_eq!(reason(changed(json!({name: null}))), Some("bad_claims"), "{name}");
    }
    for name in ["nbf", "iat", "jti", "realm_access", "teams"] {
        assert!(of(&without(good_claims(), name)).is_ok(), "{name}");
    }
}

#[test]
fn issuer_and_audience_are_ours_exactly() {
    let issuer = super::ISSUER;
    let wrong = [json!("https://evil.example"), json!(format!("{issuer}/")), json!(issuer.to_uppercase()), json!("")];
    refused("iss", "wrong_issuer", &wrong);
    refused("iss", "bad_claims", &[json!([issuer]), json!({"iss": issuer}), json!(1), json!(true)]);
    let wrong =
        [json!("Oubliette"), json!("oubliette "), json!("oubliette,x"), json!(""), json!([]), json!(["a", "b"])];
    refused("aud", "wrong_audience", &wrong);
    let bad = [
        json!({"oubliette": 1}),
        json!(1),
        json!(["oubliette", 1]),
        json!([["oubliette"]]),
        json!(["oubliette", null]),
    ];
    refused("aud", "bad_claims", &bad);
    assert!(changed(json!({"aud": "oubliette"})).is_ok() && changed(json!({"aud": ["oubliette"]})).is_ok());
}

#[test]
fn a_token_is_taken_in_its_time_give_or_take_a_minute() {
    refused("exp", "expired", &[json!(0), json!(1), json!(NOW - 60), json!(NOW - 3600), json!(NOW as f64 - 60.001)]);
    refused("nbf", "not_yet_valid", &[json!(NOW + 61), json!(NOW as f64 + 60.001), json!(253_402_300_799_u64)]);
    refused("iat", "not_yet_valid", &[json!(NOW + 61), json!(NOW + 3600)]);
    // A day at most, by what it says, or from now on where it does not say.
    refused("exp", "too_long_lived", &[json!(NOW - 5 + 86_401), json!(253_402_300_799_u64)]);
    refused("iat", "too_long_lived", &[json!(0), json!(NOW + 300 - 86_401)]);
    for good in [
        json!({"exp": NOW - 59}),
        json!({"exp": NOW as f64 - 59.5}),
        json!({"exp": NOW as f64 + 0.25}),
        json!({"exp": NOW - 5 + 86_400}),
        json!({"exp": NOW + 60 + 86_400, "iat": NOW + 60}),
        json!({"nbf": NOW + 60, "iat": NOW + 60}),
        json!({"nbf": 0}),
    ] {
        assert!(changed(good.clone()).is_ok(), "{good}");
    }
    for (exp, is_taken) in [(NOW + 86_400, true), (NOW + 86_401, false)] {
        let mut undated = with(good_claims(), json!({"exp": exp}));
        undated.as_object_mut().unwrap().remove("iat");
        assert_eq!(of(&undated).is_ok(), is_taken, "without iat, until {exp}");
    }
    let identity = changed(json!({"exp": NOW as f64 + 0.25})).ok().unwrap();
    assert_eq!(identity.expires, Timestamp::from_ms(NOW * 1000 + 250).unwrap());
}

/// CVE-2026-25537: a date of another type must not pass for a date that is not there.
#[test]
fn a_date_that_is_none_is_refused_even_where_none_is_needed() {
    let dates = [
        json!(format!("{}", NOW + 300)),
        json!("never"),
        json!(""),
        json!([NOW + 300]),
        json!({"value": NOW + 300}),
        json!(true),
        json!(false),
        json!(null),
        json!(-1),
        json!(-0.5),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(253_402_300_800_u64),
        json!(253_402_300_800.5),
        json!(1e18),
        json!(1e300),
        json!(f64::MAX),
        json!(f64::MIN),
    ];
    for name in ["exp", "nbf", "iat"] {
        refused(name, "bad_claims", &dates);
        for number in
            ["1e400", "-1e400", "NaN", "Infinity", "-0", "-0.0", "0x7fffffff", "01800000300", "1_800_000_300", "+1"]
        {
            let text = without(good_claims(), name).to_string();
            let text = format!("{},\"{name}\":{number}}}", text.strip_suffix('}').unwrap());
            assert_eq!(reason(of_text(&text, &mapping())), Some("bad_claims"), "{name}: {number}");
        }
    }
    let text = good_claims().to_string().replace(&format!("\"exp\":{}", NOW + 300), "\"exp\":1.8000003e9");
    assert!(text.contains("1.8000003e9") && of_text(&text, &mapping()).is_ok(), "a number may be written so");
}

#[test]
fn a_member_twice_is_refused_wherever_it_stands() {
    let good = good_claims().to_string();
    let rest = good.strip_prefix('{').unwrap();
    for doubled in [
        format!(r#"{{"sub":"root",{rest}"#),
        format!(r#"{{"\u0073ub":"ana",{rest}"#),
        format!(r#"{{"exp":9999999999,{rest}"#),
        format!(r#"{{"x":[{{"a":1,"a":1}}],{rest}"#),
        good.replace(r#"{"roles":["#, r#"{"roles":[],"roles":["#),
    ] {
        assert_ne!(doubled, good);
        assert_eq!(reason(of_text(&doubled, &mapping())), Some("bad_claims"), "{doubled}");
    }
}

#[test]
fn payloads_that_are_no_claims_are_refused() {
    let deep = |open: &str, close: &str| {
        let good = good_claims().to_string();
        format!(r#"{},"x":{}{}}}"#, good.strip_suffix('}').unwrap(), open.repeat(17), close.repeat(17))
    };
    let good = good_claims().to_string();
    for payload in [
        String::new(),
        "null".into(),
        "[]".into(),
        format!("[{good}]"),
        format!("{good}{good}"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        good[..good.len() - 1].to_owned(),
        deep("[", "]"),
        deep("{\"a\":", "}").replace(":}", ":1}"),
        "[".repeat(5000),
        "{\"a\":".repeat(900),
    ] {
        assert_eq!(reason(of_text(&payload, &mapping())), Some("bad_claims"), "{payload:.80}");
    }
}

#[test]
fn names_are_bounded_text() {
    let bad =
        [json!(""), json!(7), json!(["ana"]), json!({"a": 1}), json!("a\nb"), json!("a\u{0}"), json!("x".repeat(256))];
    refused("sub", "bad_claims", &bad);
    refused("jti", "bad_claims", &bad);
    refused("sub", "bad_claims", &[json!("x".repeat(129))]);
    refused("cnf", "bad_claims", &[json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), json!(null)]);
    refused(
        "tenant",
        "bad_claims",
        &[json!("system"), json!("ACME"), json!("a"), json!("../acme"), json!(["acme"]), json!(1)],
    );
}

#[test]
fn the_name_can_stand_in_another_claim_and_a_subject_is_needed_all_the_same() {
    let mapping = Mapping { name: path("profile.login"), ..mapping() };
    let claims = with(good_claims(), json!({"profile": {"login": "ana.b"}}));
    let identity = of_text(&claims.to_string(), &mapping).ok().unwrap();
    assert_eq!(identity.name.as_str(), "ana.b");
    for bad in
        [without(claims.clone(), "sub"), with(claims.clone(), json!({"sub": 7})), with(claims, json!({"sub": ""}))]
    {
        assert_eq!(reason(of_text(&bad.to_string(), &mapping)), Some("bad_claims"), "{bad}");
    }
    assert_eq!(reason(of_text(&good_claims().to_string(), &mapping)), Some("bad_claims"), "no name");
}

#[test]
fn roles_are_an_array_or_words_and_strange_ones_give_nothing() {
    let roles = |roles: Value| changed(json!({"realm_access": {"roles": roles}})).map(|identity| identity.roles);
    assert!(roles(json!("agent supervisor  x ")).ok().unwrap().into_iter().eq([Role::Agent, Role::Supervisor]));
    assert!(
        roles(json!(["agent", "Admin", "admin ", "agent supervisor", ""])).ok().unwrap().into_iter().eq([Role::Agent])
    );
    assert!(roles(json!([])).ok().unwrap().is_empty());
    for bad in [json!({"admin": true}), json!(6), json!(true), json!(null), json!(["agent", 6]), json!([["admin"]])] {
        assert_eq!(reason(roles(bad.clone())), Some("bad_claims"), "{bad}");
    }
    // Where a table stands in the configuration, our own names mean nothing.
    let table = BTreeMap::from([("app-support".to_owned(), Role::Agent), ("app-dpo".to_owned(), Role::PrivacyOfficer)]);
    let mapping = Mapping { role_names: table, ..mapping() };
    let claims = with(good_claims(), json!({"realm_access": {"roles": ["app-dpo", "admin"]}}));
    let identity = of_text(&claims.to_string(), &mapping).ok().unwrap();
    assert!(identity.roles.into_iter().eq([Role::PrivacyOfficer]));
}

#[test]
fn teams_are_names_and_few() {
    let many: Vec<String> = (0..=MOST_TEAMS).map(|team| format!("team {team}")).collect();
    let bad =
        [json!("billing"), json!({}), json!([1]), json!([""]), json!(["x".repeat(65)]), json!(["a\nb"]), json!(many)];
    refused("teams", "bad_claims", &bad);
    assert_eq!(changed(json!({"teams": many[1..]})).ok().unwrap().teams.len(), MOST_TEAMS);
    let mapping = Mapping { teams: None, ..mapping() };
    assert!(of_text(&good_claims().to_string(), &mapping).ok().unwrap().teams.is_empty());
}

#[test]
fn the_outermost_actor_counts_and_those_inside_only_have_to_be_well_formed() {
    let actor = |act: Value| changed(json!({"act": act})).map(|identity| identity.actor.unwrap().as_str().to_owned());
    let nested =
        |levels: usize| (1..levels).fold(json!({"sub": "innermost"}), |inner, _| json!({"sub": "outer", "act": inner}));
    assert_eq!(actor(json!({"sub": "platform"})).ok().as_deref(), Some("platform"));
    assert_eq!(actor(json!({"sub": "platform", "iss": super::ISSUER})).ok().as_deref(), Some("platform"));
    assert_eq!(actor(nested(4)).ok().as_deref(), Some("outer"));
    let bad = [
        nested(5),
        nested(12),
        json!({}),
        json!(null),
        json!("platform"),
        json!([{"sub": "platform"}]),
        json!({"sub": ""}),
        json!({"sub": 1}),
        json!({"sub": ["platform"]}),
        json!({"sub": "x".repeat(129)}),
        json!({"sub": "platform", "act": "other"}),
        json!({"sub": "platform", "act": null}),
        json!({"act": {"sub": "platform"}}),
        json!({"sub": "platform", "iss": "https://evil.example"}),
        json!({"sub": "platform", "iss": null}),
    ];
    refused("act", "bad_claims", &bad);
}

#[test]
fn one_issuer_can_be_of_one_tenant() {
    let mapping = Mapping { tenant: TenantFrom::Fixed(TenantName::parse("umbrella").unwrap()), ..mapping() };
    let identity = of_text(&with(good_claims(), json!({"tenant": 7})).to_string(), &mapping).ok().unwrap();
    assert_eq!(identity.tenant.as_str(), "umbrella");
}

#[test]
fn paths_lead_through_objects_only() {
    let claims = with(
        good_claims(),
        json!({
            "https://example.com/roles": ["auditor"],
            "a~b": {"c.d": ["ingest"]},
            "list": [{"roles": ["admin"]}],
            "": {"": ["admin"]},
        }),
    );
    let roles = |text: &str| {
        let mapping = Mapping { roles: path(text), ..mapping() };
        of_text(&claims.to_string(), &mapping).map(|identity| identity.roles.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(roles("/https:~1~1example.com~1roles").ok().unwrap(), [Role::Auditor]);
    assert_eq!(roles("/a~0b/c.d").ok().unwrap(), [Role::Ingest]);
    assert_eq!(roles("/realm_access/roles").ok().unwrap(), [Role::Agent]);
    for nowhere in
        ["https://example.com/roles", "list.0.roles", "/list/0/roles", "sub.roles", "realm_access.roles.0", "x"]
    {
        assert_eq!(roles(nowhere).ok().unwrap(), [], "{nowhere}");
    }
    for bad in ["", ".", "a.", ".a", "a..b", "/", "//", "/a/", "/a~2", "/a~", &["a"; 17].join(".")] {
        assert!(ClaimPath::parse(bad).is_err(), "{bad}");
    }
}
