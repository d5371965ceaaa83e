//! The published test vectors, all of them, against the code that is really used. They live beside the checkout, or where
//! `OUBLIETTE_VECTORS` points.

use std::collections::BTreeMap;

use aes_gcm::aead::consts::{U1, U2, U4, U6, U8, U10, U12, U15, U16, U20, U32, U64, U128, U257};
use aes_gcm::aead::{Aead as _, Payload, array::ArraySize};
use aes_gcm::{AesGcm, KeyInit as _, Nonce, aes::Aes256};
use aws_lc_rs::{aead, digest};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use oubliette::audit::merkle;
use oubliette::crypto::content::{self, HEADER, Opener, SEALED_CHUNK, Sealer};
use oubliette::crypto::{CannotOpen, Key, kdf, key_wrap};
use serde_json::Value;

use crate::{outside, tell};

#[test]
fn aes_256_gcm_agrees_with_all_wycheproof_vectors() {
    let Some(file) = Vectors::read("wycheproof_aes_gcm_test.json") else { return };
    let mut tally = Tally::new("AES-256-GCM");
    for (group, case) in file.cases().filter(|(group, _)| group["keySize"] == 256) {
        assert_eq!(group["tagSize"], 128, "the room's tags have 128 bits, and so do all vectors");
        let case = GcmCase::of(case);
        let door = match case.iv.len() {
            12 => case.through_both_libraries(),
            0 => case.without_nonce(),
            _ => case.through_library_with_other_nonce(),
        };
        tally.count(door, case.valid);
    }
    tally.tell(105);
}

#[test]
fn hkdf_sha256_agrees_with_all_wycheproof_vectors() {
    let Some(file) = Vectors::read("wycheproof_hkdf_sha256_test.json") else { return };
    let mut tally = Tally::new("HKDF-SHA256");
    for (_, case) in file.cases() {
        let size = usize::try_from(case["size"].as_u64().unwrap()).unwrap();
        let mut okm = vec![0; size];
        let derived = kdf::hkdf_sha256(&bytes(&case["salt"]), &bytes(&case["ikm"]), &bytes(&case["info"]), &mut okm);
        match is_valid(case) {
            true => assert!(derived.is_ok() && okm == bytes(&case["okm"]), "{}", name(case)),
            false => assert_eq!(derived, Err(kdf::TooLong), "{}", name(case)),
        }
        tally.count("crypto::kdf", is_valid(case));
    }
    tally.tell(86);
}

#[test]
fn cobblestone_256_agrees_with_all_wycheproof_vectors() {
    let Some(file) = Vectors::read("wycheproof_c2sp_chunked_encryption_aes_256_gcm_test.json") else { return };
    let mut tally = Tally::new("Cobblestone-256");
    for (group, case) in file.cases() {
        assert_eq!((&group["aead"], &group["sha"]), (&"AEAD_AES_256_GCM".into(), &"SHA-512".into()));
        let Ok(key) = <[u8; 32]>::try_from(bytes(&case["key"])) else {
            assert!(!is_valid(case) && has_flag(case, "InvalidKeySize"), "{}", name(case));
            tally.count("refused by the type of a key, which has 32 bytes", false);
            continue;
        };
        let case = CobblestoneCase::of(case, Key::copy_of(&key));
        case.check_whole();
        case.check_chunk_by_chunk();
        case.check_last_chunk_alone();
        tally.count("crypto::content, whole and chunk by chunk", case.valid);
    }
    tally.tell(35);
}

/// A case of AES-GCM.
struct GcmCase {
    name: String,
    valid: bool,
    key: [u8; 32],
    iv: Vec<u8>,
    aad: Vec<u8>,
    msg: Vec<u8>,
    ct_and_tag: Vec<u8>,
}

impl GcmCase {
    fn of(case: &Value) -> Self {
        Self {
            name: name(case),
            valid: is_valid(case),
            key: bytes(&case["key"]).try_into().unwrap(),
            iv: bytes(&case["iv"]),
            aad: bytes(&case["aad"]),
            msg: bytes(&case["msg"]),
            ct_and_tag: [bytes(&case["ct"]), bytes(&case["tag"])].concat(),
        }
    }

    /// Nonces of 96 bits: through the room's own door, and through the library that seals content.
    fn through_both_libraries(&self) -> &'static str {
        let sealed = [self.iv.as_slice(), &self.ct_and_tag].concat();
        let opened = key_wrap::open(&Key::copy_of(&self.key), &self.aad, &sealed);
        assert_eq!(opened.as_ref().ok().map(|text| text.as_slice()), self.expected(), "{}", self.name);

        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &self.key).unwrap());
        let nonce = || aead::Nonce::try_assume_unique_for_key(&self.iv).unwrap();
        let mut buffer = self.ct_and_tag.clone();
        let opened = key.open_in_place(nonce(), aead::Aad::from(&self.aad), &mut buffer);
        assert_eq!(opened.as_deref().ok(), self.expected(), "{}", self.name);
        if self.valid {
            let mut buffer = self.msg.clone();
            key.seal_in_place_append_tag(nonce(), aead::Aad::from(&self.aad), &mut buffer).unwrap();
            assert_eq!(buffer, self.ct_and_tag, "{}", self.name);
            self.check_library::<U12>();
        }
        "crypto::key_wrap and both libraries"
    }

    /// Nonces of no bits: to the room such data has its nonce cut off.
    fn without_nonce(&self) -> &'static str {
        let opened = key_wrap::open(&Key::copy_of(&self.key), &self.aad, &self.ct_and_tag);
        assert_eq!(opened.map(|_| ()), Err(CannotOpen), "{}", self.name);
        "refused by crypto::key_wrap, whose nonces have 96 bits"
    }

    /// Nonces of other lengths, which the room never uses: through the library under it, which can.
    fn through_library_with_other_nonce(&self) -> &'static str {
        match self.iv.len() {
            1 => self.check_library::<U1>(),
            2 => self.check_library::<U2>(),
            4 => self.check_library::<U4>(),
            6 => self.check_library::<U6>(),
            8 => self.check_library::<U8>(),
            10 => self.check_library::<U10>(),
            15 => self.check_library::<U15>(),
            16 => self.check_library::<U16>(),
            20 => self.check_library::<U20>(),
            32 => self.check_library::<U32>(),
            64 => self.check_library::<U64>(),
            128 => self.check_library::<U128>(),
            257 => self.check_library::<U257>(),
            other => panic!("{}: a nonce of {other} bytes is new here, add it", self.name),
        }
        "the library under crypto::key_wrap, as the room has no such nonces"
    }

    fn check_library<N: ArraySize>(&self) {
        let cipher = AesGcm::<Aes256, N>::new(&self.key.into());
        let nonce = Nonce::<N>::try_from(self.iv.as_slice()).unwrap();
        let opened = cipher.decrypt(&nonce, Payload { msg: &self.ct_and_tag, aad: &self.aad });
        assert_eq!(opened.as_deref().ok(), self.expected(), "{}", self.name);
        let sealed = cipher.encrypt(&nonce, Payload { msg: &self.msg, aad: &self.aad }).unwrap();
        assert_eq!(sealed == self.ct_and_tag, self.valid, "{}", self.name);
    }

    fn expected(&self) -> Option<&[u8]> {
        self.valid.then_some(&self.msg)
    }
}

/// A case of Cobblestone-256.
struct CobblestoneCase {
    name: String,
    valid: bool,
    header_fails: bool,
    last_chunk_opens: bool,
    key: Key,
    context: Vec<u8>,
    sealed: Vec<u8>,
    /// Length and SHA-512 of what the chunks up to the first bad one hold.
    prefix: (usize, Vec<u8>),
}

impl CobblestoneCase {
    fn of(case: &Value, key: Key) -> Self {
        let valid = is_valid(case);
        let prefix = if valid || has_flag(case, "PartialPlaintext") {
            (usize::try_from(case["msgLength"].as_u64().unwrap()).unwrap(), bytes(&case["msgSha512"]))
        } else {
            (0, sha512(b""))
        };
        Self {
            name: name(case),
            valid,
            header_fails: has_flag(case, "HeaderFailure"),
            last_chunk_opens: valid || has_flag(case, "ValidFinalChunk"),
            key,
            context: bytes(&case["ctx"]),
            // The file holds the ciphertexts deflated (zlib).
            sealed: miniz_oxide::inflate::decompress_to_vec_zlib(&bytes(&case["ct"])).unwrap(),
            prefix,
        }
    }

    fn header(&self) -> &[u8] {
        &self.sealed[..HEADER.min(self.sealed.len())]
    }

    fn chunks(&self) -> Vec<&[u8]> {
        self.sealed.get(HEADER..).unwrap_or_default().chunks(SEALED_CHUNK).collect()
    }

    fn check_whole(&self) {
        let opened = content::open(&self.key, &self.context, &self.sealed);
        assert_eq!(opened.is_ok(), self.valid, "{}", self.name);
        let Ok(message) = opened else { return };
        assert_eq!((message.len(), sha512(&message)), self.prefix, "{}", self.name);
        let again = content::seal(&self.key, &self.context, &message);
        assert_eq!(again.len(), self.sealed.len(), "{}", self.name);
        assert_eq!(content::open(&self.key, &self.context, &again), Ok(message), "{}", self.name);
    }

    fn check_chunk_by_chunk(&self) {
        let opener = Opener::new(&self.key, &self.context, self.header());
        assert_eq!(opener.is_err(), self.header_fails, "{}", self.name);
        let Ok(opener) = opener else { return };
        // As a reader of a stream does: a short chunk is the last, and the end after a full one is a cut.
        let (mut message, mut ended) = (Vec::new(), false);
        let opened = (0..).zip(self.chunks()).try_for_each(|(index, chunk)| {
            ended = chunk.len() < SEALED_CHUNK;
            opener.chunk(index, chunk, ended, &mut message)
        });
        assert_eq!(opened.is_ok() && ended, self.valid, "{}", self.name);
        assert_eq!((message.len(), sha512(&message)), self.prefix, "{}", self.name);
        if self.valid {
            self.check_sealing_in_pieces(&message);
        }
    }

    fn check_last_chunk_alone(&self) {
        let (Ok(opener), Some((last, before))) = (
            Opener::new(&self.key, &self.context, self.header()),
            self.chunks().split_last().map(|(l, b)| (*l, b.len())),
        ) else {
            return assert!(!self.last_chunk_opens, "{}", self.name);
        };
        let opened = opener.chunk(before as u64, last, true, &mut Vec::new());
        assert_eq!(opened.is_ok(), self.last_chunk_opens, "{}", self.name);
    }

    fn check_sealing_in_pieces(&self, message: &[u8]) {
        for piece in [1, 4_095, 16_384, 50_000] {
            // A byte at a time is enough for the small ones.
            if message.len() / piece > 100_000 {
                continue;
            }
            let (mut sealer, header) = Sealer::new(&self.key, &self.context);
            let mut sealed = header.to_vec();
            message.chunks(piece).for_each(|piece| sealer.push(piece, &mut sealed));
            sealer.finish(&mut sealed);
            let opened = content::open(&self.key, &self.context, &sealed).unwrap();
            assert_eq!(opened.as_slice(), message, "{}, in pieces of {piece}", self.name);
        }
    }
}

#[test]
fn merkle_inclusion_agrees_with_all_published_proofs() {
    let Some(Vectors(file)) = Vectors::read("merkle_inclusion.json") else { return };
    let mut tally = Tally::new("RFC 6962 inclusion");
    for case in file.as_array().unwrap() {
        let (index, size) = (number(&case["leafIdx"]), number(&case["treeSize"]));
        let (leaf, root) = (hash(&case["leafHash"]), hash(&case["root"]));
        check_proof(&mut tally, case, [leaf, root], |[leaf, root], proof| {
            merkle::check_inclusion(&leaf, index, size, proof, &root)
        });
    }
    tally.tell(98);
}

#[test]
fn merkle_consistency_agrees_with_all_published_proofs() {
    let Some(Vectors(file)) = Vectors::read("merkle_consistency.json") else { return };
    let mut tally = Tally::new("RFC 6962 consistency");
    for case in file.as_array().unwrap() {
        let (earlier, size) = (number(&case["size1"]), number(&case["size2"]));
        let roots = [hash(&case["root1"]), hash(&case["root2"])];
        check_proof(&mut tally, case, roots, |[before, now], proof| {
            merkle::check_consistency((earlier, &before), (size, &now), proof)
        });
    }
    tally.tell(98);
}

/// Checks a proof of which the file says whether it should pass. Hashes of another length than 32 bytes are refused by their type.
fn check_proof(
    tally: &mut Tally,
    case: &Value,
    hashes: [Option<merkle::Hash>; 2],
    check: impl FnOnce([merkle::Hash; 2], &[merkle::Hash]) -> Result<(), merkle::NotProven>,
) {
    let name = case["name"].as_str().unwrap();
    let is_valid = !case["wantErr"].as_bool().unwrap();
    let proof: Option<Vec<_>> = case["proof"].as_array().into_iter().flatten().map(hash).collect();
    let ([Some(first), Some(second)], Some(proof)) = (hashes, proof) else {
        // The reference compares any bytes: one case has equal roots of 12 bytes, which no SHA-256 gives.
        assert!(!is_valid || name == "additional/sizes-are-equal-one-and-proof-is-empty.json", "{name}");
        return tally.count("refused by the type of a hash, which has 32 bytes", is_valid);
    };
    assert_eq!(check([first, second], &proof).is_ok(), is_valid, "{name}");
    tally.count("audit::merkle", is_valid);
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// A hash in base64; `None` if it has another length.
fn hash(value: &Value) -> Option<merkle::Hash> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap().try_into().ok()
}

/// A file of vectors.
struct Vectors(Value);

impl Vectors {
    /// Reads the file, if it is there.
    fn read(file: &str) -> Option<Self> {
        outside::vectors(file).map(|path| Self(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()))
    }

    fn cases(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let groups = self.0["testGroups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |case| (group, case)))
    }
}

/// How many cases were run, and through what.
struct Tally {
    what: &'static str,
    counts: BTreeMap<&'static str, [u32; 2]>,
}

impl Tally {
    fn new(what: &'static str) -> Self {
        Self { what, counts: BTreeMap::new() }
    }

    fn count(&mut self, through: &'static str, valid: bool) {
        self.counts.entry(through).or_default()[usize::from(!valid)] += 1;
    }

    /// Prints the counts and checks that they add up to `expected`: no case is skipped.
    fn tell(&self, expected: u32) {
        for (through, [valid, invalid]) in &self.counts {
            tell(&format!("{}: {valid} valid, {invalid} invalid: {through}", self.what));
        }
        let total = self.counts.values().flatten().sum::<u32>();
        tell(&format!("{}: {total} of {expected} vectors, 0 skipped", self.what));
        assert_eq!(total, expected, "the file has other vectors than the ones known");
    }
}

fn is_valid(case: &Value) -> bool {
    match case["result"].as_str().unwrap() {
        "valid" => true,
        "invalid" => false,
        other => panic!("{}: result {other} is new here", name(case)),
    }
}

fn has_flag(case: &Value, flag: &str) -> bool {
    case["flags"].as_array().unwrap().iter().any(|found| found == flag)
}

fn name(case: &Value) -> String {
    format!("case {} ({})", case["tcId"], case["comment"])
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii());
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn sha512(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA512, data).as_ref().to_vec()
}
