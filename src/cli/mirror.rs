//! `oubliette mirror`: where the data is mirrored to, and how far the mirrors are. Changes are made in the configuration, which a service that
//! runs takes over on SIGHUP.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::errors::CliError;
use super::output::{self, Output};
use super::serve::{self, PlaceArgs};
use crate::config::Config;
use crate::vault::{MirrorPlace, Sort, VaultError, create_mirror, mirror_content};

const ADD_EXAMPLES: &str = "Tell the service afterwards (SIGHUP): it makes the first copy while it serves.

Examples:
  oubliette mirror add /mnt/b/oubliette --config /var/lib/oubliette/oubliette.toml
  oubliette mirror add /mnt/c/oubliette-keys --keys-only --config /var/lib/oubliette/oubliette.toml";

const STATUS_EXAMPLES: &str = "Example:
  oubliette mirror status --config /var/lib/oubliette/oubliette.toml";

const REMOVE_EXAMPLES: &str =
    "Tell the service afterwards (SIGHUP). What stands in the directory stays: after the next erasure it opens nothing.

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
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

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
    problem: Option<String>,
}

impl MirrorView {
    fn new(place: MirrorPlace) -> Self {
        let found = mirror_content(&place.directory);
        let content = found.as_ref().ok().and_then(|content| *content);
        let (groups, bytes) = content.map(|content| (content.groups, content.bytes)).unzip();
        let problem = match found {
            Err(error) => Some(error.to_string()),
            Ok(None) => Some("no whole copy yet".to_owned()),
            Ok(Some(_)) => None,
        };
        let directory = place.directory.display().to_string();
        Self { directory, keys_only: place.sort == Sort::Keys, groups, bytes, problem }
    }
}

impl MirrorsView {
    fn text(&self) -> String {
        let row = |one: &MirrorView| {
            let what = if one.keys_only { "keys only" } else { "everything" };
            let state = match (&one.problem, one.groups, one.bytes) {
                (Some(problem), ..) => problem.clone(),
                (None, groups, bytes) => {
                    format!("{} groups, {} bytes", groups.unwrap_or_default(), bytes.unwrap_or_default())
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
            let new = Change::new(&file, |mirrors| array(mirrors, list).map(|array| array.push(name)))?;
            let made = tokio::task::spawn_blocking(move || create_mirror(&directory)).await;
            made.map_err(|_| CliError::Interrupted)?.map_err(VaultError::from)?;
            new.place()?;
        }
        MirrorCommand::Remove { directory, .. } => {
            let directory = absolute(&directory)?;
            if !serve::vault_paths(&before).mirrors.iter().any(|mirror| mirror.directory == directory) {
                return Err(CliError::NoSuchMirror { directory });
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
        let placed = synced.and_then(|()| std::fs::rename(&self.new, &self.file));
        placed.map_err(|source| CliError::File { doing: "replace", path: self.file.clone(), source })
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        // Where it was placed, nothing is there.
        drop(std::fs::remove_file(&self.new));
    }
}
