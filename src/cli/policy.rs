//! `oubliette policy`: checks a policy before it is used, and tells what decides.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::client::Client;
use super::errors::{CliError, chain};
use super::output::Output;
use crate::access::policy::{Policies, PolicyError};
use crate::api::v1;
use crate::crypto::hash::sha256;

const CHECK_EXAMPLES: &str =
    "Checks a file as the service does when it starts and when it is told that its configuration has changed (SIGHUP).

Example:
  oubliette policy check /etc/oubliette/policy.cedar";

const EXPLAIN_EXAMPLES: &str =
    "Tells by which rules somebody may do something, or may not. Nothing is done, and nothing of a record is shown but how it stands to the
principal.

Examples:
  oubliette policy explain --as ana --action GetTranscript --purpose support --on-case CASE-17 --record 01890a5d-ac96-774b-bcce-b302099a8057
  oubliette policy explain --as ana --action EraseCustomer";

/// The most bytes of a policy.
const MAX_POLICY_BYTES: u64 = 1024 * 1024;

/// What to do with the policy.
#[derive(clap::Subcommand)]
pub enum PolicyCommand {
    /// Check a policy
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The policy
        file: PathBuf,
    },
    /// Tell what decides whether somebody may do something
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
}

/// What is asked.
#[derive(clap::Args)]
pub struct ExplainArgs {
    /// The principal
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: String,
    /// The action, as the API names its methods
    #[arg(long)]
    pub action: String,
    /// The record, for an action that reads one
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub record: String,
    /// The purpose, for an action that reads
    #[arg(long, default_value = "", hide_default_value = true)]
    pub purpose: String,
    /// On which case.
    #[command(flatten)]
    pub on_case: super::case::OnCaseArgs,
}

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot read the policy {}: {source}; check the path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is far larger than any policy.
    #[error("{} has more than {MAX_POLICY_BYTES} bytes and is no policy; check the path", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What it says cannot be used.
    #[error("the policy {}: {}", path.display(), chain(source))]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PolicyError,
    },
}

/// The policies of a file, or those that come with the program; and the SHA-256 of their text.
pub(super) fn load(file: Option<&Path>) -> Result<(Policies, [u8; 32]), PolicyFileError> {
    let Some(path) = file else {
        return Ok((Policies::default_policy(), sha256(Policies::default_text().as_bytes())));
    };
    let unreadable = |source| PolicyFileError::Unreadable { path: path.to_owned(), source };
    if path.metadata().map_err(unreadable)?.len() > MAX_POLICY_BYTES {
        return Err(PolicyFileError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let policies = Policies::of_operator(&text);
    let policies = policies.map_err(|source| PolicyFileError::Unfit { path: path.to_owned(), source })?;
    Ok((policies, sha256(text.as_bytes())))
}

/// Checks a file, without a service.
pub fn check(file: &Path, output: &mut Output) -> Result<(), CliError> {
    load(Some(file))?;
    output.result(&serde_json::json!({ "valid": true }), |_| "The policy is valid.\n".to_owned())
}

#[derive(Serialize)]
struct ExplanationView {
    allowed: bool,
    door: Option<VerdictView>,
    record: Option<VerdictView>,
    relation: Option<RelationView>,
}

#[derive(Serialize)]
struct VerdictView {
    allowed: bool,
    decided_by: Vec<String>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct RelationView {
    in_callers_team: bool,
    handled_by_caller: bool,
    of_stated_case: bool,
    case_assigned: bool,
    glass_broken: bool,
    purposes: Vec<String>,
}

impl From<v1::Verdict> for VerdictView {
    fn from(verdict: v1::Verdict) -> Self {
        let v1::Verdict { allowed, decided_by, errors } = verdict;
        Self { allowed, decided_by, errors }
    }
}

impl From<v1::ExplainAccessResponse> for ExplanationView {
    fn from(answer: v1::ExplainAccessResponse) -> Self {
        let relation = answer.relation.map(|relation| RelationView {
            in_callers_team: relation.in_callers_team,
            handled_by_caller: relation.handled_by_caller,
            of_stated_case: relation.of_stated_case,
            case_assigned: relation.case_assigned,
            glass_broken: relation.glass_broken,
            purposes: relation.purposes,
        });
        let (door, record) = (answer.door.map(VerdictView::from), answer.record.map(VerdictView::from));
        Self { allowed: answer.allowed, door, record, relation }
    }
}

impl ExplanationView {
    fn text(&self) -> String {
        let mut text = if self.allowed { "allowed\n".to_owned() } else { "refused\n".to_owned() };
        for (place, verdict) in [("at the door", &self.door), ("for the record", &self.record)] {
            let Some(verdict) = verdict else { continue };
            let word = if verdict.allowed { "allowed" } else { "refused" };
            let rules = if verdict.decided_by.is_empty() {
                "no rule permits it".to_owned()
            } else {
                verdict.decided_by.join(", ")
            };
            text.push_str(&format!("{place}: {word} by {rules}\n"));
            verdict.errors.iter().for_each(|error| text.push_str(&format!("  cannot be evaluated: {error}\n")));
        }
        if let Some(relation) = &self.relation {
            let marks = [
                (relation.in_callers_team, "of a team of the principal's"),
                (relation.handled_by_caller, "handled by the principal"),
                (relation.of_stated_case, "of the stated case"),
                (relation.case_assigned, "the stated case is assigned to the principal"),
                (relation.glass_broken, "the principal broke the glass"),
            ];
            let words: Vec<_> = marks.into_iter().filter_map(|(is_so, words)| is_so.then_some(words)).collect();
            let words = if words.is_empty() { "nothing to do with the principal".to_owned() } else { words.join("; ") };
            text.push_str(&format!("the record: {words}; for {}\n", relation.purposes.join(", ")));
        }
        text
    }
}

/// Runs the command against a service.
pub async fn run(client: &Client, command: PolicyCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        PolicyCommand::Check { file } => check(&file, output),
        PolicyCommand::Explain(args) => {
            let request = v1::ExplainAccessRequest {
                principal: args.principal,
                action: args.action,
                record_id: args.record,
                purpose: args.purpose,
                reader_case_id: args.on_case.on_case,
            };
            let answer = client.explain_access(request).await?;
            output.result(&ExplanationView::from(answer), ExplanationView::text)
        }
    }
}
