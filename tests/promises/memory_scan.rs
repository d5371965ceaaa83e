//! Reads the memory of a running process and finds markers in it.
//!
//! Every marker of a run contains the same random word, the needle, followed by a tail that belongs to it alone. So one search
//! for the needle finds all markers, whole or torn: a block of memory that was freed and not wiped may have lost its first
//! bytes to the allocator.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use crate::chance::Chance;

/// The length of each of the three parts of a marker.
const PART: usize = 16;
/// How much is read at once.
const WINDOW: usize = 1024 * 1024;
/// How much is shown before and behind a hit.
const CONTEXT: usize = 48;

/// Makes markers and knows what each stands for.
pub struct Markers {
    needle: String,
    /// By the tail: the owner's number, and the kind of text.
    known: BTreeMap<String, (usize, &'static str)>,
}

/// A marker in memory.
pub struct Hit {
    /// Whose, and which kind; `None` where only a part of a marker is there.
    pub marker: Option<(usize, &'static str)>,
    /// The mapping: `[heap]`, `[stack]`, `anonymous` or a file.
    pub mapping: String,
    /// The bytes around it, unprintable ones as dots.
    pub context: String,
}

/// All that was found, and how much was looked at.
pub struct Scan {
    pub hits: Vec<Hit>,
    pub bytes: u64,
    pub mappings: usize,
}

impl Markers {
    pub fn new(chance: &mut Chance) -> Self {
        Self { needle: chance.text(PART), known: BTreeMap::new() }
    }

    /// A new marker, of letters only.
    pub fn make(&mut self, chance: &mut Chance, owner: usize, kind: &'static str) -> String {
        let (head, tail) = (chance.text(PART), chance.text(PART));
        let marker = format!("{head}{}{tail}", self.needle);
        self.known.insert(tail, (owner, kind));
        marker
    }

    /// Looks through all readable memory of a process. An error says why the system does not allow it.
    pub fn find_in(&self, pid: u32) -> std::io::Result<Scan> {
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut scan = Scan { hits: Vec::new(), bytes: 0, mappings: 0 };
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.get(5).copied().unwrap_or("anonymous");
            if !fields[1].starts_with('r') || matches!(name, "[vvar]" | "[vvar_vclock]" | "[vsyscall]") {
                continue;
            }
            let (start, end) = fields[0].split_once('-').unwrap();
            let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            scan.mappings += 1;
            scan.bytes += self.find_between(&memory, start, end, name, &mut scan.hits);
        }
        Ok(scan)
    }

    /// Looks through one mapping; returns how much of it could be read. It may be gone by now, or have shrunk.
    fn find_between(&self, memory: &File, start: u64, end: u64, mapping: &str, hits: &mut Vec<Hit>) -> u64 {
        let (mut bytes, mut at, mut read) = (vec![0; WINDOW + 2 * CONTEXT], start, 0);
        while at < end {
            // Each window begins before the end of the last one, so that nothing lies across a border.
            let from = at.saturating_sub(CONTEXT as u64).max(start);
            let most = bytes.len().min(usize::try_from(end - from).unwrap());
            let Ok(got @ 1..) = memory.read_at(&mut bytes[..most], from) else { break };
            let fresh = usize::try_from(at - from).unwrap().min(got);
            let limit = if from + got as u64 >= end { got } else { got.saturating_sub(CONTEXT).max(fresh + 1) };
            for place in places(&bytes[..got], self.needle.as_bytes(), fresh, limit) {
                hits.push(self.hit(&bytes[..got], place, mapping));
            }
            read += (limit - fresh) as u64;
            at = from + limit as u64;
        }
        read
    }

    fn hit(&self, bytes: &[u8], place: usize, mapping: &str) -> Hit {
        let tail = bytes.get(place + PART..place + 2 * PART).map(|tail| String::from_utf8_lossy(tail).into_owned());
        let around = &bytes[place.saturating_sub(CONTEXT)..(place + PART + CONTEXT).min(bytes.len())];
        let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        Hit {
            marker: tail.and_then(|tail| self.known.get(&tail).copied()),
            mapping: mapping.to_owned(),
            context: around.iter().map(printable).collect(),
        }
    }
}

impl Scan {
    /// How many of the hits that `which` chooses are of each kind and in each mapping.
    pub fn count(&self, which: impl Fn(Option<usize>) -> bool) -> BTreeMap<(&'static str, &str), usize> {
        let mut counts = BTreeMap::new();
        for hit in self.hits.iter().filter(|hit| which(hit.marker.map(|(owner, _)| owner))) {
            let kind = hit.marker.map_or("torn", |(_, kind)| kind);
            *counts.entry((kind, hit.mapping.as_str())).or_default() += 1;
        }
        counts
    }
}

/// Where `needle` begins in `bytes`, at `from` or later and before `to`.
fn places(bytes: &[u8], needle: &[u8], from: usize, to: usize) -> Vec<usize> {
    let (first, mut found, mut at) = (needle[0], Vec::new(), from);
    while at < to {
        if bytes[at] == first && bytes[at..].starts_with(needle) {
            found.push(at);
        }
        at += 1;
    }
    found
}
