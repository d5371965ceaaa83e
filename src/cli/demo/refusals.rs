//! Callers whom the vault must refuse, and that it refuses them in the right way.

use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::error::DemoError;
use super::house::Running;
use super::transfer::read_request;
use crate::api::v1::record_service_client::RecordServiceClient;
use crate::cli::client::Client;
use crate::cli::errors::{CliError, Refusal, chain};
use crate::cli::files;
use crate::domain::clock::Timestamp;
use crate::domain::ids::RecordId;

/// Fails unless the call was refused with `code` and, where given, `reason`; returns the refusal.
pub(super) fn refused<T>(
    outcome: Result<T, CliError>,
    code: Code,
    reason: Option<&str>,
) -> Result<Box<Refusal>, CliError> {
    let expected = || match reason {
        Some(reason) => format!("a refusal with {code:?} and the reason {reason}"),
        None => format!("a refusal with {code:?}"),
    };
    match outcome {
        Err(CliError::Answered(refusal))
            if refusal.code == code && reason.is_none_or(|reason| refusal.reason.as_deref() == Some(reason)) =>
        {
            Ok(refusal)
        }
        Err(CliError::Answered(refusal)) => {
            let seen = format!("{:?}, {:?}: {}", refusal.code, refusal.reason, refusal.message);
            Err(DemoError::unexpected(expected(), seen).into())
        }
        Err(error) => Err(error),
        Ok(_) => Err(DemoError::unexpected(expected(), "the call was answered").into()),
    }
}

/// The record must look to this caller like one that never was: the same refusal, word for word.
pub(super) async fn looks_absent(client: &Client, record_id: &str) -> Result<(), CliError> {
    let there = refused(client.get_transcript(read_request(record_id)).await, Code::NotFound, None)?;
    same_as_absent(client, &there).await
}

/// The refusal must be that of a record that never was.
pub(super) async fn same_as_absent(client: &Client, there: &Refusal) -> Result<(), CliError> {
    let never = RecordId::new(Timestamp::now(), files::random()?).to_string();
    let absent = refused(client.get_transcript(read_request(&never)).await, Code::NotFound, None)?;
    let is_same = there.message == absent.message
        && there.reason == absent.reason
        && there.metadata == absent.metadata
        && there.fields.len() == absent.fields.len();
    let (expected, seen) = (format!("the answer for a record that never was: {}", absent.message), &there.message);
    if is_same { Ok(()) } else { Err(DemoError::unexpected(expected, seen.clone()).into()) }
}

/// A call without any token.
pub(super) async fn stranger(running: &Running, record_id: &str) -> Result<(), CliError> {
    let settings = running.settings()?;
    let failed = |error: tonic::transport::Error| CliError::Connect {
        endpoint: settings.endpoint.to_string(),
        reason: chain(&error),
    };
    let tls =
        settings.ca_pem.iter().fold(ClientTlsConfig::new(), |tls, pem| tls.ca_certificate(Certificate::from_pem(pem)));
    let endpoint = Endpoint::from(settings.endpoint.clone()).timeout(settings.call_timeout);
    let channel = endpoint.tls_config(tls).map_err(failed)?.connect().await.map_err(failed)?;
    let answer = RecordServiceClient::new(channel).get_transcript(read_request(record_id)).await;
    refused(answer.map_err(CliError::from), Code::Unauthenticated, None).map(|_| ())
}
