//! Words around a number: the nearest one, before or after it, that says what the number is.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::cues::Sense;
use super::tokens::Line;
use super::values::{Form, Value};

/// What the words around a number say of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It is one of these.
    Names(SensitiveKind),
    /// It is the last digits of something.
    LastDigits,
    /// It is an amount, a date, a year, a size.
    Harmless,
    /// Nothing.
    Nothing,
}

/// How many tokens before a number are read.
const REACH_BEFORE: usize = 9;
/// How many tokens after a number are read.
const REACH_AFTER: usize = 6;

/// What is said of a number, by the words before it, or else by those after it.
pub(super) fn said_of(line: Line<'_>, value: Value) -> Said {
    match said_before(line, value) {
        Said::Harmless | Said::Nothing if is_ending(line, value) => Said::LastDigits,
        Said::Nothing => said_after(line, value),
        said => said,
    }
}

/// "my ssn is 1234", "amount 500": the nearest word that tells, with at most one unknown word between ("policy numbr 1234").
fn said_before(line: Line<'_>, value: Value) -> Said {
    let mut strangers = 0;
    for at in (0..value.first).rev().take(REACH_BEFORE) {
        if line.sentence_ends_before(at + 1) {
            return Said::Nothing;
        }
        match line.sense(at) {
            Some(Sense::Names(kind)) if is_close_enough(line, at, value, kind) => return Said::Names(kind),
            Some(Sense::Names(_) | Sense::Ask | Sense::Place) => return Said::Nothing,
            Some(Sense::Harmless(_)) => return Said::Harmless,
            Some(Sense::Link) if is_last_digits(line, at) => return Said::LastDigits,
            Some(Sense::Link | Sense::Digit | Sense::Unit | Sense::Street) => {}
            // "last 4 digits", "june 20 2018"
            None if (1..=2).contains(&line.tokens[at].digits) => {}
            None if line.tokens[at].digits > 2 => return Said::Nothing,
            // "claim abc 325"
            None if strangers == 0 && at + 1 == value.first => strangers += 1,
            Some(Sense::Plain | Sense::Vehicle) | None if strangers == 0 && value.digits > 3 => strangers += 1,
            Some(Sense::Plain | Sense::Vehicle) | None => return Said::Nothing,
        }
    }
    Said::Nothing
}

/// "last 4", "last four digits", but not "last 4 weeks".
pub(super) fn is_last_digits(line: Line<'_>, at: usize) -> bool {
    let is_count =
        matches!(line.sense(at + 1), Some(Sense::Digit)) || line.is_number(at + 1) && line.tokens[at + 1].digits == 1;
    let counts_others = matches!(line.sense(at + 2), Some(Sense::Unit | Sense::Harmless(_)));
    is_count && !counts_others && (line.is(at, "last") || line.is(at, "final"))
}

/// "it is only ending with 1575", but not "ends in 2025".
fn is_ending(line: Line<'_>, value: Value) -> bool {
    let at = value.first;
    let says = |at: usize| ["ending", "ends", "ended"].into_iter().any(|word| line.is(at, word));
    let is_near = at > 1 && ["in", "with"].into_iter().any(|word| line.is(at - 1, word)) && says(at - 2);
    is_near && matches!(value.form, Form::Plain) && value.digits == 4
}

/// Some of these words are also what people do ("order 150 roses", "claim 1500"). Then a number is meant by them only where it is called
/// so, or is too long for an amount.
fn is_close_enough(line: Line<'_>, cue: usize, value: Value, kind: SensitiveKind) -> bool {
    const LONG_DIGITS: usize = 6;
    const CALLS: [&str; 8] = ["number", "no", "num", "nr", "id", "code", "is", "was"];
    let is_called = || {
        (cue + 1..=value.first)
            .any(|at| line.gap(at).contains([':', '#', '=']) || CALLS.into_iter().any(|word| line.is(at, word)))
    };
    match kind {
        Email => false,
        Other | BookingNumber => value.digits >= LONG_DIGITS || is_called(),
        ClaimNumber | PaymentCard => !matches!(value.form, Form::Round | Form::Year) || is_called(),
        _ => true,
    }
}

/// "1234 is my ssn", "1234 this is my ssn number", "2018 model", but not "1234 and ssn 5678".
fn said_after(line: Line<'_>, value: Value) -> Said {
    for at in (value.last + 1..line.tokens.len()).take(REACH_AFTER) {
        if line.sentence_ends_before(at) {
            return Said::Nothing;
        }
        let said = match line.sense(at) {
            Some(Sense::Names(kind)) => Said::Names(kind),
            Some(Sense::Harmless(_)) => Said::Harmless,
            Some(Sense::Link) if !is_preposition(line, at) => continue,
            _ => return Said::Nothing,
        };
        return if has_its_own_number(line, at) { Said::Nothing } else { said };
    }
    Said::Nothing
}

/// After these words something else is spoken of: "transfer 2000 to account", "1234 from card".
fn is_preposition(line: Line<'_>, at: usize) -> bool {
    ["to", "from", "on", "in", "with", "and"].into_iter().any(|word| line.is(at, word))
}

fn has_its_own_number(line: Line<'_>, cue: usize) -> bool {
    let next = (cue + 1..line.tokens.len()).take(4).find(|at| line.sense(*at) != Some(Sense::Link));
    next.is_some_and(|at| line.tokens[at].digits > 1 && !line.sentence_ends_before(at))
}

/// "my address", "her billing address"; a business's address is no secret.
pub(super) fn is_somebodys(line: Line<'_>, place: usize) -> bool {
    const WHOSE: [&str; 9] = ["my", "our", "his", "her", "your", "home", "billing", "mailing", "shipping"];
    (0..place)
        .rev()
        .take(3)
        .take_while(|at| !line.sentence_ends_before(at + 1))
        .any(|at| WHOSE.into_iter().any(|word| line.is(at, word)))
}
