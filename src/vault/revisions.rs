//! Revisions: what replaces a chat that was wrong. Each has a secret of its own, so that the one that was wrong can be erased alone.
//!
//! A revision stands beside those before it, under the same record and the same customer, and always in rows: only the first revision of a
//! record has objects. So what an erased revision leaves is known by its number alone.

use std::sync::Arc;

use super::core::Core;
use super::fence::Fenced;
use super::format::Place;
use super::grants::Asker;
use super::record_rows::check_details;
use super::records::{RequestKey, pack};
use super::upload::BegunUpload;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::content;
use crate::domain::ids::{RecordId, Revision};
use crate::domain::record::{NewTranscript, Record, RecordFacts, RecordKind};

impl Vault {
    /// Stores a chat as the revision behind `base`, which must be the newest one of the record. It is of the same customer; all else is as `new`
    /// says. A repeat of the request gets the revision that it stored.
    pub async fn revise_transcript(
        self: &Arc<Self>,
        permit: Permit<TenantScope>,
        (record, base): (RecordId, Revision),
        new: NewTranscript,
        request: RequestKey,
    ) -> Result<Fenced<Record>, VaultError> {
        let admitted = match self.admit(&permit, &new.customer, request).await? {
            Ok(admitted) => admitted,
            Err(stored) => return Ok(stored),
        };
        let (tenant, asker) = (permit.resource().tenant, Asker::of(&permit));
        let begin = move |core: &Arc<Core>| {
            let facts = core.facts(&asker, tenant, record, None)?.ok_or(VaultError::NotFound)?;
            // Of another customer, or no chat: it looks like one that is not there.
            if facts.kind != RecordKind::Transcript || core.known_customer(tenant, &new.customer)? != Some(facts.handle)
            {
                return Err(VaultError::NotFound);
            }
            if facts.revision != base {
                return Err(VaultError::RevisionOutdated { newest: facts.revision.0 });
            }
            check_details(core, tenant, &new.details)?;
            let packed = pack(&new);
            let reservation = core.reserve(tenant, content::sealed_len(packed.len() as u64), 0)?;
            Ok((facts, new, packed, reservation))
        };
        let (facts, new, packed, reservation) = self.core.blocking(begin).await?;
        let inside = self.core.fences.enter_record(&facts)?;
        let RecordFacts { handle, id: record, .. } = facts;
        let place = Place { tenant, handle, record, revision: base.next() };
        self.store_in_rows(&permit, BegunUpload::of_chat(place, new, admitted, reservation, inside), packed).await
    }
}
