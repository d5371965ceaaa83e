//! Tells the story: one line a step, with its number and how long it took.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::error::DemoError;
use crate::cli::errors::CliError;
use crate::cli::output::{Output, progress_bar};

/// Tells the story.
pub(super) struct Teller {
    output: Output,
    number: u32,
    doing: &'static str,
    began: Instant,
    since: Instant,
}

impl Teller {
    pub fn new(output: Output) -> Self {
        let now = Instant::now();
        Self { output, number: 0, doing: "preparing", began: now, since: now }
    }

    /// Begins a step.
    pub fn begin(&mut self, doing: &'static str) {
        self.number += 1;
        self.doing = doing;
        self.since = Instant::now();
    }

    /// How long the step has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Ends the step: prints its line.
    pub fn done(&mut self, words: &str) -> Result<(), CliError> {
        let line = format!("{:>2}. {words} ({})\n", self.number, in_words(self.since.elapsed()));
        self.output.raw(&line)
    }

    /// Prints text that is no step.
    pub fn say(&mut self, text: &str) -> Result<(), CliError> {
        self.output.raw(text)
    }

    /// Prints the last line.
    pub fn sum_up(&mut self, words: &str) -> Result<(), CliError> {
        let line = format!("All {} steps as promised: {words} ({})\n", self.number, in_words(self.began.elapsed()));
        self.output.raw(&line)
    }

    /// A bar over `total` pieces of this step, on standard error if that is a terminal.
    pub fn bar(&self, total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
        let bar = progress_bar(true, Some(total)).with_message(self.doing);
        bar.with_style(style.expect("the template is constant and well formed"))
    }

    /// Says in which step an error came up.
    pub fn in_this_step(&self, error: CliError) -> CliError {
        match error {
            CliError::Interrupted => error,
            error => DemoError::Step { number: self.number, doing: self.doing, source: Box::new(error) }.into(),
        }
    }
}

/// A duration as people read it.
pub(super) fn in_words(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds >= 0.01 => format!("{:.0} ms", seconds * 1000.0),
        seconds => format!("{:.1} ms", seconds * 1000.0),
    }
}

/// So many a second.
pub(super) fn rate(count: u64, duration: Duration) -> f64 {
    // Counts of a demo are far below 2^52, where a float would begin to round.
    count as f64 / duration.as_secs_f64().max(1e-9)
}

/// Bytes, in units that fit.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A rate of bytes.
pub(super) fn byte_rate(bytes: u64, duration: Duration) -> String {
    format!("{:.1} MB/s", rate(bytes, duration) / 1e6)
}

/// `1 chat`, `2 chats`.
pub(super) fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [counted(1, "chat"), counted(999, "chat"), counted(4807, "chat"), counted(1_234_567, "key")],
            ["1 chat", "999 chats", "4,807 chats", "1,234,567 keys"]
        );
        assert_eq!(in_words(Duration::from_micros(1500)), "1.5 ms");
    }
}
