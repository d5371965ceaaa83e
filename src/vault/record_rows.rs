//! The rows of a record: building them, and reading them back in two steps, the facts that decide who may read and then the whole.

use super::Looked;
use super::VaultError;
use super::core::{Core, blinded};
use super::customer::{ToCompare, WriteKeys};
use super::format::{CaseMark, ContentForm, Head, IndexEntry, Manifest, Metadata, Place, Use, use_key};
use super::grants::Asker;
use super::records::Admitted;
use super::requests::seal_request;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::crypto::{content, key_wrap};
use crate::domain::clock::Timestamp;
use crate::domain::grant::{Grants, Why};
use crate::domain::ids::{
    BlindIndex, CaseId, CustomerId, PrincipalName, Purpose, RecordId, Revision, TeamName, TenantId,
};
use crate::domain::record::{Details, Record, RecordFacts, RecordKind};
use crate::domain::sensitive::SpokenSpan;
use crate::domain::tenant::TenantSettings;
use crate::domain::{Invalid, Problem};
use crate::keys::TenantKeys;
use crate::store::{Batch, MAX_VALUE_BYTES, rows};

/// A record's row is cut into pieces of this size.
const PIECE: usize = MAX_VALUE_BYTES;
/// The most pieces of one record: metadata and inline content or manifest.
const MAX_PIECES: usize = 2048;

/// A record about to be stored.
pub(super) struct Draft {
    pub place: Place,
    pub kind: RecordKind,
    pub created: Timestamp,
    pub details: Details,
    pub content_bytes: u64,
    pub content_sha256: Option<[u8; 32]>,
    pub media_type: Option<String>,
    pub spoken: Vec<SpokenSpan>,
}

/// The content of a record about to be stored.
pub(super) enum Sealed {
    Inline(Vec<u8>),
    Parts { manifest: Manifest, stored_bytes: u64 },
}

/// All that one batch stores.
pub(super) struct Storing {
    pub admitted: Admitted,
    pub draft: Draft,
    pub customer: CustomerId,
    pub keys: WriteKeys,
    pub sealed: Sealed,
    /// What goes with it: the secret's row, or the end of an upload.
    pub batch: Batch,
}

/// A record, opened.
pub(super) struct Opened {
    pub record: Record,
    pub place: Place,
    pub secret: Key,
    pub content: Sealed,
}

impl Core {
    /// What is known of a record without opening any content, seen by `asker`: of the newest revision, or of the one that is named.
    pub fn facts(
        &self,
        asker: &Asker,
        tenant: TenantId,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Option<RecordFacts>, VaultError> {
        let Some((revision, head)) = self.found(tenant, record, revision)? else { return Ok(None) };
        self.facts_of(asker, tenant, record, revision, &head).map(Some)
    }

    /// The newest revision of a record or the one that is named, and its head.
    fn found(
        &self,
        tenant: TenantId,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Option<(Revision, Head)>, VaultError> {
        match revision {
            None => self.newest(tenant, record),
            Some(revision) => Ok(self.head(tenant, record, revision)?.map(|head| (revision, head))),
        }
    }

    /// What a caller who names a record may learn. Whether there is one, or is none any more, takes the same questions to the database.
    pub fn look(
        &self,
        asker: &Asker,
        tenant: TenantId,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Looked, VaultError> {
        let found = self.found(tenant, record, revision)?;
        let is_found = found.is_some();
        let (revision, head) = found.unwrap_or_else(|| (revision.unwrap_or(Revision::FIRST), Head::of_nobody()));
        let facts = self.facts_of(asker, tenant, record, revision, &head)?;
        let is_going = self.is_being_erased(&facts)?;
        Ok(if is_found && !is_going { Looked::There(facts) } else { Looked::Absent(facts) })
    }

    /// Whether a record, its revision or its customer is being erased, or was and only its rows are still there.
    fn is_being_erased(&self, facts: &RecordFacts) -> Result<bool, VaultError> {
        let RecordFacts { tenant, handle, id, revision, .. } = *facts;
        let jobs = [rows::reclaim(handle), rows::reclaim_record(id, None), rows::reclaim_record(id, Some(revision))];
        // All are looked for, whichever of them is there. One that is not ours hides nothing.
        let is_left = jobs.map(|job| self.has_job(&job, tenant, handle));
        let [customer, whole, part] = is_left;
        Ok(self.fences.is_closed_around(facts) | customer? | whole? | part?)
    }

    /// The newest revision of a record, and its head.
    pub fn newest(&self, tenant: TenantId, record: RecordId) -> Result<Option<(Revision, Head)>, VaultError> {
        self.last_in(tenant, record, rows::record_span(tenant, record))
    }

    /// The newest revision of a record but for this one, and its head.
    pub fn newest_but(
        &self,
        tenant: TenantId,
        record: RecordId,
        revision: Revision,
    ) -> Result<Option<(Revision, Head)>, VaultError> {
        let ((from, to), (begin, end)) =
            (rows::record_span(tenant, record), rows::revision_span(tenant, record, revision));
        match self.last_in(tenant, record, (end, to))? {
            None => self.last_in(tenant, record, (from, begin)),
            newer => Ok(newer),
        }
    }

    fn last_in(
        &self,
        tenant: TenantId,
        record: RecordId,
        (from, to): (Vec<u8>, Vec<u8>),
    ) -> Result<Option<(Revision, Head)>, VaultError> {
        let last = self.db.last(&from, &to)?;
        let parsed = last.map(|(key, _)| rows::parse_record_piece(&key).ok_or(VaultError::damaged("a record's key")));
        let revision = parsed.transpose()?.map(|(_, revision, _)| revision);
        // Asked for where there is none, too: it takes as long.
        let head = self.head(tenant, record, revision.unwrap_or(Revision::FIRST))?;
        let Some(revision) = revision else { return Ok(None) };
        Ok(Some((revision, head.ok_or(VaultError::damaged("a record"))?)))
    }

    fn head(&self, tenant: TenantId, record: RecordId, revision: Revision) -> Result<Option<Head>, VaultError> {
        let first = self.db.get(&rows::record_piece(tenant, record, revision, 0))?;
        first.map(|first| Ok(Head::decode(&first)?.0)).transpose()
    }

    /// Whether a record is of this case.
    pub fn is_of_case(&self, place: &Place, case: &CaseId) -> Result<bool, VaultError> {
        let Some(head) = self.head(place.tenant, place.record, place.revision)? else { return Ok(false) };
        let customer = self.customer_to_compare(place.tenant, head.handle)?;
        self.has_case(&customer, place, &head, case)
    }

    /// Whether the head of a record has the mark of this case. It takes as long where there is none.
    fn has_case(&self, customer: &ToCompare, place: &Place, head: &Head, case: &CaseId) -> Result<bool, VaultError> {
        let secret = self.secret_to_compare(customer, place)?;
        let of_record = case_mark(&secret, place, case);
        let of_tenant = CaseMark::OfTenant(blinded(&*self.tenant_keys(place.tenant)?, "case", case.as_str()));
        Ok(head.case == Some(of_record) || head.case == Some(of_tenant))
    }

    /// The facts that a head tells `asker`.
    fn facts_of(
        &self,
        asker: &Asker,
        tenant: TenantId,
        id: RecordId,
        revision: Revision,
        head: &Head,
    ) -> Result<RecordFacts, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let settings = self.tenant_entry(tenant)?.settings;
        let Asker { principal, case } = asker;
        // Of all teams, whether the record has one or none: how long it takes does not tell.
        let teams: Vec<(&TeamName, BlindIndex)> =
            principal.teams.iter().map(|team| (team, blinded(&keys, "team", team.as_str()))).collect();
        let callers_team = teams.iter().find(|(_, team)| head.team == Some(*team)).map(|(team, _)| (*team).clone());
        let (is_of_stated_case, case_is_assigned) = match case {
            None => (false, false),
            Some(case) => {
                let customer = self.customer_to_compare(tenant, head.handle)?;
                let place = Place { tenant, handle: head.handle, record: id, revision };
                let is_of_it = self.has_case(&customer, &place, head, case)?;
                (is_of_it, self.case_is_assigned(&customer, case, &principal.name)?)
            }
        };
        Ok(RecordFacts {
            tenant,
            id,
            revision,
            kind: head.kind,
            handle: head.handle,
            callers_team,
            handled_by_caller: head.agent == Some(agent_index(&keys, &principal.name)),
            is_of_stated_case,
            grants: Grants {
                case_is_assigned,
                glass_is_broken: self.glass_is_broken(tenant, head.handle, &principal.name)?,
            },
            purposes: purposes_of(head.purposes, &settings),
        })
    }

    /// The place of a purpose in the tenant's list.
    pub fn purpose_place(&self, tenant: TenantId, why: Option<&Why>) -> Result<u8, VaultError> {
        let settings = self.tenant_entry(tenant)?.settings;
        let place = why.and_then(|why| settings.purposes.iter().position(|known| *known == why.purpose));
        let place = place.and_then(|place| u8::try_from(place).ok());
        place.ok_or_else(|| Invalid::new("purpose", Problem::NotConfigured).into())
    }

    /// Opens a record: the customer key, the secret, the metadata; of the content, what stands in rows is still sealed.
    pub fn open_record(&self, facts: &RecordFacts) -> Result<Opened, VaultError> {
        let customer = self.customer(facts.tenant, facts.handle)?;
        let place = customer.place(facts.id, facts.revision);
        let secret = self.secret(&customer, &place)?;
        let customer_id = self.customer_id(&customer)?;
        let bytes = self.record_bytes(&place)?;
        let (head, head_bytes) = Head::decode(&bytes)?;
        let damaged = || VaultError::damaged("a record");
        if head.handle != facts.handle {
            return Err(damaged());
        }
        let (head_part, rest) = bytes.split_at(head_bytes);
        let (sealed, content) = rest.split_at_checked(head.metadata_bytes as usize).ok_or_else(damaged)?;
        if content.len() != head.content_bytes as usize {
            return Err(damaged());
        }
        let plain =
            content::open(&use_key(&secret, Use::Metadata, &place), head_part, sealed).map_err(|_| damaged())?;
        let metadata = Metadata::decode(&plain)?;
        let content = match head.form {
            ContentForm::Inline => Sealed::Inline(content.to_vec()),
            ContentForm::Parts => {
                let plain =
                    content::open(&use_key(&secret, Use::Manifest, &place), b"", content).map_err(|_| damaged())?;
                Sealed::Parts { manifest: Manifest::decode(&plain)?, stored_bytes: head.stored_bytes }
            }
        };
        let settings = self.tenant_entry(facts.tenant)?.settings;
        let record = assemble(&head, metadata, facts, customer_id, &settings);
        Ok(Opened { record, place, secret, content })
    }

    /// All pieces of a revision, joined.
    fn record_bytes(&self, place: &Place) -> Result<Vec<u8>, VaultError> {
        let (from, to) = rows::revision_span(place.tenant, place.record, place.revision);
        let pieces = self.db.range(&from, &to, MAX_PIECES)?;
        if pieces.is_empty() {
            return Err(VaultError::NotFound);
        }
        Ok(pieces.into_iter().flat_map(|(_, value)| value).collect())
    }

    /// Adds a record's rows, its request and its counters to a batch, behind the fence against erased customers. Brings the
    /// purposes into the order in which they are read back, so that the answer to a write is that to its repeat.
    pub fn add_record(&self, batch: &mut Batch, storing: &mut Storing) -> Result<(), VaultError> {
        let Storing { admitted, draft, customer, keys: write_keys, sealed, .. } = storing;
        let secret = &write_keys.secret;
        let settings = self.tenant_entry(admitted.tenant)?.settings;
        let place = draft.place;
        let keys = &admitted.keys;
        let (form, content, stored_bytes) = match sealed {
            Sealed::Inline(content) => (ContentForm::Inline, content.clone(), content.len() as u64),
            Sealed::Parts { manifest, stored_bytes } => {
                let manifest = content::seal(&use_key(secret, Use::Manifest, &place), b"", &manifest.encode());
                (ContentForm::Parts, manifest, *stored_bytes)
            }
        };
        let metadata = draft.metadata().encode();
        let details = &draft.details;
        check_team(details, &settings)?;
        let head = Head {
            kind: draft.kind,
            form,
            handle: place.handle,
            created: draft.created,
            purposes: purpose_bits(&details.purposes, &settings)?,
            team: details.team.as_ref().map(|team| blinded(keys, "team", team.as_str())),
            agent: details.agent.as_ref().map(|agent| agent_index(keys, agent)),
            case: details.case_id.as_ref().map(|case| case_mark(secret, &place, case)),
            metadata_bytes: small_length(content::sealed_len(metadata.len() as u64))?,
            content_bytes: small_length(content.len() as u64)?,
            stored_bytes,
        };
        draft.details.purposes = purposes_of(head.purposes, &settings);
        let mut bytes = head.encode();
        let sealed = content::seal(&use_key(secret, Use::Metadata, &place), &bytes, &metadata);
        bytes.extend_from_slice(&sealed);
        bytes.extend_from_slice(&content);
        for (piece, value) in (0u16..).zip(bytes.chunks(PIECE)) {
            batch.put(rows::record_piece(place.tenant, place.record, place.revision, piece), value);
        }
        if place.revision > Revision::FIRST {
            batch.require_absent(rows::record_piece(place.tenant, place.record, place.revision, 0));
            // The record is there by then, and is not one that was erased and whose rows are still to be removed.
            let job = rows::reclaim_record(place.record, None);
            match self.db.get(&job)? {
                Some(planted) if self.jobs.open(&job, &planted).is_none() => batch.require_value(job, planted),
                _ => batch.require_absent(job),
            };
            let (newest, before) = self.newest(place.tenant, place.record)?.ok_or(VaultError::RecordErased)?;
            let key = rows::record_piece(place.tenant, place.record, newest, 0);
            batch.require_value(key.clone(), self.db.get(&key)?.ok_or(VaultError::RecordErased)?);
            // What finds the record finds its newest revision.
            before.found_by().for_each(|by| batch.delete(rows::index(place.tenant, by, place.record)));
        }
        add_index_rows(batch, secret, &head, draft);
        let pseudonym = super::tree::pseudonym(keys, customer);
        batch.require_absent(rows::tombstone(place.tenant, pseudonym));
        batch.require_absent(admitted.row.clone());
        batch.put(admitted.row.clone(), seal_request(admitted, write_keys, &place, draft.created));
        let counted = i64::try_from(stored_bytes).unwrap_or(i64::MAX);
        batch.add(rows::usage(place.tenant, rows::Counter::ContentBytes), counted);
        if place.revision == Revision::FIRST {
            batch.add(rows::usage(place.tenant, rows::Counter::Records), 1);
        }
        Ok(())
    }
}

/// Rows that find the record. What they say is sealed under the record's own secret, so that it ends with the record.
fn add_index_rows(batch: &mut Batch, secret: &Key, head: &Head, draft: &Draft) {
    let place = &draft.place;
    let key = use_key(secret, Use::Index, place);
    let entry = IndexEntry { kind: draft.kind, revision: place.revision, started: draft.details.started }.encode();
    for by in head.found_by() {
        let row = rows::index(place.tenant, by, place.record);
        let mut value = place.handle.0.to_vec();
        value.extend_from_slice(&key_wrap::seal(&key, &row, &entry));
        batch.put(row, value);
    }
}

impl Draft {
    fn metadata(&self) -> Metadata {
        let details = self.details.clone();
        Metadata {
            channel: details.channel,
            language: details.language,
            agent: details.agent,
            case_id: details.case_id,
            team: details.team,
            started: details.started,
            ended: details.ended,
            legal_basis: details.legal_basis,
            tags: details.tags,
            content_bytes: self.content_bytes,
            content_sha256: self.content_sha256,
            media_type: self.media_type.clone(),
            spoken: self.spoken.clone(),
        }
    }

    /// The record as it is stored.
    pub fn into_record(self, customer: CustomerId) -> Record {
        Record {
            id: self.place.record,
            revision: self.place.revision,
            kind: self.kind,
            customer,
            details: self.details,
            created: self.created,
            content_bytes: self.content_bytes,
            content_sha256: self.content_sha256,
            media_type: self.media_type,
            spoken: self.spoken,
        }
    }
}

fn assemble(
    head: &Head,
    metadata: Metadata,
    facts: &RecordFacts,
    customer: CustomerId,
    settings: &TenantSettings,
) -> Record {
    Record {
        id: facts.id,
        revision: facts.revision,
        kind: head.kind,
        customer,
        details: Details {
            channel: metadata.channel,
            language: metadata.language,
            agent: metadata.agent,
            case_id: metadata.case_id,
            team: metadata.team,
            started: metadata.started,
            ended: metadata.ended,
            purposes: purposes_of(head.purposes, settings),
            legal_basis: metadata.legal_basis,
            tags: metadata.tags,
        },
        created: head.created,
        content_bytes: metadata.content_bytes,
        content_sha256: metadata.content_sha256,
        media_type: metadata.media_type,
        spoken: metadata.spoken,
    }
}

/// What tells that a record is of a case. It ends with the record's secret.
fn case_mark(secret: &Key, place: &Place, case: &CaseId) -> CaseMark {
    CaseMark::OfRecord(BlindIndex(blind(&use_key(secret, Use::Case, place), "case", &[case.as_str().as_bytes()])))
}

/// The keyed hash by which an agent's records are found.
pub(super) fn agent_index(keys: &TenantKeys, agent: &PrincipalName) -> BlindIndex {
    blinded(keys, "agent", agent.as_str())
}

fn purposes_of(bits: u64, settings: &TenantSettings) -> Vec<Purpose> {
    let is_set = |(place, _): &(usize, &Purpose)| bits & (1 << place) != 0;
    settings.purposes.iter().enumerate().filter(is_set).map(|(_, purpose)| purpose.clone()).collect()
}

fn purpose_bits(purposes: &[Purpose], settings: &TenantSettings) -> Result<u64, VaultError> {
    purposes.iter().try_fold(0, |bits, purpose| {
        let place = settings.purposes.iter().position(|known| known == purpose);
        let place = place.ok_or_else(|| Invalid::new("details.purposes", Problem::NotConfigured))?;
        Ok(bits | 1 << place)
    })
}

fn check_team(details: &Details, settings: &TenantSettings) -> Result<(), Invalid> {
    match &details.team {
        Some(team) if !settings.teams.contains(team) => Err(Invalid::new("details.team", Problem::NotConfigured)),
        _ => Ok(()),
    }
}

fn small_length(length: u64) -> Result<u32, VaultError> {
    u32::try_from(length).map_err(|_| VaultError::ContentTooLarge { limit_bytes: u64::from(u32::MAX) })
}

/// Purposes and team are the tenant's; checked before anything is stored.
pub(super) fn check_details(core: &Core, tenant: TenantId, details: &Details) -> Result<(), VaultError> {
    let settings = core.tenant_entry(tenant)?.settings;
    check_team(details, &settings)?;
    purpose_bits(&details.purposes, &settings).map(|_| ())
}
