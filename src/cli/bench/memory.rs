//! What a process holds in memory and has used of the processor, as Linux tells it. Elsewhere nothing is known.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// In which units Linux tells processor time to programs; the same on every machine (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now.
    pub resident_kib: u64,
    /// The most there was since the process began.
    pub peak_resident_kib: u64,
}

impl Memory {
    /// Of a running process.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self { resident_kib: value("VmRSS")?, peak_resident_kib: value("VmHWM")? })
    }
}

/// The processor time that a running process has used, in user and system mode.
pub fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields 14 and 15; the name, field 2, may itself hold spaces and ends at the last parenthesis.
    let fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
