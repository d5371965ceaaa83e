//! `oubliette init`: makes all that a new vault needs. It never touches what exists: everything is looked at before the first
//! byte is written, and every file is created anew or not at all.

mod certificates;

use std::collections::{BTreeSet, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use self::certificates::Certificates;
use super::errors::{CliError, chain};
use super::output::Output;
use super::{files, time};
use crate::access::identity::BearerToken;
use crate::config::{Config, TemplateValues};
use crate::crypto::hash::sha256;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{PrincipalName, TokenId};
use crate::domain::principal::{PrincipalEntry, Role};
use crate::vault::{NewToken, StartError, Vault, VaultError, VaultLimits, VaultPaths};

const EXAMPLES: &str =
    "Nothing that exists is touched. The root key belongs on another device than the data, and never into its backups.

Examples:
  oubliette init --dir /var/lib/oubliette --root-key /mnt/key/oubliette.root
  oubliette init --dir vault --root-key ../vault.root --address 0.0.0.0:7743 --name vault.example
  oubliette init --dir vault --root-key ../vault.root --token-file ../admin.token --json";

/// The name of the first principal.
const ADMIN: &str = "admin";
/// For how long the first admin's token is good. It makes the others, so it outlives them.
const ADMIN_TOKEN_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// What to make.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    #[command(flatten)]
    options: InitOptions,
    /// Print one JSON document, and errors as JSON on standard error
    #[arg(long)]
    pub(super) json: bool,
}

/// Where to make what.
#[derive(clap::Args)]
pub struct InitOptions {
    /// The folder for configuration, certificates and data; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The root key's file, outside of the data, best on another device
    #[arg(long, value_name = "FILE")]
    pub root_key: PathBuf,
    /// Where the service will listen
    #[arg(long, default_value = "127.0.0.1:7743")]
    pub address: SocketAddr,
    /// A name or address by which clients reach it, besides localhost; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Write the admin's token to this new file, readable by its owner only, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What was made.
pub struct Initialised {
    /// The configuration of the service.
    pub config_path: PathBuf,
    /// A profile for clients.
    pub profile_path: PathBuf,
    /// The certificate of the private CA, for clients.
    pub ca_path: PathBuf,
    /// The token of the first admin.
    pub admin_token: Zeroizing<String>,
    /// From when on that token is worth nothing.
    pub token_expires: Timestamp,
    /// Whether the root key stands on the same device as the data.
    pub shares_device: bool,
}

/// Why nothing, or not all, was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something stands where something would be written.
    #[error("nothing was written, as there is already {}; choose other paths, or move these away", listed(.0))]
    Exists(Vec<PathBuf>),
    /// Two things would be written to one path.
    #[error("nothing was written: {} is named for two things; choose different paths", .0.display())]
    Twice(PathBuf),
    /// The root key would stand in the data directory.
    #[error(
        "nothing was written: the root key {} would lie in the data directory {}, and whoever gets the disk would get the key; put it elsewhere, best on another device",
        root_key.display(), data.display()
    )]
    RootKeyInside {
        /// The root key's path.
        root_key: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// A file would stand in a folder that is not there.
    #[error("nothing was written: {} cannot be made, as its folder is not there; make the folder first", .0.display())]
    NoFolder(PathBuf),
    /// The configuration cannot hold the path.
    #[error("nothing was written: the path {} is not UTF-8; choose another", .0.display())]
    NotUtf8(PathBuf),
    /// A name cannot stand in a certificate.
    #[error("nothing was written: {0:?} is no host name or address; check the values of --name")]
    Name(String),
    /// The certificates cannot be made.
    #[error("nothing was written: the certificates cannot be made: {0}")]
    Certificates(#[source] rcgen::Error),
    /// A file or folder cannot be made.
    #[error("cannot make {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The vault cannot be made.
    #[error("cannot make the vault: {}", chain(.0))]
    Vault(#[source] StartError),
    /// The first admin cannot be made.
    #[error("cannot make the first admin: {}", chain(.0))]
    Admin(#[source] VaultError),
    /// It failed half-way.
    #[error("{source}; {}", left_behind(written))]
    HalfWay {
        /// What was written.
        written: Vec<PathBuf>,
        /// Why the rest was not.
        source: Box<InitError>,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn left_behind(written: &[PathBuf]) -> String {
    match written {
        [] => "nothing was written".to_owned(),
        written => format!("written until then: {}; remove that, and run it again", listed(written)),
    }
}

/// Runs the command.
pub async fn run(args: InitArgs) -> Result<(), CliError> {
    super::serve::keep_private();
    let made = create(&args.options).await?;
    Output::stdout(args.json).result(&InitView::new(&args.options, &made), InitView::text)
}

/// Makes the folder, the configuration, the certificates, the root key, the vault and its first admin.
pub async fn create(options: &InitOptions) -> Result<Initialised, CliError> {
    let plan = Plan::new(options)?;
    plan.refuse_what_cannot_be()?;
    if let Some(name) = options.names.iter().find(|name| !is_host(name)) {
        return Err(InitError::Name(name.clone()).into());
    }
    let certificates = certificates::make(&options.names, options.address.ip()).map_err(InitError::Certificates)?;
    let admin_token = BearerToken::mint(TokenId(files::random()?), files::random()?);
    let token_expires = Timestamp::now().plus_ms(ADMIN_TOKEN_MS);
    let text = admin_token.reveal();
    let made = async {
        plan.write_files(options, &certificates)?;
        plan.make_vault(&admin_token, token_expires).await?;
        plan.token_file.as_deref().map_or(Ok(()), |path| write_new(path, text.as_bytes()))?;
        plan.sync_folders()
    };
    made.await.map_err(|source| InitError::HalfWay { written: plan.present(), source: Box::new(source) })?;
    Ok(Initialised {
        shares_device: plan.shares_device(),
        config_path: plan.config,
        profile_path: plan.profile,
        ca_path: plan.ca,
        admin_token: text,
        token_expires,
    })
}

/// Which path is for what; all absolute.
struct Plan {
    dir: PathBuf,
    config: PathBuf,
    profile: PathBuf,
    tls: PathBuf,
    ca: PathBuf,
    ca_key: PathBuf,
    server: PathBuf,
    server_key: PathBuf,
    data: PathBuf,
    root_key: PathBuf,
    token_file: Option<PathBuf>,
}

impl Plan {
    fn new(options: &InitOptions) -> Result<Self, InitError> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|source| InitError::File { path: path.to_owned(), source });
        let dir = absolute(&options.dir)?;
        let tls = dir.join("tls");
        Ok(Self {
            config: dir.join("oubliette.toml"),
            profile: dir.join("profile.toml"),
            ca: tls.join("ca.pem"),
            ca_key: tls.join("ca.key"),
            server: tls.join("server.pem"),
            server_key: tls.join("server.key"),
            data: dir.join("data"),
            root_key: absolute(&options.root_key)?,
            token_file: options.token_file.as_deref().map(absolute).transpose()?,
            tls,
            dir,
        })
    }

    /// Looks at every path before anything is written.
    fn refuse_what_cannot_be(&self) -> Result<(), InitError> {
        let outside = [Some(&self.root_key), self.token_file.as_ref()].into_iter().flatten();
        let mut wanted = HashSet::from([&self.config, &self.profile, &self.tls, &self.data]);
        if let Some(path) = outside.clone().find(|path| !wanted.insert(path)) {
            return Err(InitError::Twice(path.clone()));
        }
        let present = self.present();
        if !present.is_empty() {
            return Err(InitError::Exists(present));
        }
        if self.root_key.starts_with(&self.data) {
            return Err(InitError::RootKeyInside { root_key: self.root_key.clone(), data: self.data.clone() });
        }
        for path in outside {
            if path.to_str().is_none() {
                return Err(InitError::NotUtf8(path.clone()));
            }
            let folder = path.parent().unwrap_or(Path::new("/"));
            if !folder.is_dir() && folder != self.dir {
                return Err(InitError::NoFolder(path.clone()));
            }
        }
        Ok(())
    }

    /// What stands now of all that is to be written; also where it is a link to nothing.
    fn present(&self) -> Vec<PathBuf> {
        let all = [&self.config, &self.profile, &self.tls, &self.data, &self.root_key];
        let all = all.into_iter().chain(&self.token_file);
        all.filter(|path| path.symlink_metadata().is_ok()).cloned().collect()
    }

    fn write_files(&self, options: &InitOptions, certificates: &Certificates) -> Result<(), InitError> {
        make_folder(&self.dir)?;
        make_folder(&self.tls)?;
        write_new(&self.ca, certificates.ca.as_bytes())?;
        write_new(&self.ca_key, certificates.ca_key.as_bytes())?;
        write_new(&self.server, certificates.server.as_bytes())?;
        write_new(&self.server_key, certificates.server_key.as_bytes())?;
        let config = Config::template(&TemplateValues {
            data_dir: Path::new("data"),
            root_key: &self.root_key,
            address: options.address,
            certificate: Path::new("tls/server.pem"),
            key: Path::new("tls/server.key"),
        });
        write_new(&self.config, config.as_bytes())?;
        write_new(&self.profile, self.client_profile(options).as_bytes())
    }

    fn client_profile(&self, options: &InitOptions) -> String {
        // A JSON string is a basic string of TOML as well.
        let quoted = |text: String| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "# How clients reach the vault. Relative paths start at the folder of this file.\nendpoint = {}\n\
             ca = \"tls/ca.pem\"\n",
            quoted(endpoint(options))
        );
        match &self.token_file {
            Some(path) => text.push_str(&format!("token_file = {}\n", quoted(path.display().to_string()))),
            None => {
                text.push_str("# The file of a bearer token; OUBLIETTE_TOKEN comes before it.\n#token_file = \"\"\n")
            }
        }
        text
    }

    async fn make_vault(&self, token: &BearerToken, expires: Timestamp) -> Result<(), InitError> {
        let paths = VaultPaths { data: self.data.clone(), root_key: self.root_key.clone() };
        let vault = Vault::create(paths, VaultLimits::default()).await.map_err(InitError::Vault)?;
        let name = PrincipalName::parse(ADMIN).expect("the name is constant and well formed");
        let secret_hash = sha256(token.secret());
        let new = NewToken { id: token.id(), secret_hash, principal: name.clone(), expires };
        let admin = PrincipalEntry { name, roles: BTreeSet::from([Role::Admin]), teams: BTreeSet::new() };
        let made = vault.first_admin(admin, new).await.map_err(InitError::Admin);
        vault.close().await;
        made
    }

    fn sync_folders(&self) -> Result<(), InitError> {
        let outside = [Some(&self.root_key), self.token_file.as_ref()].into_iter().flatten();
        let folders =
            [&*self.tls, &*self.dir].into_iter().chain(self.dir.parent()).chain(outside.flat_map(|p| p.parent()));
        for path in folders {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            match synced {
                // A folder that this user may not read was not made here.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced.map_err(|source| InitError::File { path: path.to_owned(), source })?,
            }
        }
        Ok(())
    }

    fn shares_device(&self) -> bool {
        let device = |path: &Path| path.metadata().ok().map(|about| about.dev());
        device(&self.root_key) == device(&self.data)
    }
}

/// Where clients find the service: on loopback by its address, as `localhost` may be another; otherwise by the first name.
fn endpoint(options: &InitOptions) -> String {
    let (ip, port) = (options.address.ip(), options.address.port());
    let host = match options.names.first() {
        Some(name) if !ip.is_loopback() => name.clone(),
        _ if ip.is_unspecified() => "localhost".to_owned(),
        _ => ip.to_string(),
    };
    if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
}

fn is_host(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    name.parse::<IpAddr>().is_ok() || (name.len() <= MAX_HOST_BYTES && name.split('.').all(is_label))
}

fn make_folder(path: &Path) -> Result<(), InitError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| InitError::File { path: path.to_owned(), source })
}

/// Writes a file that must not exist, readable by its owner only.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), InitError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| InitError::File { path: path.to_owned(), source })
}

/// What was made, for whoever ran the command.
#[derive(Serialize)]
struct InitView<'a> {
    config: String,
    profile: String,
    ca: String,
    ca_key: String,
    root_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<String>,
    token_expires: String,
    warnings: Vec<&'static str>,
    next: Vec<String>,
}

const SAME_DEVICE: &str = "the root key is on the same device as the data: whoever gets that disk, or a whole image of it, gets both. \
                           Move it to another device, and set root_key.path in the configuration";

impl<'a> InitView<'a> {
    fn new(options: &InitOptions, made: &'a Initialised) -> Self {
        let text = |path: &Path| path.display().to_string();
        let mut next = vec![format!("oubliette serve --config {}", quoted(&made.config_path))];
        if options.token_file.is_none() {
            next.push("read -rs OUBLIETTE_TOKEN && export OUBLIETTE_TOKEN   # paste the token".to_owned());
        }
        next.push(format!("oubliette tenant create acme --purpose support --profile {}", quoted(&made.profile_path)));
        Self {
            config: text(&made.config_path),
            profile: text(&made.profile_path),
            ca: text(&made.ca_path),
            ca_key: text(&made.ca_path.with_extension("key")),
            root_key: text(&options.root_key),
            token: options.token_file.is_none().then_some(made.admin_token.as_str()),
            token_file: options.token_file.as_deref().map(text),
            token_expires: time::format(&prost_types::Timestamp {
                seconds: i64::try_from(made.token_expires.as_ms() / 1000).expect("no instant is behind the year 9999"),
                nanos: 0,
            }),
            warnings: made.shares_device.then_some(SAME_DEVICE).into_iter().collect(),
            next,
        }
    }

    fn text(&self) -> String {
        let mut text = super::output::fields(&[
            ("configuration", Some(self.config.clone())),
            ("client profile", Some(self.profile.clone())),
            ("CA certificate", Some(self.ca.clone())),
            ("CA key", Some(format!("{} (only for the next certificate: keep it elsewhere)", self.ca_key))),
            ("root key", Some(self.root_key.clone())),
            (
                "admin's token",
                self.token_file.clone().or_else(|| self.token.map(|_| "below, shown only now".to_owned())),
            ),
            ("good until", Some(self.token_expires.clone())),
        ]);
        if let Some(token) = self.token {
            text.push_str(&format!("\n{token}\n"));
        }
        for warning in &self.warnings {
            text.push_str(&format!("\nWarning: {warning}.\n"));
        }
        text.push_str("\nNext:\n");
        for command in &self.next {
            text.push_str(&format!("  {command}\n"));
        }
        text
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_the_service_as_clients_reach_it() {
        let at = |address: &str, names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            let (dir, root_key) = (PathBuf::new(), PathBuf::new());
            endpoint(&InitOptions { dir, root_key, address: address.parse().unwrap(), names, token_file: None })
        };
        assert_eq!(at("127.0.0.1:1", &["vault.example"]), "https://127.0.0.1:1");
        assert_eq!(at("[::1]:1", &[]), "https://[::1]:1");
        assert_eq!(at("0.0.0.0:1", &["vault.example", "b"]), "https://vault.example:1");
        assert_eq!(at("0.0.0.0:1", &[]), "https://localhost:1");
        assert_eq!(at("192.0.2.7:1", &[]), "https://192.0.2.7:1");
    }

    #[test]
    fn a_printed_command_can_be_pasted_whatever_the_path() {
        assert_eq!(quoted(Path::new("/a-b/c.d")), "/a-b/c.d");
        assert_eq!(quoted(Path::new("/it's $(here)")), r"'/it'\''s $(here)'");
    }
}
