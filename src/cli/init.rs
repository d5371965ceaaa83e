//! `oubliette init`: makes all that a new vault needs. It never touches what exists: everything is looked at before the first
//! byte is written, and every file is created anew or not at all.

mod certificates;
mod plan;
mod view;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use self::plan::{Plan, is_host, write_new};
use self::view::InitView;
use super::errors::{CliError, chain};
use super::files;
use super::output::Output;
use crate::access::identity::BearerToken;
use crate::domain::clock::Timestamp;
use crate::domain::ids::TokenId;
use crate::vault::{StartError, VaultError};

const EXAMPLES: &str =
    "Nothing that exists is touched. The root key belongs on another device than the data, and never into its backups.

Examples:
  oubliette init --dir /var/lib/oubliette --root-key /mnt/key/oubliette.root
  oubliette init --dir vault --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --pkcs11-token vault --pkcs11-pin-file hsm.pin
  oubliette init --dir vault --root-key /mnt/key/root --address 0.0.0.0:7743 --name vault.example
  oubliette init --dir vault --root-key ../vault.root --may-share-device --token-file ../admin.token --json";

/// For how long the first admin's token is good. It makes the others, so it outlives them.
const ADMIN_TOKEN_MS: u64 = 365 * 24 * 60 * 60 * 1000;

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
    /// The root key's file, outside of the data, on another device
    #[arg(long, value_name = "FILE", required_unless_present = "module", conflicts_with = "module")]
    pub root_key: Option<PathBuf>,
    /// The security module that keeps the root key instead.
    #[command(flatten)]
    pub hsm: HsmOptions,
    /// Accept that the root key stands on the device of the data; every receipt will say so
    #[arg(long)]
    pub may_share_device: bool,
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

/// A security module that keeps the root key.
#[derive(Default, clap::Args)]
pub struct HsmOptions {
    /// Keep the root key in a security module: the library that speaks PKCS #11 to it
    #[arg(long = "pkcs11-module", value_name = "FILE", requires = "token", requires = "pin_file")]
    pub module: Option<PathBuf>,
    /// The label of the module's token
    #[arg(long = "pkcs11-token", value_name = "LABEL", requires = "module")]
    pub token: Option<String>,
    /// The file with the PIN of the token's user, readable by its owner only
    #[arg(long = "pkcs11-pin-file", value_name = "FILE", requires = "module")]
    pub pin_file: Option<PathBuf>,
    /// What the labels of the keys begin with; each vault on a token needs its own
    #[arg(long = "pkcs11-label", value_name = "LABEL", requires = "module", default_value = "oubliette")]
    pub label: String,
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
    /// The public key that the log is signed with, as receipts are checked with it.
    pub log_key: String,
    /// Whether the root key was accepted to stand on the same device as the data, and does.
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
    /// The root key would stand on the device of the data.
    #[error(
        "nothing was written: the root key {} would stand on the device of the data, and one image of it would hold both, so that no erasure would hold against it; put it on another device, or accept that with --may-share-device", .0.display()
    )]
    SharesDevice(PathBuf),
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
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandom,
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
    plan.refuse_what_cannot_be(options)?;
    if let Some(name) = options.names.iter().find(|name| !is_host(name)) {
        return Err(InitError::Name(name.clone()).into());
    }
    let certificates = certificates::make(&options.names, options.address.ip()).map_err(InitError::Certificates)?;
    let admin_token = BearerToken::mint(TokenId(files::random()?), files::random()?);
    let token_expires = Timestamp::now().plus_ms(ADMIN_TOKEN_MS);
    let text = admin_token.reveal();
    let made = async {
        plan.write_files(options, &certificates)?;
        let log_key = plan.make_vault(options, &admin_token, token_expires).await?;
        plan.token_file.as_deref().map_or(Ok(()), |path| write_new(path, text.as_bytes()))?;
        plan.sync_folders()?;
        Ok(log_key)
    };
    let log_key =
        made.await.map_err(|source| InitError::HalfWay { written: plan.present(), source: Box::new(source) })?;
    Ok(Initialised {
        shares_device: plan.shares_device(),
        config_path: plan.config,
        profile_path: plan.profile,
        ca_path: plan.ca,
        admin_token: text,
        token_expires,
        log_key,
    })
}
