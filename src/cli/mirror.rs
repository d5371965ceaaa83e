//! `oubliette mirror`: where the data is mirrored to, and how far the mirrors are. Changes are made in the configuration, which a service that
//! runs takes over on SIGHUP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::errors::CliError;
use super::output::{self, Output};
use super::serve::{self, PlaceArgs};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::vault::{CopyProgress, MirrorContent, MirrorPlace, Sort, VaultError, VaultPaths, create_mirror};
use crate::vault::{mirror_content, wait_for_objects};

const ADD_EXAMPLES: &str = "Tell the service afterwards (SIGHUP): it makes the first copy while it serves.

Examples:
  oubliette mirror add /mnt/b/oubliette --config /var/lib/oubliette/oubliette.toml
  oubliette mirror add /mnt/c/oubliette-keys --keys-only --config /var/lib/oubliette/oubliette.toml";

const STATUS_EXAMPLES: &str = "A mirror of everything is complete once it has every object that its rows name. Until then `backup` does not copy it, and the last
complete mirror is not removed.

Example:
  oubliette mirror status --config /var/lib/oubliette/oubliette.toml";

const REMOVE_EXAMPLES: &str =
    "Tell the service afterwards (SIGHUP). What stands in the directory stays: after the next erasure it opens nothing.
The last mirror with every object is not removed while another mirror of everything lacks some (exit code 7), unless --force is given.

Example:
  oubliette mirror remove /mnt/b/oubliette --config /var/lib/oubliette/oubliette.toml";

/// What to do with the mirrors.
#[derive(clap::Subcommand)]
pub enum MirrorCommand {
    /// Show the mirrors, and up to where each has everything
    #[command(after_help = STATUS_EXAMPLES)]
    Status(PlaceArgs),
    /// Mirror to one more directory
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// The directory, on another disk; made if it is not there
        directory: PathBuf,
        /// Without content: small, and enough to open a backup of the content
        #[arg(long)]
        keys_only: bool,
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Mirror to a directory no more
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// The directory
        directory: PathBuf,
        /// Remove it even if no other mirror has every object
        #[arg(long)]
        force: bool,
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// How long `remove` waits until another mirror has the objects of the last groups.
const MARK_PATIENCE: Duration = Duration::from_secs(10);
/// What is older tells nothing about a service that runs.
const FRESH_MS: u64 = 10_000;

#[derive(Serialize)]
struct MirrorsView {
    mirrors: Vec<MirrorView>,
}

#[derive(Serialize)]
struct MirrorView {
    directory: String,
    keys_only: bool,
    /// How many groups of writes it has; `None` where there is no whole copy yet.
    groups: Option<u64>,
    bytes: Option<u64>,
    /// Whether it has every object that its rows name.
    complete: bool,
    /// Up to which group it has every object.
    objects_until_group: Option<u64>,
    /// How far the copy of the objects is, as the service wrote it last.
    objects: Option<ObjectsView>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct ObjectsView {
    behind: u64,
    done: u64,
    total: u64,
    bytes_done: u64,
    bytes_total: u64,
    seconds_left: Option<u64>,
    seconds_ago: u64,
}

impl ObjectsView {
    fn new(progress: CopyProgress) -> Self {
        Self {
            behind: progress.behind,
            done: progress.objects.0,
            total: progress.objects.1,
            bytes_done: progress.bytes.0,
            bytes_total: progress.bytes.1,
            seconds_left: progress.seconds_left,
            seconds_ago: Timestamp::now().as_ms().saturating_sub(progress.at_ms) / 1000,
        }
    }

    fn text(&self) -> String {
        let left = self.seconds_left.map(|seconds| format!(", about {} left", duration(seconds))).unwrap_or_default();
        match self.total {
            0 => format!("{} changes of objects wait", self.behind),
            total => format!(
                "{} of {total} objects compared ({} of {} bytes){left}",
                self.done, self.bytes_done, self.bytes_total
            ),
        }
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

impl MirrorView {
    fn new(place: MirrorPlace) -> Self {
        let found = mirror_content(&place.directory);
        let content = found.as_ref().ok().and_then(|content| *content);
        let (groups, bytes) = content.map(|content| (content.groups, content.bytes)).unzip();
        let progress = (place.sort == Sort::Whole).then(|| CopyProgress::read(&place.directory)).flatten();
        let problem = match found {
            Err(error) => Some(error.to_string()),
            Ok(None) => Some("no whole copy yet".to_owned()),
            Ok(Some(content)) => objects_problem(&content, progress),
        };
        Self {
            directory: place.directory.display().to_string(),
            keys_only: place.sort == Sort::Keys,
            groups,
            bytes,
            complete: content.is_some_and(|content| content.has_all_objects()),
            objects_until_group: content.and_then(|content| content.objects_until),
            objects: progress.map(ObjectsView::new),
            problem,
        }
    }
}

/// What keeps a mirror from being complete. One that is written to trails by a moment: that is no problem.
fn objects_problem(content: &MirrorContent, progress: Option<CopyProgress>) -> Option<String> {
    let view = progress.map(ObjectsView::new);
    let is_trailing = progress.is_some_and(|progress| {
        progress.behind == 0 && Timestamp::now().as_ms().saturating_sub(progress.at_ms) < FRESH_MS
    });
    if content.has_all_objects() || (content.objects_until.is_some() && is_trailing) {
        return None;
    }
    let until = content.objects_until.map(|until| format!(" since group {until}")).unwrap_or_default();
    let said = match view {
        Some(view) if view.behind > 0 => format!(": {} ({} s ago)", view.text(), view.seconds_ago),
        _ => ": the service has to run and compare them".to_owned(),
    };
    Some(format!("not complete: it lacks objects{until}{said}"))
}

impl MirrorsView {
    fn text(&self) -> String {
        let row = |one: &MirrorView| {
            let what = if one.keys_only { "keys only" } else { "everything" };
            let state = match (&one.problem, one.groups, one.bytes) {
                (Some(problem), ..) => problem.clone(),
                (None, groups, bytes) => {
                    let objects = if one.keys_only { "" } else { ", all objects" };
                    format!("{} groups, {} bytes{objects}", groups.unwrap_or_default(), bytes.unwrap_or_default())
                }
            };
            output::row(&[(&one.directory, 32), (what, 10), (&state, 0)])
        };
        if self.mirrors.is_empty() {
            return "no mirrors: one lost disk loses everything (oubliette mirror add)\n".to_owned();
        }
        self.mirrors.iter().map(row).collect()
    }
}

impl MirrorCommand {
    fn place(&self) -> &PlaceArgs {
        match self {
            Self::Status(place) | Self::Add { place, .. } | Self::Remove { place, .. } => place,
        }
    }

    /// Whether errors are to be told as JSON.
    pub fn wants_json(&self) -> bool {
        self.place().json
    }
}

/// Runs the command.
pub async fn run(command: MirrorCommand) -> Result<(), CliError> {
    serve::keep_private();
    let (file, json) = (command.place().config.clone(), command.wants_json());
    let before = Config::load(&file)?;
    match command {
        MirrorCommand::Status(_) => {}
        MirrorCommand::Add { directory, keys_only, .. } => {
            let directory = absolute(&directory)?;
            let list = if keys_only { "keys_only" } else { "directories" };
            let name = directory.display().to_string();
            let sort = if keys_only { Sort::Keys } else { Sort::Whole };
            let added = MirrorPlace { directory: directory.clone(), sort };
            let is_added = serve::vault_paths(&before).mirrors.contains(&added);
            // A repeat of what was done already makes the directory, if it is gone, and leaves the configuration.
            let new = if is_added {
                None
            } else {
                Some(Change::new(&file, |mirrors| array(mirrors, list).map(|array| array.push(name)))?)
            };
            let made = tokio::task::spawn_blocking(move || create_mirror(&directory)).await;
            made.map_err(|_| CliError::Interrupted)?.map_err(VaultError::from)?;
            new.map_or(Ok(()), Change::place)?;
        }
        MirrorCommand::Remove { directory, force, .. } => {
            let directory = absolute(&directory)?;
            let paths = serve::vault_paths(&before);
            if !paths.mirrors.iter().any(|mirror| mirror.directory == directory) {
                return Err(CliError::NoSuchMirror { directory });
            }
            if !force {
                refuse_to_lose_objects(paths, directory.clone()).await?;
            }
            let folder = file.parent().map(Path::to_owned).unwrap_or_default();
            let is_it = |value: &Value| value.as_str().is_some_and(|path| folder.join(path) == directory);
            let without = |mirrors: &mut Table| {
                for list in ["directories", "keys_only"] {
                    array(mirrors, list)?.retain(|value| !is_it(value));
                }
                Some(())
            };
            Change::new(&file, without)?.place()?;
        }
    }
    let mirrors = serve::vault_paths(&Config::load(&file)?).mirrors;
    let view = move || MirrorsView { mirrors: mirrors.into_iter().map(MirrorView::new).collect() };
    let view = tokio::task::spawn_blocking(view).await.map_err(|_| CliError::Interrupted)?;
    Output::stdout(json).result(&view, MirrorsView::text)
}

/// Refuses to remove a mirror that had every object once while no other mirror of everything has. Where no other is configured, the operator
/// goes without mirrors knowingly.
async fn refuse_to_lose_objects(paths: VaultPaths, directory: PathBuf) -> Result<(), CliError> {
    let look = move || {
        let content_of = |place: &MirrorPlace| mirror_content(&place.directory).ok().flatten();
        let whole = paths.mirrors.iter().filter(|place| place.sort == Sort::Whole);
        let (removed, others): (Vec<_>, Vec<_>) = whole.partition(|place| place.directory == directory);
        let was_complete = removed.iter().any(|place| content_of(place).is_some_and(|it| it.objects_until.is_some()));
        if !was_complete || others.is_empty() {
            return Ok(());
        }
        let has_all = |place: &&MirrorPlace| {
            let groups = content_of(place).map(|content| content.groups);
            groups.is_some_and(|groups| wait_for_objects(&place.directory, groups, MARK_PATIENCE).unwrap_or(false))
        };
        if others.iter().any(has_all) { Ok(()) } else { Err(CliError::LastCompleteMirror { directory }) }
    };
    tokio::task::spawn_blocking(look).await.map_err(|_| CliError::Interrupted)?
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|source| CliError::File { doing: "find", path: path.to_owned(), source })
}

/// A list of `[mirrors]`, made where it is missing.
fn array<'a>(mirrors: &'a mut Table, list: &str) -> Option<&'a mut Array> {
    mirrors.entry(list).or_insert(Item::Value(Value::Array(Array::new()))).as_array_mut()
}

/// A configuration with other mirrors, written beside the one that counts: every other byte is as it was. It goes again unless it is placed.
struct Change {
    file: PathBuf,
    new: PathBuf,
}

impl Change {
    /// Writes it, if the service would take it.
    fn new(file: &Path, change: impl FnOnce(&mut Table) -> Option<()>) -> Result<Self, CliError> {
        let failed = |doing| move |source| CliError::File { doing, path: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(failed("read"))?;
        let malformed = || std::io::Error::new(std::io::ErrorKind::InvalidData, "[mirrors] is not a table of lists");
        let mut document: DocumentMut = text.parse().map_err(|_| failed("change")(malformed()))?;
        let mirrors = document.entry("mirrors").or_insert(Item::Table(Table::new())).as_table_mut();
        mirrors.and_then(change).ok_or_else(|| failed("change")(malformed()))?;
        let change = Self { file: file.to_owned(), new: file.with_extension("toml.new") };
        std::fs::write(&change.new, document.to_string()).map_err(failed("write"))?;
        Config::load(&change.new)?;
        Ok(change)
    }

    /// From now on it counts.
    fn place(self) -> Result<(), CliError> {
        let synced = std::fs::File::open(&self.new).and_then(|file| file.sync_all());
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let placed = synced.and_then(|()| std::fs::rename(&self.new, &self.file));
        let placed = placed.and_then(|()| std::fs::File::open(folder)?.sync_all());
        placed.map_err(|source| CliError::File { doing: "replace", path: self.file.clone(), source })
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        // Where it was placed, nothing is there.
        drop(std::fs::remove_file(&self.new));
    }
}
