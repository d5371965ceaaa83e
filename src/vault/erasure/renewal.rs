//! After a restore every page of the key tree gets a fresh key, before anything is called erased again.
//!
//! What the lost disk had and no mirror does may stand in an image of it: customers and records of the last moments, on pages whose keys are
//! those of now. Nobody here knows of them, so no erasure would reach them. Once every page has another key, they are noise.

use std::fs::File;
use std::path::Path;

use super::epoch::{Extra, run_epoch};
use crate::domain::ids::TenantId;
use crate::keys::RenewMark;
use crate::store::{StoreError, rows};
use crate::vault::VaultError;
use crate::vault::core::Core;

/// Leaf pages that get fresh keys in one epoch: as read and as written they fit one batch, with all that stand above them.
pub(super) const PAGES_AT_ONCE: usize = 2_000;
/// The file in the data directory that says that it was restored, and that this is still to be done.
const MARK: &str = "restored";

/// How far it is with one tenant.
pub(super) struct Renewal {
    pub tenant: TenantId,
    pub mark: Option<RenewMark>,
}

/// Says, durably, that what stands in the data directory was restored.
pub(in super::super) fn mark_restored(data: &Path) -> Result<(), StoreError> {
    let marked = File::create(data.join(MARK)).and_then(|file| file.sync_all());
    let marked = marked.and_then(|()| File::open(data)?.sync_all());
    marked.map_err(|source| StoreError::Io { doing: "marking the data as restored", source })
}

/// Whether a name in the data directory is that of the mark.
pub(in super::super) fn is_mark(name: &std::ffi::OsStr) -> bool {
    name == MARK
}

/// Gives all pages fresh keys, if the data was restored; in as many epochs as it takes, and from the beginning if it was interrupted.
pub(super) fn renew_restored(core: &Core) -> Result<(), VaultError> {
    let mark = core.data.join(MARK);
    if !mark.exists() {
        return Ok(());
    }
    tracing::info!("the data was restored: every page of the key tree gets a fresh key");
    for tenant in core.living_tenants()? {
        let mut renewal = Renewal { tenant, mark: Some(RenewMark::begin()) };
        while renewal.mark.is_some() {
            // A page that does not open keeps its key, and so does all below it: nothing else is kept back for it.
            let renewed = run_epoch(core, &[], Extra::Renewal(&mut renewal));
            if renewed.as_ref().is_err_and(VaultError::is_damage) {
                renewal.mark = None;
            }
            core.unless_damaged("pages of a tenant", &rows::page(&tenant.0), renewed)?;
        }
    }
    let removed = std::fs::remove_file(&mark).and_then(|()| File::open(&core.data)?.sync_all());
    removed.map_err(|source| StoreError::Io { doing: "removing the mark of restored data", source })?;
    tracing::info!("every page of the key tree has a fresh key");
    Ok(())
}
