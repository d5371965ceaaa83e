//! Tenants, principals and tokens as documents and as text.

use serde::Serialize;

use crate::api::v1;
use crate::cli::names::Named as _;
use crate::cli::output::{self, Cell};
use crate::cli::time;

/// A tenant.
#[derive(Serialize)]
pub struct TenantView {
    name: String,
    suspended: bool,
    frozen: bool,
    created_at: Option<String>,
    settings: SettingsView,
    used_content_bytes: u64,
    used_records: u64,
}

#[derive(Serialize)]
struct SettingsView {
    purposes: Vec<String>,
    retention_default_days: u32,
    rule_set: String,
    teams: Vec<String>,
    quotas: QuotasView,
}

/// 0 means no limit, as in the API.
#[derive(Serialize)]
struct QuotasView {
    content_bytes: u64,
    records: u64,
    requests_per_second: u32,
}

impl From<v1::Tenant> for TenantView {
    fn from(tenant: v1::Tenant) -> Self {
        let settings = tenant.settings.unwrap_or_default();
        let quotas = settings.quotas.unwrap_or_default();
        Self {
            name: tenant.name,
            suspended: tenant.suspended,
            frozen: tenant.frozen,
            created_at: time::format_optional(tenant.created_at.as_ref()),
            settings: SettingsView {
                purposes: settings.purposes,
                retention_default_days: settings.retention_default_days,
                rule_set: settings.rule_set,
                teams: settings.teams,
                quotas: QuotasView {
                    content_bytes: quotas.content_bytes,
                    records: quotas.records,
                    requests_per_second: quotas.requests_per_second,
                },
            },
            used_content_bytes: tenant.used_content_bytes,
            used_records: tenant.used_records,
        }
    }
}

impl TenantView {
    /// The head of a table of tenants.
    pub const HEADER: &'static [Cell<'static>] = &[("TENANT", 24), ("STATE", 9), ("RECORDS", 10), ("BYTES", 0)];

    /// One row of that table.
    pub fn row(&self) -> String {
        let (records, bytes) = (self.used_records.to_string(), self.used_content_bytes.to_string());
        output::row(&[(&self.name, 24), (self.state(), 9), (&records, 10), (&bytes, 0)])
    }

    /// All that is known.
    pub fn text(&self) -> String {
        let settings = &self.settings;
        let days = settings.retention_default_days;
        output::fields(&[
            ("tenant", Some(self.name.clone())),
            ("state", Some(self.state().to_owned())),
            ("created", self.created_at.clone()),
            ("rule set", Some(settings.rule_set.clone())),
            ("purposes", Some(settings.purposes.join(", "))),
            ("teams", Some(settings.teams.join(", "))),
            ("retention", Some(if days == 0 { "until erased".to_owned() } else { format!("{days} days") })),
            ("bytes", Some(of(self.used_content_bytes, settings.quotas.content_bytes))),
            ("records", Some(of(self.used_records, settings.quotas.records))),
            ("calls a second", Some(limit(settings.quotas.requests_per_second.into()))),
        ])
    }

    fn state(&self) -> &'static str {
        match (self.suspended, self.frozen) {
            (true, _) => "suspended",
            (false, true) => "frozen",
            (false, false) => "active",
        }
    }
}

fn of(used: u64, quota: u64) -> String {
    format!("{used} ({})", limit(quota))
}

fn limit(quota: u64) -> String {
    if quota == 0 { "no limit".to_owned() } else { format!("at most {quota}") }
}

/// A principal.
#[derive(Serialize)]
pub struct PrincipalView {
    name: String,
    roles: Vec<String>,
    teams: Vec<String>,
    blocked: bool,
}

impl From<v1::Principal> for PrincipalView {
    fn from(principal: v1::Principal) -> Self {
        let roles = principal.roles.into_iter().map(v1::Role::name_of).collect();
        Self { name: principal.name, roles, teams: principal.teams, blocked: principal.blocked }
    }
}

impl PrincipalView {
    /// The head of a table of principals.
    pub const HEADER: &'static [Cell<'static>] = &[("PRINCIPAL", 24), ("ROLES", 24), ("TEAMS", 0)];

    /// One row of that table.
    pub fn row(&self) -> String {
        output::row(&[(&self.name, 24), (&self.roles.join(","), 24), (&self.teams.join(","), 0)])
    }

    /// All that is known.
    pub fn text(&self) -> String {
        output::fields(&[
            ("principal", Some(self.name.clone())),
            ("roles", Some(self.roles.join(", "))),
            ("teams", Some(self.teams.join(", "))),
            ("blocked", self.blocked.then(|| "yes: all its calls are refused".to_owned())),
        ])
    }
}

/// A token, without its secret.
#[derive(Serialize)]
pub struct TokenView {
    token_id: String,
    principal: String,
    created_at: Option<String>,
    expires_at: Option<String>,
    revoked: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_name: String,
}

impl From<v1::Token> for TokenView {
    fn from(token: v1::Token) -> Self {
        Self {
            token_id: token.token_id,
            principal: token.principal,
            created_at: time::format_optional(token.created_at.as_ref()),
            expires_at: time::format_optional(token.expires_at.as_ref()),
            revoked: token.revoked,
            certificate_name: token.certificate_name,
        }
    }
}

impl TokenView {
    /// The head of a table of tokens.
    pub const HEADER: &'static [Cell<'static>] = &[("TOKEN", 32), ("PRINCIPAL", 24), ("EXPIRES", 20), ("STATE", 0)];

    /// One row of that table.
    pub fn row(&self) -> String {
        let expires = self.expires_at.as_deref().unwrap_or("-");
        output::row(&[(&self.token_id, 32), (&self.principal, 24), (expires, 20), (self.state(), 0)])
    }

    /// All that is known.
    pub fn text(&self) -> String {
        output::fields(&[
            ("token", Some(self.token_id.clone())),
            ("principal", Some(self.principal.clone())),
            ("certificate", (!self.certificate_name.is_empty()).then(|| self.certificate_name.clone())),
            ("created", self.created_at.clone()),
            ("expires", self.expires_at.clone()),
            ("state", Some(self.state().to_owned())),
        ])
    }

    fn state(&self) -> &'static str {
        match (self.revoked, self.certificate_name.is_empty()) {
            (true, _) => "revoked",
            (false, true) => "valid",
            (false, false) => "valid, a certificate",
        }
    }
}

/// A new token.
#[derive(Serialize)]
pub struct NewTokenView<'a> {
    /// What is known about it.
    pub token: TokenView,
    /// The token itself; absent where it went to a file.
    pub bearer: Option<&'a str>,
}

impl NewTokenView<'_> {
    /// What is known, and the token.
    pub fn text(&self) -> String {
        let bearer =
            self.bearer.map(|bearer| format!("bearer     {bearer}\n           shown only here: keep it now\n"));
        format!("{}{}", self.token.text(), bearer.unwrap_or_default())
    }
}
