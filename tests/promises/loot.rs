//! The data directory of a stopped service, read past the service: rows as they lie there, and every key that the root key opens.

use std::path::{Path, PathBuf};

use oubliette::crypto::Key;
use oubliette::domain::ids::{Handle, RecordId, Revision, TenantId};
use oubliette::keys::{NodeId, PageSource, Reached, SourceError, View, reach};
use oubliette::root_key::FileRootKey;
use oubliette::store::{Database as _, MAX_RANGE_ROWS, ObjectName, Row, SledEngine, Write, rows};
use oubliette::vault::forensics::{StolenRecord, StolenRoot, unwrap_secret};

/// An opened database, and the top key of its key tree.
pub struct Loot {
    db: SledEngine,
    top: Key,
    objects: PathBuf,
}

/// A record as it lies there.
pub struct Found {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub record: RecordId,
    /// Its row, all pieces joined.
    pub row: Vec<u8>,
    /// The handle of its customer.
    pub handle: Handle,
    /// The row of its wrapped secret.
    pub secret: Vec<u8>,
}

impl Loot {
    /// Opens a data directory that no service has open.
    pub fn open(data: &Path, root_key: &Path) -> Self {
        let db = SledEngine::open(&data.join("db")).unwrap();
        let root = StolenRoot::read(&db.get(&rows::root()).unwrap().unwrap()).unwrap();
        let top = root.top_key(&FileRootKey::open(&[root_key.to_owned()]).unwrap()).unwrap();
        Self { db, top: top.expect("the root key opens the database"), objects: data.join("objects") }
    }

    /// What can be reached from the top key.
    pub fn reached(&self) -> Reached {
        reach(vec![self.top.duplicate()], &[self]).unwrap()
    }

    /// Every key but the root key: of pages, of the service and its tenants, of customers, and every secret.
    pub fn keys(&self) -> Vec<Key> {
        let reached = self.reached();
        let view = View::new(self, &self.top);
        let system = view.system().unwrap();
        let mut keys = vec![self.top.duplicate(), system.index, system.settings];
        view.each_tenant(&mut |_, tenant| keys.extend([tenant.index, tenant.settings])).unwrap();
        for (row, wrapped) in self.rows(rows::Kind::Secret) {
            let (handle, record, revision) = rows::parse_secret(&row).unwrap();
            let of_handle = reached.customers.iter().filter(|(of, _)| *of == handle);
            let tried = of_handle.flat_map(|(_, key)| reached.tenants.iter().map(move |tenant| (*tenant, key)));
            keys.extend(tried.flat_map(|(tenant, key)| unwrap_secret(tenant, handle, record, revision, key, &wrapped)));
        }
        keys.extend(reached.customers.into_iter().map(|(_, key)| key));
        keys.extend(reached.pages.into_iter().map(|(_, key)| key));
        keys
    }

    /// The key of a customer.
    pub fn customer_key(&self, handle: Handle) -> Key {
        let mut customers = self.reached().customers.into_iter();
        customers.find(|(of, _)| *of == handle).unwrap().1
    }

    /// All rows of a kind.
    pub fn rows(&self, kind: rows::Kind) -> Vec<Row> {
        let (mut from, to) = rows::all(kind);
        let mut all = Vec::new();
        loop {
            let some = self.db.range(&from, &to, MAX_RANGE_ROWS).unwrap();
            let Some((last, _)) = some.last() else { return all };
            from = rows::behind(last.clone());
            all.extend(some);
        }
    }

    /// A row.
    pub fn row(&self, key: &[u8]) -> Vec<u8> {
        self.db.get(key).unwrap().unwrap()
    }

    /// A record.
    pub fn find(&self, record_id: &str) -> Found {
        let record = RecordId::parse(record_id).unwrap();
        let pieces: Vec<Row> = self.rows(rows::Kind::Record);
        let mine = pieces.into_iter().filter(|(key, _)| rows::parse_record_piece(key).unwrap().0 == record);
        let (keys, pieces): (Vec<_>, Vec<_>) = mine.unzip();
        let tenant = TenantId(keys[0][1..17].try_into().unwrap());
        let row = pieces.concat();
        let stolen = StolenRecord::read(tenant, record, Revision::FIRST, row.clone()).unwrap();
        let secret = self.row(&stolen.secret_row());
        Found { tenant, record, row, handle: stolen.handle(), secret }
    }

    /// The files of a record's parts, in no order.
    pub fn parts(&self, found: &Found) -> Vec<PathBuf> {
        let name = ObjectName::new(found.handle, found.record, [0; 16]).to_string();
        let folder = self.objects.join(name).parent().unwrap().to_owned();
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// The bytes of an object.
    pub fn object(&self, name: ObjectName) -> Option<Vec<u8>> {
        std::fs::read(self.objects.join(name.to_string())).ok()
    }

    /// Writes past the service.
    pub fn tamper(&self, key: Vec<u8>, value: Vec<u8>) {
        self.db.apply(&[Write::Put { key, value }]).unwrap();
        self.db.sync().unwrap();
    }
}

impl Found {
    /// The key of its row; all of these records have one piece.
    pub fn row_key(&self) -> Vec<u8> {
        rows::record_piece(self.tenant, self.record, Revision::FIRST, 0)
    }

    /// The key of its secret's row.
    pub fn secret_key(&self) -> Vec<u8> {
        rows::secret(self.handle, self.record, Revision::FIRST)
    }
}

impl PageSource for Loot {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        self.db.get(&rows::page(&id.0)).map_err(|error| SourceError::Unreadable(Box::new(error)))
    }
}
