use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::audit::merkle::{Node, Nodes, consistency, leaf, root};
use crate::crypto::secret::Key;

const NOW: u64 = 1_700_000_000_999;

struct Kept(BTreeMap<Node, Hash>);

impl Nodes for Kept {
    type Error = Infallible;

    fn hash(&self, node: Node) -> Result<Hash, Infallible> {
        Ok(self.0[&node])
    }
}

/// A log of 300 entries, of which those from `other_from` on are others than in the log of 300.
fn log(other_from: u64) -> Kept {
    let (mut kept, mut frontier) = (Kept(BTreeMap::new()), Frontier::EMPTY);
    for number in 0..300_u64 {
        let entry = if number < other_from { number } else { number + 1_000 };
        kept.0.extend(frontier.push(leaf(&entry.to_be_bytes())));
    }
    kept
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Key::copy_of(&[seed; 32]))
}

fn name(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW).unwrap()
}

fn log_key(seed: u8) -> VerifierKey {
    VerifierKey { name: name("vault.example/log"), public: *key(seed).public() }
}

fn witness(kept: Option<&str>) -> Witness {
    let mut witness = Witness::new(name("witness.example"), key(9));
    witness.watch(name("vault.example/log"), vec![log_key(1)], kept).unwrap();
    witness
}

fn note(nodes: &Kept, size: u64) -> String {
    Checkpoint { origin: name("vault.example/log"), size, root: root(nodes, size).unwrap() }.sign(&key(1))
}

/// The text of a request.
fn request(nodes: &Kept, old_size: u64, size: u64) -> String {
    let proof = consistency(nodes, old_size, size).unwrap();
    AddCheckpoint { old_size, proof, note: &note(nodes, size) }.to_string()
}

fn ask(witness: &mut Witness, body: &str) -> Result<Witnessed, Refused> {
    witness.add_checkpoint(&AddCheckpoint::parse(body).ok_or(Refused::Malformed)?, now())
}

#[test]
fn a_log_that_grows_is_cosigned_each_time_and_the_witness_goes_on_after_a_restart() {
    let nodes = log(300);
    let mut witness = witness(None);
    let mut before = 0;
    for size in [0, 1, 1, 2, 7, 8, 100, 256, 257, 300, 300] {
        let body = request(&nodes, before, size);
        let parsed = AddCheckpoint::parse(&body).unwrap();
        assert_eq!(parsed.to_string(), body);
        let Witnessed { note, answer } = ask(&mut witness, &body).unwrap();
        assert_eq!(note, format!("{}{answer}", parsed.note));
        let found = Cosigned::open(&note, &[log_key(1)], &[witness.public()]).unwrap();
        assert_eq!((found.checkpoint.size, found.cosignatures[0].at.as_ms()), (size, 1_700_000_000_000));
        assert_eq!(Cosigned::open(parsed.note, &[log_key(1)], &[witness.public()]).unwrap().cosignatures, []);
        witness = self::witness(Some(&note));
        before = size;
    }
    let zero_clock = witness
        .add_checkpoint(&AddCheckpoint::parse(&request(&nodes, 300, 300)).unwrap(), Timestamp::from_ms(0).unwrap());
    let found = Cosigned::open(&zero_clock.unwrap().note, &[log_key(1)], &[witness.public()]).unwrap();
    assert_eq!(found.cosignatures[0].at.as_ms(), 1_000, "no cosignature is without a time");
}

#[test]
fn another_history_an_older_size_and_a_wrong_proof_are_never_cosigned() {
    let nodes = log(300);
    for size in [1, 2, 7, 64, 100, 255, 256, 257] {
        let mut witness = witness(None);
        ask(&mut witness, &request(&nodes, 0, size)).unwrap();
        for other_from in [0, size / 2, size - 1] {
            let other = log(other_from);
            for next in [size, size + 1, size + 17, 300] {
                let refused = ask(&mut witness, &request(&other, size, next));
                assert_eq!(refused, Err(Refused::Inconsistent), "{size} to {next}, other from {other_from}");
                // With the proof of the true log, too.
                let proof = consistency(&nodes, size, next).unwrap();
                let body = AddCheckpoint { old_size: size, proof, note: &note(&other, next) }.to_string();
                assert_eq!(ask(&mut witness, &body), Err(Refused::Inconsistent));
            }
        }
        for old_size in [0, size - 1, size + 1] {
            let refused = ask(&mut witness, &request(&nodes, old_size, 300));
            assert_eq!(refused, Err(Refused::Conflict { latest: size }), "from {old_size}");
        }
        let back = AddCheckpoint { old_size: size, proof: vec![], note: &note(&nodes, size - 1) }.to_string();
        assert_eq!(ask(&mut witness, &back), Err(Refused::Malformed));
        // Nothing of all that has changed what it keeps.
        ask(&mut witness, &request(&nodes, size, 300)).unwrap();
    }
    let mut fresh = witness(None);
    let with_proof = AddCheckpoint { old_size: 0, proof: vec![[0; 32]], note: &note(&nodes, 5) }.to_string();
    assert_eq!(ask(&mut fresh, &with_proof), Err(Refused::Inconsistent));
    let empty = Checkpoint { origin: name("vault.example/log"), size: 0, root: [0; 32] }.sign(&key(1));
    let not_empty = AddCheckpoint { old_size: 0, proof: vec![], note: &empty }.to_string();
    assert_eq!(ask(&mut fresh, &not_empty), Err(Refused::Inconsistent));
}

#[test]
fn strangers_and_edited_requests_are_refused() {
    let nodes = log(300);
    let mut witness = witness(None);
    let elsewhere = Checkpoint { origin: name("other.example"), size: 1, root: [0; 32] }.sign(&key(1));
    let body = |note: &str| format!("old 0\n\n{note}");
    assert_eq!(ask(&mut witness, &body(&elsewhere)), Err(Refused::UnknownLog));
    let by_another = Checkpoint { origin: name("vault.example/log"), size: 1, root: [0; 32] }.sign(&key(2));
    assert_eq!(ask(&mut witness, &body(&by_another)), Err(Refused::NotSigned));
    ask(&mut witness, &request(&nodes, 0, 100)).unwrap();
    let good = request(&nodes, 100, 300);
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut edited = good.clone().into_bytes();
            edited[place] ^= 1 << bit;
            let Ok(edited) = String::from_utf8(edited) else { continue };
            assert!(ask(&mut witness, &edited).is_err(), "byte {place}");
        }
    }
    let hash = encode_hash(&[1; 32]);
    let malformed = [
        String::new(),
        "old 1".to_owned(),
        "old 1\n".to_owned(),
        format!("old 01\n\n{}", note(&nodes, 5)),
        format!("old +1\n\n{}", note(&nodes, 5)),
        format!("old 1 \n\n{}", note(&nodes, 5)),
        format!("Old 1\n\n{}", note(&nodes, 5)),
        format!("\nold 1\n\n{}", note(&nodes, 5)),
        format!("old 1\n{hash}{}", note(&nodes, 5)),
        format!("old 1\n{}\n{}", &hash[1..], note(&nodes, 5)),
        format!("old 1\n{}\n{}", format!("{hash}\n").repeat(64), note(&nodes, 5)),
        format!("old 1\n\n{}", "x".repeat(MAX_REQUEST_BYTES)),
    ];
    for body in malformed {
        assert_eq!(ask(&mut witness, &body), Err(Refused::Malformed), "{body:.80}");
    }
    assert!(AddCheckpoint::parse(&format!("old 1\n{}\nx", format!("{hash}\n").repeat(63))).is_some());
    let sized = |size| AddCheckpoint::parse(&format!("old 1\n\n{}", "x".repeat(size - 7))).is_some();
    assert!(sized(MAX_REQUEST_BYTES) && !sized(MAX_REQUEST_BYTES + 1));
    ask(&mut witness, &good).unwrap();
}

#[test]
fn what_is_kept_has_no_lines_of_strangers_and_must_bear_the_own_cosignature() {
    let nodes = log(300);
    let mut witness = witness(None);
    let stranger = note(&nodes, 5).lines().last().unwrap().replace("vault.example/log", "stranger.example");
    let signed = note(&nodes, 5);
    let crowded = format!("{signed}{}{}\n", format!("{stranger}\n").repeat(62), signed.lines().last().unwrap());
    let kept = ask(&mut witness, &format!("old 0\n\n{crowded}")).unwrap();
    assert_eq!(kept.note, format!("{signed}{}", kept.answer));
    let mut again = Witness::new(name("witness.example"), key(9));
    let mut watch = |kept: &str| again.watch(name("vault.example/log"), vec![log_key(1)], Some(kept));
    assert_eq!(watch(&signed), Err(NoteError::NotCosigned));
    assert_eq!(watch(&kept.note.replace("\n5\n", "\n6\n")), Err(NoteError::NotSigned));
    assert_eq!(watch(&kept.note), Ok(()));
    let elsewhere = again.watch(name("other.example"), vec![log_key(1)], Some(&kept.note));
    assert_eq!(elsewhere, Err(NoteError::NotCosigned));
    // Watched once more, it goes on from what is given then.
    again.watch(name("vault.example/log"), vec![log_key(1)], None).unwrap();
    assert_eq!(ask(&mut again, &request(&nodes, 5, 6)), Err(Refused::Conflict { latest: 0 }));
    ask(&mut again, &request(&nodes, 0, 6)).unwrap();
}
