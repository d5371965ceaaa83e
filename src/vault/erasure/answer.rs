//! What answers a repeat of an erasure's request. It is sealed under the request's id, so that nothing else leads from a person to a receipt.

use super::ask::ErasureJob;
use super::{Erasure, Target};
use crate::audit::receipt::is_of;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::crypto::{kdf, key_wrap};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, RequestId, TenantId};
use crate::keys::TenantKeys;
use crate::store::rows;
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::format::{ErasureAnswer, ErasureRequestRow, Use};
use crate::vault::receipts::Receipts;

/// Where the answer to a request stands, and the key that opens it. Only who knows the request's id gets here.
pub(in super::super) struct RequestSlot {
    pub row: Vec<u8>,
    key: Key,
}

impl RequestSlot {
    /// Of a list each customer has a place of its own under the request's id.
    pub fn of(
        (tenant, id): (&TenantKeys, TenantId),
        caller: BlindIndex,
        request: &RequestId,
        of_list: Option<&str>,
    ) -> Self {
        let name: [&[u8]; 3] = [&caller.0, request.as_str().as_bytes(), of_list.map(str::as_bytes).unwrap_or_default()];
        let index = BlindIndex(blind(&tenant.index, "erasure request", &name));
        let key = kdf::derive(&tenant.settings, Use::ErasureAnswer.label(), &name);
        Self { row: rows::erasure_request(id, index), key }
    }

    pub fn seal(&self, answer: &ErasureAnswer) -> Vec<u8> {
        let sealed = key_wrap::seal(&self.key, &self.row, &answer.encode());
        ErasureRequestRow { created: Timestamp::now(), sealed }.encode()
    }

    fn open(&self, core: &Core) -> Result<Option<ErasureAnswer>, VaultError> {
        let Some(stored) = core.db.get(&self.row)? else { return Ok(None) };
        let sealed = ErasureRequestRow::decode(&stored)?.sealed;
        let plain = key_wrap::open(&self.key, &self.row, &sealed)
            .map_err(|_| VaultError::damaged("the answer to an erasure"))?;
        Ok(Some(ErasureAnswer::decode(&plain)?))
    }
}

/// The answer to a job's request, if it was carried out.
pub(super) fn answer_of(core: &Core, receipts: &Receipts<'_>, job: &ErasureJob) -> Result<Option<Erasure>, VaultError> {
    let tenant = core.tenant_keys(job.tenant)?;
    let slot = job.slot(&tenant);
    let Some(ErasureAnswer { receipt, opening, customer }) = slot.open(core)? else { return Ok(None) };
    let owed = VaultError::ErasureNotFinal { why: "the receipt is still owed" };
    // A thousand proofs would not fit one message.
    let receipt = match job.is_of_list {
        true => receipts.get_stated(job.tenant, receipt)?,
        false => receipts.get(job.tenant, receipt)?,
    };
    let receipt = receipt.ok_or(owed)?;
    let is_same = match &job.target {
        Target::Customer(customer) => is_of(&receipt.erased, &opening, customer.as_str(), None),
        Target::Tenant(name) => is_of(&receipt.erased, &opening, name.as_str(), None),
        // The record is gone, and with it whose it was.
        Target::Part(part) => is_of(&receipt.erased, &opening, &customer, Some(*part)),
    };
    if !is_same {
        return Err(VaultError::RequestIdReused);
    }
    Ok(Some(Erasure { receipt, opening }))
}
