//! Numbers that were found before and come again: an agent reads an account number back, a customer gives the last four digits of a card.
//! They are compared where they stand.

use crate::domain::record::Turn;
use crate::domain::sensitive::SensitiveKind::{self, *};

use super::Span;
use super::formats::digits;
use super::found::Surety;
use super::tokens::Line;
use super::values::{Form, Value};

/// How many of the last spans are looked at.
const RECENT_SPANS: usize = 32;
/// Fewer digits are too often the same by chance.
const FEWEST_DIGITS: usize = 4;
/// And so are fewer of what may be a date or an amount.
const FEWEST_DIGITS_OF_DATES: usize = 6;

/// The most bytes of a number with its letters and separators. What is longer is not compared, so that the work stays bounded.
const LONGEST_BYTES: usize = 256;

/// What a number is judged to be, or what it was when it came before. A long one stays what it was, whatever it is called now: a bank account's
/// number is read back as the customer's.
pub(super) fn with_repeated(
    judged: Option<(SensitiveKind, Surety)>,
    turns: &[Turn],
    earlier: &[Span],
    line: Line<'_>,
    value: Value,
) -> Option<(SensitiveKind, Surety)> {
    let may_be_other = judged.is_none() || value.digits >= FEWEST_DIGITS_OF_DATES;
    let repeated = if may_be_other { repeated(turns, earlier, line, value) } else { None };
    match (judged, repeated) {
        (judged, None) => judged,
        (None, Some(kind)) => Some((kind, Surety::Asked)),
        (Some((judged, surety)), Some(kind)) => Some((judged.stricter(kind), surety.max(Surety::Asked))),
    }
}

/// The kind of the latest of these earlier spans that ends in the digits of this number.
fn repeated(turns: &[Turn], earlier: &[Span], line: Line<'_>, value: Value) -> Option<SensitiveKind> {
    let fewest = match value.form {
        Form::Measure => return None,
        Form::Date | Form::Round => FEWEST_DIGITS_OF_DATES,
        _ => FEWEST_DIGITS,
    };
    let number = &line.text[line.tokens[value.first].start..line.tokens[value.last].end];
    let is_same = |span: &&Span| {
        let earlier = &turns[span.turn as usize].text[span.start as usize..span.end as usize];
        is_number(span.kind)
            && earlier.len() <= LONGEST_BYTES
            && digits(earlier).rev().take(value.digits).eq(digits(number).rev())
    };
    let may_be_same = (fewest..=LONGEST_BYTES).contains(&value.digits);
    let recent = earlier.iter().rev().take(RECENT_SPANS);
    recent.filter(|_| may_be_same).find(is_same).map(|span| span.kind)
}

fn is_number(kind: SensitiveKind) -> bool {
    !matches!(kind, Address | Email | Name | Username | Password)
}
