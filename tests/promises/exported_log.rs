//! A copy of the log can be checked by anyone, offline: by our code and by a program that is not ours. Both find the same copies whole and
//! the same ones changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use oubliette::audit::copy::{CHECKPOINT, Files, TileNodes};
use oubliette::audit::cosignature::WitnessKey;
use oubliette::audit::merkle::{self, Frontier, Hash, Node, Nodes};
use oubliette::audit::note::{Checkpoint, Origin, VerifierKey};
use oubliette::audit::tile::{self, Kind};
use oubliette::audit::verify::{Report, Trusted, verify};
use oubliette::audit::witness::{AddCheckpoint, Witness};
use oubliette::audit::{Entry, Event, proof};
use oubliette::crypto::secret::Key;
use oubliette::crypto::sign::SigningKey;
use oubliette::domain::clock::Timestamp;
use oubliette::domain::ids::TenantId;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::{elsewhere, outside};

const ORIGIN: &str = "vault.example/log";

/// A copy on the disk.
struct Folder(TempDir);

impl Files for Folder {
    type Error = io::Error;

    fn read(&self, path: &str, at_most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match fs::File::open(self.path(path)) {
            Ok(file) => file.take(at_most as u64).read_to_end(&mut bytes).map(|_| Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Folder {
    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, bytes)| folder.write(path, bytes));
        folder
    }
}

/// A change to the entries of a log.
type Edit = fn(&mut Vec<Vec<u8>>);

/// A log in memory.
struct Log {
    entries: Vec<Vec<u8>>,
    nodes: BTreeMap<Node, Hash>,
}

impl Nodes for Log {
    type Error = Node;

    fn hash(&self, node: Node) -> Result<Hash, Node> {
        self.nodes.get(&node).copied().ok_or(node)
    }
}

impl Log {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let (mut nodes, mut frontier) = (BTreeMap::new(), Frontier::EMPTY);
        entries.iter().for_each(|entry| nodes.extend(frontier.push(merkle::leaf(entry))));
        Self { entries, nodes }
    }

    fn with(count: u64) -> Self {
        Self::of((0..count).map(|number| entry(1_700_000_000_000 + number)).collect())
    }

    fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Its checkpoint as it was with so many entries.
    fn signed(&self, size: u64) -> String {
        Checkpoint { origin: origin(), size, root: merkle::root(self, size).unwrap() }.sign(&key(1))
    }

    /// The files of a copy.
    fn exported(&self) -> BTreeMap<String, Vec<u8>> {
        let file = |tile: tile::Tile| match tile.kind {
            Kind::Hashes { .. } => tile::hashes(self, tile).unwrap(),
            Kind::Entries => {
                let entries = self.entries.iter().skip(tile.first() as usize).take(tile.width.into());
                tile::bundle(entries.map(Vec::as_slice)).unwrap()
            }
        };
        let tiles = tile::grown(0, self.size()).map(|tile| (tile.to_string(), file(tile)));
        tiles.chain([(CHECKPOINT.to_owned(), self.signed(self.size()).into_bytes())]).collect()
    }
}

fn entry(ms: u64) -> Vec<u8> {
    let at = Timestamp::from_ms(ms).unwrap();
    Entry { at, tenant: TenantId([1; 16]), caller: None, event: Event::Readmitted }.encode().to_vec()
}

fn origin() -> Origin {
    Origin::parse(ORIGIN).unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Key::copy_of(&[seed; 32]))
}

fn log_key() -> VerifierKey {
    VerifierKey { name: origin(), public: *key(1).public() }
}

/// What our code says of a copy.
fn ours(copy: &Folder, earlier: &[&str], witnesses: &[WitnessKey]) -> Result<Report, String> {
    let trusted = Trusted { keys: &[log_key()], witnesses, earlier, tolerance_ms: 0 };
    verify(copy, &trusted, |_| ()).map_err(|error| error.to_string())
}

/// What the other program says of a copy; nothing where it cannot be run.
fn theirs(copy: &Path, more: &[&str]) -> Option<Result<Value, String>> {
    let key = log_key().to_string();
    let arguments = [&[copy.to_str().unwrap(), "--key", &key], more].concat();
    elsewhere::run("verify_log.py", &arguments).map(|output| outcome(&output))
}

fn outcome(output: &Output) -> Result<Value, String> {
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!reason.contains("Traceback"), "{reason}");
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(1) => Err(reason),
        other => panic!("exit {other:?}: {reason}"),
    }
}

/// That both refuse a copy.
fn assert_found(files: &BTreeMap<String, Vec<u8>>, what: &str) {
    let copy = Folder::holding(files);
    assert!(ours(&copy, &[], &[]).is_err(), "not found by us: {what}");
    let other = theirs(copy.0.path(), &[]);
    assert!(!matches!(other, Some(Ok(_))), "not found by the other program: {what}");
}

#[test]
fn copies_of_each_size_are_whole_to_our_code_and_to_another_program() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_536, 65_537] {
        let log = Log::with(size);
        let copy = Folder::holding(&log.exported());
        let checkpoint = ours(&copy, &[], &[]).unwrap().signed.checkpoint;
        let Some(other) = theirs(copy.0.path(), &[]) else { continue };
        let other = other.unwrap();
        let note = log.signed(size);
        let lines: Vec<&str> = note.lines().collect();
        assert_eq!((&other["origin"], &other["root"]), (&lines[0].into(), &lines[2].into()));
        assert_eq!((&other["size"], checkpoint.size), (&size.into(), size));
    }
}

#[test]
fn what_was_changed_in_a_copy_is_found_by_our_code_and_by_another_program() {
    let log = Log::with(300);
    let files = log.exported();
    let paths: Vec<&String> = files.keys().collect();
    assert_eq!(
        paths,
        [CHECKPOINT, "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]
    );
    // Every byte is tried inside, in the unit tests; here a few through the doors.
    for path in &paths {
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut files = files.clone();
            change(files.get_mut(*path).unwrap());
            files
        };
        let length = files[*path].len();
        for place in [0, 1, length / 3, length / 2, length - 2] {
            assert_found(&changed(&|bytes| bytes[place] ^= 1), &format!("byte {place} of {path}"));
        }
        assert_found(&changed(&|bytes| bytes.truncate(length - 1)), &format!("{path} cut"));
        assert_found(&changed(&|bytes| bytes.push(b'\n')), &format!("{path} longer"));
        let mut without = files.clone();
        without.remove(*path);
        assert_found(&without, &format!("{path} taken away"));
    }
    // The same signature, written in another way: there is one way to write it.
    let mut otherwise = files.clone();
    let note = otherwise.get_mut(CHECKPOINT).unwrap();
    let last_letter = note.len() - "=\n".len() - 1;
    note[last_letter] += 1;
    assert_found(&otherwise, "base64 with bits that nobody reads");
    for (one, other) in [(1, 2), (1, 4), (4, 5), (2, 5), (0, 3)] {
        let mut swapped = files.clone();
        swapped.insert(paths[one].clone(), files[paths[other]].clone());
        swapped.insert(paths[other].clone(), files[paths[one]].clone());
        assert_found(&swapped, &format!("{} and {} swapped", paths[one], paths[other]));
    }
    // By who makes all tiles anew, and cannot sign.
    let edits: [(&str, Edit); 5] = [
        ("dropped", |entries| drop(entries.remove(7))),
        ("swapped", |entries| entries.swap(7, 290)),
        ("doubled", |entries| entries.insert(7, entries[7].clone())),
        ("edited", |entries| entries[299] = entry(5)),
        ("all others", |entries| entries.reverse()),
    ];
    for (what, edit) in edits {
        let mut entries = log.entries.clone();
        edit(&mut entries);
        let mut redone = Log::of(entries).exported();
        redone.insert(CHECKPOINT.to_owned(), files[CHECKPOINT].clone());
        assert_found(&redone, what);
    }
}

#[test]
fn copies_that_were_changed_by_chance_are_found_by_both() {
    let mut chance = Chance::of_test("copies_that_were_changed_by_chance_are_found_by_both");
    for _ in 0..30 {
        let log = Log::with(1 + chance.below_u64(700));
        let mut files = log.exported();
        let paths: Vec<String> = files.keys().cloned().collect();
        let path = chance.one_of(&paths).clone();
        let bytes = files.get_mut(&path).unwrap();
        let (one, other) = (chance.below(bytes.len()), chance.below(bytes.len()));
        let before = bytes.clone();
        match chance.below(5) {
            0 => bytes[one] = chance.next() as u8,
            1 => bytes.swap(one, other),
            2 => drop(bytes.drain(one.min(other)..one.max(other))),
            3 => bytes.insert(one, chance.next() as u8),
            _ => bytes.rotate_left(one),
        }
        if *bytes != before {
            assert_found(&files, &format!("{path} of {} entries, at {one} and {other}", log.size()));
        }
    }
}

#[test]
fn a_history_that_was_rewritten_and_signed_anew_is_found_by_both_from_an_earlier_checkpoint() {
    let log = Log::with(300);
    let mut other = Log::with(300).entries;
    other[100] = entry(5);
    let other = Log::of(other);
    let copy = Folder::holding(&other.exported());
    let shorter = Folder::holding(&Log::with(255).exported());
    for (copy, size, is_continued) in
        [(&copy, 100, true), (&copy, 101, false), (&copy, 300, false), (&shorter, 256, false)]
    {
        let note = log.signed(size);
        copy.write("earlier", note.as_bytes());
        assert_eq!(ours(copy, &[&note], &[]).is_ok(), is_continued, "a checkpoint of {size}");
        if let Some(theirs) = theirs(copy.0.path(), &["--earlier", copy.path("earlier").to_str().unwrap()]) {
            assert_eq!(theirs.is_ok(), is_continued, "a checkpoint of {size}: {theirs:?}");
        }
    }
}

#[test]
fn proofs_that_are_made_from_a_copy_are_checked_by_another_program() {
    let log = Log::with(300);
    let copy = Folder::holding(&log.exported());
    let tiles = TileNodes::new(&copy, 300);
    let base64 = |hashes: Vec<Hash>| hashes.iter().map(encode).collect::<Vec<_>>();
    let check = |flag: &str, text: &str| {
        copy.write("proof", text.as_bytes());
        theirs(copy.0.path(), &[flag, copy.path("proof").to_str().unwrap()])
    };
    for (index, size) in [(0, 1), (0, 300), (7, 256), (255, 257), (256, 300), (299, 300)] {
        let hashes = base64(merkle::inclusion(&tiles, index, size).unwrap());
        let good = json!({ "index": index, "size": size, "hashes": hashes });
        let other = json!({ "index": index ^ 1, "size": size, "hashes": hashes });
        let receipt = proof::prove(&tiles, (index, &log.entries[index as usize]), &origin(), &key(1)).unwrap();
        let of_another = receipt.replace(&format!("\nindex {index}\n"), &format!("\nindex {}\n", index ^ 1));
        let Some(found) = check("--inclusion", &good.to_string()) else { return };
        assert!(found.is_ok(), "{found:?}");
        assert!(check("--inclusion", &other.to_string()).unwrap().is_err(), "{other}");
        assert!(check("--inclusion", &receipt).unwrap().is_ok(), "{receipt}");
        assert!(check("--inclusion", &of_another).unwrap().is_err(), "{of_another}");
    }
    for (earlier, size) in [(0, 300), (1, 300), (255, 256), (256, 257), (100, 299), (300, 300)] {
        let proof = merkle::consistency(&tiles, earlier, size).unwrap();
        let good = json!({ "earlier": earlier, "size": size, "hashes": base64(proof.clone()) });
        let other = json!({ "earlier": earlier, "size": size, "hashes": base64([&proof[..], &[[7; 32]]].concat()) });
        let request = AddCheckpoint { old_size: earlier, proof, note: &log.signed(size) }.to_string();
        assert!(check("--consistency", &good.to_string()).unwrap().is_ok(), "{good}");
        assert!(check("--consistency", &other.to_string()).unwrap().is_err(), "{other}");
        assert!(check("--consistency", &request).unwrap().is_ok(), "{request}");
    }
}

#[test]
fn cosignatures_of_our_witness_are_verified_by_another_program() {
    let log = Log::with(300);
    let mut files = log.exported();
    let mut witness = Witness::new(Origin::parse("witness.example").unwrap(), key(9));
    witness.watch(origin(), vec![log_key()], None).unwrap();
    let request = AddCheckpoint { old_size: 0, proof: vec![], note: &log.signed(300) }.to_string();
    let now = Timestamp::from_ms(1_700_000_000_999).unwrap();
    let cosigned = witness.add_checkpoint(&AddCheckpoint::parse(&request).unwrap(), now).unwrap().note;
    let stranger = WitnessKey { name: Origin::parse("stranger.example").unwrap(), public: *key(8).public() };
    let known = [stranger.to_string(), witness.public().to_string()];
    let known = ["--witness", &known[0], "--witness", &known[1]];

    files.insert(CHECKPOINT.to_owned(), cosigned.clone().into_bytes());
    let copy = Folder::holding(&files);
    let report = ours(&copy, &[], &[stranger, witness.public()]).unwrap();
    assert_eq!(report.signed.cosignatures.len(), 1);
    let Some(found) = theirs(copy.0.path(), &known) else { return };
    assert_eq!(found.unwrap()["witnesses"], json!([{ "name": "witness.example", "time": 1_700_000_000 }]));
    assert_eq!(theirs(copy.0.path(), &[]).unwrap().unwrap()["witnesses"], json!([]));

    // The last byte of its signature, in base64 before the padding and the end of the line.
    let mut edited = cosigned.into_bytes();
    let place = edited.len() - 6;
    edited[place] = if edited[place] == b'A' { b'B' } else { b'A' };
    copy.write(CHECKPOINT, &edited);
    assert!(ours(&copy, &[], &[witness.public()]).is_err());
    assert!(theirs(copy.0.path(), &known).unwrap().is_err());
    assert!(theirs(copy.0.path(), &[]).unwrap().is_ok(), "who does not know the witness passes over its line");
}

/// Runs the checks of proofs in the other program on the published vectors; tells how many there are of each kind. Its readers refuse
/// hashes that have not 32 bytes before they are checked; one case has equal roots of 12 bytes, which the reference accepts.
const VECTORS: &str = r#"
import json, sys
from base64 import b64decode
from verify_log import Refused, check_consistency, check_inclusion

def is_refused(check, hashes, arguments):
    if any(len(one) != 32 for one in hashes):
        return True
    try:
        check(*arguments)
    except Refused:
        return True
    return False

def inclusion(case, proof):
    leaf, root = b64decode(case["leafHash"]), b64decode(case["root"])
    arguments = leaf, case["leafIdx"], case["treeSize"], proof, root
    return is_refused(check_inclusion, [leaf, root, *proof], arguments)

def consistency(case, proof):
    before, now = b64decode(case["root1"]), b64decode(case["root2"])
    arguments = case["size1"], before, case["size2"], now, proof
    return is_refused(check_consistency, [before, now, *proof], arguments)

counts = []
for file, check in zip(sys.argv[1:], [inclusion, consistency]):
    cases = json.load(open(file))
    for case in cases:
        refused = check(case, [b64decode(one) for one in case["proof"] or []])
        if refused != case["wantErr"] and case["name"] != "additional/sizes-are-equal-one-and-proof-is-empty.json":
            sys.exit(f"{case['name']}: {case['desc']}")
    counts.append(len(cases))
print(json.dumps(counts))
"#;

#[test]
fn the_other_program_agrees_with_all_published_proofs() {
    let (Some(inclusion), Some(consistency)) =
        (outside::vectors("merkle_inclusion.json"), outside::vectors("merkle_consistency.json"))
    else {
        return;
    };
    let arguments = [inclusion.to_str().unwrap(), consistency.to_str().unwrap()];
    let Some(output) = elsewhere::run_lines(VECTORS, &arguments) else { return };
    assert_eq!(outcome(&output), Ok(json!([98, 98])));
}

fn encode(hash: &Hash) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(hash)
}
