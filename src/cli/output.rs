//! What a command prints: on standard output either one JSON document, or short aligned text; on standard error nothing but
//! progress.
//!
//! Text that comes from a record never reaches a terminal with its control characters: those could rewrite the screen.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::errors::CliError;

/// Where a command's result goes, and in which form.
pub struct Output {
    json: bool,
    sink: Box<dyn Write + Send>,
}

impl Output {
    /// Writes to standard output.
    pub fn stdout(json: bool) -> Self {
        Self::to(json, Box::new(io::stdout()))
    }

    /// Writes to standard error: for a command whose content is on standard output.
    pub fn stderr(json: bool) -> Self {
        Self::to(json, Box::new(io::stderr()))
    }

    /// Writes to `sink`.
    pub fn to(json: bool, sink: Box<dyn Write + Send>) -> Self {
        Self { json, sink }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes the result: `document` as JSON, or what `text` makes of it.
    pub fn result<T: Serialize>(&mut self, document: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.sink, document).map_err(io::Error::from).map_err(streams)?;
            return self.raw("\n");
        }
        self.raw(&text(document))
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, text: &str) -> Result<(), CliError> {
        self.sink.write_all(text.as_bytes()).and_then(|()| self.sink.flush()).map_err(streams)
    }
}

fn streams(source: io::Error) -> CliError {
    CliError::Streams { source }
}

/// A list that is written page by page, so that a long one never stands in memory whole.
pub struct Listing<'a> {
    output: &'a mut Output,
    name: &'static str,
    header: String,
    written: u64,
}

impl<'a> Listing<'a> {
    /// Begins the list `name`, for people under `header`.
    pub fn begin(output: &'a mut Output, name: &'static str, header: &[Cell<'_>]) -> Result<Self, CliError> {
        if output.json {
            output.raw(&format!("{{\n  \"{name}\": ["))?;
        }
        Ok(Self { output, name, header: row(header), written: 0 })
    }

    /// Writes one item.
    pub fn item<T: Serialize>(&mut self, item: &T, cells: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let text = if self.output.json {
            let comma = if self.written > 0 { "," } else { "" };
            let item = serde_json::to_string(item).map_err(io::Error::from).map_err(streams)?;
            format!("{comma}\n    {item}")
        } else if self.written == 0 {
            format!("{}{}", self.header, cells(item))
        } else {
            cells(item)
        };
        self.written += 1;
        self.output.raw(&text)
    }

    /// Ends the list. `next_page_token` is empty where there is no more.
    pub fn end(self, next_page_token: &str) -> Result<(), CliError> {
        if self.output.json {
            let token = (!next_page_token.is_empty()).then_some(next_page_token);
            return self.output.raw(&format!("\n  ],\n  \"next_page_token\": {}\n}}\n", serde_json::json!(token)));
        }
        if self.written == 0 {
            self.output.raw(&format!("no {} on this page\n", self.name))?;
        }
        if next_page_token.is_empty() {
            return Ok(());
        }
        self.output.raw(&format!("more: --page-token {}, or --all\n", printable(next_page_token)))
    }
}

/// A text and the least width of its column.
pub type Cell<'a> = (&'a str, usize);

/// One row of a table; every cell is made printable.
pub fn row(cells: &[Cell<'_>]) -> String {
    let mut line = String::new();
    for (text, width) in cells {
        let text = printable(text);
        line.push_str(&format!("{text:<width$}  "));
    }
    format!("{}\n", line.trim_end())
}

/// Names and values below each other, those without a value left out.
pub fn fields(pairs: &[(&str, Option<String>)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .filter_map(|(name, value)| value.as_deref().filter(|value| !value.is_empty()).map(|value| (name, value)))
        .map(|(name, value)| format!("{name:<width$}  {}\n", printable(value)))
        .collect()
}

/// `text` with every control character replaced, so that it can only be read.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that turn the direction of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A bar that shows how far a transfer is: on standard error, when it is a terminal and `wanted`; otherwise nothing.
pub fn progress_bar(wanted: bool, total_bytes: Option<u64>) -> ProgressBar {
    if !wanted || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total_bytes {
        Some(total) => {
            let template = "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
            (ProgressBar::new(total), template)
        }
        None => (ProgressBar::no_length(), "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are constant and well formed"))
}

/// A line that says how far something is: on standard error, when it is a terminal and `wanted`; otherwise nothing.
pub fn progress_line(wanted: bool) -> ProgressBar {
    if !wanted || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    ProgressBar::no_length().with_style(style.expect("the template is constant and well formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cannot_write_escape_sequences_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert!(!fields(&[("tag", Some("\u{1b}]0;x".into()))]).contains('\u{1b}'));
    }
}
