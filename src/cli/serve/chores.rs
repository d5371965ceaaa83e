//! What the service does beside its calls, for as long as it serves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::errors::chain;
use crate::domain::clock::Timestamp;
use crate::telemetry::metrics::Metrics;
use crate::vault::{Vault, VaultError};

/// Gives back what erased customers left when the service last stopped.
pub async fn reclaim(vault: Arc<Vault>, ended: CancellationToken) {
    tokio::select! {
        done = vault.reclaim() => if let Err(error) = done {
            tracing::warn!(error = chain(&error), "the space of erased customers was not all given back; the next start tries again");
        },
        () = ended.cancelled() => {}
    }
}

/// Begins an epoch a day, so that no root key lives longer, and tries again what an epoch that failed left.
pub async fn renew_root_key(vault: Arc<Vault>, ended: CancellationToken) {
    const RETRY_INTERVAL: Duration = Duration::from_secs(60);
    const ROOT_KEY_AGE: Duration = Duration::from_secs(24 * 60 * 60);
    let start = tokio::time::Instant::now() + RETRY_INTERVAL;
    let mut ticks = tokio::time::interval_at(start, RETRY_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        if let Err(error) = vault.renew_root_key(ROOT_KEY_AGE).await {
            tracing::error!(
                error = chain(&error),
                "erasures that were asked for are not final; tried again in a minute"
            );
        }
    }
}

/// Has the root key's provider remember the end of the log, every few seconds.
pub async fn keep_pin(vault: Arc<Vault>, ended: CancellationToken) {
    const PIN_INTERVAL: Duration = Duration::from_secs(5);
    let mut ticks = tokio::time::interval(PIN_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        if let Err(error) = vault.keep_pin().await {
            tracing::warn!(
                error = chain(&error),
                "the end of the log was not remembered beside the root key; tried again in 5 s"
            );
        }
    }
}

/// Keeps the log's files beside the data up to the log.
pub async fn publish_log(vault: Arc<Vault>, ended: CancellationToken) {
    const PUBLISH_INTERVAL: Duration = Duration::from_secs(10);
    let mut ticks = tokio::time::interval(PUBLISH_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        if let Err(error) = vault.publish_log().await {
            tracing::warn!(
                error = chain(&error),
                "the files of the log were not brought up to it; tried again in 10 s"
            );
        }
    }
}

/// Reads the whole log once, behind everything else, and says so aloud if it is not as it was logged.
pub async fn check_log(vault: Arc<Vault>, metrics: Arc<Metrics>, ended: CancellationToken) {
    let over = ended.clone();
    match vault.check_log(move || over.is_cancelled()).await {
        Ok(()) if !ended.is_cancelled() => tracing::info!("the log is as it was logged"),
        Ok(()) => {}
        Err(error @ VaultError::Damaged { .. }) => {
            metrics.alert("log_damaged");
            tracing::error!(
                error = chain(&error),
                "entries of the log are not those that were logged: somebody or something wrote to the database past the service. Keep a copy of it for whoever examines it"
            );
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "the log could not be read whole; tried again at the next start")
        }
    }
}

/// Shows how the mirrors are.
pub async fn watch_vault(vault: Arc<Vault>, metrics: Arc<Metrics>, ended: CancellationToken) {
    const LOOK_INTERVAL: Duration = Duration::from_secs(1);
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    let mut told = vault.alerts_of_insiders();
    // What was met while it started counts, too.
    let mut told_of_storage = vault.alerts_of_storage().map(|(sort, _)| (sort, 0));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        let alerts = vault.alerts_of_insiders();
        for ((sort, now), (_, before)) in alerts.into_iter().zip(told) {
            (before..now).for_each(|_| metrics.alert(sort));
        }
        told = alerts;
        let alerts = vault.alerts_of_storage();
        for ((sort, now), (_, before)) in alerts.into_iter().zip(told_of_storage) {
            (before..now).for_each(|_| metrics.alert(sort));
        }
        told_of_storage = alerts;
        let mirrors = vault.mirrors();
        let failing = mirrors.iter().filter(|mirror| mirror.problem.is_some()).count();
        let behind = mirrors.iter().map(|mirror| mirror.groups_behind).max().unwrap_or(0);
        metrics.mirrors_failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
        metrics.mirror_groups_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }
}

/// Forgets, every hour, the requests that are older than their retention.
pub async fn forget_requests(vault: Arc<Vault>, retention_hours: u64, ended: CancellationToken) {
    const HOUR_MS: u64 = 3_600_000;
    let mut hours = tokio::time::interval(Duration::from_millis(HOUR_MS));
    loop {
        tokio::select! {
            _ = hours.tick() => {}
            () = ended.cancelled() => return,
        }
        let kept_ms = retention_hours.saturating_mul(HOUR_MS);
        let before = Timestamp::from_ms(Timestamp::now().as_ms().saturating_sub(kept_ms));
        if let Err(error) = vault.forget_requests(before.unwrap_or(Timestamp::MAX)).await {
            tracing::warn!(error = chain(&error), "old request ids were not forgotten; tried again in an hour");
        }
        if let Err(error) = vault.forget_grants(Timestamp::now()).await {
            tracing::warn!(
                error = chain(&error),
                "expired cases were not removed, and are worth nothing; tried again in an hour"
            );
        }
        if let Err(error) = vault.forget_approvals(Timestamp::now()).await {
            tracing::warn!(
                error = chain(&error),
                "approvals that are over were not removed, and are worth nothing; tried again in an hour"
            );
        }
        if let Err(error) = vault.forget_days(Timestamp::now()).await {
            tracing::warn!(
                error = chain(&error),
                "what was read on days that are over is still counted; tried again in an hour"
            );
        }
    }
}
