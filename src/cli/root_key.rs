//! `oubliette root-key`: the replicas of a root key in files. Changes need a vault that nobody serves at the moment.

use std::path::PathBuf;

use serde::Serialize;

use super::errors::CliError;
use super::output::{self, Output};
use super::serve::{self, PlaceArgs, RefusedToServe};
use crate::config::Config;
use crate::vault::{ReplicaStatus, Vault};

const STATUS_EXAMPLES: &str = "Example:
  oubliette root-key status --config /var/lib/oubliette/oubliette.toml";

const ADD_EXAMPLES: &str =
    "Stop the service before. Afterwards name the new file in root_key.replicas, and start the service.

Example:
  oubliette root-key add /mnt/key2/root.key --config /var/lib/oubliette/oubliette.toml";

const RETIRE_EXAMPLES: &str = "For a replica that is lost: until it is retired, no erasure is final. Stop the service before, and take the replica out of
root_key.path and root_key.replicas. Whoever finds it opens images of its time; unless --destroyed, every later receipt says so.

Examples:
  oubliette root-key retire 5f0c6e1a9b7d4c3e8a2f1b0d9c8e7f6a --config /var/lib/oubliette/oubliette.toml
  oubliette root-key retire 5f0c6e1a9b7d4c3e8a2f1b0d9c8e7f6a --destroyed --config /var/lib/oubliette/oubliette.toml";

/// What to do with the replicas of the root key.
#[derive(clap::Subcommand)]
pub enum RootKeyCommand {
    /// Show the replicas, and what is wrong with them
    #[command(after_help = STATUS_EXAMPLES)]
    Status(PlaceArgs),
    /// Make one more replica
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// The new file, on another device than the others
        path: PathBuf,
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Give up a replica that is not there any more
    #[command(after_help = RETIRE_EXAMPLES)]
    Retire {
        /// Its id, as status shows it
        id: String,
        /// Its medium was seen destroyed
        #[arg(long)]
        destroyed: bool,
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// The replicas.
#[derive(Serialize)]
struct ReplicasView {
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize)]
struct ReplicaView {
    id: String,
    path: String,
    problem: Option<String>,
}

impl ReplicasView {
    fn new(replicas: Vec<ReplicaStatus>) -> Self {
        let view =
            |one: ReplicaStatus| ReplicaView { id: one.id, path: one.path.display().to_string(), problem: one.problem };
        Self { replicas: replicas.into_iter().map(view).collect() }
    }

    fn text(&self) -> String {
        let row = |one: &ReplicaView| {
            let problem = one.problem.as_deref().unwrap_or("as it should be");
            output::row(&[(&one.id, 32), (&one.path, 0)]) + &format!("  {problem}\n")
        };
        self.replicas.iter().map(row).collect()
    }
}

impl RootKeyCommand {
    fn place(&self) -> &PlaceArgs {
        match self {
            Self::Status(place) | Self::Add { place, .. } | Self::Retire { place, .. } => place,
        }
    }

    /// Whether errors are to be told as JSON.
    pub fn wants_json(&self) -> bool {
        self.place().json
    }
}

/// Runs the command.
pub async fn run(command: RootKeyCommand) -> Result<(), CliError> {
    serve::keep_private();
    let config = Config::load(&command.place().config)?;
    let (paths, json) = (serve::vault_paths(&config), command.wants_json());
    let place = paths.root_key.clone();
    match command {
        RootKeyCommand::Status(_) => {}
        RootKeyCommand::Add { path, .. } => {
            let vault = serve::open_vault(&config).await?;
            let path = std::path::absolute(&path).map_err(|source| CliError::File { doing: "find", path, source })?;
            let added = vault.add_replica(place.clone(), path).await;
            vault.close().await;
            added?;
        }
        RootKeyCommand::Retire { id, destroyed, .. } => {
            let vault = serve::open_vault(&config).await?;
            let retired = vault.retire_replica(place.clone(), id, destroyed).await;
            vault.close().await;
            retired?;
        }
    }
    let replicas = Vault::replicas(place).await.map_err(|source| RefusedToServe::vault(&paths, source))?;
    Output::stdout(json).result(&ReplicasView::new(replicas), ReplicasView::text)
}
