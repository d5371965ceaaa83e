//! sled keeps what was overwritten: after an erasure the old pages of the key tree still lie in its file, byte by byte. Nothing of today opens
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use oubliette::crypto::key_wrap;
use oubliette::domain::codec::Writer;
use oubliette::store::{Database, SledEngine, rows};

use crate::fixture::{Server, files_below};
use crate::loot::Loot;
use crate::tell;
use crate::wire::{Caller, chat};

type Pages = BTreeMap<Vec<u8>, Vec<u8>>;

fn pages(server: &Server) -> Pages {
    let db = SledEngine::open(&server.data_dir().join("db")).unwrap();
    let (from, to) = rows::all(rows::Kind::Page);
    db.range(&from, &to, 4096).unwrap().into_iter().collect()
}

/// The kinds of pages of the key tree, by which a page is bound.
const KINDS: std::ops::RangeInclusive<u8> = 1..=5;

fn opens(loot: &Loot, id: &[u8], sealed: &[u8]) -> bool {
    let bound = |kind| Writer::default().text("oubliette page").u8(kind).fixed(id).finish();
    loot.keys().iter().any(|key| KINDS.into_iter().any(|kind| key_wrap::open(key, &bound(kind), sealed).is_ok()))
}

#[tokio::test]
async fn old_pages_lie_in_the_raw_file_and_no_key_of_today_opens_them() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    for number in 0..60 {
        ingest.store_chat(chat(&format!("chat-{number:04}"), &format!("customer-{number}"))).await.unwrap();
    }
    assert_eq!(server.stop().await.code(), Some(0));
    let before = pages(&server);
    {
        let then = Loot::open(&server.data_dir(), &server.root_key());
        assert!(before.iter().all(|(key, sealed)| opens(&then, &key[1..], sealed)), "the attack is not real");
    }

    server.restart().await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    officer.erase("erase-0001", "customer-7").await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    let after = pages(&server);
    let replaced: BTreeSet<_> = before.iter().filter(|(key, sealed)| after.get(*key) != Some(sealed)).collect();
    let raw: Vec<Vec<u8>> = files_below(&server.data_dir()).iter().map(|path| fs::read(path).unwrap()).collect();
    let lies_there = |sealed: &[u8]| {
        // The first bytes of a sealed page are its nonce, which no other page has.
        raw.iter().any(|file| file.windows(sealed.len().min(64)).any(|window| window == &sealed[..window.len()]))
    };
    let found: Vec<_> = replaced.iter().filter(|(_, sealed)| lies_there(sealed)).collect();
    let now = Loot::open(&server.data_dir(), &server.root_key());
    tell(&format!(
        "old bytes: {} pages were replaced, {} of them still lie in the data directory; {} keys of today were tried",
        replaced.len(),
        found.len(),
        now.keys().len()
    ));
    assert!(replaced.len() >= 4 && !found.is_empty(), "sled kept no old page, so nothing was tried");
    for (key, sealed) in &replaced {
        assert!(!opens(&now, &key[1..], sealed), "an old page opens with a key of today");
    }
    assert!(after.iter().all(|(key, sealed)| opens(&now, &key[1..], sealed)), "the pages of today do not open");
}
