use super::*;

fn template() -> String {
    Config::template(&TemplateValues {
        data_dir: Path::new("data"),
        root_key: RootKeyValues::File { path: Path::new("/keys/root \"1\".key"), may_share_device: false },
        signing_key: Path::new("signing.key"),
        address: "127.0.0.1:7443".parse().unwrap(),
        certificate: Path::new("tls/server.pem"),
        key: Path::new("tls/server.key"),
    })
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/oubliette/oubliette.toml"))
}

#[test]
fn the_template_is_valid_and_shows_the_defaults() {
    let text = template();
    let as_written = parse(&text).unwrap();
    let switch_on = |line: &str| {
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        setting.unwrap_or(line).to_owned()
    };
    let switched_on = text.lines().map(switch_on).collect::<Vec<_>>().join("\n");
    let mut all = parse(&switched_on).unwrap();
    // Absent and the default are the same to say, though not the same to write.
    assert_eq!((all.root_key.epoch_window_ms.take(), as_written.root_key.epoch_window_ms()), (Some(0), 0));
    assert_eq!(all, as_written);
    assert_eq!(as_written.limits, Limits::default());
    assert_eq!(as_written.data.dir, Path::new("/etc/oubliette/data"));
    assert_eq!(as_written.root_key.path, Path::new("/keys/root \"1\".key"));
    assert!(Limits::default().first_out_of_range().is_none());
}

#[test]
fn a_security_module_is_told_by_its_library_token_and_pin_file() {
    let (module, pin_file) = (Path::new("/usr/lib/hsm.so"), Path::new("hsm.pin"));
    let text = Config::template(&TemplateValues {
        data_dir: Path::new("data"),
        root_key: RootKeyValues::Pkcs11 { module, token: "the vault's", pin_file, label: "one" },
        signing_key: Path::new("signing.key"),
        address: "127.0.0.1:7443".parse().unwrap(),
        certificate: Path::new("tls/server.pem"),
        key: Path::new("tls/server.key"),
    });
    let config = parse(&text).unwrap().root_key;
    assert_eq!(
        (config.provider, config.token.as_str(), config.label.as_str()),
        (Provider::Pkcs11, "the vault's", "one")
    );
    assert_eq!((config.pin_file.as_path(), config.epoch_window_ms()), (Path::new("/etc/oubliette/hsm.pin"), 1_000));
    let without = parse(&text.replace("token = \"the vault's\"", "token = \"\"")).unwrap_err().to_string();
    assert!(without.contains("root_key.token is empty"), "{without}");
}

#[test]
fn a_mistake_is_told_with_its_line_and_key() {
    let text = template();
    let with = |from: &str, to: &str| parse(&text.replace(from, to)).unwrap_err().to_string();
    let unknown = with("[policy]", "[policy]\nfiel = \"x\"");
    assert!(unknown.contains("fiel") && unknown.contains("line "), "{unknown}");
    let range = with("#connections = 1024", "connections = 0");
    assert!(range.contains("limits.connections must lie between 1 and 65536") && range.contains("line "), "{range}");
    let public = with("[metrics]", "[metrics]\naddress = \"0.0.0.0:9000\"");
    assert!(public.contains("metrics.address must be a loopback address"), "{public}");
}

#[test]
fn plaintext_is_for_loopback_only() {
    let config = |address: &str| {
        parse(&format!(
            "data.dir = 'd'\nroot_key.path = 'k'\nsigning.key = 's'\n[listen]\naddress = '{address}'\nplaintext_on_loopback = true\n"
        ))
    };
    assert!(config("127.0.0.1:1").is_ok());
    assert!(config("0.0.0.0:1").unwrap_err().to_string().contains("loopback addresses only"));
}
