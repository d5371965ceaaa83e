use std::collections::HashMap;

use super::merkle::{Frontier, Hash, Node, Nodes};
use super::note::{Checkpoint, Origin, VerifierKey};
use super::*;
use crate::crypto::secret::Key;
use crate::crypto::sign::SigningKey;
use crate::domain::approval::{ApprovalGround, ApprovalId, Raise, Wanted};
use crate::domain::erasure::Part;
use crate::domain::erasure::{Ground, MediumClass, Subject};

struct Log {
    entries: Vec<Vec<u8>>,
    nodes: HashMap<Node, Hash>,
}

impl Nodes for Log {
    type Error = ();

    fn hash(&self, node: Node) -> Result<Hash, ()> {
        self.nodes.get(&node).copied().ok_or(())
    }
}

impl Log {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let mut log = Self { entries, nodes: HashMap::new() };
        let mut frontier = Frontier::of(&log, 0).unwrap();
        for entry in &log.entries {
            log.nodes.extend(frontier.push(merkle::leaf(entry)));
        }
        log
    }
}

fn erased() -> Erased {
    Erased {
        receipt: ReceiptId([3; 16]),
        subject: Subject::Customer,
        commitment: receipt::commitment(&[9; 32], "C-1001-anna", None),
        epoch: 7,
        requested_by: BlindIndex([4; 16]),
        approved_by: Some(BlindIndex([5; 16])),
        provider: "file".to_owned(),
        medium: MediumClass::File,
        shares_device: false,
        lost_replicas: 0,
        final_at: Timestamp::from_ms(1_700_000_000_123).unwrap(),
        kept_under: vec![Ground::LegalObligation, Ground::LegalClaims],
    }
}

fn entry(event: Event) -> Entry {
    Entry { at: Timestamp::from_ms(1_700_000_000_200).unwrap(), tenant: TenantId([1; 16]), caller: None, event }
}

fn signer(number: u8) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&Key::copy_of(&[number; 32]));
    let name = Origin::parse("vault.example/log").unwrap();
    let public = VerifierKey { name, public: *key.public() };
    (key, public)
}

fn proof(log: &Log, index: u64, key: &SigningKey) -> String {
    let origin = Origin::parse("vault.example/log").unwrap();
    proof::prove(log, (index, &log.entries[index as usize]), &origin, key).unwrap()
}

#[test]
fn entries_of_erasures_and_keys_come_back_as_they_were_and_no_shortened_one_is_read() {
    for event in [
        Event::ErasureFinal(Box::new(erased())),
        Event::ErasureFinal(Box::new(Erased {
            approved_by: None,
            kept_under: vec![],
            shares_device: true,
            ..erased()
        })),
        Event::LogKey { origin: "vault.example".to_owned(), public: [8; 32], previous: Some(77) },
        Event::LogKey { origin: "vault.example".to_owned(), public: [8; 32], previous: None },
        Event::Replica { is_added: true, was_destroyed: false },
        Event::CasesListed { handle: Handle([2; 16]) },
        Event::Approval {
            action: Action::GiveApproval,
            approved: Approved {
                id: ApprovalId { of: BlindIndex([6; 16]), number: [7; 8] },
                wanted: Wanted {
                    raise: Raise { erasures: 1, reads: 2, customers: 3 },
                    ground: ApprovalGround::LegalClaim,
                    expires: Timestamp::from_ms(1_700_000_000_300).unwrap(),
                },
            },
        },
        Event::Replica { is_added: false, was_destroyed: true },
    ] {
        let entry = entry(event);
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
        for length in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn a_receipt_checks_under_its_key_and_every_edited_byte_is_refused() {
    let (key, public) = signer(1);
    for before in [0, 1, 2, 5, 300] {
        let mut entries: Vec<_> = (0..before).map(|n: u32| n.to_be_bytes().to_vec()).collect();
        entries.push(entry(Event::ErasureFinal(Box::new(erased()))).encode().to_vec());
        let log = Log::of(entries);
        let text = proof(&log, before.into(), &key);
        let checked = receipt::check(&text, std::slice::from_ref(&public)).unwrap();
        assert_eq!(checked.erased, erased());
        assert_eq!((checked.proven.index, checked.proven.checkpoint.size), (before.into(), u64::from(before) + 1));
        assert!(receipt::is_of(&checked.erased, &[9; 32], "C-1001-anna", None));
        assert!(!receipt::is_of(&checked.erased, &[9; 32], "C-1001-bob", None));
        assert!(!receipt::is_of(&checked.erased, &[8; 32], "C-1001-anna", None));
        assert!(!receipt::is_of(&checked.erased, &[9; 32], "C-1001-anna", Some(Part::Record(RecordId::PROFILE))));
        let mut tried = 0;
        let mut refused = |bytes: &[u8], place: usize| {
            // What is no text is not read as a receipt at all.
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let outcome = receipt::check(text, std::slice::from_ref(&public));
            assert!(outcome.is_err(), "byte {place} of {before}: {outcome:?}");
            tried += 1;
        };
        for place in 0..text.len() {
            for other in (0..=u8::MAX).filter(|other| *other != text.as_bytes()[place]) {
                let mut edited = text.clone().into_bytes();
                edited[place] = other;
                refused(&edited, place);
            }
            let mut without = text.clone().into_bytes();
            without.remove(place);
            refused(&without, place);
            let mut doubled = text.clone().into_bytes();
            doubled.insert(place, text.as_bytes()[place]);
            refused(&doubled, place);
        }
        // Half of all values of a byte make no text; the others were all looked at.
        assert!(tried > text.len() * 127, "{tried} edits of {} bytes", text.len());
    }
}

#[test]
fn a_receipt_of_another_key_or_log_or_entry_is_refused_and_an_old_key_still_checks_its_own() {
    let ((old, old_public), (new, new_public)) = (signer(1), signer(2));
    let log = Log::of(vec![
        entry(Event::ErasureFinal(Box::new(erased()))).encode().to_vec(),
        entry(Event::LogKey { origin: String::new(), public: new_public.public, previous: None }).encode().to_vec(),
    ]);
    let (by_old, by_new) = (proof(&log, 0, &old), proof(&log, 0, &new));
    let both = [new_public.clone(), old_public.clone()];
    assert!(receipt::check(&by_old, &both).is_ok() && receipt::check(&by_new, &both).is_ok());
    assert!(receipt::check(&by_old, std::slice::from_ref(&new_public)).is_err());
    assert!(receipt::check(&by_old, &[]).is_err());
    assert_eq!(receipt::check(&proof(&log, 1, &new), &both), Err(receipt::NotAReceipt::OtherEntry));
    let elsewhere = VerifierKey { name: Origin::parse("other.example").unwrap(), public: old_public.public };
    assert!(receipt::check(&by_old, &[elsewhere]).is_err());
    assert_eq!(VerifierKey::parse(&old_public.to_string()), Some(old_public.clone()));
    for wrong in ["", "a+b", "vault.example/log+00000000+AQ==", &old_public.to_string().replace("log+", "lug+")] {
        assert_eq!(VerifierKey::parse(wrong), None, "{wrong}");
    }
}

/// c2sp.org/tlog-checkpoint and c2sp.org/signed-note.
#[test]
fn a_checkpoint_is_written_as_the_specification_writes_it() {
    let (key, public) = signer(1);
    let root = merkle::leaf(b"x");
    let checkpoint = Checkpoint { origin: public.name.clone(), size: 20_852_163, root };
    let note = checkpoint.sign(&key);
    let lines: Vec<&str> = note.split('\n').collect();
    assert_eq!(lines.len(), 6);
    assert_eq!((lines[0], lines[1], lines[3], lines[5]), ("vault.example/log", "20852163", "", ""));
    assert!(lines[4].starts_with("\u{2014} vault.example/log "));
    assert_eq!(Checkpoint::open(&note, &[public]).unwrap(), checkpoint);
}
