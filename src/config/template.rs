//! The commented `oubliette.toml` that `oubliette init` writes. A test holds it to the defaults.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{CeilingsConfig, Limits};

/// What differs from one installation to the next.
#[derive(Debug, Clone, Copy)]
pub struct TemplateValues<'a> {
    /// The data directory.
    pub data_dir: &'a Path,
    /// Where the root key is.
    pub root_key: RootKeyValues<'a>,
    /// The file of the key that signs the log.
    pub signing_key: &'a Path,
    /// Where to listen.
    pub address: SocketAddr,
    /// The server's certificate chain.
    pub certificate: &'a Path,
    /// The certificate's private key.
    pub key: &'a Path,
}

/// Where the root key is.
#[derive(Debug, Clone, Copy)]
pub enum RootKeyValues<'a> {
    /// In a file.
    File {
        /// The file.
        path: &'a Path,
        /// Whether it may stand on the device of the data.
        may_share_device: bool,
    },
    /// In a security module.
    Pkcs11 {
        /// The module's library.
        module: &'a Path,
        /// The token's label.
        token: &'a str,
        /// The file with the user's PIN.
        pin_file: &'a Path,
        /// What the labels of the keys begin with.
        label: &'a str,
    },
}

/// The text of the file. Lines with `#` directly before a key show a default that can be switched on and changed.
pub(super) fn write(values: &TemplateValues<'_>) -> String {
    let quoted = |path: &Path| toml_string(&path.display().to_string());
    let mut text = HEAD.to_owned();
    let mut section = |part: std::fmt::Arguments<'_>| text.write_fmt(part).expect("writing to a string cannot fail");
    section(format_args!(
        "[data]\n# The directory that holds everything but the root key.\ndir = {}\n\n",
        quoted(values.data_dir)
    ));
    match values.root_key {
        RootKeyValues::File { path, may_share_device } => {
            let shared = if may_share_device { "may_share_device = true" } else { "#may_share_device = false" };
            let path = quoted(path);
            section(format_args!(
                "{ROOT_KEY_HEAD}{FILE_HEAD}path = {path}\n{FILE_MORE}{shared}\n{WINDOW}#epoch_window_ms = 0\n\n"
            ));
        }
        RootKeyValues::Pkcs11 { module, token, pin_file, label } => {
            let (module, pin_file) = (quoted(module), quoted(pin_file));
            let (token, label) = (toml_string(token), toml_string(label));
            section(format_args!(
                "{ROOT_KEY_HEAD}provider = \"pkcs11\"\n# The library that speaks PKCS #11 to the security module.\nmodule = {module}\n\
                 # The label of its token.\ntoken = {token}\n# The file with the PIN of the token's user, 0600.\npin_file = {pin_file}\n\
                 # What the labels of the keys begin with.\nlabel = {label}\n{WINDOW}#epoch_window_ms = 1000\n\n"
            ));
        }
    }
    section(format_args!("{SIGNING_HEAD}key = {}\n\n", quoted(values.signing_key)));
    section(format_args!(
        "[listen]\n# Address and port of the service.\naddress = \"{}\"\n{PLAINTEXT}\n[listen.tls]\n\
         # The server's certificate chain, PEM.\ncertificate = {}\n# Its private key, PEM.\nkey = {}\n{CLIENTS}\n",
        values.address,
        quoted(values.certificate),
        quoted(values.key)
    ));
    section(format_args!("{OPTIONAL}{}[limits]\n{}", CeilingsConfig::default().template(), Limits::template()));
    text
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => write!(quoted, "\\u{:04X}", u32::from(c)).expect("writing to a string cannot fail"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const HEAD: &str = "\
# The configuration of Oubliette. It holds no secrets, only the paths to them.
# Relative paths start at the folder of this file. A line that begins with `#name =` shows a default: take the `#` away to
# change it. Sizes and durations have their unit in the name. An unknown key stops the start.

";

const ROOT_KEY_HEAD: &str = "\
[root_key]
# Who keeps the root key: `file`, or `pkcs11` for a hardware security module.
";

const FILE_HEAD: &str = "\
#provider = \"file\"
# The file of the root key; outside of data.dir, on another device. Each erasure overwrites it. Never copy it into the backups of
# the data: whoever has an old one and an old image has what was erased since.
";

const FILE_MORE: &str = "\
# Further files with the same key, on other devices, so that a dead disk does not take the key along; `oubliette root-key add` makes
# them. While one of them is missing, no erasure is final.
#replicas = []
# Whether the key may stand on the device of the data, where one image holds both: then no erasure holds against whoever has one.
";

const WINDOW: &str = "\
# How many milliseconds lie between the beginnings of two epochs at least: erasures that come meanwhile share the next one.
";

const SIGNING_HEAD: &str = "\
[signing]
# The file of the key that signs the log, and so every receipt; outside of data.dir, and never in the backups of the data.
";

const PLAINTEXT: &str = "\
# Serve without TLS; only where `address` is a loopback address, and without the [listen.tls] below.
#plaintext_on_loopback = false
";

const CLIENTS: &str = "\
# The authorities that issue clients' certificates, PEM or DER. Without one, no client is asked for a certificate. Up to 32 files.
#client_ca = []
# The lists of what those authorities, and the ones under them, have revoked (CRLs), PEM or DER. With one, each certificate of a client's chain must
# be covered by a list that has not expired. They are read again every 15 s and on SIGHUP; a revocation counts within a minute. Up to 32 files.
#client_crls = []
# Whether a client must have a certificate: `optional` (without one it needs a bearer token) or `required`.
#client_certificates = \"optional\"
";

const OPTIONAL: &str = "\
[mirrors]
# `oubliette mirror add` makes and names them: nothing is written to a directory that was not made so.
# Directories on other disks that get every committed batch and object, sealed as they are: a disk can be lost without losing customers. An
# erasure is final only when they have it; while one of them fails, reads and writes go on, and no erasure is final.
#directories = []
# The same without content: small, and enough to open a backup of the content, and to refuse what was erased since.
#keys_only = []

[log]
# `text` or `json`.
#format = \"text\"
# What is logged: error, warn, info, debug or trace, also by module (`info,oubliette::store=debug`). Code that is not
# Oubliette's own never logs below info, whatever stands here.
#level = \"info\"
# The file to append to; standard error where empty.
#file = \"\"

[metrics]
# Where Prometheus metrics are served over plain HTTP under /metrics; a loopback address. Off where empty.
#address = \"\"

# Issuers of OpenID Connect whose tokens (JWT) are taken beside the vault's own; each in a section [[identity.issuers]].
#[[identity.issuers]]
# issuer = \"https://login.example\"      exactly the `iss` of its tokens
# audience = \"oubliette\"                one of the `aud` of its tokens
# algorithms = [\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]
# keys_url = \"https://login.example/keys\"    or keys_file; authorities_file for an own certificate authority
# refresh_s = 300, pause_s = 10, max_stale_s = 3600
# tenant = \"acme\"                       or tenant_claim = \"tenant\"
# name_claim = \"sub\", roles_claim = \"roles\", teams_claim = \"teams\"
# role_names = { \"support-agent\" = \"agent\" }

[policy]
# A Cedar policy that replaces the built-in one; checked at the start. Built-in where empty.
#file = \"\"

";
