//! The door out: domain types become messages of `oubliette.v1`. Nothing is decided or left out here; whoever may not see a
//! thing never gets it this far.

use bytes::Bytes;
use prost_types::Timestamp as WireTimestamp;

use super::v1;
use crate::access::Explanation;
use crate::access::policy::Verdict;
use crate::domain::approval::Approval;
use crate::domain::clock::Timestamp;
use crate::domain::erasure::{Ground, MediumClass, Subject};
use crate::domain::grant::CaseAssignment;
use crate::domain::ids::{RecordId, TenantName};
use crate::domain::principal::{PrincipalEntry, TokenEntry};
use crate::domain::record::{ByteSpan, Record, RecordFacts, RecordKind};
use crate::domain::sensitive::{ShownSpan, ShownTurn, SpokenSpan};
use crate::domain::tenant::{Quotas, TenantEntry, TenantSettings, Usage};
use crate::vault::{DamagedRow, Logged, Receipt, Verified};

/// A record, without its content.
pub fn record(record: Record) -> v1::Record {
    let Record { id, revision, kind, customer, details, created, content_bytes, content_sha256, media_type, .. } =
        record;
    let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
    v1::Record {
        record_id: id.to_string(),
        revision: revision.0,
        kind: i32::from(kind as u8),
        details: Some(v1::RecordDetails {
            customer_id: customer.as_str().to_owned(),
            channel: i32::from(details.channel as u8),
            language: details.language.unwrap_or_default(),
            agent: text(details.agent.as_ref().map(|agent| agent.as_str())),
            case_id: text(details.case_id.as_ref().map(|case| case.as_str())),
            team: text(details.team.as_ref().map(|team| team.as_str())),
            started_at: Some(timestamp(details.started)),
            ended_at: details.ended.map(timestamp),
            purposes: details.purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect(),
            legal_basis: i32::from(details.legal_basis as u8),
            tags: details.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
        }),
        created_at: Some(timestamp(created)),
        content_bytes: told_length(kind, content_bytes),
        content_sha256: content_sha256.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
        media_type: media_type.unwrap_or_default(),
    }
}

/// How long content is, as it is told. Of a chat not exactly: beside a text in which something is hidden, that would tell how long that is.
fn told_length(kind: RecordKind, bytes: u64) -> u64 {
    match kind {
        RecordKind::Transcript => bytes.next_multiple_of(CHAT_BYTES_STEP),
        RecordKind::Recording => bytes,
    }
}

/// Up to a multiple of so many bytes the length of a chat is told.
const CHAT_BYTES_STEP: u64 = 256;

/// An entry of the ledger.
pub fn logged(logged: Logged) -> v1::LogEntry {
    let Logged { position, entered, tenant, event, action, alias, name, fields, bytes } = logged;
    v1::LogEntry {
        position,
        entered_at: Some(timestamp(entered)),
        event: event.to_owned(),
        action: action.map_or_else(String::new, |action| action.name().to_owned()),
        principal: name.map_or_else(String::new, |name| name.as_str().to_owned()),
        principal_alias: alias.map_or_else(String::new, |alias| alias.to_string()),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        entry: bytes.into(),
        tenant_id: tenant.to_string(),
    }
}

/// The hashes of a proof.
pub fn hashes(hashes: &[[u8; 32]]) -> Vec<Bytes> {
    hashes.iter().map(|hash| Bytes::copy_from_slice(hash)).collect()
}

/// How a record stands to a principal.
pub fn relation(facts: &RecordFacts) -> v1::RecordRelation {
    v1::RecordRelation {
        in_callers_team: facts.callers_team.is_some(),
        handled_by_caller: facts.handled_by_caller,
        of_stated_case: facts.is_of_stated_case,
        case_assigned: facts.grants.case_is_assigned,
        glass_broken: facts.grants.glass_is_broken,
        purposes: facts.purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect(),
    }
}

/// What decides about an action.
pub fn explanation(explained: Explanation, relation: Option<v1::RecordRelation>) -> v1::ExplainAccessResponse {
    let verdict = |Verdict { allowed, decided_by, errors }| v1::Verdict { allowed, decided_by, errors };
    let allowed = explained.allowed();
    let (door, record) = (Some(verdict(explained.door)), explained.record.map(verdict));
    v1::ExplainAccessResponse { allowed, door, record, relation }
}

/// Who works on a case.
pub fn case_assignment(assignment: &CaseAssignment) -> v1::CaseAssignment {
    v1::CaseAssignment {
        customer_id: assignment.customer.as_str().to_owned(),
        case_id: assignment.case.as_str().to_owned(),
        principal: assignment.assignee.as_str().to_owned(),
        expires_at: Some(timestamp(assignment.expires)),
    }
}

/// More than one person may do alone.
pub fn approval(approval: &Approval) -> v1::Approval {
    let Approval { id, requested_by, requested, wanted, given_by } = approval;
    v1::Approval {
        approval_id: id.to_string(),
        requested_by: requested_by.as_str().to_owned(),
        requested_at: Some(timestamp(*requested)),
        erasures: wanted.raise.erasures,
        reads: wanted.raise.reads,
        customers: wanted.raise.customers,
        ground: i32::from(wanted.ground as u8),
        expires_at: Some(timestamp(wanted.expires)),
        approved_by: given_by.as_ref().map_or_else(String::new, |name| name.as_str().to_owned()),
    }
}

/// The turns of a chat as the caller sees it. Their texts move into the message, without a copy that would stay behind.
pub fn turns(turns: Vec<ShownTurn>) -> Vec<v1::Turn> {
    let turn = |ShownTurn { mut turn, spans }: ShownTurn| v1::Turn {
        speaker: i32::from(turn.speaker as u8),
        said_at: turn.said.map(timestamp),
        sensitive: sensitive(&turn.text, &spans),
        text: std::mem::take(&mut *turn.text),
    };
    turns.into_iter().map(turn).collect()
}

/// Places in bytes become places in code points.
fn sensitive(text: &str, spans: &[ShownSpan]) -> Vec<v1::SensitiveSpan> {
    let (mut at, mut points) = (0, 0);
    let mut points_before = |place: u32| {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        points += text.get(at..place).map_or(0, |between| between.chars().count());
        at = place;
        u32::try_from(points).unwrap_or(u32::MAX)
    };
    let told = |span: &ShownSpan| v1::SensitiveSpan {
        start: points_before(span.start),
        end: points_before(span.end),
        kind: i32::from(span.kind as u8),
        masked: span.is_hidden,
    };
    spans.iter().map(told).collect()
}

/// The first message of a download.
pub fn download_header(of: Record, span: ByteSpan, silenced: &[SpokenSpan]) -> v1::DownloadRecordingResponse {
    let range = v1::ByteRange { offset: span.offset, length: span.length };
    let silenced = silenced.iter().map(|one| v1::SpokenSpan {
        start_ms: one.time.start_ms,
        end_ms: one.time.end_ms,
        kind: i32::from(one.kind as u8),
    });
    let header = v1::DownloadHeader { record: Some(record(of)), range: Some(range), silenced: silenced.collect() };
    v1::DownloadRecordingResponse { payload: Some(v1::download_recording_response::Payload::Header(header)) }
}

/// Every other message of a download.
pub fn download_chunk(chunk: Bytes) -> v1::DownloadRecordingResponse {
    v1::DownloadRecordingResponse { payload: Some(v1::download_recording_response::Payload::Chunk(chunk)) }
}

/// A tenant and what it uses.
pub fn tenant(entry: TenantEntry, usage: Usage) -> v1::Tenant {
    v1::Tenant {
        name: entry.name.as_str().to_owned(),
        settings: Some(settings(entry.settings)),
        suspended: entry.suspended,
        frozen: entry.frozen,
        created_at: Some(timestamp(entry.created)),
        used_content_bytes: usage.content_bytes,
        used_records: usage.records,
    }
}

/// A principal.
pub fn principal(entry: PrincipalEntry) -> v1::Principal {
    v1::Principal {
        name: entry.name.as_str().to_owned(),
        roles: entry.roles.iter().map(|role| i32::from(*role as u8)).collect(),
        teams: entry.teams.iter().map(|team| team.as_str().to_owned()).collect(),
        blocked: entry.blocked,
    }
}

/// A token, without its secret.
pub fn token(entry: &TokenEntry) -> v1::Token {
    v1::Token {
        token_id: entry.id.to_string(),
        principal: entry.principal.as_str().to_owned(),
        created_at: Some(timestamp(entry.created)),
        expires_at: Some(timestamp(entry.expires)),
        revoked: entry.revoked,
        certificate_name: entry.certificate.as_ref().map_or_else(String::new, |name| name.as_str().to_owned()),
    }
}

/// A receipt.
pub fn receipt(receipt: Receipt, tenant: &TenantName) -> v1::ErasureReceipt {
    let Receipt { erased, proof, .. } = receipt;
    v1::ErasureReceipt {
        receipt_id: erased.receipt.to_string(),
        tenant: tenant.as_str().to_owned(),
        epoch: erased.epoch,
        final_at: Some(timestamp(erased.final_at)),
        medium_class: match erased.medium {
            MediumClass::File => v1::MediumClass::File,
            MediumClass::Hsm => v1::MediumClass::Hsm,
        }
        .into(),
        subject: match erased.subject {
            Subject::Customer => v1::ErasureSubject::Customer,
            Subject::Record => v1::ErasureSubject::Record,
            Subject::Tenant => v1::ErasureSubject::Tenant,
            Subject::Revision => v1::ErasureSubject::Revision,
        }
        .into(),
        provider: erased.provider,
        shares_device: erased.shares_device,
        lost_replicas: erased.lost_replicas,
        requested_by: erased.requested_by.to_string(),
        approved_by: erased.approved_by.map(|by| by.to_string()).unwrap_or_default(),
        kept_under: erased.kept_under.into_iter().map(|under| ground(under).into()).collect(),
        proof,
    }
}

/// What came of a step of a verification.
pub fn verified(verified: Verified, next_page_token: String) -> v1::VerifyRecordsResponse {
    let Verified { opened, erased, damaged, missing, frozen, named, damaged_rows, named_rows } = verified;
    let record = |(id, problem): (RecordId, &str)| v1::RecordProblem {
        record_id: id.to_string(),
        problem: problem.to_owned(),
        row: String::new(),
    };
    let row = |one: DamagedRow| v1::RecordProblem { record_id: String::new(), row: one.name(), problem: one.why };
    let problems = named.into_iter().map(record).chain(named_rows.into_iter().map(row)).collect();
    v1::VerifyRecordsResponse { opened, erased, damaged, missing, frozen, problems, next_page_token, damaged_rows }
}

fn ground(ground: Ground) -> v1::Ground {
    match ground {
        Ground::Expression => v1::Ground::Expression,
        Ground::LegalObligation => v1::Ground::LegalObligation,
        Ground::PublicHealth => v1::Ground::PublicHealth,
        Ground::Archiving => v1::Ground::Archiving,
        Ground::LegalClaims => v1::Ground::LegalClaims,
    }
}

/// An instant.
pub fn timestamp(instant: Timestamp) -> WireTimestamp {
    let seconds = i64::try_from(instant.as_ms() / 1_000).expect("the year 9999 is far below the range of i64");
    let nanos = i32::try_from(instant.as_ms() % 1_000 * 1_000_000).expect("below one thousand million");
    WireTimestamp { seconds, nanos }
}

fn settings(settings: TenantSettings) -> v1::TenantSettings {
    v1::TenantSettings {
        purposes: settings.purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect(),
        retention_default_days: settings.retention_default_days.unwrap_or(0),
        rule_set: settings.rule_set.name().to_owned(),
        teams: settings.teams.iter().map(|team| team.as_str().to_owned()).collect(),
        quotas: Some(quotas(settings.quotas)),
    }
}

fn quotas(quotas: Quotas) -> v1::Quotas {
    v1::Quotas {
        content_bytes: quotas.content_bytes.unwrap_or(0),
        records: quotas.records.unwrap_or(0),
        requests_per_second: quotas.requests_per_second.unwrap_or(0),
    }
}
