//! The API's messages as documents with stable names (JSON) and as short text. Times are RFC 3339, hashes hexadecimal, absent
//! values `null`.

use serde::Serialize;

use super::names::Named as _;
use super::output::{self, Cell};
use super::time;
use crate::api::v1;
use crate::domain::codec::hex;

/// A record.
#[derive(Serialize)]
pub struct RecordView {
    record_id: String,
    revision: u32,
    kind: String,
    details: DetailsView,
    created_at: Option<String>,
    content_bytes: u64,
    content_sha256: Option<String>,
    media_type: Option<String>,
}

#[derive(Serialize)]
struct DetailsView {
    customer_id: String,
    channel: String,
    language: Option<String>,
    agent: Option<String>,
    case_id: Option<String>,
    team: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    purposes: Vec<String>,
    legal_basis: String,
    tags: Vec<String>,
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<v1::Record> for RecordView {
    fn from(record: v1::Record) -> Self {
        Self {
            kind: v1::RecordKind::name_of(record.kind),
            record_id: record.record_id,
            revision: record.revision,
            details: record.details.unwrap_or_default().into(),
            created_at: time::format_optional(record.created_at.as_ref()),
            content_bytes: record.content_bytes,
            content_sha256: present(hex(&record.content_sha256)),
            media_type: present(record.media_type),
        }
    }
}

impl From<v1::RecordDetails> for DetailsView {
    fn from(details: v1::RecordDetails) -> Self {
        Self {
            channel: v1::Channel::name_of(details.channel),
            legal_basis: v1::LegalBasis::name_of(details.legal_basis),
            customer_id: details.customer_id,
            language: present(details.language),
            agent: present(details.agent),
            case_id: present(details.case_id),
            team: present(details.team),
            started_at: time::format_optional(details.started_at.as_ref()),
            ended_at: time::format_optional(details.ended_at.as_ref()),
            purposes: details.purposes,
            tags: details.tags,
        }
    }
}

impl RecordView {
    /// The head of a table of records.
    pub const HEADER: &'static [Cell<'static>] =
        &[("RECORD", 36), ("KIND", 10), ("STARTED", 20), ("BYTES", 11), ("CASE", 12), ("AGENT", 0)];

    /// One row of that table.
    pub fn row(&self) -> String {
        let details = &self.details;
        output::row(&[
            (&self.record_id, 36),
            (&self.kind, 10),
            (details.started_at.as_deref().unwrap_or("-"), 20),
            (&self.content_bytes.to_string(), 11),
            (details.case_id.as_deref().unwrap_or("-"), 12),
            (details.agent.as_deref().unwrap_or("-"), 0),
        ])
    }

    /// All that is known, one value a line.
    pub fn text(&self) -> String {
        let details = &self.details;
        output::fields(&[
            ("record", Some(self.record_id.clone())),
            ("revision", Some(self.revision.to_string())),
            ("kind", Some(self.kind.clone())),
            ("customer", Some(details.customer_id.clone())),
            ("channel", Some(details.channel.clone())),
            ("language", details.language.clone()),
            ("agent", details.agent.clone()),
            ("case", details.case_id.clone()),
            ("team", details.team.clone()),
            ("started", details.started_at.clone()),
            ("ended", details.ended_at.clone()),
            ("purposes", Some(details.purposes.join(", "))),
            ("legal basis", Some(details.legal_basis.clone())),
            ("tags", Some(details.tags.join(", "))),
            ("stored", self.created_at.clone()),
            ("bytes", Some(self.content_bytes.to_string())),
            ("sha256", self.content_sha256.clone()),
            ("media type", self.media_type.clone()),
        ])
    }
}

/// A record that was just stored.
#[derive(Serialize)]
pub struct StoredView {
    /// The name of the request, for a safe repeat.
    pub request_id: String,
    /// What was stored.
    pub record: RecordView,
}

impl StoredView {
    /// What was stored, and by which request.
    pub fn text(&self) -> String {
        output::fields(&[
            ("stored", Some(self.record.record_id.clone())),
            ("revision", (self.record.revision > 1).then(|| self.record.revision.to_string())),
            ("bytes", Some(self.record.content_bytes.to_string())),
            ("sha256", self.record.content_sha256.clone()),
        ])
    }
}

/// A chat.
#[derive(Serialize)]
pub struct ChatView {
    record: RecordView,
    turns: Vec<TurnView>,
}

#[derive(Serialize)]
struct TurnView {
    speaker: String,
    at: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sensitive: Vec<SensitiveView>,
}

#[derive(Serialize)]
struct SensitiveView {
    start: u32,
    end: u32,
    kind: String,
    masked: bool,
}

impl From<v1::SensitiveSpan> for SensitiveView {
    fn from(span: v1::SensitiveSpan) -> Self {
        let v1::SensitiveSpan { start, end, kind, masked } = span;
        Self { start, end, kind: v1::SensitiveKind::name_of(kind), masked }
    }
}

impl From<v1::Turn> for TurnView {
    fn from(turn: v1::Turn) -> Self {
        Self {
            speaker: v1::Speaker::name_of(turn.speaker),
            at: time::format_optional(turn.said_at.as_ref()),
            text: turn.text,
            sensitive: turn.sensitive.into_iter().map(SensitiveView::from).collect(),
        }
    }
}

impl ChatView {
    /// From what is known about the record, and its turns.
    pub fn new(record: v1::Record, turns: Vec<v1::Turn>) -> Self {
        Self { record: record.into(), turns: turns.into_iter().map(TurnView::from).collect() }
    }

    /// What is known, then the turns; a turn of several lines is indented.
    pub fn text(&self) -> String {
        let mut text = self.record.text();
        for turn in &self.turns {
            text.push('\n');
            if let Some(at) = &turn.at {
                text.push_str(at);
                text.push_str("  ");
            }
            text.push_str(&turn.speaker);
            text.push_str(":\n");
            for line in turn.text.lines() {
                text.push_str(&format!("  {}\n", output::printable(line)));
            }
        }
        text
    }
}

/// A recording that was just read.
#[derive(Serialize)]
pub struct FetchedView {
    /// What is known about it.
    pub record: RecordView,
    /// The first byte that was read.
    pub offset: u64,
    /// How many bytes were read.
    pub length: u64,
    /// SHA-256 of these bytes.
    pub sha256: String,
    /// How many spans were silenced, since the caller may not hear them.
    pub silenced: usize,
}

impl FetchedView {
    /// What was read.
    pub fn text(&self) -> String {
        output::fields(&[
            ("record", Some(self.record.record_id.clone())),
            ("media type", self.record.media_type.clone()),
            ("bytes", Some(format!("{} from {}", self.length, self.offset))),
            ("sha256", Some(self.sha256.clone())),
            ("silenced", (self.silenced > 0).then(|| format!("{} spans, which you may not hear", self.silenced))),
        ])
    }
}

/// What lost replicas of the root key mean, in words.
pub fn lost_words(count: u32) -> String {
    format!("{count} of earlier root keys: whoever finds one opens images of its time")
}

/// A receipt.
#[derive(Serialize)]
pub struct ReceiptView {
    receipt_id: String,
    subject: String,
    tenant: String,
    epoch: u64,
    final_at: Option<String>,
    provider: String,
    medium_class: String,
    shares_device: bool,
    lost_replicas: u32,
    requested_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    approved_by: String,
    kept_under: Vec<String>,
    proof: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
}

impl From<v1::ErasureReceipt> for ReceiptView {
    fn from(receipt: v1::ErasureReceipt) -> Self {
        Self {
            medium_class: v1::MediumClass::name_of(receipt.medium_class),
            subject: v1::ErasureSubject::name_of(receipt.subject),
            kept_under: receipt.kept_under.into_iter().map(v1::Ground::name_of).collect(),
            receipt_id: receipt.receipt_id,
            tenant: receipt.tenant,
            epoch: receipt.epoch,
            final_at: time::format_optional(receipt.final_at.as_ref()),
            provider: receipt.provider,
            shares_device: receipt.shares_device,
            lost_replicas: receipt.lost_replicas,
            requested_by: receipt.requested_by,
            approved_by: receipt.approved_by,
            proof: receipt.proof,
            opening: None,
        }
    }
}

impl ReceiptView {
    /// The head of a table of receipts.
    pub const HEADER: &'static [Cell<'static>] =
        &[("RECEIPT", 32), ("ERASED", 10), ("FINAL", 24), ("EPOCH", 8), ("KEPT", 0)];

    /// The receipt with what shows whom it is about.
    #[must_use]
    pub fn with_opening(self, opening: String) -> Self {
        Self { opening: Some(opening), ..self }
    }

    /// The receipt as a file that can be checked offline.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// One row of the table.
    pub fn row(&self) -> String {
        let (final_at, epoch) = (self.final_at.as_deref().unwrap_or("-"), self.epoch.to_string());
        let kept = if self.kept_under.is_empty() { "nothing".to_owned() } else { self.kept_under.join(", ") };
        output::row(&[(&self.receipt_id, 32), (&self.subject, 10), (final_at, 24), (&epoch, 8), (&kept, 0)])
    }

    /// All that it states.
    pub fn text(&self) -> String {
        let partly = || format!("in part only; kept under {}", self.kept_under.join(", "));
        let device = if self.shares_device { ", on the device of the data" } else { "" };
        output::fields(&[
            ("erased", self.final_at.clone()),
            ("what", Some(self.subject.clone())),
            ("partial", (!self.kept_under.is_empty()).then(partly)),
            ("receipt", Some(self.receipt_id.clone())),
            ("tenant", Some(self.tenant.clone())),
            ("epoch", Some(self.epoch.to_string())),
            ("root key", Some(format!("{} ({}{device})", self.provider, self.medium_class))),
            ("lost replicas", (self.lost_replicas > 0).then(|| lost_words(self.lost_replicas))),
            ("asked for by", Some(self.requested_by.clone())),
            ("approved by", (!self.approved_by.is_empty()).then(|| self.approved_by.clone())),
            (
                "opening",
                self.opening.as_ref().map(|opening| format!("{opening} (shows whom it is about: shown only now)")),
            ),
        ])
    }
}
