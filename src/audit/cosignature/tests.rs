use super::*;
use crate::audit::merkle::leaf;
use crate::crypto::secret::Key;

/// A checkpoint of a public log, of May 2026, cosigned by four witnesses that run programs of others. Its first signature is of a type that
/// is not known here.
const PUBLIC: &str = include_str!("arche2025h1.note");
const PUBLIC_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const PUBLIC_WITNESSES: [&str; 4] = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Key::copy_of(&[seed; 32]))
}

fn name(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn at_s(seconds: u64) -> Timestamp {
    Timestamp::from_ms(seconds * 1_000).unwrap()
}

fn witness(text: &str, seed: u8) -> WitnessKey {
    WitnessKey { name: name(text), public: *key(seed).public() }
}

/// A log's checkpoint, its key, and the text of the note.
fn signed() -> (String, VerifierKey, String) {
    let log = VerifierKey { name: name("vault.example/log"), public: *key(1).public() };
    let checkpoint = Checkpoint { origin: log.name.clone(), size: 7, root: leaf(b"root") };
    (checkpoint.sign(&key(1)), log, checkpoint.to_string())
}

fn by(cosigned: &Cosigned) -> Vec<(&str, u64)> {
    cosigned.cosignatures.iter().map(|one| (one.witness.as_str(), one.at.as_ms() / 1_000)).collect()
}

#[test]
fn cosignatures_of_public_witnesses_are_verified() {
    let log = VerifierKey::parse(PUBLIC_LOG).unwrap();
    let witnesses: Vec<_> = PUBLIC_WITNESSES.iter().map(|key| WitnessKey::parse(key).unwrap()).collect();
    let cosigned = Cosigned::open(PUBLIC, std::slice::from_ref(&log), &witnesses).unwrap();
    assert_eq!((cosigned.checkpoint.size, &cosigned.signed_by[..]), (1_432_088_532, &[log.clone()][..]));
    let expected = witnesses.iter().map(|witness| (witness.name.as_str(), 1_779_573_024)).collect::<Vec<_>>();
    assert_eq!(by(&cosigned), expected);
    for (text, key) in PUBLIC_WITNESSES.iter().zip(&witnesses) {
        assert_eq!(key.to_string(), *text);
        // The type of a key is part of it: neither kind is taken for the other.
        assert_eq!((VerifierKey::parse(text), WitnessKey::parse(PUBLIC_LOG)), (None, None));
    }
    // The id of a key of the one type, before a key of the other.
    let of_two_types = PUBLIC_WITNESSES[2].replace("+BOvN", "+AOvN");
    assert_eq!((VerifierKey::parse(&of_two_types), WitnessKey::parse(&of_two_types)), (None, None));
    for edited in [PUBLIC.replace("1432088532", "1432088533"), PUBLIC.replace("AABqEiEg", "AABqEiEh")] {
        assert!(Cosigned::open(&edited, std::slice::from_ref(&log), &witnesses).is_err());
    }
}

#[test]
fn a_cosigned_checkpoint_names_its_witnesses_once_each_and_no_edited_byte_passes() {
    let (note, log, text) = signed();
    let [one, two, other] = [witness("one.example", 2), witness("two.example", 3), witness("other.example", 4)];
    let answer = cosign(&text, &one.name, &key(2), at_s(90)) + &cosign(&text, &two.name, &key(3), at_s(80));
    let known = [one.clone(), two.clone(), other.clone()];
    let cosigned = add(&note, &answer, &known).unwrap();
    assert_eq!(cosigned, note.clone() + &answer);
    let open = |note: &str| Cosigned::open(note, std::slice::from_ref(&log), &known);
    assert_eq!(by(&open(&cosigned).unwrap()), [("one.example", 90), ("two.example", 80)]);
    assert_eq!(by(&open(&note).unwrap()), []);
    // To who knows no witness it is the log's checkpoint.
    assert_eq!(Checkpoint::open(&cosigned, std::slice::from_ref(&log)).unwrap(), open(&note).unwrap().checkpoint);

    let mut names_changed = 0;
    for place in 0..cosigned.len() {
        for bit in 0..8 {
            let mut edited = cosigned.clone().into_bytes();
            edited[place] ^= 1 << bit;
            let Ok(edited) = String::from_utf8(edited) else { continue };
            // In the name or the id of a key: the line is that of a stranger then, and counts for nobody.
            let Ok(found) = open(&edited) else { continue };
            assert_eq!(found.cosignatures.len(), 1, "byte {place}");
            assert!(place > note.len(), "byte {place}");
            names_changed += 1;
        }
    }
    assert!(names_changed > 50, "{names_changed}");
}

#[test]
fn who_signs_twice_or_under_two_names_is_one_witness_and_the_log_is_none() {
    let (note, log, text) = signed();
    let [one, alias, renewed] = [witness("one.example", 2), witness("alias.example", 2), witness("one.example", 3)];
    let lines = [(&one, 2, 10), (&one, 2, 30), (&alias, 2, 20), (&renewed, 3, 25)];
    let lines = lines.map(|(by, seed, time_s)| cosign(&text, &by.name, &key(seed), at_s(time_s)));
    let itself = WitnessKey { name: log.name.clone(), public: log.public };
    let cosigned = note.clone() + &lines.concat() + &cosign(&text, &itself.name, &key(1), at_s(40));
    let found = Cosigned::open(&cosigned, std::slice::from_ref(&log), &[one.clone(), alias, renewed, itself]).unwrap();
    assert_eq!(by(&found), [("one.example", 30)]);
    // Answered again, the older line gives way.
    let first = add(&note, &lines[0], std::slice::from_ref(&one)).unwrap();
    assert_eq!(add(&first, &lines[1], &[one]).unwrap(), note + &lines[1]);
}

#[test]
fn what_is_no_cosignature_of_this_checkpoint_is_neither_added_nor_accepted() {
    let (note, log, text) = signed();
    let one = witness("one.example", 2);
    let known = std::slice::from_ref(&one);
    let open = |note: &str| Cosigned::open(note, std::slice::from_ref(&log), known);
    let id = key_id(&one.name, COSIGNATURE_V1, &one.public);
    let plain = key(2).sign(text.as_bytes());
    let by_another = [&9_u64.to_be_bytes()[..], &key(3).sign(message(9, &text).as_bytes())].concat();
    let late = |time_s: u64| [&time_s.to_be_bytes()[..], &key(2).sign(message(time_s, &text).as_bytes())].concat();
    let wrong = [
        cosign(&text.replace('7', "8"), &one.name, &key(2), at_s(9)),
        signature_line(&one.name, id, &by_another),
        signature_line(&one.name, id, &plain),
        signature_line(&one.name, id, &[&9_u64.to_be_bytes()[..], &plain].concat()),
        signature_line(&one.name, id, &late(u64::MAX)),
        signature_line(&one.name, id, &late(253_402_300_800)),
        signature_line(&one.name, id, &[0; 7]),
    ];
    for line in wrong {
        assert_eq!(add(&note, &line, known), Err(NoteError::NotCosigned), "{line}");
        assert_eq!(open(&format!("{note}{line}")), Err(NoteError::NotCosigned), "{line}");
    }
    let stranger = cosign(&text, &name("stranger.example"), &key(5), at_s(9));
    assert_eq!(add(&note, &stranger, known), Ok(note.clone()));
    // Signatures that withstand quantum computers are long; they are passed over, not refused (c2sp.org/signed-note).
    let long = signature_line(&name("pq.example"), [1; 4], &[7; 8 + 2_420]);
    assert_eq!(by(&open(&format!("{note}{}", long.repeat(16))).unwrap()), []);
    for answer in ["", "\n", "no line\n", &stranger[..stranger.len() - 1], &stranger.repeat(65)] {
        assert_eq!(add(&note, answer, known), Err(NoteError::Malformed), "{answer}");
    }
    let full = format!("{note}{}", stranger.repeat(63));
    assert_eq!(add(&full, &cosign(&text, &one.name, &key(2), at_s(9)), known), Err(NoteError::Malformed));
    assert!(open(&full).is_ok() && open(&format!("{full}{stranger}")).is_err());
}

#[test]
fn a_log_signs_under_its_own_name_only() {
    let (note, log, text) = signed();
    let other = VerifierKey { name: name("other.example"), public: *key(1).public() };
    let id = key_id(&other.name, 1, &other.public);
    let under_another = format!("{text}\n{}", signature_line(&other.name, id, &key(1).sign(text.as_bytes())));
    let keys = [log, other];
    assert_eq!(Cosigned::open(&note, &keys, &[]).unwrap().signed_by, keys[..1]);
    assert_eq!(Cosigned::open(&under_another, &keys, &[]), Err(NoteError::NotSigned));
}
