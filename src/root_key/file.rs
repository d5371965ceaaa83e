//! The root key in files: one, or several replicas on different devices, so that a dead disk does not take the key along.
//!
//! Whatever is written is written to all of them: a key that is staged, one that is destroyed, the pin. One that is missing, or that is not
//! as the others are, stops every change and so every epoch, until it is back or is retired by name: a key that lives on in a replica
//! nobody can reach is not destroyed. Reading goes on as long as one has the key.

mod medium;
mod replica;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::private_file::KeyFileError;
use super::{HeldKey, MediumClass, Pin, RootKey, RootKeyError, RootKeyId};
use crate::crypto::key_wrap;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::clock::Timestamp;
use crate::domain::codec;
use replica::{Content, Family, MAX_REPLICAS, MAX_RETIRED, Replica, ReplicaId, StoredKey};

/// A root key in files.
pub struct FileRootKey {
    replicas: Vec<Replica>,
    /// Changes of the files are made one at a time.
    changing: Mutex<()>,
}

/// How a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its id, in hexadecimal; what it is retired by.
    pub id: String,
    /// Where it is, or where it was made.
    pub path: PathBuf,
    /// What keeps it from being used; `None` if it is as it should be.
    pub problem: Option<String>,
}

impl FileRootKey {
    /// Writes the first root key to files that must not exist, for epoch 1. Refused where the file system keeps what is overwritten, unless
    /// that is accepted.
    pub fn create(paths: &[PathBuf], accepts_any_medium: bool) -> Result<(Self, RootKeyId), RootKeyError> {
        let provider = Self::at(paths)?;
        for replica in &provider.replicas {
            medium::refuse_keeping(&replica.path, replica.folder(), accepts_any_medium)?;
        }
        let members: Vec<_> = paths.iter().map(|path| (random_bytes(), path.clone())).collect();
        let family = Family { serial: 1, members, lost: 0, retired: Vec::new() };
        let first = StoredKey::fresh(1);
        for (replica, (id, _)) in provider.replicas.iter().zip(&family.members) {
            replica.create(*id, &family, &first)?;
        }
        Ok((provider, first.held.id))
    }

    /// Opens existing ones; changes nothing, so that it may be opened before it is known whether another process uses them. At least one
    /// must be there.
    pub fn open(paths: &[PathBuf]) -> Result<Self, RootKeyError> {
        let provider = Self::at(paths)?;
        provider.readable()?;
        medium::warn_of_keeping(paths.iter());
        Ok(provider)
    }

    fn at(paths: &[PathBuf]) -> Result<Self, RootKeyError> {
        if paths.is_empty() || paths.len() > MAX_REPLICAS || paths.iter().collect::<BTreeSet<_>>().len() < paths.len() {
            return Err(RootKeyError::TooManyReplicas { limit: MAX_REPLICAS });
        }
        Ok(Self { replicas: paths.iter().map(|path| Replica::at(path)).collect(), changing: Mutex::new(()) })
    }

    /// How the replicas are: those at hand, and those that are known and not at hand.
    pub fn status(&self) -> Vec<ReplicaStatus> {
        let contents: Vec<_> = self.replicas.iter().map(|replica| (replica, replica.read())).collect();
        let known: Vec<_> =
            contents.iter().filter_map(|(_, content)| content.as_ref().ok()).flat_map(|c| &c.family.members).collect();
        let mut listed: Vec<ReplicaStatus> = Vec::new();
        for (replica, content) in &contents {
            let made_at = known.iter().find(|(_, path)| *path == replica.path);
            let id = content.as_ref().map(|content| content.id).ok().or(made_at.map(|(id, _)| *id));
            let problem = content.as_ref().err().map(ToString::to_string);
            let id = id.map(|id| codec::hex(&id)).unwrap_or_default();
            listed.push(ReplicaStatus { id, path: replica.path.clone(), problem });
        }
        for (id, path) in known {
            let id = codec::hex(id);
            if listed.iter().all(|status| status.id != id) {
                listed.push(ReplicaStatus {
                    id,
                    path: path.clone(),
                    problem: Some("it is not in the configuration".to_owned()),
                });
            }
        }
        listed
    }

    /// Makes one more replica of the key `current`, in a file that must not exist, and on such a medium as in [`FileRootKey::create`]. All
    /// others must be there. An attempt that was stopped at any step is finished by its repeat, and one that was finished stays as it is.
    pub fn add(&self, path: &Path, current: RootKeyId, accepts_any_medium: bool) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.lock();
        let new = Replica::at(path);
        medium::refuse_keeping(path, new.folder(), accepts_any_medium)?;
        let contents = self.contents()?;
        let held = contents[0].keys.iter().flatten().find(|stored| stored.held.id == current);
        let key = held.ok_or(RootKeyError::NoSuchKey { id: current })?;
        let (id, family) = match self.announced(path, &contents) {
            Some(announced) => announced?,
            None => {
                if new.is_blank() {
                    // Reserved by an attempt that announced nothing.
                    new.release()?;
                }
                let (id, family) = self.announce(path, &contents)?;
                return Ok(new.fill(id, &family, key)?);
            }
        };
        for (replica, content) in self.replicas.iter().zip(&contents).filter(|(_, it)| it.family != family) {
            replica.write_family(content, &family)?;
        }
        match new.read() {
            Ok(stored) if stored.id != id => Err(RootKeyError::ReplicaOfOthers { path: path.to_owned() }),
            Ok(stored) if stored.family == family && stored.keys.iter().flatten().any(|it| it.held.id == current) => {
                Ok(())
            }
            Ok(_) | Err(KeyFileError::Malformed { .. }) => Ok(new.fill(id, &family, key)?),
            // It was there when it was announced: the medium is gone, and may hold a key.
            Err(_) => Err(RootKeyError::ReplicaNotConfigured { path: path.to_owned() }),
        }
    }

    /// The id under which a replica at `path` is announced by an earlier attempt, and the list that all are to have; `None` where none is. An error
    /// if anything else is the matter with the list.
    fn announced(&self, path: &Path, contents: &[Content]) -> Option<Result<(ReplicaId, Family), RootKeyError>> {
        let is_at_hand = |id: ReplicaId| contents.iter().any(|content| content.id == id);
        let newest = newest(contents.iter().map(|content| &content.family))?;
        let (id, _) = newest.members.iter().find(|(id, made_at)| made_at == path && !is_at_hand(*id))?;
        let of_others = |replica: &Replica| Err(RootKeyError::ReplicaOfOthers { path: replica.path.clone() });
        if let Some((replica, _)) = self.replicas.iter().zip(contents).find(|(_, it)| !newest.has(it.id)) {
            return Some(of_others(replica));
        }
        match newest.members.iter().find(|(member, _)| member != id && !is_at_hand(*member)) {
            Some((_, path)) => Some(Err(RootKeyError::ReplicaNotConfigured { path: path.clone() })),
            None => Some(Ok((*id, newest.clone()))),
        }
    }

    /// Whether a replica at `path` is wholly added: all name it, and it has the key `current`.
    pub fn is_added(&self, path: &Path, current: RootKeyId) -> bool {
        let Ok(contents) = self.contents() else { return false };
        let Ok(new) = Replica::at(path).read() else { return false };
        new.keys.iter().flatten().any(|stored| stored.held.id == current)
            && contents.iter().all(|content| content.family == new.family && content.family.has(new.id))
    }

    /// Has all replicas name a new one, before any key stands in it. So no copy of a key is ever one that nobody knows of: what is stopped
    /// here stops every epoch, until the new one is retired.
    fn announce(&self, path: &Path, contents: &[Content]) -> Result<(ReplicaId, Family), RootKeyError> {
        let mut family = self.family(contents)?;
        if family.members.len() >= MAX_REPLICAS {
            return Err(RootKeyError::TooManyReplicas { limit: MAX_REPLICAS });
        }
        let id = random_bytes();
        family.serial += 1;
        family.members.push((id, path.to_owned()));
        Replica::at(path).reserve()?;
        for (replica, content) in self.replicas.iter().zip(contents) {
            replica.write_family(content, &family)?;
        }
        Ok((id, family))
    }

    /// Takes a replica off the list that is not at hand any more, by its id. Unless somebody saw it destroyed, it counts as lost from
    /// then on: whoever finds it has a key that opens images of its time, and every later receipt says so. What was stopped midway is
    /// finished by its repeat: then some list it still, and the others know already whether it is lost.
    pub fn retire(&self, id: &str, was_destroyed: bool) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.lock();
        let unknown = || RootKeyError::NoSuchReplica { id: id.to_owned() };
        let wanted = codec::unhex(id).ok_or_else(unknown)?;
        let contents: Vec<(&Replica, Content)> =
            self.replicas.iter().filter_map(|replica| Some((replica, replica.read().ok()?))).collect();
        if contents.iter().any(|(_, content)| content.id == wanted) {
            return Err(RootKeyError::ReplicaAtHand { id: id.to_owned() });
        }
        let families = || contents.iter().map(|(_, content)| &content.family);
        let with_it = families().filter(|family| family.has(wanted)).map(|family| family.lost).max();
        if with_it.is_none() && Self::are_without(families(), wanted) {
            return Ok(());
        }
        let lost = with_it.ok_or_else(unknown)? + u32::from(!was_destroyed);
        let mut family = newest(families()).ok_or_else(unknown)?.clone();
        if let Some((replica, _)) = contents.iter().find(|(_, content)| !family.has(content.id)) {
            return Err(RootKeyError::ReplicaOfOthers { path: replica.path.clone() });
        }
        family.serial += 1;
        family.members.retain(|(member, _)| *member != wanted);
        family.retired.retain(|retired| *retired != wanted);
        family.retired.push(wanted);
        family.retired.drain(..family.retired.len().saturating_sub(MAX_RETIRED));
        family.lost = families().map(|family| family.lost).fold(lost, u32::max);
        for (replica, content) in &contents {
            replica.write_family(content, &family)?;
        }
        Ok(())
    }

    /// Whether all of them know a replica as retired.
    fn are_without<'a>(mut families: impl Iterator<Item = &'a Family>, id: ReplicaId) -> bool {
        families.all(|family| !family.has(id) && family.retired.contains(&id))
    }

    /// Whether a replica is retired already, by its id: all that can be read say so.
    pub fn is_retired(&self, id: &str) -> bool {
        let Some((id, contents)) = codec::unhex(id).zip(self.readable().ok()) else { return false };
        !contents.is_empty() && Self::are_without(contents.iter().map(|content| &content.family), id)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in those that can be read. A file that is open for others is refused even where one is left; one that nothing can be made of
    /// is as one that is missing.
    fn readable(&self) -> Result<Vec<Content>, RootKeyError> {
        let mut missing = None;
        let mut contents = Vec::with_capacity(self.replicas.len());
        for replica in &self.replicas {
            match replica.read() {
                Ok(content) => contents.push(content),
                Err(
                    error @ (KeyFileError::Missing { .. } | KeyFileError::Io { .. } | KeyFileError::Malformed { .. }),
                ) => {
                    missing.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match missing {
            Some(error) if contents.is_empty() => Err(error.into()),
            _ => Ok(contents),
        }
    }

    /// What stands in all of them; an error if one is missing, or known and not at hand.
    fn all(&self) -> Result<Vec<Content>, RootKeyError> {
        let contents = self.contents()?;
        self.family(&contents)?;
        Ok(contents)
    }

    /// What stands in those of the configuration; an error if one is missing.
    fn contents(&self) -> Result<Vec<Content>, RootKeyError> {
        let mut contents = Vec::with_capacity(self.replicas.len());
        for replica in &self.replicas {
            let missing =
                |source| RootKeyError::ReplicaMissing { path: replica.path.clone(), source: Box::new(source) };
            contents.push(replica.read().map_err(|error| match self.replicas.len() {
                1 => error.into(),
                _ => missing(error),
            })?);
        }
        Ok(contents)
    }

    /// What they all know of all of them, if it is the same, and all of them are at hand.
    fn family(&self, contents: &[Content]) -> Result<Family, RootKeyError> {
        let families = || contents.iter().map(|content| &content.family);
        let family = newest(families()).unwrap_or(&contents[0].family);
        let of_others = |replica: &Replica| Err(RootKeyError::ReplicaOfOthers { path: replica.path.clone() });
        let mut all = self.replicas.iter().zip(contents);
        if let Some((replica, _)) = all.clone().find(|(_, content)| !family.has(content.id)) {
            return of_others(replica);
        }
        // Whichever of them knows it: a change that was stopped midway stands in some of them only.
        let is_at_hand = |id: ReplicaId| contents.iter().any(|content| content.id == id);
        if let Some((_, path)) = families().flat_map(|family| &family.members).find(|(id, _)| !is_at_hand(*id)) {
            return Err(RootKeyError::ReplicaNotConfigured { path: path.clone() });
        }
        match all.find(|(_, content)| content.family != *family) {
            Some((replica, _)) => of_others(replica),
            None => Ok(family.clone()),
        }
    }

    /// The key itself, for tests of providers that lie.
    #[cfg(test)]
    pub(crate) fn key(&self, id: RootKeyId) -> Result<Key, RootKeyError> {
        self.find(id)
    }

    fn find(&self, id: RootKeyId) -> Result<Key, RootKeyError> {
        let keys = self.readable()?.into_iter().flat_map(|content| content.keys).flatten();
        let found = keys.into_iter().find(|stored| stored.held.id == id);
        found.map(|stored| stored.key).ok_or(RootKeyError::NoSuchKey { id })
    }
}

impl RootKey for FileRootKey {
    fn name(&self) -> &'static str {
        "file"
    }

    fn medium(&self) -> MediumClass {
        MediumClass::File
    }

    /// At once: the bytes are overwritten when the destruction returns.
    fn final_at(&self, destroyed: Timestamp) -> Timestamp {
        destroyed
    }

    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError> {
        let mut held: Vec<HeldKey> = Vec::new();
        for stored in self.readable()?.into_iter().flat_map(|content| content.keys).flatten() {
            if !held.contains(&stored.held) {
                held.push(stored.held);
            }
        }
        Ok(held)
    }

    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        let _one_at_a_time = self.lock();
        let contents = self.all()?;
        let fresh = StoredKey::fresh(epoch);
        for (replica, content) in self.replicas.iter().zip(&contents) {
            let free = content.is_free.iter().position(|is_free| *is_free);
            replica.write_key(free.ok_or(RootKeyError::StagedAlready)?, &fresh)?;
        }
        Ok(fresh.held.id)
    }

    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError> {
        Ok(key_wrap::wrap(&self.find(id)?, associated_data, top).to_vec())
    }

    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError> {
        let root = self.find(id)?;
        key_wrap::unwrap(&root, associated_data, wrapped).map_err(|_| RootKeyError::CannotUnwrap { id })
    }

    fn opens(&self, associated_data: &[u8], wrapped: &[u8]) -> Result<bool, RootKeyError> {
        let mut keys = self.readable()?.into_iter().flat_map(|content| content.keys).flatten();
        Ok(keys.any(|stored| key_wrap::unwrap(&stored.key, associated_data, wrapped).is_ok()))
    }

    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.lock();
        let contents = self.all()?;
        let slot_of = |content: &Content| {
            content.keys.iter().position(|key| key.as_ref().is_some_and(|stored| stored.held.id == id))
        };
        for (replica, content) in self.replicas.iter().zip(&contents) {
            if slot_of(content).is_none() {
                return Err(match self.replicas.len() {
                    1 => RootKeyError::NoSuchKey { id },
                    _ => RootKeyError::ReplicaStale { path: replica.path.clone(), id },
                });
            }
        }
        for (replica, content) in self.replicas.iter().zip(&contents) {
            let kept = slot_of(content);
            for slot in (0..content.keys.len()).filter(|slot| Some(*slot) != kept && !content.is_free[*slot]) {
                replica.wipe_key(slot)?;
            }
        }
        Ok(())
    }

    fn pin(&self) -> Result<Option<Pin>, RootKeyError> {
        let pins = self.readable()?.into_iter().flat_map(|content| content.pins).flatten();
        Ok(pins.max_by_key(|pin| (pin.epoch, pin.size)))
    }

    fn set_pin(&self, pin: &Pin) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.lock();
        for (replica, content) in self.replicas.iter().zip(self.all()?) {
            // Never onto the page of the newest one: what a power cut spoils is the older.
            let age = |slot: &usize| content.pins[*slot].as_ref().map(|pin| (pin.epoch, pin.size));
            let oldest = [0, 1].into_iter().min_by_key(age).unwrap_or(0);
            replica.write_pin(oldest, pin)?;
        }
        Ok(())
    }

    fn devices(&self) -> Vec<Option<u64>> {
        self.replicas.iter().map(|replica| Some(replica.path.metadata().ok()?.dev())).collect()
    }

    fn lost_replicas(&self) -> Result<u32, RootKeyError> {
        Ok(self.readable()?.iter().map(|content| content.family.lost).max().unwrap_or(0))
    }
}

/// That which was changed last; the first of several.
fn newest<'a>(families: impl Iterator<Item = &'a Family>) -> Option<&'a Family> {
    families.reduce(|newest, family| if family.serial > newest.serial { family } else { newest })
}

impl StoredKey {
    fn fresh(epoch: u64) -> Self {
        Self { held: HeldKey { id: RootKeyId(random_bytes()), epoch }, key: Key::random() }
    }
}

#[cfg(test)]
mod tests;
