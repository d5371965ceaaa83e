//! What was measured: one document, or a small table.

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
    /// The table, in the order of the measurement.
    pub fn text(&self) -> String {
        let Machine { cores, build, folder } = &self.machine;
        let mut text =
            format!("{cores} cores for client and service together, {build} build, {}\n\n", folder.display());
        let head = ["", "rate", "p50", "p99", "seconds", "service CPU", "resident now / peak"].map(str::to_owned);
        let mut rows = vec![head, start_row(self.memory_at_start)];
        rows.extend(self.chats.as_ref().map(|calls| calls_row("store 3 KB chats", "chats", calls)));
        rows.extend(self.reads.as_ref().map(|calls| calls_row("read chats", "chats", calls)));
        if let Some(Recording { bytes, up, down }) = &self.recording {
            let mib = bytes / 1024 / 1024;
            rows.push(transfer_row(&format!("recording, {mib} MiB up"), up));
            rows.push(transfer_row(&format!("recording, {mib} MiB down"), down));
        }
        rows.extend(self.erasure.as_ref().map(|calls| calls_row("erase customers", "customers", calls)));
        for [what, rate, p50, p99, seconds, cpu, memory] in rows {
            text.push_str(&format!("{what:<30}{rate:>14}{p50:>11}{p99:>11}{seconds:>9}{cpu:>13}  {memory}\n"));
        }
        text
    }
}

type Row = [String; 7];

fn start_row(at_start: Option<Memory>) -> Row {
    let mut row = Row::default();
    row[0] = "start".to_owned();
    row[6] = memory(at_start);
    row
}

fn calls_row(what: &str, unit: &str, calls: &Calls) -> Row {
    [
        format!("{what}, {} at once", calls.callers),
        format!("{:.0} {unit}/s", calls.per_second),
        format!("{:.2} ms", calls.p50_ms),
        format!("{:.2} ms", calls.p99_ms),
        format!("{:.2}", calls.seconds),
        cpu(calls.service_cpu_seconds),
        memory(calls.memory),
    ]
}

fn transfer_row(what: &str, transfer: &Transfer) -> Row {
    [
        what.to_owned(),
        format!("{:.0} MB/s", transfer.mb_per_second),
        String::new(),
        String::new(),
        format!("{:.2}", transfer.seconds),
        cpu(transfer.service_cpu_seconds),
        memory(transfer.memory),
    ]
}

fn cpu(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.2} s"))
}

fn memory(memory: Option<Memory>) -> String {
    let Some(Memory { resident_kib, peak_resident_kib }) = memory else { return "?".to_owned() };
    format!("{} / {} MiB", resident_kib / 1024, peak_resident_kib / 1024)
}
