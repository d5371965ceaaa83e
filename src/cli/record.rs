//! `oubliette record`: what is known about records, without their content.

use prost_types::Timestamp;

use super::case::OnCaseArgs;
use super::client::Client;
use super::customer::{self, ErasureArgs};
use super::errors::CliError;
use super::output::Output;
use super::pages::{self, PageArgs, Shape};
use super::time;
use super::views::RecordView;
use crate::api::v1;

const LIST_EXAMPLES: &str = "Examples:
  oubliette record list --purpose support --customer c-1001
  oubliette record list --purpose support --customer c-1001 --case S-77
  oubliette record list --purpose audit --from 2026-11-01T00:00:00Z --before 2026-12-01T00:00:00Z --all --json";

const SHOW_EXAMPLES: &str = "Example:
  oubliette record show 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support";

const ERASE_EXAMPLES: &str =
    "The secret of the record or revision is destroyed, and all else of its customer stays. It cannot be taken back.

Examples:
  oubliette record erase 01939c5e-7a1c-7b40-8f3e-0242ac120002
  oubliette record erase 01939c5e-7a1c-7b40-8f3e-0242ac120002 --revision 1
  oubliette record erase 01939c5e-7a1c-7b40-8f3e-0242ac120002 --yes --receipt call.tlog-proof --json";

/// What to do with records.
#[derive(clap::Subcommand)]
pub enum RecordCommand {
    /// List records, in the order in which they were stored
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show what is known about one record
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The record's id
        record: String,
        /// Why it is read
        #[arg(long)]
        purpose: String,
        /// On which case.
        #[command(flatten)]
        on_case: OnCaseArgs,
    },
    /// Erase one record for good, or one of its revisions
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseRecordArgs),
}

/// Which record to erase.
#[derive(clap::Args)]
pub struct EraseRecordArgs {
    /// The record's id
    pub record: String,
    /// Only this revision, which must not be the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub revision: Option<u32>,
    /// How.
    #[command(flatten)]
    pub how: ErasureArgs,
}

impl EraseRecordArgs {
    /// Asks the person at the terminal to type the record's id, unless told not to. It comes before anything is sent.
    pub fn confirm(&self) -> Result<(), CliError> {
        customer::confirm(self.how.yes, "the record's secret", "the record's id", &self.record)
    }
}

/// Which records.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Why the list is read; records that do not allow it are left out
    #[arg(long)]
    pub purpose: String,
    /// On which case.
    #[command(flatten)]
    pub on_case: OnCaseArgs,
    /// Only this customer's
    #[arg(long, value_name = "ID", group = "by")]
    pub customer: Option<String>,
    /// Only those of this case of the customer
    #[arg(long, requires = "customer")]
    pub case: Option<String>,
    /// Only those that this agent handled
    #[arg(long, value_name = "NAME", group = "by")]
    pub agent: Option<String>,
    /// Only those that began at this time or later
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub from: Option<Timestamp>,
    /// Only those that began before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub before: Option<Timestamp>,
    /// Which page.
    #[command(flatten)]
    pub page: PageArgs,
}

/// Runs the command.
pub async fn run(client: &Client, command: RecordCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        RecordCommand::List(args) => list(client, &args, output).await,
        RecordCommand::Show { record: record_id, purpose, on_case } => {
            let reader_case_id = on_case.on_case;
            let record = client.get_record(v1::GetRecordRequest { record_id, purpose, reader_case_id }).await?;
            output.result(&RecordView::from(record), RecordView::text)
        }
        RecordCommand::Erase(args) => {
            let (request_id, file) = args.how.prepare()?;
            let revision = args.revision.unwrap_or_default();
            let request = v1::EraseRecordRequest { request_id: request_id.clone(), record_id: args.record, revision };
            let answer = client.erase_record(request).await.map_err(|error| error.of_request(&request_id))?;
            customer::show_receipt(answer.receipt, answer.opening, file, output).await
        }
    }
}

async fn list(client: &Client, args: &ListArgs, output: &mut Output) -> Result<(), CliError> {
    let shape = Shape { name: "records", header: RecordView::HEADER, row: RecordView::row };
    pages::list(&args.page, output, shape, async |page_size, page_token| {
        let request = v1::ListRecordsRequest {
            page_size,
            page_token,
            purpose: args.purpose.clone(),
            customer_id: args.customer.clone().unwrap_or_default(),
            case_id: args.case.clone().unwrap_or_default(),
            agent: args.agent.clone().unwrap_or_default(),
            started_from: args.from,
            started_before: args.before,
            reader_case_id: args.on_case.on_case.clone(),
        };
        let answer = client.list_records(request).await?;
        Ok((answer.records.into_iter().map(RecordView::from).collect(), answer.next_page_token))
    })
    .await
}
