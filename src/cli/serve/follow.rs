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
use crate::tls::Following;
use crate::vault::Vault;

/// What a changed configuration changes, besides the vault.
pub struct Followed {
    pub access: Arc<Access>,
    pub metrics: Arc<Metrics>,
    pub tls: Option<Arc<Following>>,
}

/// Has the files of `[listen.tls]` looked at every few seconds, so that a revocation counts soon.
pub async fn follow_tls(following: Option<Arc<Following>>, ended: CancellationToken) {
    if let Some(following) = following {
        following.follow(ended).await;
    }
}

/// Takes policy, mirrors and certificates over from the configuration whenever it is told that they have changed. What cannot be taken over
/// stays as it was, loudly.
pub async fn follow_config(
    vault: Arc<Vault>,
    Followed { access, metrics, tls: following }: Followed,
    hangups: Option<Hangups>,
    ended: CancellationToken,
) {
    let Some(Hangups { file, mut changes }) = hangups else { return };
    loop {
        tokio::select! {
            heard = changes.recv() => if heard.is_none() { return },
            () = ended.cancelled() => return,
        }
        match Config::load(&file) {
            Ok(config) => {
                // First what somebody waits for: a revocation.
                if let (Some(following), Some(tls)) = (&following, &config.listen.tls) {
                    following.look(Some(tls.clone())).await;
                }
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
                "the configuration is not taken over; policy, mirrors and certificates stay as they were"
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
