//! `oubliette backup`, `restore`, `verify`, `compact`: copies of the data, and the data itself. `verify` asks the service; the others work on the
//! files.

use std::path::PathBuf;

use serde::Serialize;

use super::client::Client;
use super::errors::CliError;
use super::output::{self, Output};
use super::serve::{self, PlaceArgs, RefusedToServe};
use crate::api::v1;
use crate::config::Config;
use crate::vault::{
    self, BackedUp, BackupRules, BackupStep, RestoreFrom, RestoreStep, Sort, Vault, VaultError, Verified,
};

pub(super) const BACKUP_EXAMPLES: &str = "The service goes on meanwhile. A second backup to the same directory copies only what is new.
A backup holds no root key, and opens only with a mirror that is up to date: keep the root key's replicas and the mirrors safe as well.
A mirror that does not have every object yet is not copied (exit code 7), unless --allow-incomplete accepts that recordings are missing.

Example:
  oubliette backup --to /mnt/tape/oubliette --config /var/lib/oubliette/oubliette.toml";

pub(super) const RESTORE_EXAMPLES: &str = "For data that is lost: data.dir must be empty or not there. Nothing takes its place before it was opened under the root key.
Whoever was erased stays erased, whatever the age of a backup. Where records are missing or damaged afterwards, they are listed and the
exit code is 7: the data directory is in its place and can be served, and --allow-missing accepts the loss with exit code 0.

Examples:
  oubliette restore --from-mirror /mnt/b/oubliette --config /var/lib/oubliette/oubliette.toml
  oubliette restore --from /mnt/tape/oubliette --mirror /mnt/c/oubliette-keys --config /var/lib/oubliette/oubliette.toml";

pub(super) const VERIFY_EXAMPLES: &str =
    "Has the service open every record of all tenants with the keys of today, and names those that do not open. Nothing of them is shown. Only
for admins of `system`.

Example:
  oubliette verify --json";

pub(super) const COMPACT_EXAMPLES: &str =
    "Gives disk space back: the database is written anew. Stop the service before; a service that runs compacts by itself (limits.compact_*).
There must be room for a second database. Where there is none, --via makes the copy on another disk and puts it in the old one's place;
repeat the command if it is interrupted.

Examples:
  oubliette compact --config /var/lib/oubliette/oubliette.toml
  oubliette compact --via /mnt/b --config /var/lib/oubliette/oubliette.toml";

/// What to compact.
#[derive(clap::Args)]
pub struct CompactArgs {
    /// Make the copy in this directory, on another disk
    #[arg(long, value_name = "DIR")]
    via: Option<PathBuf>,
    /// Of which vault.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// The most records that are named.
const MAX_NAMED: usize = 1_000;

/// Where to.
#[derive(clap::Args)]
pub struct BackupArgs {
    /// The backup's directory
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The mirror to copy [default: the first one of everything]
    #[arg(long, value_name = "DIR")]
    from_mirror: Option<PathBuf>,
    /// Remove objects from the backup that the mirror does not have any more: those of what was erased
    #[arg(long)]
    prune: bool,
    /// Copy a mirror that does not have every object yet; recordings will be missing
    #[arg(long)]
    allow_incomplete: bool,
    /// Of which vault.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Where from.
#[derive(clap::Args)]
pub struct RestoreArgs {
    /// A mirror that has everything
    #[arg(long, value_name = "DIR", required_unless_present = "from")]
    from_mirror: Option<PathBuf>,
    /// A backup, for content; what decides comes from --mirror
    #[arg(long, value_name = "DIR", conflicts_with = "from_mirror", requires = "mirror")]
    from: Option<PathBuf>,
    /// The newest mirror
    #[arg(long, value_name = "DIR", conflicts_with = "from_mirror")]
    mirror: Option<PathBuf>,
    /// Accept that records are missing or damaged, and exit with 0
    #[arg(long)]
    allow_missing: bool,
    /// Of which vault.
    #[command(flatten)]
    pub place: PlaceArgs,
}

#[derive(Default, Serialize)]
struct VerifiedView {
    opened: u64,
    erased: u64,
    damaged: u64,
    missing: u64,
    frozen: u64,
    damaged_rows: u64,
    named: Vec<NamedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<RestoredView>,
}

#[derive(Serialize)]
struct NamedView {
    #[serde(skip_serializing_if = "String::is_empty")]
    record_id: String,
    /// Of a row that is no record's: its kind and its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    row: String,
    problem: String,
}

impl NamedView {
    fn what(&self) -> &str {
        if self.record_id.is_empty() { &self.row } else { &self.record_id }
    }
}

#[derive(Serialize)]
struct RestoredView {
    epoch: u64,
    log_entries: u64,
    rows_of_backup: u64,
    had_all_objects: bool,
}

impl VerifiedView {
    fn new(verified: &Verified, restored: Option<RestoredView>) -> Self {
        let records = verified.named.iter().map(|(id, problem)| NamedView {
            record_id: id.to_string(),
            row: String::new(),
            problem: (*problem).to_owned(),
        });
        let rows = verified.named_rows.iter().map(|one| NamedView {
            record_id: String::new(),
            row: one.name(),
            problem: one.why.clone(),
        });
        Self {
            opened: verified.opened,
            erased: verified.erased,
            damaged: verified.damaged,
            missing: verified.missing,
            frozen: verified.frozen,
            damaged_rows: verified.damaged_rows,
            named: records.chain(rows).collect(),
            restored,
        }
    }

    /// Adds what came of a step; returns where the next one begins.
    fn take(&mut self, step: v1::VerifyRecordsResponse) -> String {
        let v1::VerifyRecordsResponse {
            opened,
            erased,
            damaged,
            missing,
            frozen,
            problems,
            next_page_token,
            damaged_rows,
        } = step;
        self.damaged_rows += damaged_rows;
        self.opened += opened;
        self.erased += erased;
        self.damaged += damaged;
        self.missing += missing;
        self.frozen += frozen;
        let named = |one: v1::RecordProblem| NamedView { record_id: one.record_id, row: one.row, problem: one.problem };
        let room = MAX_NAMED.saturating_sub(self.named.len());
        self.named.extend(problems.into_iter().take(room).map(named));
        next_page_token
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(RestoredView { epoch, log_entries, rows_of_backup, had_all_objects }) = &self.restored {
            text.push_str(&format!(
                "restored to epoch {epoch}, with {log_entries} entries of the log; {rows_of_backup} rows of content came from the backup\n"
            ));
            if !had_all_objects {
                text.push_str("the copy with the content did not have all objects when it was last written to\n");
            }
        }
        text.push_str(&format!(
            "{} records open, {} are erased and not yet removed, {} are damaged, {} have a key and no content\n",
            self.opened, self.erased, self.damaged, self.missing
        ));
        if self.frozen > 0 {
            text.push_str(&format!("{} are of tenants that are frozen, and were not opened\n", self.frozen));
        }
        if self.damaged_rows > 0 {
            text.push_str(&format!(
                "{} other rows do not open, or were not written by the service\n",
                self.damaged_rows
            ));
        }
        text.extend(self.named.iter().map(|one| output::row(&[(one.what(), 36), (&one.problem, 0)])));
        text
    }
}

/// Runs `backup`.
pub async fn backup(args: BackupArgs) -> Result<(), CliError> {
    serve::keep_private();
    let paths = serve::vault_paths(&Config::load(&args.place.config)?);
    let configured =
        paths.mirrors.iter().find(|mirror| mirror.sort == Sort::Whole).map(|mirror| mirror.directory.clone());
    let from = args.from_mirror.or(configured).ok_or(CliError::NoMirror)?;
    let bar = output::progress_line(!args.place.json);
    let told = bar.clone();
    let progress = move |step| {
        told.set_message(match step {
            BackupStep::Objects(count) => format!("objects: {count}"),
            BackupStep::Rows { done, all } => format!("rows: {done} of {all} bytes"),
        });
    };
    let rules = BackupRules { prunes: args.prune, allows_incomplete: args.allow_incomplete };
    let done = vault::backup_as(&from, &args.to, rules, progress).await;
    bar.finish_and_clear();
    let BackedUp { objects, row_bytes, is_complete } = done.map_err(VaultError::from)?;
    let document = serde_json::json!({
        "from": from, "to": args.to, "row_bytes": row_bytes, "objects": objects, "complete": is_complete
    });
    Output::stdout(args.place.json).result(&document, |_| {
        let (to, from) = (args.to.display(), from.display());
        let state = if is_complete { "is up to date with" } else { "is NOT complete, and neither is" };
        format!("{to} {state} {from}: {row_bytes} bytes of rows, {objects} objects\n")
    })
}

/// Runs `restore`.
pub async fn restore(args: RestoreArgs) -> Result<(), CliError> {
    serve::keep_private();
    let config = Config::load(&args.place.config)?;
    let paths = serve::vault_paths(&config);
    let mirror = args.from_mirror.or(args.mirror).ok_or(CliError::NoMirror)?;
    let bar = output::progress_line(!args.place.json);
    let told = bar.clone();
    let progress = move |step| {
        told.set_message(match step {
            RestoreStep::Rows(bytes) => format!("rows: {bytes} bytes"),
            RestoreStep::Objects(count) => format!("objects: {count}"),
            RestoreStep::Records(count) => format!("records opened: {count}"),
        });
    };
    let from = RestoreFrom { mirror, backup: args.from };
    let restored = Vault::restore(paths.clone(), serve::vault_limits(&config), from, progress).await;
    bar.finish_and_clear();
    let restored = restored.map_err(|source| RefusedToServe::vault(&paths, source))?;
    let about = RestoredView {
        epoch: restored.epoch,
        log_entries: restored.log_entries,
        rows_of_backup: restored.rows_of_backup,
        had_all_objects: restored.had_all_objects,
    };
    Output::stdout(args.place.json).result(&VerifiedView::new(&restored.verified, Some(about)), VerifiedView::text)?;
    let count = restored.verified.damaged + restored.verified.missing;
    if count == 0 || args.allow_missing { Ok(()) } else { Err(CliError::RestoredInPart { count }) }
}

/// Runs `verify`, step by step; an error if something is damaged or missing.
pub async fn verify(client: &Client, output: &mut Output) -> Result<(), CliError> {
    let bar = output::progress_line(!output.is_json());
    let (mut all, mut page_token) = (VerifiedView::default(), String::new());
    loop {
        let step = client.verify_records(v1::VerifyRecordsRequest { page_token }).await?;
        page_token = all.take(step);
        bar.set_message(format!("records opened: {}", all.opened));
        if page_token.is_empty() {
            break;
        }
    }
    bar.finish_and_clear();
    output.result(&all, VerifiedView::text)?;
    let count = all.damaged + all.missing + all.damaged_rows;
    if count == 0 { Ok(()) } else { Err(CliError::NotWhole { count }) }
}

/// Runs `compact`.
pub async fn compact(CompactArgs { via, place }: CompactArgs) -> Result<(), CliError> {
    serve::keep_private();
    let paths = serve::vault_paths(&Config::load(&place.config)?);
    let bar = output::progress_line(!place.json);
    let told = bar.clone();
    let progress = move |rows| told.set_message(format!("rows: {rows}"));
    let compacted = match via {
        None => Vault::compact(paths.clone(), progress).await,
        Some(directory) => Vault::compact_via(paths.clone(), directory, progress).await,
    };
    bar.finish_and_clear();
    let done = compacted.map_err(|source| RefusedToServe::vault(&paths, source))?;
    let document = serde_json::json!({ "rows": done.rows, "bytes_before": done.before, "bytes_after": done.after });
    Output::stdout(place.json).result(&document, |_| {
        format!("{} rows; the database took {} bytes and takes {} now\n", done.rows, done.before, done.after)
    })
}
