//! Commands of the operator that are killed at any moment and then repeated: the repeat reaches the goal and exits with 0.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::chance::Chance;
use crate::fixture::{Server, oubliette, words};

/// The commands take about as long, debug builds included.
const MOST_LIFE_MS: usize = 400;

fn run(server: &Server, arguments: &[&str]) -> Output {
    oubliette(arguments).arg("--json").arg("--config").arg(server.config()).output().unwrap()
}

/// Starts the command and kills it after a while; then it is repeated twice.
fn kill_and_repeat(server: &Server, arguments: &[&str], chance: &mut Chance) -> Value {
    let mut child = oubliette(arguments).arg("--json").arg("--config").arg(server.config()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(chance.below(MOST_LIFE_MS) as u64));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = Value::Null;
    for repeat in 1..3 {
        let output = run(server, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}, repeat {repeat}: {}", words(&output));
        said = serde_json::from_slice(&output.stdout).unwrap();
    }
    said
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_command_killed_at_any_moment_is_finished_by_its_repeat() {
    let mut chance = Chance::of_test("repeats");
    let mut server = Server::start().await;
    assert_eq!(server.stop().await.code(), Some(0));
    let second = server.root_key().with_file_name("second.key");
    let mirror = server.dir().join("mirror");
    for round in 0..8 {
        let listed = kill_and_repeat(&server, &["root-key", "add", name(&second)], &mut chance)["replicas"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 2, "round {round}: {listed}");
        server.set("root_key.replicas", &format!("[{second:?}]"));
        let listed = kill_and_repeat(&server, &["root-key", "status"], &mut chance)["replicas"].clone();
        assert!(listed[0]["problem"].is_null() && listed[1]["problem"].is_null(), "round {round}: {listed}");
        let id = listed[1]["id"].as_str().unwrap().to_owned();
        fs::remove_file(&second).unwrap();
        server.set("root_key.replicas", "[]");
        let listed = kill_and_repeat(&server, &["root-key", "retire", &id, "--destroyed"], &mut chance);
        assert_eq!(listed["replicas"].as_array().unwrap().len(), 1, "round {round}: {listed}");

        let mirrors = kill_and_repeat(&server, &["mirror", "add", name(&mirror)], &mut chance)["mirrors"].clone();
        assert_eq!(mirrors.as_array().unwrap().len(), 1, "round {round}: {mirrors}");
        assert_eq!(run(&server, &["mirror", "remove", name(&mirror)]).status.code(), Some(0));
        fs::remove_dir_all(&mirror).unwrap();

        let keys = kill_and_repeat(&server, &["signing-key", "rotate"], &mut chance)["keys"].clone();
        fs::remove_file(server.signing_key()).unwrap();
        let replaced = kill_and_repeat(&server, &["signing-key", "replace"], &mut chance)["keys"].clone();
        let (before, after) = (keys.as_array().unwrap().len(), replaced.as_array().unwrap().len());
        assert_eq!(after, before + 1, "round {round}: a lost key was replaced {} times", after - before);
        kill_and_repeat(&server, &["compact"], &mut chance);
    }
    server.restart().await;
    assert_eq!(server.stop().await.code(), Some(0));
}
