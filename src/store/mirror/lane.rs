//! One mirror's thread: takes groups from its queue, writes them, and copies the base where one is needed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::directory::Directory;
use super::frames;
use super::stream::{self, Generation, Stream};
use super::{Group, MirrorPlace, Mirrors, Sort};
use crate::store::{Database, Position, StoreError, Write, rows};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Groups written in one go are about so many bytes.
const GO_BYTES: usize = 4 * 1024 * 1024;
/// Rows of the base copied in one go.
const BASE_ROWS: usize = 1024;
/// A generation with less behind its base goes on, however small the base.
const LEAST_BYTES_BEFORE_A_NEW_BASE: u64 = 256 * 1024 * 1024;

/// Follows until nothing more comes.
pub(super) fn run(mirrors: &Mirrors, lane: usize, place: &MirrorPlace, db: &dyn Database) {
    loop {
        let Err(error) = follow(mirrors, lane, place, db) else { return };
        let why = error.to_string();
        let directory = place.directory.display();
        tracing::error!(%directory, %why, "a mirror does not follow: no erasure is final until it does, or is taken out of the configuration");
        let mut state = mirrors.state();
        (state.lanes[lane].problem, state.lanes[lane].is_ours, state.lanes[lane].is_new) = (Some(why), false, false);
        mirrors.0.changed.notify_all();
        let goes_on = |state: &mut super::State| !state.is_closed && !state.lanes[lane].is_removed;
        let waited = mirrors.0.changed.wait_timeout_while(state, RETRY, goes_on);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.is_closed || state.lanes[lane].is_removed {
            return;
        }
    }
}

/// A base that is being copied.
struct Building {
    stream: Stream,
    /// The next key to copy; `None` once all rows are.
    next: Option<Vec<u8>>,
    /// What the database had reached when the last of them was read.
    until: u64,
}

struct Session<'a> {
    mirrors: &'a Mirrors,
    lane: usize,
    sort: Sort,
    db: &'a dyn Database,
    medium: Directory,
    /// The whole generation, with all groups before those in the queue.
    live: Option<Stream>,
    building: Option<Building>,
    /// The last group that was written.
    at: Position,
    base_bytes: u64,
}

/// Until an error, or until nothing more comes.
fn follow(mirrors: &Mirrors, lane: usize, place: &MirrorPlace, db: &dyn Database) -> Result<(), StoreError> {
    let mut medium = Directory::to_write(&place.directory)?;
    let stands_at = mirrors.state().newest;
    let newest = super::newest_of_ours(&medium, place, stands_at, db)?;
    let is_new = newest.is_none();
    let newest = durable_end(mirrors, lane, &mut medium, newest)?;
    // What a copy that was interrupted left would fill the disk, one attempt after the other.
    stream::keep_only(&mut medium, newest.as_ref().map(|(stream, _)| stream.generation))?;
    let (at, live) = {
        let mut state = mirrors.state();
        let (began, newest_of_db) = (state.began, state.newest);
        let lane = &mut state.lanes[lane];
        (lane.is_ours, lane.is_new) = (true, is_new);
        // Whether it is of the same history, and the queue goes on behind it; nothing in it: where the database stands.
        let follows = |mirrored: Position| {
            let is_ours = match mirrored.sequence <= began.sequence {
                true => mirrored == began,
                false => mirrored.history == newest_of_db.history,
            };
            let next = lane.queue.iter().find(|group| group.at.sequence > mirrored.sequence);
            is_ours && next.map_or(mirrored == newest_of_db, |next| next.at.sequence == mirrored.sequence + 1)
        };
        let is_good = |stream: &Stream, mirrored: Position| {
            !lane.has_missed && stream.generation.sort == place.sort && follows(mirrored)
        };
        let live = newest.filter(|(stream, mirrored)| is_good(stream, *mirrored));
        if live.is_none() {
            (lane.has_missed, lane.queued_bytes) = (false, 0);
            lane.queue.clear();
        }
        (live.as_ref().map_or(newest_of_db, |(_, mirrored)| *mirrored), live)
    };
    mirrors.0.changed.notify_all();
    let mut session = Session {
        mirrors,
        lane,
        sort: place.sort,
        db,
        medium,
        base_bytes: live.as_ref().map_or(0, |(stream, _)| stream.bytes),
        live: live.map(|(stream, _)| stream),
        building: None,
        at,
    };
    match session.live {
        Some(_) => session.reached(),
        None => session.begin_anew()?,
    }
    session.go_on()
}

/// Where the newest generation ends durably. After a failed sync the system may show bytes that never reached the disk: what this process did
/// not see made durable is written again. What another process wrote is synced before it counts.
fn durable_end(
    mirrors: &Mirrors,
    lane: usize,
    medium: &mut Directory,
    newest: Option<(Stream, Position)>,
) -> Result<Option<(Stream, Position)>, StoreError> {
    let Some((found, at)) = newest else { return Ok(None) };
    let written = mirrors.state().lanes[lane].written.clone();
    match written.filter(|(written, _)| written.generation == found.generation) {
        None => found.sync(medium).map(|()| Some((found, at))),
        Some((written, at)) if written.is_within(&found) => Ok(Some((written, at))),
        // It has less than it had: it is not the disk that it was.
        Some(_) => {
            mirrors.state().lanes[lane].has_missed = true;
            Ok(Some((found, at)))
        }
    }
}

impl Session<'_> {
    fn go_on(&mut self) -> Result<(), StoreError> {
        loop {
            let Some(groups) = self.take()? else { return Ok(()) };
            self.write(&groups).inspect_err(|_| self.put_back(&groups))?;
            self.copy_some()?;
        }
    }

    /// What waits, a few mebibytes of it; waits itself while there is nothing else to do. `None` when nothing more comes.
    fn take(&mut self) -> Result<Option<Vec<Arc<Group>>>, StoreError> {
        let mut state = self.mirrors.state();
        if self.building.is_none() {
            let idle = |state: &mut super::State| {
                let lane = &state.lanes[self.lane];
                lane.queue.is_empty() && !lane.has_missed && !lane.is_removed && !state.is_closed
            };
            let waited = self.mirrors.0.changed.wait_while(state, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let is_closed = state.is_closed;
        let lane = &mut state.lanes[self.lane];
        if lane.is_removed {
            return Ok(None);
        }
        if lane.has_missed {
            return Err(StoreError::io("following the database", std::io::Error::other("the mirror is too slow")));
        }
        let (mut groups, mut bytes) = (Vec::new(), 0);
        while let Some(group) = lane.queue.pop_front_if(|_| bytes < GO_BYTES) {
            bytes += group.bytes;
            groups.push(group);
        }
        lane.queued_bytes = lane.queued_bytes.saturating_sub(bytes);
        Ok(if groups.is_empty() && is_closed { None } else { Some(groups) })
    }

    /// What could not be written waits again, so that the next attempt goes on where this one was.
    fn put_back(&self, groups: &[Arc<Group>]) {
        let mut state = self.mirrors.state();
        let lane = &mut state.lanes[self.lane];
        if !lane.has_missed {
            lane.queued_bytes += groups.iter().map(|group| group.bytes).sum::<usize>();
            groups.iter().rev().for_each(|group| lane.queue.push_front(Arc::clone(group)));
        }
    }

    fn write(&mut self, groups: &[Arc<Group>]) -> Result<(), StoreError> {
        // Those that a whole generation has already.
        let new: Vec<_> = groups.iter().filter(|group| group.at.sequence > self.at.sequence).collect();
        let Some(last) = new.last() else { return Ok(()) };
        let frames: Vec<u8> = new.iter().flat_map(|group| frame(self.sort, group)).collect();
        if let Some(live) = &mut self.live {
            live.append(&mut self.medium, &frames)?;
            self.mirrors.state().lanes[self.lane].written = Some((live.clone(), last.at));
        }
        if let Some(building) = &mut self.building {
            building.stream.append(&mut self.medium, &frames)?;
        }
        self.at = last.at;
        if self.live.is_some() {
            self.reached();
        }
        self.begin_anew_if_long()
    }

    fn reached(&self) {
        let mut state = self.mirrors.state();
        state.reach(self.lane, self.at.sequence);
        self.mirrors.0.changed.notify_all();
    }

    /// A new generation, once what is behind the base outweighs it.
    fn begin_anew_if_long(&mut self) -> Result<(), StoreError> {
        let Some(live) = &self.live else { return Ok(()) };
        let behind = live.bytes.saturating_sub(self.base_bytes);
        if self.building.is_none() && behind > LEAST_BYTES_BEFORE_A_NEW_BASE.max(self.base_bytes * 2) {
            self.begin_anew()?;
        }
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(), StoreError> {
        let number = stream::next_number(&self.medium)?;
        let stream = Stream::begin(Generation { number, sort: self.sort });
        self.building = Some(Building { stream, next: Some(Vec::new()), until: 0 });
        tracing::info!(generation = number, "a mirror begins with a new copy of the database");
        Ok(())
    }

    /// A piece of the base; and its end, once all groups are in that it may have seen something of.
    fn copy_some(&mut self) -> Result<(), StoreError> {
        let Some(building) = &mut self.building else { return Ok(()) };
        if let Some(from) = building.next.take() {
            let some = self.db.range(&from, &[0xff; 16], BASE_ROWS)?;
            building.until = Position::of(self.db)?.sequence;
            building.next = some.last().map(|(key, _)| rows::behind(key.clone()));
            let some: Vec<_> = some.into_iter().filter(|(key, _)| self.sort.takes(key)).collect();
            return building.stream.append(&mut self.medium, &frames::rows(&some));
        }
        // What the database has and the queue has not yet is on its way.
        if self.at.sequence < building.until {
            std::thread::sleep(Duration::from_millis(1));
            return Ok(());
        }
        let mut whole = self.building.take().expect("it was there above").stream;
        whole.complete(&mut self.medium, self.at, &super::vault_of(self.db)?)?;
        stream::keep_only(&mut self.medium, Some(whole.generation))?;
        tracing::info!(generation = whole.generation.number, bytes = whole.bytes, "a mirror has a whole copy");
        self.base_bytes = whole.bytes;
        self.mirrors.state().lanes[self.lane].written = Some((whole.clone(), self.at));
        self.live = Some(whole);
        self.reached();
        Ok(())
    }
}

fn frame(sort: Sort, group: &Group) -> Vec<u8> {
    let taken: Vec<&Write> = group.writes.iter().filter(|write| sort.takes(write.key())).collect();
    frames::group(group.at, taken.into_iter())
}
