//! All vectors for JSON Web Signature that Wycheproof publishes. They are read from `../shared/vectors`, or from where
//! `OUBLIETTE_VECTORS` points.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{open, reason};
use crate::access::jwt::jws::Jws;
use crate::access::jwt::keys::KeySet;
use crate::crypto::jws::Algorithm;
use crate::outside;

const FILE: &str = "wycheproof_json_web_signature_test.json";

/// The vectors that are valid and refused all the same, and why.
const VALID_AND_REFUSED: [(&[u64], &str, &str); 3] = [
    (&[1, 348, 352, 357, 358, 359, 372, 373, 376, 377], "no usable key", "HS256: nobody shares a secret with us"),
    (&[346, 350], "wrong_algorithm", "the token is signed by PS384, and its key says that it is for PS256"),
    (&[347, 351], "no usable key", "the key says `ES521`, which is the name of no algorithm"),
];

fn vectors() -> Option<Value> {
    let path = outside::vectors(FILE)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Why a vector is refused; `None` if it is taken.
fn refused(group: &Value, case: &Value) -> Option<&'static str> {
    let token = case["jws"].as_str().unwrap();
    // Groups of shared secrets have no public key: the issuer would publish the secret itself. Their tokens are not read at all.
    let key = group.get("public").unwrap_or(&group["private"]);
    assert!(key["kty"] != "oct" || Jws::parse(token, &Algorithm::ALL).is_err());
    match KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()) {
        Ok(set) => reason(open(&set, token)),
        Err(_) => Some("no usable key"),
    }
}

#[test]
fn no_invalid_vector_is_taken_and_every_valid_one_that_is_refused_has_its_reason() {
    let Some(file) = vectors() else { return };
    let mut reasons: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut valid_and_refused = Vec::new();
    let mut run = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            let (id, result) = (case["tcId"].as_u64().unwrap(), case["result"].as_str().unwrap());
            let refused = refused(group, case);
            run += 1;
            *reasons
                .entry((if result == "valid" { "valid" } else { "invalid" }, refused.unwrap_or("taken")))
                .or_default() += 1;
            match (result, refused) {
                ("valid", Some(reason)) => valid_and_refused.push((id, reason)),
                ("valid", None) => (),
                (_, refused) => assert!(refused.is_some(), "vector {id} is invalid and was taken: {case}"),
            }
        }
    }
    println!("{run} vectors: {reasons:#?}");
    let expected = VALID_AND_REFUSED.iter().flat_map(|(ids, reason, _)| ids.iter().map(move |id| (*id, *reason)));
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    assert_eq!(valid_and_refused, expected);
    assert_eq!(run, file["numberOfTests"]);
    assert_eq!(reasons[&("valid", "taken")], 32);
}
