//! What the hoarder keeps, and what he does with it.
//!
//! He knows what is sealed under what, and trusts none of it: every key that he reaches is tried on every version of every page and of
//! every wrapped secret, and every secret on every record, profile, index row, pending row and object.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::crypto::{content, kdf, key_wrap};
use crate::domain::ids::{Handle, Pseudonym};
use crate::keys::{NodeId, reach_by_force};
use crate::root_key::RootKey;
use crate::store::{Database, ObjectName, Write};
use crate::vault::forensics::{Plaintext, StolenRecord, StolenRoot, unwrap_secret, unwrap_segment};
use crate::vault::format::{
    ErasingRow, ErasingWhat, ErasureRequestRow, GrantRow, Place, RequestRow, SealedAnswer, StoredRecord, Use,
    decode_profile, use_key,
};

/// All versions of all rows, and all objects.
#[derive(Default)]
pub(in super::super) struct Hoard {
    rows: Mutex<BTreeMap<Vec<u8>, Vec<Vec<u8>>>>,
    /// They are never overwritten: a name is of one object for ever.
    objects: Mutex<BTreeMap<ObjectName, Vec<u8>>>,
    /// The ids of requests for erasures, which the platform knows, and the part that each was about.
    erasures: Mutex<Vec<(RequestId, Option<Part>)>>,
}

impl Hoard {
    /// The platform tells the hoarder of a request.
    pub fn know_erasure(&self, request: RequestId, part: Option<Part>) {
        self.erasures.lock().unwrap().push((request, part));
    }

    pub fn keep(&self, writes: &[Write]) {
        let mut rows = self.rows.lock().unwrap();
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

    /// The objects anywhere below a directory: of the data, of a mirror, of a backup.
    pub fn keep_objects(&self, below: &Path) {
        let mut folders = vec![below.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let names: Vec<_> =
                    path.components().rev().take(3).map(|name| name.as_os_str().to_string_lossy()).collect();
                let name = names.iter().rev().map(|name| name.as_ref()).collect::<Vec<_>>().join("/");
                // It may go while it is looked at: then it was kept before.
                if let (Some(name), Ok(bytes)) = (ObjectName::parse(&name), std::fs::read(&path)) {
                    self.objects.lock().unwrap().entry(name).or_insert(bytes);
                }
            }
        }
    }

    pub fn of(&self, kind: rows::Kind) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let (from, to) = rows::all(kind);
        self.rows.lock().unwrap().range(from..to).map(|(key, versions)| (key.clone(), versions.clone())).collect()
    }

    /// Every version of every row of a kind.
    pub fn each(&self, kind: rows::Kind) -> impl Iterator<Item = Row> + use<> {
        let rows = self.of(kind).into_iter();
        rows.flat_map(|(key, versions)| versions.into_iter().map(move |version| (key.clone(), version)))
    }
}

/// A revision of a record.
pub type Kept = (RecordId, Revision);

/// What an attack came to.
#[derive(Default)]
pub struct Attack {
    pub links: BTreeSet<Pseudonym>,
    /// Secrets that were unwrapped, those of profiles among them.
    pub secrets: BTreeSet<(Handle, RecordId, Revision)>,
    /// Records whose metadata and whole content opened.
    pub opened: BTreeSet<Kept>,
    pub handles: BTreeSet<Handle>,
    /// The real ids of customers.
    pub profiles: BTreeSet<String>,
    /// Records about which an index row said something.
    pub indexed: BTreeSet<RecordId>,
    /// Customers of whose assigned cases or broken glass the words opened.
    pub granted: BTreeSet<Handle>,
    /// Customers whom a pending erasure names.
    pub pending: BTreeSet<String>,
    /// What approvals say, in plain.
    pub approvals: Vec<Vec<u8>>,
    /// Answers to requests of erasures, opened without the request's id.
    pub answers: usize,
    /// The same, opened with the ids that the platform knows.
    pub answers_by_id: usize,
    /// What a request stored, as its row says, and the customer under whose key it says so.
    pub requests: BTreeSet<(Handle, RecordId, Revision)>,
    /// Revisions of which a request's row confirms guesses.
    pub fingerprints: BTreeSet<Kept>,
    /// Records of which an object opened.
    pub objects: BTreeSet<RecordId>,
    pub segment_keys: usize,
    pub tops: usize,
    pub pages_opened: usize,
    pub pages_closed: usize,
    pub inner_pages: usize,
    /// How often a key was tried on something.
    pub tries: usize,
}

/// A secret that was reached, and where it belongs as the row says.
struct Secret {
    place: (Handle, RecordId, Revision),
    key: Key,
}

/// What he has in his hands once the pages and wrapped secrets are open.
struct Hands {
    tenants: Vec<TenantId>,
    keys: Vec<Key>,
    secrets: Vec<Secret>,
}

/// Everything that the hoard gives under the keys that `provider` holds.
pub fn attack(hoard: &Hoard, provider: &dyn RootKey) -> Attack {
    let mut attack = Attack::default();
    let Hands { tenants, keys, secrets } = attack.reach_secrets(hoard, provider);
    attack.open_records(hoard, &secrets);
    attack.open_objects(hoard, &tenants, &secrets);
    attack.open_profiles(hoard, &secrets);
    attack.open_index(hoard, &secrets);
    attack.open_grants(hoard, &secrets);
    attack.open_pending(hoard, &keys, &secrets);
    attack.open_answers(hoard, &keys, &secrets);
    attack.open_answers_by_id(hoard, &keys);
    attack.open_requests(hoard, &secrets);
    attack.open_approvals(hoard, &keys);
    attack
}

/// The records alone.
pub fn records(hoard: &Hoard, provider: &dyn RootKey) -> BTreeSet<Kept> {
    let mut attack = Attack::default();
    let hands = attack.reach_secrets(hoard, provider);
    attack.open_records(hoard, &hands.secrets);
    attack.opened
}

impl Attack {
    fn reach_secrets(&mut self, hoard: &Hoard, provider: &dyn RootKey) -> Hands {
        let roots = hoard.each(rows::Kind::Root);
        let tops = roots.flat_map(|(_, row)| StolenRoot::read(&row).unwrap().top_keys(provider).unwrap());
        let tops: Vec<Key> = tops.collect();
        let pages = hoard.each(rows::Kind::Page).map(|(key, page)| (NodeId(key[1..17].try_into().unwrap()), page));
        let pages: Vec<_> = pages.collect();
        self.tops = tops.len();
        let reached = reach_by_force(tops, &pages);
        self.links = reached.links.iter().map(|(person, _)| *person).collect();
        (self.pages_opened, self.pages_closed) = (reached.pages_opened, reached.pages_closed);
        (self.inner_pages, self.tries) = (reached.inner_pages, reached.tries);
        // Which tenants there are stands in the keys of rows.
        let tenants = hoard.of(rows::Kind::Record).into_iter().map(|(key, _)| TenantId(key[1..17].try_into().unwrap()));
        let tenants: Vec<TenantId> = tenants.collect::<BTreeSet<_>>().into_iter().collect();
        let mut keys = reached.keys;
        let segments = self.segments(hoard, &tenants, &keys);
        self.segment_keys = segments.len();
        keys.extend(segments);
        let secrets = self.secrets(hoard, &tenants, &keys);
        Hands { tenants, keys, secrets }
    }

    /// All keys of segments that any of `keys` opens, or any that one of them opens.
    fn segments(&mut self, hoard: &Hoard, tenants: &[TenantId], keys: &[Key]) -> Vec<Key> {
        let mut found: Vec<Key> = Vec::new();
        for (row, wrapped) in hoard.each(rows::Kind::Segment) {
            let handle = Handle(row[1..17].try_into().unwrap());
            let first = rows::parse_segment(&row).unwrap();
            for tenant in tenants {
                self.tries += keys.len();
                let opened = keys.iter().filter_map(|key| unwrap_segment(*tenant, handle, first, key, &wrapped).ok());
                for key in opened.collect::<Vec<_>>() {
                    if !found.iter().any(|known| known.same_as(&key)) {
                        found.push(key);
                    }
                }
            }
        }
        found
    }

    fn secrets(&mut self, hoard: &Hoard, tenants: &[TenantId], keys: &[Key]) -> Vec<Secret> {
        let (mut secrets, mut known) = (Vec::new(), HashSet::new());
        for (row, wrapped) in hoard.each(rows::Kind::Secret) {
            let (handle, record, revision) = rows::parse_secret(&row).unwrap();
            for tenant in tenants {
                self.tries += keys.len();
                let tried =
                    keys.iter().filter_map(|key| unwrap_secret(*tenant, handle, record, revision, key, &wrapped).ok());
                // One that is wrapped anew is still the same.
                for key in tried.filter(|key| known.insert(*key.expose())) {
                    self.secrets.insert((handle, record, revision));
                    secrets.push(Secret { place: (handle, record, revision), key });
                }
            }
        }
        secrets
    }

    fn open_records(&mut self, hoard: &Hoard, secrets: &[Secret]) {
        let objects = hoard.objects.lock().unwrap();
        for (key, row) in hoard.each(rows::Kind::Record) {
            let (record, revision, piece) = rows::parse_record_piece(&key).unwrap();
            // What is long here stands in objects: a row has one piece.
            assert_eq!(piece, 0);
            let tenant = TenantId(key[1..17].try_into().unwrap());
            let stolen = StolenRecord::read(tenant, record, revision, row).unwrap();
            self.tries += secrets.len();
            let mut opens = secrets.iter().filter(|secret| {
                let opened = stolen.open(&secret.key, &mut |name| objects.get(&name).cloned());
                matches!(opened, Ok(Plaintext::Chat(_) | Plaintext::Recording { .. }))
            });
            if opens.next().is_some() {
                self.opened.insert((record, revision));
                self.handles.insert(stolen.handle());
            }
        }
    }

    /// Objects alone, without the manifest that says what they are.
    fn open_objects(&mut self, hoard: &Hoard, tenants: &[TenantId], secrets: &[Secret]) {
        const MOST_PARTS: u32 = 3;
        for (name, sealed) in hoard.objects.lock().unwrap().iter() {
            let opens = |tenant: TenantId, secret: &Secret| {
                let place = Place { tenant, handle: name.handle(), record: name.record(), revision: Revision::FIRST };
                let key = use_key(&secret.key, Use::Part, &place);
                (0..MOST_PARTS).any(|number| content::open(&key, &number.to_be_bytes(), sealed).is_ok())
            };
            self.tries += tenants.len() * secrets.len();
            if tenants.iter().any(|tenant| secrets.iter().any(|secret| opens(*tenant, secret))) {
                self.objects.insert(name.record());
                self.handles.insert(name.handle());
            }
        }
    }

    fn open_profiles(&mut self, hoard: &Hoard, secrets: &[Secret]) {
        for (key, row) in hoard.each(rows::Kind::Profile) {
            let handle = rows::parse_profile(&key).unwrap();
            let (tenant, sealed) = row.split_at(16);
            let tenant = TenantId(tenant.try_into().unwrap());
            let place = Place { tenant, handle, record: RecordId::PROFILE, revision: Revision::FIRST };
            self.tries += secrets.len();
            let opened = secrets
                .iter()
                .filter_map(|secret| content::open(&use_key(&secret.key, Use::Profile, &place), b"", sealed).ok());
            self.profiles.extend(opened.map(|plain| decode_profile(&plain).unwrap().as_str().to_owned()));
        }
    }

    fn open_index(&mut self, hoard: &Hoard, secrets: &[Secret]) {
        for (row, value) in hoard.each(rows::Kind::Index) {
            let (tenant, record) = (TenantId(row[1..17].try_into().unwrap()), rows::parse_index(&row).unwrap());
            let (handle, sealed) = value.split_at(16);
            let handle = Handle(handle.try_into().unwrap());
            // Which revision it is about is sealed too: it is one of those that there are.
            let revisions: BTreeSet<Revision> = secrets.iter().map(|secret| secret.place.2).collect();
            for revision in revisions {
                let place = Place { tenant, handle, record, revision };
                self.tries += secrets.len();
                let mut opens = secrets
                    .iter()
                    .filter(|secret| key_wrap::open(&use_key(&secret.key, Use::Index, &place), &row, sealed).is_ok());
                if opens.next().is_some() {
                    self.indexed.insert(record);
                }
            }
        }
    }

    fn open_grants(&mut self, hoard: &Hoard, secrets: &[Secret]) {
        for (row, value) in hoard.each(rows::Kind::Assignment).chain(hoard.each(rows::Kind::Glass)) {
            let handle = Handle(row[1..17].try_into().unwrap());
            let GrantRow { tenant, words, .. } = GrantRow::decode(&value).unwrap();
            let place = Place { tenant, handle, record: RecordId::PROFILE, revision: Revision::FIRST };
            self.tries += secrets.len();
            let opens =
                |secret: &Secret| key_wrap::open(&use_key(&secret.key, Use::Grant, &place), &row, &words).is_ok();
            if secrets.iter().any(opens) {
                self.granted.insert(handle);
            }
        }
    }

    /// What is pending names whom it is about, sealed under a key of the customer, of the record or of the tenant. Which customer it is, it
    /// does not show: every key is tried as that of every handle.
    fn open_pending(&mut self, hoard: &Hoard, keys: &[Key], secrets: &[Secret]) {
        let handles: HashSet<Handle> =
            hoard.of(rows::Kind::Profile).into_iter().filter_map(|(key, _)| rows::parse_profile(&key)).collect();
        let mut sealed: BTreeMap<TenantId, Vec<Row>> = BTreeMap::new();
        for (key, row) in hoard.each(rows::Kind::Erasing) {
            let row = ErasingRow::decode(&row).unwrap();
            let of = if let ErasingWhat::Tenant(subject) = row.what { subject } else { row.tenant };
            sealed.entry(of).or_default().push((key, row.sealed));
        }
        for (tenant, rows) in sealed {
            let place = |handle, record, revision| Place { tenant, handle, record, revision };
            let of_customers = keys.iter().flat_map(|key| {
                let profile = |handle: &Handle| place(*handle, RecordId::PROFILE, Revision::FIRST);
                handles.iter().map(move |handle| use_key(key, Use::Pending, &profile(handle)))
            });
            let of_parts = secrets.iter().map(|secret| {
                let (handle, record, revision) = secret.place;
                use_key(&secret.key, Use::Pending, &place(handle, record, revision))
            });
            let of_tenants = keys.iter().map(|key| kdf::derive(key, Use::Pending.label(), &[&tenant.0]));
            for under in of_customers.chain(of_parts).chain(of_tenants) {
                self.tries += rows.len();
                let opened = rows.iter().filter_map(|(key, sealed)| key_wrap::open(&under, key, sealed).ok());
                let named = opened.map(|plain| format::Pending::decode(&plain).unwrap().name().to_owned());
                self.pending.extend(named.collect::<Vec<_>>());
            }
        }
    }

    /// What needed a second person is sealed under a key of the tenant, which stays.
    fn open_approvals(&mut self, hoard: &Hoard, keys: &[Key]) {
        for (row, sealed) in hoard.each(rows::Kind::Approval) {
            self.tries += keys.len();
            let plain = keys.iter().find_map(|key| key_wrap::open(key, &row, &sealed).ok());
            self.approvals.extend(plain.map(|plain| plain.to_vec()));
        }
    }

    /// What answers a repeat is sealed under a key that the request's id leads to, which no row tells.
    fn open_answers(&mut self, hoard: &Hoard, keys: &[Key], secrets: &[Secret]) {
        for (key, row) in hoard.each(rows::Kind::ErasureRequest) {
            let sealed = ErasureRequestRow::decode(&row).unwrap().sealed;
            let under = keys.iter().chain(secrets.iter().map(|secret| &secret.key));
            self.tries += keys.len() + secrets.len();
            self.answers += under.filter(|tried| key_wrap::open(tried, &key, &sealed).is_ok()).count();
        }
    }

    /// The same with the ids of the requests: each key that is reached is tried as the index key, and as an answer key.
    fn open_answers_by_id(&mut self, hoard: &Hoard, keys: &[Key]) {
        let alias = [7; 16];
        let rows: Vec<Row> = hoard.each(rows::Kind::ErasureRequest).collect();
        for (request, part) in hoard.erasures.lock().unwrap().iter() {
            let id = request.as_str().as_bytes();
            let indexes: HashSet<[u8; 16]> =
                keys.iter().map(|key| blind(key, "erasure request", &[&alias, id, b""])).collect();
            let part = part.map(|part| match part {
                Part::Record(record) => record.as_bytes().to_vec(),
                Part::Revision(record, revision) => [&record.as_bytes()[..], &revision.0.to_be_bytes()].concat(),
            });
            let part = part.unwrap_or_default();
            let names: [&[u8]; 4] = [&alias, id, b"", &part];
            let derived: Vec<Key> =
                keys.iter().map(|key| kdf::derive(key, Use::ErasureAnswer.label(), &names)).collect();
            for (key, row) in rows.iter().filter(|(key, _)| indexes.contains(&key[17..33])) {
                let sealed = ErasureRequestRow::decode(row).unwrap().sealed;
                self.tries += derived.len();
                self.answers_by_id +=
                    derived.iter().filter(|tried| key_wrap::open(tried, key, &sealed).is_ok()).count();
            }
        }
    }

    /// Both layers of the rows of requests, each with every secret.
    fn open_requests(&mut self, hoard: &Hoard, secrets: &[Secret]) {
        for (row, value) in hoard.each(rows::Kind::Request) {
            let tenant = TenantId(row[1..17].try_into().unwrap());
            let Some(SealedAnswer { target, fingerprint }) = RequestRow::decode(&value).unwrap().answer else {
                continue;
            };
            self.tries += secrets.len() * 2;
            let (mut stored, mut is_confirmed) = (None, false);
            for Secret { place: (handle, record, revision), key } in secrets {
                let place = Place { tenant, handle: *handle, record: *record, revision: *revision };
                let key = use_key(key, Use::Request, &place);
                if let Ok(plain) = key_wrap::open(&key, &row, &target) {
                    let StoredRecord { record, revision } = StoredRecord::decode(&plain).unwrap();
                    self.requests.insert((*handle, record, revision));
                    stored = Some((record, revision));
                }
                if key_wrap::open(&key, &row, &fingerprint).is_ok() {
                    self.fingerprints.insert((*record, *revision));
                    is_confirmed = true;
                }
            }
            // Whatever key opened the fingerprint, it confirms guesses of what the request stored.
            self.fingerprints.extend(stored.filter(|_| is_confirmed));
        }
    }
}
