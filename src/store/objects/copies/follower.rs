//! One copy: does what it is told in order, compares both sides where it may have missed something, and marks up to where it has everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use super::{Change, Comparison, NamedContent, Needed, ObjectRows, Shared, locked};
use crate::domain::ids::{Handle, RecordId};
use crate::store::mirror::{self, Mirrors, is_made};
use crate::store::objects::{ObjectName, Objects, blocking};
use crate::store::{Position, StoreError};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long after a comparison that found something missing here it is made again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How much time lies between two marks at least, unless one is wanted at once.
const MARK_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is written for operators how far the copy is.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The most records that are looked at a second time after something of them was not found.
const MAX_DOUBTFUL: usize = 1024;

/// A copy's side of the queue.
pub(super) struct Follower {
    source: Objects,
    mirror: PathBuf,
    dir: PathBuf,
    mirrors: Mirrors,
    rows: ObjectRows,
    queue: mpsc::Receiver<Change>,
    shared: Arc<Shared>,
    /// Whether the last comparison found something that is missing here.
    is_missing: bool,
    /// Records whose objects are neither here nor on the mirror: it is not complete.
    lost: u64,
    /// Once all that was told is handled up to here, the objects are complete up to the position.
    barrier: Option<(Position, u64)>,
    /// The last mark: which generation of the rows it is bound to, up to where, and when it was written.
    marked: Option<(Option<u32>, Position)>,
    looked_at_mark: Instant,
}

impl Follower {
    pub fn new(
        source: Objects,
        (mirror, folder): (&Path, &str),
        mirrors: &Mirrors,
        rows: ObjectRows,
        queue: mpsc::Receiver<Change>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            source,
            mirror: mirror.to_owned(),
            dir: mirror.join(folder),
            mirrors: mirrors.clone(),
            rows,
            queue,
            shared: Arc::clone(shared),
            is_missing: false,
            lost: 0,
            barrier: None,
            marked: None,
            looked_at_mark: Instant::now(),
        }
    }

    pub async fn follow(mut self) {
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
        self.barrier = None;
        if !self.shared.compares.load(Ordering::Acquire) {
            *locked(&self.shared.comparison) = Comparison::default();
            self.shared.compares.store(true, Ordering::Release);
        }
    }

    async fn until_an_error(&mut self) -> Result<(), StoreError> {
        self.is_ready().await;
        self.must_be_there()?;
        let (mirror, dir) = (self.mirror.clone(), self.dir.clone());
        let opened = blocking(move || {
            let was_complete = dir.is_dir() && mirror::were_objects_complete(&mirror)?;
            if !dir.is_dir() {
                // They were taken away: what the mark says is not so any more.
                mirror::unmark_objects(&mirror)?;
            }
            Ok((Objects::open(&dir)?, was_complete))
        });
        let (to, was_complete) = opened.await?;
        to.sweep_staged().await?;
        let mut compared_at = Instant::now();
        loop {
            if self.shared.missed.swap(false, Ordering::AcqRel) {
                self.compare_again();
            }
            if self.shared.compares.load(Ordering::Acquire) {
                self.compare(&to, !was_complete || self.lost > 0).await?;
                self.shared.compares.store(false, Ordering::Release);
                compared_at = Instant::now();
            }
            let hurries = tokio::select! {
                biased;
                change = self.queue.recv() => {
                    let Some(change) = change else { return Ok(()) };
                    let done = self.carry_over(&to, change).await;
                    self.shared.handled.fetch_add(1, Ordering::AcqRel);
                    done?;
                    false
                }
                () = self.shared.hurry.notified() => true,
                () = tokio::time::sleep(MARK_INTERVAL) => false,
            };
            if (self.is_missing || self.lost > 0) && compared_at.elapsed() >= LOOK_AGAIN {
                self.compare_again();
            }
            self.mark(hurries).await?;
        }
    }

    /// Waits until the rows' side has looked at the mirror; it says itself what is the matter if it cannot.
    async fn is_ready(&self) {
        while !self.mirrors.is_followed(&self.mirror) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Marks up to where the objects are complete, where that is known and the last mark says less.
    async fn mark(&mut self, hurries: bool) -> Result<(), StoreError> {
        if self.lost > 0 || self.shared.compares.load(Ordering::Acquire) {
            self.barrier = None;
            return Ok(());
        }
        let generation = self.mirrors.generation_of(&self.mirror);
        if self.barrier.is_none() && (hurries || self.looked_at_mark.elapsed() >= MARK_INTERVAL) {
            self.looked_at_mark = Instant::now();
            // First the position, then what was told: what the rows up to there name was told before.
            let newest = self.mirrors.newest();
            let told = self.shared.told.load(Ordering::Acquire);
            self.barrier = (self.marked != Some((generation, newest))).then_some((newest, told));
            if self.barrier.is_none() {
                *locked(&self.shared.tried) = Some(newest);
            }
        }
        let Some((at, told)) = self.barrier else { return Ok(()) };
        if self.shared.handled.load(Ordering::Acquire) < told {
            return Ok(());
        }
        self.barrier = None;
        if self.shared.missed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.must_be_there()?;
        let mirror = self.mirror.clone();
        let is_marked = blocking(move || mirror::mark_objects(&mirror, at)).await?;
        if is_marked {
            self.marked = Some((generation, at));
            *locked(&self.shared.marked) = Some(at);
        }
        *locked(&self.shared.tried) = Some(at);
        Ok(())
    }

    async fn compare(&mut self, to: &Objects, is_unproven: bool) -> Result<(), StoreError> {
        self.must_be_there()?;
        let (mut objects, mut bytes) = (0, 0);
        let mut here = self.source.list_all();
        while let Some(listed) = here.next().await {
            objects += 1;
            bytes += listed?.1;
        }
        let began = Some(Instant::now());
        *locked(&self.shared.comparison) = Comparison { began, objects: (0, objects), bytes: (0, bytes) };
        let shared = Arc::clone(&self.shared);
        let mut pass = move |bytes| locked(&shared.comparison).pass(bytes);
        let mut compared = self.source.copy_missing(to, &mut pass).await?;
        let is_needed = |name: ObjectName| is_needed(Arc::clone(&self.rows.needed), name.handle(), name.record());
        compared.missing_here = self.source.delete_missing(to, is_needed).await?;
        if let Some(error) = compared.why {
            return Err(error);
        }
        self.lost = if is_unproven { self.count_lost(to).await? } else { 0 };
        self.is_missing = compared.missing_here > 0;
        self.shared.says(self.problem(compared.missing_here));
        Ok(())
    }

    /// What is the matter with objects that are missing.
    fn problem(&self, missing_here: usize) -> Option<String> {
        let (mirror, lost) = (self.mirror.display(), self.lost);
        if missing_here > 0 {
            tracing::error!(%mirror, missing = missing_here, "objects of records are missing here, and stand on the mirror");
            return Some(format!(
                "{missing_here} objects of records are missing in the data directory, and stand on this mirror: stop the service and copy what is missing from its objects directory"
            ));
        }
        if lost > 0 {
            tracing::error!(%mirror, lost, "objects of records are missing here and on the mirror: it is not complete");
            return Some(format!(
                "objects of {lost} records are missing in the data directory and on this mirror, so that it is not complete: run `oubliette verify`, and restore them from another mirror or a backup"
            ));
        }
        None
    }

    /// How many records have content that is neither here nor on the mirror. Only where it is not known that the mirror ever was complete:
    /// what was lost here before the mirror was added is not found by comparing the two.
    async fn count_lost(&self, to: &Objects) -> Result<u64, StoreError> {
        let (mut from, mut doubtful) = (Some(Vec::new()), Vec::new());
        while let Some(key) = from {
            let ObjectRows { db, named, .. } = self.rows.clone();
            let (contents, next) = blocking(move || named(&*db, &key)).await?;
            from = next;
            for content in contents {
                if doubtful.len() < MAX_DOUBTFUL && bytes_of(to, &content).await? < content.bytes {
                    doubtful.push(content);
                }
            }
        }
        let mut lost = 0;
        for content in doubtful {
            // It may have been made since the comparison, or be on its way out.
            let mut here = self.source.list_prefix(content.handle, Some(content.record));
            while let Some(listed) = here.next().await {
                self.source.copy(to, listed?.0).await?;
            }
            let is_short = bytes_of(to, &content).await? < content.bytes;
            if is_short && is_needed(Arc::clone(&self.rows.needed), content.handle, content.record).await? {
                lost += 1;
            }
        }
        Ok(lost)
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

/// Writes how far a copy is into the mirror's directory, whenever that has changed.
pub(super) async fn report(mirror: PathBuf, mirrors: Mirrors, shared: Arc<Shared>) {
    let mut written = None;
    loop {
        tokio::time::sleep(REPORT_INTERVAL).await;
        let progress = shared.progress();
        if written == Some(progress) || !is_made(&mirror) || !mirrors.is_followed(&mirror) {
            continue;
        }
        let directory = mirror.clone();
        match blocking(move || progress.write(&directory)).await {
            Ok(()) => written = Some(progress),
            // The copy itself meets the same, and says so.
            Err(error) => tracing::debug!(%error, "how far a mirror's objects are was not written"),
        }
    }
}

async fn bytes_of(objects: &Objects, content: &NamedContent) -> Result<u64, StoreError> {
    let mut listed = objects.list_prefix(content.handle, Some(content.record));
    let mut bytes = 0;
    while let Some(object) = listed.next().await {
        bytes += object?.1;
    }
    Ok(bytes)
}

/// Whether a record may need its objects: its secret is there, and it is not about to be removed.
async fn is_needed(needed: Needed, handle: Handle, record: RecordId) -> Result<bool, StoreError> {
    blocking(move || needed(handle, record)).await
}
