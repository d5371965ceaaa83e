//! Entries of the ledger as documents and as text.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{self, Cell};
use crate::cli::time;
use crate::domain::codec::hex;

/// An entry.
#[derive(Serialize)]
pub struct EntryView {
    position: u64,
    entered_at: Option<String>,
    event: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    principal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    principal_alias: String,
    tenant_id: String,
    fields: BTreeMap<String, String>,
    entry: String,
}

impl From<v1::LogEntry> for EntryView {
    fn from(entry: v1::LogEntry) -> Self {
        Self {
            position: entry.position,
            entered_at: time::format_optional(entry.entered_at.as_ref()),
            event: entry.event,
            action: entry.action,
            principal: entry.principal,
            principal_alias: entry.principal_alias,
            tenant_id: entry.tenant_id,
            fields: entry.fields.into_iter().collect(),
            entry: hex(&entry.entry),
        }
    }
}

impl EntryView {
    /// The head of the table.
    pub const HEADER: &'static [Cell<'static>] =
        &[("POSITION", 10), ("ENTERED", 26), ("EVENT", 14), ("ACTION", 20), ("PRINCIPAL", 20), ("WHAT", 0)];

    /// A row of the table.
    pub fn row(&self) -> String {
        let position = self.position.to_string();
        let who = if self.principal.is_empty() { &self.principal_alias } else { &self.principal };
        let what: Vec<_> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        output::row(&[
            (&position, 10),
            (self.entered_at.as_deref().unwrap_or_default(), 26),
            (&self.event, 14),
            (&self.action, 20),
            (who, 20),
            (&what.join(" "), 0),
        ])
    }
}
