//! SoftHSM2 for tests: a token, and what its user can do to it past the provider.
//!
//! SoftHSM2 reads where its tokens are from the environment of the process. So a test that needs it runs itself once more, with that set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::mechanism::Mechanism;

use super::*;
use crate::domain::codec::hex;

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const CONF: &str = "SOFTHSM2_CONF";
/// Names the folder to the process that a test starts for itself. Not SoftHSM2's own variable: a developer may have that set, and his tokens
/// are no business of ours.
const FOLDER: &str = "OUBLIETTE_TEST_SOFTHSM2";
pub(crate) const PIN: &str = "123456";

/// A SoftHSM2 with one token, in a folder of its own.
pub(crate) struct SoftHsm {
    pub folder: PathBuf,
}

impl SoftHsm {
    /// For the test `module::test`. `None` in the process that runs all tests, once the test has passed in one of its own; and where SoftHSM2
    /// is not installed.
    pub fn of_test(module: &str, test: &str) -> Option<Self> {
        if let Some(folder) = std::env::var_os(FOLDER) {
            return Some(Self { folder: folder.into() });
        }
        use std::io::Write as _;
        if !MODULES.iter().any(|path| Path::new(path).is_file()) {
            assert!(std::env::var_os("CI").is_none(), "the machine of CI has no SoftHSM2");
            let words = format!("SKIPPED: no SoftHSM2 here (Debian: softhsm2), so {test} is not run");
            writeln!(std::io::stderr().lock(), "{words}").unwrap();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let hsm = Self { folder: folder.path().to_owned() };
        hsm.make_token();
        let module = module.split_once("::").unwrap().1;
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(CONF, folder.path().join("softhsm2.conf"))
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        for skipped in said.lines().filter(|line| line.contains("SKIPPED: ")) {
            writeln!(std::io::stderr().lock(), "{skipped}").unwrap();
        }
        None
    }

    fn make_token(&self) {
        fs::create_dir(self.tokens()).unwrap();
        let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\n", self.tokens().display());
        fs::write(self.folder.join("softhsm2.conf"), conf).unwrap();
        self.write_pin(PIN);
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "vault", "--so-pin", "654321", "--pin", PIN])
            .env(CONF, self.folder.join("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    pub fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), pin).unwrap();
        fs::set_permissions(self.pin_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    /// A place of its own in the token.
    pub fn place(&self) -> Pkcs11Place {
        let module = MODULES.into_iter().find(|path| Path::new(path).is_file()).unwrap();
        let label = hex(&random_bytes::<8>());
        Pkcs11Place { module: module.into(), token: "vault".to_owned(), pin_file: self.pin_file(), label }
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// The folder of the token.
    pub fn token(&self) -> PathBuf {
        fs::read_dir(self.tokens()).unwrap().next().unwrap().unwrap().path()
    }

    /// Takes the token away, as a cable would.
    pub fn unplug(&self) {
        fs::rename(self.tokens(), self.folder.join("away")).unwrap();
        fs::create_dir(self.tokens()).unwrap();
    }

    pub fn plug_in(&self) {
        fs::remove_dir(self.tokens()).unwrap();
        fs::rename(self.folder.join("away"), self.tokens()).unwrap();
    }

    /// The files of its objects, each with what stands in it.
    pub fn objects(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(self.token()).unwrap().map(|entry| entry.unwrap().path());
        let is_object =
            |path: &PathBuf| path.extension().is_some_and(|e| e == "object") && !path.ends_with("token.object");
        files.filter(is_object).filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect()
    }
}

/// What the user of the token can do with its own tools.
impl Pkcs11RootKey {
    /// Stages a key as a module would that knows no keys which must not be copied.
    pub(crate) fn stage_copyable(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        let id = RootKeyId(random_bytes());
        let label = format!("{} root key {id} epoch {epoch}", self.place.label);
        let mut template = aes(&label, &[Attribute::Encrypt(true), Attribute::Decrypt(true)]);
        template.push(Attribute::ValueLen(32.into()));
        self.session(|session| Ok(session.generate_key(&Mechanism::AesKeyGen, &template).map(|_| id).unwrap()))
    }

    /// Copies a key under a label that is none of ours.
    pub(crate) fn copy_key(&self, id: RootKeyId, label: &str) -> Result<(), Error> {
        let template = [Attribute::Label(label.as_bytes().to_vec())];
        self.session(|session| Ok(session.copy_object(self.find(session, id)?.object, &template).map(drop))).unwrap()
    }

    /// Changes the label of a key.
    pub(crate) fn relabel_key(&self, id: RootKeyId, label: &str) -> Result<(), Error> {
        let template = [Attribute::Label(label.as_bytes().to_vec())];
        self.session(|session| Ok(session.update_attributes(self.find(session, id)?.object, &template))).unwrap()
    }

    /// The file that goes when this key is destroyed. Found out by doing so, and putting it back.
    pub(crate) fn file_of(&self, id: RootKeyId, hsm: &SoftHsm) -> PathBuf {
        let before = hsm.objects();
        let destroyed = self.session(|session| Ok(session.destroy_object(self.find(session, id)?.object)));
        destroyed.unwrap().unwrap();
        let after = hsm.objects();
        let gone: Vec<_> = before.iter().filter(|(path, _)| !after.contains_key(*path)).collect();
        let [(path, file)] = gone[..] else { panic!("{} files went", gone.len()) };
        fs::write(path, file).unwrap();
        fs::write(path.with_extension("lock"), "").unwrap();
        path.clone()
    }

    /// Puts an AES key in whose bytes are known.
    pub(crate) fn plant(&self, label: &str, may: &[Attribute]) {
        let template = [aes(label, may), vec![Attribute::Value(vec![7; 32])]].concat();
        self.session(|session| Ok(session.create_object(&template).unwrap())).unwrap();
    }

    /// Destroys what has this label, whole; how many there were.
    pub(crate) fn destroy_labelled(&self, label: &str) -> usize {
        let template = [Attribute::Label(label.as_bytes().to_vec())];
        self.session(|session| {
            let found = session.find_objects(&template).unwrap();
            found.iter().for_each(|object| session.destroy_object(*object).unwrap());
            Ok(found.len())
        })
        .unwrap()
    }

    /// What our labels begin with.
    pub(crate) fn label(&self) -> &str {
        &self.place.label
    }
}

fn aes(label: &str, may: &[Attribute]) -> Vec<Attribute> {
    let always = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    [&always[..], may].concat()
}
