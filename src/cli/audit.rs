//! `oubliette audit`: shows the ledger, copies it, and checks copies offline.

mod copies;
mod views;
mod witness;

use std::path::PathBuf;

use super::client::Client;
use super::errors::CliError;
use super::output::Output;
use super::pages::{self, PageArgs, Shape};
use super::serve::PlaceArgs;
use super::time;
use crate::api::v1;

pub use copies::{AuditError, ReportArgs, VerifyArgs, export, verify, verify_report};
pub use witness::{CosignArgs, RequestArgs, WitnessArgs, cosign, request, witness};

use views::EntryView;

const LIST_EXAMPLES: &str = "Examples:
  oubliette audit list --all
  oubliette audit list --principal ana --event read --json";

const WATCH_EXAMPLES: &str =
    "One JSON object a line, for as long as the right to see them lasts. Go on behind the last position.

Example:
  oubliette audit watch --from-position 120000 | my-siem-shipper";

const CHECKPOINT_EXAMPLES: &str = "Keep it somewhere else: a copy of the log must continue it.

Example:
  oubliette audit checkpoint > checkpoint-2026-11.note";

const EXPORT_EXAMPLES: &str = "A directory of c2sp.org/tlog-tiles, while the service goes on. Into a directory that has an older copy, only what is new is copied.

Example:
  oubliette audit export --to /mnt/audit/log --config /var/lib/oubliette/oubliette.toml";

const VERIFY_EXAMPLES: &str = "Needs nothing but the copy and the public keys (`oubliette receipt keys`). With --earlier, the copy must continue each of these
checkpoints, so that a history that was rewritten is found; with --witness, cosignatures are counted.

Examples:
  oubliette audit verify /mnt/audit/log --key log.pub
  oubliette audit verify /mnt/audit/log --key log.pub --earlier checkpoint-2026-10.note --witness auditors.example+1a2b3c4d+BAx...";

const EXPOSURE_EXAMPLES: &str = "Examples:
  oubliette audit exposure --principal ana --from 2026-11-01T00:00:00Z -o ana.exposure
  oubliette audit exposure --token 0123456789abcdef0123456789abcdef -o token.exposure";

const VERIFY_EXPOSURE_EXAMPLES: &str = "Example:
  oubliette audit verify-exposure ana.exposure --key log.pub";

const REQUEST_EXAMPLES: &str =
    "What a witness of c2sp.org/tlog-witness is asked. --from is the checkpoint that it cosigned last.

Example:
  oubliette audit request /mnt/audit/log --from cosigned.note --key log.pub > request";

const WITNESS_EXAMPLES: &str = "Cosigns a checkpoint if it continues the one that was cosigned before, which it keeps in --kept.

Example:
  oubliette audit witness --name auditors.example --signing-key witness.key --kept kept.note --key log.pub < request > cosignature";

const COSIGN_EXAMPLES: &str = "Example:
  oubliette audit cosign /mnt/audit/log/checkpoint cosignature --witness auditors.example+1a2b3c4d+BAx... > cosigned.note";

/// What to do with the ledger.
#[derive(clap::Subcommand)]
pub enum AuditCommand {
    /// List entries
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only of this principal
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        principal: String,
        /// Only of this event, such as read, listed, refused, alert
        #[arg(long, value_name = "EVENT", default_value = "", hide_default_value = true)]
        event: String,
        /// From this position on
        #[arg(long, value_name = "N", default_value_t = 0)]
        from_position: u64,
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Follow the ledger
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        /// From this position on [default: from now on]
        #[arg(long, value_name = "N")]
        from_position: Option<u64>,
    },
    /// Get the log as it stands, signed
    #[command(after_help = CHECKPOINT_EXAMPLES)]
    Checkpoint,
    /// Report every customer and record that somebody has touched, as a signed file
    #[command(after_help = EXPOSURE_EXAMPLES)]
    Exposure(ExposureArgs),
    /// Check such a report, offline
    #[command(after_help = VERIFY_EXPOSURE_EXAMPLES)]
    VerifyExposure(ReportArgs),
    /// Copy the log to a directory
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// Where to
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Of which vault.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Check a copy of the log, offline
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Write what a witness is asked to cosign
    #[command(after_help = REQUEST_EXAMPLES)]
    Request(RequestArgs),
    /// Cosign a checkpoint as a witness
    #[command(after_help = WITNESS_EXAMPLES)]
    Witness(WitnessArgs),
    /// Add a witness's cosignature to a checkpoint
    #[command(after_help = COSIGN_EXAMPLES)]
    Cosign(CosignArgs),
}

/// About whom, with what, and when.
#[derive(clap::Args)]
pub struct ExposureArgs {
    /// By this principal
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    principal: String,
    /// With this token
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    token: String,
    /// At this time or later
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<prost_types::Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    before: Option<prost_types::Timestamp>,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the commands that need no service; `None` for those that do.
pub async fn offline(command: &AuditCommand, output: &mut Output) -> Option<Result<(), CliError>> {
    Some(match command {
        AuditCommand::VerifyExposure(args) => verify_report(args, output),
        AuditCommand::Export { to, place } => export(to, place, output).await,
        AuditCommand::Verify(args) => verify(args, output),
        AuditCommand::Request(args) => request(args, output),
        AuditCommand::Witness(args) => witness(args, output).await,
        AuditCommand::Cosign(args) => cosign(args, output),
        AuditCommand::List { .. }
        | AuditCommand::Watch { .. }
        | AuditCommand::Checkpoint
        | AuditCommand::Exposure(_) => return None,
    })
}

/// Runs the commands against a service.
pub async fn run(client: &Client, command: AuditCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        AuditCommand::List { principal, event, from_position, page } => {
            let shape = Shape { name: "entries", header: EntryView::HEADER, row: EntryView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let (principal, event) = (principal.clone(), event.clone());
                let request = v1::ListEntriesRequest { page_size, page_token, from_position, principal, event };
                let answer = client.list_entries(request).await?;
                Ok((answer.entries.into_iter().map(EntryView::from).collect(), answer.next_page_token))
            })
            .await
        }
        AuditCommand::Watch { mut from_position } => loop {
            let watched = client.watch_entries(v1::WatchEntriesRequest { from_position }, |entry| {
                from_position = Some(entry.position + 1);
                let line = serde_json::to_string(&EntryView::from(entry)).unwrap_or_default();
                output.raw(&format!("{line}\n"))
            });
            match watched.await {
                // No stream lasts for ever: the next one goes on behind the last entry.
                Err(CliError::Answered(refusal)) if refusal.reason.as_deref() == Some("DEADLINE") => {}
                ended => return ended,
            }
        },
        AuditCommand::Checkpoint => {
            let note = client.get_checkpoint(v1::GetCheckpointRequest {}).await?.note;
            output.result(&serde_json::json!({ "note": note }), |_| note.clone())
        }
        AuditCommand::Exposure(args) => copies::exposure(client, args, output).await,
        _ => Err(CliError::Protocol { what: "a command that needs no service came to one" }),
    }
}
