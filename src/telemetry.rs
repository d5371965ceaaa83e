//! The log and the metrics, and the rules for what may stand in them.
//!
//! **May be logged:** handles, record ids and other random ids, counts, sizes, durations, names of methods, codes and reasons,
//! paths of the configuration. **Never, at any level:** customer ids, case ids, names of agents, teams, tags and principals,
//! texts, content, tokens, keys, or what a caller sent. Our own types help: whatever may be personal or secret prints a fixed
//! word as `Debug`.
//!
//! Dependencies do not know these rules. At `trace` sled prints keys and whole batches, h2 frames with their headers, rustls
//! handshake messages. So code that is not ours never gets below `info`, whatever the operator sets ([`may_speak`]): a list of
//! the talkative ones would miss the next.

pub mod metrics;

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level cannot be read.
    #[error(
        "log.level cannot be read: {0}; use error, warn, info, debug or trace, or directives such as info,oubliette::store=debug"
    )]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// The file cannot be opened.
    #[error("cannot open log.file {path}: {source}; check that its folder exists and can be written", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is a log already.
    #[error("the log was set up twice in one process")]
    Twice,
}

/// Sets up the log of this process.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let level = EnvFilter::builder().parse(&log.level)?;
    let layer = match &log.file {
        None => layer(log.format, std::io::stderr().is_terminal(), std::io::stderr),
        Some(path) => {
            let open = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let file = open.map_err(|source| TelemetryError::File { path: path.clone(), source })?;
            layer(log.format, false, Mutex::new(file))
        }
    };
    let layer = layer.with_filter(level.and(filter_fn(may_speak)));
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| TelemetryError::Twice)
}

/// Whether an event may be logged at all: all of ours, and what others say at `info` or above.
pub fn may_speak(event: &Metadata<'_>) -> bool {
    let root = event.target().split("::").next().unwrap_or_default();
    root == env!("CARGO_CRATE_NAME") || *event.level() <= Level::INFO
}

fn layer<S, W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(colours).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts what passes both filters.
    struct Count(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn dependencies_never_speak_below_info_whatever_the_operator_sets() {
        let passed = Arc::new(AtomicUsize::new(0));
        let level = EnvFilter::builder().parse("trace,h2=trace,h2::codec=trace").unwrap();
        let layer = Count(passed.clone()).with_filter(level.and(filter_fn(may_speak)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "h2::codec::framed_read", "a frame");
            tracing::debug!(target: "sled", "a batch");
            tracing::debug!(target: "oubliettes", "not ours");
            assert_eq!(passed.load(Ordering::Relaxed), 0);
            tracing::info!(target: "h2", "all is well");
            tracing::trace!(target: "oubliette::store", "ours");
            assert_eq!(passed.load(Ordering::Relaxed), 2);
        });
    }
}
