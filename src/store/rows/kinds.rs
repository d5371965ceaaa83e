//! The list of all kinds of rows, for those who must treat each of them.

use super::Kind;

impl Kind {
    /// Every kind, in the order of their bytes.
    pub const ALL: [Self; 39] = [
        Self::Format,
        Self::Root,
        Self::Page,
        Self::Position,
        Self::Deciding,
        Self::PageDigest,
        Self::Record,
        Self::Secret,
        Self::Profile,
        Self::Upload,
        Self::Segment,
        Self::Assignment,
        Self::Glass,
        Self::Index,
        Self::Request,
        Self::Tombstone,
        Self::Erasing,
        Self::Reclaim,
        Self::Duty,
        Self::Receipt,
        Self::ErasureRequest,
        Self::ReclaimRecord,
        Self::Erasures,
        Self::ReclaimPages,
        Self::TenantErasure,
        Self::RefusedJob,
        Self::Ledger,
        Self::Subtree,
        Self::LogKey,
        Self::Token,
        Self::Principal,
        Self::Tenant,
        Self::Usage,
        Self::TokenOf,
        Self::Seen,
        Self::Reads,
        Self::ErasedBy,
        Self::Approval,
        Self::Approved,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the enum from its file: a kind that is added and not listed fails.
    #[test]
    fn every_kind_of_row_is_listed() {
        let source = include_str!("../rows.rs");
        let (_, from_enum) = source.split_once("pub enum Kind {").unwrap();
        let (body, _) = from_enum.split_once("\n}").unwrap();
        let mut declared: Vec<u8> = body
            .lines()
            .filter_map(|line| line.trim().split_once(" = 0x"))
            .map(|(_, byte)| u8::from_str_radix(byte.trim_end_matches(','), 16).unwrap())
            .collect();
        declared.sort_unstable();
        let listed: Vec<u8> = Kind::ALL.iter().map(|kind| *kind as u8).collect();
        assert_eq!(listed, declared);
    }
}
