//! The mirrors of a vault that is open: how they are, and others instead.

use std::path::PathBuf;
use std::sync::Arc;

use super::core::Core;
use super::start::{OBJECTS, StartError, on_a_thread, refuse_keys_inside};
use super::{MirrorStatus, Sort, Vault, VaultPaths};
use crate::store::{Needed, StoreError};

impl Vault {
    /// How the mirrors are.
    pub fn mirrors(&self) -> Vec<MirrorStatus> {
        let copies = self.core.objects.copies();
        let with_objects = |status: MirrorStatus| match copies.iter().find(|copy| copy.mirror == status.place.directory)
        {
            Some(copy) => {
                let problem = status.problem.or_else(|| copy.problem.clone());
                MirrorStatus { objects_behind: copy.behind, problem, ..status }
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
        let needed: Needed = Arc::new(move |name| core.upgrade().ok_or(StoreError::Stopping)?.needs_object(name));
        self.objects.copy_to(&places, OBJECTS, mirrors, &needed);
    }

    /// How many objects the mirrors have still to follow.
    pub fn objects_behind(&self) -> usize {
        self.objects.copies().iter().map(|copy| copy.behind).sum()
    }
}
