//! The service that is measured: made by what `oubliette init` does, run by `oubliette serve` in a process of its own, with
//! metrics on. It ends with the measurement, however that ends; no other process is ever ended.

use std::fs::{self, DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use zeroize::Zeroizing;

use super::memory::{Memory, processor_time};
use super::{BenchError, traffic};
use crate::api::v1;
use crate::cli::client::{Client, Connection};
use crate::cli::errors::CliError;
use crate::cli::init::{self, InitOptions};
use crate::cli::settings::{BearerToken, Settings};
use crate::cli::{files, serve};
use crate::config::CeilingsConfig;
use crate::domain::codec::hex;

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of the log is shown when the service failed.
const LOG_LINES: usize = 20;
const TENANT: &str = "bench";

/// A service that runs. Dropped, it is killed.
pub struct Service {
    // Dropped in this order: the process ends before its folder goes.
    child: Running,
    folder: Folder,
    endpoint: String,
    callers: Callers,
}

/// Bearer tokens, one for each kind of work.
struct Callers {
    ingest: Zeroizing<String>,
    privacy_officer: Zeroizing<String>,
}

/// Connected callers of each kind of work.
pub struct Clients {
    /// Store records; one for each connection.
    pub ingest: Vec<Client>,
    /// Read records and erase customers; one for each connection. Privacy officers see all that is stored, so what comes
    /// back can be compared with what was stored: a role that sees less gets text in which masking replaced something.
    pub privacy_officer: Vec<Client>,
}

impl Service {
    /// Makes a vault in `dir`, or in a folder that goes with the service, and serves it.
    pub async fn start(dir: Option<&Path>, memory_limit_mb: Option<u32>) -> Result<Self, CliError> {
        serve::keep_private();
        let folder = Folder::make(dir)?;
        let (address, metrics) = (free_address()?, free_address()?);
        let made = init::create(&InitOptions {
            dir: folder.path.join("vault"),
            root_key: Some(folder.path.join("root.key")),
            hsm: Default::default(),
            may_share_device: true,
            address,
            names: Vec::new(),
            token_file: None,
        })
        .await?;
        switch_metrics_on(&made.config_path, metrics)?;
        let mut child = Running(spawn(&folder, &made.config_path, memory_limit_mb)?);
        let endpoint = format!("https://{address}");
        let admin = first_contact(&mut child, &folder, &endpoint, &made.admin_token).await?;
        let callers = Callers::create(&admin).await?;
        Ok(Self { child, folder, endpoint, callers })
    }

    /// Opens connections for all callers.
    pub async fn clients(&self, connections: u16) -> Result<Clients, CliError> {
        let several = async |token: &str| {
            let mut clients = Vec::new();
            for _ in 0..connections {
                clients.push(connect(&self.folder, &self.endpoint, token).await?);
            }
            Ok::<_, CliError>(clients)
        };
        Ok(Clients {
            ingest: several(&self.callers.ingest).await?,
            privacy_officer: several(&self.callers.privacy_officer).await?,
        })
    }

    /// The folder of vault, root key and log.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// What it holds in memory.
    pub fn memory(&self) -> Option<Memory> {
        Memory::of(self.child.0.id())
    }

    /// The processor time that it has used.
    pub fn processor_time(&self) -> Option<Duration> {
        processor_time(self.child.0.id())
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> Result<(), CliError> {
        let stopping = |source| BenchError::SetUp { doing: "stop the process", source };
        kill_process(Pid::from_child(&self.child.0), Signal::TERM).map_err(|error| stopping(error.into()))?;
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(status) = self.child.0.try_wait().map_err(stopping)? {
                let failed = || self.folder.failed("stopped with an error");
                return if status.success() { Ok(()) } else { Err(failed().into()) };
            }
            tokio::time::sleep(POLL).await;
        }
        Err(self.folder.failed("did not stop").into())
    }
}

impl Callers {
    async fn create(admin: &Client) -> Result<Self, CliError> {
        let settings = v1::TenantSettings {
            purposes: vec![traffic::PURPOSE.to_owned()],
            rule_set: "gdpr".to_owned(),
            teams: vec![traffic::TEAM.to_owned()],
            ..v1::TenantSettings::default()
        };
        admin.create_tenant(v1::CreateTenantRequest { name: TENANT.to_owned(), settings: Some(settings) }).await?;
        let caller = async |name: &str, role: v1::Role| {
            let principal = v1::Principal {
                name: name.to_owned(),
                roles: vec![role.into()],
                teams: Vec::new(),
                ..Default::default()
            };
            let set = v1::SetPrincipalRequest { tenant: TENANT.to_owned(), principal: Some(principal) };
            admin.set_principal(set).await?;
            let (tenant, principal) = (TENANT.to_owned(), name.to_owned());
            let token = admin.create_token(v1::CreateTokenRequest { tenant, principal, expires_at: None }).await?;
            Ok::<_, CliError>(Zeroizing::new(token.bearer))
        };
        Ok(Self {
            ingest: caller("loader", v1::Role::Ingest).await?,
            privacy_officer: caller("privacy-officer", v1::Role::PrivacyOfficer).await?,
        })
    }
}

/// A child process that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of the measurement.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    fn make(dir: Option<&Path>) -> Result<Self, CliError> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir().join(format!("oubliette-bench-{}", hex(&files::random::<8>()?))),
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path, is_kept: dir.is_some() }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(BenchError::Exists(path).into()),
            Err(source) => Err(BenchError::SetUp { doing: "make the folder", source }.into()),
        }
    }

    fn log(&self) -> PathBuf {
        self.path.join("oubliette.log")
    }

    fn failed(&self, what: &'static str) -> BenchError {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(LOG_LINES);
        BenchError::Service { what, log: log.lines().skip(skipped).collect::<Vec<_>>().join("\n") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody is left to tell; it is in the folder for temporary things.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr, BenchError> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    bound.map_err(|source| BenchError::SetUp { doing: "find a free port", source })
}

/// What it costs to count belongs to what is measured.
fn switch_metrics_on(config: &Path, address: SocketAddr) -> Result<(), BenchError> {
    let failed = |source| BenchError::SetUp { doing: "write the configuration", source };
    let text = fs::read_to_string(config).map_err(failed)?;
    let on = text.replacen("#address = \"\"", &format!("address = \"{address}\""), 1);
    // What is measured is how fast erasures are, not how many a tenant may ask for.
    let on = on.replacen("#erasures_per_hour = 1000\n", "erasures_per_hour = 1000000\n", 1);
    // The same of reads: they are counted as always, and nobody comes to the end.
    let section = CeilingsConfig::default().template();
    let on = on.replacen(&section, &CeilingsConfig::out_of_reach().template(), 1);
    fs::write(config, on).map_err(failed)
}

fn spawn(folder: &Folder, config: &Path, memory_limit_mb: Option<u32>) -> Result<Child, BenchError> {
    let failed = |source| BenchError::SetUp { doing: "start the process", source };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = match memory_limit_mb {
        None => Command::new(program),
        // The shell sets its own limit and becomes the service, which keeps the limit and the process id.
        Some(limit_mb) => {
            let mut shell = Command::new("sh");
            let limited = format!("ulimit -d {} && exec \"$0\" \"$@\"", u64::from(limit_mb) * 1024);
            shell.arg("-c").arg(limited).arg(program);
            shell
        }
    };
    let log = File::create(folder.log()).map_err(failed)?;
    command.args(["serve", "--config"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().map_err(failed)
}

/// Waits until the service answers.
async fn first_contact(child: &mut Running, folder: &Folder, endpoint: &str, token: &str) -> Result<Client, CliError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match connect(folder, endpoint, token).await {
            Err(CliError::Connect { .. }) if Instant::now() < give_up => {}
            Err(CliError::Connect { .. }) => return Err(folder.failed("does not answer").into()),
            settled => return settled,
        }
        let ended = child.0.try_wait().map_err(|source| BenchError::SetUp { doing: "watch the process", source })?;
        if ended.is_some() {
            return Err(folder.failed("did not start").into());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn connect(folder: &Folder, endpoint: &str, token: &str) -> Result<Client, CliError> {
    let ca = fs::read(folder.path.join("vault/tls/ca.pem"));
    let settings = Settings {
        endpoint: endpoint.parse().expect("made of a socket address"),
        ca_pem: Some(ca.map_err(|source| BenchError::SetUp { doing: "read the CA's certificate", source })?),
        server_name: None,
        token: Some(BearerToken::parse(token)?),
        identity: None,
        call_timeout: CALL_TIMEOUT,
    };
    Connection::open(&settings).await
}
