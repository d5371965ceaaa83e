//! `oubliette customer`: the rights of the customer.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use super::client::Client;
use super::errors::CliError;
use super::files;
use super::output::Output;
use super::views::ReceiptView;
use crate::api::v1;
use crate::domain::ids::CustomerId;

const ERASE_EXAMPLES: &str = "Erasing destroys the customer's key. It cannot be taken back, not even from a backup.

Examples:
  oubliette customer erase c-1001
  oubliette customer erase c-1001 --yes --receipt anna.tlog-proof --json";

/// What to do for a customer.
#[derive(clap::Subcommand)]
pub enum CustomerCommand {
    /// Erase a customer for good
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseArgs),
}

/// Whom to erase.
#[derive(clap::Args)]
pub struct EraseArgs {
    /// The platform's id of the customer
    pub customer: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// A name for this request, for a safe repeat [default: a random one, printed]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Write the receipt, as a file that anyone can check, to this file
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

impl EraseArgs {
    /// Asks the person at the terminal to type the customer id, unless told not to. It comes before anything is sent.
    pub fn confirm(&self) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(CliError::NobodyToAsk);
        }
        let streams = |source| CliError::Streams { source };
        io::stderr()
            .write_all(
                b"This destroys the customer's key and cannot be taken back.\nType the customer id to erase it: ",
            )
            .map_err(streams)?;
        let mut typed = String::new();
        let mut line = io::stdin().lock().take(CustomerId::MAX_BYTES as u64 + 2);
        line.read_line(&mut typed).map_err(streams)?;
        if typed.trim_end_matches(['\r', '\n']) == self.customer { Ok(()) } else { Err(CliError::NotConfirmed) }
    }
}

/// Runs the command.
pub async fn run(client: &Client, command: CustomerCommand, output: &mut Output) -> Result<(), CliError> {
    let CustomerCommand::Erase(args) = command;
    let request_id = files::request_id(args.request_id.as_deref())?;
    let request = v1::EraseCustomerRequest { request_id: request_id.clone(), customer_id: args.customer };
    // The file comes first: an erasure whose receipt cannot be kept is better not begun.
    let file = args.receipt.as_deref().map(files::NewFile::create).transpose()?;
    let answer = client.erase_customer(request).await.map_err(|error| error.of_request(&request_id))?;
    let receipt = answer.receipt.ok_or(CliError::Protocol { what: "no `receipt` in it" })?;
    let view = ReceiptView::from(receipt).with_opening(answer.opening);
    let kept = match file {
        Some(file) => file.finish_with(view.proof().as_bytes()).await,
        None => Ok(()),
    };
    output.result(&view, ReceiptView::text).and(kept)
}
