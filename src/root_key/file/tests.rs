use std::fs;

use super::*;

struct Media {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Media {
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = (0..count).map(|n| folder.path().join(format!("medium-{n}.key"))).collect();
        Self { folder, paths }
    }

    fn open(&self) -> FileRootKey {
        FileRootKey::open(&self.paths).unwrap()
    }
}

fn ids(provider: &FileRootKey) -> Vec<RootKeyId> {
    provider.held().unwrap().into_iter().map(|held| held.id).collect()
}

fn pin(size: u64) -> Pin {
    Pin { epoch: 1, size, root: [size as u8; 32] }
}

#[test]
fn a_destroyed_key_is_overwritten_where_it_stood_in_every_replica() {
    let media = Media::new(2);
    let (provider, first) = FileRootKey::create(&media.paths).unwrap();
    let key = provider.find(first).unwrap();
    let in_hex = codec::hex(key.expose());
    let inodes = || media.paths.iter().map(|path| fs::metadata(path).unwrap().ino()).collect::<Vec<_>>();
    let before = inodes();
    let second = provider.stage(2).unwrap();
    assert_eq!(ids(&provider), [first, second]);
    assert!(matches!(provider.stage(3), Err(RootKeyError::StagedAlready)));
    provider.keep_only(second).unwrap();
    assert_eq!(ids(&media.open()), [second]);
    for path in &media.paths {
        assert!(!fs::read_to_string(path).unwrap().contains(&in_hex));
    }
    assert_eq!(inodes(), before, "no file with the old key lost its name");
    assert!(matches!(provider.keep_only(first), Err(RootKeyError::ReplicaStale { .. })));
    assert_eq!(ids(&provider), [second], "nothing is destroyed for a key that is not there");
}

#[test]
fn a_page_that_was_cut_counts_as_not_there_and_harms_no_other() {
    let media = Media::new(1);
    let (provider, first) = FileRootKey::create(&media.paths).unwrap();
    provider.set_pin(&pin(1)).unwrap();
    provider.set_pin(&pin(2)).unwrap();
    provider.stage(2).unwrap();
    let whole = fs::read(&media.paths[0]).unwrap();
    for cut in (1..4096).step_by(13) {
        // The staged key's page, and the page of the newest pin.
        for page in [2, 4] {
            let mut torn = whole.clone();
            let from = page * 4096 + cut;
            torn[from..(page + 1) * 4096].fill(0xff);
            fs::write(&media.paths[0], torn).unwrap();
            let provider = media.open();
            assert!(ids(&provider).contains(&first), "cut at {cut}");
            assert!(provider.pin().unwrap().unwrap().size >= 1, "cut at {cut}");
            provider.keep_only(first).unwrap();
            assert_eq!(ids(&provider), [first]);
            provider.stage(2).unwrap();
        }
    }
}

#[test]
fn a_missing_replica_stops_changes_and_no_reading_until_it_is_back_or_retired() {
    let media = Media::new(3);
    let (provider, first) = FileRootKey::create(&media.paths).unwrap();
    let away = media.folder.path().join("away");
    fs::rename(&media.paths[1], &away).unwrap();
    assert_eq!(ids(&media.open()), [first]);
    for refused in [provider.stage(2).map(drop), provider.keep_only(first), provider.set_pin(&pin(1))] {
        assert!(matches!(refused, Err(RootKeyError::ReplicaMissing { .. })), "{refused:?}");
    }
    let lost = provider.status()[1].clone();
    assert!(lost.problem.is_some() && lost.id.len() == 32);
    let at_hand = provider.status()[0].clone();
    assert!(matches!(provider.retire(&at_hand.id, false), Err(RootKeyError::ReplicaAtHand { .. })));
    assert!(matches!(provider.retire(&"0".repeat(32), false), Err(RootKeyError::NoSuchReplica { .. })));
    fs::rename(&away, &media.paths[1]).unwrap();
    let second = provider.stage(2).unwrap();
    provider.keep_only(second).unwrap();

    fs::rename(&media.paths[1], &away).unwrap();
    provider.retire(&lost.id, false).unwrap();
    let rest = [media.paths[0].clone(), media.paths[2].clone()];
    let provider = FileRootKey::open(&rest).unwrap();
    assert_eq!(provider.lost_replicas().unwrap(), 1);
    let third = provider.stage(3).unwrap();
    provider.keep_only(third).unwrap();
    // The one that was given up comes back: it is of no use, and does not pass for one of them.
    fs::rename(&away, &media.paths[1]).unwrap();
    let refused = media.open().stage(4);
    assert!(matches!(refused, Err(RootKeyError::ReplicaOfOthers { .. } | RootKeyError::ReplicaNotConfigured { .. })));

    let new = media.folder.path().join("new.key");
    provider.add(&new, third).unwrap();
    assert!(matches!(provider.stage(4), Err(RootKeyError::ReplicaNotConfigured { .. })), "the new one is not named");
    let all = [rest[0].clone(), rest[1].clone(), new];
    let provider = FileRootKey::open(&all).unwrap();
    let fourth = provider.stage(4).unwrap();
    provider.keep_only(fourth).unwrap();
    assert_eq!(ids(&FileRootKey::open(&all[2..]).unwrap()), [fourth]);
}

#[test]
fn the_newest_pin_counts() {
    let media = Media::new(2);
    let (provider, _) = FileRootKey::create(&media.paths).unwrap();
    assert_eq!(provider.pin().unwrap(), None);
    for size in 1..20 {
        provider.set_pin(&pin(size)).unwrap();
        assert_eq!(media.open().pin().unwrap(), Some(pin(size)));
    }
}
