//! The erasure, and that it holds against everyone who comes by the front door.

use tonic::Code;

use super::Stage;
use crate::api::v1;
use crate::cli::client::CHUNK_BYTES;
use crate::cli::demo::error::expect;
use crate::cli::demo::people::PURPOSE;
use crate::cli::demo::refusals::{refused, same_as_absent};
use crate::cli::demo::teller::counted;
use crate::cli::demo::transfer::{details, download_request, read_request};
use crate::cli::errors::CliError;
use crate::cli::names::Named as _;
use crate::cli::time;

const ERASED: Option<&str> = Some("CUSTOMER_ERASED");

impl Stage<'_> {
    /// The privacy officer erases the customer; returns the receipt's id.
    pub(super) async fn erase(&mut self) -> Result<String, CliError> {
        self.teller.begin("erase a customer");
        let answer = self.people.officer.erase_customer(self.erasure("demo-erasure-1")).await?;
        let receipt = answer.receipt.unwrap_or_default();
        let records = self.all().filter(|one| one.customer == self.material.erased).count();
        let final_at = receipt.final_at.as_ref().map(time::format).unwrap_or_default();
        let words = format!(
            "The privacy officer erased {}, of whom there are {}. Receipt {}: epoch {}, final at {final_at}, the old root key \
             destroyed (kept in a {}).",
            self.material.erased,
            counted(records, "record"),
            receipt.receipt_id,
            receipt.epoch,
            v1::MediumClass::name_of(receipt.medium_class),
        );
        expect(receipt.epoch > 1 && !receipt.receipt_id.is_empty(), "a receipt of a new epoch", || words.clone())?;
        self.teller.done(&words)?;
        Ok(receipt.receipt_id)
    }

    /// What everyone sees of the customer afterwards.
    pub(super) async fn stay_erased(&mut self, receipt_id: &str) -> Result<(), CliError> {
        self.teller.begin("read after the erasure");
        let count = self.read_erased().await?;
        self.teller.done(&format!(
            "A supervisor asked for {} of the erased customer: NOT_FOUND each time, and the customer's list is empty.",
            counted(count, "record")
        ))?;
        self.teller.begin("write after the erasure");
        self.write_erased().await?;
        self.teller
            .done("The platform sent a new chat and a new call of that customer: both refused, nothing comes back.")?;
        self.teller.begin("erase again");
        let again = self.people.officer.erase_customer(self.erasure("demo-erasure-1")).await?;
        let again = again.receipt.unwrap_or_default();
        expect(again.receipt_id == receipt_id, "the same receipt", || format!("receipt {}", again.receipt_id))?;
        self.teller.done("The privacy officer repeated the request: the same receipt.")
    }

    async fn read_erased(&self) -> Result<usize, CliError> {
        let (supervisor, erased) = (&self.people.supervisor, &self.material.erased);
        let mut count = 0;
        for chat in self.chats.iter().filter(|one| one.customer == *erased) {
            let there = refused(supervisor.get_transcript(read_request(&chat.record_id)).await, Code::NotFound, None)?;
            same_as_absent(supervisor, &there).await?;
            count += 1;
        }
        for call in self.calls.iter().filter(|one| one.customer == *erased) {
            let request = download_request(&call.record_id, None);
            let read = supervisor.download_recording(request, tokio::io::sink(), |_, _| {}).await;
            let there = refused(read, Code::NotFound, None)?;
            same_as_absent(supervisor, &there).await?;
            count += 1;
        }
        let request = v1::ListRecordsRequest {
            purpose: PURPOSE.to_owned(),
            customer_id: erased.clone(),
            ..v1::ListRecordsRequest::default()
        };
        let listed = supervisor.list_records(request).await?.records.len();
        expect(listed == 0, "an empty list", || counted(listed, "record"))?;
        Ok(count)
    }

    async fn write_erased(&self) -> Result<(), CliError> {
        let (platform, erased) = (&self.people.platform, &self.material.erased);
        let turn = v1::Turn {
            speaker: v1::Speaker::Customer.into(),
            said_at: None,
            text: "Hello again".to_owned(),
            ..Default::default()
        };
        let chat = v1::CreateTranscriptRequest {
            request_id: "demo-after-erasure-chat".to_owned(),
            details: Some(details(erased, v1::Channel::Chat)),
            turns: vec![turn],
        };
        refused(platform.create_transcript(chat).await, Code::FailedPrecondition, ERASED)?;
        let call = v1::RecordingMetadata {
            request_id: "demo-after-erasure-call".to_owned(),
            details: Some(details(erased, v1::Channel::Voice)),
            media_type: "audio/wav".to_owned(),
            ..v1::RecordingMetadata::default()
        };
        let upload = platform.upload_recording(call, &b"RIFF"[..], CHUNK_BYTES, |_| {}).await;
        refused(upload, Code::FailedPrecondition, ERASED).map(|_| ())
    }

    fn erasure(&self, request_id: &str) -> v1::EraseCustomerRequest {
        v1::EraseCustomerRequest { request_id: request_id.to_owned(), customer_id: self.material.erased.clone() }
    }
}
