//! The committer: one thread through which every write goes (group commit).
//!
//! It gathers the batches that wait, checks the preconditions of each against the database and the batches before it, applies
//! all that hold as one, syncs once, then answers all. So an answer means "survives a power cut", and many writers share one
//! sync. After a failed write it is closed for ever: it never retries. It never interprets a row, except counters (8 bytes) and
//! the position in the key of a ledger row. The ledger's Merkle tree grows here, since here its order is made.
//!
//! Each group gets a number, and goes on to the mirrors once it is durable. A batch that changes control rows is
//! answered when they have it; one that only changes pages of the key tree is not held up.
//!
//! What holds if the process stops: before the sync returns, each batch of the group is there whole or not at all, and nobody
//! was told that it is; afterwards all of them are there.

mod group;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::control_rows::{AsLogged, ControlRows};
use super::mirror::{Mirrors, NotMirrored};
use super::{Batch, BatchError, Database, LogTree, MAX_BATCH_BYTES, Position, StoreError, Write, rows};
use crate::audit::merkle::Frontier;
use group::Group;

/// The most batches that wait.
const QUEUE_BATCHES: usize = 1024;
/// The most bytes that wait or are being written, in KiB.
const QUEUE_KIB: usize = 64 * 1024;
/// The most batches that are written as one.
const GROUP_BATCHES: usize = 256;
/// Once a group has this many bytes, it is written.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// How long the end of the service waits for the mirrors, twice.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

const _: () = assert!(MAX_BATCH_BYTES / 1024 < QUEUE_KIB, "every batch that passes the checks must fit into the queue");

/// A handle on the one thread that writes. Clones share the thread; when the last one is dropped, the thread writes what waits
/// and ends.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    log: Arc<Mutex<Frontier>>,
    mirrors: Mirrors,
    as_logged: AsLogged,
    stopping: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A batch that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The positions in the ledger that its appended values got, in the order in which they were appended.
    pub ledger_positions: Vec<u64>,
}

/// A batch of which nothing was written, unless it is [`CommitError::Store`] with a failed write: then it is open until the
/// service is restarted.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something changed since the caller read it.
    #[error("precondition {precondition} of the batch no longer holds: read again, then decide again")]
    Conflict {
        /// The number that [`Batch::require_absent`] or [`Batch::require_value`] returned.
        precondition: usize,
    },
    /// The batch breaks a limit.
    #[error(transparent)]
    Invalid(#[from] BatchError),
    /// The store could not read or write.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is written and durable, and a mirror does not have it.
    #[error(transparent)]
    NotMirrored(#[from] NotMirrored),
}

type Answer = Result<Committed, CommitError>;

enum Message {
    Commit(Job),
    Stop,
}

/// A batch in the queue. It holds its share of the queue's bytes until it is answered.
struct Job {
    batch: Batch,
    answer: oneshot::Sender<Answer>,
    _room: OwnedSemaphorePermit,
}

impl Committer {
    /// Starts the thread. The ledger goes on behind its last row, the groups behind the last one, and the control rows as they are given.
    pub fn start(db: Arc<dyn Database>, mirrors: Mirrors, control_rows: ControlRows) -> Result<Self, StoreError> {
        let frontier = Frontier::of(&LogTree::new(&*db), super::log::ledger_size(&*db)?)?;
        let at = Position::of(&*db)?.in_new_run();
        mirrors.begin(frontier.clone());
        let log = Arc::new(Mutex::new(frontier.clone()));
        let (queue, messages) = mpsc::channel(QUEUE_BATCHES);
        let stopping = Arc::new(AtomicBool::new(false));
        let as_logged = control_rows.as_logged().clone();
        let (stops, follow) = (stopping.clone(), mirrors.clone());
        let writer =
            Writer { db, frontier, at, control_rows, log: log.clone(), messages, mirrors: follow, stopping: stops };
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::io("starting the committer's thread", e))?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB));
        Ok(Self { queue, room, log, mirrors, as_logged, stopping, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Writes `batch`; when this returns `Ok`, it is durable, and with control rows on all mirrors as well. Waits while the queue is full. Dropping the future after it began
    /// to wait for the answer does not take the batch back; dropping it before that leaves nothing of it.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let waits = batch.waits_for_mirrors();
        let committed = self.submit(batch).await?;
        if waits {
            let mirrors = self.mirrors.clone();
            let waited = tokio::task::spawn_blocking(move || mirrors.wait()).await;
            waited.map_err(|_| StoreError::Stopping)??;
        }
        Ok(committed)
    }

    async fn submit(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        let kib = u32::try_from(batch.bytes() / 1024 + 1).expect("a checked batch is at most 16 MiB");
        let room = self.room.clone().acquire_many_owned(kib).await.expect("nobody closes this semaphore");
        let (answer, answered) = oneshot::channel();
        let message = Message::Commit(Job { batch, answer, _room: room });
        self.queue.send(message).await.map_err(|_| self.why_closed())?;
        answered.await.unwrap_or_else(|_| Err(self.why_closed().into()))
    }

    /// [`Committer::commit`] for a thread that may block; never call it on a thread of the async runtime.
    pub fn commit_blocking(&self, batch: Batch) -> Result<Committed, CommitError> {
        let waits = batch.waits_for_mirrors();
        let committed = self.commit_here(batch)?;
        if waits {
            self.mirrors.wait()?;
        }
        Ok(committed)
    }

    /// The same without waiting for mirrors: for steps of an erasure, which is not acknowledged before they have all.
    pub fn commit_here(&self, batch: Batch) -> Result<Committed, CommitError> {
        block_on(self.submit(batch))
    }

    /// What the ledger vouches for among the control rows.
    pub fn as_logged(&self) -> &AsLogged {
        &self.as_logged
    }

    /// The mirrors.
    pub fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// The edge of the Merkle tree over the entries that are durable here and on all mirrors; `None` as long as that is not known. Nothing
    /// outside may hold on to more of the log: what a mirror does not have can be lost.
    pub fn settled_log(&self) -> Option<Frontier> {
        self.mirrors.settled()
    }

    /// The edge of the Merkle tree over the entries that are durable here.
    pub fn log(&self) -> Frontier {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether writes are still taken; for health checks.
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Writes what waits, refuses what comes later through any handle, and returns when the thread has ended and given up the
    /// database. Blocks.
    pub fn close(self) {
        // A first copy that is nearly done is not given up for a few seconds.
        let _ = self.mirrors.wait_for(LAST_PATIENCE);
        // An error means that the thread has ended already.
        let _ = block_on(self.queue.send(Message::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the committer's thread panicked; the last writes were not acknowledged");
        }
        self.mirrors.ended(LAST_PATIENCE);
    }

    /// A thread that ended without being told to has met a failed write, or panicked, which counts as one.
    fn why_closed(&self) -> StoreError {
        if self.stopping.load(Ordering::Acquire) { StoreError::Stopping } else { StoreError::Closed }
    }
}

/// The thread's side.
struct Writer {
    db: Arc<dyn Database>,
    frontier: Frontier,
    /// Where the database stands.
    at: Position,
    control_rows: ControlRows,
    /// The frontier for others to see, once it is durable.
    log: Arc<Mutex<Frontier>>,
    messages: mpsc::Receiver<Message>,
    mirrors: Mirrors,
    stopping: Arc<AtomicBool>,
}

impl Writer {
    fn run(self) {
        let mirrors = self.mirrors.clone();
        self.serve();
        mirrors.stop();
    }

    fn serve(mut self) {
        while let Some(message) = self.messages.blocking_recv() {
            let (jobs, stop) = self.gather(message);
            if !self.write(jobs) {
                return self.refuse_all(|| StoreError::Closed);
            }
            if stop {
                self.stopping.store(true, Ordering::Release);
                return self.refuse_all(|| StoreError::Stopping);
            }
        }
    }

    /// Takes what waits, up to the limits of a group; says whether the service is to stop after it.
    fn gather(&mut self, first: Message) -> (Vec<Job>, bool) {
        let mut jobs = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            let Message::Commit(job) = message else { return (jobs, true) };
            bytes += job.batch.bytes();
            jobs.push(job);
            let full = jobs.len() >= GROUP_BATCHES || bytes >= GROUP_BYTES;
            next = if full { None } else { self.messages.try_recv().ok() };
        }
        (jobs, false)
    }

    /// Writes the batches that hold and answers all. `false` after a failed write.
    fn write(&mut self, jobs: Vec<Job>) -> bool {
        let mut group = Group::new(&*self.db, self.frontier.clone());
        let mut accepted = Vec::with_capacity(jobs.len());
        let mut held = Vec::new();
        for Job { mut batch, answer, _room: room } in jobs {
            let with_it = batch.take_held();
            match group.add(batch) {
                Ok(committed) => {
                    held.extend(with_it);
                    accepted.push((answer, committed, room));
                }
                Err(refused) => tell(answer, Err(refused)),
            }
        }
        let tied = group.commit_to(&mut self.control_rows);
        let (mut writes, frontier) = group.finish();
        let written = if tied.is_err() || writes.is_empty() {
            // Earlier groups are durable already, so a group of fences has nothing to wait for.
            tied
        } else {
            let at = self.at.next();
            writes.push(Write::Put { key: rows::position(), value: at.encode() });
            self.apply(&writes, held).map(|()| {
                self.at = at;
                self.control_rows.keep();
                self.mirrors.send(at, writes, &frontier);
            })
        };
        let Err(error) = written else {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&frontier);
            self.frontier = frontier;
            accepted.into_iter().for_each(|(answer, committed, _room)| tell(answer, Ok(committed)));
            return true;
        };
        tracing::error!(error = &error as &dyn std::error::Error, "a write failed; closed to writes until a restart");
        // Before anybody hears of it: who asks then whether writes are still taken must not be told yes.
        self.messages.close();
        let full = matches!(error, StoreError::Full);
        for (answer, _, _room) in accepted {
            tell(answer, Err(if full { StoreError::Full } else { StoreError::Closed }.into()));
        }
        false
    }

    /// Writes and syncs. What was held ends between the two: from then on the rows can be seen.
    fn apply(&self, writes: &[Write], held: Vec<Box<dyn Send>>) -> Result<(), StoreError> {
        self.db.apply(writes)?;
        drop(held);
        self.db.sync()
    }

    /// Answers what still waits, and all that comes, with an error.
    fn refuse_all(mut self, why: impl Fn() -> StoreError) {
        self.messages.close();
        while let Some(message) = self.messages.blocking_recv() {
            if let Message::Commit(job) = message {
                tell(job.answer, Err(why().into()));
            }
        }
    }
}

fn tell(answer: oneshot::Sender<Answer>, outcome: Answer) {
    // Nobody listens if the caller gave up; the batch counts all the same.
    let _ = answer.send(outcome);
}

/// Runs a future on this thread. The futures here wait for other threads only, so they need no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
