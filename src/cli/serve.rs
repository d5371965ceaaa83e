//! `oubliette serve`: configuration, log, vault, server, drain, in this order. What cannot be served is refused before anything is
//! changed, with words that say what to do.

mod again;
mod chores;
mod follow;
mod issuers;
mod signals;

use follow::Followed;
pub use issuers::BadIssuer;
pub use signals::block as block_signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::errors::{CliError, chain};
use super::policy::{self, PolicyFileError};
use crate::access::Access;
use crate::access::jwt::Issuers;
use crate::api::server::{self, ServerSettings};
use crate::api::{listener::Listener, service};
use crate::config::{Config, Limits, MirrorDirectories, Provider};
use crate::telemetry::{self, metrics, metrics::Metrics};
use crate::tls::Following;
use crate::vault::{MirrorPlace, Pkcs11Place, RootKeyPlace, Sort, StartError, Vault, VaultLimits, VaultPaths};

const EXAMPLES: &str =
    "Takes changed mirrors, policy, certificates and revocation lists over from the configuration on SIGHUP.
Ends on SIGTERM or SIGINT: open calls may go on for limits.shutdown_grace_ms, then it exits with 0.

Examples:
  oubliette serve --config /var/lib/oubliette/oubliette.toml
  systemd-run --unit oubliette oubliette serve --config /var/lib/oubliette/oubliette.toml";

/// What to serve.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// The configuration, as `oubliette init` writes it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Of which vault.
#[derive(clap::Args)]
pub struct PlaceArgs {
    /// The configuration of the service
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print one JSON document, and errors as JSON on standard error
    #[arg(long)]
    pub json: bool,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum RefusedToServe {
    /// The vault cannot be opened.
    #[error("cannot serve {} with the root key {root_key}: {}", data.display(), chain(source))]
    Vault {
        /// The data directory.
        data: PathBuf,
        /// Where the root key is.
        root_key: String,
        /// Why not.
        source: Box<StartError>,
    },
    /// An issuer of the configuration cannot be used.
    #[error(transparent)]
    Issuer(#[from] BadIssuer),
    /// The policy cannot be used.
    #[error("policy.file: {0}")]
    Policy(#[from] PolicyFileError),
    /// The address for metrics cannot be had.
    #[error("cannot serve metrics on {address}: {source}; check metrics.address, and that nothing else listens there")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The operating system does not do what the service needs.
    #[error("cannot {doing}: {source}; check what the service's user may do")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

impl RefusedToServe {
    /// A vault that cannot be opened.
    pub(super) fn vault(paths: &VaultPaths, source: StartError) -> Self {
        Self::Vault { data: paths.data.clone(), root_key: paths.root_key.words(), source: Box::new(source) }
    }
}

/// A service that runs.
pub struct Served {
    /// Where it listens; the real port where the configuration says 0.
    pub address: SocketAddr,
    /// Ends when the service has drained and the vault is closed.
    pub done: JoinHandle<Result<Ended, CliError>>,
}

/// Why a service ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// The store takes no more writes: what stands on the disk must be read anew.
    StoreClosed,
}

/// Runs the command.
pub async fn run(args: ServeArgs) -> Result<(), CliError> {
    keep_private();
    let config = Config::load(&args.config)?;
    telemetry::init(&config.log)?;
    keep_memory_off_the_disk()?;
    let stop = CancellationToken::new();
    let listening = signals::Listener::start(stop.clone());
    let (listener, changes) =
        listening.map_err(|source| RefusedToServe::System { doing: "listen for signals", source })?;
    let hangups = Hangups { file: args.config, changes };
    let is_anew = again::is_anew();
    let ended = match start(config, Some(hangups), stop.clone().cancelled_owned()).await {
        // Nobody cancels the task, so without an outcome it has panicked, and so does this.
        Ok(served) => served.done.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))?,
        Err(error) if is_anew && again::is_of_the_disk(&error) => {
            tracing::error!(error = chain(&error), "it cannot be served yet; tried again in some seconds");
            Ended::StoreClosed
        }
        Err(error) => return Err(error),
    };
    if ended == Ended::Told {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(again::PAUSE) => {}
        () = stop.cancelled() => return Ok(()),
    }
    // From here on a signal waits for the program that takes the place of this one.
    listener.stop().await;
    if stop.is_cancelled() { Ok(()) } else { Err(again::begin()) }
}

/// Says that the configuration has changed.
pub struct Hangups {
    file: PathBuf,
    changes: mpsc::Receiver<()>,
}

/// Opens the vault and serves it until `shutdown`; then drains, and closes the vault. Sets up no log.
pub async fn start(
    config: Config,
    hangups: Option<Hangups>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, CliError> {
    let settings = ServerSettings::from_config(&config)?;
    let (policies, hash) = policy::load(config.policy.file.as_deref()).map_err(RefusedToServe::from)?;
    let access = Arc::new(Access::new(policies));
    let issuers = issuers::issuers(&config.identity).map_err(RefusedToServe::from)?;
    let vault = open_vault(&config).await?;
    let noted = vault.note_policy(hash, true).await;
    let doors = match noted {
        Ok(()) => Doors::open(&config).await,
        Err(error) => Err(RefusedToServe::vault(&vault_paths(&config), error.into()).into()),
    };
    match doors {
        Ok(doors) => {
            let address = doors.service.address();
            let metrics = doors.metrics.as_ref().and_then(|listener| listener.local_addr().ok());
            tracing::info!(%address, metrics = metrics.map(tracing::field::display), "listening");
            let done =
                tokio::spawn(serve(config.limits, settings, (access, issuers), vault, (doors, hangups), shutdown));
            Ok(Served { address, done })
        }
        Err(error) => {
            vault.close().await;
            Err(error)
        }
    }
}

/// The sockets.
struct Doors {
    service: Listener,
    metrics: Option<tokio::net::TcpListener>,
}

impl Doors {
    async fn open(config: &Config) -> Result<Self, CliError> {
        let service = server::bind(config.listen.address).await?;
        let metrics = match config.metrics.address {
            Some(address) => {
                let bound = tokio::net::TcpListener::bind(address).await;
                Some(bound.map_err(|source| RefusedToServe::Metrics { address, source })?)
            }
            None => None,
        };
        Ok(Self { service, metrics })
    }
}

async fn serve(
    limits: Limits,
    settings: ServerSettings,
    (access, issuers): (Arc<Access>, Issuers),
    vault: Arc<Vault>,
    (doors, hangups): (Doors, Option<Hangups>),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Ended, CliError> {
    let metrics = Arc::new(Metrics::default());
    if again::is_anew() {
        // Of the process that met it nobody can ask any more.
        metrics.alert("store_closed");
    }
    let ended = CancellationToken::new();
    let tls = settings.tls().cloned();
    let following = tls.clone().map(|tls| Arc::new(Following::new(tls, metrics.clone())));
    let followed = Followed { access: access.clone(), metrics: metrics.clone(), tls: following.clone() };
    let beside = [
        tokio::spawn(chores::reclaim(vault.clone(), ended.clone())),
        tokio::spawn(chores::forget_requests(vault.clone(), limits.request_id_retention_hours, ended.clone())),
        tokio::spawn(chores::renew_root_key(vault.clone(), ended.clone())),
        tokio::spawn(chores::compact(vault.clone(), limits.clone(), metrics.clone(), ended.clone())),
        tokio::spawn(chores::keep_pin(vault.clone(), ended.clone())),
        tokio::spawn(chores::publish_log(vault.clone(), ended.clone())),
        tokio::spawn(chores::check_log(vault.clone(), metrics.clone(), ended.clone())),
        tokio::spawn(chores::watch_vault(vault.clone(), metrics.clone(), ended.clone())),
        tokio::spawn(show_metrics(doors.metrics, metrics.clone(), ended.clone())),
        tokio::spawn(follow::follow_config(vault.clone(), followed, hangups, ended.clone())),
        tokio::spawn(follow::follow_tls(following, ended.clone())),
    ];
    let routes = service::routes(vault.clone(), (access, issuers, tls), &limits, metrics.clone(), ended.clone());
    let closed = again::closed(vault.clone(), ended.clone());
    let shutdown = async {
        tokio::select! {
            () = shutdown => tracing::info!("told to stop; open calls may end"),
            () = closed => {
                tracing::error!("the store takes no more writes, so nothing is read: the service begins anew");
            }
        }
    };
    let settings = settings.closing_after(vault.erasures());
    let served = server::run(settings, routes, doors.service, metrics.clone(), shutdown).await;
    ended.cancel();
    for task in beside {
        // What it had to say, it logged.
        let _ = task.await;
    }
    let takes_writes = vault.takes_writes();
    vault.close().await;
    tracing::info!("stopped");
    served?;
    Ok(if takes_writes { Ended::Told } else { Ended::StoreClosed })
}

async fn show_metrics(listener: Option<tokio::net::TcpListener>, metrics: Arc<Metrics>, ended: CancellationToken) {
    let Some(listener) = listener else { return };
    tokio::select! {
        done = metrics::serve(listener, metrics, std::future::pending()) => if let Err(error) = done {
            tracing::error!(%error, "metrics are served no more; restart the service");
        },
        // A scraper that keeps its connection open must not keep the service up.
        () = ended.cancelled() => {}
    }
}

pub(super) async fn open_vault(config: &Config) -> Result<Arc<Vault>, CliError> {
    let paths = vault_paths(config);
    let opened = Vault::open(paths.clone(), vault_limits(config)).await;
    Ok(opened.map_err(|source| RefusedToServe::vault(&paths, source))?)
}

pub(super) fn vault_paths(config: &Config) -> VaultPaths {
    let root_key = &config.root_key;
    VaultPaths {
        data: config.data.dir.clone(),
        root_key: match root_key.provider {
            Provider::File => RootKeyPlace::File {
                paths: std::iter::once(&root_key.path).chain(&root_key.replicas).cloned().collect(),
                may_share_device: root_key.may_share_device,
            },
            Provider::Pkcs11 => RootKeyPlace::Pkcs11(Pkcs11Place {
                module: root_key.module.clone(),
                token: root_key.token.clone(),
                pin_file: root_key.pin_file.clone(),
                label: root_key.label.clone(),
            }),
        },
        signing_key: config.signing.key.clone(),
        mirrors: mirrors(&config.mirrors),
    }
}

fn mirrors(MirrorDirectories { directories, keys_only }: &MirrorDirectories) -> Vec<MirrorPlace> {
    let place = |directory: &PathBuf, sort| MirrorPlace { directory: directory.clone(), sort };
    let whole = directories.iter().map(|directory| place(directory, Sort::Whole));
    whole.chain(keys_only.iter().map(|directory| place(directory, Sort::Keys))).collect()
}

pub(super) fn vault_limits(config: &Config) -> VaultLimits {
    let limits = &config.limits;
    VaultLimits {
        epoch_window: Duration::from_millis(config.root_key.epoch_window_ms()),
        inline_content_bytes: limits.inline_content_bytes,
        part_bytes: limits.part_bytes,
        recording_bytes: limits.recording_bytes,
        disk_reserve_bytes: limits.disk_reserve_bytes,
        database_cache_bytes: limits.database_cache_bytes,
        list_scan_rows: limits.list_scan_rows,
        erasures_per_hour: limits.erasures_per_hour,
        tenant_erasure_delay: Duration::from_secs(limits.tenant_erasure_delay_minutes * 60),
        ceilings: config.ceilings.ceilings(),
        ..VaultLimits::default()
    }
}

/// Whatever this process creates from now on is for its own user only.
pub(super) fn keep_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Keys stand in this process's memory: no core dump, no debugger of the same user, and no swap where the service may lock so much.
fn keep_memory_off_the_disk() -> Result<(), RefusedToServe> {
    let failed =
        |source: rustix::io::Errno| RefusedToServe::System { doing: "switch core dumps off", source: source.into() };
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(failed)?;
    // With a limit, and pages locked as they come, an allocation would fail as soon as the limit is met.
    if rustix::process::getrlimit(Resource::Memlock).current.is_none() && lock_memory().is_ok() {
        tracing::info!("memory is locked: no key reaches the swap");
    } else {
        tracing::warn!(
            "memory is not locked, so keys may reach the swap; let the service lock memory without a limit (LimitMEMLOCK=infinity), or run without swap or with an encrypted one"
        );
    }
    Ok(())
}

/// Locks what there is and what will come, each page once it is used.
#[cfg(target_os = "linux")]
fn lock_memory() -> rustix::io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

#[cfg(not(target_os = "linux"))]
fn lock_memory() -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}
