//! A customer's keys: the customer key from the tree, and the secrets wrapped under it.
//!
//! Past 1,024 secrets ([`VaultLimits::segment_secrets`](super::VaultLimits)) a customer has segments with keys of their own: a segment
//! begins at a record, ends where the next one begins, and its key stands wrapped under the customer key. So the erasure of one record
//! wraps that many secrets anew and the segments' keys, however many records there are.
//!
//! A secret's row is wrapped under a key that an erasure of another record of the customer may replace. Whoever wraps one holds
//! [`Core::wrapping`] for reading until the row stands in the database; the epoch that replaces the key holds it for writing.

use std::sync::Arc;

use tokio::runtime;
use tokio::sync::OwnedRwLockReadGuard;

use super::VaultError;
use super::core::Core;
use super::format::{Place, Use, decode_profile, encode_profile, secret_context, segment_context, use_key};
use crate::crypto::content;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::codec::{Reader, Writer};
use crate::domain::erasure::Part;
use crate::domain::ids::{CustomerId, Handle, RecordId, Revision, TenantId};
use crate::store::{Batch, Row, rows};

/// The most secrets of one segment, and of those under the customer key itself: so many are wrapped anew at once. Revisions fill what records
/// left.
pub(super) const MAX_SEGMENT: usize = 2048;
const SECRET_VERSION: u8 = 1;
/// A row of a secret's length that no key opens.
const NO_SECRET_ROW: [u8; 1 + key_wrap::WRAPPED_KEY] = [SECRET_VERSION; 1 + key_wrap::WRAPPED_KEY];
const WHAT: &str = "a record's secret";
/// Rows read in one go.
const AT_ONCE: usize = 1024;

/// The keys with which one revision of a record is written.
pub(super) struct WriteKeys {
    /// The revision's own secret, from which the keys of its content derive.
    pub secret: Key,
    /// The customer's key for requests, see [`Core::request_key`].
    pub request: Key,
}

impl WriteKeys {
    /// The same keys, for a task of their own.
    pub fn duplicate(&self) -> Self {
        Self { secret: self.secret.duplicate(), request: self.request.duplicate() }
    }
}

/// A customer, opened. Not kept longer than one piece of work.
pub(super) struct Customer {
    pub tenant: TenantId,
    pub handle: Handle,
    key: Key,
}

/// A customer for whom a case is looked at: whose keys tell whether a record or an assignment is of that case. Of a customer who has no key,
/// it takes as long, and no case is found.
pub(super) struct ToCompare {
    place: Place,
    customer: Option<Customer>,
}

impl Customer {
    pub fn new(tenant: TenantId, handle: Handle, key: Key) -> Self {
        Self { tenant, handle, key }
    }

    pub fn place(&self, record: RecordId, revision: Revision) -> Place {
        Place { tenant: self.tenant, handle: self.handle, record, revision }
    }

    /// The customer key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The key under which what is pending about this customer's erasure is sealed. It ends with the customer key.
    pub fn pending_key(&self) -> Key {
        use_key(&self.key, Use::Pending, &self.place(RecordId::PROFILE, Revision::FIRST))
    }

    /// The same about the erasure of a part of which no secret opens.
    pub fn pending_key_of(&self, part: Part) -> Key {
        use_key(&self.key, Use::Pending, &self.place(part.record(), part.revision().unwrap_or(Revision::FIRST)))
    }

    /// Adds a new customer's own rows to `batch`: the profile and its secret.
    pub fn add_rows(&self, batch: &mut Batch, customer: &CustomerId) {
        let profile = self.place(RecordId::PROFILE, Revision::FIRST);
        let secret = Key::random();
        batch.put(secret_row(&profile), wrap_secret(&self.key, &profile, &secret));
        let sealed = content::seal(&use_key(&secret, Use::Profile, &profile), b"", &encode_profile(customer));
        batch.put(rows::profile(self.handle), [&self.tenant.0[..], &sealed].concat());
    }
}

fn secret_row(place: &Place) -> Vec<u8> {
    rows::secret(place.handle, place.record, place.revision)
}

/// The row of a secret under the customer key or that of its segment.
fn wrap_secret(under: &Key, place: &Place, secret: &Key) -> Vec<u8> {
    let wrapped = key_wrap::wrap(under, &secret_context(place), secret);
    Writer::versioned(SECRET_VERSION).fixed(&wrapped).finish().to_vec()
}

/// Unwraps the secret of a place from its row.
pub(super) fn unwrap_secret(under: &Key, place: &Place, row: &[u8]) -> Result<Key, VaultError> {
    let (mut reader, _) = Reader::versioned(WHAT, row, SECRET_VERSION)?;
    key_wrap::unwrap(under, &secret_context(place), reader.rest()).map_err(|_| VaultError::damaged(WHAT))
}

/// The key of a segment, from its row.
pub(super) fn unwrap_segment(
    (tenant, handle, customer_key): (TenantId, Handle, &Key),
    first: RecordId,
    row: &[u8],
) -> Result<Key, VaultError> {
    let context = segment_context(tenant, handle, first);
    key_wrap::unwrap(customer_key, &context, row).map_err(|_| VaultError::damaged("a segment of a customer's secrets"))
}

impl Core {
    /// Opens a customer; `NotFound` if the key is not in the tree.
    pub fn customer(&self, tenant: TenantId, handle: Handle) -> Result<Customer, VaultError> {
        let key = self.tree.customer_key(tenant, handle)?.ok_or(VaultError::NotFound)?;
        Ok(Customer::new(tenant, handle, key))
    }

    /// Makes a fresh secret for a place, and adds its wrapped form to `batch`; returns it with the key for requests. Until that stands in the database, no epoch replaces the
    /// key that it is wrapped under. Who was known a moment ago and is not there any more was erased. For a blocking thread of the runtime.
    pub fn add_secret(&self, batch: &mut Batch, place: &Place) -> Result<WriteKeys, VaultError> {
        let wrapping = self.wrapping_or_new_segment(place, |full| full)?;
        if place.revision > Revision::FIRST {
            self.refuse_too_many_revisions(place)?;
        }
        let customer = self.customer(place.tenant, place.handle).map_err(|error| match error {
            VaultError::NotFound => VaultError::CustomerErased,
            other => other,
        })?;
        let secret = Key::random();
        let (wrapping, under) = match self.segment(&customer, place.record) {
            Err(error) if error.is_damage() && place.revision == Revision::FIRST => {
                // The last segment's key does not open: what is new goes into another one.
                self.damage.met("a segment of a customer's secrets", &secret_row(place), &error);
                drop(wrapping);
                let wrapping = self.wrapping_or_new_segment(place, |_| true)?;
                (wrapping, self.segment(&customer, place.record)?)
            }
            under => (wrapping, under?),
        };
        batch.put(secret_row(place), wrap_secret(under.as_ref().unwrap_or(&customer.key), place, &secret));
        let request = self.request_key(&customer)?;
        batch.hold(wrapping);
        Ok(WriteKeys { secret, request })
    }

    /// The right to wrap a secret, after the segment of its place was found to have room, or a new one was made. `needs_new`: given whether it
    /// is full, whether a new one is made.
    fn wrapping_or_new_segment(
        &self,
        place: &Place,
        needs_new: impl Fn(bool) -> bool,
    ) -> Result<OwnedRwLockReadGuard<()>, VaultError> {
        let wrapping = runtime::Handle::current().block_on(Arc::clone(&self.wrapping).read_owned());
        if !needs_new(self.is_segment_full(place)?) {
            return Ok(wrapping);
        }
        drop(wrapping);
        // Alone: every secret that was being wrapped stands in the database by then, so the new segment begins behind all of them.
        let alone = runtime::Handle::current().block_on(Arc::clone(&self.wrapping).write_owned());
        let (from, to) = rows::customer_secrets(place.handle);
        let last = self.db.last(&from, &to)?.and_then(|(key, _)| rows::parse_secret(&key)).map(|(_, record, _)| record);
        let first = last.and_then(RecordId::next).map_or(place.record, |behind| behind.max(place.record));
        if needs_new(self.is_segment_full(place)?) {
            let customer = self.customer(place.tenant, place.handle)?;
            let context = segment_context(place.tenant, place.handle, first);
            let mut batch = Batch::new();
            let wrapped = key_wrap::wrap(&customer.key, &context, &Key::random());
            batch.require_absent(rows::segment(place.handle, first));
            batch.put(rows::segment(place.handle, first), wrapped);
            self.committer.commit_blocking(batch)?;
        }
        Ok(alone.downgrade())
    }

    /// Whether the segment that this place belongs to is the last one, and full. An earlier one takes the few that come late.
    fn is_segment_full(&self, place: &Place) -> Result<bool, VaultError> {
        let (begin, end) = rows::segments(place.handle);
        let last = self.db.last(&begin, &end)?.map(|(key, _)| rows::parse_segment(&key));
        let (from, to) = match last {
            None => rows::customer_secrets(place.handle),
            Some(first) => {
                let first = first.ok_or(VaultError::damaged("a segment of a customer's secrets"))?;
                if place.record < first {
                    return Ok(false);
                }
                rows::customer_secrets_from(place.handle, first)
            }
        };
        let most = self.limits.segment_secrets;
        Ok(self.db.range(&from, &to, most)?.len() >= most)
    }

    /// A revision stands beside its record's others, in whatever segment they are: there must be room.
    fn refuse_too_many_revisions(&self, place: &Place) -> Result<(), VaultError> {
        let (from, to) = match self.segment_of(place.handle, place.record)? {
            None => rows::customer_secrets(place.handle),
            Some(first) => rows::customer_secrets_from(place.handle, first),
        };
        let (next, end) = (rows::behind(rows::segment(place.handle, place.record)), rows::segments(place.handle).1);
        let next = self.db.range(&next, &end, 1)?.first().and_then(|(key, _)| rows::parse_segment(key));
        let to = next.map_or(to, |next| rows::customer_secrets_from(place.handle, next).0);
        // Some more may be on their way.
        let most = MAX_SEGMENT - MAX_SEGMENT / 8;
        match self.db.range(&from, &to, most)?.len() < most {
            true => Ok(()),
            false => Err(VaultError::TooManyRevisions { limit: most as u64 }),
        }
    }

    /// Where the segment of a record begins: the last one that does not begin behind it. `None` where the secret is wrapped under the customer
    /// key.
    pub fn segment_of(&self, handle: Handle, record: RecordId) -> Result<Option<RecordId>, VaultError> {
        Ok(self.segment_row(handle, record)?.map(|(first, _)| first))
    }

    fn segment_row(&self, handle: Handle, record: RecordId) -> Result<Option<(RecordId, Vec<u8>)>, VaultError> {
        let (from, to) = (rows::segments(handle).0, rows::behind(rows::segment(handle, record)));
        let Some((key, row)) = self.db.last(&from, &to)? else { return Ok(None) };
        let first = rows::parse_segment(&key).ok_or(VaultError::damaged("a segment of a customer's secrets"))?;
        Ok(Some((first, row)))
    }

    /// The key of the segment of a record.
    fn segment(&self, customer: &Customer, record: RecordId) -> Result<Option<Key>, VaultError> {
        let Some((first, row)) = self.segment_row(customer.handle, record)? else { return Ok(None) };
        unwrap_segment((customer.tenant, customer.handle, &customer.key), first, &row).map(Some)
    }

    /// Unwraps the secret of a place.
    ///
    /// Where an epoch replaced the customer's key between the look at the tree and that at the row, it looks again.
    pub fn secret(&self, customer: &Customer, place: &Place) -> Result<Key, VaultError> {
        let found = self.secret_under(customer, place);
        let Err(VaultError::Damaged { .. }) = found else { return found };
        let now = self.customer(customer.tenant, customer.handle)?;
        if now.key.same_as(&customer.key) { found } else { self.secret_under(&now, place) }
    }

    fn secret_under(&self, customer: &Customer, place: &Place) -> Result<Key, VaultError> {
        let row = self.db.get(&secret_row(place))?.ok_or(VaultError::NotFound)?;
        let under = self.segment(customer, place.record)?;
        unwrap_secret(under.as_ref().unwrap_or(&customer.key), place, &row)
    }

    /// The customer of a record, for looking at a case.
    pub fn customer_to_compare(&self, tenant: TenantId, handle: Handle) -> Result<ToCompare, VaultError> {
        let customer = match self.customer(tenant, handle) {
            Ok(customer) => Some(customer),
            Err(VaultError::NotFound) => None,
            Err(error) if error.is_damage() => {
                self.damage.met("the key of a record's customer", &rows::profile(handle), &error);
                None
            }
            Err(error) => return Err(error),
        };
        let place = Place { tenant, handle, record: RecordId::PROFILE, revision: Revision::FIRST };
        Ok(ToCompare { place, customer })
    }

    /// The secret of a place of such a customer. Where it does not open, a random one, after the same lookups and one unwrapping.
    pub fn secret_to_compare(&self, of: &ToCompare, place: &Place) -> Result<Key, VaultError> {
        let found = match &of.customer {
            Some(customer) => self.secret(customer, place),
            None => Err(VaultError::NotFound),
        };
        match found {
            Err(VaultError::NotFound) => {
                self.look_for_secret_of_nobody(place)?;
                Ok(Key::random())
            }
            Err(error) if error.is_damage() => {
                self.damage.met(WHAT, &secret_row(place), &error);
                Ok(Key::random())
            }
            found => found,
        }
    }

    /// Does what finding a secret does, so that who asks cannot tell by the time whether there is one.
    fn look_for_secret_of_nobody(&self, place: &Place) -> Result<(), VaultError> {
        let row = self.db.get(&secret_row(place))?;
        self.segment_row(place.handle, place.record)?;
        let opened = unwrap_secret(&Key::random(), place, row.as_deref().unwrap_or(&NO_SECRET_ROW));
        debug_assert!(opened.is_err(), "a random key opened a secret");
        Ok(())
    }

    /// The key of the profile's secret under which such a customer's assignments are named, and the customer's place.
    pub fn assignments_to_compare<'a>(&self, of: &'a ToCompare) -> Result<(Key, &'a Place), VaultError> {
        let secret = self.secret_to_compare(of, &of.place)?;
        Ok((use_key(&secret, Use::Case, &of.place), &of.place))
    }

    /// The same of a customer who is there.
    pub fn assignments_key(&self, customer: &Customer) -> Result<Key, VaultError> {
        let (secret, place) = self.profile_secret(customer)?;
        Ok(use_key(&secret, Use::Case, &place))
    }

    /// Takes secrets of a customer away and wraps all that were wrapped under the same keys anew: the segments' keys under the fresh customer
    /// key, the secrets that stood beside the erased ones under a fresh key of their segment. To be called with [`Core::wrapping`] alone.
    pub fn rewrap(
        &self,
        batch: &mut Batch,
        (tenant, handle): (TenantId, Handle),
        (old, fresh): (&Key, &Key),
        erased: &[Part],
    ) -> Result<(), VaultError> {
        let (from, to) = rows::segments(handle);
        let (old, fresh) =
            (Customer::new(tenant, handle, old.duplicate()), Customer::new(tenant, handle, fresh.duplicate()));
        let mut begins = vec![None];
        let mut next = from;
        loop {
            let some = self.db.range(&next, &to, AT_ONCE)?;
            let Some((last, _)) = some.last() else { break };
            next = rows::behind(last.clone());
            let first_of = |(key, row): Row| Some((rows::parse_segment(&key)?, row));
            begins.extend(some.into_iter().filter_map(first_of).map(Some));
        }
        for (at, begin) in begins.iter().enumerate() {
            let end = begins.get(at + 1).and_then(|next| next.as_ref()).map(|(first, _)| *first);
            self.rewrap_segment(batch, (&old, &fresh), begin.as_ref(), end, erased)?;
        }
        Ok(())
    }

    /// One segment: from where it begins (`None`: the secrets under the customer key itself) to where the next one does.
    ///
    /// What does not open is noise, and stays it: no key that is left after the epoch opens it. So it goes, is reported, and keeps nothing
    /// else back.
    fn rewrap_segment(
        &self,
        batch: &mut Batch,
        (old, fresh): (&Customer, &Customer),
        begin: Option<&(RecordId, Vec<u8>)>,
        end: Option<RecordId>,
        erased: &[Part],
    ) -> Result<(), VaultError> {
        let (tenant, handle) = (old.tenant, old.handle);
        let first = begin.map(|(first, _)| *first);
        let holds = |record: RecordId| first.is_none_or(|first| record >= first) && end.is_none_or(|end| record < end);
        let (mut under_old, mut under_fresh) = (Some(old.key.duplicate()), fresh.key.duplicate());
        if let Some((first, row)) = begin {
            under_old = match unwrap_segment((tenant, handle, &old.key), *first, row) {
                Ok(key) => Some(key),
                Err(error) => {
                    self.damage.met("a segment of a customer's secrets", &rows::segment(handle, *first), &error);
                    None
                }
            };
            let loses_some = erased.iter().any(|part| holds(part.record()));
            under_fresh = match &under_old {
                Some(kept) if !loses_some => kept.duplicate(),
                _ => Key::random(),
            };
            let context = segment_context(tenant, handle, *first);
            batch.put(rows::segment(handle, *first), key_wrap::wrap(&fresh.key, &context, &under_fresh));
            if !loses_some {
                return Ok(());
            }
        }
        let (mut from, last) = match first {
            Some(first) => rows::customer_secrets_from(handle, first),
            None => rows::customer_secrets(handle),
        };
        let to = end.map_or(last, |end| rows::customer_secrets_from(handle, end).0);
        loop {
            let some = self.db.range(&from, &to, AT_ONCE)?;
            let Some((last, _)) = some.last() else { return Ok(()) };
            from = rows::behind(last.clone());
            for (key, row) in some {
                let place = rows::parse_secret(&key).map(|(_, record, revision)| old.place(record, revision));
                let is_erased = |place: &Place| erased.iter().any(|part| part.holds(place.record, place.revision));
                let Some(place) = place.filter(|place| !is_erased(place)) else {
                    batch.delete(key);
                    continue;
                };
                let opened = under_old.as_ref().map(|under| unwrap_secret(under, &place, &row));
                match opened.unwrap_or(Err(VaultError::damaged(WHAT))) {
                    Ok(secret) => batch.put(key, wrap_secret(&under_fresh, &place, &secret)),
                    Err(error) => {
                        self.damage.met(WHAT, &key, &error);
                        batch.delete(key);
                    }
                }
            }
        }
    }

    /// The secret of a customer's profile, and its place. It ends with the customer and with nothing else.
    pub fn profile_secret(&self, customer: &Customer) -> Result<(Key, Place), VaultError> {
        let place = customer.place(RecordId::PROFILE, Revision::FIRST);
        Ok((self.secret(customer, &place)?, place))
    }

    /// Refuses to replace the customer's key while the secret of the profile does not open: what does not open is lost with the old key,
    /// here and on every mirror, and without her profile nobody finds her any more. A mirror may still have it whole.
    pub fn refuse_to_lose_profile(&self, customer: &Customer) -> Result<(), VaultError> {
        match self.profile_secret(customer) {
            Ok(_) | Err(VaultError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The platform's id of a customer.
    pub fn customer_id(&self, customer: &Customer) -> Result<CustomerId, VaultError> {
        let (secret, place) = self.profile_secret(customer)?;
        let row = self.db.get(&rows::profile(customer.handle))?.ok_or(VaultError::NotFound)?;
        let damaged = || VaultError::damaged("a customer's profile");
        // In front stands the tenant, by which what an erased one leaves is found.
        let sealed = row.strip_prefix(&customer.tenant.0[..]).ok_or_else(damaged)?;
        let plain = content::open(&use_key(&secret, Use::Profile, &place), b"", sealed).map_err(|_| damaged())?;
        Ok(decode_profile(&plain)?)
    }

    /// The same; `None`, and reported, where the profile does not open. Its secret must open, or not be there.
    pub fn customer_id_if_known(&self, customer: &Customer) -> Result<Option<CustomerId>, VaultError> {
        self.refuse_to_lose_profile(customer)?;
        match self.customer_id(customer) {
            Err(error) if error.is_damage() || matches!(error, VaultError::NotFound) => {
                self.damage.met("a customer's profile", &rows::profile(customer.handle), &error);
                Ok(None)
            }
            known => known.map(Some),
        }
    }
}
