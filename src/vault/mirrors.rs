//! The mirrors of a vault that is open: how they are, and others instead.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::format::{ContentForm, Head};
use super::start::{OBJECTS, StartError, on_a_thread, refuse_keys_inside};
use super::{MirrorStatus, Sort, Vault, VaultPaths};
use crate::store::{Database, FindContent, NamedContent, Needed, ObjectRows, StoreError, rows};

/// Rows looked at in one go for content in objects.
const AT_ONCE: usize = 256;
/// How long the end of the service waits for objects to be on the mirrors, and then for the marks that say so.
const COPY_PATIENCE: Duration = Duration::from_secs(5);

impl Vault {
    /// How the mirrors are.
    pub fn mirrors(&self) -> Vec<MirrorStatus> {
        let copies = self.core.objects.copies();
        let with_objects = |status: MirrorStatus| match copies.iter().find(|copy| copy.mirror == status.place.directory)
        {
            Some(copy) => {
                let problem = status.problem.or_else(|| copy.problem.clone());
                MirrorStatus { objects: copy.progress, objects_until: copy.complete_until, problem, ..status }
            }
            None => status,
        };
        self.core.committer.mirrors().status().into_iter().map(with_objects).collect()
    }

    /// Goes on with the mirrors of `paths` instead. A new one gets its first copy while everything goes on. Refused, before anything is changed,
    /// if one is of another vault, newer than this one, or around a key.
    pub async fn change_mirrors(&self, paths: VaultPaths) -> Result<(), StartError> {
        let core = Arc::clone(&self.core);
        on_a_thread(move || {
            refuse_keys_inside(&paths)?;
            Ok(core.committer.mirrors().change(paths.mirrors, &core.db)?)
        })
        .await?;
        self.core.copy_objects();
        Ok(())
    }
}

impl Core {
    /// Has the objects copied to all mirrors of everything, and to no other. Needs the async runtime.
    pub fn copy_objects(self: &Arc<Self>) {
        let mirrors = self.committer.mirrors();
        let whole = mirrors.status().into_iter().filter(|status| status.place.sort == Sort::Whole);
        let places: Vec<PathBuf> = whole.map(|status| status.place.directory).collect();
        // The copies end with the core: they must not keep it.
        let core = Arc::downgrade(self);
        let needed: Needed =
            Arc::new(move |handle, record| core.upgrade().ok_or(StoreError::Stopping)?.needs_objects(handle, record));
        let named: FindContent = Arc::new(content_in_objects);
        let rows = ObjectRows { db: Arc::clone(&self.db), named, needed };
        self.objects.copy_to(&places, OBJECTS, mirrors, &rows);
    }

    /// How many objects the mirrors have still to follow.
    pub fn objects_behind(&self) -> u64 {
        self.objects.copies().iter().map(|copy| copy.progress.behind).sum()
    }

    /// Waits a while until the objects are on the mirrors.
    pub async fn wait_for_copies(&self) {
        let end = Instant::now() + COPY_PATIENCE;
        while self.objects_behind() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has the mirrors that have every object say so, up to the last group. Nothing is written any more.
    pub async fn mark_copies(&self) {
        self.objects.mark_copies(self.committer.mirrors(), COPY_PATIENCE).await;
    }
}

/// The content in objects that rows of records from `from` on name, and whose keys are there; and where to go on. A head that cannot be read
/// names nothing: `verify` reports it.
fn content_in_objects(db: &dyn Database, from: &[u8]) -> Result<(Vec<NamedContent>, Option<Vec<u8>>), StoreError> {
    let (first, end) = rows::all(rows::Kind::Record);
    let page = db.range(from.max(&first), &end, AT_ONCE)?;
    let next = page.last().map(|(key, _)| rows::behind(key.clone()));
    let mut found = Vec::new();
    for (key, row) in page {
        let Some((record, revision, 0)) = rows::parse_record_piece(&key) else { continue };
        let Ok((head, _)) = Head::decode(&row) else { continue };
        let is_in_objects = head.form == ContentForm::Parts;
        if is_in_objects && db.get(&rows::secret(head.handle, record, revision))?.is_some() {
            found.push(NamedContent { handle: head.handle, record, bytes: head.stored_bytes });
        }
    }
    Ok((found, next))
}
