//! `oubliette bench`: figures of a real service on this machine: a child process of the same binary, driven by the real client
//! over TLS on loopback. Client and service share the machine's cores, so the figures are lower bounds.
//!
//! It never touches a vault that exists: it makes one in a folder of its own, and removes it at the end unless told where.

mod load;
mod memory;
mod report;
mod service;
mod traffic;

use std::path::PathBuf;

use super::errors::CliError;
use super::output::Output;
use load::Load;
use report::{Machine, Report};
use service::Service;

const EXAMPLES: &str =
    "Without --dir, the vault lies in the system's temporary folder. Where that is in memory, a sync costs nothing and the
figures mean little: give a --dir on the disk that is to be measured.

Examples:
  oubliette bench
  oubliette bench --only chats,reads --writers 16 --chats 5000 --json
  oubliette bench --only recording --recording-mb 4096 --memory-limit-mb 256";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Measure only these; what they need is done all the same, and not shown
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// How many callers store chats at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    writers: u16,
    /// How many callers read chats at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    readers: u16,
    /// How many connections the callers share
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// How many chats of 3 KB are stored, and how many are read
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    chats: u32,
    /// Among how many customers they are spread
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    customers: u32,
    /// How many MiB the recording has
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    recording_mb: u32,
    /// How many customers are erased, one after another
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    erasures: u32,
    /// Give the service no more than so many MiB of private memory (`ulimit -d`)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    memory_limit_mb: Option<u32>,
    /// Make the vault in this new folder, and leave it there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// From which all chats, choices and bytes follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON document, and errors as JSON on standard error
    #[arg(long)]
    pub(super) json: bool,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Storing chats
    Chats,
    /// Reading chats
    Reads,
    /// A recording up and down
    Recording,
    /// Erasing customers
    Erasure,
}

impl BenchArgs {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Why nothing, or not all, was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The service could not be set up.
    #[error("cannot {doing} for the service that is to be measured: {source}")]
    SetUp {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder is there.
    #[error("{} exists already: a measurement needs a folder of its own; name one that is not there", .0.display())]
    Exists(PathBuf),
    /// The service does not run.
    #[error("the service that is to be measured {what}; its log ends:\n{log}")]
    Service {
        /// What it did.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// What came back is not what was stored.
    #[error(
        "chat {number} came back with other words than were stored (seed {seed}); report this with the command line"
    )]
    Differs {
        /// Which chat.
        number: u64,
        /// From which seed it was made.
        seed: u64,
    },
    /// A caller of the measurement ended unexpectedly.
    #[error("a caller of the measurement ended unexpectedly: {0}; report this with the command line")]
    Caller(#[from] tokio::task::JoinError),
}

/// Runs the command.
pub async fn run(args: BenchArgs) -> Result<(), CliError> {
    let measured = async {
        let service = Service::start(args.dir.as_deref(), args.memory_limit_mb).await?;
        let report = measure(&args, &service).await?;
        service.stop().await?;
        Output::stdout(args.json).result(&report, Report::text)
    };
    tokio::select! {
        done = measured => done,
        () = super::interrupted() => Err(CliError::Interrupted),
    }
}

async fn measure(args: &BenchArgs, service: &Service) -> Result<Report, CliError> {
    let load = Load::new(args.seed, service.clients(args.connections).await?);
    let mut report = Report { seed: args.seed, machine: Machine::here(service.folder()), ..Report::default() };
    report.memory_at_start = service.memory();
    let mut stored = Vec::new();
    if [Part::Chats, Part::Reads, Part::Erasure].into_iter().any(|part| args.wants(part)) {
        tell(args, &format!("storing {} chats, {} writers ...", args.chats, args.writers))?;
        let (chats, calls) = load.store_chats(service, args.writers, args.chats, args.customers).await?;
        stored = chats;
        report.chats = args.wants(Part::Chats).then_some(calls);
    }
    if args.wants(Part::Reads) {
        tell(args, &format!("reading {} chats, {} readers ...", args.chats, args.readers))?;
        report.reads = Some(load.read_chats(service, args.readers, args.chats, &stored).await?);
    }
    if args.wants(Part::Recording) {
        tell(args, &format!("a recording of {} MiB, up and down ...", args.recording_mb))?;
        report.recording = Some(load.recording(service, args.recording_mb).await?);
    }
    if args.wants(Part::Erasure) {
        tell(args, &format!("erasing {} customers, one by one ...", args.erasures))?;
        report.erasure = Some(load.erase(service, args.erasures, &stored).await?);
    }
    Ok(report)
}

/// Says on standard error what is going on.
fn tell(args: &BenchArgs, text: &str) -> Result<(), CliError> {
    if args.json { Ok(()) } else { Output::stderr(false).raw(&format!("{text}\n")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(flags: &str) -> Result<BenchArgs, clap::Error> {
        let flags = std::iter::once("bench").chain(flags.split_whitespace());
        Command::try_parse_from(flags).map(|command| command.bench)
    }

    #[test]
    fn with_no_flags_everything_is_measured_in_the_promised_sizes() {
        let args = parse("").unwrap();
        assert!([Part::Chats, Part::Reads, Part::Recording, Part::Erasure].into_iter().all(|part| args.wants(part)));
        let sizes = (args.writers, args.chats, args.customers, args.readers, args.recording_mb, args.erasures);
        assert_eq!(sizes, (64, 20_000, 2_000, 16, 600, 100));
        assert_eq!(args.memory_limit_mb, None);
    }

    #[test]
    fn parts_can_be_chosen_and_sizes_are_bounded() {
        let args = parse("--only chats,erasure --memory-limit-mb 256").unwrap();
        assert!(args.wants(Part::Chats) && args.wants(Part::Erasure));
        assert!(!args.wants(Part::Reads) && !args.wants(Part::Recording));
        assert_eq!(args.memory_limit_mb, Some(256));
        for bad in
            ["--only calls", "--writers 0", "--writers 513", "--chats 0", "--recording-mb 16385", "--customers x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
