//! `oubliette.v1.AuditService`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::leash::Leash;
use super::manners::Watches;
use super::presented::Presented;
use super::status::ApiError;
use super::v1::audit_service_server::AuditService;
use super::{from_proto, page_token, to_proto, v1};
use crate::access::permit::{Permit, TenantScope};
use crate::domain::action::Action;
use crate::vault::{Fenced, LedgerReader, LogFilter, LogPage, Report};

/// The service.
pub(super) struct Audit {
    gate: Arc<Gate>,
    reports: Arc<Semaphore>,
}

/// How often a watch looks for entries that have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Entries taken in one go.
const ENTRIES_AT_ONCE: usize = 256;
/// Reports of exposure that are made at once: one of two million records takes about 300 MB.
const REPORTS_AT_ONCE: usize = 2;
/// Messages that wait for a slow watcher.
const WAITING: usize = 64;

impl Audit {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, reports: Arc::new(Semaphore::new(REPORTS_AT_ONCE)) }
    }

    /// The door of the caller's own tenant.
    async fn door<M>(&self, request: &Request<M>, action: Action) -> Result<Permit<TenantScope>, ApiError> {
        let caller = self.gate.caller(&Presented::of(request)).await?;
        self.gate.door(&caller, action, None, None).await
    }

    async fn list(&self, request: Request<v1::ListEntriesRequest>) -> Result<v1::ListEntriesResponse, ApiError> {
        let permit = self.door(&request, Action::ListEntries).await?;
        let (filter, from, size) = from_proto::list_entries(request.into_inner())?;
        let reader = self.gate.vault.read_ledger(permit, filter).await?;
        let LogPage { entries, next, has_more } = reader.page(from, size).await?;
        Ok(v1::ListEntriesResponse {
            entries: entries.into_iter().map(to_proto::logged).collect(),
            next_page_token: if has_more { page_token::write(&next.to_be_bytes()) } else { String::new() },
        })
    }

    async fn watch(&self, request: Request<v1::WatchEntriesRequest>) -> Result<Watching, ApiError> {
        let permit = self.door(&request, Action::WatchEntries).await?;
        let room = self.gate.room_for_a_stream()?;
        let leash = self.gate.leash_of_door(Arc::new(Presented::of(&request)), &permit);
        let reader = self.gate.vault.read_ledger(permit, LogFilter::default()).await?;
        let from = request.get_ref().from_position.unwrap_or_else(|| reader.end());
        Ok(Watching::of(reader, from, leash, (self.gate.stream_idle, room)))
    }

    async fn inclusion(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<v1::GetInclusionProofResponse, ApiError> {
        let permit = self.door(&request, Action::GetInclusionProof).await?;
        let asked = from_proto::inclusion(request.get_ref())?;
        let (leaf, hashes) = self.gate.vault.inclusion_proof(permit, asked).await?;
        Ok(v1::GetInclusionProofResponse { leaf_hash: leaf.to_vec().into(), hashes: to_proto::hashes(&hashes) })
    }

    async fn consistency(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<v1::GetConsistencyProofResponse, ApiError> {
        let permit = self.door(&request, Action::GetConsistencyProof).await?;
        let asked = from_proto::consistency(request.get_ref())?;
        let hashes = self.gate.vault.consistency_proof(permit, asked).await?;
        Ok(v1::GetConsistencyProofResponse { hashes: to_proto::hashes(&hashes) })
    }

    async fn report(&self, request: Request<v1::ReportExposureRequest>) -> Result<Pieces, ApiError> {
        let permit = self.door(&request, Action::ReportExposure).await?;
        let room = Arc::clone(&self.reports).try_acquire_owned().map_err(|_| ApiError::Overloaded {
            what: "the number of reports of exposure",
            limit: REPORTS_AT_ONCE as u64,
            retry_ms: 5_000,
        })?;
        let leash = self.gate.leash_of_door(Arc::new(Presented::of(&request)), &permit);
        let about = from_proto::report_exposure(request.into_inner())?;
        let (report, room) = self.gate.vault.report_exposure(permit, about, room).await?;
        Ok(Pieces::of(report, leash, self.gate.stream_idle, room))
    }
}

type Piece = Result<Fenced<Vec<u8>>, Status>;

/// The pieces of a report. One is made ahead; it stays here once one of its customers is being erased, the tenant is frozen or the caller's
/// right is gone.
pub(super) struct Pieces {
    waiting: mpsc::Receiver<Option<Piece>>,
    leash: Leash,
    limit_ms: u64,
    has_ended: bool,
}

impl Pieces {
    fn of(mut report: Report, leash: Leash, idle: Duration, room: OwnedSemaphorePermit) -> Self {
        let limit_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let (sender, waiting) = mpsc::channel(1);
        let pulled = leash.pulled();
        let make = async move {
            loop {
                let piece = report.next().await.map_err(|error| ApiError::from(error).into()).transpose();
                let is_last = piece.as_ref().is_none_or(Result::is_err);
                if sender.send_timeout(piece, idle).await.is_err() || is_last {
                    // What it held goes first.
                    drop(report);
                    return drop(room);
                }
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = pulled.cancelled() => {}
                () = make => {}
            }
        });
        Self { waiting, leash, limit_ms, has_ended: false }
    }
}

impl Stream for Pieces {
    type Item = Result<v1::ReportExposureResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.waiting.poll_recv(context));
        let outcome = match (self.leash.why(), next) {
            (Some(error), _) => Err(error.into()),
            (None, Some(Some(Ok(Fenced { content, watches })))) => match Watches::new(watches).over() {
                None => Ok(content),
                Some(error) => Err(error.into()),
            },
            (None, Some(Some(Err(status)))) => Err(status),
            (None, Some(None)) => {
                self.has_ended = true;
                return Poll::Ready(None);
            }
            (None, None) => Err(ApiError::StreamIdle { limit_ms: self.limit_ms }.into()),
        };
        self.has_ended = outcome.is_err();
        Poll::Ready(Some(outcome.map(|piece| v1::ReportExposureResponse { chunk: piece.into() })))
    }
}

type Seen = Result<v1::WatchEntriesResponse, Status>;

/// The entries of a watch.
pub(super) struct Watching {
    waiting: mpsc::Receiver<Seen>,
    leash: Leash,
    stop: CancellationToken,
    has_ended: bool,
    _room: OwnedSemaphorePermit,
}

impl Watching {
    fn of(reader: LedgerReader, from: u64, leash: Leash, (idle, room): (Duration, OwnedSemaphorePermit)) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING);
        let (stop, pulled) = (CancellationToken::new(), leash.pulled());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = pulled.cancelled() => {}
                () = follow(&reader, from, &sender, idle) => {}
            }
        });
        Self { waiting, leash, stop, has_ended: false, _room: room }
    }
}

/// Sends what is there and what comes, until nobody listens, nothing was taken for `idle`, or something fails.
async fn follow(reader: &LedgerReader, mut next: u64, sender: &mpsc::Sender<Seen>, idle: Duration) {
    loop {
        let page = match reader.page(next, ENTRIES_AT_ONCE).await {
            Ok(page) => page,
            // Whoever listens hears it; nobody else needs to.
            Err(error) => return drop(sender.send_timeout(Err(ApiError::from(error).into()), idle).await),
        };
        for entry in page.entries {
            let seen = v1::WatchEntriesResponse { entry: Some(to_proto::logged(entry)) };
            if sender.send_timeout(Ok(seen), idle).await.is_err() {
                return;
            }
        }
        // Where the page stopped, and not where the log ends by now: what came in between is looked at next.
        next = page.next;
        if !page.has_more {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Stream for Watching {
    type Item = Seen;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Seen>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.waiting.poll_recv(context));
        if let Some(error) = self.leash.why() {
            self.has_ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        self.has_ended = next.as_ref().is_none_or(Result::is_err);
        Poll::Ready(next)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    type WatchEntriesStream = Watching;
    type ReportExposureStream = Pieces;

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    async fn watch_entries(&self, request: Request<v1::WatchEntriesRequest>) -> Result<Response<Watching>, Status> {
        Ok(Response::new(self.watch(request).await?))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let permit = self.door(&request, Action::GetCheckpoint).await?;
        let note = self.gate.vault.checkpoint(permit).await.map_err(ApiError::from)?;
        Ok(Response::new(v1::GetCheckpointResponse { note }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        Ok(Response::new(self.inclusion(request).await?))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        Ok(Response::new(self.consistency(request).await?))
    }

    async fn report_exposure(&self, request: Request<v1::ReportExposureRequest>) -> Result<Response<Pieces>, Status> {
        Ok(Response::new(self.report(request).await?))
    }
}
