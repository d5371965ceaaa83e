//! Storing chats, and reading records.

use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::core::{Core, entry};
use super::fence::{Fenced, Inside};
use super::format::{Place, Use, decode_transcript, encode_transcript, text_bytes, use_key};
use super::grants::Asker;
use super::insiders::Reading;
use super::quota::Reservation;
use super::record_rows::{Draft, Sealed, Storing, check_details};
use super::upload::BegunUpload;
use super::{InFlightGuard, Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Entry, Event};
use crate::crypto::content;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::random_bytes;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, CustomerId, Handle, RecordId, RequestId, Revision, TenantId};
use crate::domain::record::{NewTranscript, Record, RecordFacts, RecordKind};
use crate::domain::sensitive::ShownTurn;
use crate::keys::TenantKeys;
use crate::masking;
use crate::store::{Batch, CommitError, rows};

/// A caller's name for a request, and a hash of all that it asks.
pub struct RequestKey {
    /// The name.
    pub id: RequestId,
    /// SHA-256 of the request in its encoded form.
    pub hash: [u8; 32],
}

/// What a caller finds who names a record.
pub enum Looked {
    /// The record.
    There(RecordFacts),
    /// There is none, or it is being erased. The facts are of none: whoever asks `access` about them takes as long as for one that is there,
    /// and must refuse whatever it says.
    Absent(RecordFacts),
}

/// A request that is being worked on.
pub(super) struct Admitted {
    pub tenant: TenantId,
    pub keys: Arc<TenantKeys>,
    pub row: Vec<u8>,
    pub fingerprint: [u8; 16],
    _guard: InFlightGuard,
}

impl BegunUpload {
    /// Of a chat that was taken in.
    pub(super) fn of_chat(
        place: Place,
        new: NewTranscript,
        admitted: Admitted,
        reservation: Reservation,
        inside: Inside,
    ) -> Self {
        let draft = Draft {
            place,
            kind: RecordKind::Transcript,
            created: Timestamp::now(),
            content_bytes: text_bytes(&new.turns),
            content_sha256: None,
            media_type: None,
            spoken: Vec::new(),
            details: new.details,
        };
        Self { admitted, draft, customer: new.customer, expected_sha256: None, reservation, inside }
    }
}

/// A chat that was taken in, and not yet sealed.
struct BegunTranscript {
    admitted: Admitted,
    new: NewTranscript,
    packed: Zeroizing<Vec<u8>>,
    is_inline: bool,
    reservation: Reservation,
    /// The customer's, if known.
    handle: Option<Handle>,
}

impl Vault {
    /// Stores a chat. A repeat of the request gets the record that it stored first.
    pub async fn create_transcript(
        self: &Arc<Self>,
        permit: Permit<TenantScope>,
        new: NewTranscript,
        request: RequestKey,
    ) -> Result<Fenced<Record>, VaultError> {
        let tenant = permit.resource().tenant;
        let BegunTranscript { admitted, new, packed, is_inline, reservation, handle } =
            match self.begin_transcript(&permit, new, request).await? {
                Ok(begun) => begun,
                Err(stored) => return Ok(stored),
            };
        let handle = match handle {
            Some(handle) => handle,
            None => self.writer.ensure_customer(tenant, new.customer.clone()).await?,
        };
        let inside = self.core.fences.enter(tenant, handle)?;
        let place = Place { tenant, handle, record: new_record_id(), revision: Revision::FIRST };
        let begun = BegunUpload::of_chat(place, new, admitted, reservation, inside);
        if is_inline {
            return self.store_in_rows(&permit, begun, packed).await;
        }
        let mut upload = self.start_upload(permit, begun).await?;
        upload.push(Bytes::from_owner(packed)).await?;
        upload.finish().await
    }

    /// Seals a packed chat and stores it, all of it in rows.
    pub(super) async fn store_in_rows(
        &self,
        permit: &Permit<TenantScope>,
        begun: BegunUpload,
        packed: Zeroizing<Vec<u8>>,
    ) -> Result<Fenced<Record>, VaultError> {
        let BegunUpload { admitted, draft, customer, expected_sha256: _, reservation, inside } = begun;
        let place = draft.place;
        let entry = stored(permit, &place);
        let build = move |core: &Arc<Core>| {
            let mut batch = Batch::new();
            batch.hold(reservation);
            let keys = core.add_secret(&mut batch, &place)?;
            let sealed = Sealed::Inline(content::seal(&use_key(&keys.secret, Use::Content, &place), b"", &packed));
            core.build(entry, Storing { admitted, draft, customer, keys, sealed, batch })
        };
        let (batch, storing) = self.core.blocking(build).await?;
        let record = self.commit(batch, storing).await?;
        Ok(Fenced { content: record, watches: vec![inside.watch()] })
    }

    /// Takes the request in, checks it, packs the chat, takes room for it and looks for the customer. In one piece of blocking work:
    /// each costs two changes of thread, which is more than most of these steps.
    async fn begin_transcript(
        &self,
        permit: &Permit<TenantScope>,
        new: NewTranscript,
        request: RequestKey,
    ) -> Result<Result<BegunTranscript, Fenced<Record>>, VaultError> {
        let tenant = permit.resource().tenant;
        let admit = self.admission(permit, new.customer.clone(), request);
        let begin = move |core: &Arc<Core>| {
            let admitted = match admit(core).map_err(|error| core.with_its_customer(tenant, &new.customer, error))? {
                Ok(admitted) => admitted,
                Err(stored) => return Ok(Err(stored)),
            };
            check_details(core, tenant, &new.details)?;
            let packed = pack(&new);
            let sealed_bytes = content::sealed_len(packed.len() as u64);
            let is_inline = sealed_bytes <= core.limits.inline_content_bytes;
            // What goes to objects takes its room as it goes.
            let reservation = core.reserve(tenant, if is_inline { sealed_bytes } else { 0 }, 1)?;
            let handle = core.known_customer(tenant, &new.customer)?;
            Ok(Ok(BegunTranscript { admitted, new, packed, is_inline, reservation, handle }))
        };
        self.core.blocking(begin).await
    }

    /// What can be known of a record before its content is opened, seen by the caller of `door`: of its newest revision, or of the one that is named.
    /// `None` if there is none.
    pub async fn facts(
        &self,
        door: &Permit<TenantScope>,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Option<RecordFacts>, VaultError> {
        Ok(match self.look(door, record, revision).await? {
            Looked::There(facts) => Some(facts),
            Looked::Absent(_) => None,
        })
    }

    /// The same for who is to answer as if nothing were there: with facts to ask about also where there is nothing.
    pub async fn look(
        &self,
        door: &Permit<TenantScope>,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Looked, VaultError> {
        let tenant = door.resource().tenant;
        let asker = Asker::of(door);
        self.core.blocking(move |core| core.look(&asker, tenant, record, revision)).await
    }

    /// What is known about a record, without its content.
    pub async fn get_record(&self, permit: Permit<RecordFacts>) -> Result<Fenced<Record>, VaultError> {
        let facts = permit.resource().clone();
        let inside = self.begin_read(&permit).await?;
        let record = self.core.blocking(move |core| Ok(core.open_record(&facts)?.record)).await?;
        Ok(Fenced { content: record, watches: vec![inside.watch()] })
    }

    /// A chat, with what the caller may not see replaced.
    pub async fn get_transcript(
        &self,
        permit: Permit<RecordFacts>,
    ) -> Result<Fenced<(Record, Vec<ShownTurn>)>, VaultError> {
        let facts = permit.resource().clone();
        if facts.kind != RecordKind::Transcript {
            return self.not_of_this_kind(&permit).await;
        }
        let inside = self.begin_read(&permit).await?;
        let opened = self.core.blocking(move |core| core.open_record(&facts)).await?;
        let packed = match opened.content {
            Sealed::Inline(sealed) => {
                let key = use_key(&opened.secret, Use::Content, &opened.place);
                content::open(&key, b"", &sealed).map_err(|_| VaultError::damaged("a transcript"))?
            }
            Sealed::Parts { manifest, .. } => self.read_whole(&opened.place, &opened.secret, &manifest).await?,
        };
        let (turns, spans) = decode_transcript(&packed)?;
        let shown = masking::show(turns, &spans, |kind| permit.sees(kind));
        Ok(Fenced { content: (opened.record, shown), watches: vec![inside.watch()] })
    }

    /// Refuses to read a recording as a chat, or a chat as a recording, as one that is not there.
    pub(super) async fn not_of_this_kind<T>(&self, permit: &Permit<RecordFacts>) -> Result<T, VaultError> {
        self.note_refusal(permit.principal(), permit.action(), Some(permit.resource().id)).await?;
        Err(VaultError::NotFound)
    }

    /// Goes inside the customer's fence and makes the read's entry durable: in this order, before any key is opened.
    pub(super) async fn begin_read(&self, permit: &Permit<RecordFacts>) -> Result<Inside, VaultError> {
        let facts = permit.resource();
        let inside = match self.core.fences.enter_to_read(facts) {
            Ok(inside) => inside,
            Err(error) => {
                self.note_refusal(permit.principal(), permit.action(), Some(facts.id)).await?;
                // Erased since the facts were read: it looks like any record that is not there.
                return Err(if let VaultError::TenantFrozen = error { error } else { VaultError::NotFound });
            }
        };
        let tenant = facts.tenant;
        let why = permit.why().cloned();
        let purpose = self.core.blocking(move |core| core.purpose_place(tenant, why.as_ref())).await?;
        let RecordFacts { handle, id: record, revision, grants, .. } = *facts;
        let event = Event::Read { action: permit.action(), handle, record, revision, purpose, grants };
        let (principal, action) = (permit.principal().clone(), permit.action());
        let entry = entry(&principal, tenant, event);
        let reading = Reading { principal, tenant, action, record: Some(record), customers: vec![handle] };
        self.enter_reads(reading, vec![entry]).await?;
        Ok(inside)
    }

    /// Takes a request in: refused while the same one is worked on; a repeat of a finished one gets its record (`Ok(Err(record))`).
    pub(super) async fn admit(
        &self,
        permit: &Permit<TenantScope>,
        customer: &CustomerId,
        request: RequestKey,
    ) -> Result<Result<Admitted, Fenced<Record>>, VaultError> {
        let (tenant, customer) = (permit.resource().tenant, customer.clone());
        let admit = self.admission(permit, customer.clone(), request);
        let admit =
            move |core: &Arc<Core>| admit(core).map_err(|error| core.with_its_customer(tenant, &customer, error));
        self.core.blocking(admit).await
    }

    /// The blocking work of [`Vault::admit`].
    fn admission(
        &self,
        permit: &Permit<TenantScope>,
        customer: CustomerId,
        request: RequestKey,
    ) -> impl FnOnce(&Arc<Core>) -> Result<Result<Admitted, Fenced<Record>>, VaultError> + Send + 'static + use<> {
        let tenant = permit.resource().tenant;
        let asker = Asker::of(permit);
        let action = permit.action();
        let in_flight = Arc::clone(&self.in_flight);
        move |core: &Arc<Core>| {
            let keys = core.tenant_keys(tenant)?;
            let principal = &asker.principal;
            let code = [action.code()];
            let index = blind(&keys.index, "request", &[&code, &principal.alias.0, request.id.as_str().as_bytes()]);
            let fingerprint = blind(&keys.index, "request content", &[&code, &request.hash]);
            let guard = in_flight.enter(BlindIndex(index))?;
            let row = rows::request(tenant, BlindIndex(index));
            let Some(stored) = core.db.get(&row)? else {
                return Ok(Ok(Admitted { tenant, keys, row, fingerprint, _guard: guard }));
            };
            let stored = core.stored_by_request(tenant, &customer, (&row, &stored), &fingerprint)?;
            let facts = core.facts(&asker, tenant, stored.record, Some(stored.revision))?;
            let facts = facts.ok_or(VaultError::RecordErased)?;
            let inside = core.fences.enter_to_read(&facts)?;
            // Durable before the answer is made; and so is, by then, what was seen here, which might not have been yet.
            let event = Event::Repeated { action, handle: facts.handle, record: facts.id };
            let mut batch = Batch::new();
            batch.append(entry(principal, tenant, event).encode().to_vec());
            core.committer.commit_blocking(batch)?;
            let record = core.open_record(&facts)?.record;
            Ok(Err(Fenced { content: record, watches: vec![inside.watch()] }))
        }
    }

    /// The handle of a customer, who is created if unknown.
    pub(super) async fn customer_handle(&self, tenant: TenantId, customer: &CustomerId) -> Result<Handle, VaultError> {
        let known = customer.clone();
        match self.core.blocking(move |core| core.known_customer(tenant, &known)).await? {
            Some(handle) => Ok(handle),
            None => self.writer.ensure_customer(tenant, customer.clone()).await,
        }
    }

    /// Stores a record with all that belongs to it, in one batch.
    pub(super) async fn store(&self, permit: &Permit<TenantScope>, storing: Storing) -> Result<Record, VaultError> {
        let entry = stored(permit, &storing.draft.place);
        let (batch, storing) = self.core.blocking(move |core| core.build(entry, storing)).await?;
        self.commit(batch, storing).await
    }

    pub(super) async fn commit(&self, batch: Batch, storing: Storing) -> Result<Record, VaultError> {
        match self.core.committer.commit(batch).await {
            Ok(_) => {}
            Err(CommitError::Conflict { .. }) => {
                // Between the look and the batch the customer was erased, another revision came, or a forgotten twin of this request.
                let (tenant, customer) = (storing.draft.place.tenant, storing.customer.clone());
                let place = storing.draft.place;
                // What it conflicted with may not be in the database yet: it is once this is answered.
                self.core.committer.commit(Batch::new()).await?;
                return Err(self.core.blocking(move |core| core.why_conflict(tenant, &customer, &place)).await?);
            }
            Err(error) => return Err(error.into()),
        }
        // Only now may a repeat of the request come in: it finds the request's row.
        let Storing { draft, customer, .. } = storing;
        Ok(draft.into_record(customer))
    }
}

impl Core {
    /// The one batch of a record: its ledger entry, what goes with it, its rows.
    pub(super) fn build(&self, entry: Entry, mut storing: Storing) -> Result<(Batch, Storing), VaultError> {
        let mut batch = std::mem::take(&mut storing.batch);
        batch.append(entry.encode().to_vec());
        self.add_record(&mut batch, &mut storing)?;
        Ok((batch, storing))
    }

    /// A record that is erased: it says so of the customer, where she is.
    pub(super) fn with_its_customer(&self, tenant: TenantId, of: &CustomerId, error: VaultError) -> VaultError {
        match error {
            VaultError::RecordErased => match self.is_erased(tenant, of) {
                Ok(true) => VaultError::CustomerErased,
                Ok(false) => VaultError::RecordErased,
                Err(error) => error,
            },
            other => other,
        }
    }

    fn why_conflict(&self, tenant: TenantId, customer: &CustomerId, place: &Place) -> Result<VaultError, VaultError> {
        if self.is_erased(tenant, customer)? {
            return Ok(VaultError::CustomerErased);
        }
        let newest = self.newest(tenant, place.record)?.map(|(revision, _)| revision);
        let is_left = self.db.get(&rows::reclaim_record(place.record, None))?.is_some();
        if place.revision > Revision::FIRST && (newest.is_none() || is_left) {
            return Ok(VaultError::RecordErased);
        }
        Ok(match newest.filter(|newest| *newest >= place.revision) {
            Some(newest) => VaultError::RevisionOutdated { newest: newest.0 },
            None => VaultError::RequestInProgress,
        })
    }

    pub(super) fn is_erased(&self, tenant: TenantId, customer: &CustomerId) -> Result<bool, VaultError> {
        let pseudonym = super::tree::pseudonym(&*self.tenant_keys(tenant)?, customer);
        Ok(self.db.get(&rows::tombstone(tenant, pseudonym))?.is_some())
    }

    /// The handle of a customer who is known.
    pub(super) fn known_customer(&self, tenant: TenantId, customer: &CustomerId) -> Result<Option<Handle>, VaultError> {
        let pseudonym = super::tree::pseudonym(&*self.tenant_keys(tenant)?, customer);
        self.tree.handle(tenant, pseudonym)
    }
}

/// The ledger's entry about a record that `permit` stores.
fn stored(permit: &Permit<TenantScope>, place: &Place) -> Entry {
    let Place { handle, record, revision, .. } = *place;
    let event = Event::Stored { action: permit.action(), handle, record, revision };
    entry(permit.principal(), place.tenant, event)
}

/// A chat and what is sensitive in it, as it is sealed.
pub(super) fn pack(new: &NewTranscript) -> Zeroizing<Vec<u8>> {
    encode_transcript(&new.turns, &masking::with_marked(&new.turns, new.marked.clone()))
}

/// A fresh id for a record.
pub(super) fn new_record_id() -> RecordId {
    RecordId::new(Timestamp::now(), random_bytes())
}
