//! What the platform marks as sensitive in a chat or a recording.

use super::from_number;
use crate::api::v1;
use crate::domain::sensitive::{SensitiveKind, SpanLimits, SpokenSpan, TextSpan, TimeSpan};
use crate::domain::{Invalid, Problem};

/// The marks of one turn: places in its text, counted in code points as the API counts them, become places in its bytes.
pub fn marked(turn: u32, text: &str, spans: &[v1::SensitiveSpan]) -> Result<Vec<TextSpan>, Invalid> {
    const FIELD: &str = "sensitive";
    if spans.len() > SpanLimits::MAX_MARKED_IN_TURN {
        return Err(Invalid::new(FIELD, Problem::TooMany { limit: SpanLimits::MAX_MARKED_IN_TURN as u64 }));
    }
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    // Where each code point begins, and the end.
    let places: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
    let place = |at: u32| usize::try_from(at).ok().and_then(|at| places.get(at)).and_then(|at| u32::try_from(*at).ok());
    let mut marked = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        let parse = || {
            let kind = from_number("kind", span.kind, SensitiveKind::from_code)?;
            let allowed = "start must lie before end, and both within the text; they count code points";
            let out = || Invalid::new("end", Problem::OutOfRange { allowed });
            let (start, end) = (place(span.start).ok_or_else(out)?, place(span.end).ok_or_else(out)?);
            if start < end { Ok(TextSpan { turn, start, end, kind }) } else { Err(out()) }
        };
        marked.push(parse().map_err(|invalid: Invalid| invalid.within(format_args!("{FIELD}[{index}]")))?);
    }
    marked.sort();
    match marked.windows(2).position(|pair| pair[1].start < pair[0].end) {
        Some(_) => Err(Invalid::new(FIELD, Problem::Duplicate)),
        None => Ok(marked),
    }
}

/// What is spoken in a recording, in order.
pub fn spoken(spans: &[v1::SpokenSpan]) -> Result<Vec<SpokenSpan>, Invalid> {
    const FIELD: &str = "sensitive";
    if spans.len() > SpanLimits::MAX_SPOKEN {
        return Err(Invalid::new(FIELD, Problem::TooMany { limit: SpanLimits::MAX_SPOKEN as u64 }));
    }
    let mut spoken = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        let parse = || {
            let kind = from_number("kind", span.kind, SensitiveKind::from_code)?;
            let time = TimeSpan { start_ms: span.start_ms, end_ms: span.end_ms };
            match time.start_ms < time.end_ms {
                true => Ok(SpokenSpan { time, kind }),
                false => Err(Invalid::new("end_ms", Problem::OutOfRange { allowed: "it must be behind start_ms" })),
            }
        };
        spoken.push(parse().map_err(|invalid: Invalid| invalid.within(format_args!("{FIELD}[{index}]")))?);
    }
    spoken.sort();
    Ok(spoken)
}
