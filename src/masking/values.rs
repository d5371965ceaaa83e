//! Numbers as people write them: groups of digits that belong together, and what each looks like before anything else is known of it.

use crate::domain::sensitive::SensitiveKind;

use super::cues::Sense;
use super::formats::{is_compact_date, is_date, is_year, kind_of, number};
use super::tokens::Line;

/// What a number looks like by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its format leaves little doubt.
    Certain(SensitiveKind),
    /// It counts or measures: a price, a time of day, "500 cc".
    Measure,
    /// It may be a date, a range, a fraction.
    Date,
    /// It may be a year.
    Year,
    /// It ends in zeros, as amounts do.
    Round,
    /// A long number that a spreadsheet has shortened: `1.23E+15`.
    Exponent,
    /// Nothing more is known.
    Plain,
}

/// A number: the tokens from `first` to `last`.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub first: usize,
    pub last: usize,
    pub digits: usize,
    pub form: Form,
}

/// The most groups of one number: a card's 19 digits one by one, and some to spare.
const MAX_GROUPS: usize = 24;
/// Fewer spelled digits in a row are just words.
const MIN_SPELLED: usize = 3;

/// The numbers of a line, in order.
pub(super) fn values_of(line: Line<'_>) -> Vec<Value> {
    let (mut values, mut at) = (Vec::new(), 0);
    while at < line.tokens.len() {
        if line.tokens[at].digits == 0 {
            at += 1;
            continue;
        }
        let last = end_of_run(line, at);
        let next = match end_of_exponent(line, last) {
            Some(end) => {
                values.push(Value { first: at, last: end, digits: digits(line, at, last), form: Form::Exponent });
                end + 1
            }
            None => {
                push_run(line, at, last, &mut values);
                last + 1
            }
        };
        at = next;
    }
    values
}

fn digits(line: Line<'_>, first: usize, last: usize) -> usize {
    line.tokens[first..=last].iter().map(|token| token.digits).sum()
}

/// The last group of digits that is joined to the one at `first`.
fn end_of_run(line: Line<'_>, first: usize) -> usize {
    let mut last = first;
    while last + 1 < line.tokens.len() && last + 1 - first < MAX_GROUPS && is_joined(line, last + 1) {
        last += 1;
    }
    last
}

/// Whether a group of digits continues the one before it: `555-0100`, `10:30`, `1,050`.
fn is_joined(line: Line<'_>, at: usize) -> bool {
    let (before, token) = (line.tokens[at - 1], line.tokens[at]);
    if token.digits == 0 || token.is_number != before.is_number || is_count_of_digits(line, at - 1) {
        return false;
    }
    match line.gap(at) {
        ":" => before.digits <= 2 && token.digits == 2,
        "," => before.digits <= 3 && token.digits == 3,
        gap => {
            gap.chars().take(4).count() <= 3
                && gap.chars().all(|c| matches!(c, ' ' | '\u{a0}' | '-' | '–' | '.' | '/' | '(' | ')'))
                && gap != ". "
        }
    }
}

/// "last 4 1234": the four is no part of the number.
fn is_count_of_digits(line: Line<'_>, at: usize) -> bool {
    line.tokens[at].digits == 1 && at > 0 && ["last", "final", "first"].into_iter().any(|word| line.is(at - 1, word))
}

/// The last token of `e 15` or `E+15` after a number.
fn end_of_exponent(line: Line<'_>, last: usize) -> Option<usize> {
    let is_near = |gap: &str| matches!(gap, "" | " " | "+" | " +" | " + ");
    let is_exponent = line.is(last + 1, "e") && is_near(line.gap(last + 1)) && line.is_number(last + 2);
    let exponent = is_exponent.then(|| number(line.word(last + 2)))?;
    (is_near(line.gap(last + 2)) && (9..=30).contains(&exponent)).then_some(last + 2)
}

/// Adds a run of groups: as one number, or one by one where some of them are plainly something of their own ("25052018 250").
fn push_run(line: Line<'_>, first: usize, last: usize, values: &mut Vec<Value>) {
    let is_spelled = (first..=last).all(|index| !line.is_number(index));
    if is_spelled && last - first + 1 < MIN_SPELLED {
        return;
    }
    let whole = Value { first, last, digits: digits(line, first, last), form: form_of_run(line, first, last) };
    let has_only_spaces = (first + 1..=last).all(|index| line.gap(index).trim().is_empty());
    let singles = (first..=last).map(|at| Value {
        first: at,
        last: at,
        digits: line.tokens[at].digits,
        form: form_of_single(line, at),
    });
    let is_apart = |value: Value| matches!(value.form, Form::Measure | Form::Date | Form::Year | Form::Round);
    if first == last || whole.form != Form::Plain || !has_only_spaces || is_spelled || !singles.clone().any(is_apart) {
        values.push(whole);
    } else {
        values.extend(singles);
    }
}

fn form_of_run(line: Line<'_>, first: usize, last: usize) -> Form {
    if first == last {
        return form_of_single(line, first);
    }
    let text = &line.text[line.tokens[first].start..line.tokens[last].end];
    let mut groups = [0; MAX_GROUPS];
    let count = last - first + 1;
    groups.iter_mut().zip(&line.tokens[first..=last]).for_each(|(group, token)| *group = token.digits);
    let groups = &groups[..count];
    let is_decimal = || count == 2 && line.gap(last) == "." && (groups[1] <= 2 || groups[0] <= 2);
    if text.contains([':', ',']) || is_decimal() || is_priced(line, first, last) || is_counted(line, first, last) {
        Form::Measure
    } else if is_date(text, groups) {
        Form::Date
    } else if let Some(kind) = kind_of(text, groups, line.gap(first).ends_with('+')) {
        Form::Certain(kind)
    } else if count == 2 && matches!(line.gap(last).trim(), "-" | "–" | "/") && groups[1] <= 4 && groups[0] <= 4 {
        Form::Date
    } else {
        Form::Plain
    }
}

fn form_of_single(line: Line<'_>, at: usize) -> Form {
    let (text, count) = (line.word(at), line.tokens[at].digits);
    if is_priced(line, at, at) || is_counted(line, at, at) {
        return Form::Measure;
    }
    if let Some(kind) = kind_of(text, &[count], line.gap(at).ends_with('+')) {
        return Form::Certain(kind);
    }
    match (count, number(text)) {
        (4, year) if is_year(year) => Form::Year,
        _ if is_compact_date(text, count) => Form::Date,
        (3, amount) if amount.is_multiple_of(10) => Form::Round,
        (4..=6, amount) if amount != 0 && amount.is_multiple_of(100) => Form::Round,
        _ => Form::Plain,
    }
}

/// Whether a sign or code of a currency stands beside.
fn is_priced(line: Line<'_>, first: usize, last: usize) -> bool {
    const SIGNS: [char; 7] = ['$', '€', '£', '₹', '¥', '₽', '₩'];
    const CODES: [&str; 5] = ["usd", "eur", "gbp", "inr", "rs"];
    let after = line.gap(last + 1);
    let follows_code = || {
        first > 0
            && line.sense(first - 1) == Some(Sense::Unit)
            && CODES.into_iter().any(|code| line.is(first - 1, code))
    };
    let has_sign =
        line.gap(first).trim_end().ends_with(SIGNS) || after.trim_start().starts_with(SIGNS) || after.starts_with('%');
    has_sign || follows_code()
}

/// Whether a unit follows. Numbers of more digits are not counted things.
fn is_counted(line: Line<'_>, first: usize, last: usize) -> bool {
    const LONGEST_COUNT: usize = 7;
    let is_unit = matches!(line.sense(last + 1), Some(Sense::Unit | Sense::Street)) && line.gap(last + 1).len() <= 1;
    is_unit && digits(line, first, last) <= LONGEST_COUNT
}
