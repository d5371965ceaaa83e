//! Numbers that were found before and come again: an agent reads an account number back, a customer gives the last four digits of a card.
//! They are compared where they stand.

use crate::domain::record::Turn;
use crate::domain::sensitive::SensitiveKind::{self, *};

use super::Span;
use super::formats::digits;
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

/// The kind of the latest of these earlier spans that ends in the digits of this number.
pub(super) fn repeated(turns: &[Turn], earlier: &[Span], line: Line<'_>, value: Value) -> Option<SensitiveKind> {
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
