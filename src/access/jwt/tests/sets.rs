//! Key sets: what is left out, what makes a set worthless, and which key a token gets.

use serde_json::{Value, json};

use super::forge::{Signer, b64, with, without};
use super::{good_claims, open, reason, set_of};
use crate::access::jwt::keys::{BadSet, KeySet, MAX_SET_BYTES, MOST_KEYS};
use crate::crypto::jws::Algorithm;

fn parse(keys: &[Value]) -> Result<usize, BadSet> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).map(|set| set.count())
}

#[test]
fn keys_that_are_for_something_else_or_are_none_are_left_out() {
    let (ec, rsa, okp) = (Signer::of(Algorithm::Es256), Signer::of(Algorithm::Rs256), Signer::of(Algorithm::EdDsa));
    let good = rsa.jwk();
    let bad = [
        with(ec.jwk(), json!({"use": "enc"})),
        with(ec.jwk(), json!({"use": ["sig"]})),
        with(ec.jwk(), json!({"use": null})),
        with(ec.jwk(), json!({"key_ops": ["sign"]})),
        with(ec.jwk(), json!({"key_ops": []})),
        with(ec.jwk(), json!({"key_ops": "verify"})),
        with(ec.jwk(), json!({"alg": "ES384"})),
        with(ec.jwk(), json!({"alg": "RS256"})),
        with(ec.jwk(), json!({"alg": "HS256"})),
        with(ec.jwk(), json!({"alg": "none"})),
        with(ec.jwk(), json!({"alg": null})),
        with(ec.jwk(), json!({"kty": "ec"})),
        with(ec.jwk(), json!({"kty": "RSA"})),
        with(ec.jwk(), json!({"crv": "P-384"})),
        with(ec.jwk(), json!({"crv": "secp256k1"})),
        with(ec.jwk(), json!({"kid": 1})),
        with(ec.jwk(), json!({"kid": "k".repeat(257)})),
        with(ec.jwk(), json!({"y": ec.jwk()["x"]})),
        with(ec.jwk(), json!({"x": format!("{}=", ec.jwk()["x"].as_str().unwrap())})),
        with(ec.jwk(), json!({"d": "AAAA"})),
        without(ec.jwk(), "y"),
        without(ec.jwk(), "crv"),
        without(ec.jwk(), "kty"),
        with(rsa.jwk(), json!({"n": b64([0xff; 128])})),
        with(rsa.jwk(), json!({"n": b64([&[0][..], &[0xff; 256]].concat())})),
        with(rsa.jwk(), json!({"e": "AQ"})),
        with(rsa.jwk(), json!({"e": 65537})),
        without(rsa.jwk(), "n"),
        with(okp.jwk(), json!({"crv": "X25519"})),
        with(okp.jwk(), json!({"crv": "Ed448"})),
        with(okp.jwk(), json!({"x": b64([1; 31])})),
        json!({"kty": "oct", "kid": "a", "k": b64([7; 32]), "alg": "HS256"}),
        json!({}),
        json!("key"),
        json!(null),
    ];
    for bad in &bad {
        assert_eq!(parse(&[bad.clone(), good.clone()]), Ok(1), "{bad}");
        assert_eq!(parse(std::slice::from_ref(bad)), Err(BadSet::NoUsableKey), "{bad}");
    }
    println!("{} keys left out", bad.len());
    for fine in
        [json!({"key_ops": ["verify"]}), json!({"key_ops": ["sign", "verify"]}), json!({"x5c": ["?"], "x5t": 1})]
    {
        assert_eq!(parse(&[with(ec.jwk(), fine)]), Ok(1));
    }
    assert_eq!(parse(&[with(okp.jwk(), json!({"alg": "Ed25519"}))]), Ok(1));
}

#[test]
fn what_is_no_set_is_not_taken() {
    let good = Signer::of(Algorithm::Es256).jwk();
    let twice = format!(r#"{{"keys":[{good}],"keys":[{good}]}}"#);
    for bad in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>", &twice, &good.to_string()] {
        assert_eq!(KeySet::parse(bad.as_bytes()).err(), Some(BadSet::NoSet), "{bad:.60}");
    }
    assert_eq!(parse(&[]), Err(BadSet::NoUsableKey));
    let named = |kid: usize| with(good.clone(), json!({"kid": kid.to_string()}));
    assert_eq!(parse(&(0..MOST_KEYS).map(named).collect::<Vec<_>>()), Ok(MOST_KEYS));
    assert_eq!(parse(&(0..=MOST_KEYS).map(named).collect::<Vec<_>>()), Err(BadSet::TooManyKeys));
    let padded = |bytes| format!(r#"{{"keys":[{good}]}}{}"#, " ".repeat(bytes)).into_bytes();
    let fill = MAX_SET_BYTES - padded(0).len();
    assert!(KeySet::parse(&padded(fill)).is_ok());
    assert_eq!(KeySet::parse(&padded(fill + 1)).err(), Some(BadSet::TooLong));
}

#[test]
fn two_keys_of_one_name_are_told_apart_by_their_kind_or_the_second_is_left_out() {
    let (ec, rsa) = (Signer::of(Algorithm::Es256), Signer::of(Algorithm::Rs256));
    let same = |signer: &Signer| with(signer.jwk(), json!({"kid": "same"}));
    assert_eq!(parse(&[same(ec), same(rsa)]), Ok(2));
    let set = set_of(&[same(ec), same(rsa)]);
    for signer in [ec, rsa] {
        let header = with(signer.header(), json!({"kid": "same"})).to_string();
        assert!(open(&set, &signer.token_of(header, "{}")).is_ok());
    }
    let other = Signer::new(Algorithm::Es256, "same");
    assert_eq!(parse(&[same(ec), other.jwk()]), Ok(1));
    let header = with(other.header(), json!({"kid": "same"})).to_string();
    assert_eq!(reason(open(&set_of(&[same(ec), other.jwk()]), &other.token_of(header, "{}"))), Some("bad_signature"));
}

#[test]
fn a_token_without_a_name_gets_the_only_key_that_fits_and_one_with_a_name_gets_no_nameless_key() {
    let (ec, rsa) = (Signer::of(Algorithm::Es256), Signer::of(Algorithm::Rs256));
    let nameless = |signer: &Signer| without(signer.jwk(), "kid");
    let unnamed = |signer: &Signer| signer.token_of(without(signer.header(), "kid").to_string(), "{}");
    let named = ec.token(&good_claims());
    assert_eq!(reason(open(&set_of(&[nameless(ec), nameless(rsa)]), &unnamed(ec))), None);
    assert_eq!(reason(open(&set_of(&[ec.jwk(), rsa.jwk()]), &unnamed(ec))), None);
    assert_eq!(reason(open(&set_of(&[nameless(ec)]), &named)), Some("unknown_key"));
    let second = Signer::new(Algorithm::Es256, "second");
    for keys in [[nameless(ec), nameless(&second)], [ec.jwk(), second.jwk()], [nameless(ec), second.jwk()]] {
        assert_eq!(reason(open(&set_of(&keys), &unnamed(ec))), Some("unknown_key"));
    }
    assert_eq!(reason(open(&set_of(&[rsa.jwk()]), &unnamed(ec))), Some("unknown_key"));
}
