//! What `oubliette init` says in the end: what stands where, the token once, and what to do next.

use std::path::Path;

use serde::Serialize;

use super::{InitOptions, Initialised};
use crate::cli::{output, time};

/// What was made, for whoever ran the command.
#[derive(Serialize)]
pub(super) struct InitView<'a> {
    config: String,
    profile: String,
    ca: String,
    ca_key: String,
    root_key: String,
    log_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<String>,
    token_expires: String,
    warnings: Vec<&'static str>,
    next: Vec<String>,
}

const SAME_DEVICE: &str = "the root key is on the same device as the data: whoever gets that disk, or a whole image of it, gets both. \
                           Move it to another device, and set root_key.path in the configuration";

impl<'a> InitView<'a> {
    pub fn new(options: &InitOptions, made: &'a Initialised) -> Self {
        let text = |path: &Path| path.display().to_string();
        let mut next = vec![format!("oubliette serve --config {}", quoted(&made.config_path))];
        if options.token_file.is_none() {
            next.push("read -rs OUBLIETTE_TOKEN && export OUBLIETTE_TOKEN   # paste the token".to_owned());
        }
        next.push(format!("oubliette tenant create acme --purpose support --profile {}", quoted(&made.profile_path)));
        Self {
            config: text(&made.config_path),
            profile: text(&made.profile_path),
            ca: text(&made.ca_path),
            ca_key: text(&made.ca_path.with_extension("key")),
            root_key: options.root_key.as_deref().map_or_else(|| hsm_words(options), text),
            log_key: &made.log_key,
            token: options.token_file.is_none().then_some(made.admin_token.as_str()),
            token_file: options.token_file.as_deref().map(text),
            token_expires: time::format(&prost_types::Timestamp {
                seconds: i64::try_from(made.token_expires.as_ms() / 1000).expect("no instant is behind the year 9999"),
                nanos: 0,
            }),
            warnings: made.shares_device.then_some(SAME_DEVICE).into_iter().collect(),
            next,
        }
    }

    pub fn text(&self) -> String {
        let mut text = output::fields(&[
            ("configuration", Some(self.config.clone())),
            ("client profile", Some(self.profile.clone())),
            ("CA certificate", Some(self.ca.clone())),
            ("CA key", Some(format!("{} (only for the next certificate: keep it elsewhere)", self.ca_key))),
            ("root key", Some(self.root_key.clone())),
            ("log key", Some(format!("{} (public: receipts are checked with it)", self.log_key))),
            (
                "admin's token",
                self.token_file.clone().or_else(|| self.token.map(|_| "below, shown only now".to_owned())),
            ),
            ("good until", Some(self.token_expires.clone())),
        ]);
        if let Some(token) = self.token {
            text.push_str(&format!("\n{token}\n"));
        }
        for warning in &self.warnings {
            text.push_str(&format!("\nWarning: {warning}.\n"));
        }
        text.push_str("\nNext:\n");
        for command in &self.next {
            text.push_str(&format!("  {command}\n"));
        }
        text
    }
}

fn hsm_words(options: &InitOptions) -> String {
    format!("{:?} of the token {:?}", options.hsm.label, options.hsm.token.as_deref().unwrap_or_default())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_can_be_pasted_whatever_the_path() {
        assert_eq!(quoted(Path::new("/a-b/c.d")), "/a-b/c.d");
        assert_eq!(quoted(Path::new("/it's $(here)")), r"'/it'\''s $(here)'");
    }
}
