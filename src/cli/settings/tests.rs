use std::collections::HashMap;

use super::*;

struct Case {
    dir: tempfile::TempDir,
    args: ConnectionArgs,
    env: HashMap<&'static str, OsString>,
}

impl Case {
    /// A machine whose default profile names everything, and nothing else.
    fn with_default_profile() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("oubliette");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(
            folder.join("profile.toml"),
            "endpoint = 'https://profile:1'\nca = 'ca.pem'\ntoken_file = 'token'\n",
        )
        .unwrap();
        std::fs::write(folder.join("ca.pem"), "profile's CA").unwrap();
        std::fs::write(folder.join("token"), "from-profile\n").unwrap();
        let args = ConnectionArgs { timeout: 60, ..ConnectionArgs::default() };
        let env = HashMap::from([("XDG_CONFIG_HOME", dir.path().as_os_str().to_owned())]);
        Self { dir, args, env }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self) -> Result<Settings, SettingsError> {
        Settings::from_sources(&self.args, |name| self.env.get(name).cloned())
    }

    fn token(&self) -> String {
        self.load().unwrap().token.unwrap().header().to_str().unwrap().to_owned()
    }
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_the_profile() {
    let mut case = Case::with_default_profile();
    assert_eq!(case.load().unwrap().endpoint.host(), Some("profile"));
    assert_eq!(case.load().unwrap().ca_pem.as_deref(), Some(b"profile's CA".as_slice()));
    case.env.insert("OUBLIETTE_ENDPOINT", "https://environment:2".into());
    assert_eq!(case.load().unwrap().endpoint.host(), Some("environment"));
    case.args.endpoint = Some("https://flag:3".into());
    assert_eq!(case.load().unwrap().endpoint.host(), Some("flag"));
}

#[test]
fn the_token_comes_from_the_most_deliberate_source() {
    let mut case = Case::with_default_profile();
    assert_eq!(case.token(), "Bearer from-profile");
    case.env.insert("OUBLIETTE_TOKEN_FILE", case.file("env-token", "from-env-file").into());
    assert_eq!(case.token(), "Bearer from-env-file");
    case.env.insert("OUBLIETTE_TOKEN", "from-env".into());
    assert_eq!(case.token(), "Bearer from-env");
    case.args.token_file = Some(case.file("flag-token", "  from-flag\n"));
    assert_eq!(case.token(), "Bearer from-flag");
    let settings = case.load().unwrap();
    assert!(settings.token.as_ref().unwrap().header().is_sensitive());
    assert!(!format!("{:?}", settings.token).contains("from-flag"));
}

#[test]
fn plain_http_goes_to_loopback_only() {
    let mut case = Case::with_default_profile();
    for allowed in ["http://127.0.0.1:8080", "http://127.8.8.8:1", "http://[::1]:8080", "http://localhost:8080/"] {
        case.args.endpoint = Some(allowed.into());
        assert!(case.load().unwrap().ca_pem.is_none(), "{allowed}");
    }
    for refused in
        ["http://10.0.0.1:80", "http://vault.example", "http://127.0.0.1.example", "http://localhost.example"]
    {
        case.args.endpoint = Some(refused.into());
        assert!(matches!(case.load(), Err(SettingsError::PlainToNetwork)), "{refused}");
    }
    for bad in ["", "vault:1", "ftp://127.0.0.1", "https://vault/path", "https://user@vault", "https://vault/?a=b"] {
        case.args.endpoint = Some(bad.into());
        assert!(matches!(case.load(), Err(SettingsError::BadEndpoint)), "{bad}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let mut case = Case::with_default_profile();
    case.args.profile = Some(case.file("other.toml", "endpoint = 'https://a:1'\n\ntoken = 'planted'\n"));
    let error = case.load().err().unwrap().to_string();
    assert!(error.contains("line 3") && !error.contains("planted"), "{error}");

    case.args.profile = Some(case.dir.path().join("absent.toml"));
    assert!(matches!(case.load(), Err(SettingsError::Unreadable { what: "profile", .. })));

    case.args.profile = Some(case.file("empty.toml", ""));
    assert!(matches!(case.load(), Err(SettingsError::NoEndpoint)));
    case.args.endpoint = Some("https://vault:1".into());
    assert!(matches!(case.load(), Err(SettingsError::NoCa)));
    case.args.ca = Some(case.file("ca", "pem"));
    assert!(matches!(case.load(), Err(SettingsError::NoToken)));
    case.args.client_certificate = Some(case.file("own.pem", "pem"));
    assert!(matches!(case.load(), Err(SettingsError::HalfAnIdentity)));
    // Whoever has a certificate may need no token.
    case.env.insert("OUBLIETTE_CLIENT_KEY", case.file("own.key", "pem").into());
    let settings = case.load().unwrap();
    assert!(settings.token.is_none() && settings.identity.is_some());
    case.args.token_file = Some(case.file("bad", "two words"));
    assert!(matches!(case.load(), Err(SettingsError::BadToken)));
}
