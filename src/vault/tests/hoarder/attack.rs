//! What the hoarder keeps, and what he does with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use super::*;
use crate::crypto::secret::Key;
use crate::domain::ids::{Handle, Pseudonym};
use crate::keys::{NodeId, PageSource, SourceError, reach};
use crate::root_key::RootKey;
use crate::store::{Database, Write};
use crate::vault::forensics::{Plaintext, StolenRecord, StolenRoot, unwrap_secret, unwrap_segment};

/// All versions of all rows.
#[derive(Default)]
pub(in super::super) struct Hoard(Mutex<BTreeMap<Vec<u8>, Vec<Vec<u8>>>>);

impl Hoard {
    pub fn keep(&self, writes: &[Write]) {
        let mut rows = self.0.lock().unwrap();
        for write in writes {
            if let Write::Put { key, value } = write {
                let versions = rows.entry(key.clone()).or_default();
                if !versions.contains(value) {
                    versions.push(value.clone());
                }
            }
        }
    }

    /// All that was kept before this process began: what stands on the disk.
    pub fn keep_all(&self, db: &dyn Database) {
        let mut from = vec![0];
        loop {
            let some = db.range(&from, &[0xff; 64], 1024).unwrap();
            let Some((last, _)) = some.last() else { return };
            from = rows::behind(last.clone());
            let puts: Vec<_> = some.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
            self.keep(&puts);
        }
    }

    pub fn of(&self, kind: rows::Kind) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let (from, to) = rows::all(kind);
        self.0.lock().unwrap().range(from..to).map(|(key, versions)| (key.clone(), versions.clone())).collect()
    }
}

/// The pages as one image of many: the `n`-th version of each.
struct Image<'a>(&'a HashMap<NodeId, Vec<Vec<u8>>>, usize);

impl PageSource for Image<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(&id).and_then(|versions| versions.get(self.1)).cloned())
    }
}

/// A revision of a record.
pub type Kept = (RecordId, Revision);

/// What an attack came to.
pub struct Attack {
    pub links: Vec<Pseudonym>,
    pub opened: BTreeSet<Kept>,
    pub segment_keys: usize,
    pub tops: usize,
    pub pages_opened: usize,
    pub pages_closed: usize,
}

/// Everything that the hoard gives under the keys that `provider` holds.
pub fn attack(hoard: &Hoard, provider: &dyn RootKey) -> Attack {
    let roots = hoard.of(rows::Kind::Root).into_iter().flat_map(|(_, versions)| versions);
    let tops: Vec<Key> = roots.flat_map(|row| StolenRoot::read(&row).unwrap().top_keys(provider).unwrap()).collect();
    let pages: HashMap<NodeId, Vec<Vec<u8>>> = hoard
        .of(rows::Kind::Page)
        .into_iter()
        .map(|(key, versions)| (NodeId(key[1..17].try_into().unwrap()), versions))
        .collect();
    let most = pages.values().map(Vec::len).max().unwrap_or(0);
    let images: Vec<_> = (0..most).map(|version| Image(&pages, version)).collect();
    let images: Vec<&dyn PageSource> = images.iter().map(|image| image as &dyn PageSource).collect();
    let tops_reached = tops.len();
    let reached = reach(tops, &images).unwrap();

    // Any key that was reached may be a customer's, whatever the pages say; and any that one of them opens may be a segment's.
    let mut keys: Vec<&Key> = reached.customers.iter().map(|(_, key)| key).collect();
    keys.extend(reached.pages.iter().map(|(_, key)| key));
    let segments = segments(hoard, &reached.tenants, &keys);
    let segment_keys = segments.len();
    keys.extend(&segments);
    let mut secrets: HashMap<Vec<u8>, Vec<Key>> = HashMap::new();
    for (row, versions) in hoard.of(rows::Kind::Secret) {
        let (handle, record, revision) = rows::parse_secret(&row).unwrap();
        for wrapped in &versions {
            let tried = reached.tenants.iter().flat_map(|tenant| keys.iter().map(move |key| (*tenant, *key)));
            let found =
                tried.filter_map(|(tenant, key)| unwrap_secret(tenant, handle, record, revision, key, wrapped).ok());
            secrets.entry(row.clone()).or_default().extend(found);
        }
    }
    let mut opened = BTreeSet::new();
    for (key, versions) in hoard.of(rows::Kind::Record) {
        let (record, revision, piece) = rows::parse_record_piece(&key).unwrap();
        // All records here are short: their rows have one piece.
        assert_eq!(piece, 0);
        for row in versions {
            let tenant = TenantId(key[1..17].try_into().unwrap());
            let stolen = StolenRecord::read(tenant, record, revision, row).unwrap();
            let tried = secrets.get(&stolen.secret_row()).into_iter().flatten();
            let found = tried.filter(|secret| matches!(stolen.open(secret, &mut |_| None), Ok(Plaintext::Chat(_))));
            opened.extend(found.map(|_| (record, revision)));
        }
    }
    Attack {
        links: reached.links.iter().map(|(person, _)| *person).collect(),
        opened,
        segment_keys,
        tops: tops_reached,
        pages_opened: reached.pages_opened,
        pages_closed: reached.pages_closed,
    }
}

/// All keys of segments that any of `keys` opens.
fn segments(hoard: &Hoard, tenants: &[TenantId], keys: &[&Key]) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    for (row, versions) in hoard.of(rows::Kind::Segment) {
        let handle = Handle(row[1..17].try_into().unwrap());
        let first = rows::parse_segment(&row).unwrap();
        for wrapped in &versions {
            let tried = tenants.iter().flat_map(|tenant| keys.iter().map(move |key| (*tenant, *key)));
            let opened = tried.filter_map(|(tenant, key)| unwrap_segment(tenant, handle, first, key, wrapped).ok());
            for key in opened.collect::<Vec<_>>() {
                if !found.iter().any(|known| known.same_as(&key)) {
                    found.push(key);
                }
            }
        }
    }
    found
}
