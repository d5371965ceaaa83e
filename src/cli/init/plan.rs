//! Which file goes where, and the steps that make them. It looks at every path before it writes to one.

use std::collections::{BTreeSet, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::certificates::Certificates;
use super::{InitError, InitOptions};
use crate::access::identity::BearerToken;
use crate::audit::note::Origin;
use crate::cli::errors::CliError;
use crate::cli::files;
use crate::config::{Config, RootKeyValues, TemplateValues};
use crate::crypto::hash::sha256;
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::domain::ids::PrincipalName;
use crate::domain::principal::{PrincipalEntry, Role};
use crate::vault::{NewToken, Pkcs11Place, RootKeyPlace, Vault, VaultLimits, VaultPaths};

/// The name of the first principal.
const ADMIN: &str = "admin";
/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// Which path is for what; all absolute.
pub(super) struct Plan {
    dir: PathBuf,
    pub config: PathBuf,
    pub profile: PathBuf,
    tls: PathBuf,
    pub ca: PathBuf,
    ca_key: PathBuf,
    server: PathBuf,
    server_key: PathBuf,
    data: PathBuf,
    root_key: RootKeyPlace,
    signing_key: PathBuf,
    pub token_file: Option<PathBuf>,
}

impl Plan {
    pub fn new(options: &InitOptions) -> Result<Self, InitError> {
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
            root_key: match (&options.root_key, &options.hsm) {
                (Some(path), _) => {
                    RootKeyPlace::File { paths: vec![absolute(path)?], may_share_device: options.may_share_device }
                }
                (None, hsm) => RootKeyPlace::Pkcs11(Pkcs11Place {
                    module: absolute(hsm.module.as_deref().unwrap_or(Path::new("")))?,
                    token: hsm.token.clone().unwrap_or_default(),
                    pin_file: absolute(hsm.pin_file.as_deref().unwrap_or(Path::new("")))?,
                    label: hsm.label.clone(),
                }),
            },
            signing_key: dir.join("signing.key"),
            token_file: options.token_file.as_deref().map(absolute).transpose()?,
            tls,
            dir,
        })
    }

    /// The root key's file, where it is in one.
    fn root_key_file(&self) -> Option<&PathBuf> {
        match &self.root_key {
            RootKeyPlace::File { paths, .. } => paths.first(),
            RootKeyPlace::Pkcs11(_) => None,
        }
    }

    /// Looks at every path before anything is written.
    pub fn refuse_what_cannot_be(&self, options: &InitOptions) -> Result<(), InitError> {
        let outside = [self.root_key_file(), self.token_file.as_ref()].into_iter().flatten();
        let mut wanted = HashSet::from([&self.config, &self.profile, &self.tls, &self.data, &self.signing_key]);
        if let Some(path) = outside.clone().find(|path| !wanted.insert(path)) {
            return Err(InitError::Twice(path.clone()));
        }
        let present = self.present();
        if !present.is_empty() {
            return Err(InitError::Exists(present));
        }
        if let Some(root_key) = self.root_key_file().filter(|path| path.starts_with(&self.data)) {
            return Err(InitError::RootKeyInside { root_key: root_key.clone(), data: self.data.clone() });
        }
        if !options.may_share_device && self.shares_device() {
            return Err(InitError::SharesDevice(self.root_key_file().cloned().unwrap_or_default()));
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
    pub fn present(&self) -> Vec<PathBuf> {
        let all = [&self.config, &self.profile, &self.tls, &self.data, &self.signing_key];
        let all = all.into_iter().chain(self.root_key_file()).chain(&self.token_file);
        all.filter(|path| path.symlink_metadata().is_ok()).cloned().collect()
    }

    pub fn write_files(&self, options: &InitOptions, certificates: &Certificates) -> Result<(), InitError> {
        make_folder(&self.dir)?;
        make_folder(&self.tls)?;
        write_new(&self.ca, certificates.ca.as_bytes())?;
        write_new(&self.ca_key, certificates.ca_key.as_bytes())?;
        write_new(&self.server, certificates.server.as_bytes())?;
        write_new(&self.server_key, certificates.server_key.as_bytes())?;
        let config = Config::template(&TemplateValues {
            data_dir: Path::new("data"),
            root_key: match &self.root_key {
                RootKeyPlace::File { paths, may_share_device } => {
                    RootKeyValues::File { path: &paths[0], may_share_device: *may_share_device }
                }
                RootKeyPlace::Pkcs11(Pkcs11Place { module, token, pin_file, label }) => {
                    RootKeyValues::Pkcs11 { module, token, pin_file, label }
                }
            },
            signing_key: Path::new("signing.key"),
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

    /// Makes the vault and its first admin; returns the public key that its log is signed with.
    pub async fn make_vault(
        &self,
        options: &InitOptions,
        token: &BearerToken,
        expires: Timestamp,
    ) -> Result<String, InitError> {
        let paths = self.paths();
        let origin = origin(options).map_err(|_| InitError::NoRandom)?;
        let vault = Vault::create(paths, VaultLimits::default(), origin).await.map_err(InitError::Vault)?;
        let name = PrincipalName::parse(ADMIN).expect("the name is constant and well formed");
        let secret_hash = sha256(token.secret());
        let new = NewToken { id: token.id(), secret_hash, principal: name.clone(), expires };
        let admin =
            PrincipalEntry { name, roles: BTreeSet::from([Role::Admin]), teams: BTreeSet::new(), blocked: false };
        let made = vault.first_admin(admin, new).await.map_err(InitError::Admin);
        let keys = vault.log_keys_of_operator().await.map_err(InitError::Admin);
        vault.close().await;
        made?;
        Ok(keys?.first().map(ToString::to_string).unwrap_or_default())
    }

    fn paths(&self) -> VaultPaths {
        let (data, root_key, signing_key) = (self.data.clone(), self.root_key.clone(), self.signing_key.clone());
        VaultPaths { data, root_key, signing_key, mirrors: Vec::new() }
    }

    pub fn sync_folders(&self) -> Result<(), InitError> {
        let outside = [self.root_key_file(), self.token_file.as_ref()].into_iter().flatten();
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

    pub fn shares_device(&self) -> bool {
        self.paths().root_key_beside_data().is_some()
    }
}

/// The name under which the log is signed: the service's, and something random, so that no two logs share it.
fn origin(options: &InitOptions) -> Result<Origin, CliError> {
    let host = options.names.first().map_or("localhost", String::as_str);
    let name = format!("{host}/oubliette/{}", hex(&files::random::<8>()?));
    Ok(Origin::parse(&name).expect("the name of a host has no spaces and no plus"))
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

pub(super) fn is_host(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    name.parse::<IpAddr>().is_ok() || (name.len() <= MAX_HOST_BYTES && name.split('.').all(is_label))
}

fn make_folder(path: &Path) -> Result<(), InitError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| InitError::File { path: path.to_owned(), source })
}

/// Writes a file that must not exist, readable by its owner only.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), InitError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| InitError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_the_service_as_clients_reach_it() {
        let at = |address: &str, names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            let (dir, address, hsm) = (PathBuf::new(), address.parse().unwrap(), Default::default());
            let (root_key, may_share_device, token_file) = (None, false, None);
            endpoint(&InitOptions { dir, root_key, hsm, may_share_device, address, names, token_file })
        };
        assert_eq!(at("127.0.0.1:1", &["vault.example"]), "https://127.0.0.1:1");
        assert_eq!(at("[::1]:1", &[]), "https://[::1]:1");
        assert_eq!(at("0.0.0.0:1", &["vault.example", "b"]), "https://vault.example:1");
        assert_eq!(at("0.0.0.0:1", &[]), "https://localhost:1");
        assert_eq!(at("192.0.2.7:1", &[]), "https://192.0.2.7:1");
    }
}
