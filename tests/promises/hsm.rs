//! The root key in a security module: SoftHSM2 (Debian's `softhsm2`), spoken to as any other by PKCS #11. Where it is not installed, the
//! tests say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tonic::Code;

use crate::fixture::{PURPOSES, Server, files_below, oubliette, words};
use crate::tell;
use crate::wire::{Caller, assert_refused, chat};

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const PIN: &str = "123456";

/// A SoftHSM2 with one token, in a folder of its own.
pub struct Hsm {
    folder: tempfile::TempDir,
    module: &'static str,
}

impl Hsm {
    /// `None` where SoftHSM2 is not installed.
    pub fn new() -> Option<Self> {
        let module = MODULES.into_iter().find(|path| Path::new(path).is_file());
        let Some(module) = module else {
            assert!(std::env::var_os("CI").is_none(), "the machine of CI has no SoftHSM2");
            tell("SKIPPED: no SoftHSM2 here (Debian: softhsm2), so the security module is not tried");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tokens")).unwrap();
        let conf =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", folder.path().join("tokens").display());
        fs::write(folder.path().join("softhsm2.conf"), conf).unwrap();
        let hsm = Self { folder, module };
        hsm.write_pin(PIN);
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "vault", "--so-pin", "654321", "--pin", PIN])
            .env("SOFTHSM2_CONF", hsm.conf())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", words(&made));
        Some(hsm)
    }

    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    fn write_pin(&self, pin: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.pin_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The flags of `init`.
    pub fn flags(&self) -> Vec<String> {
        let pin_file = self.pin_file().display().to_string();
        ["--pkcs11-module", self.module, "--pkcs11-token", "vault", "--pkcs11-pin-file", &pin_file]
            .map(str::to_owned)
            .to_vec()
    }

    /// Takes the token away, as a cable would, or puts it back.
    fn unplug(&self, unplugged: bool) {
        let (here, away) = (self.folder.path().join("tokens"), self.folder.path().join("away"));
        if unplugged {
            fs::rename(&here, &away).unwrap();
            fs::create_dir(&here).unwrap();
        } else {
            fs::remove_dir(&here).unwrap();
            fs::rename(&away, &here).unwrap();
        }
    }

    /// How many objects the token holds.
    fn objects(&self) -> usize {
        let is_object =
            |path: &&PathBuf| path.extension().is_some_and(|e| e == "object") && !path.ends_with("token.object");
        files_below(&self.folder.path().join("tokens")).iter().filter(is_object).count()
    }
}

#[tokio::test]
async fn with_the_root_key_in_a_security_module_erasures_are_final_and_everyone_else_stays() {
    let Some(hsm) = Hsm::new() else { return };
    let mut server = Server::make_on(&hsm);
    server.set("root_key.epoch_window_ms", "2000");
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let mut records = Vec::new();
    for number in 0..6 {
        let chat = chat(&format!("chat-{number:04}"), &format!("customer-{number}"));
        records.push(ingest.store_chat(chat).await.unwrap());
    }
    let receipt = officer.erase("erase-0000", "customer-0").await.unwrap();
    assert_eq!(
        (receipt.provider.as_str(), receipt.medium_class),
        ("pkcs11", oubliette::api::v1::MediumClass::Hsm.into())
    );
    assert!(!receipt.shares_device && receipt.epoch > 1);
    // Those that come within the window share the next epoch.
    let (one, other) =
        tokio::join!(officer.erase("erase-0001", "customer-1"), officer.erase("erase-0002", "customer-2"));
    assert_eq!(one.unwrap().epoch, other.unwrap().epoch);
    // One key and one pin, whatever epochs there were.
    assert_eq!(server.stop().await.code(), Some(0));
    assert_eq!(hsm.objects(), 2);
    server.restart().await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    for (number, record) in records.iter().enumerate() {
        let read = supervisor.chat(&record.record_id, PURPOSES[0]).await;
        assert_eq!(read.is_ok(), number > 2, "customer-{number}: {:?}", read.err());
    }
}

#[tokio::test]
async fn a_security_module_that_goes_away_stops_erasures_alone_and_goes_on_when_it_is_back() {
    let Some(hsm) = Hsm::new() else { return };
    let mut server = Server::make_on(&hsm);
    server.set("root_key.epoch_window_ms", "0");
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = (
        Caller::of(&server, &people.ingest).await,
        Caller::of(&server, &people.privacy_officer).await,
        Caller::of(&server, &people.supervisor).await,
    );
    let of_ada = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let of_bob = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    hsm.unplug(true);
    assert_refused(officer.erase("erase-0001", "ada").await, Code::Unavailable, "ERASURE_NOT_FINAL");
    let read = supervisor.chat(&of_ada.record_id, PURPOSES[0]).await;
    assert_refused(read, Code::NotFound, "NOT_FOUND");
    supervisor.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
    ingest.store_chat(chat("chat-0003", "bob")).await.unwrap();
    hsm.unplug(false);
    officer.erase("erase-0001", "ada").await.unwrap();

    // Without it nothing starts, and the words say what is missing.
    assert_eq!(server.stop().await.code(), Some(0));
    hsm.unplug(true);
    let refused = server.serve_command().output().unwrap();
    assert!(!refused.status.success());
    assert!(words(&refused).contains("has no token \"vault\""), "{}", words(&refused));
    hsm.unplug(false);
    server.restart().await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    supervisor.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
}

#[tokio::test]
async fn with_a_wrong_pin_reads_go_on_and_the_right_one_needs_no_restart() {
    let Some(hsm) = Hsm::new() else { return };
    let mut server = Server::make_on(&hsm);
    server.set("root_key.epoch_window_ms", "0");
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = (
        Caller::of(&server, &people.ingest).await,
        Caller::of(&server, &people.privacy_officer).await,
        Caller::of(&server, &people.supervisor).await,
    );
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let of_bob = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    hsm.write_pin("999999");
    assert_refused(officer.erase("erase-0001", "ada").await, Code::Unavailable, "ERASURE_NOT_FINAL");
    supervisor.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
    hsm.write_pin(PIN);
    officer.erase("erase-0001", "ada").await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    hsm.write_pin("999999");
    let refused = server.serve_command().output().unwrap();
    assert!(!refused.status.success());
    assert!(words(&refused).contains("refuses the PIN"), "{}", words(&refused));
    assert!(words(&refused).contains("not tried again until that file changes"), "{}", words(&refused));
}

#[test]
fn a_root_key_is_never_made_where_the_token_has_one() {
    let Some(hsm) = Hsm::new() else { return };
    let first = Server::make_on(&hsm);
    let folder = tempfile::tempdir().unwrap();
    let again = oubliette(&["init", "--dir"])
        .arg(folder.path().join("vault"))
        .args(hsm.flags())
        .env("SOFTHSM2_CONF", hsm.conf())
        .output()
        .unwrap();
    assert!(!again.status.success() && words(&again).contains("choose another label"), "{}", words(&again));
    drop(first);
}
