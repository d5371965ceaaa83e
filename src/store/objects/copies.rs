//! Copies of the objects in other directories: each follows what is made and deleted here, and begins with a comparison of both.
//!
//! What happens here is told to a copy through a bounded queue; where that is full, or the copy was not there, it compares again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use super::{ObjectName, Objects, PIECE_BYTES, StoreError};
use crate::domain::ids::{Handle, RecordId};
use crate::store::mirror::is_made;

/// What may wait for one copy.
const QUEUE: usize = 16 * 1024;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What happened to objects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Made(ObjectName),
    Deleted(ObjectName),
    DeletedAll(Handle, Option<RecordId>),
}

/// The way to one copy.
#[derive(Clone)]
pub(super) struct Copy {
    changes: mpsc::Sender<Change>,
    missed: Arc<AtomicBool>,
    /// What it has still to do: changes, and one for a comparison.
    behind: Arc<AtomicUsize>,
}

impl Copy {
    pub fn tell(&self, change: Change) {
        self.behind.fetch_add(1, Ordering::AcqRel);
        if self.changes.try_send(change).is_err() {
            self.behind.fetch_sub(1, Ordering::AcqRel);
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl Objects {
    /// From now on copies what is here to `folder` in a mirror's directory, and deletes there what is deleted here. Needs the async runtime;
    /// ends when this is dropped.
    pub fn copy_to(&mut self, mirror: &Path, folder: &str) {
        let (changes, queue) = mpsc::channel(QUEUE);
        let (missed, behind) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(1)));
        let source = Self { copies: Vec::new(), ..self.clone() };
        let (mirror, dir) = (mirror.to_owned(), mirror.join(folder));
        self.copies.push(Copy { changes, missed: Arc::clone(&missed), behind: Arc::clone(&behind) });
        tokio::spawn(Follower { source, mirror, dir, queue, missed, behind, compares: true }.follow());
    }

    /// How many changes the copies have still to follow.
    pub fn behind(&self) -> usize {
        self.copies.iter().map(|copy| copy.behind.load(Ordering::Acquire)).sum()
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

    /// Makes a copy equal to this: what is missing there is copied, what is not here any more is deleted.
    pub async fn copy_all(&self, to: &Self, mut each: impl FnMut()) -> Result<(), StoreError> {
        let mut here = self.list_all();
        while let Some(listed) = here.next().await {
            self.copy(to, listed?.0).await?;
            each();
        }
        let mut there = to.list_all();
        while let Some(listed) = there.next().await {
            let name = listed?.0;
            if !self.has(name).await? {
                to.delete(name).await?;
            }
        }
        Ok(())
    }
}

/// A copy's side of the queue.
struct Follower {
    source: Objects,
    mirror: PathBuf,
    dir: PathBuf,
    queue: mpsc::Receiver<Change>,
    missed: Arc<AtomicBool>,
    behind: Arc<AtomicUsize>,
    /// Whether a comparison is due; it counts as one change.
    compares: bool,
}

impl Follower {
    async fn follow(mut self) {
        while let Err(error) = self.until_an_error().await {
            let directory = self.dir.display();
            tracing::error!(%directory, %error, "a mirror does not get the objects; compared and tried again in 5 s");
            self.compare_again();
            tokio::time::sleep(RETRY).await;
            if self.queue.is_closed() && self.queue.is_empty() {
                return;
            }
        }
    }

    fn compare_again(&mut self) {
        if !self.compares {
            self.behind.fetch_add(1, Ordering::AcqRel);
            self.compares = true;
        }
    }

    async fn until_an_error(&mut self) -> Result<(), StoreError> {
        self.must_be_there()?;
        let path = self.dir.clone();
        let to = super::blocking(move || Objects::open(&path)).await?;
        to.sweep_staged().await?;
        loop {
            if self.compares {
                self.must_be_there()?;
                self.source.copy_all(&to, || {}).await?;
                self.compares = false;
                self.behind.fetch_sub(1, Ordering::AcqRel);
            }
            let Some(change) = self.queue.recv().await else { return Ok(()) };
            let done = self.carry_over(&to, change).await;
            self.behind.fetch_sub(1, Ordering::AcqRel);
            done?;
            if self.missed.swap(false, Ordering::AcqRel) {
                self.compare_again();
            }
        }
    }

    async fn carry_over(&self, to: &Objects, change: Change) -> Result<(), StoreError> {
        self.must_be_there()?;
        match change {
            Change::Made(name) => self.source.copy(to, name).await,
            Change::Deleted(name) => to.delete(name).await,
            Change::DeletedAll(handle, record) => to.delete_prefix(handle, record).await.map(drop),
        }
    }

    /// Nothing is written to the mount point of a disk that is not mounted.
    fn must_be_there(&self) -> Result<(), StoreError> {
        if is_made(&self.mirror) { Ok(()) } else { Err(StoreError::NotAMirror { path: self.mirror.clone() }) }
    }
}
