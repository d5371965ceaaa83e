//! A generation: one base, and what was written since, in files of about 64 MiB in order. Their names say generation, sort, and number;
//! a file `…-complete` says that the base is whole, whose it is, and gives it a random name of its own.

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::frames::{self, Frame, MAX_BODY_BYTES, Next};
use super::{Medium, Sort};
use crate::domain::codec::{Decode, Reader, Writer};
use crate::store::sequence::Position;
use crate::store::{Database, StoreError, Write};

/// A file that is longer is followed by another one.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Read in one go: at least one whole frame.
const READ_BYTES: usize = MAX_BODY_BYTES + 64 * 1024;
/// Rows written in one go when a mirror is read back.
const SYNC_EVERY_BYTES: usize = 64 * 1024 * 1024;
/// The version of the files, frames included. It stands in the file that says that a base is whole.
const VERSION: u8 = 2;
/// More than that file has.
const MARK_BYTES: usize = 64;
const DAMAGED: StoreError = StoreError::Damaged { what: "a mirror's row file" };

/// The name of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation {
    pub number: u32,
    pub sort: Sort,
}

impl Generation {
    pub fn file(self, part: u32) -> String {
        format!("{:08x}-{}-{part:08x}", self.number, self.sort.letter())
    }

    pub fn mark(self) -> String {
        format!("{:08x}-{}-complete", self.number, self.sort.letter())
    }

    fn parse(name: &str) -> Option<(Self, Option<u32>)> {
        let mut words = name.split('-');
        let number = u32::from_str_radix(words.next()?, 16).ok()?;
        let sort = Sort::of_letter(words.next()?)?;
        let part = words.next()?;
        let part = if part == "complete" { None } else { Some(u32::from_str_radix(part, 16).ok()?) };
        words.next().is_none().then_some((Self { number, sort }, part))
    }
}

/// A generation that is written.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub generation: Generation,
    part: u32,
    /// Where the present file ends.
    end: u64,
    /// Bytes in all of its files.
    pub bytes: u64,
}

impl Stream {
    pub fn begin(generation: Generation) -> Self {
        Self { generation, part: 0, end: 0, bytes: 0 }
    }

    /// Appends whole frames, durably.
    pub fn append(&mut self, medium: &mut dyn Medium, frames: &[u8]) -> Result<(), StoreError> {
        if self.end >= FILE_BYTES {
            (self.part, self.end) = (self.part + 1, 0);
        }
        medium.append(&self.generation.file(self.part), self.end, frames)?;
        self.end += frames.len() as u64;
        self.bytes += frames.len() as u64;
        Ok(())
    }

    /// Says that its base is whole; from now on it is the one that counts.
    pub fn complete(&mut self, medium: &mut dyn Medium, at: Position, vault: &[u8]) -> Result<(), StoreError> {
        self.append(medium, &frames::complete(at))?;
        let mut name = [0; 16];
        SysRng.try_fill_bytes(&mut name).expect("the operating system gives random bytes once it has started");
        medium.append(&self.generation.mark(), 0, &Writer::versioned(VERSION).fixed(vault).fixed(&name).finish())
    }

    /// Makes what stands in the present file durable, whoever wrote it.
    pub fn sync(&self, medium: &mut dyn Medium) -> Result<(), StoreError> {
        medium.sync(&self.generation.file(self.part))
    }

    /// Whether `other` is of the same generation and reaches as far at least.
    pub fn is_within(&self, other: &Self) -> bool {
        self.generation == other.generation && (self.part, self.end) <= (other.part, other.end)
    }
}

/// All generations of a medium, the newest last, each with its files in order.
fn generations(medium: &dyn Medium) -> Result<Vec<(Generation, bool, Vec<u32>)>, StoreError> {
    let mut found: Vec<(Generation, bool, Vec<u32>)> = Vec::new();
    for (generation, part) in medium.list()?.iter().filter_map(|name| Generation::parse(name)) {
        if found.last().is_none_or(|(last, ..)| *last != generation) {
            found.push((generation, false, Vec::new()));
        }
        let (_, complete, parts) = found.last_mut().expect("one was pushed");
        match part {
            None => *complete = true,
            Some(part) => parts.push(part),
        }
    }
    Ok(found)
}

/// A generation whose base is whole.
pub(super) struct Whole {
    pub generation: Generation,
    /// Its files.
    pub parts: Vec<u32>,
    /// Whose it is.
    pub vault: [u8; 32],
    /// Its own name: no other generation has it, in whatever mirror of the vault.
    pub name: [u8; 16],
}

/// The newest whole generation. One whose mark is not whole itself does not count: a crash cut it.
pub(super) fn whole(medium: &dyn Medium) -> Result<Option<Whole>, StoreError> {
    for (generation, _, parts) in generations(medium)?.into_iter().rev().filter(|(_, complete, _)| *complete) {
        let mark = medium.read(&generation.mark(), 0, MARK_BYTES)?;
        let read = || {
            let (mut reader, version) = Reader::versioned("the files of a mirror", &mark, VERSION)?;
            if version < VERSION {
                return Err(reader.damaged());
            }
            let read = (reader.array()?, reader.array()?);
            reader.end()?;
            Ok(read)
        };
        match read() {
            Ok((vault, name)) => return Ok(Some(Whole { generation, parts, vault, name })),
            Err(Decode::Damaged { .. }) => {}
            Err(newer) => return Err(StoreError::decoding(newer)),
        }
    }
    Ok(None)
}

/// The number that a new generation takes.
pub(super) fn next_number(medium: &dyn Medium) -> Result<u32, StoreError> {
    Ok(generations(medium)?.last().map_or(0, |(last, ..)| last.number) + 1)
}

/// Removes every generation but this one.
pub(super) fn keep_only(medium: &mut dyn Medium, generation: Option<Generation>) -> Result<(), StoreError> {
    for (old, complete, parts) in generations(medium)?.into_iter().filter(|(other, ..)| Some(*other) != generation) {
        // The mark first: what is half removed must not look whole.
        if complete {
            medium.remove(&old.mark())?;
        }
        parts.into_iter().try_for_each(|part| medium.remove(&old.file(part)))?;
    }
    Ok(())
}

/// The newest whole generation, and where it ends. What a crash cut at its end is overwritten by what comes next.
pub(super) fn newest(medium: &dyn Medium) -> Result<Option<(Stream, Position)>, StoreError> {
    let Some(Whole { generation, parts, .. }) = whole(medium)? else { return Ok(None) };
    // The last file may be empty still: then what was written last stands in the one before.
    let mut end = None;
    for part in parts.into_iter().rev() {
        let mut last = None;
        let length = walk(medium, &generation.file(part), |frame| {
            if let Frame::Group(at, _) | Frame::Complete(at) = frame {
                last = Some(at);
            }
            Ok(())
        })?;
        let (part, end) = *end.get_or_insert((part, length));
        if let Some(at) = last {
            let bytes = u64::from(part) * FILE_BYTES + end;
            return Ok(Some((Stream { generation, part, end, bytes }, at)));
        }
    }
    Err(DAMAGED)
}

/// Where the last whole frame of a file ends.
pub(super) fn end_of(medium: &dyn Medium, name: &str) -> Result<u64, StoreError> {
    walk(medium, name, |_| Ok(()))
}

/// Goes through the frames of a file; returns where the last whole one ends.
fn walk(
    medium: &dyn Medium,
    name: &str,
    mut each: impl FnMut(Frame) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut at = 0;
    loop {
        let bytes = medium.read(name, at, READ_BYTES)?;
        let mut taken = 0;
        while let Next::Frame(frame, length) = frames::next(&bytes[taken..]).map_err(|_| DAMAGED)? {
            each(frame)?;
            taken += length;
        }
        at += taken as u64;
        // Less than was asked for: the file ends here. Nothing taken: what follows is no frame.
        if taken == 0 || bytes.len() < READ_BYTES {
            return Ok(at);
        }
    }
}

/// All writes in all files, also of generations that are not whole.
#[cfg(test)]
pub(super) fn every_write(medium: &dyn Medium) -> Result<Vec<Write>, StoreError> {
    let mut all = Vec::new();
    for (generation, _, parts) in generations(medium)? {
        for part in parts {
            walk(medium, &generation.file(part), |frame| {
                match frame {
                    Frame::Complete(_) => {}
                    Frame::Rows(rows) => all.extend(rows.into_iter().map(|(key, value)| Write::Put { key, value })),
                    Frame::Group(_, writes) => all.extend(writes),
                }
                Ok(())
            })?;
        }
    }
    Ok(all)
}

/// Writes what the newest whole generation holds into `db`, which is empty; returns where it ends.
pub(super) fn replay(
    medium: &dyn Medium,
    db: &dyn Database,
    mut progress: impl FnMut(u64),
) -> Result<Option<(Sort, Position)>, StoreError> {
    let Some(Whole { generation, parts, .. }) = whole(medium)? else { return Ok(None) };
    let (mut last, mut unsynced, mut done) = (None::<Position>, 0, 0);
    for (nth, part) in parts.iter().enumerate() {
        let name = generation.file(*part);
        if usize::try_from(*part).ok() != Some(nth) {
            return Err(DAMAGED);
        }
        let length = walk(medium, &name, |frame| {
            let writes = match frame {
                Frame::Complete(at) if last.is_none_or(|last| last == at) => {
                    last = Some(at);
                    return Ok(());
                }
                Frame::Complete(_) => return Err(DAMAGED),
                Frame::Rows(rows) => rows.into_iter().map(|(key, value)| Write::Put { key, value }).collect(),
                Frame::Group(at, writes) => {
                    // Groups come without a gap.
                    if last.is_some_and(|last| at.sequence != last.sequence + 1) {
                        return Err(DAMAGED);
                    }
                    last = Some(at);
                    writes
                }
            };
            unsynced += writes.iter().map(Write::bytes).sum::<usize>();
            db.apply(&writes)?;
            if unsynced >= SYNC_EVERY_BYTES {
                unsynced = 0;
                db.sync()?;
            }
            Ok(())
        })?;
        let is_last = nth + 1 == parts.len();
        if !is_last && medium.read(&name, length, 1)?.len() == 1 {
            return Err(DAMAGED);
        }
        done += length;
        progress(done);
    }
    db.sync()?;
    Ok(Some((generation.sort, last.ok_or(DAMAGED)?)))
}
