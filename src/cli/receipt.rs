//! `oubliette receipt`: receipts of erasures. `verify` works offline, with public keys alone.

use std::path::{Path, PathBuf};

use prost_types::Timestamp;
use serde::Serialize;

use super::client::Client;
use super::errors::CliError;
use super::files::NewFile;
use super::output::{self, Output};
use super::pages::{self, PageArgs, Shape};
use super::time;
use super::views::{ReceiptView, lost_words};
use crate::api::v1;
use crate::audit::note::VerifierKey;
use crate::audit::proof::MAX_PROOF_BYTES;
use crate::audit::receipt::{self, Checked, NotAReceipt};
use crate::domain::codec::{hex, unhex};
use crate::domain::erasure::{Ground, Part};
use crate::domain::ids::{RecordId, Revision};

const GET_EXAMPLES: &str = "Example:
  oubliette receipt get 01980f4e7a7b7c3e8a2f1b0d9c8e7f6a --output anna.tlog-proof";

const LIST_EXAMPLES: &str = "Examples:
  oubliette receipt list --all
  oubliette receipt list --from 2026-11-01T00:00:00Z --before 2026-12-01T00:00:00Z --json";

const KEYS_EXAMPLES: &str =
    "Keep them where whoever checks receipts finds them: a receipt proves nothing without a key from elsewhere.

Example:
  oubliette receipt keys > log.keys";

const VERIFY_EXAMPLES: &str = "Works offline. Any tool that reads c2sp.org/tlog-proof can check the log's part of it.

Examples:
  oubliette receipt verify anna.tlog-proof --key log.keys
  oubliette receipt verify anna.tlog-proof --key log.keys --customer c-1001 --opening 5f0c...6a";

/// The most bytes of a file with keys.
const MAX_KEYS_BYTES: usize = 64 * 1024;

/// What to do with receipts.
#[derive(clap::Subcommand)]
pub enum ReceiptCommand {
    /// Get a receipt
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// The receipt's id
        receipt_id: String,
        /// Write the receipt, as a file that anyone can check, to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the receipts, the eldest first
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only those that were asked for at this time or later
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        from: Option<Timestamp>,
        /// Only those that were asked for before this time
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        before: Option<Timestamp>,
        /// Which page.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show the public keys that have signed the log, the newest first
    #[command(after_help = KEYS_EXAMPLES)]
    Keys,
    /// Check a receipt, without the service
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
}

/// What to check, and with what.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// The receipt
    file: PathBuf,
    /// A public key of the log (`name+id+key`), or a file with one a line; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Check also that it is about this customer
    #[arg(long, value_name = "ID", requires = "opening")]
    customer: Option<String>,
    /// What shows whom the receipt is about, as it came with the erasure
    #[arg(long, value_name = "HEX", requires = "customer")]
    opening: Option<String>,
    /// The record, where the receipt is about one or about a revision of one
    #[arg(long, value_name = "ID", requires = "customer")]
    record: Option<String>,
    /// The revision of the record, where the receipt is about one
    #[arg(long, value_name = "N", requires = "record")]
    revision: Option<u32>,
}

/// Why a receipt is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    /// A key cannot be read.
    #[error("{0:?} is neither a public key of a log (name+id+key) nor a file with such keys")]
    Key(String),
    /// The receipt is too long to be one.
    #[error("{} is no receipt: it has more than {MAX_PROOF_BYTES} bytes, or is not text", .0.display())]
    NotText(PathBuf),
    /// The receipt does not check.
    #[error("NOT VERIFIED: {} is refused: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NotAReceipt,
    },
    /// The opening or the record cannot be read.
    #[error("--{what} is not {expected}")]
    Malformed {
        /// Which flag.
        what: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It is about somebody else.
    #[error(
        "NOT VERIFIED: the receipt is genuine, but not about this customer and record, or the opening is not its own"
    )]
    OtherCustomer,
}

/// What a receipt was found to state.
#[derive(Serialize)]
struct VerifiedView {
    verified: bool,
    receipt_id: String,
    subject: &'static str,
    about_the_customer: Option<bool>,
    tenant_id: String,
    epoch: u64,
    final_at: String,
    provider: String,
    medium: &'static str,
    shares_device: bool,
    lost_replicas: u32,
    requested_by: String,
    approved_by: Option<String>,
    partial: bool,
    kept_under: Vec<&'static str>,
    log: String,
    log_index: u64,
    log_size: u64,
}

impl VerifiedView {
    fn new(checked: Checked, about_the_customer: Option<bool>) -> Self {
        let Checked { tenant, erased, proven } = checked;
        Self {
            verified: true,
            receipt_id: erased.receipt.to_string(),
            subject: erased.subject.words(),
            about_the_customer,
            tenant_id: tenant.to_string(),
            epoch: erased.epoch,
            final_at: time::format(&crate::api::to_proto::timestamp(erased.final_at)),
            provider: erased.provider,
            medium: erased.medium.words(),
            shares_device: erased.shares_device,
            lost_replicas: erased.lost_replicas,
            requested_by: hex(&erased.requested_by.0),
            approved_by: erased.approved_by.map(|by| hex(&by.0)),
            partial: !erased.kept_under.is_empty(),
            kept_under: erased.kept_under.into_iter().map(Ground::words).collect(),
            log: proven.checkpoint.origin.as_str().to_owned(),
            log_index: proven.index,
            log_size: proven.checkpoint.size,
        }
    }

    fn text(&self) -> String {
        let about = self.about_the_customer.map(|_| "the customer named, and nobody else".to_owned());
        let device = if self.shares_device { ", on the device of the data" } else { "" };
        let verified = "VERIFIED: signed by the log, unchanged\n";
        let fields = output::fields(&[
            ("erased", Some(self.final_at.clone())),
            ("what", Some(self.subject.to_owned())),
            ("about", about.or(Some("not checked: give --customer and --opening".to_owned()))),
            ("partial", self.partial.then(|| format!("something was kept under {}", self.kept_under.join(", ")))),
            ("receipt", Some(self.receipt_id.clone())),
            ("tenant", Some(self.tenant_id.clone())),
            ("epoch", Some(self.epoch.to_string())),
            ("root key", Some(format!("{}: {}{device}", self.provider, self.medium))),
            ("lost replicas", (self.lost_replicas > 0).then(|| lost_words(self.lost_replicas))),
            ("asked for by", Some(self.requested_by.clone())),
            ("approved by", self.approved_by.clone()),
            ("log", Some(format!("{}, entry {} of {}", self.log, self.log_index, self.log_size))),
        ]);
        format!("{verified}{fields}")
    }
}

/// Runs a command that calls the service.
pub async fn run(client: &Client, command: ReceiptCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        ReceiptCommand::Get { receipt_id, output: file } => {
            let file = file.as_deref().map(NewFile::create).transpose()?;
            let receipt = ReceiptView::from(client.get_receipt(v1::GetReceiptRequest { receipt_id }).await?);
            if let Some(file) = file {
                file.finish_with(receipt.proof().as_bytes()).await?;
            }
            output.result(&receipt, ReceiptView::text)
        }
        ReceiptCommand::List { from, before, page } => {
            let shape = Shape { name: "receipts", header: ReceiptView::HEADER, row: ReceiptView::row };
            pages::list(&page, output, shape, async |page_size, page_token| {
                let request = v1::ListReceiptsRequest { page_size, page_token, asked_from: from, asked_before: before };
                let answer = client.list_receipts(request).await?;
                Ok((answer.receipts.into_iter().map(ReceiptView::from).collect(), answer.next_page_token))
            })
            .await
        }
        ReceiptCommand::Keys => {
            let keys = client.list_log_keys(v1::ListLogKeysRequest {}).await?.keys;
            output.result(&serde_json::json!({ "keys": keys }), |_| keys.iter().map(|key| format!("{key}\n")).collect())
        }
        ReceiptCommand::Verify(args) => verify(&args, output),
    }
}

/// Checks a receipt. Needs no service, no configuration and no network.
pub fn verify(args: &VerifyArgs, output: &mut Output) -> Result<(), CliError> {
    let keys = args.keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let text = read_text(&args.file, MAX_PROOF_BYTES)?.ok_or_else(|| NotVerified::NotText(args.file.clone()))?;
    let refused = |source| NotVerified::Refused { path: args.file.clone(), source };
    let checked = receipt::check(&text, &keys).map_err(refused)?;
    let about_the_customer = match (&args.customer, &args.opening) {
        (Some(customer), Some(opening)) => {
            let malformed = |what, expected| NotVerified::Malformed { what, expected };
            let opening = unhex(opening).ok_or_else(|| malformed("opening", "64 digits of lower-case hexadecimal"))?;
            let record = args.record.as_deref().map(RecordId::parse).transpose();
            let record = record.map_err(|_| malformed("record", "the id of a record"))?;
            let part = record.map(|record| {
                args.revision.map_or(Part::Record(record), |revision| Part::Revision(record, Revision(revision)))
            });
            if !receipt::is_of(&checked.erased, &opening, customer, part) {
                return Err(NotVerified::OtherCustomer.into());
            }
            Some(true)
        }
        _ => None,
    };
    output.result(&VerifiedView::new(checked, about_the_customer), VerifiedView::text)
}

/// The keys that a flag gives: itself, or the lines of a file.
pub(super) fn read_keys(given: &str) -> Result<Vec<VerifierKey>, CliError> {
    if let Some(key) = VerifierKey::parse(given) {
        return Ok(vec![key]);
    }
    let bad = || CliError::from(NotVerified::Key(given.to_owned()));
    let text = read_text(Path::new(given), MAX_KEYS_BYTES).map_err(|_| bad())?.ok_or_else(bad)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(VerifierKey::parse).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    if keys.is_empty() { Err(bad()) } else { Ok(keys) }
}

/// The text of a small file; `None` if it is not small or not text.
fn read_text(path: &Path, limit: usize) -> Result<Option<String>, CliError> {
    use std::io::Read as _;
    let failed = |source| CliError::File { doing: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| text.len() <= limit))
}
