//! The house rules, held against the sources as text: who may import whom, who may name which crate, what a secret may derive,
//! how long files and functions may be. Each rule is also tried on a small planted breach, so that none is green for ever.

#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use source::{Source, functions, paths, read_house, types};

/// Which rooms each room may import, besides itself. A room that is not named here does not belong to the house.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("crypto", &[]),
    ("keys", &["domain", "crypto"]),
    ("audit", &["domain", "crypto"]),
    ("masking", &["domain"]),
    ("root_key", &["domain", "crypto"]),
    ("access", &["domain"]),
    ("store", &["domain", "audit"]),
    ("vault", &["domain", "crypto", "keys", "root_key", "audit", "masking", "store", "access"]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("tls", &["domain", "crypto", "config", "telemetry"]),
    ("api", &["domain", "vault", "access", "config", "telemetry", "tls"]),
    ("cli", &["domain", "api", "vault", "config", "telemetry"]),
    ("manual", &[]),
    ("main", &["cli", "config", "telemetry"]),
    ("lib", &[]),
];

/// All that the vault may import of `access`: it takes permits, it never asks for one.
const VAULT_OF_ACCESS: &[&str] = &["Permit", "TenantScope"];

/// Files that may import more than their room, and why.
const MAY_IMPORT_MORE: &[(&str, &[&str], &str)] = &[
    ("access/jwt", &["crypto"], "verifies the signatures of issuers of tokens"),
    ("access/jwks", &["crypto"], "hands out the keys that verify them"),
    ("api/gate", &["crypto"], "hashes the secret of a token that comes in"),
    ("api/admin_service", &["crypto"], "mints tokens: random bytes, and their hash"),
    ("api/records_service", &["crypto"], "hashes a request, so that a repeat with other content is known"),
    ("api/page_token", &["crypto"], "ties a page token to its question by a hash"),
    ("cli/client/transfer", &["crypto"], "checks by SHA-256 what it sends and gets"),
    ("cli/init", &["access", "crypto", "audit"], "mints the first admin's token, and names the log"),
    ("cli/audit", &["audit", "root_key"], "checks copies of the log offline, and is a witness"),
    ("cli/errors", &["root_key"], "tells of a witness's key that cannot be used"),
    ("cli/receipt", &["audit"], "checks receipts offline"),
    (
        "cli/serve",
        &["access", "crypto", "tls"],
        "hands policy and issuers on, and has certificates and revocation lists followed",
    ),
    ("cli/policy", &["access", "crypto"], "loads and checks policies, and tells them apart by a hash"),
    ("cli/demo/content", &["crypto"], "knows by SHA-256 what it stored"),
    ("cli/demo/attacker", &["keys", "crypto", "store", "root_key"], "an attacker goes round the house by definition"),
];

/// Which rooms may name which crates.
const MAY_NAME: &[(&[&str], &[&str])] = &[
    (&["crypto"], &["aes_gcm", "aws_lc_rs", "hkdf", "hmac", "sha2"]),
    (&["store"], &["sled", "object_store"]),
    (&["access"], &["cedar_policy"]),
    (&["root_key"], &["cryptoki"]),
    (&["tls"], &["x509_cert"]),
    (&["tls", "api", "access"], &["rustls"]),
    (&["tls", "api"], &["tokio_rustls"]),
    (
        &["api", "cli"],
        &["tonic", "tonic_health", "tonic_prost", "tonic_reflection", "tonic_types", "prost", "prost_types"],
    ),
];

/// Files that may name a crate which their room may not, and why.
const MAY_NAME_MORE: &[(&str, &str, &str)] = &[];

/// Types that are secrets whatever they are made of. A type that holds something `Zeroizing` is one without being named here.
const SECRETS: &[&str] = &["Key", "BearerToken"];

/// What a secret may derive all the same, and why.
const SECRET_MAY_DERIVE: &[(&str, &str, &str)] =
    &[("Turn", "Clone", "what was said, not a key; whoever may hold a chat may hold it twice")];

/// Where serde's derives may stand: what is read from and written for people, never a stored format.
const SERDE_IN: &[&str] = &["config", "cli"];

const MOST_LINES_OF_A_FILE: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// Files (`store/batch.rs`) and functions (`store/batch.rs fn apply`) that are longer, and why.
const LONGER: &[(&str, &str)] = &[];

/// A rule: what is wrong in one file, a sentence for each breach.
type Rule = fn(&Source) -> Vec<String>;

fn hold(rule: Rule, folders: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let house: Vec<Source> = folders.iter().flat_map(|folder| read_house(&root.join(folder))).collect();
    assert!(house.iter().any(|source| !source.code.trim().is_empty()), "no source was read");
    let breaches: Vec<String> = house.iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "{} breaches of the house rules:\n{}", breaches.len(), breaches.join("\n"));
}

/// That `rule` finds `breaches` breaches in `text`, were it the file `path`.
fn plant(rule: Rule, path: &str, text: &str, breaches: usize) {
    let found = rule(&Source::new(path, text));
    assert_eq!(found.len(), breaches, "in {path}: {text}\nfound: {found:#?}");
}

fn breach(source: &Source, at: usize, words: &str) -> String {
    format!("{}:{}: {words}", source.path, source.line(at))
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|row| row.0 == name).map(|row| row.1)
}

// --- Who may import whom ---------------------------------------------------------------------------------------------------

fn imports(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some(allowed) = lookup(MAY_IMPORT, room) else {
        return vec![breach(
            source,
            0,
            &format!("`{room}` is no room of the house; give it its imports in MAY_IMPORT"),
        )];
    };
    let more = MAY_IMPORT_MORE.iter().find(|row| source.path.starts_with(row.0)).map_or(&[][..], |row| row.1);
    let mut breaches = Vec::new();
    for named in paths(&source.code) {
        let Some(path) = of_ours(source, &named.segments) else { continue };
        let Some(target) = path.first().copied().filter(|target| lookup(MAY_IMPORT, target).is_some()) else {
            continue;
        };
        let is_allowed = target == room || room == "lib" || allowed.contains(&target) || more.contains(&target);
        let last = path.last().copied().unwrap_or_default();
        if !is_allowed {
            breaches.push(breach(source, named.at, &format!("`{room}` may not import `{target}`")));
        } else if (room, target) == ("vault", "access") && !VAULT_OF_ACCESS.contains(&last) {
            breaches.push(breach(source, named.at, &format!("of `access` the vault may import {VAULT_OF_ACCESS:?}")));
        }
    }
    breaches
}

/// The path from the root of the crate, where it is one of ours.
fn of_ours<'a>(source: &'a Source, segments: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut module = source.module();
    let mut rest = segments;
    match segments.first()? {
        &"oubliette" if source.room() != "main" => return None,
        &"crate" | &"oubliette" => {
            module.clear();
            rest = &rest[1..];
        }
        &"self" => rest = &rest[1..],
        &"super" => (),
        _ => return None,
    }
    while rest.first() == Some(&"super") {
        module.pop();
        rest = &rest[1..];
    }
    module.extend(rest);
    Some(module)
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    plant(imports, "crypto/kdf.rs", "use crate::domain::ids::Handle;", 1);
    plant(imports, "crypto/kdf.rs", "use super::super::store::Batch;", 1);
    plant(imports, "store/mod.rs", "use crate::{domain::ids, vault::{self, erasure}};", 2);
    plant(imports, "keys/mod.rs", "fn f() { crate::audit::append() }", 1);
    plant(imports, "keys/mod.rs", "// crate::audit\nconst A: &str = \"crate::audit::x\"; /* crate::audit::y */", 0);
    plant(imports, "keys/mod.rs", "#[cfg(test)]\nmod tests {\n use crate::audit::Entry; }\nuse crate::domain::x;", 0);
    plant(imports, "vault/mod.rs", "use crate::access::permit::{Permit, TenantScope};", 0);
    plant(imports, "vault/mod.rs", "use crate::access::{Access, permit::Permit};", 1);
    plant(imports, "cli/demo/attacker.rs", "use crate::keys::Page;", 0);
    plant(imports, "cli/demo/mod.rs", "use crate::keys::Page;", 1);
    plant(imports, "main.rs", "fn main() { oubliette::vault::open() }", 1);
    plant(imports, "attic/mod.rs", "", 1);
    hold(imports, &["src"]);
}

// --- Who may name which crate ----------------------------------------------------------------------------------------------

fn crates(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for named in paths(&source.code) {
        let first = named.segments.first().copied().unwrap_or_default();
        let Some((rooms, _)) = MAY_NAME.iter().find(|(_, crates)| crates.contains(&first)) else { continue };
        let is_excepted = MAY_NAME_MORE.iter().any(|(path, krate, _)| *path == source.path && *krate == first);
        if !rooms.contains(&source.room()) && !is_excepted {
            breaches.push(breach(source, named.at, &format!("only {rooms:?} may name `{first}`")));
        }
    }
    breaches
}

#[test]
fn each_crate_is_named_in_its_room_only() {
    plant(crates, "vault/mod.rs", "use sha2::{Digest, Sha256};", 2);
    plant(crates, "vault/mod.rs", "use {bytes::Bytes, sled::Db};", 1);
    plant(crates, "vault/mod.rs", "fn f() { let t = ::tonic::Status::ok(\"\"); } extern crate prost;", 2);
    plant(crates, "store/sled_engine.rs", "use sled as engine;", 0);
    plant(crates, "api/mod.rs", "#[tonic::async_trait]\nimpl A for B {}", 0);
    hold(crates, &["src"]);
}

// --- Exit codes, panics, leftovers -----------------------------------------------------------------------------------------

fn exits(source: &Source) -> Vec<String> {
    if source.path == "main.rs" {
        return Vec::new();
    }
    let is_exit = |path: &[&str]| {
        path.contains(&"ExitCode") || path.windows(2).any(|pair| matches!(pair, ["process", "exit" | "abort"]))
    };
    let exits = paths(&source.code).into_iter().filter(|named| is_exit(&named.segments));
    exits.map(|named| breach(source, named.at, "exit codes live in main.rs only")).collect()
}

fn panics(source: &Source) -> Vec<String> {
    let unwraps = source.code.match_indices(".unwrap()").map(|(at, _)| (at, "use `?`, or `expect` with the invariant"));
    let silent = source.code.match_indices(".expect(").filter(|(at, call)| {
        let message = source.raw[at + call.len()..].trim_start().strip_prefix('"');
        message.is_some_and(|message| message.split('"').next().is_some_and(|message| message.trim().is_empty()))
    });
    let silent = silent.map(|(at, _)| (at, "this `expect` does not say what holds"));
    unwraps.chain(silent).map(|(at, words)| breach(source, at, words)).collect()
}

fn leftovers(source: &Source) -> Vec<String> {
    let tokens = source::tokens(&source.masked);
    let macros = tokens
        .windows(2)
        .filter(|pair| matches!(pair[0].text, "dbg" | "todo" | "unimplemented") && pair[1].text == "!");
    let macros = macros.map(|pair| (pair[0].at, "a leftover of the work"));
    let ignored = source.masked.match_indices("#[ignore").filter(|(at, attribute)| {
        let reason = source.raw[at + attribute.len()..].trim_start().strip_prefix('=').map(str::trim_start);
        let reason = reason.and_then(|reason| reason.strip_prefix('"')).and_then(|reason| reason.split('"').next());
        reason.is_none_or(|reason| reason.trim().is_empty())
    });
    let ignored = ignored.map(|(at, _)| (at, "an ignored test says why: #[ignore = \"...\"]"));
    macros.chain(ignored).map(|(at, words)| breach(source, at, words)).collect()
}

#[test]
fn exit_codes_live_in_main_only() {
    plant(exits, "cli/mod.rs", "use std::process::{Command, ExitCode};\nfn f() { std::process::exit(1) }", 2);
    plant(exits, "cli/mod.rs", "use std::process::Command;", 0);
    plant(exits, "main.rs", "use std::process::ExitCode;", 0);
    hold(exits, &["src"]);
}

#[test]
fn nothing_panics_without_naming_its_invariant() {
    plant(
        panics,
        "keys/mod.rs",
        "fn f() { a.unwrap(); b.expect(\"\"); c.expect( \" \"); d.expect(\"a page has a parent\") }",
        3,
    );
    plant(panics, "keys/mod.rs", "/// `a.unwrap()`\nfn f() { s(\"a.unwrap()\", '\"', b'\\'', r#\"\".unwrap()\"#) }", 0);
    plant(panics, "keys/mod.rs", "#[cfg(test)]\nmod t { fn f(a: [u8; 2]) { a.unwrap(); } }\nfn g() { a.unwrap() }", 1);
    hold(panics, &["src"]);
}

#[test]
fn nothing_is_left_over() {
    plant(leftovers, "keys/mod.rs", "fn f() { dbg!(1); todo!() }\n#[test]\n#[ignore]\nfn a() {}", 3);
    plant(leftovers, "keys/mod.rs", "#[ignore = \"\"]\nfn a() {}\n#[ignore = \"needs an HSM\"]\nfn b() {}", 1);
    hold(leftovers, &["src", "tests"]);
}

// --- Secrets and stored formats --------------------------------------------------------------------------------------------

/// A type that holds secret bytes itself must not pass them on. One that holds such a type needs no rule: what the inner type
/// cannot do, the outer cannot derive.
fn secrets(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for secret in types(&source.code) {
        if !SECRETS.contains(&secret.name) && !secret.body.contains("Zeroizing") {
            continue;
        }
        let forbidden = ["Debug", "Clone", "Copy", "Serialize", "Deserialize"];
        let is_excepted = |derive: &str| SECRET_MAY_DERIVE.iter().any(|row| (row.0, row.1) == (secret.name, derive));
        for derive in secret.derives.iter().filter(|derive| forbidden.contains(derive) && !is_excepted(derive)) {
            breaches.push(breach(source, secret.at, &format!("the secret `{}` may not derive {derive}", secret.name)));
        }
        breaches.extend(loud_impls(source, secret.name));
    }
    breaches
}

/// Where `name` is given a `Debug` that prints more than a fixed word, or what no secret has.
fn loud_impls(source: &Source, name: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for what in ["Debug", "Display", "Clone", "Copy", "Serialize"] {
        let header = format!("{what} for {name}");
        for (at, _) in source.code.match_indices(&header) {
            let rest = &source.code[at + header.len()..];
            let is_longer_name = rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let end = at + rest.find("\n}").map_or(rest.len(), |end| end + header.len());
            let is_silent = what == "Debug" && source.raw[at..end].contains("(..)");
            if !is_longer_name && !is_silent {
                breaches.push(breach(source, at, &format!("the secret `{name}` has a {what} that is not silent")));
            }
        }
    }
    breaches
}

fn serde(source: &Source) -> Vec<String> {
    let derives = |derives: &[&str]| derives.iter().any(|derive| matches!(*derive, "Serialize" | "Deserialize"));
    let breaches =
        types(&source.code).into_iter().filter(|t| derives(&t.derives) && !SERDE_IN.contains(&source.room()));
    breaches.map(|t| breach(source, t.at, "stored formats are written by hand: no serde derives here")).collect()
}

#[test]
fn secrets_are_silent_and_never_copied() {
    let silent = "impl fmt::Debug for Key {\n    fn fmt() { f.write_str(\"Key(..)\") }\n}";
    plant(secrets, "crypto/secret.rs", &format!("pub struct Key(Box<[u8; 32]>);\n{silent}\n"), 0);
    plant(
        secrets,
        "crypto/secret.rs",
        &format!("pub struct Key([u8; 32]);\n{}\n", silent.replace("(..)", "({:?})")),
        1,
    );
    plant(
        secrets,
        "crypto/secret.rs",
        "#[derive(Debug, Clone)]\n/// A key.\n#[must_use]\npub struct Key([u8; 32]);",
        2,
    );
    plant(secrets, "vault/x.rs", "#[derive(PartialEq, serde::Serialize)]\nstruct S { a: Zeroizing<Vec<u8>> }", 1);
    plant(
        secrets,
        "vault/x.rs",
        "struct S { a: Zeroizing<Vec<u8>> }\nimpl Clone for S {\n}\nimpl Display for Sum {\n}\n",
        1,
    );
    plant(secrets, "vault/x.rs", "#[derive(Debug)]\nstruct A;\nstruct B(Zeroizing<u8>);", 0);
    hold(secrets, &["src"]);
}

#[test]
fn stored_formats_have_no_serde() {
    plant(serde, "domain/x.rs", "#[derive(Debug, Deserialize)]\nstruct A { b: u8 }", 1);
    plant(serde, "config.rs", "#[derive(Debug, Deserialize)]\nstruct A { b: u8 }", 0);
    hold(serde, &["src"]);
}

// --- Length ----------------------------------------------------------------------------------------------------------------

/// What is too long: its name in LONGER, and how long it is.
fn too_long(source: &Source) -> Vec<(String, usize)> {
    let lines = source.raw.lines().count();
    let file = (lines > MOST_LINES_OF_A_FILE).then(|| (source.path.clone(), lines));
    let functions = functions(&source.masked).into_iter().filter(|f| f.lines > MOST_LINES_OF_A_FUNCTION);
    let named = functions.map(|f| (format!("{} fn {}", source.path, f.name), f.lines));
    file.into_iter().chain(named).collect()
}

fn length(source: &Source) -> Vec<String> {
    let unnamed = too_long(source).into_iter().filter(|(name, _)| lookup(LONGER, name).is_none());
    unnamed.map(|(name, lines)| format!("{name}: {lines} lines; split it, or say in LONGER why not")).collect()
}

#[test]
fn files_and_functions_are_short() {
    let body = "    a();\n".repeat(MOST_LINES_OF_A_FUNCTION - 1);
    plant(length, "keys/mod.rs", &format!("fn f(x: [u8; 2]) -> [u8; 2] {{\n{body}}}\nfn g();\n"), 1);
    plant(length, "keys/mod.rs", &format!("fn f() {{\n{}}}\n", &body[9..]), 0);
    plant(length, "keys/mod.rs", &"\n".repeat(MOST_LINES_OF_A_FILE + 1), 1);
    hold(length, &["src"]);
}

#[test]
fn every_exception_still_applies_and_has_its_reason() {
    let house = read_house(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let long: Vec<String> = house.iter().flat_map(too_long).map(|(name, _)| name).collect();
    for (name, reason) in LONGER {
        assert!(long.iter().any(|long| long == name), "{name} is short enough: take it out of LONGER");
        assert!(!reason.is_empty(), "{name} needs a reason");
    }
    for (path, krate, reason) in MAY_NAME_MORE {
        let names = |source: &Source| paths(&source.code).iter().any(|named| named.segments.first() == Some(krate));
        let applies = house.iter().any(|source| source.path == *path && names(source));
        assert!(applies && !reason.is_empty(), "{path} does not name {krate}: take it out of MAY_NAME_MORE");
    }
    for (name, derive, reason) in SECRET_MAY_DERIVE {
        let derives =
            |source: &Source| types(&source.code).iter().any(|t| t.name == *name && t.derives.contains(derive));
        assert!(house.iter().any(derives) && !reason.is_empty(), "{name} does not derive {derive}: take it out");
    }
    assert!(MAY_IMPORT_MORE.iter().all(|(_, _, reason)| !reason.is_empty()));
}
