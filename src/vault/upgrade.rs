//! Bringing a database of an earlier layout up to the one of this program, when the vault is opened.
//!
//! It runs after the root key, the pin and the control rows were checked by the rules of the database's own layout, and before any erasure
//! is finished or anything is served. Each step is made of batches of bounded size, finds out for itself what is left of it, and may be
//! repeated. The row of the layout is written last.
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 each page of the key tree gets a digest, some at a time | digest rows; with the first of them the sum of the control rows is sealed | 1 goes on where digests are missing |
//! | 2 the layout's row names the new layout | the upgrade is done | nothing is left to do |
//!
//! Mirrors follow by the same groups of writes, and are not waited for. A restore brings a mirror of an earlier layout back as it is; the
//! next start upgrades it.

use super::VaultError;
use super::core::Core;
use super::format::{Layout, decode_format, encode_format};
use crate::store::{Batch, rows};

/// Pages that get their digests in one batch; in tests so few that an upgrade has several.
const PAGES_AT_ONCE: usize = if cfg!(test) { 8 } else { 1024 };

/// One thing that an upgrade does, and what it is called in the log. Bounded batches; may be repeated.
struct Step {
    what: &'static str,
    run: fn(&Core) -> Result<(), VaultError>,
}

/// In the order in which they are done.
const STEPS: [Step; 1] = [Step { what: "digests of the key tree's pages", run: digest_pages }];

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
