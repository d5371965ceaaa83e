//! What tests put into a vault and take out again: chats and recordings of any customer, compared whole.

use oubliette::api::v1;
use oubliette::cli::client::Client;
use oubliette::cli::errors::CliError;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::PURPOSES;
use crate::wire;

/// Small, so that an upload has many messages and can be cut between them.
const CHUNK: usize = 16 * 1024;

/// What a record holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Paper {
    /// A chat: what was said, turn by turn.
    Chat(Vec<String>),
    /// A recording.
    Recording(Vec<u8>),
}

impl Paper {
    /// A chat of a few turns, `most_bytes` or fewer in all.
    pub fn some_chat(chance: &mut Chance, most_bytes: usize) -> Self {
        let turns = 1 + chance.below(6);
        let mut turn = || {
            let length = 1 + chance.below((most_bytes / turns).max(2) - 1);
            chance.bytes(length).into_iter().map(|byte| char::from(b' ' + byte % 95)).collect()
        };
        Self::Chat((0..turns).map(|_| turn()).collect())
    }

    /// A recording of at least one and at most `most_bytes` bytes.
    pub fn some_recording(chance: &mut Chance, most_bytes: usize) -> Self {
        let length = 1 + chance.below(most_bytes);
        Self::Recording(chance.bytes(length))
    }

    /// Stores it in the place of a chat, as the revision behind `base`.
    pub async fn revise(
        &self,
        client: &Client,
        customer: &str,
        (record_id, base_revision): (&str, u32),
        request_id: String,
    ) -> Result<u32, CliError> {
        let Self::Chat(texts) = self else { panic!("only chats are revised") };
        let (record_id, details) = (record_id.to_owned(), Some(details(customer)));
        let request =
            v1::ReviseTranscriptRequest { request_id, record_id, base_revision, details, turns: turns(texts) };
        client.revise_transcript(request).await.map(|record| record.revision)
    }

    /// Stores it, and gives the record's id back once the service has said that it is durable.
    pub async fn put(&self, client: &Client, customer: &str, request_id: String) -> Result<String, CliError> {
        let details = Some(details(customer));
        match self {
            Self::Chat(texts) => {
                let request = v1::CreateTranscriptRequest { request_id, details, turns: turns(texts) };
                client.create_transcript(request).await.map(|record| record.record_id)
            }
            Self::Recording(bytes) => {
                let media_type = "audio/wav".to_owned();
                let about = v1::RecordingMetadata { request_id, details, media_type, ..Default::default() };
                let stored = client.upload_recording(about, bytes.as_slice(), CHUNK, |_| {}).await;
                stored.map(|stored| stored.record.record_id)
            }
        }
    }

    /// Reads a record of the same kind; returns the customer that it names, too.
    pub async fn get(&self, client: &Client, record_id: &str) -> Result<(String, Self), CliError> {
        let (record_id, purpose) = (record_id.to_owned(), PURPOSES[0].to_owned());
        match self {
            Self::Chat(_) => {
                let got = client
                    .get_transcript(v1::GetTranscriptRequest { record_id, purpose, ..Default::default() })
                    .await?;
                let texts = got.turns.into_iter().map(|turn| turn.text).collect();
                Ok((customer_of(got.record), Self::Chat(texts)))
            }
            Self::Recording(_) => {
                let mut bytes = Vec::new();
                let request = v1::DownloadRecordingRequest { record_id, purpose, ..Default::default() };
                let got = client.download_recording(request, &mut bytes, |_, _| {}).await?;
                Ok((customer_of(Some(got.record)), Self::Recording(bytes)))
            }
        }
    }

    /// That the record opens, for this customer and with this content.
    pub async fn assert_there(&self, client: &Client, customer: &str, record_id: &str) {
        match self.get(client, record_id).await {
            Ok((of, paper)) => {
                assert_eq!(of, customer, "record {record_id} names another customer");
                assert!(paper == *self, "record {record_id} holds something else");
            }
            Err(error) => panic!("record {record_id} of {customer} does not open: {error}"),
        }
    }
}

/// The details that a record of this customer gets.
pub fn details(customer: &str) -> v1::RecordDetails {
    let case_id = format!("case of {customer}");
    v1::RecordDetails { case_id, tags: vec!["test".to_owned()], ..wire::details(customer) }
}

/// Turns with these texts, customer and agent in turn.
pub fn turns(texts: &[String]) -> Vec<v1::Turn> {
    let speakers = [v1::Speaker::Customer, v1::Speaker::Agent].into_iter().cycle();
    let turn = |(text, speaker): (&String, v1::Speaker)| v1::Turn {
        speaker: speaker.into(),
        said_at: Some(wire::at(1_700_000_000)),
        text: text.clone(),
        ..Default::default()
    };
    texts.iter().zip(speakers).map(turn).collect()
}

/// All records that a list shows, page by page.
pub async fn list(client: &Client, customer: &str) -> Result<Vec<v1::Record>, CliError> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRecordsRequest {
            page_size: 100,
            page_token,
            purpose: PURPOSES[0].to_owned(),
            customer_id: customer.to_owned(),
            ..v1::ListRecordsRequest::default()
        };
        let page = client.list_records(request).await?;
        records.extend(page.records);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(records);
        }
    }
}

/// Erases a customer; returns the receipt's id.
pub async fn erase(client: &Client, customer: &str, request_id: String) -> Result<String, CliError> {
    let request = v1::EraseCustomerRequest { request_id, customer_id: customer.to_owned() };
    client.erase_customer(request).await.map(|answer| answer.receipt.unwrap().receipt_id)
}

/// The status code with which the service refused; panics where it did not answer.
pub fn code<T>(answer: Result<T, CliError>) -> Code {
    match answer {
        Ok(_) => panic!("not refused"),
        Err(error) => error.refusal().map(|refusal| refusal.code).unwrap_or_else(|| panic!("no answer: {error}")),
    }
}

fn customer_of(record: Option<v1::Record>) -> String {
    record.and_then(|record| record.details).unwrap().customer_id
}
