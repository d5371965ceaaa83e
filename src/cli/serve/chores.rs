//! What the service does beside its calls, for as long as it serves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::errors::chain;
use crate::config::Limits;
use crate::domain::clock::Timestamp;
use crate::telemetry::metrics::Metrics;
use crate::vault::{CompactionRules, Sort, Vault, VaultError};

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

/// Gives back what replaced and removed rows take of the disk, once it is enough.
pub async fn compact(vault: Arc<Vault>, limits: Limits, metrics: Arc<Metrics>, ended: CancellationToken) {
    let rules = CompactionRules { dead_percent: limits.compact_dead_percent, dead_bytes: limits.compact_dead_bytes };
    let interval = Duration::from_secs(limits.compact_check_s);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval.min(FIRST_LOOK), interval);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ended.cancelled() => return,
        }
        let done = compact_once(&vault, rules, &metrics, &ended).await;
        if let Err(error) = done {
            metrics.compactions_failed.inc();
            let again_s = interval.as_secs();
            tracing::warn!(error = chain(&error), again_s, "the database was not compacted, and goes on as it is");
        }
    }
}

/// How long after the start it is looked for the first time whether the database is to be compacted.
const FIRST_LOOK: Duration = Duration::from_secs(60);

async fn compact_once(
    vault: &Vault,
    rules: CompactionRules,
    metrics: &Metrics,
    ended: &CancellationToken,
) -> Result<(), VaultError> {
    let is_over = |ended: &CancellationToken| {
        let ended = ended.clone();
        move || ended.is_cancelled()
    };
    let Some(found) = vault.disk_use(is_over(ended)).await? else { return Ok(()) };
    metrics.show_database(found.file_bytes, found.live_bytes, found.dead_bytes());
    let Some(done) = vault.compact_if_due(rules, found, is_over(ended)).await? else { return Ok(()) };
    metrics.compactions.inc();
    let live = found.live_bytes;
    metrics.show_database(done.after, live, 0);
    let longest_pause_ms = u64::try_from(done.longest_pause.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        before = done.before,
        after = done.after,
        rows = done.rows,
        longest_pause_ms,
        "the database was compacted"
    );
    Ok(())
}

/// Shows how the mirrors are.
pub async fn watch_vault(vault: Arc<Vault>, metrics: Arc<Metrics>, ended: CancellationToken) {
    const LOOK_INTERVAL: Duration = Duration::from_secs(1);
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    let mut told = vault.alerts_of_insiders();
    // What was met while it started counts, too.
    let mut told_of_storage = vault.alerts_of_storage().map(|(sort, _)| (sort, 0));
    let mut found_wrong = 0;
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
        let wrong = vault.key_tree_alarms();
        (found_wrong..wrong).for_each(|_| metrics.alert("key_tree_damaged"));
        found_wrong = wrong;
        let mirrors = vault.mirrors();
        let failing = mirrors.iter().filter(|mirror| mirror.problem.is_some()).count();
        let behind = mirrors.iter().map(|mirror| mirror.groups_behind).max().unwrap_or(0);
        metrics.mirrors_failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
        metrics.mirror_groups_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        let whole = mirrors.iter().filter(|mirror| mirror.place.sort == Sort::Whole);
        metrics.show_mirrors(whole.map(|mirror| {
            let is_complete = mirror.objects_until.is_some() && mirror.objects.behind == 0 && mirror.problem.is_none();
            (&*mirror.place.directory, mirror.objects.behind, is_complete)
        }));
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
