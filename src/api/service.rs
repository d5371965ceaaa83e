//! Puts the services together: everything that answers a call, behind one gate.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::access_service::Cases;
use super::admin_service::Admin;
use super::audit_service::Audit;
use super::gate::Gate;
use super::privacy_service::Privacy;
use super::records_service::Records;
use super::v1::access_service_server::AccessServiceServer;
use super::v1::admin_service_server::AdminServiceServer;
use super::v1::audit_service_server::AuditServiceServer;
use super::v1::privacy_service_server::PrivacyServiceServer;
use super::v1::record_service_server::RecordServiceServer;
use crate::access::Access;
use crate::access::jwt::Issuers;
use crate::config::Limits;
use crate::telemetry::metrics::Metrics;
use crate::tls::Tls;
use crate::vault::Vault;

/// The routes of all services, to be served by [`super::server::run`].
pub fn routes(
    vault: Arc<Vault>,
    (access, issuers, tls): (Arc<Access>, Issuers, Option<Arc<Tls>>),
    limits: &Limits,
    metrics: Arc<Metrics>,
    ended: CancellationToken,
) -> Routes {
    let gate = Arc::new(Gate::new(vault, (access, issuers, tls), limits, metrics));
    tokio::spawn(note_failures(Arc::clone(&gate), ended));
    let bytes = limits.message_bytes;
    let records = RecordServiceServer::new(Records::new(Arc::clone(&gate)));
    let privacy = PrivacyServiceServer::new(Privacy::new(Arc::clone(&gate)));
    let cases = AccessServiceServer::new(Cases::new(Arc::clone(&gate)));
    let audit = AuditServiceServer::new(Audit::new(Arc::clone(&gate)));
    let admin = AdminServiceServer::new(Admin::new(gate));
    Routes::new(records.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
        .add_service(privacy.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
        .add_service(cases.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
        .add_service(audit.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
        .add_service(admin.max_decoding_message_size(bytes).max_encoding_message_size(bytes))
}

/// Enters failed logins into the ledger: once a minute, and when the service ends.
async fn note_failures(gate: Arc<Gate>, ended: CancellationToken) {
    const INTERVAL: Duration = Duration::from_secs(60);
    loop {
        let is_last = tokio::time::timeout(INTERVAL, ended.cancelled()).await.is_ok();
        if let Err(error) = gate.note_failures().await {
            tracing::warn!(%error, "failed logins were not entered into the ledger");
        }
        if is_last {
            return;
        }
    }
}
