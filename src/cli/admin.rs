//! `oubliette tenant`, `principal` and `token`: the set-up of tenants and of those who may call.

use std::path::PathBuf;

use prost_types::Timestamp;

use super::client::Client;
use super::errors::CliError;
use super::files;
use super::names::Named as _;
use super::output::Output;
use super::pages::{self, PageArgs, Shape};
use super::time;
use crate::api::v1;
use crate::domain::clock;

mod tenant;
mod views;

pub use tenant::{TenantCommand, run as run_tenant};
use views::{NewTokenView, PrincipalView, TokenView};

/// Milliseconds in a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The longest life of a token: ten years.
const MAX_TOKEN_DAYS: i64 = 3650;

const SET_EXAMPLES: &str = "Examples:
  oubliette principal set kim --role agent --team billing
  oubliette principal set loader --tenant acme --role ingest";

const CREATE_EXAMPLES: &str = "The token is shown once; the service keeps only a hash of it.

Examples:
  oubliette token create kim --days 30 --output kim.token
  oubliette token create loader --tenant acme --json";

const BIND_EXAMPLES: &str = "Only admins of `system` may. `oubliette token revoke` takes it back.

Examples:
  oubliette token bind-certificate platform spiffe://example.org/platform --tenant acme
  oubliette token bind-certificate platform 'CN=platform,O=Example' --tenant acme --days 365";

const REVOKE_EXAMPLES: &str = "A token of an issuer is not stored here: say by --issued-to whose it is, and name it as the ledger does (`credential`).

Examples:
  oubliette token revoke 5f0c6e1a9b7d4c3e8a2f1b0d9c8e7f6a --tenant acme
  oubliette token revoke 9a1b0c6e5f7d4c3e8a2f1b0d9c8e7f6a --issued-to ana";

const PRINCIPAL_LIST_EXAMPLES: &str = "Example:
  oubliette principal list --tenant acme --all";

const TOKEN_LIST_EXAMPLES: &str = "Example:
  oubliette token list --tenant acme --json";

/// Whose set-up it is.
#[derive(clap::Args)]
pub struct TenantArg {
    /// The tenant [default: the caller's own]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub tenant: String,
}

/// What to do with principals.
#[derive(clap::Subcommand)]
pub enum PrincipalCommand {
    /// Create a principal, or replace its roles and teams
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// Its name; for an agent, the one that stands in records
        name: String,
        /// What it may be; may be repeated
        #[arg(long = "role", required = true, value_parser = v1::Role::parser())]
        roles: Vec<v1::Role>,
        /// A team it belongs to; may be repeated
        #[arg(long = "team", value_name = "TEAM")]
        teams: Vec<String>,
        /// Refuse all its calls, whatever it comes with
        #[arg(long)]
        blocked: bool,
        /// Whose it is.
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// List the principals
    #[command(after_help = PRINCIPAL_LIST_EXAMPLES)]
    List {
        /// Whose they are.
        #[command(flatten)]
        tenant: TenantArg,
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
}

/// What to do with tokens.
#[derive(clap::Subcommand)]
pub enum TokenCommand {
    /// Create a token for a principal
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateTokenArgs),
    /// Let a client's certificate stand for a principal, instead of a token
    #[command(after_help = BIND_EXAMPLES)]
    BindCertificate(BindCertificateArgs),
    /// Revoke a token, at once
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        /// The token's id, as create and list show it
        token_id: String,
        /// Whose it is.
        #[command(flatten)]
        tenant: TenantArg,
        /// Whose token it is, for one that an issuer made
        #[arg(long, value_name = "PRINCIPAL", default_value = "", hide_default_value = true)]
        issued_to: String,
    },
    /// List the tokens, without their secrets
    #[command(after_help = TOKEN_LIST_EXAMPLES)]
    List {
        /// Whose they are.
        #[command(flatten)]
        tenant: TenantArg,
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
}

/// Which token to create.
#[derive(clap::Args)]
pub struct CreateTokenArgs {
    /// The principal's name
    pub principal: String,
    /// For how many days it is good [default: 90]
    #[arg(long, value_name = "N", conflicts_with = "expires", value_parser = clap::value_parser!(u64).range(1..=MAX_TOKEN_DAYS as u64))]
    pub days: Option<u64>,
    /// When it ends
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub expires: Option<Timestamp>,
    /// Write the token to this file, readable by its owner only, instead of showing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose it is.
    #[command(flatten)]
    pub tenant: TenantArg,
}

/// Which certificate to bind to whom.
#[derive(clap::Args)]
pub struct BindCertificateArgs {
    /// The principal's name
    pub principal: String,
    /// The certificate's SPIFFE ID, or its subject as RFC 4514 writes it
    pub certificate_name: String,
    /// For how many days it is good [default: 90]
    #[arg(long, value_name = "N", conflicts_with = "expires", value_parser = clap::value_parser!(u64).range(1..=MAX_TOKEN_DAYS as u64))]
    pub days: Option<u64>,
    /// When it ends
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub expires: Option<Timestamp>,
    /// Whose it is.
    #[command(flatten)]
    pub tenant: TenantArg,
}

/// Runs a command about principals.
pub async fn run_principal(client: &Client, command: PrincipalCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        PrincipalCommand::Set { name, roles, teams, blocked, tenant } => {
            let roles = roles.into_iter().map(i32::from).collect();
            let principal = Some(v1::Principal { name, roles, teams, blocked });
            let set = client.set_principal(v1::SetPrincipalRequest { tenant: tenant.tenant, principal }).await?;
            output.result(&PrincipalView::from(set), PrincipalView::text)
        }
        PrincipalCommand::List { tenant, page } => {
            let shape = Shape { name: "principals", header: PrincipalView::HEADER, row: PrincipalView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let request = v1::ListPrincipalsRequest { tenant: tenant.tenant.clone(), page_size, page_token };
                let answer = client.list_principals(request).await?;
                Ok((answer.principals.into_iter().map(PrincipalView::from).collect(), answer.next_page_token))
            })
            .await
        }
    }
}

/// Runs a command about tokens.
pub async fn run_token(client: &Client, command: TokenCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => create_token(client, args, output).await,
        TokenCommand::BindCertificate(args) => {
            let BindCertificateArgs { principal, certificate_name, days, expires, tenant: TenantArg { tenant } } = args;
            let expires_at = expires.or_else(|| days.map(in_days));
            let request = v1::BindCertificateRequest { tenant, principal, certificate_name, expires_at };
            output.result(&TokenView::from(client.bind_certificate(request).await?), TokenView::text)
        }
        TokenCommand::Revoke { token_id, tenant, issued_to } => {
            let request = v1::RevokeTokenRequest { tenant: tenant.tenant, token_id, issued_to };
            output.result(&TokenView::from(client.revoke_token(request).await?), TokenView::text)
        }
        TokenCommand::List { tenant, page } => {
            let shape = Shape { name: "tokens", header: TokenView::HEADER, row: TokenView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let request = v1::ListTokensRequest { tenant: tenant.tenant.clone(), page_size, page_token };
                let answer = client.list_tokens(request).await?;
                Ok((answer.tokens.into_iter().map(TokenView::from).collect(), answer.next_page_token))
            })
            .await
        }
    }
}

async fn create_token(client: &Client, args: CreateTokenArgs, output: &mut Output) -> Result<(), CliError> {
    // The file comes first: a token that cannot be kept must not be made.
    let file = args.output.as_deref().map(files::NewFile::create).transpose()?;
    let expires_at = args.expires.or_else(|| args.days.map(in_days));
    let request = v1::CreateTokenRequest { tenant: args.tenant.tenant, principal: args.principal, expires_at };
    let answer = client.create_token(request).await?;
    let token = answer.token.ok_or(CliError::Protocol { what: "no `token` in it" })?.into();
    let bearer = zeroize::Zeroizing::new(answer.bearer);
    let Some(file) = file else {
        return output.result(&NewTokenView { token, bearer: Some(&bearer) }, NewTokenView::text);
    };
    file.finish_with(bearer.as_bytes()).await?;
    output.result(&NewTokenView { token, bearer: None }, NewTokenView::text)
}

fn in_days(days: u64) -> Timestamp {
    let at = clock::Timestamp::now().plus_ms(days * DAY_MS);
    let seconds = i64::try_from(at.as_ms() / 1000).expect("no instant is behind the year 9999");
    Timestamp { seconds, nanos: 0 }
}
