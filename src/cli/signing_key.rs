//! `oubliette signing-key`: the key that signs the log. It works on a vault that nobody serves at the moment.

use super::errors::CliError;
use super::output::Output;
use super::serve::{self, PlaceArgs, RefusedToServe};
use crate::config::Config;
use crate::vault::Vault;

const ROTATE_EXAMPLES: &str =
    "Stop the service before, and start it afterwards. Old receipts still check under the old public key.

Example:
  oubliette signing-key rotate --config /var/lib/oubliette/oubliette.toml";

const REPLACE_EXAMPLES: &str =
    "For a signing key that is lost. The log says from then on that it was replaced; old receipts still check.

Example:
  oubliette signing-key replace --config /var/lib/oubliette/oubliette.toml";

/// What to do with the signing key.
#[derive(clap::Subcommand)]
pub enum SigningKeyCommand {
    /// Sign the log with a fresh key from now on, and destroy the present one
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(PlaceArgs),
    /// Make a new key in the place of one that is lost
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace(PlaceArgs),
}

impl SigningKeyCommand {
    /// Whether errors are to be told as JSON.
    pub fn wants_json(&self) -> bool {
        let (Self::Rotate(args) | Self::Replace(args)) = self;
        args.json
    }
}

/// Runs the command.
pub async fn run(command: SigningKeyCommand) -> Result<(), CliError> {
    serve::keep_private();
    let (SigningKeyCommand::Rotate(args) | SigningKeyCommand::Replace(args)) = &command;
    let config = Config::load(&args.config)?;
    if let SigningKeyCommand::Replace(_) = command {
        let paths = serve::vault_paths(&config);
        let replaced = Vault::replace_signing_key(paths.clone()).await;
        replaced.map_err(|source| RefusedToServe::vault(&paths, source))?;
    }
    let vault = serve::open_vault(&config).await?;
    let rotated = match command {
        SigningKeyCommand::Rotate(_) => vault.rotate_log_key().await,
        SigningKeyCommand::Replace(_) => Ok(()),
    };
    let keys = vault.log_keys_of_operator().await;
    vault.close().await;
    rotated?;
    let keys: Vec<String> = keys?.iter().map(ToString::to_string).collect();
    let text = |_: &serde_json::Value| {
        let listed: String = keys.iter().map(|key| format!("{key}\n")).collect();
        format!(
            "The log is signed by a new key. Give these public keys, the newest first, to whoever checks receipts:\n{listed}"
        )
    };
    Output::stdout(args.json).result(&serde_json::json!({ "keys": keys }), text)
}
