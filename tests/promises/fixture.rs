//! A real service in a folder of its own: made by `oubliette init`, run by `oubliette serve`, reached over TLS by the real client.
//!
//! It lies about nothing: the binary is the one that is shipped, the process can be killed like any other, and the folder is the
//! one an operator would have. Only children that it started itself are ever ended.
#![allow(dead_code, reason = "each promise uses another part of it")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use oubliette::api::v1;
use oubliette::cli::client::{Client, Connection};
use oubliette::cli::settings::{BearerToken, Settings};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::hsm::Hsm;

/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How often another port is tried when somebody else was faster.
const PORTS_TRIED: usize = 5;

/// The purposes of a tenant that [`Server::tenant_with_people`] makes.
pub const PURPOSES: [&str; 2] = ["support", "quality"];
/// Its teams.
pub const TEAMS: [&str; 2] = ["first-line", "billing"];
/// The name of its agent.
pub const AGENT: &str = "ana";

/// A running service. It is killed when dropped.
pub struct Server {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// The configuration of SoftHSM2, where the root key is in it.
    hsm: Option<PathBuf>,
    /// Whether a write behind the longest file is an error to it, and not its end.
    survives_limits: bool,
    /// Whether this process may read the service's memory although it is not dumpable.
    shows_memory: bool,
}

/// A tenant and one bearer token for each who may do something in it.
pub struct People {
    /// The tenant's name.
    pub tenant: String,
    /// Stores records.
    pub ingest: String,
    /// The agent [`AGENT`] of the team `first-line`.
    pub agent: String,
    /// Reads all records of the tenant.
    pub supervisor: String,
    /// Carries out customers' rights.
    pub privacy_officer: String,
}

impl Server {
    /// Makes a vault and serves it, as it comes out of `init`, with the log in [`Server::log_file`].
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with settings changed: `("limits.connections", "8")`, `("log.level", "\"trace\"")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::make(settings);
        server.restart().await;
        server
    }

    /// Makes a vault that nothing serves yet.
    pub fn make(settings: &[(&str, &str)]) -> Self {
        Self::make_with(None, settings)
    }

    /// The same, with the root key in a security module.
    pub fn make_on(hsm: &Hsm) -> Self {
        Self::make_with(Some(hsm), &[])
    }

    fn make_with(hsm: Option<&Hsm>, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("key")).unwrap();
        let server = Self {
            folder,
            port: free_port(),
            child: None,
            hsm: hsm.map(Hsm::conf),
            survives_limits: false,
            shows_memory: false,
        };
        let mut init = server.command_of(&["init", "--address", &format!("127.0.0.1:{}", server.port)]);
        match hsm {
            Some(hsm) => init.args(hsm.flags()),
            None => init.arg("--may-share-device").arg("--root-key").arg(server.root_key()),
        };
        let made = init.arg("--dir").arg(server.dir()).arg("--token-file").arg(server.admin_token_file()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "init: {}", words(&made));
        server.set("log.file", &format!("{:?}", server.log_file()));
        // Tests read faster than people do; those that are about ceilings set them.
        for role in ["agent", "supervisor", "privacy_officer"] {
            for ceiling in ["reads_per_minute", "reads_per_day", "customers_per_day", "erasures_per_day"] {
                server.set(&format!("ceilings.{role}.{ceiling}"), "4000000000");
            }
        }
        settings.iter().for_each(|(key, value)| server.set(key, value));
        server
    }

    /// From the next start on, whatever its files may not become longer than is an error to it, and not its end.
    pub fn survive_limits(&mut self) {
        self.survives_limits = true;
    }

    /// From the next start on, this process may read the service's memory, where the system has a way to allow that.
    ///
    /// The service is not dumpable, so only a process with `CAP_SYS_PTRACE` over it may: root, or the owner of the user
    /// namespace in which the service started.
    pub fn show_memory(&mut self) {
        self.shows_memory = !rustix::process::geteuid().is_root();
    }

    /// How long a file of the service may become from now on.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit).unwrap();
    }

    /// A command of the binary that finds the root key where this service has it.
    fn command_of(&self, args: &[&str]) -> Command {
        let mut command = oubliette(args);
        command.envs(self.hsm.iter().map(|conf| ("SOFTHSM2_CONF", conf)));
        command
    }

    /// `oubliette serve` for this service.
    pub fn serve_command(&self) -> Command {
        let mut command = self.command_of(&["serve", "--config"]);
        command.arg(self.config());
        command
    }

    /// The folder that `init` made.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    /// All that the service stores, and nothing else.
    pub fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// The root key's file.
    pub fn root_key(&self) -> PathBuf {
        self.folder.path().join("key/root.key")
    }

    /// The signing key's file.
    pub fn signing_key(&self) -> PathBuf {
        self.dir().join("signing.key")
    }

    /// The log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("oubliette.log")
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.dir().join("oubliette.toml")
    }

    /// The client profile that `init` wrote.
    pub fn profile(&self) -> PathBuf {
        self.dir().join("profile.toml")
    }

    /// The file of the admin's token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.folder.path().join("admin.token")
    }

    /// The admin's token.
    pub fn admin_token(&self) -> String {
        fs::read_to_string(self.admin_token_file()).unwrap()
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The process's id while it runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the service runs").id()
    }

    /// Changes a setting of the configuration; works from the next start on. The value is written as TOML.
    pub fn set(&self, setting: &str, value: &str) {
        let (section, key) = setting.rsplit_once('.').unwrap();
        let is_this = |line: &str| line.trim_start_matches('#').split_once(" = ").is_some_and(|(name, _)| name == key);
        let (mut inside, mut found) = (false, false);
        let text = fs::read_to_string(self.config()).unwrap();
        let mut changed = String::new();
        for line in text.lines() {
            inside = if line.starts_with('[') { line == format!("[{section}]") } else { inside };
            let is_it = inside && is_this(line);
            changed.push_str(&if is_it { format!("{key} = {value}\n") } else { format!("{line}\n") });
            found |= is_it;
        }
        assert!(found, "no setting {setting}");
        fs::write(self.config(), changed).unwrap();
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill9`], and waits until it listens. Clients connect anew.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "the service runs already");
        for _ in 0..PORTS_TRIED {
            match self.try_start().await {
                Ok(()) => return,
                Err(words) if words.contains("cannot listen on") => self.take_another_port(),
                Err(words) => panic!("serve: {words}"),
            }
        }
        panic!("somebody else was faster at {PORTS_TRIED} ports");
    }

    /// Ends it by SIGKILL, in the middle of whatever it does.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the service runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop by SIGTERM, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Tells it by SIGHUP that its configuration has changed.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(status) = self.child.as_mut().expect("the service runs").try_wait().unwrap() {
                self.child = None;
                return status;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("the service did not stop; its log ends:\n{}", end_of(&self.log_file()));
    }

    /// Waits until its log has these words, from this start or one before.
    pub async fn log_says(&self, words: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !fs::read_to_string(self.log_file()).unwrap().contains(words) {
            assert!(Instant::now() < give_up, "no `{words}`; its log ends:\n{}", end_of(&self.log_file()));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, signal).unwrap();
    }

    /// A connected client with this bearer token.
    pub async fn client(&self, token: &str) -> Client {
        let settings = Settings {
            endpoint: self.endpoint().parse().unwrap(),
            ca_pem: Some(fs::read(self.dir().join("tls/ca.pem")).unwrap()),
            server_name: None,
            token: Some(BearerToken::parse(token).unwrap()),
            identity: None,
            call_timeout: PATIENCE,
        };
        Connection::open(&settings).await.unwrap()
    }

    /// A connected client of the first admin.
    pub async fn admin_client(&self) -> Client {
        self.client(&self.admin_token()).await
    }

    /// A client command of the binary, set up for this service, as the holder of `token`.
    pub fn command(&self, token: &str, args: &[&str]) -> Command {
        let mut command = oubliette(args);
        command.env("OUBLIETTE_PROFILE", self.profile()).env("OUBLIETTE_TOKEN", token);
        command
    }

    /// Creates a tenant with [`PURPOSES`] and [`TEAMS`], and in it one principal of each kind that works with records.
    pub async fn tenant_with_people(&self, tenant: &str) -> People {
        let admin = self.admin_client().await;
        let owned = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let settings = v1::TenantSettings {
            purposes: owned(PURPOSES),
            retention_default_days: 0,
            rule_set: "gdpr".to_owned(),
            teams: owned(TEAMS),
            quotas: None,
        };
        let create = v1::CreateTenantRequest { name: tenant.to_owned(), settings: Some(settings) };
        admin.create_tenant(create).await.unwrap();
        let person = async |name, role, teams| token_for(&admin, tenant, name, role, teams).await;
        People {
            tenant: tenant.to_owned(),
            ingest: person("loader", v1::Role::Ingest, &[]).await,
            agent: person(AGENT, v1::Role::Agent, &TEAMS[..1]).await,
            supervisor: person("sam", v1::Role::Supervisor, &[]).await,
            privacy_officer: person("petra", v1::Role::PrivacyOfficer, &[]).await,
        }
    }

    /// Starts it once; where it does not come up, what it said.
    pub async fn try_start(&mut self) -> Result<(), String> {
        let seen_before = fs::metadata(self.log_file()).map_or(0, |about| about.len());
        let stderr = self.folder.path().join("stderr");
        let mut command = self.serve_command();
        if self.shows_memory {
            let plain = std::mem::replace(&mut command, Command::new("unshare"));
            command.args(["--user", "--map-root-user"]).arg(plain.get_program()).args(plain.get_args());
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        if self.survives_limits {
            // What a shell ignores stays ignored in what takes its place.
            let plain = std::mem::replace(&mut command, Command::new("sh"));
            command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        let mut child = command.stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if child.try_wait().unwrap().is_some() {
                return Err(fs::read_to_string(stderr).unwrap());
            }
            let log = fs::read(self.log_file()).unwrap_or_default();
            let new = log.get(usize::try_from(seen_before).unwrap()..).unwrap_or_default();
            if String::from_utf8_lossy(new).contains("listening") {
                self.child = Some(child);
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        Err(format!("it does not listen; its log ends:\n{}", end_of(&self.log_file())))
    }

    fn take_another_port(&mut self) {
        self.port = free_port();
        self.set("listen.address", &format!("\"127.0.0.1:{}\"", self.port));
        let profile = fs::read_to_string(self.profile()).unwrap();
        let endpoint = format!("endpoint = \"{}\"", self.endpoint());
        let lines = profile.lines().map(|line| if line.starts_with("endpoint = ") { &endpoint } else { line });
        fs::write(self.profile(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Creates a principal and a bearer token for it.
pub async fn token_for(admin: &Client, tenant: &str, name: &str, role: v1::Role, teams: &[&str]) -> String {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    let principal = v1::Principal { name: name.to_owned(), roles: vec![role.into()], teams, ..Default::default() };
    let set = v1::SetPrincipalRequest { tenant: tenant.to_owned(), principal: Some(principal) };
    admin.set_principal(set).await.unwrap();
    let create = v1::CreateTokenRequest { tenant: tenant.to_owned(), principal: name.to_owned(), expires_at: None };
    admin.create_token(create).await.unwrap().bearer
}

/// The binary, with nothing of the surroundings' settings.
pub fn oubliette(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["PROFILE", "ENDPOINT", "CA", "TOKEN", "TOKEN_FILE"] {
        command.env_remove(format!("OUBLIETTE_{name}"));
    }
    command
}

/// What a command said on standard error.
pub fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// What the service shows of itself at its address for metrics.
pub fn metrics_at(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let from = text.lines().count().saturating_sub(20);
    text.lines().skip(from).collect::<Vec<_>>().join("\n")
}
