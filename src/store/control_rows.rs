//! Control rows, and what ties them to the ledger: with each change of one, an entry of the ledger commits to all of them.
//!
//! So a start notices when somebody wrote past the service: a tombstone taken out, a role or a token planted, an older row put back, the
//! digest of a page changed. The commitment is a keyed hash of the rows' sum ([`Multiset`]) and of its own position in the ledger: without
//! the key it cannot be made, and the one of an earlier time does not pass at another position. The ledger behind the newest commitment
//! is hashed again at each start, up to the root that the pin remembers.
//!
//! The sum is stored sealed. In the clear, two images would show it before and after one change, so the difference would be the hash of one
//! row; from enough such hashes, sets of rows that leave the sum as it is can be computed (Wagner: *A Generalized Birthday Problem*, CRYPTO
//! 2002). Sealed, no hash of any row and no sum is ever seen, and what remains is to guess 256 bits (Clarke, Devadas, van Dijk, Gassend,
//! Suh, ASIACRYPT 2003, require the same: the additive hash must be keyed, and masked).
//!
//! A commitment is salted, and the salt is only in the row that is replaced each time: the entries of the past tell nothing about which
//! rows there were, so no time is tied to a tombstone.
//!
//! Which hash each row has in the sum is remembered ([`KnownRows`]). A row that is damaged while the service runs, and that the service then
//! replaces or removes, is taken out of the sum by that hash. Taken out by the hash of what stands there, it would leave a sum that no
//! later start accepts, here and on every mirror. So that nothing is covered up by this, the ledger gets an alert with that write, and
//! who acts on a row asks first whether it [is as logged](AsLogged::is).
//!
//! Pages of the key tree are too many to be read at each start. Their digests are control rows, written by the committer with each page
//! ([`page_digest`]), and a page is compared with its digest when it is read.

mod known;
mod layout_1;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rand::TryRng as _;
use rand::rngs::SysRng;

use known::{Known, KnownRows};

use super::{Database, LogTree, MAX_RANGE_ROWS, StoreError, rows};
use crate::audit::merkle::{self, Frontier, Hash};
use crate::audit::multiset::Multiset;
use crate::audit::{AlertSort, Entry, Event, NO_TENANT};
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::BlindIndex;

const SALT_BYTES: usize = 32;
const VERSION: u8 = 3;
const WHAT: &str = "the row that ties the control rows to the ledger";

/// A keyed hash of framed parts, in a field of its own.
type Mac = dyn Fn(&str, &[&[u8]]) -> [u8; 32] + Send + Sync;
/// Seals bytes, bound to a context.
type Seal = dyn Fn(&[&[u8]], &[u8]) -> Vec<u8> + Send + Sync;
/// Opens what was sealed for the same context.
type Open = dyn Fn(&[&[u8]], &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The keyed functions over control rows. The keys stay with the caller: this module sees none.
#[derive(Clone)]
pub struct RowMac {
    mac: Arc<Mac>,
    seal: Arc<Seal>,
    open: Arc<Open>,
}

impl RowMac {
    /// From a keyed hash and a sealing, each under a key of its own. No context is sealed for twice.
    pub fn new(
        mac: impl Fn(&str, &[&[u8]]) -> [u8; 32] + Send + Sync + 'static,
        seal: impl Fn(&[&[u8]], &[u8]) -> Vec<u8> + Send + Sync + 'static,
        open: impl Fn(&[&[u8]], &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { mac: Arc::new(mac), seal: Arc::new(seal), open: Arc::new(open) }
    }

    /// The hash of a row, as it goes into the sum.
    fn row(&self, key: &[u8], value: &[u8]) -> [u8; 32] {
        (self.mac)("control row", &[key, value])
    }
}

impl fmt::Debug for RowMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowMac(..)")
    }
}

/// All control rows, as they are.
pub struct ControlRows {
    sum: Multiset,
    as_logged: AsLogged,
    /// What the group that is being written changes: the sum behind it, and the hash of each row.
    staged: Option<(Multiset, Vec<Known>)>,
}

/// Tells of a control row whether it is what the ledger vouches for. Clones share what they know.
#[derive(Clone)]
pub struct AsLogged {
    known: Arc<RwLock<KnownRows>>,
    mac: RowMac,
    /// Rows that were found changed as they were written.
    changed: Arc<AtomicU64>,
}

impl AsLogged {
    fn new(known: KnownRows, mac: RowMac) -> Self {
        Self { known: Arc::new(RwLock::new(known)), mac, changed: Arc::default() }
    }

    /// Whether a row is what this process wrote, or checked at the start. A group that is being written counts as soon as it is acknowledged,
    /// or a moment earlier.
    pub fn is(&self, key: &[u8], value: &[u8]) -> bool {
        let hash = Some(self.mac.row(key, value));
        self.known(key, hash) == hash
    }

    /// How many rows were found changed, removed or added past the service as it wrote them.
    pub fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    fn known(&self, key: &[u8], stored: Option<Hash>) -> Option<Hash> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).hash(key, stored)
    }
}

/// What a write of a control row is to the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Whether it changes anything.
    pub changes: bool,
    /// Whether what stood there was not what the ledger vouches for.
    pub was_foreign: bool,
}

/// The control rows are not those that the ledger commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAsLogged;

impl ControlRows {
    /// As the database says, unchecked: [`check_control_rows`] checks them. No hash of a row is known then.
    pub fn unchecked(db: &dyn Database, mac: RowMac) -> Result<Self, StoreError> {
        let sum = match db.get(&rows::deciding())? {
            None => Multiset::EMPTY,
            Some(row) => Stored::decode(&row)?.open(&mac).ok_or(StoreError::Damaged { what: WHAT })?,
        };
        Ok(Self { sum, as_logged: AsLogged::new(KnownRows::default(), mac), staged: None })
    }

    /// Those that stand in the database, which somebody else has checked or checks afterwards.
    fn read(db: &dyn Database, mac: &RowMac) -> Result<Self, StoreError> {
        let mut known = KnownRows::all();
        // The kinds with most rows come last: they are the first of which a hash may not be kept.
        let (few, many) = rows::CONTROL.into_iter().partition::<Vec<_>, _>(|kind| !rows::MANY.contains(kind));
        let sum = sum_of(db, &[few, many].concat(), |key, value| {
            let hash = mac.row(key, value);
            known.set(Known::new(key, Some(hash)));
            hash
        })?;
        Ok(Self { sum, as_logged: AsLogged::new(known, mac.clone()), staged: None })
    }

    /// For whoever acts on a row.
    pub fn as_logged(&self) -> &AsLogged {
        &self.as_logged
    }

    /// Follows a write of a row whose value was `before`. Counts once it is [kept](Self::keep).
    pub fn follow(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) -> Followed {
        let hash = |value| self.as_logged.mac.row(key, value);
        let (stored, after) = (before.map(hash), after.map(hash));
        let before = self.as_logged.known(key, stored);
        let followed = Followed { changes: before != after || stored != after, was_foreign: before != stored };
        if followed.was_foreign {
            self.as_logged.changed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                kind = key.first(),
                "a control row that is written now had been changed past the service; the audit log vouches for what was there before"
            );
        }
        if !followed.changes {
            return followed;
        }
        let (sum, changed) = self.staged.get_or_insert_with(|| (self.sum.clone(), Vec::new()));
        before.iter().for_each(|hash| sum.remove(hash));
        after.iter().for_each(|hash| sum.add(hash));
        changed.push(Known::new(key, after));
        followed
    }

    /// The entry that tells of rows which had been changed past the service.
    pub fn alert() -> Vec<u8> {
        let event = Event::Alert { sort: AlertSort::RowChanged, about: BlindIndex([0; 16]) };
        Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event }.encode().to_vec()
    }

    /// The entry that commits to the rows as the group leaves them, for `position`, and the row that opens it.
    pub fn commit(&self, position: u64) -> (Vec<u8>, Vec<u8>) {
        let mut salt = [0; SALT_BYTES];
        SysRng.try_fill_bytes(&mut salt).expect("the operating system gives random bytes once it has started");
        let sum = self.staged.as_ref().map_or(&self.sum, |(sum, _)| sum);
        let mac = &self.as_logged.mac;
        let event = Event::Deciding { commitment: commitment(mac, position, &salt, sum) };
        let entry = Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event }.encode().to_vec();
        (entry, Stored::seal(position, salt, sum, mac).encode())
    }

    /// The group is durable.
    pub fn keep(&mut self) {
        let Some((sum, changed)) = self.staged.take() else { return };
        self.sum = sum;
        let mut known = self.as_logged.known.write().unwrap_or_else(PoisonError::into_inner);
        changed.into_iter().for_each(|one| known.set(one));
    }
}

/// The row that opens the newest commitment.
struct Stored {
    position: u64,
    salt: [u8; SALT_BYTES],
    sealed_sum: Vec<u8>,
}

impl Stored {
    fn seal(position: u64, salt: [u8; SALT_BYTES], sum: &Multiset, mac: &RowMac) -> Self {
        let sealed_sum = (mac.seal)(&[&position.to_be_bytes(), &salt], &sum.encode());
        Self { position, salt, sealed_sum }
    }

    fn open(&self, mac: &RowMac) -> Option<Multiset> {
        let sum = (mac.open)(&[&self.position.to_be_bytes(), &self.salt], &self.sealed_sum)?;
        Some(Multiset::decode(sum.as_slice().try_into().ok()?))
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(VERSION).u64(self.position).fixed(&self.salt).framed(&self.sealed_sum);
        row.finish().to_vec()
    }

    fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let read = || {
            let (mut reader, version) = Reader::versioned(WHAT, row, VERSION)?;
            if version < VERSION {
                return Err(Decode::Damaged { what: WHAT });
            }
            let stored = Self { position: reader.u64()?, salt: reader.array()?, sealed_sum: reader.framed()?.to_vec() };
            reader.end()?;
            Ok(stored)
        };
        read().map_err(StoreError::decoding)
    }
}

fn commitment(mac: &RowMac, position: u64, salt: &[u8], sum: &Multiset) -> [u8; 32] {
    (mac.mac)("control rows", &[&position.to_be_bytes(), salt, &sum.encode()])
}

/// The digest of a page of the key tree: `SHA-256(0x00 || row key || stored page)`. The key has a fixed length.
pub fn page_digest(key: &[u8], page: &[u8]) -> Hash {
    merkle::leaf(&[key, page].concat())
}

/// The control rows, if they are those that the newest commitment in the ledger is about, and the ledger behind it is that of the pinned log
/// (its size and root, where one is pinned). Reads all of these rows, and the ledger from that commitment on. A row of layout 1 counts only
/// where its keyed functions are given.
pub fn check_control_rows(
    db: &dyn Database,
    mac: &RowMac,
    of_layout_1: Option<&RowMac>,
    pinned: Option<(u64, Hash)>,
) -> Result<Result<ControlRows, NotAsLogged>, StoreError> {
    let Some(row) = db.get(&rows::deciding())? else { return Ok(Err(NotAsLogged)) };
    if let Some(of_layout_1) = of_layout_1
        && layout_1::is_of_it(&row)
    {
        // The sum of layout 1 is one of other rows, under another key: it is made anew.
        return match layout_1::check(db, &row, of_layout_1, pinned)? {
            Ok(()) => ControlRows::read(db, mac).map(Ok),
            Err(NotAsLogged) => Ok(Err(NotAsLogged)),
        };
    }
    let stored = match Stored::decode(&row) {
        Err(StoreError::Damaged { .. }) => return Ok(Err(NotAsLogged)),
        stored => stored?,
    };
    let found = ControlRows::read(db, mac)?;
    if stored.open(mac) != Some(found.sum.clone()) {
        return Ok(Err(NotAsLogged));
    }
    let expected = commitment(mac, stored.position, &stored.salt, &found.sum);
    let is_newest = is_newest_commitment(db, (stored.position, expected), pinned)?;
    Ok(is_newest.map(|()| found))
}

/// Whether the newest commitment in the ledger is this one, and the ledger behind it that of the pinned log.
fn is_newest_commitment(
    db: &dyn Database,
    (position, expected): (u64, [u8; 32]),
    pinned: Option<(u64, Hash)>,
) -> Result<Result<(), NotAsLogged>, StoreError> {
    if db.get(&rows::ledger(position))?.is_none() {
        return Ok(Err(NotAsLogged));
    }
    let mut frontier = Frontier::of(&LogTree::new(db), position)?;
    let is_ours = each_row(db, rows::ledger(position), rows::all(rows::Kind::Ledger).1, |key, entry| {
        let is_it = rows::parse_ledger(key) == Some(position);
        let is_in_order = rows::parse_ledger(key) == Some(frontier.size());
        frontier.push(merkle::leaf(entry));
        let is_pinned = pinned.is_none_or(|(size, root)| frontier.size() != size || frontier.root() == root);
        let is_newest = match Entry::decode(entry).map_err(|_| StoreError::Damaged { what: "the ledger" })?.event {
            Event::Deciding { commitment } => is_it && commitment == expected,
            _ => !is_it,
        };
        Ok(is_in_order && is_pinned && is_newest)
    })?;
    Ok(if is_ours { Ok(()) } else { Err(NotAsLogged) })
}

/// The sum over all rows of these kinds.
fn sum_of(
    db: &dyn Database,
    kinds: &[u8],
    mut hash: impl FnMut(&[u8], &[u8]) -> [u8; 32],
) -> Result<Multiset, StoreError> {
    let mut sum = Multiset::EMPTY;
    for kind in kinds {
        each_row(db, vec![*kind], vec![*kind + 1], |key, value| {
            sum.add(&hash(key, value));
            Ok(true)
        })?;
    }
    Ok(sum)
}

/// Goes through a span until `each` returns `false`; returns whether it came to the end.
fn each_row(
    db: &dyn Database,
    mut from: Vec<u8>,
    to: Vec<u8>,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    loop {
        let some = db.range(&from, &to, MAX_RANGE_ROWS)?;
        let Some((last, _)) = some.last() else { return Ok(true) };
        from = rows::behind(last.clone());
        for (key, value) in &some {
            if !each(key, value)? {
                return Ok(false);
            }
        }
    }
}
