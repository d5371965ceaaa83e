//! The attacker: has a copy of the data folder of before the erasure, a copy of the database of now, and the root key of now. Goes
//! round every check of the service: opens the databases itself, collects every key that can be reached from any page of either
//! copy, and tries them on every record of the old copy.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::content::{ContentHash, hash_of_turns};
use crate::crypto::secret::Key;
use crate::domain::codec::Decode;
use crate::domain::ids::{Handle, TenantId};
use crate::keys::{self, NodeId, PageSource, Reached, SourceError};
use crate::root_key::{FileRootKey, RootKeyError, RootKeyId};
use crate::store::{Database, MAX_RANGE_ROWS, ObjectName, SledEngine, StoreError, rows};
use crate::vault::forensics::{Plaintext, StolenRecord, StolenRoot, unwrap_secret};

/// Longer files are no parts of a recording.
const MAX_OBJECT_BYTES: u64 = 16 << 20;

/// What was stolen.
pub(super) struct Loot {
    /// A copy of the data folder, taken before the erasure.
    pub before: PathBuf,
    /// A copy of the database, taken after it.
    pub now: Option<PathBuf>,
    /// A copy of the root key's file.
    pub root_key: PathBuf,
}

/// Something that was stored, by which the attacker's success is judged. The attacker does not need it.
pub(super) struct Planted {
    pub hash: ContentHash,
    /// Whether its customer is the one who is erased.
    pub erased: bool,
}

/// The attacker, with the databases opened and all keys collected.
pub(super) struct Attacker {
    before: SledEngine,
    now: Option<SledEngine>,
    objects: PathBuf,
    /// The root key that the copy of before wants.
    pub wanted_root_key: RootKeyId,
    /// Whether the stolen root key opens the copy of before.
    pub opens_before: bool,
    reached: Reached,
    /// Places in `reached.customers`.
    by_handle: HashMap<Handle, Vec<usize>>,
}

/// What the keys did to the records of the copy of before.
#[derive(Default)]
pub(super) struct Records {
    /// How many there are.
    pub all: usize,
    /// Of other customers: opened, and what was stored.
    pub others_opened: usize,
    /// Of other customers: stayed closed, or not what was stored.
    pub others_failed: usize,
    /// Of the erased customer.
    pub erased: usize,
    /// Of these: opened, whatever came out.
    pub erased_opened: usize,
    /// The erased customer's handles.
    pub handles: HashSet<Handle>,
}

/// What the keys did to all else that leads to the erased customer.
#[derive(Default)]
pub(super) struct Rest {
    /// Wrapped secrets: of the records, of the profile with the name, of the list.
    pub secrets: usize,
    /// Of these: opened.
    pub secrets_opened: usize,
    /// Links from a person to the handle that could be read.
    pub links: usize,
}

/// Why the attacker could not even try.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// A stolen database cannot be read.
    #[error("the attacker cannot read a stolen database: {0}")]
    Store(#[from] StoreError),
    /// A page of a stolen database cannot be read.
    #[error("the attacker cannot read a stolen page: {0}")]
    Page(#[from] SourceError),
    /// The stolen root key cannot be used.
    #[error("the attacker cannot use the stolen root key: {0}")]
    RootKey(#[from] RootKeyError),
    /// A stolen row is not what it should be.
    #[error("the attacker cannot read a stolen row: {0}")]
    Decode(#[from] Decode),
    /// A stolen database has no key tree.
    #[error("the attacker found no key tree in a stolen database: the copy is not whole")]
    NoTree,
}

/// Whether the database in `folder` opens with the root key in `root_key`. Blocks.
pub(super) fn opens(folder: &Path, root_key: &Path) -> Result<bool, AttackError> {
    let db = SledEngine::open(folder)?;
    Ok(root_of(&db)?.top_key(&FileRootKey::open(&[root_key.to_owned()])?)?.is_some())
}

impl Attacker {
    /// Opens what was stolen, and collects every key that can be reached. Blocks.
    pub fn break_in(loot: &Loot) -> Result<Self, AttackError> {
        let before = SledEngine::open(&loot.before.join("db"))?;
        let now = loot.now.as_deref().map(SledEngine::open).transpose()?;
        let provider = FileRootKey::open(std::slice::from_ref(&loot.root_key))?;
        let old_root = root_of(&before)?;
        let old_top = old_root.top_key(&provider)?;
        let opens_before = old_top.is_some();
        let mut tops: Vec<Key> = old_top.into_iter().collect();
        let (old_pages, new_pages) = (Pages(&before), now.as_ref().map(Pages));
        let mut copies: Vec<&dyn PageSource> = vec![&old_pages];
        if let Some(pages) = &new_pages {
            tops.extend(root_of(pages.0)?.top_key(&provider)?);
            copies.push(pages);
        }
        let reached = keys::reach(tops, &copies)?;
        let mut by_handle: HashMap<Handle, Vec<usize>> = HashMap::new();
        for (place, (handle, _)) in reached.customers.iter().enumerate() {
            by_handle.entry(*handle).or_default().push(place);
        }
        let (objects, wanted_root_key) = (loot.before.join("objects"), old_root.root_key());
        Ok(Self { before, now, objects, wanted_root_key, opens_before, reached, by_handle })
    }

    /// How many customer keys could be reached.
    pub fn customer_keys(&self) -> usize {
        self.reached.customers.len()
    }

    /// How many pages of the key tree opened.
    pub fn pages(&self) -> usize {
        self.reached.pages_opened
    }

    /// Tries every record of the copy of before. `progress` is called after each. Blocks.
    pub fn try_records(&self, planted: &HashMap<String, Planted>, progress: &dyn Fn()) -> Result<Records, AttackError> {
        let mut found = Records::default();
        self.each_record(&mut |record| {
            let opened = self.open(&record)?;
            found.all += 1;
            match planted.get(&record.id().to_string()) {
                Some(planted) if planted.erased => {
                    found.handles.insert(record.handle());
                    found.erased += 1;
                    found.erased_opened += usize::from(opened.is_some());
                }
                Some(planted) if opened == Some(planted.hash) => found.others_opened += 1,
                _ => found.others_failed += 1,
            }
            progress();
            Ok(())
        })?;
        Ok(found)
    }

    /// Tries every key, for every tenant, on every wrapped secret under these handles, and looks for links to them. Blocks.
    pub fn try_rest(&self, handles: &HashSet<Handle>) -> Result<Rest, AttackError> {
        let mut found = Rest::default();
        for handle in handles {
            let (from, to) = rows::customer_secrets(*handle);
            for (key, wrapped) in self.before.range(&from, &to, MAX_RANGE_ROWS)? {
                let Some((handle, record, revision)) = rows::parse_secret(&key) else { continue };
                let opens = |(_, key): &(Handle, Key)| {
                    let opened = |tenant| unwrap_secret(tenant, handle, record, revision, key, &wrapped).is_ok();
                    self.reached.tenants.iter().copied().any(opened)
                };
                found.secrets += 1;
                found.secrets_opened += usize::from(self.reached.customers.iter().any(opens));
            }
        }
        found.links = self.reached.links.iter().filter(|(_, handle)| handles.contains(handle)).count();
        Ok(found)
    }

    /// The hash of what is in a record, if any key opens it. The keys that stood beside its handle are tried; where there are
    /// none, all.
    fn open(&self, record: &StolenRecord) -> Result<Option<ContentHash>, AttackError> {
        let all = 0..self.reached.customers.len();
        let keys = self.by_handle.get(&record.handle()).cloned().unwrap_or_else(|| all.collect());
        let row = record.secret_row();
        for database in [Some(&self.before), self.now.as_ref()].into_iter().flatten() {
            let Some(wrapped) = database.get(&row)? else { continue };
            for place in &keys {
                let Ok(secret) = record.secret(&self.reached.customers[*place].1, &wrapped) else { continue };
                match record.open(&secret, &mut |name| self.object(name)) {
                    Ok(Plaintext::Chat(turns)) => {
                        let turns = turns.iter().map(|turn| (i32::from(turn.speaker as u8), turn.text.as_str()));
                        return Ok(Some(hash_of_turns(turns)));
                    }
                    Ok(Plaintext::Recording { sha256, .. }) => return Ok(Some(sha256)),
                    Err(_) => {}
                }
            }
        }
        Ok(None)
    }

    /// The stolen bytes of an object.
    fn object(&self, name: ObjectName) -> Option<Vec<u8>> {
        let path = self.objects.join(name.to_string());
        let is_part = path.metadata().is_ok_and(|about| about.len() <= MAX_OBJECT_BYTES);
        is_part.then(|| std::fs::read(path).ok()).flatten()
    }

    /// Visits every record of the copy of before, its pieces joined.
    fn each_record(&self, visit: &mut dyn FnMut(StolenRecord) -> Result<(), AttackError>) -> Result<(), AttackError> {
        let (mut from, to) = rows::all(rows::Kind::Record);
        let mut joined: Option<(Vec<u8>, Vec<u8>)> = None;
        loop {
            let step = self.before.range(&from, &to, MAX_RANGE_ROWS)?;
            let Some((last, _)) = step.last() else { break };
            from = rows::behind(last.clone());
            for (key, piece) in step {
                // All of a piece's key but its number.
                let record = key[..key.len().saturating_sub(2)].to_vec();
                match &mut joined {
                    Some((same, row)) if *same == record => row.extend_from_slice(&piece),
                    _ => {
                        let whole = joined.replace((record, piece));
                        whole.map_or(Ok(()), |whole| visit(read_record(whole)?))?;
                    }
                }
            }
        }
        joined.map_or(Ok(()), |whole| visit(read_record(whole)?))
    }
}

/// Pages of a stolen database.
struct Pages<'a>(&'a SledEngine);

impl PageSource for Pages<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(&rows::page(&id.0)).map_err(|error| SourceError::Unreadable(Box::new(error)))
    }
}

fn root_of(db: &SledEngine) -> Result<StolenRoot, AttackError> {
    Ok(StolenRoot::read(&db.get(&rows::root())?.ok_or(AttackError::NoTree)?)?)
}

fn read_record((mut key, row): (Vec<u8>, Vec<u8>)) -> Result<StolenRecord, AttackError> {
    let damaged = || Decode::Damaged { what: "a stolen record's key" };
    key.extend_from_slice(&[0; 2]);
    let (record, revision, _) = rows::parse_record_piece(&key).ok_or_else(damaged)?;
    let tenant = key.get(1..17).and_then(|tenant| tenant.try_into().ok()).map(TenantId).ok_or_else(damaged)?;
    Ok(StolenRecord::read(tenant, record, revision, row)?)
}
