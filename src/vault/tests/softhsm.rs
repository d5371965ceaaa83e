//! The crash matrix with the root key in a security module, SoftHSM2: faults before and behind every operation of disk and module, and the
//! module going away in the middle of an epoch and coming back.
//!
//! SoftHSM2 reads where its tokens are from the environment of the process. So the test runs itself once more, with that set.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::domain::codec::hex;

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const CONF: &str = "SOFTHSM2_CONF";
const PIN: &str = "123456";

/// A folder with a token; `None` where SoftHSM2 is not installed.
fn token() -> Option<tempfile::TempDir> {
    use std::io::Write as _;
    if !MODULES.iter().any(|path| Path::new(path).is_file()) {
        assert!(std::env::var_os("CI").is_none(), "the machine of CI has no SoftHSM2");
        let words = "SKIPPED: no SoftHSM2 here (Debian: softhsm2), so its crash matrix is not run";
        writeln!(std::io::stderr().lock(), "{words}").unwrap();
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    std::fs::write(folder.path().join("softhsm2.conf"), conf).unwrap();
    std::fs::write(folder.path().join("pin"), PIN).unwrap();
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("pin"), mode).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "vault", "--so-pin", "654321", "--pin", PIN])
        .env(CONF, folder.path().join("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_on_softhsm2_an_erasure_is_not_begun_or_final_and_the_module_may_go_away_and_come_back() {
    if let Some(conf) = std::env::var_os(CONF) {
        let folder = Path::new(&conf).parent().unwrap().to_owned();
        crash_matrix::a_fault_at_every_operation(async || house(&folder).await).await;
        return the_module_goes_away(&folder).await;
    }
    let Some(folder) = token() else { return };
    let this = "vault::tests::softhsm::crash_matrix_on_softhsm2_an_erasure_is_not_begun_or_final_and_the_module_may_go_away_and_come_back";
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(CONF, folder.path().join("softhsm2.conf"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// A vault whose root key stands in the token, under a label of its own.
async fn house(folder: &Path) -> House {
    let module = MODULES.into_iter().find(|path| Path::new(path).is_file()).unwrap();
    let label = hex(&crate::crypto::secret::random_bytes::<8>());
    let place = Pkcs11Place { module: module.into(), token: "vault".to_owned(), pin_file: folder.join("pin"), label };
    House::on(limits(), Some(place)).await
}

/// Before every operation, as a cable would; the service goes on when it is back, without a restart or after one.
async fn the_module_goes_away(folder: &Path) {
    let (here, away) = (folder.join("tokens"), folder.join("away"));
    let mut refused = 0;
    for after in 0..MANY {
        for restart in [false, true] {
            let house = house(folder).await;
            let mut vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            let (from, to) = (here.clone(), away.clone());
            house.fault.arm_with(after, move || {
                std::fs::rename(&from, &to).unwrap();
                std::fs::create_dir(&from).unwrap();
            });
            let answer = house.erase(&vault, "ada").await;
            if house.fault.was_missed() {
                answer.unwrap();
                assert!(refused > 4, "the module was missed {refused} times");
                return;
            }
            let place = format!("operation {after}, restart: {restart}");
            refused += usize::from(answer.is_err());
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}: reads stop");
            std::fs::remove_dir(&here).unwrap();
            std::fs::rename(&away, &here).unwrap();
            if restart {
                vault.close().await;
                drop(vault);
                vault = house.open().await;
            }
            house.erase(&vault, "ada").await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(house.final_erasures(&vault), 1, "{place}");
            assert_eq!(vault.core.provider.held().unwrap().len(), 1, "{place}");
            assert_eq!(house.read(&vault, ada).await, None, "{place}");
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}");
            vault.close().await;
        }
    }
    panic!("an erasure has more operations than {MANY}");
}
