#![doc = include_str!("../../docs/rows.md")]
