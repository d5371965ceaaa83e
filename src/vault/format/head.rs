//! The head of a record: the part of its row that is not sealed, so that who may read it is decided before anything is opened (a stated
//! case is compared by a mark that the record's secret makes). It is the context under which the metadata is sealed, so that a changed
//! head does not open.

use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{BlindIndex, Handle};
use crate::domain::record::RecordKind;

/// Version 1 had another mark of the case, see [`CaseMark::OfTenant`].
const VERSION: u8 = 2;
const WHAT: &str = "a record";

/// Where the sealed content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum ContentForm {
    /// Behind the metadata.
    Inline = 1,
    /// In objects; behind the metadata stands their sealed manifest.
    Parts = 2,
}

/// What tells whether a record is of a case that somebody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum CaseMark {
    /// The hash of the case's id under a key of the record's secret, with which it ends.
    OfRecord(BlindIndex),
    /// In heads of version 1: under the tenant's index key, which outlives the customer. Such a record has a row that finds it by the case.
    OfTenant(BlindIndex),
}

/// The head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Head {
    pub kind: RecordKind,
    pub form: ContentForm,
    pub handle: Handle,
    pub created: Timestamp,
    /// Bit *n* stands for the *n*-th purpose of the tenant.
    pub purposes: u64,
    pub team: Option<BlindIndex>,
    pub agent: Option<BlindIndex>,
    pub case: Option<CaseMark>,
    /// Length of the sealed metadata.
    pub metadata_bytes: u32,
    /// Length of the sealed content or manifest behind it.
    pub content_bytes: u32,
    /// Bytes of sealed content, wherever they stand: what the tenant's quota counts.
    pub stored_bytes: u64,
}

impl Head {
    /// Of no record: what is asked about a record that is not there is asked about this one, so that it takes as long.
    pub fn of_nobody() -> Self {
        Self {
            kind: RecordKind::Transcript,
            form: ContentForm::Inline,
            handle: Handle([0; 16]),
            created: Timestamp::now(),
            purposes: 1,
            team: Some(BlindIndex([0; 16])),
            agent: None,
            case: None,
            metadata_bytes: 0,
            content_bytes: 0,
            stored_bytes: 0,
        }
    }

    /// By what it is found.
    pub fn found_by(&self) -> impl Iterator<Item = BlindIndex> {
        let case = match self.case {
            Some(CaseMark::OfTenant(index)) => Some(index),
            _ => None,
        };
        [case, self.agent].into_iter().flatten()
    }

    pub fn encode(&self) -> Vec<u8> {
        let blind = |w: Writer, index: BlindIndex| w.fixed(&index.0);
        let (version, case) = match self.case {
            None => (VERSION, None),
            Some(CaseMark::OfRecord(mark)) => (VERSION, Some(mark)),
            Some(CaseMark::OfTenant(mark)) => (1, Some(mark)),
        };
        Writer::versioned(version)
            .u8(self.kind as u8)
            .u8(self.form as u8)
            .fixed(&self.handle.0)
            .u64(self.created.as_ms())
            .u64(self.purposes)
            .option(self.team, blind)
            .option(self.agent, blind)
            .option(case, blind)
            .u32(self.metadata_bytes)
            .u32(self.content_bytes)
            .u64(self.stored_bytes)
            .finish()
            .to_vec()
    }

    /// Reads the head at the beginning of a record's row, and how many bytes it takes.
    pub fn decode(stored: &[u8]) -> Result<(Self, usize), Decode> {
        let (mut reader, version) = Reader::versioned(WHAT, stored, VERSION)?;
        let damaged = || Decode::Damaged { what: WHAT };
        let blind = |r: &mut Reader<'_>| Ok(BlindIndex(r.array()?));
        let head = Self {
            kind: RecordKind::from_code(reader.u8()?).ok_or_else(damaged)?,
            form: match reader.u8()? {
                1 => ContentForm::Inline,
                2 => ContentForm::Parts,
                _ => return Err(damaged()),
            },
            handle: Handle(reader.array()?),
            created: Timestamp::from_ms(reader.u64()?).ok_or_else(damaged)?,
            purposes: reader.u64()?,
            team: reader.option(blind)?,
            agent: reader.option(blind)?,
            case: reader.option(blind)?.map(if version < VERSION { CaseMark::OfTenant } else { CaseMark::OfRecord }),
            metadata_bytes: reader.u32()?,
            content_bytes: reader.u32()?,
            stored_bytes: reader.u64()?,
        };
        Ok((head, stored.len() - reader.rest().len()))
    }
}
