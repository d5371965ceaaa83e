//! What the platform said about a record; stored sealed.

use zeroize::Zeroizing;

use crate::domain::Invalid;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{CaseId, PrincipalName, Tag, TeamName};
use crate::domain::record::{Channel, LegalBasis};
use crate::domain::sensitive::{SensitiveKind, SpokenSpan, TimeSpan};

/// Since version 2 it says what is sensitive in a recording.
const VERSION: u8 = 2;
const WHAT: &str = "a record's metadata";

/// Everything known about a record but its customer (in the profile) and its purposes (in the head).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Metadata {
    pub channel: Channel,
    pub language: Option<String>,
    pub agent: Option<PrincipalName>,
    pub case_id: Option<CaseId>,
    pub team: Option<TeamName>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub legal_basis: LegalBasis,
    pub tags: Vec<Tag>,
    pub content_bytes: u64,
    pub content_sha256: Option<[u8; 32]>,
    pub media_type: Option<String>,
    pub spoken: Vec<SpokenSpan>,
}

impl Metadata {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION)
            .u8(self.channel as u8)
            .option(self.language.as_deref(), Writer::text)
            .option(self.agent.as_ref(), |w, agent| w.text(agent.as_str()))
            .option(self.case_id.as_ref(), |w, case| w.text(case.as_str()))
            .option(self.team.as_ref(), |w, team| w.text(team.as_str()))
            .u64(self.started.as_ms())
            .option(self.ended, |w, ended| w.u64(ended.as_ms()))
            .u8(self.legal_basis as u8)
            .list(self.tags.iter(), |w, tag| w.text(tag.as_str()))
            .u64(self.content_bytes)
            .option(self.content_sha256.as_ref(), |w, hash| w.fixed(hash))
            .option(self.media_type.as_deref(), Writer::text)
            .list(self.spoken.iter(), |w, one| w.u64(one.time.start_ms).u64(one.time.end_ms).u8(one.kind as u8))
            .finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, version) = Reader::versioned(WHAT, plain, VERSION)?;
        let metadata = Self {
            channel: known(Channel::from_code(r.u8()?))?,
            language: r.option(|r| Ok(r.text()?.to_owned()))?,
            agent: r.option(|r| parsed(PrincipalName::parse(r.text()?)))?,
            case_id: r.option(|r| parsed(CaseId::parse(r.text()?)))?,
            team: r.option(|r| parsed(TeamName::parse(r.text()?)))?,
            started: known(Timestamp::from_ms(r.u64()?))?,
            ended: r.option(|r| known(Timestamp::from_ms(r.u64()?)))?,
            legal_basis: known(LegalBasis::from_code(r.u8()?))?,
            tags: r.list(|r| parsed(Tag::parse(r.text()?)))?,
            content_bytes: r.u64()?,
            content_sha256: r.option(Reader::array)?,
            media_type: r.option(|r| Ok(r.text()?.to_owned()))?,
            spoken: if version < 2 { Vec::new() } else { r.list(spoken)? },
        };
        r.end()?;
        Ok(metadata)
    }
}

fn spoken(r: &mut Reader<'_>) -> Result<SpokenSpan, Decode> {
    let time = TimeSpan { start_ms: r.u64()?, end_ms: r.u64()? };
    Ok(SpokenSpan { time, kind: known(SensitiveKind::from_code(r.u8()?))? })
}

fn known<T>(value: Option<T>) -> Result<T, Decode> {
    value.ok_or(Decode::Damaged { what: WHAT })
}

fn parsed<T>(value: Result<T, Invalid>) -> Result<T, Decode> {
    known(value.ok())
}
