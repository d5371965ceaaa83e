//! Tokens that nobody may be let in by: confused algorithms, no signature, keys that the token brings along, forms that could be
//! read in two ways.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::forge::{Pair, Signer, b64, with, without};
use super::{good_claims, identify, mapping, open, reason, set_of};
use crate::access::jwt::jws::{Jws, MAX_KID_BYTES, MAX_TOKEN_BYTES};
use crate::crypto::jws::Algorithm;

/// Checks that each token is refused for its reason, and says how many there were.
fn all_refused<'a>(what: &str, signer: &Signer, attacks: impl IntoIterator<Item = (String, &'a str)>) {
    let set = set_of(&[signer.jwk()]);
    assert!(identify(&set, &signer.token(&good_claims()), &mapping()).is_ok(), "the good token is taken");
    let mut count = 0;
    for (token, expected) in attacks {
        assert_eq!(reason(identify(&set, &token, &mapping())), Some(expected), "{what}: {token:.300}");
        count += 1;
    }
    println!("{what}: {count} tried, 0 taken");
    assert!(count > 0);
}

#[test]
fn a_token_of_each_algorithm_is_taken_under_its_own_key_and_no_other() {
    let claims = good_claims();
    for signer in Signer::all() {
        let token = signer.token(&claims);
        for other in Signer::all() {
            let set = set_of(&[with(other.bare_jwk(), json!({"kid": signer.kid}))]);
            let outcome = reason(open(&set, &token));
            match () {
                () if other.kid == signer.kid => assert_eq!(outcome, None, "{}", signer.kid),
                () if other.algorithm.key_kind() == signer.algorithm.key_kind() => {
                    assert_eq!(outcome, Some("bad_signature"), "{} under {}", signer.kid, other.kid);
                }
                () => assert_eq!(outcome, Some("wrong_algorithm"), "{} under {}", signer.kid, other.kid),
            }
        }
    }
}

#[test]
fn an_algorithm_that_is_not_allowed_is_refused_whatever_the_key_says() {
    for signer in Signer::all() {
        let token = signer.token(&good_claims());
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != signer.algorithm).collect();
        assert_eq!(reason(Jws::parse(&token, &others)), Some("wrong_algorithm"));
        assert_eq!(reason(Jws::parse(&token, &[])), Some("wrong_algorithm"));
        assert!(Jws::parse(&token, &[signer.algorithm]).is_ok());
    }
}

#[test]
fn the_algorithm_of_a_key_holds_against_the_header_within_one_kind() {
    // The key says RS256; the same numbers sign by RS512 and PS256, and the header says so.
    let signer = Signer::of(Algorithm::Rs256);
    let Pair::Rsa(_) = &signer.pair else { unreachable!("RS256 signs with RSA") };
    let set = set_of(&[signer.jwk()]);
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let header = json!({"alg": algorithm, "kid": signer.kid});
        let token = signer.token_of(header.to_string(), good_claims().to_string());
        assert_eq!(reason(open(&set, &token)), Some("wrong_algorithm"));
    }
}

#[test]
fn a_key_opens_nothing_that_names_another_algorithm() {
    for signer in Signer::all() {
        let token = signer.token(&good_claims());
        for other in Signer::all().iter().filter(|other| other.kid != signer.kid) {
            let key = set_of(&[other.jwk()]).find(other.algorithm, Some(other.kid)).ok().unwrap();
            let jws = Jws::parse(&token, &Algorithm::ALL).ok().unwrap();
            assert_eq!(reason(jws.open(&key)), Some("wrong_algorithm"));
        }
    }
}

/// The public key in every form in which it could be taken for a shared secret.
fn public_bytes(signer: &Signer) -> Vec<Vec<u8>> {
    let (raw, spki): (Vec<u8>, Vec<u8>) = match &signer.pair {
        Pair::Rsa(pair) => (pair.public_key().as_ref().to_vec(), pair.public_key().as_der().unwrap().as_ref().to_vec()),
        Pair::Curve(pair) => {
            (pair.public_key().as_ref().to_vec(), pair.public_key().as_der().unwrap().as_ref().to_vec())
        }
        Pair::Ed25519(pair) => {
            (pair.public_key().as_ref().to_vec(), pair.public_key().as_der().unwrap().as_ref().to_vec())
        }
    };
    let pem = |label: &str, der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let mut all = vec![
        pem("PUBLIC KEY", &spki).into_bytes(),
        pem("PUBLIC KEY", &spki).trim_end().into(),
        pem("RSA PUBLIC KEY", &raw).into_bytes(),
        signer.jwk().to_string().into_bytes(),
        signer.bare_jwk().to_string().into_bytes(),
        json!({"keys": [signer.jwk()]}).to_string().into_bytes(),
        raw,
        spki,
        Vec::new(),
    ];
    for member in ["n", "x"] {
        if let Some(text) = signer.jwk()[member].as_str() {
            all.push(text.as_bytes().to_vec());
        }
    }
    all
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    for signer in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa].map(Signer::of) {
        let mut attacks = Vec::new();
        for secret in public_bytes(signer) {
            for (name, mac) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                for header in [json!({"alg": name, "kid": signer.kid}), json!({"alg": name})] {
                    let signed = format!("{}.{}", b64(header.to_string()), b64(good_claims().to_string()));
                    let tag = hmac::sign(&hmac::Key::new(mac, &secret), signed.as_bytes());
                    attacks.push((format!("{signed}.{}", b64(tag)), "wrong_algorithm"));
                }
            }
        }
        all_refused("HMAC under a public key", signer, attacks);
    }
}

#[test]
fn no_signature_is_no_signature_in_any_case() {
    let signer = Signer::of(Algorithm::Es256);
    let claims = b64(good_claims().to_string());
    let mut attacks = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "noNe", "NoNe", "none ", " none", "none\0", "\u{ff4e}one", ""] {
        for header in
            [json!({"alg": name}), json!({"alg": name, "kid": signer.kid}), json!({"alg": name, "typ": "JWT"})]
        {
            let signed = format!("{}.{claims}", b64(header.to_string()));
            let right = b64(signer.sign(signed.as_bytes()));
            for signature in ["", "AA", &right] {
                attacks.push((format!("{signed}.{signature}"), "wrong_algorithm"));
            }
            attacks.push((signed, "malformed"));
        }
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": ["ES256"]}), json!({"alg": 0}), json!({"alg": {}})] {
        attacks.push((signer.token_of(header.to_string(), good_claims().to_string()), "malformed"));
    }
    let good = signer.token(&good_claims());
    let signed = good.rsplit_once('.').unwrap().0.to_owned();
    for length in [0, 1, 32, 63, 64, 65, 96, 128, 132] {
        attacks.push((format!("{signed}.{}", b64(vec![0; length])), "bad_signature"));
        attacks.push((format!("{signed}.{}", b64(vec![0xff; length])), "bad_signature"));
    }
    all_refused("no or a false signature", signer, attacks);
}

#[test]
fn every_changed_bit_of_a_signature_and_every_changed_part_is_refused() {
    for signer in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa].map(Signer::of) {
        let good = signer.token(&good_claims());
        let (signed, _) = good.rsplit_once('.').unwrap();
        let signature = signer.sign(signed.as_bytes());
        let mut attacks = Vec::new();
        for bit in 0..signature.len() * 8 {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            attacks.push((format!("{signed}.{}", b64(changed)), "bad_signature"));
        }
        let header = b64(signer.header().to_string());
        let admin = b64(with(good_claims(), json!({"realm_access": {"roles": ["admin"]}})).to_string());
        attacks.push((format!("{header}.{admin}.{}", b64(&signature)), "bad_signature"));
        attacks.push((format!("{header}..{}", b64(&signature)), "bad_signature"));
        attacks.push((format!("{}.{}", with_key_order(signer), good.split_once('.').unwrap().1), "bad_signature"));
        all_refused("changed", signer, attacks);
    }
}

/// The same header, written otherwise.
fn with_key_order(signer: &Signer) -> String {
    b64(format!(r#"{{ "alg":"{}","kid":"{}" }}"#, signer.algorithm.name(), signer.kid))
}

#[test]
fn a_key_that_the_token_brings_along_is_never_used() {
    let (issuer, attacker) = (Signer::of(Algorithm::Es256), Signer::new(Algorithm::Es256, "attacker"));
    let mut attacks = Vec::new();
    for (member, value) in [
        ("jwk", attacker.bare_jwk()),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
    ] {
        for (kid, expected) in [(json!(issuer.kid), "bad_signature"), (json!("attacker"), "unknown_key")] {
            let header = with(json!({"alg": "ES256", "kid": kid}), json!({member: value}));
            attacks.push((attacker.token_of(header.to_string(), good_claims().to_string()), expected));
        }
        let header = json!({"alg": "ES256", member: value});
        attacks.push((attacker.token_of(header.to_string(), good_claims().to_string()), "bad_signature"));
    }
    for kid in ["../../etc/passwd", "' OR 1=1 --", "/dev/null", "*", "es256", "\u{0415}S256"] {
        let header = json!({"alg": "ES256", "kid": kid});
        attacks.push((attacker.token_of(header.to_string(), good_claims().to_string()), "unknown_key"));
    }
    all_refused("keys of the token's own", issuer, attacks);
    // A token that is right does not become wrong by pointing elsewhere.
    let header =
        with(issuer.header(), json!({"jku": "https://attacker.example/jwks.json", "jwk": attacker.bare_jwk()}));
    let token = issuer.token_of(header.to_string(), good_claims().to_string());
    assert!(identify(&set_of(&[issuer.jwk()]), &token, &mapping()).is_ok());
}

#[test]
fn headers_that_say_more_than_we_understand_are_refused() {
    let signer = Signer::of(Algorithm::Es256);
    let header = |more: Value| signer.token_of(with(signer.header(), more).to_string(), good_claims().to_string());
    let refused = [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": null}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"enc": "A256GCM"}),
        json!({"zip": "DEF"}),
        json!({"typ": ""}),
        json!({"typ": "JWE"}),
        json!({"typ": "JOSE"}),
        json!({"typ": "dpop+jwt"}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "application/"}),
        json!({"typ": "application/application/jwt"}),
        json!({"typ": "text/jwt"}),
        json!({"typ": ["JWT"]}),
        json!({"typ": null}),
        json!({"kid": ""}),
        json!({"kid": 7}),
        json!({"kid": "ES256\u{0}"}),
        json!({"kid": null}),
        json!({"kid": [signer.kid]}),
        json!({"kid": "k".repeat(MAX_KID_BYTES + 1)}),
    ];
    all_refused("headers", signer, refused.into_iter().map(|more| (header(more), "malformed")));
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "Application/at+JWT"] {
        let set = set_of(&[signer.jwk()]);
        assert!(identify(&set, &header(json!({"typ": typ})), &mapping()).is_ok(), "{typ}");
    }
    let untyped = without(signer.header(), "typ").to_string();
    assert!(open(&set_of(&[signer.jwk()]), &signer.token_of(untyped, "{}")).is_ok());
}

#[test]
fn forms_that_could_be_read_in_two_ways_are_refused() {
    let signer = Signer::of(Algorithm::Es256);
    let claims = good_claims().to_string();
    let good = signer.token(&good_claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    let mut attacks: Vec<(String, &str)> = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}.{payload}.{payload}.{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload}.{signature} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("{header}\n.{payload}.{signature}"),
        format!("{header}.{payload}.{}+", &signature[1..]),
        format!("{header}.{payload}.{}/", &signature[1..]),
        format!("{header}.{payload}.{}é", &signature[2..]),
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        "a".repeat(MAX_TOKEN_BYTES + 1),
        ".".repeat(MAX_TOKEN_BYTES),
        format!("{header}.{payload}.{}", "A".repeat(1 << 20)),
    ]
    .map(|token| (token, "malformed"))
    .into();
    for signature in [String::new(), format!("{signature}A"), format!("A{signature}")] {
        attacks.push((format!("{header}.{payload}.{signature}"), "bad_signature"));
    }
    attacks.push((trailing_bits(&good), "malformed"));
    let signed_as_sent = |payload: String, expected| {
        let signed = format!("{header}.{payload}");
        (format!("{signed}.{}", b64(signer.sign(signed.as_bytes()))), expected)
    };
    for payload in [format!("{payload}="), format!("{payload} "), format!("{payload}\n"), format!("{payload}%")] {
        attacks.push(signed_as_sent(payload, "malformed"));
    }
    attacks.push(signed_as_sent(claims.clone(), "malformed"));
    for header in [
        r#"{"alg":"ES256","alg":"none","kid":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"ES256","kid":"ES256"}"#,
        r#"{"alg":"ES256","kid":"ES256","kid":"ES256"}"#,
        r#"["ES256"]"#,
        r#""ES256""#,
        "",
        "{}x",
        "\u{feff}{\"alg\":\"ES256\"}",
    ] {
        attacks.push((signer.token_of(header, &claims), "malformed"));
    }
    let deep = format!(r#"{{"alg":"ES256","kid":"ES256","x":{}{}}}"#, "[".repeat(2500), "]".repeat(2500));
    attacks.push((signer.token_of(deep, "{}"), "malformed"));
    all_refused("forms", signer, attacks);
}

/// The token with its last character's unread bits set: base64url that decodes to the same signature.
fn trailing_bits(token: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let place = alphabet.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
    format!("{rest}{}", alphabet[place + 1] as char)
}

#[test]
fn the_longest_token_is_taken_and_a_longer_one_is_not_decoded() {
    let signer = Signer::of(Algorithm::Es256);
    let set = set_of(&[signer.jwk()]);
    let padded = |bytes: usize| signer.token(&with(good_claims(), json!({"x": "y".repeat(bytes)})));
    let longest = (5000..6200).rev().map(padded).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(identify(&set, &longest, &mapping()).is_ok());
    assert_eq!(reason(identify(&set, &padded(6200), &mapping())), Some("malformed"));
}

#[test]
fn every_change_of_one_character_is_refused() {
    let signer = Signer::of(Algorithm::EdDsa);
    let set = set_of(&[signer.jwk()]);
    let good = signer.token(&good_claims());
    let mut count = 0;
    for at in 0..good.len() {
        let (before, after) = (&good[..at], &good[at + 1..]);
        let changed =
            ["", "A", "Q", "g", "w", "-", "_", ".", "=", "+", " ", "\0", "\u{e9}"].into_iter().flat_map(|other| {
                let inserted = format!("{before}{other}{}", &good[at..]);
                [format!("{before}{other}{after}"), inserted]
            });
        for token in changed.filter(|token| *token != good) {
            assert!(identify(&set, &token, &mapping()).is_err(), "{token}");
            count += 1;
        }
    }
    println!("one character: {count} tried, 0 taken");
}
