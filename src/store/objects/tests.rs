use std::fs;

use super::*;

const HANDLE: Handle = Handle([1; 16]);

fn record(n: u8) -> RecordId {
    RecordId::from_bytes([n; 16])
}

fn name(record_number: u8, object: u8) -> ObjectName {
    ObjectName::new(HANDLE, record(record_number), [object; 16])
}

fn open() -> (tempfile::TempDir, Objects) {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open(&dir.path().join("objects")).unwrap();
    (dir, objects)
}

/// Files below `dir`, hidden ones included.
fn files(dir: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    fs::read_dir(dir).unwrap().flat_map(|entry| below(entry.unwrap().path())).collect()
}

async fn store(objects: &Objects, name: ObjectName, bytes: &[u8]) {
    let mut writer = objects.create(name).await.unwrap();
    writer.write(bytes.to_vec()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), bytes.len() as u64);
}

async fn listed(objects: &Objects, record: Option<RecordId>) -> Vec<(ObjectName, u64)> {
    let mut all: Vec<_> = objects.list_prefix(HANDLE, record).map(Result::unwrap).collect().await;
    all.sort();
    all
}

#[test]
fn names_are_read_back_and_nothing_else_is() {
    let text = name(2, 3).to_string();
    assert_eq!(text, ["01".repeat(16), "02".repeat(16), "03".repeat(16)].join("/"));
    assert_eq!(ObjectName::parse(&text), Some(name(2, 3)));
    for other in
        [&format!("{text}/x"), &format!("{text}#1"), &format!("/{text}"), &text.replace("01", "0A"), "", "a/b/c"]
    {
        assert_eq!(ObjectName::parse(other), None, "{other}");
    }
}

#[tokio::test]
async fn what_is_written_in_pieces_is_read_in_ranges() {
    let (_dir, objects) = open();
    let content: Vec<u8> = (0..3_000_017_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = objects.create(name(1, 1)).await.unwrap();
    for chunk in content.chunks(16_411) {
        writer.write(chunk.to_vec()).await.unwrap();
        assert!(writer.pending_bytes < PIECE_BYTES);
    }
    assert!(listed(&objects, None).await.is_empty(), "nothing is visible before the end");
    assert_eq!(writer.finish().await.unwrap(), content.len() as u64);
    for range in [0..3_000_017_u64, 0..1, 1_048_570..1_048_580, 3_000_016..3_000_017, 5..5] {
        let expected = &content[range.start as usize..range.end as usize];
        assert_eq!(objects.read(name(1, 1), range).await.unwrap(), expected);
    }
    assert!(objects.read(name(1, 1), 3_000_010..3_000_018).await.is_err(), "a short read is an error");
    assert!(matches!(objects.read(name(1, 1), 0..MAX_READ_BYTES + 1).await, Err(StoreError::TooMuch { .. })));
    assert!(matches!(objects.read(name(1, 9), 0..1).await, Err(StoreError::ObjectMissing { .. })));
    assert!(matches!(objects.create(name(1, 1)).await, Err(StoreError::ObjectExists { .. })));
}

#[tokio::test]
async fn an_upload_given_up_leaves_nothing() {
    let (dir, objects) = open();
    let mut aborted = objects.create(name(1, 1)).await.unwrap();
    aborted.write(vec![1; 2 * PIECE_BYTES]).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(files(dir.path()).is_empty());
    let mut dropped = objects.create(name(1, 1)).await.unwrap();
    dropped.write(vec![1; 2 * PIECE_BYTES]).await.unwrap();
    drop(dropped);
    // The file goes on a blocking thread.
    for _ in 0..500 {
        if files(dir.path()).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_write_that_was_interrupted_spoils_the_object() {
    // One blocking thread, kept busy, so that the write cannot be done before it is given up.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (_dir, objects) = open();
        let mut writer = objects.create(name(1, 1)).await.unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        {
            let mut write = Box::pin(writer.write(vec![1; PIECE_BYTES]));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(write.as_mut().poll(&mut context).is_pending());
        }
        drop(release);
        busy.await.unwrap().unwrap_err();
        assert!(matches!(writer.finish().await, Err(StoreError::Interrupted)));
        assert!(listed(&objects, None).await.is_empty());
    });
}

#[tokio::test]
async fn objects_are_listed_and_deleted_by_customer_and_record() {
    let (dir, objects) = open();
    assert!(listed(&objects, None).await.is_empty(), "an unknown customer has none");
    for (n, object) in [(1, 1), (1, 2), (2, 3)] {
        store(&objects, name(n, object), &vec![object; object as usize * 100]).await;
    }
    let other = ObjectName::new(Handle([9; 16]), record(1), [1; 16]);
    store(&objects, other, b"another customer's").await;
    assert_eq!(listed(&objects, Some(record(1))).await, [(name(1, 1), 100), (name(1, 2), 200)]);
    assert_eq!(listed(&objects, None).await.len(), 3);

    objects.delete(name(1, 1)).await.unwrap();
    objects.delete(name(1, 1)).await.unwrap();
    assert_eq!(objects.delete_prefix(HANDLE, Some(record(1))).await.unwrap(), 1);
    assert_eq!(listed(&objects, None).await, [(name(2, 3), 300)]);

    let mut racing = objects.create(name(3, 1)).await.unwrap();
    racing.write(vec![1; PIECE_BYTES]).await.unwrap();
    assert_eq!(objects.delete_prefix(HANDLE, None).await.unwrap(), 1);
    assert!(racing.finish().await.is_err(), "an upload that races the deletion fails");
    assert_eq!(objects.delete_prefix(HANDLE, None).await.unwrap(), 0);
    assert!(!dir.path().join("objects").join(HANDLE.to_string()).exists());
    assert_eq!(objects.read(other, 0..7).await.unwrap(), &b"another"[..]);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_swept_and_objects_stay() {
    let (dir, objects) = open();
    store(&objects, name(1, 1), b"kept").await;
    for (n, object) in [(1, 1), (1, 2), (2, 1)] {
        let staged = dir.path().join("objects").join(format!("{}#{object}", name(n, object)));
        fs::create_dir_all(staged.parent().unwrap()).unwrap();
        fs::write(staged, b"half").unwrap();
    }
    assert_eq!(objects.sweep_staged().await.unwrap(), 3);
    assert_eq!(files(dir.path()).len(), 1);
    assert_eq!(objects.read(name(1, 1), 0..4).await.unwrap(), &b"kept"[..]);
    assert_eq!(objects.sweep_staged().await.unwrap(), 0);
}
