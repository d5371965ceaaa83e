//! The section `[listen.tls]`: the server's certificate, and whose client certificates are accepted. Only paths: no file is read here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

/// Certificate and key, and what clients' certificates are checked by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The authorities that issue clients' certificates, PEM or DER; without one, no client is asked for a certificate.
    #[serde(default)]
    pub client_ca: Vec<PathBuf>,
    /// The lists of what those authorities and the ones under them have revoked, PEM or DER.
    #[serde(default)]
    pub client_crls: Vec<PathBuf>,
    /// Whether a client must have a certificate.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// A client without one needs a bearer token. One that is shown must be good all the same.
    #[default]
    Optional,
    /// Nobody is connected without one.
    Required,
}

/// The most files of authorities, and as many of lists.
const MAX_FILES: usize = 32;

impl Tls {
    /// The first value that is not allowed: its key, and what to do.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_empty = |path: &PathBuf| path.as_os_str().is_empty();
        let is_unfit = |paths: &[PathBuf]| {
            let different = paths.iter().collect::<BTreeSet<_>>().len();
            different < paths.len() || paths.len() > MAX_FILES || paths.iter().any(is_empty)
        };
        if is_empty(&self.certificate) || is_empty(&self.key) {
            return Err(("certificate", "and listen.tls.key are required; `oubliette init` makes them"));
        }
        if is_unfit(&self.client_ca) {
            return Err((
                "client_ca",
                "must name up to 32 different files; remove the ones that are empty or repeated",
            ));
        }
        if is_unfit(&self.client_crls) {
            return Err((
                "client_crls",
                "must name up to 32 different files; remove the ones that are empty or repeated",
            ));
        }
        if self.client_ca.is_empty() && self.client_certificates == ClientCertificates::Required {
            let problem = "cannot be \"required\" without listen.tls.client_ca: nobody could connect; name the authority's certificate there";
            return Err(("client_certificates", problem));
        }
        if self.client_ca.is_empty() && !self.client_crls.is_empty() {
            return Err((
                "client_crls",
                "are of no use without listen.tls.client_ca; name the authority's certificate there",
            ));
        }
        Ok(())
    }

    /// All paths, to be started at the folder of the configuration.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.certificate, &mut self.key].into_iter();
        own.chain(&mut self.client_ca).chain(&mut self.client_crls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(more: &str) -> Result<Tls, String> {
        let text = format!("certificate = 'server.pem'\nkey = 'server.key'\n{more}");
        let tls: Tls = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        tls.check().map_err(|(key, problem)| format!("{key} {problem}"))?;
        Ok(tls)
    }

    #[test]
    fn clients_are_asked_for_a_certificate_only_where_an_authority_is_named() {
        let tls = section("").unwrap();
        assert_eq!((tls.client_certificates, tls.client_ca.len()), (ClientCertificates::Optional, 0));
        let tls = section("client_ca = ['a.pem']\nclient_crls = ['a.crl']\nclient_certificates = 'required'").unwrap();
        assert_eq!(tls.client_certificates, ClientCertificates::Required);
        assert!(section("client_ca = ['a.pem']\nclient_certificates = 'optional'").is_ok());
    }

    #[test]
    fn what_would_not_do_what_it_says_is_refused_with_its_key() {
        for (more, words) in [
            (
                "client_certificates = 'required'",
                "client_certificates cannot be \"required\" without listen.tls.client_ca",
            ),
            ("client_crls = ['a.crl']", "client_crls are of no use without listen.tls.client_ca"),
            ("client_ca = ['']", "client_ca must name"),
            ("client_ca = ['a.pem', 'a.pem']", "client_ca must name"),
            ("client_ca = ['a.pem']\nclient_crls = ['b', 'b']", "client_crls must name"),
            ("client_certificates = 'maybe'", "unknown variant"),
            ("client_crl = ['b']", "unknown field"),
        ] {
            let refused = section(more).unwrap_err();
            assert!(refused.contains(words), "{more}: {refused}");
        }
    }

    #[test]
    fn every_path_starts_at_the_folder_of_the_configuration() {
        let mut tls = section("client_ca = ['a.pem', '/b.pem']\nclient_crls = ['a.crl']").unwrap();
        for path in tls.paths_mut() {
            *path = std::path::Path::new("/etc/oubliette").join(&*path);
        }
        let all: Vec<_> = tls.paths_mut().map(|path| path.display().to_string()).collect();
        let expected = ["server.pem", "server.key", "a.pem"].map(|name| format!("/etc/oubliette/{name}"));
        assert_eq!(all[..3], expected);
        assert_eq!(all[3..], ["/b.pem", "/etc/oubliette/a.crl"]);
    }
}
