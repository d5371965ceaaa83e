//! The demo's own folder, and the server in it: made like any other by `init`, run like any other by `serve`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::error::DemoError;
use super::people::{AGENT, PURPOSE};
use crate::cli::client::{Client, Connection};
use crate::cli::errors::CliError;
use crate::cli::files;
use crate::cli::init::{self, InitOptions};
use crate::cli::serve::{self, Served};
use crate::cli::settings::{BearerToken, ConnectionArgs, Settings};
use crate::config::{CeilingsConfig, Config, Log};
use crate::domain::codec::hex;
use crate::telemetry;

/// The demo's folder; the server once it runs.
pub(super) struct House {
    folder: Folder,
    running: Option<Running>,
}

/// A server that runs.
pub(super) struct Running {
    /// What it serves.
    pub config: Config,
    /// Where it listens.
    pub address: SocketAddr,
    profile: PathBuf,
    admin_token: PathBuf,
    stop: CancellationToken,
    served: Served,
}

impl House {
    /// Takes the folder: an empty or absent one, or a fresh temporary one. It is removed at the end unless `keep`.
    pub fn found(dir: Option<&Path>, keep: bool) -> Result<Self, CliError> {
        serve::keep_private();
        let folder = match dir {
            Some(dir) => Folder::take(dir, keep)?,
            None => {
                let name = format!("oubliette-demo-{}", hex(&files::random::<8>()?));
                Folder::take(&std::env::temp_dir().join(name), keep)?
            }
        };
        Ok(Self { folder, running: None })
    }

    /// Makes the vault and starts the server.
    pub async fn open(&mut self) -> Result<&Running, CliError> {
        let dir = &self.folder.path;
        let admin_token = dir.join("admin.token");
        let options = InitOptions {
            dir: dir.join("vault"),
            root_key: Some(dir.join("root.key")),
            hsm: Default::default(),
            may_share_device: true,
            address: free_address().map_err(DemoError::io("find a free port for the server of", dir))?,
            names: Vec::new(),
            token_file: Some(admin_token.clone()),
        };
        let made = init::create(&options).await?;
        let mut config = Config::load(&made.config_path)?;
        config.log = Log { file: Some(dir.join("service.log")), ..Log::default() };
        // A corpus has thousands of chats, and all are read back within seconds. Reads are counted as always.
        config.ceilings = CeilingsConfig::out_of_reach();
        telemetry::init(&config.log)?;
        let stop = CancellationToken::new();
        let served = serve::start(config.clone(), None, stop.clone().cancelled_owned()).await?;
        let (address, profile) = (served.address, made.profile_path);
        Ok(self.running.insert(Running { config, address, profile, admin_token, stop, served }))
    }

    /// The server.
    pub fn running(&self) -> Result<&Running, DemoError> {
        self.running.as_ref().ok_or(DemoError::BrokeDown)
    }

    /// A folder or file of the demo's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// How someone else can use the server that is left running.
    pub fn how_to_connect(&self) -> String {
        let Some(running) = &self.running else { return String::new() };
        let (profile, token) = (running.profile.display(), self.path(&format!("{AGENT}.token")));
        format!(
            "\nThe server runs on https://{} until Ctrl-C; everything of it stays in {}. From another terminal:\n  \
             export OUBLIETTE_PROFILE='{profile}' OUBLIETTE_TOKEN_FILE='{}'\n  \
             oubliette record list --purpose {PURPOSE}\nThe tokens of the others lie beside it.\n",
            running.address,
            self.folder.path.display(),
            token.display(),
        )
    }

    /// Stops the server as an operator would; returns when it has drained.
    pub async fn close(self) -> Result<(), CliError> {
        let Some(running) = self.running else { return Ok(()) };
        running.stop.cancel();
        running.served.done.await.unwrap_or(Err(DemoError::BrokeDown.into())).map(drop)
    }
}

impl Running {
    /// A connection of the admin that `init` made.
    pub async fn admin(&self) -> Result<Client, CliError> {
        Connection::open(&self.settings()?).await
    }

    /// A connection of whoever has this token.
    pub async fn connect(&self, token: &str) -> Result<Client, CliError> {
        Connection::open(&Settings { token: Some(BearerToken::parse(token)?), ..self.settings()? }).await
    }

    /// How to reach the server, by the profile that `init` wrote.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let (profile, token_file) = (Some(self.profile.clone()), Some(self.admin_token.clone()));
        // A time-out in whole seconds must be given, so all is said; the environment of the caller plays no part.
        let args = ConnectionArgs { profile, token_file, timeout: CALL_TIMEOUT_S, ..ConnectionArgs::default() };
        Ok(Settings::from_sources(&args, |_| None)?)
    }
}

/// How long an answer may take.
const CALL_TIMEOUT_S: u64 = 60;

/// A port that was free a moment ago. Found here, so that the profile that `init` writes names it.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The demo's folder. Unless kept, it is emptied when dropped, and removed if it was not there before.
struct Folder {
    path: PathBuf,
    was_there: bool,
    keep: bool,
}

impl Folder {
    fn take(path: &Path, keep: bool) -> Result<Self, DemoError> {
        let path = std::path::absolute(path).map_err(DemoError::io("find", path))?;
        let was_there = path.exists();
        if was_there && std::fs::read_dir(&path).map_err(DemoError::io("read", &path))?.next().is_some() {
            return Err(DemoError::NotEmpty(path));
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(DemoError::io("make", &path))?;
        Ok(Self { path, was_there, keep })
    }

    fn remove(&self) -> std::io::Result<()> {
        if !self.was_there {
            return std::fs::remove_dir_all(&self.path);
        }
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_folder = entry.file_type()?.is_dir();
            if is_folder { std::fs::remove_dir_all(entry.path())? } else { std::fs::remove_file(entry.path())? }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody is left to tell; the folder's name says what it is.
            let _ = self.remove();
        }
    }
}
