//! Records: what the platform hands over, and what it gets back.

use std::fmt;

use zeroize::Zeroizing;

use super::clock::Timestamp;
use super::grant::Grants;
use super::ids::{CaseId, CustomerId, Handle, PrincipalName, Purpose, RecordId, Revision, Tag, TeamName, TenantId};
use super::sensitive::{SpokenSpan, TextSpan};

/// What a record is. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A chat transcript.
    Transcript = 1,
    /// A call recording.
    Recording = 2,
}

/// Who speaks in a turn. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Speaker {
    /// The customer.
    Customer = 1,
    /// The human agent.
    Agent = 2,
    /// An automatic agent.
    Bot = 3,
    /// The platform.
    System = 4,
}

/// The way the contact came about. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Web or in-app chat.
    Chat = 1,
    /// Telephone.
    Voice = 2,
    /// E-mail.
    Email = 3,
    /// SMS or a messaging app.
    Messaging = 4,
    /// Video call.
    Video = 5,
}

/// The ground in law on which a record is kept: GDPR Article 6(1) (a) to (f). The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LegalBasis {
    /// (a)
    Consent = 1,
    /// (b)
    Contract = 2,
    /// (c)
    LegalObligation = 3,
    /// (d)
    VitalInterests = 4,
    /// (e)
    PublicTask = 5,
    /// (f)
    LegitimateInterests = 6,
}

/// Gives an enum with stored numbers its way back from the number.
macro_rules! from_code {
    ($type:ident: $($variant:ident),+) => {
        impl $type {
            /// The value with this stored number.
            pub fn from_code(code: u8) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|value| *value as u8 == code)
            }
        }
    };
}

from_code!(RecordKind: Transcript, Recording);
from_code!(Speaker: Customer, Agent, Bot, System);
from_code!(Channel: Chat, Voice, Email, Messaging, Video);
from_code!(LegalBasis: Consent, Contract, LegalObligation, VitalInterests, PublicTask, LegitimateInterests);

/// What the platform says about a record, but for the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The channel of the contact.
    pub channel: Channel,
    /// BCP 47 language tag.
    pub language: Option<String>,
    /// The agent who handled it.
    pub agent: Option<PrincipalName>,
    /// The support case.
    pub case_id: Option<CaseId>,
    /// The team that owns it.
    pub team: Option<TeamName>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What it may be read for.
    pub purposes: Vec<Purpose>,
    /// The ground in law.
    pub legal_basis: LegalBasis,
    /// Free labels.
    pub tags: Vec<Tag>,
}

impl Details {
    /// The most purposes of one record.
    pub const MAX_PURPOSES: usize = 16;
    /// The most labels of one record.
    pub const MAX_TAGS: usize = 32;
    /// The longest language tag.
    pub const MAX_LANGUAGE_BYTES: usize = 35;
    /// The longest media type.
    pub const MAX_MEDIA_TYPE_BYTES: usize = 127;
}

/// One utterance. Its text is wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub speaker: Speaker,
    /// When.
    pub said: Option<Timestamp>,
    /// What.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn(..)")
    }
}

/// Limits of a chat.
pub struct TranscriptLimits;

impl TranscriptLimits {
    /// The most turns.
    pub const MAX_TURNS: usize = 10_000;
    /// The most bytes in one turn's text.
    pub const MAX_TURN_BYTES: usize = 64 * 1024;
    /// The most bytes in all texts. With 10,000 turns' frames it still fits an answer of 1 MiB.
    pub const MAX_TEXT_BYTES: usize = 768 * 1024;
}

/// A chat to be stored.
#[derive(Debug)]
pub struct NewTranscript {
    /// Whose it is.
    pub customer: CustomerId,
    /// What the platform says about it.
    pub details: Details,
    /// The turns in order.
    pub turns: Vec<Turn>,
    /// What the platform marks as sensitive, in order, without overlap, each within its turn's text.
    pub marked: Vec<TextSpan>,
}

/// A recording to be stored; its content follows.
#[derive(Debug)]
pub struct NewRecording {
    /// Whose it is.
    pub customer: CustomerId,
    /// What the platform says about it.
    pub details: Details,
    /// Media type of the content.
    pub media_type: String,
    /// What is sensitive in it and when it is spoken, as the platform says.
    pub spoken: Vec<SpokenSpan>,
    /// What its content must hash to (SHA-256), where given.
    pub expected_sha256: Option<[u8; 32]>,
}

/// A stored record, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: RecordId,
    /// Its revision.
    pub revision: Revision,
    /// What it is.
    pub kind: RecordKind,
    /// Whose it is.
    pub customer: CustomerId,
    /// What the platform said about it.
    pub details: Details,
    /// When it was stored.
    pub created: Timestamp,
    /// Length of the content in bytes.
    pub content_bytes: u64,
    /// SHA-256 of a recording's octets.
    pub content_sha256: Option<[u8; 32]>,
    /// Media type of a recording.
    pub media_type: Option<String>,
    /// What is sensitive in a recording, and when it is spoken.
    pub spoken: Vec<SpokenSpan>,
}

/// What can be known about a record before its metadata and content are opened: enough to decide who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFacts {
    /// The tenant that owns it.
    pub tenant: TenantId,
    /// Its id.
    pub id: RecordId,
    /// The revision that it is about.
    pub revision: Revision,
    /// What it is.
    pub kind: RecordKind,
    /// The customer's handle.
    pub handle: Handle,
    /// The record's team, where the caller is in it; otherwise not told.
    pub callers_team: Option<TeamName>,
    /// Whether the caller is the agent who handled it.
    pub handled_by_caller: bool,
    /// Whether it belongs to the case that the caller states.
    pub is_of_stated_case: bool,
    /// What lets the caller read this customer's records beyond a role.
    pub grants: Grants,
    /// What it may be read for.
    pub purposes: Vec<Purpose>,
}

/// Which records a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFilter {
    /// By what they are found.
    pub by: FindBy,
    /// Only those that began at this time or later.
    pub started_from: Option<Timestamp>,
    /// Only those that began before this time.
    pub started_before: Option<Timestamp>,
}

/// By what records are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindBy {
    /// All of the tenant's.
    Tenant,
    /// A customer's.
    Customer(CustomerId),
    /// Those of a customer that are of a case.
    Case(CustomerId, CaseId),
    /// Those that an agent handled.
    Agent(PrincipalName),
}

/// A span of bytes that lies within a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSpan {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
}
