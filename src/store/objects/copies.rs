//! Copies of the objects in the mirrors of everything: each follows what is made and deleted here, and begins with a comparison of both.
//!
//! What happens here is told to a copy through a bounded queue; where that is full, or the copy was not there, it compares again. A copy is
//! written to only while the rows' side has found the mirror to be ours. What is missing here and stands in a copy is deleted there only
//! if no record can need it any more: an objects directory that was lost or not mounted must not empty the mirrors.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ObjectName, Objects, PIECE_BYTES, StoreError};
use crate::domain::ids::{Handle, RecordId};
use crate::store::mirror::{Mirrors, is_made};

/// What may wait for one copy.
const QUEUE: usize = 16 * 1024;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long after a comparison that found something missing here it is made again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// After so many objects that cannot be copied, a comparison stops: then it is not the objects.
const MAX_FAILED: usize = 64;

/// Whether a record may need an object. The vault answers: it knows the keys. Blocks.
pub type Needed = Arc<dyn Fn(ObjectName) -> Result<bool, StoreError> + Send + Sync>;

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

/// What both sides of a copy see.
struct Shared {
    missed: AtomicBool,
    /// What it has still to do: changes, and one for a comparison.
    behind: AtomicUsize,
    problem: Mutex<Option<String>>,
}

impl Shared {
    fn says(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// How a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatus {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// How much it has still to follow.
    pub behind: usize,
    /// Why it does not.
    pub problem: Option<String>,
}

impl Copy {
    fn tell(&self, change: Change) {
        self.shared.behind.fetch_add(1, Ordering::AcqRel);
        if self.changes.try_send(change).is_err() {
            self.shared.behind.fetch_sub(1, Ordering::AcqRel);
            self.shared.missed.store(true, Ordering::Release);
        }
    }
}

/// Tells all copies.
pub(super) fn tell(copies: &Copies, change: Change) {
    copies.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|copy| copy.tell(change));
}

/// What a comparison came to.
#[derive(Debug, Default)]
struct Compared {
    failed: usize,
    why: Option<StoreError>,
    missing_here: usize,
}

impl Objects {
    /// From now on copies what is here to `folder` in each of these mirrors' directories, and to no other. Needs the async runtime.
    pub fn copy_to(&self, places: &[PathBuf], folder: &str, mirrors: &Mirrors, needed: &Needed) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|copy| places.contains(&copy.mirror));
        for mirror in places {
            if copies.iter().any(|copy| copy.mirror == *mirror) {
                continue;
            }
            let (changes, queue) = mpsc::channel(QUEUE);
            let (missed, behind) = (AtomicBool::new(false), AtomicUsize::new(1));
            let shared = Arc::new(Shared { missed, behind, problem: Mutex::default() });
            let ends = CancellationToken::new();
            let follower = Follower {
                source: Self { copies: Copies::default(), ..self.clone() },
                mirror: mirror.clone(),
                dir: mirror.join(folder),
                mirrors: mirrors.clone(),
                needed: Arc::clone(needed),
                queue,
                shared: Arc::clone(&shared),
                compares: true,
                is_missing: false,
            };
            let ended = ends.clone();
            tokio::spawn(async move { ended.run_until_cancelled(follower.follow()).await });
            copies.push(Copy { mirror: mirror.clone(), changes, shared, _ends: ends.drop_guard() });
        }
    }

    /// How the copies are.
    pub fn copies(&self) -> Vec<CopyStatus> {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |copy: &Copy| CopyStatus {
            mirror: copy.mirror.clone(),
            behind: copy.shared.behind.load(Ordering::Acquire),
            problem: copy.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        copies.iter().map(status).collect()
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
    pub async fn copy_all(&self, to: &Self, mut each: impl FnMut()) -> Result<(), StoreError> {
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

    async fn copy_missing(&self, to: &Self, each: &mut impl FnMut()) -> Result<Compared, StoreError> {
        let mut compared = Compared::default();
        let mut here = self.list_all();
        while let Some(listed) = here.next().await {
            if let Err(error) = self.copy(to, listed?.0).await {
                compared.failed += 1;
                if compared.failed >= MAX_FAILED {
                    return Err(error);
                }
                compared.why.get_or_insert(error);
            }
            each();
        }
        Ok(compared)
    }
}

/// A copy's side of the queue.
struct Follower {
    source: Objects,
    mirror: PathBuf,
    dir: PathBuf,
    mirrors: Mirrors,
    needed: Needed,
    queue: mpsc::Receiver<Change>,
    shared: Arc<Shared>,
    /// Whether a comparison is due; it counts as one change.
    compares: bool,
    /// Whether the last one found something that is missing here.
    is_missing: bool,
}

impl Follower {
    async fn follow(mut self) {
        while let Err(error) = self.until_an_error().await {
            let directory = self.dir.display();
            tracing::error!(%directory, %error, "a mirror does not get the objects; compared and tried again in 5 s");
            self.shared.says(Some(error.to_string()));
            self.compare_again();
            tokio::time::sleep(RETRY).await;
            if self.queue.is_closed() && self.queue.is_empty() {
                return;
            }
        }
    }

    fn compare_again(&mut self) {
        if !self.compares {
            self.shared.behind.fetch_add(1, Ordering::AcqRel);
            self.compares = true;
        }
    }

    async fn until_an_error(&mut self) -> Result<(), StoreError> {
        self.is_ready().await;
        self.must_be_there()?;
        let path = self.dir.clone();
        let to = super::blocking(move || Objects::open(&path)).await?;
        to.sweep_staged().await?;
        loop {
            if self.compares {
                self.compare(&to).await?;
                self.compares = false;
                self.shared.behind.fetch_sub(1, Ordering::AcqRel);
            }
            let change = match self.is_missing {
                false => self.queue.recv().await,
                true => match tokio::time::timeout(LOOK_AGAIN, self.queue.recv()).await {
                    Ok(change) => change,
                    Err(_) => {
                        self.compare_again();
                        continue;
                    }
                },
            };
            let Some(change) = change else { return Ok(()) };
            let done = self.carry_over(&to, change).await;
            self.shared.behind.fetch_sub(1, Ordering::AcqRel);
            done?;
            if self.shared.missed.swap(false, Ordering::AcqRel) {
                self.compare_again();
            }
        }
    }

    /// Waits until the rows' side has looked at the mirror; it says itself what is the matter if it cannot.
    async fn is_ready(&self) {
        while !self.mirrors.is_followed(&self.mirror) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn compare(&mut self, to: &Objects) -> Result<(), StoreError> {
        self.must_be_there()?;
        let mut compared = self.source.copy_missing(to, &mut || {}).await?;
        compared.missing_here =
            self.source.delete_missing(to, |name| is_needed(Arc::clone(&self.needed), name)).await?;
        if let Some(error) = compared.why {
            return Err(error);
        }
        let missing = compared.missing_here;
        self.is_missing = missing > 0;
        if missing > 0 {
            tracing::error!(mirror = %self.mirror.display(), missing, "objects of records are missing here, and stand on the mirror");
        }
        let words = || {
            format!(
                "{missing} objects of records are missing in the data directory, and stand on this mirror: stop the service and copy what is missing from its objects directory"
            )
        };
        self.shared.says((missing > 0).then(words));
        Ok(())
    }

    async fn carry_over(&self, to: &Objects, change: Change) -> Result<(), StoreError> {
        self.must_be_there()?;
        match change {
            Change::Made(name) => self.source.copy(to, name).await,
            Change::Deleted(name) => to.delete(name).await,
            Change::DeletedAll(handle, record) => to.delete_prefix(handle, record).await.map(drop),
        }
    }

    /// Nothing is written to the mount point of a disk that is not mounted, nor to what is not ours.
    fn must_be_there(&self) -> Result<(), StoreError> {
        let is_there = is_made(&self.mirror) && self.mirrors.is_followed(&self.mirror);
        if is_there { Ok(()) } else { Err(StoreError::NotAMirror { path: self.mirror.clone() }) }
    }
}

async fn is_needed(needed: Needed, name: ObjectName) -> Result<bool, StoreError> {
    super::blocking(move || needed(name)).await
}
