//! The story in its order: store, read, be refused, be robbed, erase, be attacked. Each step is checked before its line is printed.

mod attack;
mod erasure;

use std::sync::Arc;

use tonic::Code;

use super::content::{Call, Stored};
use super::copy::copy;
use super::error::DemoError;
use super::house::House;
use super::material::Material;
use super::people::{AGENT, OTHER_AGENT, People};
use super::refusals::{looks_absent, refused, same_as_absent, stranger};
use super::teller::{Teller, byte_rate, counted, rate, size};
use super::transfer::{
    WORKERS, assignment, read_call, read_chats, read_on_case, read_request, read_span, store_call, store_chats,
};
use crate::api::v1;
use crate::cli::errors::CliError;

/// Where the stolen things lie in the demo's folder.
const STOLEN_BEFORE: &str = "stolen-before-erasure";

/// The demo while it runs.
struct Stage<'a> {
    teller: &'a mut Teller,
    house: &'a House,
    people: People,
    material: Arc<Material>,
    chats: Arc<Vec<Stored>>,
    calls: Vec<Stored>,
}

/// Plays all of it.
pub(super) async fn play(teller: &mut Teller, house: &mut House, material: Material) -> Result<(), CliError> {
    teller.begin("start the vault");
    let address = house.open().await?.address;
    teller.done(&format!(
        "The vault runs on {address}, reached through TLS only. Its root key lies outside of its data folder."
    ))?;
    teller.begin("let people in");
    let people = People::gather(house).await?;
    teller.done(
        "Two companies got a tenant each. In the first, the platform may store, agents may read what their team handles, \
         the privacy officer may erase; each has a token.",
    )?;
    let (chats, calls) = (Arc::default(), Vec::new());
    let mut stage = Stage { teller, house, people, material: Arc::new(material), chats, calls };
    stage.store().await?;
    stage.read().await?;
    stage.be_refused().await?;
    stage.read_range().await?;
    stage.be_robbed().await?;
    stage.rehearse_attack().await?;
    let erased = stage.erase().await?;
    stage.stay_erased(&erased).await?;
    let words = stage.be_attacked().await?;
    stage.teller.sum_up(&words)
}

impl Stage<'_> {
    async fn store(&mut self) -> Result<(), CliError> {
        let material = Arc::clone(&self.material);
        self.teller.begin("store chats");
        let bar = self.teller.bar(material.chats.len() as u64);
        let chats = store_chats(&self.people.platform, &material, &bar).await?;
        bar.finish_and_clear();
        let (time, count) = (self.teller.elapsed(), chats.len() as u64);
        self.teller.done(&format!(
            "Stored {} of {} as the platform, {WORKERS} at a time: {:.0} chats/s. Each answer means it is safe on disk.",
            counted(chats.len(), "chat"),
            counted(material.customers(), "customer"),
            rate(count, time),
        ))?;
        self.chats = Arc::new(chats);

        self.teller.begin("store calls");
        let bar = self.teller.bar(material.calls.len() as u64);
        for call in &material.calls {
            self.calls.push(store_call(&self.people.platform, call, &bar).await?);
        }
        bar.finish_and_clear();
        let (time, bytes) = (self.teller.elapsed(), total(&self.calls));
        self.teller.done(&format!(
            "Stored {}, {} in all, as streams: {} up.",
            counted(self.calls.len(), "call recording"),
            size(bytes),
            byte_rate(bytes, time),
        ))
    }

    async fn read(&mut self) -> Result<(), CliError> {
        self.teller.begin("read chats back");
        let bar = self.teller.bar(self.chats.len() as u64);
        read_chats(&self.people.officer, &self.chats, &bar).await?;
        bar.finish_and_clear();
        let time = self.teller.elapsed();
        self.teller.done(&format!(
            "Read {} back as the privacy officer: each is what was stored, to the byte (SHA-256): {:.0} chats/s. \
             Each reading was noted in the ledger first.",
            counted(self.chats.len(), "chat"),
            rate(self.chats.len() as u64, time),
        ))?;

        self.teller.begin("read calls back");
        let bar = self.teller.bar(self.calls.len() as u64);
        for call in &self.calls {
            read_call(&self.people.supervisor, call).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let (time, bytes) = (self.teller.elapsed(), total(&self.calls));
        self.teller.done(&format!(
            "Read {} back: each is what was stored, to the byte (SHA-256): {} down.",
            counted(self.calls.len(), "call recording"),
            byte_rate(bytes, time),
        ))
    }

    async fn be_refused(&mut self) -> Result<(), CliError> {
        let first = self.first_chat()?;
        let (record, customer) = (first.record_id.clone(), first.customer.clone());
        self.teller.begin("read on a case");
        let agent = &self.people.agent;
        looks_absent(agent, &record).await?;
        for name in [AGENT, OTHER_AGENT] {
            self.people.platform.assign_case(assignment(&customer, name)).await?;
        }
        agent.get_transcript(read_on_case(&record)).await?;
        self.teller.done(
            "The customer's agent asked for a chat: NOT_FOUND, in the same words as for a chat that never was. The platform \
             assigned the case to the agent for an hour, and now the agent read it.",
        )?;
        self.teller.begin("refuse an agent of another team");
        let other = self.people.other_agent.get_transcript(read_on_case(&record)).await;
        let there = refused(other, Code::NotFound, None)?;
        same_as_absent(&self.people.other_agent, &there).await?;
        self.teller.done(
            "An agent of another team, with the same case, asked for it: NOT_FOUND, in the same words. It was that team's \
             neither by team nor by case.",
        )?;
        self.teller.begin("refuse another company");
        looks_absent(&self.people.foreign_agent, &record).await?;
        self.teller.done("An agent of the other company asked for it: NOT_FOUND, in the same words again.")?;
        self.teller.begin("refuse the one who stores");
        refused(self.people.platform.get_transcript(read_request(&record)).await, Code::PermissionDenied, None)?;
        self.teller
            .done("The platform, which stored it, asked for it back: PERMISSION_DENIED. Storing is not reading.")?;
        self.teller.begin("refuse a stranger");
        stranger(self.house.running()?, &record).await?;
        self.teller.done("A stranger without a token asked for it: UNAUTHENTICATED.")
    }

    async fn read_range(&mut self) -> Result<(), CliError> {
        self.teller.begin("read a range of a call");
        let (call, stored) = self.longest_call()?;
        let bytes = call.sound.bytes();
        let range = v1::ByteRange { offset: bytes / 3, length: (bytes / 3).min(100_000) };
        read_span(&self.people.supervisor, stored, &call.sound, range).await?;
        let words = format!(
            "A supervisor read {} from the middle of a call of {}: exactly these bytes, without the rest.",
            size(range.length),
            size(bytes),
        );
        self.teller.done(&words)
    }

    async fn be_robbed(&mut self) -> Result<(), CliError> {
        self.teller.begin("copy the data folder");
        let (from, to) = (self.house.running()?.config.data.dir.clone(), self.house.path(STOLEN_BEFORE));
        let copied = blocking(move || copy(&from, &to)).await?;
        let words = format!(
            "A thief copied the whole data folder, file by file, while the vault ran: {}, {}.",
            counted(copied.files, "file"),
            size(copied.bytes),
        );
        self.teller.done(&words)
    }

    /// The first chat of the customer who will be erased.
    fn first_chat(&self) -> Result<&Stored, DemoError> {
        self.chats.iter().find(|chat| chat.customer == self.material.erased).ok_or(DemoError::BrokeDown)
    }

    fn longest_call(&self) -> Result<(&Call, &Stored), DemoError> {
        let calls = self.material.calls.iter().zip(&self.calls);
        calls.max_by_key(|(call, _)| call.sound.bytes()).ok_or(DemoError::BrokeDown)
    }

    /// All that was stored.
    fn all(&self) -> impl Iterator<Item = &Stored> {
        self.chats.iter().chain(&self.calls)
    }
}

fn total(stored: &[Stored]) -> u64 {
    stored.iter().map(|one| one.bytes).sum()
}

/// Runs blocking work on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DemoError> + Send + 'static,
) -> Result<T, CliError> {
    Ok(tokio::task::spawn_blocking(work).await.unwrap_or(Err(DemoError::BrokeDown))?)
}
