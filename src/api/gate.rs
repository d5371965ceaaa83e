//! The one gate in front of every method: who calls, may they, and how often. What it refuses is entered into the ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failures::{Failures, RATE_LIMITED, Shown};
use super::leash::Leash;
use super::presented::Presented;
use super::status::ApiError;
use crate::access::identity::{
    BearerToken, RejectReason, Unauthenticated, authenticate, certified, on_behalf_of, over_connection_of, vouched_for,
};
use crate::access::jwt::Issuers;
use crate::access::permit::{Permit, TenantScope};
use crate::access::{Access, Explanation, Refused};
use crate::config::Limits;
use crate::crypto::hash::{Sha256, sha256};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::grant::Why;
use crate::domain::ids::{RecordId, Revision, TenantName, TokenId};
use crate::domain::principal::Principal;
use crate::domain::record::RecordFacts;
use crate::telemetry::metrics::Metrics;
use crate::tls::{PeerCertificate, Tls};
use crate::vault::{Looked, Vault, VaultError};

/// The word in the ledger for valid logins of a tenant that is suspended.
const SUSPENDED: &str = "suspended";

/// What one upload or download holds in memory at most: chunks on their way in, out and to the disk.
const STREAM_BYTES: u64 = 2 * 1024 * 1024;

/// The gate.
pub(super) struct Gate {
    pub vault: Arc<Vault>,
    access: Arc<Access>,
    pub metrics: Arc<Metrics>,
    streams: Arc<Semaphore>,
    streams_limit: u64,
    /// How long a download waits for a reader who takes nothing.
    pub stream_idle: Duration,
    /// How often an open stream asks again.
    recheck: Duration,
    issuers: Issuers,
    tls: Option<Arc<Tls>>,
    failures: Failures,
}

impl Gate {
    pub fn new(
        vault: Arc<Vault>,
        (access, issuers, tls): (Arc<Access>, Issuers, Option<Arc<Tls>>),
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let streams_limit = (limits.bytes_in_flight / STREAM_BYTES).max(1);
        let permits = usize::try_from(streams_limit).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let stream_idle = Duration::from_millis(limits.stream_idle_timeout_ms);
        let recheck = Duration::from_millis(limits.access_recheck_ms);
        let streams = Arc::new(Semaphore::new(permits));
        let failures = Failures::new(limits.failed_logins_per_minute);
        Self { vault, access, metrics, streams, streams_limit, stream_idle, recheck, issuers, tls, failures }
    }

    /// Gives back the space of what was erased, in the background.
    pub fn reclaim(&self) {
        let vault = Arc::clone(&self.vault);
        tokio::spawn(async move {
            if let Err(error) = vault.reclaim().await {
                tracing::warn!(%error, "space of what was erased was not given back; tried again at the next erasure");
            }
        });
    }

    /// Who calls. Counts towards the tenant's calls a second; a failure towards those of its source.
    pub async fn caller(&self, presented: &Presented) -> Result<Principal, ApiError> {
        let shown = hash_of(presented);
        let limited = |_: &ApiError| self.metrics.authentication_failed(RATE_LIMITED);
        self.failures.check(presented.source, &shown).inspect_err(limited)?;
        let (principal, calls_per_second) = self.authenticate(presented).await.inspect_err(|error| match error {
            GateError::Refused(Refused::Unauthenticated(why)) => {
                self.metrics.authentication_failed(why.reason().name());
                self.failures.note(presented.source, &shown, why.reason());
            }
            GateError::Refused(Refused::Suspended) => self.failures.tell(presented.source, SUSPENDED),
            _ => {}
        })?;
        self.failures.passed(shown);
        self.vault.count_call(principal.tenant, calls_per_second)?;
        Ok(principal)
    }

    /// The door of a tenant (the caller's own where `None`): may the caller do this there at all?
    pub async fn door(
        &self,
        caller: &Principal,
        action: Action,
        tenant: Option<TenantName>,
        why: Option<Why>,
    ) -> Result<Permit<TenantScope>, ApiError> {
        let tenant = match tenant {
            None => caller.tenant,
            Some(name) => self.vault.tenant_id(name).await?,
        };
        let permit = self.access.door(caller, action, tenant, why);
        self.noted(caller, action, None, permit).await
    }

    /// A record behind the door, by its newest revision or the one that is named. One that is absent looks like one that may not be seen.
    pub async fn record(
        &self,
        door: &Permit<TenantScope>,
        record: RecordId,
        revision: Option<Revision>,
    ) -> Result<Permit<RecordFacts>, ApiError> {
        let permit = match self.vault.look(door, record, revision).await? {
            Looked::There(facts) => self.access.record(door, facts),
            Looked::Absent(nobodys) => {
                // Asked, and not listened to: it takes as long as for a record that is there.
                drop(self.access.record(door, nobodys));
                Err(Refused::NotThisRecord)
            }
        };
        self.noted(door.principal(), door.action(), Some(record), permit).await
    }

    /// What decides; see [`Access::explain`].
    pub fn explain(
        &self,
        principal: &Principal,
        action: Action,
        why: Option<Why>,
        facts: Option<RecordFacts>,
    ) -> Result<Explanation, ApiError> {
        Ok(self.access.explain(principal, action, why, facts)?)
    }

    /// A leash for a stream that stores through `door`.
    pub fn leash_of_door(self: &Arc<Self>, presented: Arc<Presented>, door: &Permit<TenantScope>) -> Leash {
        let (gate, presented, question) = (Arc::clone(self), presented, Question::of(door));
        Leash::new(self.recheck, move || {
            let (gate, presented, question) = (Arc::clone(&gate), Arc::clone(&presented), question.clone());
            async move { gate.still_at_the_door(&presented, &question).await.map(drop) }
        })
    }

    /// A leash for a stream that reads what `permit` is for.
    pub fn leash_of_record(self: &Arc<Self>, presented: Arc<Presented>, permit: &Permit<RecordFacts>) -> Leash {
        let (gate, presented, question) = (Arc::clone(self), presented, Question::of(permit));
        let (record, revision) = (permit.resource().id, permit.resource().revision);
        Leash::new(self.recheck, move || {
            let (gate, presented, question) = (Arc::clone(&gate), Arc::clone(&presented), question.clone());
            async move {
                let door = gate.still_at_the_door(&presented, &question).await?;
                gate.record(&door, record, Some(revision)).await.map(drop)
            }
        })
    }

    /// Asks at the door again, for a stream that is open. It counts as no call.
    async fn still_at_the_door(
        &self,
        presented: &Presented,
        question: &Question,
    ) -> Result<Permit<TenantScope>, ApiError> {
        let (caller, _) = self.authenticate(presented).await?;
        let permit = self.access.door(&caller, question.action, caller.tenant, question.why.clone());
        self.noted(&caller, question.action, None, permit).await
    }

    /// Which records the caller may see in a list.
    pub fn visible(
        &self,
        door: &Arc<Permit<TenantScope>>,
    ) -> impl Fn(RecordFacts) -> Option<Permit<RecordFacts>> + Send + 'static {
        let (access, door) = (Arc::clone(&self.access), Arc::clone(door));
        move |facts| access.record(&door, facts).ok()
    }

    /// Room for one more stream; refused when too many bytes could be in flight.
    pub fn room_for_a_stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let room = Arc::clone(&self.streams).try_acquire_owned();
        room.map_err(|_| ApiError::Overloaded {
            what: "the number of uploads and downloads",
            limit: self.streams_limit,
            retry_ms: 1_000,
        })
    }

    /// Enters the failed logins since the last time into the ledger.
    pub async fn note_failures(&self) -> Result<(), ApiError> {
        let gathered = self.failures.gather();
        if gathered.reasons.is_empty() {
            return Ok(());
        }
        let noted = self.vault.note_failed_logins(gathered.reasons.clone(), gathered.sources).await;
        // Nothing of it is lost where it could not be entered: the next time it is.
        Ok(noted.inspect_err(|_| self.failures.give_back(&gathered))?)
    }

    /// The caller, and how many calls a second its tenant may make. Where a platform shows for whom it calls, that one is the caller.
    async fn authenticate(&self, presented: &Presented) -> Result<(Principal, Option<u32>), GateError> {
        let client = match &presented.certificate {
            None => None,
            Some(certificate) => self.client(certificate, presented.authorization.is_some()).await?,
        };
        let (mut principal, calls_per_second) = match (&presented.authorization, client) {
            (Some(header), None) => self.bearer(header).await?,
            (Some(header), Some((client, _))) => {
                let (principal, calls_per_second) = self.bearer(header).await?;
                (over_connection_of(principal, client)?, calls_per_second)
            }
            (None, Some(client)) => client,
            (None, None) => return Err(Refused::from(Unauthenticated::MISSING).into()),
        };
        if let Some(behalf) = &presented.on_behalf_of {
            let (behalf, _) = self.bearer(behalf).await?;
            principal = on_behalf_of(principal, behalf)?;
        }
        Ok((principal, calls_per_second))
    }

    /// Whom the certificate of a connection stands for; nobody where its name is bound to nobody and a token comes with it. One that is not
    /// believed any more is refused, whatever comes with it.
    async fn client(
        &self,
        certificate: &PeerCertificate,
        has_token: bool,
    ) -> Result<Option<(Principal, Option<u32>)>, GateError> {
        let now = Timestamp::now();
        let trusted = self.tls.as_ref().map(|tls| tls.trust().still_trusted(certificate, now));
        if let Some(Err(_)) | None = trusted {
            return Err(Refused::from(Unauthenticated::from(RejectReason::UntrustedCertificate)).into());
        }
        let stored = self.vault.certified(certificate.name().clone()).await;
        let (stored, calls_per_second) = stored.map_err(|error| GateError::Failed(error.into()))?.unzip();
        if stored.is_none() && has_token {
            return Ok(None);
        }
        match certified(stored, now) {
            // As one that was never bound: what ends by itself takes nothing from the token.
            Err(Refused::Unauthenticated(why)) if has_token && why.reason() == RejectReason::Expired => Ok(None),
            principal => Ok(Some((principal?, calls_per_second.flatten()))),
        }
    }

    /// Who shows this: a token of the vault's own, or one of an issuer.
    async fn bearer(&self, header: &str) -> Result<(Principal, Option<u32>), GateError> {
        let now = Timestamp::now();
        let failed = |error: VaultError| GateError::Failed(error.into());
        if let Some(jwt) = issued(header) {
            let identity = self.issuers.identify(jwt, now).await;
            let identity = identity.map_err(|reason| Refused::from(Unauthenticated::from(reason)))?;
            let (tenant, name, actor) = (identity.tenant.clone(), identity.name.clone(), identity.actor.clone());
            let credential = credential_of(&identity.issuer, jwt, identity.token_id.as_deref());
            let known = self.vault.outsider(tenant, (name, actor), credential).await.map_err(failed)?;
            let calls_per_second = known.as_ref().and_then(|known| known.calls_per_second);
            return Ok((vouched_for(identity, known, credential)?, calls_per_second));
        }
        let token = BearerToken::parse_header(header).map_err(Refused::from)?;
        let stored = self.vault.identity(token.id()).await.map_err(failed)?;
        let (stored, calls_per_second) = stored.unzip();
        Ok((authenticate(&token, sha256(token.secret()), stored, now)?, calls_per_second.flatten()))
    }

    async fn noted<R>(
        &self,
        caller: &Principal,
        action: Action,
        record: Option<RecordId>,
        permit: Result<Permit<R>, Refused>,
    ) -> Result<Permit<R>, ApiError> {
        if let Err(refused) = &permit
            && *refused != Refused::NoPurpose
        {
            self.vault.note_refusal(caller, action, record).await?;
        }
        permit.map_err(ApiError::from)
    }
}

/// A hash of all by which a call shows who makes it. It leads back to none of it.
fn hash_of(presented: &Presented) -> Shown {
    let mut hash = Sha256::new();
    let certificate = presented.certificate.as_ref().map(|certificate| &certificate.fingerprint()[..]);
    let headers = [&presented.authorization, &presented.on_behalf_of];
    for part in headers.map(|header| header.as_ref().map(|text| text.as_bytes())).into_iter().chain([certificate]) {
        // Framed, so that no two different ones look alike.
        hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.finish()
}

/// The token of an issuer in the value of a header: whatever has dots, as no token of the vault's own has.
fn issued(header: &str) -> Option<&str> {
    const SCHEME: &str = "Bearer ";
    let (scheme, token) = header.split_at_checked(SCHEME.len())?;
    (scheme.eq_ignore_ascii_case(SCHEME) && token.contains('.')).then_some(token)
}

/// What stands for an issuer's token in the ledger: a hash of the issuer's and its own name, or of all that was signed. Not of the signature: of
/// ECDSA there are two that are good, and whoever has one can make the other.
fn credential_of(issuer: &str, jwt: &str, token_id: Option<&str>) -> TokenId {
    let signed = jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed);
    let named = token_id.map_or_else(|| ["jwt", signed].join("\n"), |id| ["jti", issuer, id].join("\n"));
    TokenId(*sha256(named.as_bytes()).first_chunk().expect("a hash of SHA-256 has 32 bytes"))
}

/// What was asked at the door.
#[derive(Clone)]
struct Question {
    action: Action,
    why: Option<Why>,
}

impl Question {
    fn of<R>(permit: &Permit<R>) -> Self {
        Self { action: permit.action(), why: permit.why().cloned() }
    }
}

/// Why nobody was let in.
enum GateError {
    Refused(Refused),
    Failed(ApiError),
}

impl From<Refused> for GateError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Refused(refused) => refused.into(),
            GateError::Failed(error) => error,
        }
    }
}
