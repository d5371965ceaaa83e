//! The configuration: one documented struct, parsed once, checked whole before anything starts.
//!
//! It holds no secret, only paths to them. It never reads the environment, and never changes while the service runs.

mod ceilings;
mod identity;
mod limits;
mod template;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

pub use ceilings::{CeilingConfig, CeilingsConfig};
pub use identity::{Identity, IssuerConfig};
pub use limits::Limits;
pub use template::{RootKeyValues, TemplateValues};
pub use tls::{ClientCertificates, Tls};

/// The most bytes of a configuration file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// All that an operator can set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the data is.
    pub data: Data,
    /// Where the root key is.
    pub root_key: RootKey,
    /// What signs the log.
    pub signing: Signing,
    /// Where the service listens.
    pub listen: Listen,
    /// Where the data is mirrored to.
    #[serde(default)]
    pub mirrors: MirrorDirectories,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// The log.
    #[serde(default)]
    pub log: Log,
    /// Metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// The policy.
    #[serde(default)]
    pub policy: Policy,
    /// Who else says who calls.
    #[serde(default)]
    pub identity: Identity,
    /// How much one principal may read.
    #[serde(default)]
    pub ceilings: CeilingsConfig,
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The directory that holds everything but the root key.
    pub dir: PathBuf,
}

/// Where the data is mirrored to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorDirectories {
    /// Directories that get everything.
    #[serde(default)]
    pub directories: Vec<PathBuf>,
    /// Directories that get everything but content.
    #[serde(default)]
    pub keys_only: Vec<PathBuf>,
}

/// The most mirrors.
const MAX_MIRRORS: usize = 4;

impl MirrorDirectories {
    fn check(&self, data: &Path, folder: &Path) -> Result<(), (&'static str, &'static str)> {
        let all = || self.directories.iter().chain(&self.keys_only);
        let (data, places) = (folder.join(data), all().map(|path| folder.join(path)).collect::<BTreeSet<_>>());
        if all().count() > MAX_MIRRORS || places.len() < all().count() {
            return Err(("directories", "and mirrors.keys_only name up to 4 different directories together"));
        }
        let is_one_in_the_other = |place: &PathBuf| place.starts_with(&data) || data.starts_with(place);
        if all().any(|path| path.as_os_str().is_empty()) || places.iter().any(is_one_in_the_other) {
            return Err(("directories", "and mirrors.keys_only must not lie in data.dir, nor data.dir in them"));
        }
        Ok(())
    }
}

/// Where the root key is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKey {
    /// Who keeps it.
    #[serde(default)]
    pub provider: Provider,
    /// Its file, outside of the data directory; of the provider `file`.
    #[serde(default)]
    pub path: PathBuf,
    /// Further files with the same key, on other devices.
    #[serde(default)]
    pub replicas: Vec<PathBuf>,
    /// Whether it may stand on the device of the data.
    #[serde(default)]
    pub may_share_device: bool,
    /// The library of the security module; this and the next three of the provider `pkcs11`.
    #[serde(default)]
    pub module: PathBuf,
    /// The token's label.
    #[serde(default)]
    pub token: String,
    /// The file with the user's PIN.
    #[serde(default)]
    pub pin_file: PathBuf,
    /// What the labels of the keys begin with.
    #[serde(default = "default_label")]
    pub label: String,
    /// How many milliseconds lie between the beginnings of two epochs at least.
    pub epoch_window_ms: Option<u64>,
}

fn default_label() -> String {
    "oubliette".to_owned()
}

/// A metered or slow provider is asked for a new key once a second at most.
const PKCS11_EPOCH_WINDOW_MS: u64 = 1_000;
/// The longest time between two epochs that can be asked for: an erasure waits for it.
const MAX_EPOCH_WINDOW_MS: u64 = 3_600_000;

impl RootKey {
    /// How many milliseconds lie between the beginnings of two epochs at least.
    pub fn epoch_window_ms(&self) -> u64 {
        let default = match self.provider {
            Provider::File => 0,
            Provider::Pkcs11 => PKCS11_EPOCH_WINDOW_MS,
        };
        self.epoch_window_ms.unwrap_or(default)
    }

    /// The keys of the section that must be there, or must not.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let missing = |key, is_missing: bool| if is_missing { Err((key, "is empty; set it")) } else { Ok(()) };
        if self.epoch_window_ms() > MAX_EPOCH_WINDOW_MS {
            return Err(("epoch_window_ms", "must lie between 0 and 3600000"));
        }
        match self.provider {
            Provider::File => missing("path", self.path.as_os_str().is_empty()),
            Provider::Pkcs11 => missing("module", self.module.as_os_str().is_empty())
                .and_then(|()| missing("token", self.token.is_empty()))
                .and_then(|()| missing("pin_file", self.pin_file.as_os_str().is_empty()))
                .and_then(|()| missing("label", self.label.is_empty())),
        }
    }
}

/// Who keeps the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// A file.
    #[default]
    File,
    /// A hardware security module.
    Pkcs11,
}

/// What signs the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The file of the key, outside of the data directory.
    pub key: PathBuf,
}

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether to serve without TLS; refused for addresses other than loopback.
    #[serde(default)]
    pub plaintext_on_loopback: bool,
    /// Certificate and key, and whose client certificates are accepted; required unless `plaintext_on_loopback`.
    pub tls: Option<Tls>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as directives of `tracing` (`info`, `info,oubliette::store=debug`).
    pub level: String,
    /// The file to append to; standard error where absent.
    #[serde(deserialize_with = "optional_path")]
    pub file: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), file: None }
    }
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where they are served; off where absent. A loopback address.
    #[serde(deserialize_with = "optional_address")]
    pub address: Option<SocketAddr>,
}

/// The policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The file that replaces the built-in policy; built-in where absent.
    #[serde(deserialize_with = "optional_path")]
    pub file: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; check the path, or write a new one with `oubliette init`", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is far larger than any configuration.
    #[error("{path} has more than {MAX_FILE_BYTES} bytes and is no configuration; check the path", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong kind.
    #[error("{path}, line {line}: {problem}; correct it (`oubliette init` writes a file with every key explained)", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A value is not allowed.
    #[error("{path}{at}: {key} {problem}", path = path.display(), at = line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, where the key is written in the file.
        line: Option<usize>,
        /// The key, with its section.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// The commented file that `oubliette init` writes.
    pub fn template(values: &TemplateValues<'_>) -> String {
        template::write(values)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            problem: error.message().to_owned(),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.check(folder).map_err(|(section, key, problem)| ConfigError::Value {
            path: path.to_owned(),
            line: line_of(text, section, key),
            key: format!("{section}.{key}"),
            problem,
        })?;
        config.start_paths_at(folder);
        Ok(config)
    }

    /// The first value that is not allowed: section, key, and what to do. Paths start at `folder`.
    fn check(&self, folder: &Path) -> Result<(), (&'static str, &'static str, String)> {
        let refuse = |section, key, problem: &str| Err((section, key, problem.to_owned()));
        match (&self.listen.tls, self.listen.plaintext_on_loopback) {
            (None, false) => {
                return refuse(
                    "listen.tls",
                    "certificate",
                    "and listen.tls.key are required; `oubliette init` makes them",
                );
            }
            (Some(_), true) => {
                return refuse(
                    "listen",
                    "plaintext_on_loopback",
                    "cannot be true beside [listen.tls]; remove one of them",
                );
            }
            (None, true) if !self.listen.address.ip().is_loopback() => {
                let problem = "is allowed for loopback addresses only; set listen.tls, or listen on 127.0.0.1";
                return refuse("listen", "plaintext_on_loopback", problem);
            }
            _ => {}
        }
        if let Some(Err((key, problem))) = self.listen.tls.as_ref().map(Tls::check) {
            return refuse("listen.tls", key, problem);
        }
        if self.metrics.address.is_some_and(|address| !address.ip().is_loopback()) {
            let problem =
                "must be a loopback address, as metrics are served without TLS and token; put a proxy before it";
            return refuse("metrics", "address", problem);
        }
        for (section, key, path) in [("data", "dir", &self.data.dir), ("signing", "key", &self.signing.key)] {
            if path.as_os_str().is_empty() {
                return refuse(section, key, "is empty; set a path");
            }
        }
        if let Err((key, problem)) = self.root_key.check() {
            return refuse("root_key", key, problem);
        }
        if let Err((key, problem)) = self.mirrors.check(&self.data.dir, folder) {
            return refuse("mirrors", key, problem);
        }
        if let Err((key, problem)) = self.identity.check() {
            return refuse("identity", key, problem);
        }
        self.limits.first_out_of_range().map_or(Ok(()), |(key, problem)| Err(("limits", key, problem)))
    }

    fn start_paths_at(&mut self, folder: &Path) {
        let tls = self.listen.tls.iter_mut().flat_map(Tls::paths_mut);
        let optional = self.log.file.iter_mut().chain(self.policy.file.iter_mut());
        let RootKey { provider, path, replicas, module, pin_file, .. } = &mut self.root_key;
        let own = match provider {
            Provider::File => vec![&mut self.data.dir, &mut self.signing.key, path],
            Provider::Pkcs11 => vec![&mut self.data.dir, &mut self.signing.key, module, pin_file],
        };
        let MirrorDirectories { directories, keys_only } = &mut self.mirrors;
        let mirrors = directories.iter_mut().chain(keys_only);
        let issuers = self.identity.paths();
        for path in own.into_iter().chain(replicas).chain(mirrors).chain(tls).chain(optional).chain(issuers) {
            *path = folder.join(&*path);
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The line on which `key` of `[section]` stands, where it is written in the usual way.
fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            inside = name.trim() == section;
        } else if inside && line.split_once('=').is_some_and(|(name, _)| name.trim() == key) {
            return Some(index + 1);
        }
    }
    None
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom("expected an address and port, such as \"127.0.0.1:9464\""))
}
