//! What answers a repeat of an erasure's request.
//!
//! The answer to the erasure of a customer or of a tenant is sealed under a key that only the request leads to, and that derives
//! from the tenant's answer keys, which last two days at most ([`AnswerKeys`](crate::keys::AnswerKeys)). The answer to the
//! erasure of a record is sealed under a key of the customer as well: the customer lives on, and what tells whose record it was
//! must end with that customer.

use std::sync::Arc;

use super::ask::ErasureJob;
use super::{Erasure, Target};
use crate::audit::receipt::is_of;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::crypto::{kdf, key_wrap};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::Part;
use crate::domain::ids::{BlindIndex, CustomerId, Handle, RequestId, TenantId};
use crate::keys::TenantKeys;
use crate::store::rows;
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::customer::Customer;
use crate::vault::format::{ErasureAnswer, ErasureRequestRow, PartAnswer, SealedDay, Use, use_key};
use crate::vault::receipts::Receipts;

/// Who asked for an erasure, under which request, and what else leads to the answer.
pub(super) struct RequestName<'a> {
    pub caller: BlindIndex,
    pub request: &'a RequestId,
    /// Of a list each customer has a row of its own under the request's id.
    pub of_list: Option<&'a str>,
    /// The record or revision whose erasure was asked for.
    pub part: Option<Part>,
}

/// The row of the answer to a request, and the keys that open it.
pub(in super::super) struct RequestSlot {
    pub row: Vec<u8>,
    keys: Arc<TenantKeys>,
    /// Under the answer key of now, and under the one before it.
    answer_keys: [Key; 2],
    /// The customer whose record or revision is erased, and the key of the answer that ends with that customer; no key where the
    /// profile is damaged.
    of_part: Option<(Handle, Option<Key>)>,
}

impl RequestSlot {
    pub(super) fn of(keys: Arc<TenantKeys>, tenant: TenantId, name: &RequestName<'_>) -> Self {
        let request = name.request.as_str().as_bytes();
        let listed = name.of_list.map(str::as_bytes).unwrap_or_default();
        let index = BlindIndex(blind(&keys.index, "erasure request", &[&name.caller.0, request, listed]));
        let part = name.part.map(part_bytes).unwrap_or_default();
        let derive =
            |key: &Key| kdf::derive(key, Use::ErasureAnswer.label(), &[&name.caller.0, request, listed, &part]);
        let answer_keys = [derive(&keys.answers.current), derive(&keys.answers.earlier)];
        Self { row: rows::erasure_request(tenant, index), keys, answer_keys, of_part: None }
    }

    /// The same, for the erasure of a part of this customer.
    pub(super) fn of_part_of(self, core: &Core, customer: &Customer) -> Result<Self, VaultError> {
        let key = match part_answer_key(core, customer) {
            Ok(key) => Some(key),
            Err(error) if error.is_damage() || matches!(error, VaultError::NotFound) => {
                core.damage.met("a customer's profile", &rows::profile(customer.handle), &error);
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { of_part: Some((customer.handle, key)), ..self })
    }

    /// The row's value; `None` where there is no key that ends with the customer.
    pub fn seal(&self, answer: &ErasureAnswer) -> Option<Vec<u8>> {
        let mut plain = answer.encode();
        if let Some((handle, key)) = &self.of_part {
            let key = key.as_ref()?;
            plain = PartAnswer { handle: *handle, sealed: key_wrap::seal(key, &self.row, &plain) }.encode();
        }
        let sealed = key_wrap::seal(&self.answer_keys[0], &self.row, &plain);
        let day = SealedDay::of(Timestamp::now(), &self.keys.settings, &self.row);
        Some(ErasureRequestRow { day, sealed }.encode())
    }

    /// The answer, and for a part the customer whose it was; `None` where there is no row.
    fn open(
        &self,
        core: &Core,
        (tenant, part): (TenantId, Option<Part>),
    ) -> Result<Option<(ErasureAnswer, Option<CustomerId>)>, VaultError> {
        let Some(stored) = core.db.get(&self.row)? else { return Ok(None) };
        let ErasureRequestRow { day, sealed } = ErasureRequestRow::decode(&stored)?;
        let opened = self.answer_keys.iter().find_map(|key| key_wrap::open(key, &self.row, &sealed).ok());
        let Some(plain) = opened else {
            // Its key was replaced twice since, and it is as good as forgotten; otherwise it answered another erasure.
            let is_forgotten = day.open(&self.keys.settings, &self.row) < Some(self.keys.answers.earlier_day);
            return if is_forgotten { Ok(None) } else { Err(VaultError::RequestIdReused) };
        };
        if part.is_none() {
            return Ok(Some((ErasureAnswer::decode(&plain)?, None)));
        }
        let PartAnswer { handle, sealed } = PartAnswer::decode(&plain)?;
        let customer = core.customer(tenant, handle).map_err(|error| match error {
            VaultError::NotFound => VaultError::RecordErased,
            other => other,
        })?;
        let plain = key_wrap::open(&part_answer_key(core, &customer)?, &self.row, &sealed);
        let answer = ErasureAnswer::decode(&plain.map_err(|_| VaultError::damaged("the answer to an erasure"))?)?;
        Ok(Some((answer, core.customer_id_if_known(&customer)?)))
    }
}

/// Framed by their length: a record has 16 bytes, a revision of one 20.
fn part_bytes(part: Part) -> Vec<u8> {
    let revision = part.revision().map(|revision| revision.0.to_be_bytes());
    [&part.record().as_bytes()[..], revision.as_ref().map(|bytes| &bytes[..]).unwrap_or_default()].concat()
}

fn part_answer_key(core: &Core, customer: &Customer) -> Result<Key, VaultError> {
    let (secret, profile) = core.profile_secret(customer)?;
    Ok(use_key(&secret, Use::ErasureAnswer, &profile))
}

/// The answer to a job's request, if it was carried out.
pub(super) fn answer_of(core: &Core, receipts: &Receipts<'_>, job: &ErasureJob) -> Result<Option<Erasure>, VaultError> {
    let slot = job.slot(core.tenant_keys(job.tenant)?);
    let part = if let Target::Part(part) = &job.target { Some(*part) } else { None };
    let Some((answer, customer)) = slot.open(core, (job.tenant, part))? else { return Ok(None) };
    let erasure = with_receipt(receipts, job, answer)?;
    let names = match (&job.target, &customer) {
        (Target::Customer(customer), _) => vec![customer.as_str()],
        (Target::Tenant(name), _) => vec![name.as_str()],
        // The record is gone, and with it all that said whose it was, but for the answer. The receipt names nobody if the profile was
        // damaged when it was asked for; it may be whole again by now, or be damaged since.
        (Target::Part(_), Some(customer)) => vec![customer.as_str(), ""],
        (Target::Part(_), None) => return Ok(Some(erasure)),
    };
    match names.iter().any(|name| is_of(&erasure.receipt.erased, &erasure.opening, name, part)) {
        true => Ok(Some(erasure)),
        false => Err(VaultError::RequestIdReused),
    }
}

/// The answer with its receipt, once that is written.
pub(super) fn with_receipt(
    receipts: &Receipts<'_>,
    job: &ErasureJob,
    answer: ErasureAnswer,
) -> Result<Erasure, VaultError> {
    let ErasureAnswer { receipt, opening } = answer;
    // A thousand proofs would not fit one message.
    let receipt = match job.is_of_list {
        true => receipts.get_stated(job.tenant, receipt)?,
        false => receipts.get(job.tenant, receipt)?,
    };
    let receipt = receipt.ok_or(VaultError::ErasureNotFinal { why: "the receipt is still owed" })?;
    Ok(Erasure { receipt, opening })
}
