//! How to reach the service and as whom: from flags, then the environment, then a profile file.
//!
//! The token itself comes from a file or the environment only. A flag would show it to everyone who can list processes.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;
use zeroize::Zeroizing;

/// The most bytes that a profile, a token file or a CA file may have.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The longest time-out that can be asked for.
const MAX_TIMEOUT_S: u64 = 24 * 60 * 60;

/// The connection settings that can be given as flags.
#[derive(Default, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// The service, such as `https://vault.example:8443`; `http://` only on loopback [env: OUBLIETTE_ENDPOINT]
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// PEM file with the certificate of the CA that signed the service's [env: OUBLIETTE_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The name that the service's certificate must carry, where it is not the endpoint's host
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,
    /// File with the bearer token [env: OUBLIETTE_TOKEN_FILE, or the token itself in OUBLIETTE_TOKEN].
    /// There is no flag for the token itself: everyone on the machine could read it in the list of processes.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the client's own certificate, where the service asks for one [env: OUBLIETTE_CLIENT_CERTIFICATE].
    /// A principal that it is bound to needs no token.
    #[arg(long, global = true, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of that certificate [env: OUBLIETTE_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Profile file (TOML: endpoint, ca, server_name, token_file, client_certificate, client_key) [env: OUBLIETTE_PROFILE]
    /// [default: oubliette/profile.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Seconds to wait for an answer; streams instead end after 60 s without a message
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_S))]
    pub timeout: u64,
}

/// How to reach the service and as whom, complete and checked.
pub struct Settings {
    /// The service.
    pub endpoint: Uri,
    /// The CA's certificate in PEM; absent only where the endpoint is plain HTTP on loopback.
    pub ca_pem: Option<Vec<u8>>,
    /// The name that the service's certificate must carry, where it is not the endpoint's host.
    pub server_name: Option<String>,
    /// Who calls; may be absent where a certificate says so.
    pub token: Option<BearerToken>,
    /// The client's certificate and its key, in PEM.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// How long to wait for an answer.
    pub call_timeout: Duration,
}

/// The value of the `authorization` header. It prints nothing.
pub struct BearerToken(MetadataValue<Ascii>);

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No endpoint anywhere.
    #[error("no endpoint: give --endpoint, OUBLIETTE_ENDPOINT or a profile")]
    NoEndpoint,
    /// The endpoint is no URL of the wanted form.
    #[error("the endpoint must be https://HOST:PORT (or http:// on loopback), without a path")]
    BadEndpoint,
    /// Plain HTTP to another machine.
    #[error(
        "http:// is allowed to a loopback address only: the token and the records would be readable on the wire; use https://"
    )]
    PlainToNetwork,
    /// TLS without a CA.
    #[error("https:// needs the CA's certificate: give --ca, OUBLIETTE_CA or `ca` in the profile")]
    NoCa,
    /// No token anywhere.
    #[error(
        "no token: set OUBLIETTE_TOKEN or OUBLIETTE_TOKEN_FILE, or give --token-file or `token_file` in the profile"
    )]
    NoToken,
    /// A certificate without its key, or a key without a certificate.
    #[error(
        "a client's certificate needs its key, and the key the certificate: give --client-certificate and --client-key"
    )]
    HalfAnIdentity,
    /// The token cannot be a token.
    #[error("the token is empty or has characters that no token has; put the token alone, on one line")]
    BadToken,
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Unreadable {
        /// What the file is.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is too long to be what it should be.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes: it cannot be a {what}", path.display())]
    TooLong {
        /// What it should be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// The profile is no good TOML.
    #[error("profile {}, line {line}: {problem}", path.display())]
    BadProfile {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A setting is not UTF-8.
    #[error("{name} is not UTF-8; set it again")]
    NotUtf8 {
        /// The name of the variable.
        name: &'static str,
    },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    endpoint: Option<String>,
    ca: Option<PathBuf>,
    server_name: Option<String>,
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

impl Settings {
    /// Puts the settings together from flags, the process's environment and the profile.
    pub fn load(args: &ConnectionArgs) -> Result<Self, SettingsError> {
        Self::from_sources(args, |name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The same, with any environment.
    pub fn from_sources(
        args: &ConnectionArgs,
        env: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let profile = find_profile(args, &env)?;
        let endpoint = match &args.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => text(&env, "OUBLIETTE_ENDPOINT")?.or(profile.endpoint),
        };
        let endpoint = parse_endpoint(&endpoint.ok_or(SettingsError::NoEndpoint)?)?;
        let is_tls = endpoint.scheme_str() == Some("https");
        let ca = args.ca.clone().or_else(|| env("OUBLIETTE_CA").map(PathBuf::from)).or(profile.ca);
        let ca_pem = match ca {
            Some(path) if is_tls => Some(read(&path, "CA certificate")?.to_vec()),
            None if is_tls => return Err(SettingsError::NoCa),
            _ => None,
        };
        let place = |flag: &Option<PathBuf>, name, in_profile: Option<PathBuf>| {
            flag.clone().or_else(|| env(name).map(PathBuf::from)).or(in_profile)
        };
        let certificate = place(&args.client_certificate, "OUBLIETTE_CLIENT_CERTIFICATE", profile.client_certificate);
        let identity = match (certificate, place(&args.client_key, "OUBLIETTE_CLIENT_KEY", profile.client_key)) {
            (Some(certificate), Some(key)) => {
                Some((read(&certificate, "client certificate")?.to_vec(), read(&key, "key of the client certificate")?))
            }
            (None, None) => None,
            _ => return Err(SettingsError::HalfAnIdentity),
        };
        let token = match find_token(args, &env, profile.token_file) {
            Err(SettingsError::NoToken) if identity.is_some() => None,
            token => Some(token?),
        };
        Ok(Self {
            endpoint,
            ca_pem,
            server_name: args.server_name.clone().or(profile.server_name),
            token,
            identity,
            call_timeout: Duration::from_secs(args.timeout),
        })
    }
}

impl BearerToken {
    /// Takes the token as `CreateToken` answered it; white space around it is dropped.
    pub fn parse(token: &str) -> Result<Self, SettingsError> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(SettingsError::BadToken);
        }
        let header = Zeroizing::new(format!("Bearer {token}"));
        let mut header = MetadataValue::try_from(header.as_str()).map_err(|_| SettingsError::BadToken)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    pub(super) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

fn text(env: impl Fn(&'static str) -> Option<OsString>, name: &'static str) -> Result<Option<String>, SettingsError> {
    env(name).map(|value| value.into_string().map_err(|_| SettingsError::NotUtf8 { name })).transpose()
}

fn find_token(
    args: &ConnectionArgs,
    env: impl Fn(&'static str) -> Option<OsString>,
    from_profile: Option<PathBuf>,
) -> Result<BearerToken, SettingsError> {
    if args.token_file.is_none()
        && let Some(token) = text(&env, "OUBLIETTE_TOKEN")?.map(Zeroizing::new)
    {
        return BearerToken::parse(&token);
    }
    let from_env = || env("OUBLIETTE_TOKEN_FILE").map(PathBuf::from);
    let path = args.token_file.clone().or_else(from_env).or(from_profile).ok_or(SettingsError::NoToken)?;
    let bytes = read(&path, "token file")?;
    BearerToken::parse(std::str::from_utf8(&bytes).map_err(|_| SettingsError::BadToken)?)
}

/// A profile that was named must be there; the default one may be absent.
fn find_profile(
    args: &ConnectionArgs,
    env: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Profile, SettingsError> {
    if let Some(path) = args.profile.clone().or_else(|| env("OUBLIETTE_PROFILE").map(PathBuf::from)) {
        return read_profile(&path);
    }
    let config = env("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".config")));
    match config.map(|config| config.join("oubliette").join("profile.toml")) {
        Some(path) if path.exists() => read_profile(&path),
        _ => Ok(Profile::default()),
    }
}

/// Paths in a profile are relative to its own folder, so that the folder can be moved.
fn read_profile(path: &Path) -> Result<Profile, SettingsError> {
    let bytes = read(path, "profile")?;
    let bad = |line, problem| SettingsError::BadProfile { path: path.to_owned(), line, problem };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(1, "is not UTF-8".to_owned()))?;
    let profile: Profile = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        bad(before.matches('\n').count() + 1, error.message().to_owned())
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |path: PathBuf| folder.join(path);
    Ok(Profile {
        ca: profile.ca.map(beside),
        token_file: profile.token_file.map(beside),
        client_certificate: profile.client_certificate.map(beside),
        client_key: profile.client_key.map(beside),
        ..profile
    })
}

fn parse_endpoint(text: &str) -> Result<Uri, SettingsError> {
    let uri: Uri = text.parse().map_err(|_| SettingsError::BadEndpoint)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(SettingsError::BadEndpoint)?;
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") || uri.authority().is_some_and(has_user) {
        return Err(SettingsError::BadEndpoint);
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(SettingsError::PlainToNetwork),
        _ => Err(SettingsError::BadEndpoint),
    }
}

fn has_user(authority: &tonic::codegen::http::uri::Authority) -> bool {
    authority.as_str().contains('@')
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path, what: &'static str) -> Result<Zeroizing<Vec<u8>>, SettingsError> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| SettingsError::Unreadable { what, path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLong { what, path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
