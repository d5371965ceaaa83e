//! What a mirror's directory holds, read without changing it: which rows, up to which group, and whether the objects are complete.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Sort;
use super::directory::Directory;
use super::object_mark::ObjectMark;
use super::stream;
use crate::store::{Position, StoreError};

/// How often it is looked whether the mark of a mirror's objects has come.
const LOOK_AT_MARK: Duration = Duration::from_millis(50);

/// What a mirror holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorContent {
    /// Of which rows.
    pub sort: Sort,
    /// How many groups it has.
    pub groups: u64,
    /// Bytes that its rows take.
    pub bytes: u64,
    /// Up to which group its objects are complete; `None` where that is not known.
    pub objects_until: Option<u64>,
}

impl MirrorContent {
    /// Whether it has every object that its rows name. A mirror of the keys has no objects, and lacks none.
    pub fn has_all_objects(&self) -> bool {
        self.sort == Sort::Keys || self.objects_until.is_some_and(|until| until >= self.groups)
    }
}

/// What a mirror holds; `None` where there is no whole copy.
pub fn content(directory: &Path) -> Result<Option<MirrorContent>, StoreError> {
    let Some((stream, at)) = stream::newest(&Directory::to_read(directory))? else { return Ok(None) };
    let (sort, groups, bytes) = (stream.generation.sort, at.sequence, stream.bytes);
    Ok(Some(MirrorContent { sort, groups, bytes, objects_until: objects_complete_until(directory)? }))
}

/// Up to which group the objects of a mirror are complete; `None` where no mark of its newest generation says so.
pub fn objects_complete_until(directory: &Path) -> Result<Option<u64>, StoreError> {
    let Some(whole) = stream::whole(&Directory::to_read(directory))? else { return Ok(None) };
    let mark = ObjectMark::read(directory)?;
    let is_of_it = |mark: &ObjectMark| (mark.vault, mark.generation) == (whole.vault, whole.name);
    Ok(mark.filter(is_of_it).map(|mark| mark.at.sequence))
}

/// Waits until the objects of a mirror are complete up to `group`: as long as a service writes to it, and `patience` at most.
pub fn wait_for_objects(directory: &Path, group: u64, patience: Duration) -> Result<bool, StoreError> {
    let end = Instant::now() + patience;
    loop {
        // Before the mark is read: a service that ends writes its last one and then lets go.
        let is_followed = Directory::is_written_to(directory)?;
        if objects_complete_until(directory)?.is_some_and(|until| until >= group) {
            return Ok(true);
        }
        if !is_followed || Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(LOOK_AT_MARK);
    }
}

/// Whether the objects of this mirror were ever complete.
pub(in crate::store) fn were_objects_complete(directory: &Path) -> Result<bool, StoreError> {
    let whole = stream::whole(&Directory::to_read(directory))?;
    let mark = ObjectMark::read(directory)?;
    Ok(whole.zip(mark).is_some_and(|(whole, mark)| whole.vault == mark.vault))
}

/// Marks durably that the objects of a mirror are complete up to `at`. They must be durable there already. `false` where the mirror has no
/// whole copy of the rows that the mark could be bound to.
pub(in crate::store) fn mark_objects(directory: &Path, at: Position) -> Result<bool, StoreError> {
    let Some(whole) = stream::whole(&Directory::to_read(directory))? else { return Ok(false) };
    ObjectMark { vault: whole.vault, generation: whole.name, at }.write(directory).map(|()| true)
}

/// Takes the mark of a mirror's objects back.
pub(in crate::store) fn unmark_objects(directory: &Path) -> Result<(), StoreError> {
    ObjectMark::remove(directory)
}
