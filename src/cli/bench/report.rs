//! What was measured: one document, or a small table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::memory::Memory;

/// All figures.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// From which all traffic followed.
    pub seed: u64,
    /// Where it was measured.
    pub machine: Machine,
    /// The service's memory before the first call.
    pub memory_at_start: Option<Memory>,
    /// Storing chats.
    pub chats: Option<Calls>,
    /// Reading chats.
    pub reads: Option<Calls>,
    /// A recording up and down.
    pub recording: Option<Recording>,
    /// Erasing customers.
    pub erasure: Option<Calls>,
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    /// The cores that client and service share.
    pub cores: usize,
    /// Which build this is.
    pub build: &'static str,
    /// The folder of the vault.
    pub folder: PathBuf,
}

/// Many calls of one kind.
#[derive(Debug, Serialize)]
pub struct Calls {
    /// How many calls.
    pub calls: u64,
    /// How many callers at once.
    pub callers: u16,
    /// Over how many connections.
    pub connections: usize,
    /// How long all of them took.
    pub seconds: f64,
    /// Calls a second.
    pub per_second: f64,
    /// Half of the calls took no longer.
    pub p50_ms: f64,
    /// 99 of 100 calls took no longer.
    pub p99_ms: f64,
    /// The longest call.
    pub max_ms: f64,
    /// The processor time that the service used.
    pub service_cpu_seconds: Option<f64>,
    /// The service's memory afterwards.
    pub memory: Option<Memory>,
}

/// A recording up and down.
#[derive(Debug, Serialize)]
pub struct Recording {
    /// Its length.
    pub bytes: u64,
    /// Up, until it was durable.
    pub up: Transfer,
    /// Down, with its hash compared.
    pub down: Transfer,
}

/// One transfer.
#[derive(Debug, Serialize)]
pub struct Transfer {
    /// How long it took.
    pub seconds: f64,
    /// Million bytes a second.
    pub mb_per_second: f64,
    /// The processor time that the service used.
    pub service_cpu_seconds: Option<f64>,
    /// The service's memory afterwards.
    pub memory: Option<Memory>,
}

impl Machine {
    /// This machine.
    pub fn here(folder: &Path) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            build: if cfg!(debug_assertions) { "debug: the figures mean nothing" } else { "release" },
            folder: folder.to_owned(),
        }
    }
}

impl Calls {
    /// Figures of calls that took `elapsed` together and `latencies` each; there is at least one.
    pub fn new(callers: u16, connections: usize, elapsed: Duration, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let share = |percent: usize| {
            let at = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
            latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Self {
            calls: latencies.len() as u64,
            callers,
            connections,
            seconds: elapsed.as_secs_f64(),
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: share(50),
            p99_ms: share(99),
            max_ms: share(100),
            service_cpu_seconds: None,
            memory: None,
        }
    }
}

impl Transfer {
    /// Figures of a transfer.
    pub fn new(bytes: u64, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self { seconds, mb_per_second: bytes as f64 / 1e6 / seconds, service_cpu_seconds: None, memory: None }
    }
}

impl Report {
    /// The table.
    pub fn text(&self) -> String {
        let Machine { cores, build, folder } = &self.machine;
        let mut text =
            format!("{cores} cores for client and service together, {build} build, {}\n\n", folder.display());
        let mut line = |cells: [&str; 7]| {
            let [what, rate, p50, p99, seconds, cpu, memory] = cells;
            let written = writeln!(text, "{what:<26}{rate:>16}{p50:>11}{p99:>11}{seconds:>10}{cpu:>13}  {memory}");
            written.expect("writing to a string cannot fail");
        };
        line(["", "rate", "p50", "p99", "seconds", "service CPU", "resident now / peak"]);
        line(["start", "", "", "", "", "", &memory(self.memory_at_start)]);
        let mut calls = |what: &str, unit: &str, calls: &Option<Calls>| {
            let Some(calls) = calls else { return };
            line([
                what,
                &format!("{:.0} {unit}/s", calls.per_second),
                &format!("{:.2} ms", calls.p50_ms),
                &format!("{:.2} ms", calls.p99_ms),
                &format!("{:.2}", calls.seconds),
                &cpu(calls.service_cpu_seconds),
                &memory(calls.memory),
            ]);
        };
        let name = |what: &str, part: &Option<Calls>| {
            part.as_ref().map_or(String::new(), |part| format!("{what}, {} callers", part.callers))
        };
        calls(&name("store 3 KB chats", &self.chats), "chats", &self.chats);
        calls(&name("read chats", &self.reads), "reads", &self.reads);
        calls(&name("erase customers", &self.erasure), "customers", &self.erasure);
        if let Some(Recording { bytes, up, down }) = &self.recording {
            for (what, transfer) in [("up", up), ("down", down)] {
                line([
                    &format!("recording, {} MiB {what}", bytes / 1024 / 1024),
                    &format!("{:.0} MB/s", transfer.mb_per_second),
                    "",
                    "",
                    &format!("{:.2}", transfer.seconds),
                    &cpu(transfer.service_cpu_seconds),
                    &memory(transfer.memory),
                ]);
            }
        }
        text
    }
}

fn cpu(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.2} s"))
}

fn memory(memory: Option<Memory>) -> String {
    let Some(Memory { resident_kib, peak_resident_kib }) = memory else { return "?".to_owned() };
    format!("{} / {} MiB", resident_kib / 1024, peak_resident_kib / 1024)
}
