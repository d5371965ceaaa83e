//! Bringing a database of an earlier layout up to the one of this program, when the vault is opened.
//!
//! It runs after the root key, the pin and the control rows were checked by the rules of the database's own layout, and before any erasure
//! is finished or anything is served. Each step is made of batches of bounded size, finds out for itself what is left of it, and may be
//! repeated. The row of the layout is written last.
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 each page of the key tree gets a digest, some at a time | digest rows; with the first of them the sum of the control rows is sealed | 1 goes on where digests are missing |
//! | 2 each tenant gets keys for answers | those keys | 2 goes on with tenants that have none |
//! | 3 rows of requests are sealed, answers to erasures removed | what outlived customers is gone from the rows | 3 goes on with rows in the clear |
//! | 4 jobs get tags | the jobs are executed | 4 goes on with jobs without a tag |
//! | 5 assigned cases stand under keys of their customers | who knows a case's id finds no row by it | 5 goes on with those under the tenant's key |
//! | 6 the layout's row names the new layout | the upgrade is done | nothing is left to do |
//!
//! Mirrors follow by the same groups of writes, and are not waited for. A restore brings a mirror of an earlier layout back as it is; the
//! next start upgrades it.

use super::VaultError;
use super::core::Core;
use super::format::{Layout, ReclaimPagesRow, decode_format, encode_format};
use super::writer::add_pages;
use crate::keys::Draft;
use crate::store::{Batch, rows};

/// Pages that get their digests in one batch; in tests so few that an upgrade has several.
const PAGES_AT_ONCE: usize = if cfg!(test) { 8 } else { 1024 };

/// One thing that an upgrade does, and what it is called in the log. Bounded batches; may be repeated.
struct Step {
    what: &'static str,
    run: fn(&Core) -> Result<(), VaultError>,
}

/// In the order in which they are done.
const STEPS: [Step; 5] = [
    Step { what: "digests of the key tree's pages", run: digest_pages },
    Step { what: "keys for answers", run: add_answer_keys },
    Step { what: "rows of requests", run: Core::seal_earlier_requests },
    Step { what: "tags of jobs", run: sign_jobs },
    Step { what: "rows of assigned cases", run: rename_assignments },
];

/// Upgrades the database if it is of an earlier layout.
pub(super) fn run(core: &Core) -> Result<(), VaultError> {
    let stored = core.db.get(&rows::format())?.ok_or(VaultError::damaged("the version of the layout"))?;
    let layout = decode_format(&stored)?;
    if layout == Layout::NEWEST {
        return Ok(());
    }
    tracing::info!(from = layout as u8, to = Layout::NEWEST as u8, "the database is upgraded to a new layout");
    for Step { what, run } in STEPS {
        run(core)?;
        tracing::info!(what, "a step of the upgrade is done");
    }
    let mut batch = Batch::new();
    batch.require_value(rows::format(), stored);
    batch.put(rows::format(), encode_format());
    core.committer.commit_here(batch)?;
    tracing::info!(layout = Layout::NEWEST as u8, "the database is upgraded");
    Ok(())
}

/// Gives a digest to each page that has none. One that is there stays: if the page was changed since, that must be noticed.
fn digest_pages(core: &Core) -> Result<(), VaultError> {
    let (mut from, to) = rows::all(rows::Kind::Page);
    loop {
        let pages = core.db.range(&from, &to, PAGES_AT_ONCE)?;
        let Some((last, _)) = pages.last() else { break };
        from = rows::behind(last.clone());
        let mut batch = Batch::new();
        for node in pages.iter().filter_map(|(key, _)| rows::parse_page(key)) {
            if core.db.get(&rows::page_digest(&node))?.is_none() {
                batch.digest_page(node);
            }
        }
        if !batch.is_empty() {
            core.committer.commit_here(batch)?;
        }
    }
    core.tree.pages().require_digests();
    Ok(())
}

/// Adds keys for answers to the pages of tenants that have none. A tenant whose pages are damaged goes without.
fn add_answer_keys(core: &Core) -> Result<(), VaultError> {
    for tenant in core.living_tenants()? {
        let add = || {
            let top = core.tree.top();
            let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
            Ok(draft.add_answer_keys(tenant)?.then(|| draft.into_inserts().writes))
        };
        let planned = match add() {
            Err(error) if VaultError::is_damage(&error) => {
                core.damage.met("the page of a tenant", &rows::page(&tenant.0), &error);
                continue;
            }
            planned => planned?,
        };
        if let Some(writes) = planned {
            let mut batch = Batch::new();
            add_pages(&mut batch, writes);
            core.committer.commit_here(batch)?;
        }
    }
    core.tree.forget_tenants();
    Ok(())
}

/// Gives a tag to each job that has none. What a job removes is looked at before it is executed, so one that somebody planted
/// removes nothing that a key opens.
fn sign_jobs(core: &Core) -> Result<(), VaultError> {
    use rows::Kind::{Reclaim, ReclaimPages, ReclaimRecord, Upload};
    for kind in [Reclaim, ReclaimRecord, ReclaimPages, Upload] {
        let (mut from, to) = rows::all(kind);
        loop {
            let jobs = core.db.range(&from, &to, PAGES_AT_ONCE)?;
            let Some((last, _)) = jobs.last() else { break };
            from = rows::behind(last.clone());
            let mut batch = Batch::new();
            for (key, value) in &jobs {
                if let Some(body) = body_of_earlier_job(kind, value).filter(|_| core.jobs.open(key, value).is_none()) {
                    batch.put(key.clone(), core.jobs.signed(key, body));
                }
            }
            if !batch.is_empty() {
                core.committer.commit_here(batch)?;
            }
        }
    }
    Ok(())
}

/// Names assignments of cases anew. What was assigned holds all the while, as nothing is served before the upgrade is done.
fn rename_assignments(core: &Core) -> Result<(), VaultError> {
    let (mut from, to) = rows::all(rows::Kind::Assignment);
    loop {
        let page = core.db.range(&from, &to, PAGES_AT_ONCE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = rows::behind(last.clone());
        let mut batch = Batch::new();
        core.rename_assignments(&mut batch, &page)?;
        if !batch.is_empty() {
            core.committer.commit_here(batch)?;
        }
    }
}

/// What a job of layout 1 says, in the form of now. Pages to remove were ids without a version, the other jobs had version 1.
fn body_of_earlier_job(kind: rows::Kind, value: &[u8]) -> Option<Vec<u8>> {
    const EARLIER_VERSION: u8 = 1;
    const VERSION: u8 = 2;
    if kind == rows::Kind::ReclaimPages {
        let (pages, []) = value.as_chunks::<16>() else { return None };
        return Some(ReclaimPagesRow { pages: pages.to_vec() }.encode());
    }
    let (version, rest) = value.split_first()?;
    (*version == EARLIER_VERSION).then(|| [&[VERSION], rest].concat())
}
