//! Requests that stored a record: what answers their repeat, sealed so that it ends with the customer and with the record.
//!
//! A request's row has two layers. The outer one names the record, under a key of the customer: a repeat carries the
//! customer's id, so the customer is found again. The inner one holds the fingerprint of all that was asked, under a key of the
//! record's revision: a fingerprint confirms guesses of what was stored, so it must end with what was stored.

mod upgrade;

use std::sync::Arc;

use super::core::Core;
use super::customer::{Customer, WriteKeys};
use super::format::{ErasureRequestRow, Place, RequestRow, SealedAnswer, SealedDay, StoredRecord, Use, use_key};
use super::records::Admitted;
use super::{Vault, VaultError};
use crate::crypto::hash::same;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::domain::codec::Decode;
use crate::domain::ids::{CustomerId, TenantId};
use crate::store::{Batch, rows};

/// Rows looked at in one go.
const ROWS_AT_ONCE: usize = 1024;

/// The row that answers a repeat of a request that stored the revision at `place`.
pub(super) fn seal_request(admitted: &Admitted, keys: &WriteKeys, place: &Place, created: Timestamp) -> Vec<u8> {
    let Admitted { row, fingerprint, .. } = admitted;
    let stored = StoredRecord { record: place.record, revision: place.revision };
    let answer = seal_answer(row, (&keys.request, &stored), (&keys.secret, place, fingerprint));
    RequestRow { day: SealedDay::of(created, &admitted.keys.settings, row), answer: Some(answer) }.encode()
}

/// Seals both layers.
pub(super) fn seal_answer(
    row: &[u8],
    (request_key, stored): (&Key, &StoredRecord),
    (secret, place, fingerprint): (&Key, &Place, &[u8; 16]),
) -> SealedAnswer {
    SealedAnswer {
        target: key_wrap::seal(request_key, row, &stored.encode()),
        fingerprint: key_wrap::seal(&use_key(secret, Use::Request, place), row, fingerprint),
    }
}

impl Vault {
    /// Forgets requests that stored or erased something on a day that was over at `before`: from then on a repeat of one is a
    /// new request.
    pub async fn forget_requests(&self, before: Timestamp) -> Result<(), VaultError> {
        self.forget(rows::Kind::Request, before, |row| Ok(RequestRow::decode(row)?.day)).await?;
        self.forget(rows::Kind::ErasureRequest, before, |row| Ok(ErasureRequestRow::decode(row)?.day)).await
    }

    async fn forget(
        &self,
        kind: rows::Kind,
        before: Timestamp,
        day_of: fn(&[u8]) -> Result<SealedDay, Decode>,
    ) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(kind);
        loop {
            let span = (from.clone(), to.clone());
            let look = move |core: &Arc<Core>| core.forgettable(span, before, day_of);
            let Some((batch, last)) = self.core.blocking(look).await? else { return Ok(()) };
            from = rows::behind(last);
            if !batch.is_empty() {
                self.core.committer.commit(batch).await?;
            }
        }
    }
}

impl Core {
    /// The batch that removes what is old among some rows of a span, and the key of the last row; `None` at the end.
    fn forgettable(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        before: Timestamp,
        day_of: fn(&[u8]) -> Result<SealedDay, Decode>,
    ) -> Result<Option<(Batch, Vec<u8>)>, VaultError> {
        let page = self.db.range(&from, &to, ROWS_AT_ONCE)?;
        let Some(last) = page.last().map(|(key, _)| key.clone()) else { return Ok(None) };
        let mut batch = Batch::new();
        for (key, row) in page {
            let tenant = key.get(1..17).and_then(|id| id.try_into().ok()).map(TenantId);
            // The rows of an erased tenant go with the tenant.
            let Some(keys) = tenant.map(|tenant| self.tree.tenant(tenant)).transpose()?.flatten() else { continue };
            match day_of(&row) {
                Ok(day) if day.is_before(before, &keys.settings, &key) => batch.delete(key),
                Ok(_) => {}
                // It answers no repeat any more, so nothing is lost with it.
                Err(error) => {
                    self.damage.met("a request", &key, &error.into());
                    batch.delete(key);
                }
            }
        }
        Ok(Some((batch, last)))
    }

    /// The key under which requests of a customer are sealed. It derives from the profile's secret, which no erasure but the
    /// customer's own replaces.
    pub fn request_key(&self, customer: &Customer) -> Result<Key, VaultError> {
        let (secret, profile) = self.profile_secret(customer)?;
        Ok(use_key(&secret, Use::Request, &profile))
    }

    /// What a request stored whose row is there, and which is repeated for this customer with this fingerprint.
    ///
    /// # Errors
    ///
    /// `RequestIdReused` where the row is of another customer or of other content, `CustomerErased` and `RecordErased` where
    /// what it answered with is erased.
    pub fn stored_by_request(
        &self,
        tenant: TenantId,
        customer: &CustomerId,
        (row, stored): (&[u8], &[u8]),
        fingerprint: &[u8; 16],
    ) -> Result<StoredRecord, VaultError> {
        let Some(SealedAnswer { target, fingerprint: sealed }) = RequestRow::decode(stored)?.answer else {
            return Err(VaultError::RecordErased);
        };
        let Some(handle) = self.known_customer(tenant, customer)? else {
            let is_erased = self.is_erased(tenant, customer)?;
            return Err(if is_erased { VaultError::CustomerErased } else { VaultError::RequestIdReused });
        };
        let customer = self.customer(tenant, handle).map_err(|error| match error {
            VaultError::NotFound => VaultError::CustomerErased,
            other => other,
        })?;
        // What does not open is of another customer: the id was used before, for something else.
        let plain = key_wrap::open(&self.request_key(&customer)?, row, &target);
        let stored = StoredRecord::decode(&plain.map_err(|_| VaultError::RequestIdReused)?)?;
        let place = customer.place(stored.record, stored.revision);
        let secret = self.secret(&customer, &place).map_err(|error| match error {
            VaultError::NotFound => VaultError::RecordErased,
            other => other,
        })?;
        let plain = key_wrap::open(&use_key(&secret, Use::Request, &place), row, &sealed);
        let asked_first = plain.map_err(|_| VaultError::damaged("a request"))?;
        if same(&asked_first, fingerprint) { Ok(stored) } else { Err(VaultError::RequestIdReused) }
    }
}
