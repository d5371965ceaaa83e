//! `oubliette tenant`: creates tenants, changes and suspends them.

use crate::api::v1;
use crate::cli::client::Client;
use crate::cli::errors::CliError;
use crate::cli::output::Output;
use crate::cli::pages::{self, PageArgs, Shape};

use super::views::TenantView;

const CREATE_EXAMPLES: &str = "Example:
  oubliette tenant create acme --purpose support --purpose audit --team billing --quota-records 1000000";

const SET_EXAMPLES: &str =
    "What no flag names stays as it is. Purposes are added, never removed: stored records name them.

Examples:
  oubliette tenant set --purpose training --team sales
  oubliette tenant set acme --quota-rps 200";

const SHOW_EXAMPLES: &str = "Examples:
  oubliette tenant show
  oubliette tenant show acme --json";

const LIST_EXAMPLES: &str = "Example:
  oubliette tenant list --all";

const SUSPEND_EXAMPLES: &str = "Example:
  oubliette tenant suspend acme";

const RESUME_EXAMPLES: &str = "Example:
  oubliette tenant resume acme";

/// What to do with tenants.
#[derive(clap::Subcommand)]
pub enum TenantCommand {
    /// Create a tenant
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Its name
        name: String,
        /// Its settings.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Show a tenant's settings and usage
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its name [default: the caller's own]
        name: Option<String>,
    },
    /// List the tenants
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Change a tenant's settings
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// Its name [default: the caller's own]
        name: Option<String>,
        /// What to change.
        #[command(flatten)]
        settings: SettingsArgs,
        /// A team to take away; may be repeated
        #[arg(long, value_name = "TEAM")]
        remove_team: Vec<String>,
    },
    /// Refuse every call of a tenant's principals
    #[command(after_help = SUSPEND_EXAMPLES)]
    Suspend {
        /// Its name
        name: String,
    },
    /// Allow the calls of a suspended tenant again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// Its name
        name: String,
    },
}

/// Settings; for quotas and retention, 0 means no limit.
#[derive(clap::Args, Default)]
pub struct SettingsArgs {
    /// A purpose for which records may be read; may be repeated
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<String>,
    /// A team; may be repeated
    #[arg(long = "team", value_name = "TEAM")]
    teams: Vec<String>,
    /// The rules for customers' rights [default of a new tenant: gdpr]
    #[arg(long, value_parser = ["gdpr", "ccpa"])]
    rule_set: Option<String>,
    /// For how many days records are kept; 0: until they are erased
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(..=36_500))]
    retention_days: Option<u32>,
    /// The most bytes of sealed content; 0: no limit
    #[arg(long, value_name = "BYTES")]
    quota_bytes: Option<u64>,
    /// The most records; 0: no limit
    #[arg(long, value_name = "N")]
    quota_records: Option<u64>,
    /// The most calls a second; 0: no limit
    #[arg(long, value_name = "N")]
    quota_rps: Option<u32>,
}

impl SettingsArgs {
    /// `settings` with what the flags add or replace.
    fn over(self, mut settings: v1::TenantSettings) -> v1::TenantSettings {
        add(&mut settings.purposes, self.purposes);
        add(&mut settings.teams, self.teams);
        let quotas = settings.quotas.get_or_insert_default();
        replace(&mut quotas.content_bytes, self.quota_bytes);
        replace(&mut quotas.records, self.quota_records);
        replace(&mut quotas.requests_per_second, self.quota_rps);
        replace(&mut settings.rule_set, self.rule_set);
        replace(&mut settings.retention_default_days, self.retention_days);
        settings
    }
}

fn add(list: &mut Vec<String>, names: Vec<String>) {
    for name in names {
        if !list.contains(&name) {
            list.push(name);
        }
    }
}

fn replace<T>(value: &mut T, by: Option<T>) {
    if let Some(by) = by {
        *value = by;
    }
}

/// Runs the command.
pub async fn run(client: &Client, command: TenantCommand, output: &mut Output) -> Result<(), CliError> {
    let tenant = match command {
        TenantCommand::List { page } => return list(client, &page, output).await,
        TenantCommand::Create { name, settings } => {
            let fresh = v1::TenantSettings { rule_set: "gdpr".to_owned(), ..v1::TenantSettings::default() };
            let settings = Some(settings.over(fresh));
            client.create_tenant(v1::CreateTenantRequest { name, settings }).await?
        }
        TenantCommand::Show { name } => {
            client.get_tenant(v1::GetTenantRequest { name: name.unwrap_or_default() }).await?
        }
        TenantCommand::Set { name, settings, remove_team } => {
            set(client, name.unwrap_or_default(), settings, &remove_team).await?
        }
        TenantCommand::Suspend { name } => client.suspend_tenant(v1::SuspendTenantRequest { name }).await?,
        TenantCommand::Resume { name } => client.resume_tenant(v1::ResumeTenantRequest { name }).await?,
    };
    output.result(&TenantView::from(tenant), TenantView::text)
}

/// The API replaces settings whole, so what no flag names is read first.
async fn set(
    client: &Client,
    name: String,
    changes: SettingsArgs,
    remove_team: &[String],
) -> Result<v1::Tenant, CliError> {
    let now = client.get_tenant(v1::GetTenantRequest { name: name.clone() }).await?;
    let mut settings = changes.over(now.settings.unwrap_or_default());
    settings.teams.retain(|team| !remove_team.contains(team));
    client.update_tenant_settings(v1::UpdateTenantSettingsRequest { name, settings: Some(settings) }).await
}

async fn list(client: &Client, page: &PageArgs, output: &mut Output) -> Result<(), CliError> {
    let shape = Shape { name: "tenants", header: TenantView::HEADER, row: TenantView::row };
    pages::list(page, output, shape, async |page_size, page_token| {
        let answer = client.list_tenants(v1::ListTenantsRequest { page_size, page_token }).await?;
        Ok((answer.tenants.into_iter().map(TenantView::from).collect(), answer.next_page_token))
    })
    .await
}
