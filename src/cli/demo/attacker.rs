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
    pub now: PathBuf,
    /// A copy of the root key's file, taken after it.
    pub root_key: PathBuf,
}

/// Something that was stored, by which the attacker's success is judged. The attacker does not need it.
pub(super) struct Planted {
    pub hash: ContentHash,
    /// Whether its customer was erased.
    pub erased: bool,
}

/// What the attacker got.
#[derive(Default)]
pub(super) struct Findings {
    /// Whether the root key of now opens the copy of before.
    pub opens_before: bool,
    /// The root key that the copy of before wants.
    pub wanted_root_key: Option<RootKeyId>,
    /// Whether the root key of now opens the copy of now.
    pub opens_now: bool,
    /// Pages of the key tree that opened.
    pub pages: usize,
    /// Customer keys that could be reached.
    pub customer_keys: usize,
    /// Records in the copy of before.
    pub records: usize,
    /// Records of other customers that opened and are what was stored.
    pub others_opened: usize,
    /// Records of other customers that stayed closed, or are not what was stored.
    pub others_failed: usize,
    /// Records of the erased customer in the copy of before.
    pub erased_records: usize,
    /// Those of them that opened. One is too many.
    pub erased_opened: usize,
    /// Wrapped secrets of the erased customer in the copy of before: of the records, of the profile with the name, of the list.
    pub erased_secrets: usize,
    /// Those of them that opened. One is too many.
    pub erased_secrets_opened: usize,
    /// Links from a person to the erased customer's handle that could be read. One is too many.
    pub erased_links: usize,
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
    Ok(root_of(&db)?.top_key(&FileRootKey::open(root_key)?)?.is_some())
}

/// Tries all of it. `progress` is called after each record. Blocks.
pub(super) fn attack(
    loot: &Loot,
    planted: &HashMap<String, Planted>,
    progress: &dyn Fn(),
) -> Result<Findings, AttackError> {
    let before = SledEngine::open(&loot.before.join("db"))?;
    let now = SledEngine::open(&loot.now)?;
    let provider = FileRootKey::open(&loot.root_key)?;
    let root = root_of(&before)?;
    let tops = [root.top_key(&provider)?, root_of(&now)?.top_key(&provider)?];
    let mut found = Findings {
        opens_before: tops[0].is_some(),
        opens_now: tops[1].is_some(),
        wanted_root_key: Some(root.root_key()),
        ..Findings::default()
    };
    let reached = keys::reach(tops.into_iter().flatten().collect(), &[&Pages(&before), &Pages(&now)])?;
    found.pages = reached.pages_opened;
    found.customer_keys = reached.customers.len();
    let thief = Thief { before, now, objects: loot.before.join("objects"), keys: KeyRing::new(&reached) };
    let erased = thief.try_records(planted, &mut found, progress)?;
    thief.try_secrets(&erased, &reached.tenants, &mut found)?;
    found.erased_links = reached.links.iter().filter(|(_, handle)| erased.contains(handle)).count();
    Ok(found)
}

fn root_of(db: &SledEngine) -> Result<StolenRoot, AttackError> {
    Ok(StolenRoot::read(&db.get(&rows::root())?.ok_or(AttackError::NoTree)?)?)
}

/// Pages of a stolen database.
struct Pages<'a>(&'a SledEngine);

impl PageSource for Pages<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(&rows::page(&id.0)).map_err(|error| SourceError(Box::new(error)))
    }
}

/// The customer keys that were reached.
struct KeyRing<'a> {
    all: Vec<&'a Key>,
    by_handle: HashMap<Handle, Vec<&'a Key>>,
}

impl<'a> KeyRing<'a> {
    fn new(reached: &'a Reached) -> Self {
        let mut by_handle: HashMap<Handle, Vec<&Key>> = HashMap::new();
        for (handle, key) in &reached.customers {
            by_handle.entry(*handle).or_default().push(key);
        }
        Self { all: reached.customers.iter().map(|(_, key)| key).collect(), by_handle }
    }

    /// The keys to try for a handle: those that stood beside it; where there are none, all.
    fn for_handle(&self, handle: Handle) -> &[&'a Key] {
        self.by_handle.get(&handle).unwrap_or(&self.all)
    }
}

struct Thief<'a> {
    before: SledEngine,
    now: SledEngine,
    objects: PathBuf,
    keys: KeyRing<'a>,
}

impl Thief<'_> {
    /// Tries every record of the copy of before; returns the handles of the erased customer's.
    fn try_records(
        &self,
        planted: &HashMap<String, Planted>,
        found: &mut Findings,
        progress: &dyn Fn(),
    ) -> Result<HashSet<Handle>, AttackError> {
        let mut erased = HashSet::new();
        self.each_record(&mut |record| {
            let opened = self.open(&record)?;
            found.records += 1;
            match planted.get(&record.id().to_string()) {
                Some(planted) if planted.erased => {
                    erased.insert(record.handle());
                    found.erased_records += 1;
                    found.erased_opened += usize::from(opened.is_some());
                }
                Some(planted) if opened == Some(planted.hash) => found.others_opened += 1,
                _ => found.others_failed += 1,
            }
            progress();
            Ok(())
        })?;
        Ok(erased)
    }

    /// Tries every key on every wrapped secret of the erased customer, as a record of every tenant.
    fn try_secrets(
        &self,
        erased: &HashSet<Handle>,
        tenants: &[TenantId],
        found: &mut Findings,
    ) -> Result<(), AttackError> {
        for handle in erased {
            let (from, to) = rows::customer_secrets(*handle);
            for (key, wrapped) in self.before.range(&from, &to, MAX_RANGE_ROWS)? {
                let Some((handle, record, revision)) = rows::parse_secret(&key) else { continue };
                let opens = |key: &&Key| {
                    let opened = |tenant| unwrap_secret(tenant, handle, record, revision, key, &wrapped).is_ok();
                    tenants.iter().copied().any(opened)
                };
                found.erased_secrets += 1;
                found.erased_secrets_opened += usize::from(self.keys.all.iter().any(opens));
            }
        }
        Ok(())
    }

    /// The hash of what is in a record, if any key opens it.
    fn open(&self, record: &StolenRecord) -> Result<Option<ContentHash>, AttackError> {
        let row = record.secret_row();
        for wrapped in [self.before.get(&row)?, self.now.get(&row)?].into_iter().flatten() {
            for key in self.keys.for_handle(record.handle()) {
                let Ok(secret) = record.secret(key, &wrapped) else { continue };
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
    fn each_record(
        &self,
        visit: &mut dyn FnMut(StolenRecord) -> Result<(), AttackError>,
    ) -> Result<(), AttackError> {
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

fn read_record((mut key, row): (Vec<u8>, Vec<u8>)) -> Result<StolenRecord, AttackError> {
    let damaged = || Decode::Damaged { what: "a stolen record's key" };
    key.extend_from_slice(&[0; 2]);
    let (record, revision, _) = rows::parse_record_piece(&key).ok_or_else(damaged)?;
    let tenant = key.get(1..17).and_then(|tenant| tenant.try_into().ok()).map(TenantId).ok_or_else(damaged)?;
    Ok(StolenRecord::read(tenant, record, revision, row)?)
}
