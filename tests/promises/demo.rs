//! `oubliette demo` needs nothing, shows every step, and says by its exit code whether all went as promised.

use std::process::{Command, Output};

fn demo(dir: &std::path::Path) -> Output {
    demo_of(dir, None)
}

fn demo_of(dir: &std::path::Path, corpus: Option<&std::path::Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
    command.arg("demo").arg("--dir").arg(dir);
    if let Some(corpus) = corpus {
        command.arg("--corpus").arg(corpus);
    }
    command.output().unwrap()
}

/// A corpus with more chats than one person may read in a minute by the default ceilings, some of them with passwords.
fn many_chats(folder: &std::path::Path) {
    const CHATS: usize = 400;
    let chats = (0..CHATS).map(|number| {
        let turns = serde_json::json!([
            {"speaker": "customer", "text": format!("Hello, my password is Tr0ub4dor-{number}, and I cannot log in.")},
            {"speaker": "agent", "text": "Thank you. Please never tell anyone your password."},
        ]);
        serde_json::json!({"id": format!("{number:04}"), "domain": "shop", "turns": turns}).to_string() + "\n"
    });
    std::fs::create_dir_all(folder.join("chats")).unwrap();
    std::fs::create_dir_all(folder.join("calls")).unwrap();
    std::fs::write(folder.join("chats/many.jsonl"), chats.collect::<String>()).unwrap();
    // The demo stores sound as bytes; it silences none of it.
    std::fs::write(folder.join("calls/call.wav"), [7; 70_000]).unwrap();
}

#[test]
fn demo_with_a_corpus_reads_more_than_a_ceiling_allows() {
    let folder = tempfile::tempdir().unwrap();
    many_chats(&folder.path().join("corpus"));
    let shown = demo_of(&folder.path().join("demo"), Some(&folder.path().join("corpus")));
    let (text, errors) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{}\n{text}{errors}", shown.status);
    assert!(text.contains("Read 400 chats back as the privacy officer"), "{text}");
}

#[test]
fn bench_compares_every_word_whatever_masking_finds() {
    let run = |seed: u64| {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        bench.args(["bench", "--chats", "300", "--customers", "20", "--writers", "8", "--readers", "4"]);
        bench.args(["--connections", "2", "--recording-mb", "2", "--erasures", "5", "--json", "--seed"]);
        bench.arg(seed.to_string()).output().unwrap()
    };
    for seed in [1, 2, 3] {
        let done = run(seed);
        assert!(done.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        for part in ["chats", "reads", "recording", "erasure"] {
            assert!(!report[part].is_null(), "seed {seed}: no figures of {part}: {report}");
        }
    }
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
