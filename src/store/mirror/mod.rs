//! Mirrors: every group of the committer, in order, on other disks, sealed as it is. A disk can be lost without losing customers.
//!
//! A mirror is a sequence of *generations*. One begins with a base, the rows as they stand, copied while groups go on; behind it come
//! the groups. Read back in order they give the rows as they stood at the last whole group. Once the groups outweigh the base, a
//! new generation begins, and the old one goes when the new one is whole.
//!
//! A mirror trails by what is on its way to it. Who must not be answered before the mirrors have something waits for them
//! ([`Mirrors::wait`]): control rows, and step 4 of an erasure. A mirror that fails, or that cannot keep up, is said to be failing, loudly;
//! reads and writes go on without it, and what waits for it is refused. It is tried again every few seconds, and goes on where it
//! was, or begins a new generation where it missed something.

mod backup;
mod content;
mod directory;
mod frames;
mod lane;
mod object_mark;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use backup::Backup;
pub use content::{MirrorContent, content, objects_complete_until, wait_for_objects};
pub(super) use content::{mark_objects, unmark_objects, were_objects_complete};
pub use object_mark::CopyProgress;

use super::{Database, Position, StoreError, Write, rows};
use crate::audit::merkle::{self, Frontier};
use directory::Directory;
use stream::Stream;

/// How many bytes may wait for one mirror; more, and it has to begin anew.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// The most edges of the ledger that are remembered until the mirrors have them; above it every other one is forgotten.
const MAX_EDGES: usize = 1024;
/// Why something waits for a mirror that is not there yet.
const FIRST_COPY: &str = "it gets its first copy, and holds nothing before that is whole; try again in a while";
const NO_ANSWER: &str = "it is being copied to, or does not answer; try again in a while";
/// How long a group waits for a mirror.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where rows are mirrored to: files that only grow, on another disk. Small enough that an object store is one more file: an append
/// there is an object of its own.
trait Medium: Send {
    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>, StoreError>;

    /// Up to `most` bytes of a file, from `from` on; fewer where it ends.
    fn read(&self, name: &str, from: u64, most: usize) -> Result<Vec<u8>, StoreError>;

    /// Writes `bytes` at `at`, which is the end of what counts: what stands behind it goes. Durable when it returns.
    fn append(&mut self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes what stands in a file durable, whoever wrote it.
    fn sync(&mut self, name: &str) -> Result<(), StoreError>;

    /// Removes a file, durably.
    fn remove(&mut self, name: &str) -> Result<(), StoreError>;
}

/// Which rows a mirror takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Everything.
    Whole,
    /// Everything but content: enough to open a backup of the content, and to refuse what was erased since.
    Keys,
}

impl Sort {
    fn letter(self) -> &'static str {
        match self {
            Self::Whole => "w",
            Self::Keys => "k",
        }
    }

    fn of_letter(letter: &str) -> Option<Self> {
        [Self::Whole, Self::Keys].into_iter().find(|sort| sort.letter() == letter)
    }

    /// Whether a row belongs into it.
    fn takes(self, key: &[u8]) -> bool {
        self == Self::Whole
            || key.first().is_none_or(|kind| !rows::CONTENT.iter().any(|content| *content as u8 == *kind))
    }
}

/// A mirror, by its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorPlace {
    /// The directory.
    pub directory: PathBuf,
    /// What it holds.
    pub sort: Sort,
}

/// How a mirror is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStatus {
    /// Where it is, and what it holds.
    pub place: MirrorPlace,
    /// How many groups it does not have yet.
    pub groups_behind: u64,
    /// Whether it gets its very first copy: until then a lost disk is lost.
    pub is_new: bool,
    /// How far the copy of its objects is.
    pub objects: CopyProgress,
    /// Up to which group its objects are complete; `None` where that is not known.
    pub objects_until: Option<u64>,
    /// Why it does not follow; `None` if it does.
    pub problem: Option<String>,
}

/// A mirror does not have what must be on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the mirror {directory} does not have it: {why}; what was asked for stands in the database, and is not acknowledged"
)]
pub struct NotMirrored {
    /// The mirror's directory.
    pub directory: String,
    /// What is the matter, and what to do.
    pub why: String,
}

/// One group on its way.
struct Group {
    at: Position,
    writes: Vec<Write>,
    bytes: usize,
}

/// One mirror, as all see it.
struct Lane {
    place: MirrorPlace,
    queue: VecDeque<Arc<Group>>,
    queued_bytes: usize,
    /// Something was left out: it must begin anew.
    has_missed: bool,
    /// The last group that it has, durably.
    reached: u64,
    /// Where that stands: what is behind it was never made durable, and is written again.
    written: Option<(Stream, Position)>,
    /// The mirror was found to be ours, and is followed. Only then are objects copied there, or deleted.
    is_ours: bool,
    /// It has never had a whole copy, and gets its first one.
    is_new: bool,
    /// It is not followed any more.
    is_removed: bool,
    problem: Option<String>,
}

impl Lane {
    fn new(place: MirrorPlace) -> Self {
        Self {
            place,
            queue: VecDeque::new(),
            queued_bytes: 0,
            has_missed: false,
            reached: 0,
            written: None,
            is_ours: false,
            is_new: false,
            is_removed: false,
            problem: None,
        }
    }

    /// Whether something is acknowledged only once this mirror has it.
    fn is_waited_for(&self) -> bool {
        !self.is_removed
    }
}

struct State {
    lanes: Vec<Lane>,
    /// Where the database stood at the start.
    began: Position,
    newest: Position,
    /// Edges of the ledger, by the group that made them, that not all mirrors have.
    edges: VecDeque<(u64, Frontier)>,
    /// The edge that all have.
    settled: Option<Frontier>,
    /// Threads that run.
    running: usize,
    is_closed: bool,
}

/// The mirrors of one database.
#[derive(Clone)]
pub struct Mirrors(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Mirrors {
    /// Begins to mirror `db`, before anything is written to it. Refused if a mirror is newer than the database. The first copy is made
    /// in the background.
    pub fn start(places: Vec<MirrorPlace>, db: &Arc<dyn Database>) -> Result<Self, StoreError> {
        let mirrors = Self::over(Vec::new(), Position::of(&**db)?);
        mirrors.change(places, db)?;
        Ok(mirrors)
    }

    /// Goes on with these mirrors: those that were not among them are begun, those that are not any more are left as they are. Refused, before
    /// anything is changed, as at the start.
    pub fn change(&self, places: Vec<MirrorPlace>, db: &Arc<dyn Database>) -> Result<(), StoreError> {
        let known: Vec<MirrorPlace> = self.status().into_iter().map(|status| status.place).collect();
        let new: Vec<_> = places.iter().filter(|place| !known.contains(place)).cloned().collect();
        let at = self.state().newest;
        for place in &new {
            match newest_of_ours(&Directory::to_read(&place.directory), place, at, &**db) {
                // What cannot be read now is compared again before anything is written there.
                Ok(_) | Err(StoreError::Io { .. } | StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut state = self.state();
        for lane in state.lanes.iter_mut().filter(|lane| !places.contains(&lane.place)) {
            (lane.is_removed, lane.is_ours, lane.queued_bytes) = (true, false, 0);
            lane.queue.clear();
        }
        state.settle();
        drop(state);
        self.0.changed.notify_all();
        new.into_iter().try_for_each(|place| self.follow(place, Arc::clone(db)))
    }

    fn follow(&self, place: MirrorPlace, db: Arc<dyn Database>) -> Result<(), StoreError> {
        let number = {
            let mut state = self.state();
            state.lanes.push(Lane::new(place.clone()));
            state.running += 1;
            state.lanes.len() - 1
        };
        let following = self.clone();
        let follow = move || {
            lane::run(&following, number, &place, &*db);
            drop(db);
            following.state().running -= 1;
            following.0.changed.notify_all();
        };
        let started = std::thread::Builder::new().name("mirror".to_owned()).spawn(follow);
        started.map(drop).map_err(|e| {
            self.state().running -= 1;
            StoreError::io("starting a mirror's thread", e)
        })
    }

    /// Whether what stands in this directory is a mirror of ours that is followed.
    pub(super) fn is_followed(&self, directory: &Path) -> bool {
        self.state().lanes.iter().any(|lane| lane.is_ours && !lane.is_removed && lane.place.directory == directory)
    }

    /// The number of the generation that a mirror is written to, if this process has written to it.
    pub(super) fn generation_of(&self, directory: &Path) -> Option<u32> {
        let state = self.state();
        let lane = state.lanes.iter().find(|lane| !lane.is_removed && lane.place.directory == directory)?;
        lane.written.as_ref().map(|(stream, _)| stream.generation.number)
    }

    /// Where the database stands.
    pub fn newest(&self) -> Position {
        self.state().newest
    }

    /// None.
    pub fn none() -> Self {
        Self::over(Vec::new(), Position::BEGIN)
    }

    fn over(lanes: Vec<Lane>, newest: Position) -> Self {
        let (edges, settled) = (VecDeque::new(), None);
        let state = State { lanes, began: newest, newest, edges, settled, running: 0, is_closed: false };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// How they are.
    pub fn status(&self) -> Vec<MirrorStatus> {
        let state = self.state();
        let newest = state.newest.sequence;
        let status = |lane: &Lane| MirrorStatus {
            place: lane.place.clone(),
            groups_behind: newest.saturating_sub(lane.reached),
            is_new: lane.is_new,
            objects: CopyProgress::default(),
            objects_until: None,
            problem: lane.problem.clone(),
        };
        state.lanes.iter().filter(|lane| !lane.is_removed).map(status).collect()
    }

    /// Waits until all mirrors have everything that was written up to now. Refused at once where one fails. Blocks.
    pub fn wait(&self) -> Result<(), NotMirrored> {
        self.wait_for(PATIENCE)
    }

    /// The same, with less patience.
    pub fn wait_for(&self, patience: Duration) -> Result<(), NotMirrored> {
        let end = Instant::now() + patience;
        let mut state = self.state();
        let target = state.newest.sequence;
        loop {
            let is_behind = |lane: &&mut Lane| lane.is_waited_for() && lane.reached < target;
            let running = state.running;
            let Some(behind) = state.lanes.iter_mut().find(is_behind) else { return Ok(()) };
            let directory = behind.place.directory.display().to_string();
            let left = end.saturating_duration_since(Instant::now());
            if let Some(why) = behind.problem.clone() {
                return Err(NotMirrored { directory, why });
            }
            if left.is_zero() || running == 0 {
                let why = if behind.is_new { FIRST_COPY } else { NO_ANSWER }.to_owned();
                if patience >= PATIENCE {
                    // The next one does not wait as long, until it has caught up.
                    behind.problem = Some(why.clone());
                }
                return Err(NotMirrored { directory, why });
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The edge of the ledger before the first group is sent.
    pub(super) fn begin(&self, edge: Frontier) {
        let mut state = self.state();
        let newest = state.newest.sequence;
        state.edges.push_back((newest, edge));
        state.settle();
    }

    /// Hands a group on that is durable in the database.
    pub(super) fn send(&self, at: Position, writes: Vec<Write>, edge: &Frontier) {
        let mut state = self.state();
        state.newest = at;
        let bytes = writes.iter().map(Write::bytes).sum();
        let group = Arc::new(Group { at, writes, bytes });
        for lane in state.lanes.iter_mut().filter(|lane| !lane.is_removed) {
            if lane.queued_bytes + bytes > MAX_QUEUED_BYTES {
                lane.has_missed = true;
                lane.queue.clear();
                lane.queued_bytes = 0;
            }
            if !lane.has_missed {
                lane.queued_bytes += bytes;
                lane.queue.push_back(Arc::clone(&group));
            }
        }
        state.edges.push_back((at.sequence, edge.clone()));
        if state.edges.len() > MAX_EDGES {
            let mut keep = false;
            state.edges.retain(|_| {
                keep = !keep;
                keep
            });
        }
        state.settle();
        self.0.changed.notify_all();
    }

    /// The edge of the ledger that is durable here and on all mirrors; `None` as long as none is known.
    pub(super) fn settled(&self) -> Option<Frontier> {
        self.state().settled.clone()
    }

    /// Returns when all threads have ended after [`Mirrors::stop`], or after a while.
    pub(super) fn ended(&self, patience: Duration) {
        let state = self.state();
        drop(self.0.changed.wait_timeout_while(state, patience, |state| state.running > 0));
    }

    /// Nothing more comes; what waits is still written.
    pub(super) fn stop(&self) {
        self.state().is_closed = true;
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A mirror has everything up to `sequence`.
    fn reach(&mut self, lane: usize, sequence: u64) {
        let lane = &mut self.lanes[lane];
        (lane.reached, lane.is_new, lane.problem) = (sequence, false, None);
        self.settle();
    }

    fn settle(&mut self) {
        let waited_for = self.lanes.iter().filter(|lane| lane.is_waited_for());
        let all = waited_for.map(|lane| lane.reached).min().unwrap_or(u64::MAX);
        while let Some((_, edge)) = self.edges.pop_front_if(|(made, _)| *made <= all) {
            self.settled = Some(edge);
        }
    }
}

/// What tells one vault's mirrors from another's: the hash of the ledger's first entry.
fn vault_of(db: &dyn Database) -> Result<[u8; 32], StoreError> {
    Ok(merkle::leaf(&db.get(&rows::ledger(0))?.unwrap_or_default()))
}

/// The newest whole generation of a mirror. Refused if it is another vault's, or newer than `at`, where the database stands.
fn newest_of_ours(
    medium: &Directory,
    place: &MirrorPlace,
    at: Position,
    db: &dyn Database,
) -> Result<Option<(Stream, Position)>, StoreError> {
    let path = || place.directory.clone();
    let Some(whole) = stream::whole(medium)? else { return Ok(None) };
    if whole.vault != vault_of(db)? {
        return Err(StoreError::MirrorOfOther { path: path() });
    }
    let newest = stream::newest(medium)?;
    if newest.as_ref().is_some_and(|(_, mirrored)| mirrored.sequence > at.sequence) {
        return Err(StoreError::MirrorIsNewer { path: path() });
    }
    Ok(newest)
}

/// Makes an empty mirror, where none is yet.
pub fn create(directory: &Path) -> Result<(), StoreError> {
    Directory::create(directory)
}

/// Whether there is one.
pub fn is_made(directory: &Path) -> bool {
    Directory::is_made(directory)
}

/// Everything that was ever written into the files of a mirror that are there, whatever counts of it: for whoever attacks them.
#[cfg(test)]
pub(crate) fn every_write(directory: &Path) -> Result<Vec<Write>, StoreError> {
    stream::every_write(&Directory::to_read(directory))
}

/// Writes what a mirror holds into `db`, which must be empty; returns what it holds and where it ends.
pub fn read_back(
    directory: &Path,
    db: &dyn Database,
    progress: impl FnMut(u64),
) -> Result<(Sort, Position), StoreError> {
    let found = stream::replay(&Directory::to_read(directory), db, progress)?;
    found.ok_or_else(|| StoreError::NoMirror { path: directory.to_owned() })
}
