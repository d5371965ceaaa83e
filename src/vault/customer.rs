//! A customer's keys: the customer key from the tree, and the secrets wrapped under it.

use super::VaultError;
use super::core::Core;
use super::format::{Place, Use, decode_profile, encode_profile, secret_context, use_key};
use crate::crypto::content;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::codec::{Reader, Writer};
use crate::domain::ids::{CustomerId, Handle, RecordId, Revision, TenantId};
use crate::store::{Batch, rows};

const SECRET_VERSION: u8 = 1;
/// The only segment so far: secrets wrapped under the customer key itself.
const NO_SEGMENT: u32 = 0;

/// A customer, opened. Not kept longer than one piece of work.
pub(super) struct Customer {
    pub tenant: TenantId,
    pub handle: Handle,
    key: Key,
}

impl Customer {
    pub fn new(tenant: TenantId, handle: Handle, key: Key) -> Self {
        Self { tenant, handle, key }
    }

    pub fn place(&self, record: RecordId, revision: Revision) -> Place {
        Place { tenant: self.tenant, handle: self.handle, record, revision }
    }

    /// Makes a fresh secret for a place, and adds its wrapped form to `batch`.
    pub fn add_secret(&self, batch: &mut Batch, place: &Place) -> Key {
        let secret = Key::random();
        let wrapped = key_wrap::wrap(&self.key, &secret_context(place), &secret);
        let row = Writer::versioned(SECRET_VERSION).u32(NO_SEGMENT).fixed(&wrapped).finish();
        batch.put(rows::secret(place.handle, place.record, place.revision), row.to_vec());
        secret
    }

    /// Unwraps the secret of a place from its row.
    pub fn unwrap_secret(&self, place: &Place, row: &[u8]) -> Result<Key, VaultError> {
        let (mut reader, _) = Reader::versioned("a record's secret", row, SECRET_VERSION)?;
        let damaged = || VaultError::damaged("a record's secret");
        if reader.u32()? != NO_SEGMENT {
            return Err(damaged());
        }
        key_wrap::unwrap(&self.key, &secret_context(place), reader.rest()).map_err(|_| damaged())
    }

    /// The key under which what is pending about this customer's erasure is sealed. It ends with the customer key.
    pub fn pending_key(&self) -> Key {
        use_key(&self.key, Use::Pending, &self.place(RecordId::PROFILE, Revision::FIRST))
    }

    /// Adds a new customer's own rows to `batch`: the profile, and the secrets of profile and list.
    pub fn add_rows(&self, batch: &mut Batch, customer: &CustomerId) {
        let profile = self.place(RecordId::PROFILE, Revision::FIRST);
        let secret = self.add_secret(batch, &profile);
        let sealed = content::seal(&use_key(&secret, Use::Profile, &profile), b"", &encode_profile(customer));
        batch.put(rows::profile(self.handle), sealed);
        self.add_secret(batch, &self.place(RecordId::LIST, Revision::FIRST));
    }
}

impl Core {
    /// Opens a customer; `NotFound` if the key is not in the tree.
    pub fn customer(&self, tenant: TenantId, handle: Handle) -> Result<Customer, VaultError> {
        let key = self.tree.customer_key(tenant, handle)?.ok_or(VaultError::NotFound)?;
        Ok(Customer::new(tenant, handle, key))
    }

    /// Opens a customer for whom something is to be stored. Who was known a moment ago and is not there any more was erased.
    pub fn customer_to_write(&self, tenant: TenantId, handle: Handle) -> Result<Customer, VaultError> {
        self.customer(tenant, handle).map_err(|error| match error {
            VaultError::NotFound => VaultError::CustomerErased,
            other => other,
        })
    }

    /// Unwraps the secret of a place.
    pub fn secret(&self, customer: &Customer, place: &Place) -> Result<Key, VaultError> {
        let row = self.db.get(&rows::secret(place.handle, place.record, place.revision))?;
        customer.unwrap_secret(place, &row.ok_or(VaultError::NotFound)?)
    }

    /// The platform's id of a customer.
    pub fn customer_id(&self, customer: &Customer) -> Result<CustomerId, VaultError> {
        let place = customer.place(RecordId::PROFILE, Revision::FIRST);
        let secret = self.secret(customer, &place)?;
        let sealed = self.db.get(&rows::profile(customer.handle))?.ok_or(VaultError::NotFound)?;
        let plain = content::open(&use_key(&secret, Use::Profile, &place), b"", &sealed)
            .map_err(|_| VaultError::damaged("a customer's profile"))?;
        Ok(decode_profile(&plain)?)
    }

    /// The key under which rows that find this customer's records are sealed.
    pub fn list_key(&self, customer: &Customer) -> Result<Key, VaultError> {
        let place = customer.place(RecordId::LIST, Revision::FIRST);
        Ok(use_key(&self.secret(customer, &place)?, Use::List, &place))
    }
}
