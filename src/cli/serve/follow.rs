//! Takes a changed configuration over while the service serves.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Hangups, vault_paths};
use crate::access::Access;
use crate::cli::errors::chain;
use crate::cli::policy;
use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use crate::vault::Vault;

/// Takes policy and mirrors over from the configuration whenever it is told that they have changed. What cannot be taken over stays as it
/// was, loudly.
pub async fn follow_config(
    vault: Arc<Vault>,
    (access, metrics): (Arc<Access>, Arc<Metrics>),
    hangups: Option<Hangups>,
    ended: CancellationToken,
) {
    let Some(Hangups { file, mut signal }) = hangups else { return };
    loop {
        tokio::select! {
            heard = signal.recv() => if heard.is_none() { return },
            () = ended.cancelled() => return,
        }
        match Config::load(&file) {
            Ok(config) => {
                follow_policy(&vault, &access, &metrics, config.policy.file.as_deref()).await;
                match vault.change_mirrors(vault_paths(&config)).await {
                    Ok(()) => {
                        tracing::info!(mirrors = vault.mirrors().len(), "the mirrors of the configuration are followed")
                    }
                    Err(error) => {
                        tracing::error!(error = chain(&error), "the mirrors are not taken over; they stay as they were")
                    }
                }
            }
            Err(error) => tracing::error!(
                error = chain(&error),
                "the configuration is not taken over; policy and mirrors stay as they were"
            ),
        }
    }
}

/// Takes the policy over. It stands in the ledger before it decides anything.
pub async fn follow_policy(vault: &Vault, access: &Access, metrics: &Metrics, file: Option<&Path>) {
    let taken = match policy::load(file) {
        Ok((policies, hash)) => vault.note_policy(hash, true).await.map(|()| policies).map_err(|error| chain(&error)),
        Err(error) => {
            // Whether that can be noted or not, the old one stays.
            drop(vault.note_policy([0; 32], false).await);
            Err(chain(&error))
        }
    };
    match taken {
        Ok(policies) => {
            access.replace(policies);
            tracing::info!("the policy of the configuration decides from now on");
        }
        Err(error) => {
            metrics.alert("policy_refused");
            tracing::error!(error, "the policy is not taken over; the one of before goes on deciding");
        }
    }
}
