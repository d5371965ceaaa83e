//! Times as people and programs write them: RFC 3339, with the offset always said.

use prost_types::Timestamp;

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a time of RFC 3339 with its offset, such as 2026-11-23T14:05:00Z or 2026-11-23T15:05:00+01:00")]
pub struct NotATime;

/// Parses a time. A date alone, or a time without its offset, is refused: a guess could be hours wrong.
pub fn parse(text: &str) -> Result<Timestamp, NotATime> {
    let bytes = text.as_bytes();
    let separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    let four_digit_year = bytes.iter().take(4).all(u8::is_ascii_digit);
    let says_offset = matches!(bytes, [.., b'Z' | b'z'] | [.., b'+' | b'-', _, _, b':', _, _]);
    if !(separated && four_digit_year && says_offset) {
        return Err(NotATime);
    }
    text.parse().map_err(|_| NotATime)
}

/// Writes a time, in UTC.
pub fn format(time: &Timestamp) -> String {
    time.to_string()
}

/// Writes a time that may be absent.
pub fn format_optional(time: Option<&Timestamp>) -> Option<String> {
    time.map(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_its_offset_and_comes_back_in_utc() {
        for (text, utc) in [
            ("2026-11-23T14:05:00Z", "2026-11-23T14:05:00Z"),
            ("2026-11-23T15:05:00+01:00", "2026-11-23T14:05:00Z"),
            ("2026-11-23 14:05:00.250z", "2026-11-23T14:05:00.250Z"),
            ("2024-02-29T00:00:00-05:30", "2024-02-29T05:30:00Z"),
        ] {
            assert_eq!(format(&parse(text).unwrap()), utc, "{text}");
        }
    }

    #[test]
    fn anything_that_would_need_a_guess_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T14:05:00",
            "14:05Z",
            "2025-02-29T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "é",
        ] {
            assert_eq!(parse(text), Err(NotATime), "{text}");
        }
    }
}
