//! `oubliette customer`: the rights of the customer.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use super::client::Client;
use super::errors::CliError;
use super::files;
use super::output::{self, Output};
use super::views::ReceiptView;
use crate::api::v1;
use crate::domain::ids::CustomerId;

const ERASE_EXAMPLES: &str = "Erasing destroys the customer's key. It cannot be taken back, not even from a backup. Several customers share root keys, and
each has a receipt of its own.

Examples:
  oubliette customer erase c-1001
  oubliette customer erase c-1001 --yes --receipt anna.tlog-proof --json
  oubliette customer erase c-1001 c-1002 c-1003 --yes";

const READMIT_EXAMPLES: &str =
    "Nothing of before comes back: whoever is stored under this id afterwards is a new customer.

Example:
  oubliette customer readmit c-1001";

/// What to do for a customer.
#[derive(clap::Subcommand)]
pub enum CustomerCommand {
    /// Erase customers for good
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseArgs),
    /// Let an erased person become a customer again, with nothing of before
    #[command(after_help = READMIT_EXAMPLES)]
    Readmit {
        /// The platform's id of the person
        customer: String,
    },
}

/// Whom to erase.
#[derive(clap::Args)]
pub struct EraseArgs {
    /// The platform's ids of the customers
    #[arg(required = true, num_args = 1..=1000, value_name = "CUSTOMER")]
    pub customers: Vec<String>,
    /// How.
    #[command(flatten)]
    pub how: ErasureArgs,
}

/// How to erase.
#[derive(clap::Args)]
pub struct ErasureArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// A name for this request, for a safe repeat [default: a random one, printed]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Write the receipt, as a file that anyone can check, to this file; of one erasure, not of a list
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

impl ErasureArgs {
    /// The request's id, and the file for the receipt, which is made before anything is erased.
    pub fn prepare(&self) -> Result<(String, Option<files::NewFile>), CliError> {
        let file = self.receipt.as_deref().map(files::NewFile::create).transpose()?;
        Ok((files::request_id(self.request_id.as_deref())?, file))
    }
}

/// What came of a list.
#[derive(Serialize)]
struct ErasuresView {
    erasures: Vec<ErasureView>,
}

#[derive(Serialize)]
struct ErasureView {
    customer_id: String,
    receipt: Option<ReceiptView>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

impl From<v1::CustomerErasure> for ErasureView {
    fn from(erasure: v1::CustomerErasure) -> Self {
        let v1::CustomerErasure { customer_id, receipt, opening, reason, message } = erasure;
        let receipt = receipt.map(|receipt| ReceiptView::from(receipt).with_opening(opening));
        Self { customer_id, receipt, reason, message }
    }
}

impl ErasuresView {
    fn text(&self) -> String {
        let told = |one: &ErasureView| match &one.receipt {
            Some(receipt) => format!("{}\n{}\n", output::printable(&one.customer_id), receipt.text()),
            None => format!("{}\nnot erased  {}: {}\n\n", output::printable(&one.customer_id), one.reason, one.message),
        };
        self.erasures.iter().map(told).collect()
    }
}

impl EraseArgs {
    /// Asks the person at the terminal to type what is to be erased, unless told not to. It comes before anything is sent.
    pub fn confirm(&self) -> Result<(), CliError> {
        match self.customers.as_slice() {
            [one] => confirm(self.how.yes, "the customer's key", "the customer id", one),
            _ if self.how.receipt.is_some() => Err(CliError::ReceiptOfMany),
            many => {
                confirm(self.how.yes, "the customers' keys", "how many customers there are", &many.len().to_string())
            }
        }
    }
}

/// Asks the person at the terminal to type `expected`.
pub fn confirm(yes: bool, destroyed: &str, asked: &str, expected: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    let streams = |source| CliError::Streams { source };
    let question = format!("This destroys {destroyed} and cannot be taken back.\nType {asked} to erase: ");
    io::stderr().write_all(question.as_bytes()).map_err(streams)?;
    let mut typed = String::new();
    let mut line = io::stdin().lock().take(CustomerId::MAX_BYTES as u64 + 2);
    line.read_line(&mut typed).map_err(streams)?;
    if typed.trim_end_matches(['\r', '\n']) == expected { Ok(()) } else { Err(CliError::NotConfirmed) }
}

/// Runs the command.
pub async fn run(client: &Client, command: CustomerCommand, output: &mut Output) -> Result<(), CliError> {
    let mut args = match command {
        CustomerCommand::Erase(args) => args,
        CustomerCommand::Readmit { customer } => {
            client.readmit_customer(v1::ReadmitCustomerRequest { customer_id: customer }).await?;
            let text = |_: &serde_json::Value| {
                "The person can become a customer again; nothing of before comes back.\n".to_owned()
            };
            return output.result(&serde_json::json!({ "readmitted": true }), text);
        }
    };
    // The file comes first: an erasure whose receipt cannot be kept is better not begun.
    let (request_id, file) = args.how.prepare()?;
    if args.customers.len() > 1 {
        let request = v1::EraseCustomersRequest { request_id: request_id.clone(), customer_ids: args.customers };
        let answer = client.erase_customers(request).await.map_err(|error| error.of_request(&request_id))?;
        let view = ErasuresView { erasures: answer.erasures.into_iter().map(ErasureView::from).collect() };
        return output.result(&view, ErasuresView::text);
    }
    let customer_id = args.customers.pop().unwrap_or_default();
    let request = v1::EraseCustomerRequest { request_id: request_id.clone(), customer_id };
    let answer = client.erase_customer(request).await.map_err(|error| error.of_request(&request_id))?;
    show_receipt(answer.receipt, answer.opening, file, output).await
}

/// Shows a receipt with its opening, and keeps it in a file.
pub async fn show_receipt(
    receipt: Option<v1::ErasureReceipt>,
    opening: String,
    file: Option<files::NewFile>,
    output: &mut Output,
) -> Result<(), CliError> {
    let receipt = receipt.ok_or(CliError::Protocol { what: "no `receipt` in it" })?;
    let view = ReceiptView::from(receipt).with_opening(opening);
    let kept = match file {
        Some(file) => file.finish_with(view.proof().as_bytes()).await,
        None => Ok(()),
    };
    output.result(&view, ReceiptView::text).and(kept)
}
