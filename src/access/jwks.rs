//! The keys of an issuer, kept fresh. One task fetches them, and nobody else: at the start, every few minutes, and when a token
//! names a key that is not there, but never again within [`Rhythm::pause`]. However many strange tokens come, they cost one fetch
//! a pause, and nobody who shows a known key waits. It never takes a broken set for a good one, nor an old one for ever.
//!
//! # The life of a set
//!
//! 1. Fetched and read: it takes the place of the one before. A key that is not in it any more is worth nothing from here on.
//! 2. A fetch fails, or what came is broken: the set stays, and the next try comes after one pause.
//! 3. [`Rhythm::max_stale`] after its fetch without a newer one: it is worth nothing. Every token is refused until a fetch succeeds.

pub mod source;

use std::error::Error;
use std::future::Future;
use std::iter::{once, successors};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use super::identity::RejectReason;
use super::jwt::keys::KeySet;
use crate::crypto::jws::{Algorithm, PublicKey};
use source::Unfetched;

/// How long a fetch may take.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many calls may wait for a fetch at once; further ones are refused as if their key were unknown.
pub const MOST_WAITING: usize = 256;

/// The most causes of a failed fetch that are written to the log.
const MOST_CAUSES: usize = 8;

/// Where a set comes from.
pub trait Source: Send + Sync + 'static {
    /// The bytes of the set as they are now, at most [`super::jwt::keys::MAX_SET_BYTES`]. It is given up after [`FETCH_TIMEOUT`].
    fn fetch(&self) -> impl Future<Output = Result<Bytes, Unfetched>> + Send;
}

/// When a set is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// How long after a fetch the next one comes by itself.
    pub refresh: Duration,
    /// How long after a try nobody can bring about another one.
    pub pause: Duration,
    /// How long a set is used that could not be fetched anew.
    pub max_stale: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(300), pause: Duration::from_secs(10), max_stale: Duration::from_secs(3600) }
    }
}

/// The keys of an issuer. The task that keeps them ends when this is dropped.
pub struct Jwks {
    rhythm: Rhythm,
    board: watch::Receiver<Board>,
    /// The number of the last try that somebody waits for.
    wanted: watch::Sender<u64>,
    waiting: Semaphore,
}

/// What is known of the keys, for everyone to read.
#[derive(Clone)]
struct Board {
    keys: Option<Arc<KeySet>>,
    /// When `keys` was fetched.
    fetched: Instant,
    /// How many tries there were.
    tries: u64,
    /// When the last one ended.
    tried: Instant,
}

impl Jwks {
    /// Begins to keep the keys of `issuer` (its name, for the log). Must be called in a runtime of tokio.
    pub fn keep(issuer: &str, source: impl Source, rhythm: Rhythm) -> Self {
        let now = Instant::now();
        let (board_sender, board) = watch::channel(Board { keys: None, fetched: now, tries: 0, tried: now });
        let (wanted, wanted_receiver) = watch::channel(1);
        let keeper = Keeper { source, rhythm, board: board_sender, wanted: wanted_receiver };
        tokio::spawn(keeper.run().instrument(tracing::info_span!("issuer_keys", issuer)));
        Self { rhythm, board, wanted, waiting: Semaphore::new(MOST_WAITING) }
    }

    /// The key for a token, as [`KeySet::find`] finds it. Where it is not there, and no fetch was tried within the last pause,
    /// waits for one.
    ///
    /// Refuses with `UnknownKey`, `WrongAlgorithm`, or `Unavailable` where there are no keys that are fresh enough.
    pub async fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Arc<PublicKey>, RejectReason> {
        let board = self.board.borrow().clone();
        let found = self.find_on(&board, algorithm, kid);
        let could_help = matches!(found, Err(RejectReason::UnknownKey | RejectReason::Unavailable));
        let is_paused = board.tries > 0 && Instant::now() < board.tried + self.rhythm.pause;
        if !could_help || is_paused {
            return found;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return found };
        match self.next_try(board.tries + 1).await {
            Some(board) => self.find_on(&board, algorithm, kid),
            None => found,
        }
    }

    fn find_on(&self, board: &Board, algorithm: Algorithm, kid: Option<&str>) -> Result<Arc<PublicKey>, RejectReason> {
        let is_fresh = board.fetched.elapsed() <= self.rhythm.max_stale;
        let keys = board.keys.as_ref().filter(|_| is_fresh).ok_or(RejectReason::Unavailable)?;
        keys.find(algorithm, kid)
    }

    /// Asks for the try of this `number`, and waits for its end; `None` if the keeper is gone or does not get to it.
    async fn next_try(&self, number: u64) -> Option<Board> {
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted < number;
            *wanted = number.max(*wanted);
            is_new
        });
        let mut board = self.board.clone();
        let tried = timeout(2 * FETCH_TIMEOUT, board.wait_for(|board| board.tries >= number)).await;
        tried.ok()?.ok().map(|board| board.clone())
    }
}

/// The task.
struct Keeper<S> {
    source: S,
    rhythm: Rhythm,
    board: watch::Sender<Board>,
    wanted: watch::Receiver<u64>,
}

impl<S: Source> Keeper<S> {
    async fn run(mut self) {
        for number in 1.. {
            let fetched = self.fetch().await;
            let next_by_itself = if fetched.is_ok() { self.rhythm.refresh } else { self.rhythm.pause };
            self.note(number, fetched);
            let due = Instant::now() + next_by_itself;
            // Either it is time, or somebody waits for the next try. Numbers make a wish that was granted meanwhile no wish.
            if let Ok(Err(_dropped)) = timeout_at(due, self.wanted.wait_for(|wanted| *wanted > number)).await {
                return;
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, Unfetched> {
        let bytes = timeout(FETCH_TIMEOUT, self.source.fetch()).await.map_err(|_| Unfetched::TimedOut)??;
        Ok(KeySet::parse(&bytes)?)
    }

    fn note(&self, number: u64, fetched: Result<KeySet, Unfetched>) {
        let now = Instant::now();
        match &fetched {
            Ok(keys) => tracing::debug!(keys = keys.count(), "the keys of the issuer were fetched"),
            Err(error) => tracing::error!(
                cause = chain(error),
                "the keys of the issuer stay as they were, and are worth nothing once they are too old"
            ),
        }
        self.board.send_modify(|board| {
            board.tries = number;
            board.tried = now;
            if let Ok(keys) = fetched {
                board.keys = Some(Arc::new(keys));
                board.fetched = now;
            }
        });
    }
}

/// The error with all that is behind it. None of it holds anything of the set.
fn chain(error: &Unfetched) -> String {
    let inner = successors(error.source(), |error| (*error).source());
    let all: Vec<String> = once(error.to_string()).chain(inner.take(MOST_CAUSES).map(ToString::to_string)).collect();
    all.join(": ")
}

#[cfg(test)]
mod tests;
