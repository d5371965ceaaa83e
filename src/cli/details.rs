//! What the platform says about a record: flags shared by `chat put` and `call put`, and the same as JSON in a file.

use prost_types::Timestamp;
use serde::Deserialize;

use super::errors::CliError;
use super::names::Named;
use super::time;
use crate::api::v1;

/// The details as flags. A flag replaces what the file says.
#[derive(Default, Clone, clap::Args)]
#[command(next_help_heading = "Details of the record")]
pub struct DetailsArgs {
    /// The platform's id of the customer
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// How the contact came about [default: chat for a chat, voice for a call]
    #[arg(long, value_parser = v1::Channel::parser())]
    pub channel: Option<v1::Channel>,
    /// Language tag (BCP 47), such as en or pt-BR
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    /// The agent who handled the contact; may read the record
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// The support case
    #[arg(long, value_name = "CASE")]
    pub case: Option<String>,
    /// The team that owns the record
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// When the contact began, such as 2026-11-23T14:05:00Z
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub started: Option<Timestamp>,
    /// When the contact ended
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub ended: Option<Timestamp>,
    /// What the record may be read for; may be repeated
    #[arg(long = "purpose", value_name = "PURPOSE")]
    pub purposes: Vec<String>,
    /// The ground in law on which it is kept
    #[arg(long, value_parser = v1::LegalBasis::parser())]
    pub legal_basis: Option<v1::LegalBasis>,
    /// A free label; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
}

/// The details as they stand in a file; the names are those of the API.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetailsFile {
    customer_id: Option<String>,
    channel: Option<NamedText<v1::Channel>>,
    language: Option<String>,
    agent: Option<String>,
    case_id: Option<String>,
    team: Option<String>,
    started_at: Option<TimeText>,
    ended_at: Option<TimeText>,
    purposes: Vec<String>,
    legal_basis: Option<NamedText<v1::LegalBasis>>,
    tags: Vec<String>,
}

/// A time in a file.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct TimeText(pub Timestamp);

impl TryFrom<String> for TimeText {
    type Error = time::NotATime;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        time::parse(&text).map(Self)
    }
}

/// The name of an enum value in a file.
pub struct NamedText<T>(pub T);

impl<'de, T: Named> Deserialize<'de> for NamedText<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::from_name(&text).map(Self).ok_or_else(|| serde::de::Error::custom("no such name"))
    }
}

impl DetailsArgs {
    /// Puts flags and file together, and says which flags are missing.
    pub fn over(&self, file: DetailsFile, default_channel: v1::Channel) -> Result<v1::RecordDetails, CliError> {
        let customer = self.customer.clone().or(file.customer_id);
        let started = self.started.or(file.started_at.map(|time| time.0));
        let purposes = if self.purposes.is_empty() { file.purposes } else { self.purposes.clone() };
        let legal_basis = self.legal_basis.or(file.legal_basis.map(|basis| basis.0));
        let channel = self.channel.or(file.channel.map(|channel| channel.0)).unwrap_or(default_channel);
        let (Some(customer_id), Some(started), Some(legal_basis), false) =
            (&customer, started, legal_basis, purposes.is_empty())
        else {
            let needs = [
                ("--customer", customer.is_none()),
                ("--started", started.is_none()),
                ("--purpose", purposes.is_empty()),
                ("--legal-basis", legal_basis.is_none()),
            ];
            let flags = needs.into_iter().filter(|(_, missing)| *missing).map(|(flag, _)| flag).collect();
            return Err(CliError::MissingDetails { flags });
        };
        let optional = |flag: &Option<String>, file: Option<String>| flag.clone().or(file).unwrap_or_default();
        Ok(v1::RecordDetails {
            customer_id: customer_id.clone(),
            channel: channel.into(),
            language: optional(&self.language, file.language),
            agent: optional(&self.agent, file.agent),
            case_id: optional(&self.case, file.case_id),
            team: optional(&self.team, file.team),
            started_at: Some(started),
            ended_at: self.ended.or(file.ended_at.map(|time| time.0)),
            purposes,
            legal_basis: legal_basis.into(),
            tags: if self.tags.is_empty() { file.tags } else { self.tags.clone() },
        })
    }
}
