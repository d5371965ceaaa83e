//! `oubliette tenant`: creates tenants, changes and suspends them.

use std::path::PathBuf;

use crate::api::v1;
use crate::cli::client::Client;
use crate::cli::errors::CliError;
use crate::cli::output::Output;
use crate::cli::pages::{self, PageArgs, Shape};
use crate::cli::{customer, files, time};

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

const FREEZE_EXAMPLES: &str = "Downloads that run end at once. Storing and erasing go on.

Example:
  oubliette tenant freeze";

const UNFREEZE_EXAMPLES: &str = "Example:
  oubliette tenant unfreeze";

const ERASE_EXAMPLES: &str = "Erases a tenant with all customers and records. One admin asks for it; after limits.tenant_erasure_delay_minutes another admin
approves it, and only then it happens. It cannot be taken back, not even from a backup, and the name is never given again.

Examples:
  oubliette tenant erase acme
  oubliette tenant erase acme --cancel
  oubliette tenant erase acme --approve --receipt acme.tlog-proof";

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
    /// Stop all reading of a tenant's content at once
    #[command(after_help = FREEZE_EXAMPLES)]
    Freeze {
        /// Its name [default: the caller's own]
        name: Option<String>,
    },
    /// Let reading go on
    #[command(after_help = UNFREEZE_EXAMPLES)]
    Unfreeze {
        /// Its name [default: the caller's own]
        name: Option<String>,
    },
    /// Ask for the erasure of a whole tenant, take that back, or approve what another admin asked for
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseTenantArgs),
    /// Allow the calls of a suspended tenant again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// Its name
        name: String,
    },
}

/// Which tenant to erase, and which step.
#[derive(clap::Args)]
pub struct EraseTenantArgs {
    /// Its name
    pub name: String,
    /// Take the request back
    #[arg(long, conflicts_with = "approve")]
    pub cancel: bool,
    /// Carry out what another admin asked for
    #[arg(long)]
    pub approve: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// A name for this request, for a safe repeat [default: a random one, printed]
    #[arg(long, value_name = "ID", requires = "approve")]
    pub request_id: Option<String>,
    /// Write the receipt, as a file that anyone can check, to this file
    #[arg(long, value_name = "FILE", requires = "approve")]
    pub receipt: Option<PathBuf>,
}

impl EraseTenantArgs {
    /// Asks the person at the terminal to type the tenant's name before anything is destroyed, unless told not to.
    pub fn confirm(&self) -> Result<(), CliError> {
        customer::confirm(self.yes || !self.approve, "every key of the tenant", "the tenant's name", &self.name)
    }
}

async fn erase(client: &Client, args: EraseTenantArgs, output: &mut Output) -> Result<(), CliError> {
    let EraseTenantArgs { name, cancel, approve, request_id, receipt, .. } = args;
    if cancel {
        client.cancel_tenant_erasure(v1::CancelTenantErasureRequest { name }).await?;
        return output.result(&serde_json::json!({ "cancelled": true }), |_| "The request is taken back.\n".to_owned());
    }
    if !approve {
        let asked = client.request_tenant_erasure(v1::RequestTenantErasureRequest { name }).await?;
        let at = asked.approvable_at.as_ref().map(time::format).unwrap_or_default();
        let text =
            |_: &serde_json::Value| format!("Nothing is erased yet. From {at} on another admin can approve it.\n");
        return output.result(&serde_json::json!({ "approvable_at": at }), text);
    }
    let request_id = files::request_id(request_id.as_deref())?;
    let file = receipt.as_deref().map(files::NewFile::create).transpose()?;
    let request = v1::ApproveTenantErasureRequest { request_id: request_id.clone(), name };
    let answer = client.approve_tenant_erasure(request).await.map_err(|error| error.of_request(&request_id))?;
    customer::show_receipt(answer.receipt, answer.opening, file, output).await
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
        TenantCommand::Erase(args) => return erase(client, args, output).await,
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
        TenantCommand::Freeze { name } => {
            client.freeze_tenant(v1::FreezeTenantRequest { name: name.unwrap_or_default() }).await?
        }
        TenantCommand::Unfreeze { name } => {
            client.unfreeze_tenant(v1::UnfreezeTenantRequest { name: name.unwrap_or_default() }).await?
        }
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
