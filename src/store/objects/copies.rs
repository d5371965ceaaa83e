//! Copies of the objects in the mirrors of everything: each follows what is made and deleted here, and begins with a comparison of both.
//!
//! What happens here is told to a copy through a bounded queue; where that is full, or the copy was not there, it compares again. A copy is
//! written to only while the rows' side has found the mirror to be ours. What is missing here and stands in a copy is deleted there only
//! if no record can need it any more: an objects directory that was lost or not mounted must not empty the mirrors.
//!
//! Once a copy has everything, it marks so in the mirror's directory, up to the position of the database (`follower`). An object is
//! told before the rows that name it are committed: so when all that was told until a position was read is done, the objects are
//! complete up to that position.

mod follower;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ObjectName, Objects, PIECE_BYTES, StoreError};
use crate::domain::ids::{Handle, RecordId};
use crate::store::mirror::{CopyProgress, Mirrors};
use crate::store::{Database, Position};
use follower::Follower;

/// What may wait for one copy.
const QUEUE: usize = 16 * 1024;
/// How often it is looked whether the copies are settled.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// After so many objects that cannot be copied, a comparison stops: then it is not the objects.
const MAX_FAILED: usize = 64;

/// Whether a record may need its objects. The vault answers: it knows the keys. Blocks.
pub type Needed = Arc<dyn Fn(Handle, RecordId) -> Result<bool, StoreError> + Send + Sync>;

/// What the rows say about objects.
#[derive(Clone)]
pub struct ObjectRows {
    /// Where the rows are.
    pub db: Arc<dyn Database>,
    /// Finds the content that rows name.
    pub named: FindContent,
    /// Whether a record may need its objects.
    pub needed: Needed,
}

/// What happened to objects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Made(ObjectName),
    Deleted(ObjectName),
    DeletedAll(Handle, Option<RecordId>),
}

/// All copies, as every user of the objects sees them.
pub(super) type Copies = Arc<Mutex<Vec<Copy>>>;

/// The way to one copy. Its task ends when this is dropped.
pub(super) struct Copy {
    mirror: PathBuf,
    changes: mpsc::Sender<Change>,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

/// Content of a record in objects, as a row names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedContent {
    /// The customer.
    pub handle: Handle,
    /// The record.
    pub record: RecordId,
    /// Bytes of its objects.
    pub bytes: u64,
}

/// Finds content that the rows from a key on name, and the key to go on from; `None` at the end. What rows mean is known above this layer.
pub type FindContent =
    Arc<dyn Fn(&dyn Database, &[u8]) -> Result<(Vec<NamedContent>, Option<Vec<u8>>), StoreError> + Send + Sync>;

/// What both sides of a copy see.
struct Shared {
    missed: AtomicBool,
    /// A comparison of all objects is due, or runs.
    compares: AtomicBool,
    /// Changes that were told, and those that were done or missed.
    told: AtomicU64,
    handled: AtomicU64,
    comparison: Mutex<Comparison>,
    /// Up to where the objects were marked complete last.
    marked: Mutex<Option<Position>>,
    /// Up to where that was last tried.
    tried: Mutex<Option<Position>>,
    /// The mark is wanted at once.
    hurry: Notify,
    problem: Mutex<Option<String>>,
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, Default)]
struct Comparison {
    began: Option<Instant>,
    objects: (u64, u64),
    bytes: (u64, u64),
}

impl Comparison {
    /// An object was compared, and copied if need be.
    fn pass(&mut self, bytes: u64) {
        self.objects.0 += 1;
        self.bytes.0 += bytes;
    }

    /// About how long it still takes, if it goes on as until now.
    fn seconds_left(&self) -> Option<u64> {
        let took = self.began?.elapsed().as_secs_f64();
        let left = self.bytes.1.saturating_sub(self.bytes.0);
        (self.bytes.0 > 0).then(|| (took * left as f64 / self.bytes.0 as f64).ceil() as u64)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new() -> Self {
        Self {
            missed: AtomicBool::new(false),
            compares: AtomicBool::new(true),
            told: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            comparison: Mutex::default(),
            marked: Mutex::default(),
            tried: Mutex::default(),
            hurry: Notify::new(),
            problem: Mutex::default(),
        }
    }

    fn says(&self, problem: Option<String>) {
        *locked(&self.problem) = problem;
    }

    fn progress(&self) -> CopyProgress {
        let waiting = self.told.load(Ordering::Acquire).saturating_sub(self.handled.load(Ordering::Acquire));
        let mut progress = CopyProgress { behind: waiting, ..CopyProgress::default() };
        if self.missed.load(Ordering::Acquire) {
            progress.behind += 1;
        }
        if self.compares.load(Ordering::Acquire) {
            let comparison = *locked(&self.comparison);
            (progress.objects, progress.bytes) = (comparison.objects, comparison.bytes);
            progress.seconds_left = comparison.seconds_left();
            // Until all are counted, there is one thing to do: the comparison.
            progress.behind += comparison.objects.1.saturating_sub(comparison.objects.0).max(1);
        }
        progress
    }
}

/// How a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatus {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// How far it is.
    pub progress: CopyProgress,
    /// Up to which group it was marked complete.
    pub complete_until: Option<u64>,
    /// Why it does not follow.
    pub problem: Option<String>,
}

impl Copy {
    fn tell(&self, change: Change) {
        self.shared.told.fetch_add(1, Ordering::AcqRel);
        if self.changes.try_send(change).is_err() {
            // In this order: a mark is written only where nothing was missed once all that was told is handled.
            self.shared.missed.store(true, Ordering::Release);
            self.shared.handled.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn status(&self) -> CopyStatus {
        CopyStatus {
            mirror: self.mirror.clone(),
            progress: self.shared.progress(),
            complete_until: locked(&self.shared.marked).map(|at| at.sequence),
            problem: locked(&self.shared.problem).clone(),
        }
    }
}

/// Tells all copies.
pub(super) fn tell(copies: &Copies, change: Change) {
    locked(copies).iter().for_each(|copy| copy.tell(change));
}

/// What a comparison came to.
#[derive(Debug, Default)]
struct Compared {
    failed: usize,
    why: Option<StoreError>,
    missing_here: usize,
}

impl Objects {
    /// From now on copies what is here to `folder` in each of these mirrors' directories, and to no other. `rows` says what the rows
    /// name and need. Needs the async runtime.
    pub fn copy_to(&self, places: &[PathBuf], folder: &str, mirrors: &Mirrors, rows: &ObjectRows) {
        let mut copies = locked(&self.copies);
        copies.retain(|copy| places.contains(&copy.mirror));
        for mirror in places {
            if copies.iter().any(|copy| copy.mirror == *mirror) {
                continue;
            }
            let (changes, queue) = mpsc::channel(QUEUE);
            let shared = Arc::new(Shared::new());
            let ends = CancellationToken::new();
            let source = Self { copies: Copies::default(), ..self.clone() };
            let follower = Follower::new(source, (mirror, folder), mirrors, rows.clone(), queue, &shared);
            let (ended, over) = (ends.clone(), ends.clone());
            tokio::spawn(async move { ended.run_until_cancelled(follower.follow()).await });
            let report = follower::report(mirror.clone(), mirrors.clone(), Arc::clone(&shared));
            tokio::spawn(async move { over.run_until_cancelled(report).await });
            copies.push(Copy { mirror: mirror.clone(), changes, shared, _ends: ends.drop_guard() });
        }
    }

    /// How the copies are.
    pub fn copies(&self) -> Vec<CopyStatus> {
        locked(&self.copies).iter().map(Copy::status).collect()
    }

    /// Has every copy that has everything mark so, up to where the database stands; returns when it is done, or after `patience`. A copy that is
    /// behind or fails is not waited for.
    pub async fn mark_copies(&self, mirrors: &Mirrors, patience: Duration) {
        let end = Instant::now() + patience;
        let newest = mirrors.newest();
        let is_settled = |copy: &Copy| {
            let is_idle = copy.shared.progress().behind > 0 || locked(&copy.shared.problem).is_some();
            is_idle || *locked(&copy.shared.tried) == Some(newest) || !mirrors.is_followed(&copy.mirror)
        };
        loop {
            let all_settled = locked(&self.copies).iter().fold(true, |all, copy| {
                let settled = is_settled(copy);
                if !settled {
                    copy.shared.hurry.notify_one();
                }
                all && settled
            });
            if all_settled || Instant::now() >= end {
                return;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Copies an object to another place, durably; nothing happens if it is there, or is not here any more.
    pub async fn copy(&self, to: &Self, name: ObjectName) -> Result<(), StoreError> {
        let size = match self.store.head(&name.path()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            about => about.map_err(|e| super::failed("copying an object", e))?.size,
        };
        let mut writer = match to.create(name).await {
            Err(StoreError::ObjectExists { .. }) => return Ok(()),
            writer => writer?,
        };
        for from in (0..size).step_by(PIECE_BYTES) {
            let piece: Bytes = match self.read(name, from..(from + PIECE_BYTES as u64).min(size)).await {
                Err(StoreError::ObjectMissing { .. }) => return writer.abort().await,
                piece => piece?,
            };
            writer.write(piece).await?;
        }
        writer.finish().await.map(drop)
    }

    /// Whether an object is here.
    pub async fn has(&self, name: ObjectName) -> Result<bool, StoreError> {
        match self.store.head(&name.path()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(super::failed("looking for an object", e)),
        }
    }

    /// Copies what is missing there. One object that cannot be copied does not keep the others back: the first such error comes at the end.
    pub async fn copy_all(&self, to: &Self, mut each: impl FnMut(u64)) -> Result<(), StoreError> {
        let compared = self.copy_missing(to, &mut each).await?;
        compared.why.map_or(Ok(()), Err)
    }

    /// Deletes what is there and not here, where `is_needed` does not say that it must stay; returns how many had to.
    pub async fn delete_missing<F: Future<Output = Result<bool, StoreError>>>(
        &self,
        to: &Self,
        is_needed: impl Fn(ObjectName) -> F,
    ) -> Result<usize, StoreError> {
        let (mut there, mut needed) = (to.list_all(), 0);
        while let Some(listed) = there.next().await {
            let name = listed?.0;
            if self.has(name).await? {
                continue;
            }
            match is_needed(name).await? {
                true => needed += 1,
                false => to.delete(name).await?,
            }
        }
        Ok(needed)
    }

    async fn copy_missing(&self, to: &Self, each: &mut impl FnMut(u64)) -> Result<Compared, StoreError> {
        let mut compared = Compared::default();
        let mut here = self.list_all();
        while let Some(listed) = here.next().await {
            let (name, bytes) = listed?;
            if let Err(error) = self.copy(to, name).await {
                compared.failed += 1;
                if compared.failed >= MAX_FAILED {
                    return Err(error);
                }
                compared.why.get_or_insert(error);
            }
            each(bytes);
        }
        Ok(compared)
    }
}
