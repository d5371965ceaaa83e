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
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
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

/// The file as it is after the power went while a page was written: up to `cut` new, from there on noise.
fn torn(whole: &[u8], page: usize, cut: usize) -> Vec<u8> {
    let mut torn = whole.to_vec();
    torn[page * 4096 + cut..(page + 1) * 4096].fill(0xff);
    torn
}

#[test]
fn a_page_that_was_cut_counts_as_not_there_and_harms_no_other() {
    let media = Media::new(1);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
    provider.set_pin(&pin(1)).unwrap();
    provider.set_pin(&pin(2)).unwrap();
    provider.stage(2).unwrap();
    let whole = fs::read(&media.paths[0]).unwrap();
    assert_eq!(whole.len(), 6 * 4096);
    for cut in (1..4096).step_by(41) {
        // All but that of the current key, which no power cut meets: the heads, the staged key, the pins.
        for page in [0, 5, 2, 3, 4] {
            fs::write(&media.paths[0], torn(&whole, page, cut)).unwrap();
            let (provider, place) = (media.open(), format!("page {page} cut at {cut}"));
            assert!(ids(&provider).contains(&first), "{place}");
            assert!(provider.pin().unwrap().unwrap().size >= 1, "{place}");
            provider.keep_only(first).unwrap();
            assert_eq!(ids(&provider), [first], "{place}");
            provider.stage(2).unwrap();
        }
    }
}

#[test]
fn whichever_page_of_one_replica_is_cut_the_other_serves_and_nothing_is_called_destroyed_that_is_not() {
    let media = Media::new(2);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
    provider.set_pin(&pin(1)).unwrap();
    let second = provider.stage(2).unwrap();
    let whole = media.paths.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let pages = || (0..6).map(|page| vec![page]).chain([vec![0, 5]]);
    for cut in (1..4096).step_by(97) {
        for pages in pages() {
            let place = format!("pages {pages:?} cut at {cut}");
            fs::write(&media.paths[0], &whole[0]).unwrap();
            fs::write(&media.paths[1], pages.iter().fold(whole[1].clone(), |file, page| torn(&file, *page, cut)))
                .unwrap();
            let provider = media.open();
            assert_eq!(ids(&provider), [first, second], "{place}");
            assert_eq!(provider.pin().unwrap(), Some(pin(1)), "{place}");
            assert_eq!(provider.lost_replicas().unwrap(), 0);
            match provider.keep_only(second) {
                Ok(()) => assert_eq!(ids(&media.open()), [second], "{place}"),
                Err(error) => assert!(error.is_of_a_replica(), "{place}: {error}"),
            }
            // Both heads gone: it cannot be told whose file it is, and so it stops epochs as a missing one does.
            if pages.len() == 2 && cut < 64 {
                assert!(matches!(provider.stage(3), Err(RootKeyError::ReplicaMissing { .. })), "{place}");
                assert!(provider.status()[1].problem.is_some() && provider.status()[1].id.len() == 32, "{place}");
            }
        }
    }
}

#[test]
fn a_list_of_replicas_that_is_cut_while_it_is_written_leaves_the_one_before() {
    let media = Media::new(2);
    let (provider, _) = FileRootKey::create(&media.paths, true).unwrap();
    let lost = provider.status()[1].id.clone();
    fs::remove_file(&media.paths[1]).unwrap();
    let before = fs::read(&media.paths[0]).unwrap();
    provider.retire(&lost, false).unwrap();
    let after = fs::read(&media.paths[0]).unwrap();
    for cut in (0..4096).step_by(7) {
        // Of the first head so much, and nothing of the other yet.
        for page in [0, 5] {
            let mut file = before.clone();
            file[page * 4096..page * 4096 + cut].copy_from_slice(&after[page * 4096..page * 4096 + cut]);
            fs::write(&media.paths[0], file).unwrap();
            let provider = FileRootKey::open(&media.paths[..1]).unwrap();
            if provider.lost_replicas().unwrap() == 0 {
                assert!(matches!(provider.stage(2), Err(RootKeyError::ReplicaNotConfigured { .. })), "cut at {cut}");
                provider.retire(&lost, false).unwrap();
            }
            assert_eq!(provider.lost_replicas().unwrap(), 1, "cut at {cut}");
            provider.stage(2).unwrap();
        }
    }
}

#[test]
fn a_file_with_one_head_is_read_and_gets_its_second_with_its_next_change() {
    let media = Media::new(1);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
    provider.set_pin(&pin(1)).unwrap();
    let file = fs::read(&media.paths[0]).unwrap();
    let id = provider.status()[0].id.clone();
    let head = format!("oubliette-root-key 2\nthis {id}\nlost 3\nreplica {id} {}\n", media.paths[0].display());
    let mut old = file[..5 * 4096].to_vec();
    old[..4096].fill(b' ');
    old[..head.len()].copy_from_slice(head.as_bytes());
    for length in [5 * 4096, 5 * 4096 + 512] {
        let mut cut = old.clone();
        cut.resize(length, b'x');
        fs::write(&media.paths[0], cut).unwrap();
        let provider = media.open();
        assert_eq!((ids(&provider), provider.lost_replicas().unwrap()), (vec![first], 3));
        assert_eq!(provider.pin().unwrap(), Some(pin(1)));
        let new = media.folder.path().join(format!("new-{length}.key"));
        provider.add(&new, first, true).unwrap();
        let whole = fs::read(&media.paths[0]).unwrap();
        assert_eq!(whole.len(), 6 * 4096);
        assert_eq!(whole[..4096], whole[5 * 4096..], "one head is not as the other");
        let provider = FileRootKey::open(&[media.paths[0].clone(), new]).unwrap();
        assert_eq!(provider.lost_replicas().unwrap(), 3);
        let second = provider.stage(2).unwrap();
        provider.keep_only(second).unwrap();
    }
}

#[test]
fn a_replica_that_was_begun_and_not_finished_has_no_key_and_stops_epochs_until_it_is_retired() {
    let media = Media::new(2);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
    let new = media.folder.path().join("new.key");
    let key = codec::hex(provider.find(first).unwrap().expose());
    provider.announce(&new, &provider.all().unwrap()).unwrap();
    assert!(!fs::read_to_string(&new).unwrap().contains(&key), "a key stands where no list names it for sure");
    for named in [false, true] {
        let paths = media.paths.iter().cloned().chain(named.then(|| new.clone())).collect::<Vec<_>>();
        let provider = FileRootKey::open(&paths).unwrap();
        assert_eq!(ids(&provider), [first]);
        for refused in [provider.stage(2).map(drop), provider.keep_only(first)] {
            assert!(refused.as_ref().is_err_and(RootKeyError::is_of_a_replica), "{refused:?}");
        }
        if named {
            let refused = provider.add(&new, first, true);
            assert!(refused.as_ref().is_err_and(RootKeyError::is_of_a_replica), "{refused:?}");
        }
    }
    let provider = media.open();
    let begun = provider.status()[2].clone();
    assert_eq!(begun.path, new);
    provider.retire(&begun.id, true).unwrap();
    let second = provider.stage(2).unwrap();
    provider.keep_only(second).unwrap();
    assert_eq!(provider.lost_replicas().unwrap(), 0);
    // What is in the way is met before anything is announced. (What an interrupted attempt reserved is not in the way.)
    fs::write(&new, b"somebody's").unwrap();
    for in_the_way in [new.as_path(), Path::new("/nowhere/new.key")] {
        assert!(matches!(provider.add(in_the_way, second, true), Err(RootKeyError::File(_))));
        assert_eq!(provider.status().len(), 2);
    }
}

#[test]
fn a_retirement_that_was_stopped_midway_is_finished_by_its_repeat_and_counted_once() {
    for (was_destroyed, lost) in [(false, 1), (true, 0)] {
        let media = Media::new(3);
        let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
        let gone = provider.status()[2].id.clone();
        fs::remove_file(&media.paths[2]).unwrap();
        let rest = &media.paths[..2];
        let before = [0, 1].map(|replica| fs::read(&rest[replica]).unwrap());
        for reached in [0, 1] {
            rest.iter().zip(&before).for_each(|(path, file)| fs::write(path, file).unwrap());
            FileRootKey::open(rest).unwrap().retire(&gone, was_destroyed).unwrap();
            // It reached one of them alone.
            fs::write(&rest[1 - reached], &before[1 - reached]).unwrap();
            let provider = FileRootKey::open(rest).unwrap();
            let refused = provider.stage(2);
            assert!(matches!(refused, Err(RootKeyError::ReplicaNotConfigured { .. })), "{refused:?}");
            provider.retire(&gone, was_destroyed).unwrap();
            assert_eq!(provider.lost_replicas().unwrap(), lost);
            // Once it is done, a repeat finds it done: the command may have been killed before it said so.
            assert!(provider.is_retired(&gone));
            let after = [0, 1].map(|replica| fs::read(&rest[replica]).unwrap());
            provider.retire(&gone, was_destroyed).unwrap();
            assert_eq!(provider.lost_replicas().unwrap(), lost);
            assert_eq!([0, 1].map(|replica| fs::read(&rest[replica]).unwrap()), after, "a repeat changed something");
            let unknown = provider.retire(&"0".repeat(32), was_destroyed);
            assert!(matches!(unknown, Err(RootKeyError::NoSuchReplica { .. })), "an id that never was");
            provider.stage(2).unwrap();
            provider.keep_only(first).unwrap();
        }
    }
}

#[test]
fn an_addition_killed_at_any_write_is_finished_by_its_repeat() {
    // The files as they are after each write of an addition, which are pages and one reserved file.
    let media = Media::new(2);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
    let new = media.folder.path().join("new.key");
    let before = media.paths.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    provider.add(&new, first, true).unwrap();
    let after = media.paths.iter().chain([&new]).map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    // (file, page) in the order of writing: each announces on both heads, then the new one gets heads and key.
    let writes = [(0, 5), (0, 0), (1, 5), (1, 0), (2, 0), (2, 5), (2, 1)];
    let blank = vec![b' '; 4095].into_iter().chain([b'\n']).collect::<Vec<u8>>().repeat(6);
    for reached in 0..=writes.len() {
        let mut files = [before[0].clone(), before[1].clone(), blank.clone()];
        for (file, page) in &writes[..reached] {
            let span = page * 4096..(page + 1) * 4096;
            files[*file][span.clone()].copy_from_slice(&after[*file][span]);
        }
        media.paths.iter().chain([&new]).zip(&files).for_each(|(path, file)| fs::write(path, file).unwrap());
        let provider = media.open();
        assert_eq!(provider.is_added(&new, first), reached == writes.len(), "after {reached} writes");
        for repeat in 0..2 {
            provider.add(&new, first, true).unwrap_or_else(|error| panic!("after {reached} writes, {repeat}: {error}"));
        }
        assert!(provider.is_added(&new, first), "after {reached} writes");
        let all = [media.paths[0].clone(), media.paths[1].clone(), new.clone()];
        let provider = FileRootKey::open(&all).unwrap();
        assert_eq!(provider.lost_replicas().unwrap(), 0);
        provider.keep_only(first).unwrap();
        assert_eq!(ids(&FileRootKey::open(&all[2..]).unwrap()), [first], "after {reached} writes");
    }
    // One that was announced, and whose file is gone, may have had a key: it is retired, not made again.
    fs::remove_file(&new).unwrap();
    assert!(matches!(media.open().add(&new, first, true), Err(RootKeyError::ReplicaNotConfigured { .. })));
}

#[test]
fn a_missing_replica_stops_changes_and_no_reading_until_it_is_back_or_retired() {
    let media = Media::new(3);
    let (provider, first) = FileRootKey::create(&media.paths, true).unwrap();
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
    provider.add(&new, third, true).unwrap();
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
    let (provider, _) = FileRootKey::create(&media.paths, true).unwrap();
    assert_eq!(provider.pin().unwrap(), None);
    for size in 1..20 {
        provider.set_pin(&pin(size)).unwrap();
        assert_eq!(media.open().pin().unwrap(), Some(pin(size)));
    }
}
