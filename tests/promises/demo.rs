//! `oubliette demo` needs nothing, shows every step, and says by its exit code whether all went as promised.

use std::process::{Command, Output};

fn demo(dir: &std::path::Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
    command.arg("demo").arg("--dir").arg(dir).output().unwrap()
}

#[test]
fn the_demo_keeps_its_promises_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let shown = demo(&dir);
    let (text, errors) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{}\n{text}{errors}", shown.status);
    for words in [
        " 1. The vault runs on 127.0.0.1:",
        "Stored 6 chats of 5 customers",
        "Stored 2 call recordings",
        "to the byte (SHA-256)",
        "NOT_FOUND, in the same words",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "all 8 records open",
        "erased C-1001-anna, of whom there are 3 records. Receipt ",
        "both refused",
        "The root key of now does not open the old copy",
        "5 records opened as they were stored and 0 did not; of the erased customer's 3 records, 0 opened",
        "that lock the erased customer's records, name and list: 0 opened",
        "steps as promised: ",
    ] {
        assert!(text.contains(words), "not said: {words}\n{text}");
    }
    let timings = text.lines().filter(|line| line.ends_with(" ms)") || line.ends_with(" s)")).count();
    assert_eq!(timings, text.lines().count(), "a line without its timing:\n{text}");
    assert!(errors.is_empty(), "{errors}");
    assert!(!dir.exists(), "the demo's folder was left behind");
}

#[test]
fn the_demo_touches_no_folder_that_has_something_in_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let refused = demo(folder.path());
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
