//! Who plays in the demo: two tenants, and the people of each, made through the admin's API.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use super::error::DemoError;
use super::house::House;
use crate::api::v1;
use crate::cli::client::Client;
use crate::cli::errors::CliError;

/// Why records are kept and read.
pub(super) const PURPOSE: &str = "support";
/// The team that handles the customers.
pub(super) const TEAM: &str = "claims";
/// The agent of that team.
pub(super) const AGENT: &str = "kim";

/// An agent of another team.
pub(super) const OTHER_AGENT: &str = "lee";

const TENANT: &str = "brightline";
const OTHER_TENANT: &str = "northgate";
const OTHER_TEAM: &str = "sales";

/// Everyone, connected as themselves.
pub(super) struct People {
    /// The support platform, which stores.
    pub platform: Client,
    /// An agent of the team that handles the customers.
    pub agent: Client,
    /// An agent of another team.
    pub other_agent: Client,
    /// A supervisor.
    pub supervisor: Client,
    /// The privacy officer.
    pub officer: Client,
    /// An agent of another tenant, whose team has the same name.
    pub foreign_agent: Client,
}

impl People {
    /// Makes the tenants, the people and their tokens.
    pub async fn gather(house: &House) -> Result<Self, CliError> {
        let casting = Casting { house, admin: house.running()?.admin().await? };
        casting.tenant(TENANT).await?;
        casting.tenant(OTHER_TENANT).await?;
        Ok(Self {
            platform: casting.principal(TENANT, "platform", v1::Role::Ingest, None).await?,
            agent: casting.principal(TENANT, AGENT, v1::Role::Agent, Some(TEAM)).await?,
            other_agent: casting.principal(TENANT, OTHER_AGENT, v1::Role::Agent, Some(OTHER_TEAM)).await?,
            supervisor: casting.principal(TENANT, "sam", v1::Role::Supervisor, None).await?,
            officer: casting.principal(TENANT, "pat", v1::Role::PrivacyOfficer, None).await?,
            foreign_agent: casting.principal(OTHER_TENANT, "uma", v1::Role::Agent, Some(TEAM)).await?,
        })
    }
}

struct Casting<'a> {
    house: &'a House,
    admin: Client,
}

impl Casting<'_> {
    async fn tenant(&self, name: &str) -> Result<(), CliError> {
        let settings = v1::TenantSettings {
            purposes: vec![PURPOSE.to_owned()],
            rule_set: "gdpr".to_owned(),
            teams: vec![TEAM.to_owned(), OTHER_TEAM.to_owned()],
            ..v1::TenantSettings::default()
        };
        let request = v1::CreateTenantRequest { name: name.to_owned(), settings: Some(settings) };
        self.admin.create_tenant(request).await.map(|_| ())
    }

    async fn principal(
        &self,
        tenant: &str,
        name: &str,
        role: v1::Role,
        team: Option<&str>,
    ) -> Result<Client, CliError> {
        let principal = v1::Principal {
            name: name.to_owned(),
            roles: vec![role.into()],
            teams: team.into_iter().map(str::to_owned).collect(),
            ..Default::default()
        };
        let request = v1::SetPrincipalRequest { tenant: tenant.to_owned(), principal: Some(principal) };
        self.admin.set_principal(request).await?;
        let request =
            v1::CreateTokenRequest { tenant: tenant.to_owned(), principal: name.to_owned(), expires_at: None };
        let bearer = self.admin.create_token(request).await?.bearer;
        self.keep_token(name, &bearer)?;
        self.house.running()?.connect(&bearer).await
    }

    /// Writes a token where whoever tries the server afterwards finds it; readable by its owner only.
    fn keep_token(&self, name: &str, bearer: &str) -> Result<(), DemoError> {
        let path = self.house.path(&format!("{name}.token"));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(bearer.as_bytes())).map_err(DemoError::io("write", path))
    }
}
