//! Numbers as people write them: groups of digits that belong together, and what each looks like before anything else is known of it.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::cards::{cards_of, may_be_between};
use super::cues::{CURRENCIES, Sense};
use super::formats::{is_compact_date, is_date, is_social_security, is_year, kind_of, number};
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

/// The numbers of a line, in order. What proves itself is taken out before anything else is joined or judged, so that whatever stands beside
/// a card, a price, a time, a security code, shows none of it.
pub(super) fn values_of(line: Line<'_>) -> Vec<Value> {
    let (mut values, mut at) = (Vec::new(), 0);
    let mut proven = proven(line).into_iter().peekable();
    while at < line.tokens.len() {
        let here = proven.next_if(|value| value.first == at);
        let behind = proven.peek().map_or(line.tokens.len(), |value| value.first);
        if let Some(value) = here {
            values.push(value);
            at = push_security_code(line, value, behind, &mut values);
        } else if line.tokens[at].digits == 0 {
            at += 1;
        } else {
            let last = end_of_run(line, at, behind);
            let exponent = end_of_exponent(line, last);
            match exponent {
                Some(end) => values.push(value(line, at, last, Form::Exponent).to(end)),
                None => push_run(line, at, last, &mut values),
            }
            at = exponent.unwrap_or(last) + 1;
        }
    }
    values
}

impl Value {
    /// The same number, with what stands up to this token.
    fn to(self, last: usize) -> Self {
        Self { last, ..self }
    }
}

fn value(line: Line<'_>, first: usize, last: usize, form: Form) -> Value {
    Value { first, last, digits: digits(line, first, last), form }
}

fn digits(line: Line<'_>, first: usize, last: usize) -> usize {
    line.tokens[first..=last].iter().map(|token| token.digits).sum()
}

/// Cards and social security numbers, wherever they stand among other groups; where they overlap, they are one.
fn proven(line: Line<'_>) -> Vec<Value> {
    let cards = cards_of(line).into_iter().map(|(first, last)| value(line, first, last, Form::Certain(PaymentCard)));
    let is_social = |first: &usize| is_social_security_at(line, *first);
    let social = (0..line.tokens.len()).filter(is_social);
    let social = social.map(|first| value(line, first, first + 2, Form::Certain(NationalId)));
    let mut proven: Vec<_> = cards.chain(social).collect();
    proven.sort_by_key(|value| value.first);
    proven.dedup_by(|next, before| {
        let is_one = next.first <= before.last;
        if is_one {
            let form = if before.form == next.form { before.form } else { Form::Certain(PaymentCard) };
            *before = value(line, before.first, before.last.max(next.last), form);
        }
        is_one
    });
    proven
}

/// Whether three groups from this one on are a social security number. With spaces they may also be part of an international telephone
/// number.
fn is_social_security_at(line: Line<'_>, first: usize) -> bool {
    const GROUPS: usize = 3;
    const MOST_GROUPS_BEFORE: usize = 4;
    if first + GROUPS > line.tokens.len() || !(first..first + GROUPS).all(|at| line.is_number(at)) {
        return false;
    }
    let sizes = [0, 1, 2].map(|next| line.tokens[first + next].digits);
    let between = line.gap(first + 1);
    let is_even = sizes == [3, 2, 4] && between == line.gap(first + 2) && is_joined(line, first + 1);
    let starts = (0..=first).rev().take(MOST_GROUPS_BEFORE);
    let start = || starts.clone().find(|at| *at == 0 || !is_joined(line, *at));
    let is_international = || start().is_some_and(|at| line.gap(at).ends_with('+') && (between == " " || at == first));
    is_even && is_social_security(text_of(line, first, first + 2)) && !is_international()
}

/// Adds the security code of a card, where it follows: `4111 1111 1111 1111 04/28 123`. Tells where to go on.
fn push_security_code(line: Line<'_>, card: Value, behind: usize, values: &mut Vec<Value>) -> usize {
    let code = security_code(line, card, behind).filter(|_| card.form == Form::Certain(PaymentCard));
    let Some((code, end)) = code else { return card.last + 1 };
    if code > card.last + 1 {
        push_run(line, card.last + 1, code - 1, values);
    }
    values.push(value(line, code, code, Form::Certain(PaymentCard)));
    if code < end {
        push_run(line, code + 1, end, values);
    }
    end + 1
}

/// The security code behind a card, with nothing beside it but an expiry date, and the last of these groups.
fn security_code(line: Line<'_>, card: Value, behind: usize) -> Option<(usize, usize)> {
    const AMERICAN_EXPRESS_DIGITS: usize = 15;
    let code_digits = if card.digits == AMERICAN_EXPRESS_DIGITS { 4 } else { 3 };
    let first = card.last + 1;
    if first >= behind || !line.is_number(first) || !may_be_between(line.gap(first)) || line.sentence_ends_before(first)
    {
        return None;
    }
    let last = end_of_run(line, first, behind);
    let size = |at: usize| line.tokens[at].digits;
    let code = [first, last].into_iter().find(|at| size(*at) == code_digits && !is_measure(line, *at, *at))?;
    let (from, to) = if code == first { (first + 1, last + 1) } else { (first, last) };
    let is_nothing_else = match to - from {
        0 => true,
        1 => size(from) == 4 && !matches!(form_of_run(line, first, last), Form::Certain(_)),
        2 => is_expiry(line, from),
        _ => false,
    };
    is_nothing_else.then_some((code, last))
}

/// "04/28", "4 2028": a month and a year, with a token each.
fn is_expiry(line: Line<'_>, at: usize) -> bool {
    let (month, year) = (number(line.word(at)), number(line.word(at + 1)));
    (1..=12).contains(&month) && line.tokens[at].digits <= 2 && (is_year(year) || line.tokens[at + 1].digits == 2)
}

/// The last group of digits that is joined to the one at `first`, before the token `behind`.
fn end_of_run(line: Line<'_>, first: usize, behind: usize) -> usize {
    let mut last = first;
    while last + 1 < behind && last + 1 - first < MAX_GROUPS && is_joined(line, last + 1) {
        // "10:30 555-0100", "555-0100 1,050": what is tied more closely is something of its own.
        let ends_here = last > first && is_tied(line, last) && !matches!(line.gap(last + 1), ":" | "," | ".");
        if ends_here || !is_tied(line, last + 1) && is_tied(line, last + 2) {
            break;
        }
        last += 1;
    }
    last
}

/// Whether a group belongs to the one before it as minutes to hours, or as hundreds to thousands.
fn is_tied(line: Line<'_>, at: usize) -> bool {
    at < line.tokens.len() && matches!(line.gap(at), ":" | ",") && is_joined(line, at)
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
        gap => gap.chars().take(4).count() <= 3 && gap.chars().all(is_separator) && gap != ". ",
    }
}

/// What stands between groups of a number: spaces and hyphens of all widths, also those that are not seen.
fn is_separator(c: char) -> bool {
    const UNSEEN: [char; 6] = ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];
    let is_space = c.is_whitespace() && !matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
    is_space
        || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '.' | '/' | '_' | '(' | ')')
        || UNSEEN.contains(&c)
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

/// Adds a run of groups: as one number, or in parts where some of them are plainly something of their own ("25052018 250").
fn push_run(line: Line<'_>, first: usize, last: usize, values: &mut Vec<Value>) {
    let is_spelled = (first..=last).all(|index| !line.is_number(index));
    if is_spelled && last - first + 1 < MIN_SPELLED {
        return;
    }
    if let Some(part) = part_of_its_own(line, first, last) {
        if part.first > first {
            push_run(line, first, part.first - 1, values);
        }
        values.push(part);
        if part.last < last {
            push_run(line, part.last + 1, last, values);
        }
        return;
    }
    let whole = value(line, first, last, form_of_run(line, first, last));
    let has_only_spaces = (first + 1..=last).all(|index| line.gap(index).trim().is_empty());
    let singles = (first..=last).map(|at| value(line, at, at, form_of_single(line, at)));
    let is_apart = |value: Value| matches!(value.form, Form::Measure | Form::Date | Form::Year | Form::Round);
    let is_whole = !has_only_spaces || is_spelled || looks_like_card(line, first) || !singles.clone().any(is_apart);
    if first == last || whole.form != Form::Plain || is_whole {
        values.push(whole);
    } else {
        values.extend(singles);
    }
}

/// A date among more groups, with spaces around it, as in a longer number its digits may stand by chance: `04/11/1983 20417733`. Or four
/// groups of four: they are one number, though a digit of the card may be mistyped, and one group looks like a year.
fn part_of_its_own(line: Line<'_>, first: usize, last: usize) -> Option<Value> {
    const GROUPS: usize = 3;
    let is_international = line.gap(first).ends_with('+');
    if let Some(part) = measure_at_an_end(line, first, last) {
        return Some(part);
    }
    if last - first < GROUPS || is_international {
        return None;
    }
    if looks_like_card(line, first) {
        let is_more = last > first + GROUPS && line.tokens[first + GROUPS + 1].digits != 4;
        return is_more.then(|| value(line, first, first + GROUPS, Form::Plain));
    }
    let part = |at: usize| {
        let (text, groups) = (text_of(line, at, at + GROUPS - 1), [0, 1, 2].map(|next| line.tokens[at + next].digits));
        let is_even = line.gap(at + 1) == line.gap(at + 2) && !line.gap(at + 1).contains(' ');
        let is_apart = |at: usize| at == first || at > last || line.gap(at).contains(char::is_whitespace);
        let is_part = is_even && is_apart(at) && is_apart(at + GROUPS) && is_date(text, &groups);
        is_part.then(|| value(line, at, at + GROUPS - 1, Form::Date))
    };
    (first..=last + 1 - GROUPS).find_map(part)
}

/// The price or count with which a run begins or ends, where the whole is none: "4471 500 dollars", but not "1 500 dollars".
fn measure_at_an_end(line: Line<'_>, first: usize, last: usize) -> Option<Value> {
    let size = |at: usize| line.tokens[at].digits;
    let are_thousands = size(first) <= 3 && (first + 1..=last).all(|at| size(at) == 3 || line.gap(at) == ".");
    let is_apart = |at: &usize| line.gap(*at).contains(char::is_whitespace);
    let from = (first + 1..=last).rev().find(is_apart)?;
    let to = (first + 1..=last).find(is_apart)? - 1;
    let is_price = is_priced_before(line, first) && !are_thousands;
    let is_count = !are_thousands && (is_priced_behind(line, last) || is_counted(line, from, last));
    if is_price {
        Some(value(line, first, to, Form::Measure))
    } else {
        is_count.then(|| value(line, from, last, Form::Measure))
    }
}

/// Whether four groups of four begin here, of which no more than two look like years or amounts.
fn looks_like_card(line: Line<'_>, first: usize) -> bool {
    let groups = || first..=first + 3;
    let is_apart = |at: &usize| form_of_single(line, *at) != Form::Plain;
    groups().all(|at| line.is_number(at) && line.tokens[at].digits == 4) && groups().filter(is_apart).count() <= 2
}

fn text_of<'t>(line: Line<'t>, first: usize, last: usize) -> &'t str {
    &line.text[line.tokens[first].start..line.tokens[last].end]
}

fn form_of_run(line: Line<'_>, first: usize, last: usize) -> Form {
    if first == last {
        return form_of_single(line, first);
    }
    let text = text_of(line, first, last);
    let mut groups = [0; MAX_GROUPS];
    let count = last - first + 1;
    groups.iter_mut().zip(&line.tokens[first..=last]).for_each(|(group, token)| *group = token.digits);
    let groups = &groups[..count];
    let is_decimal = || count == 2 && line.gap(last) == "." && (groups[1] <= 2 || groups[0] <= 2);
    let kind = kind_of(text, groups, line.gap(first).ends_with('+'));
    if let (Some(NationalId), [3, 2, 4]) = (kind, groups) {
        Form::Certain(NationalId) // nobody writes amounts so, whatever price stands beside
    } else if text.contains([':', ',']) || is_decimal() || is_measure(line, first, last) {
        Form::Measure
    } else if is_date(text, groups) {
        Form::Date
    } else if let Some(kind) = kind {
        Form::Certain(kind)
    } else if count == 2 && matches!(line.gap(last).trim(), "-" | "–" | "/") && groups[1] <= 4 && groups[0] <= 4 {
        Form::Date
    } else {
        Form::Plain
    }
}

fn form_of_single(line: Line<'_>, at: usize) -> Form {
    let (text, count) = (line.word(at), line.tokens[at].digits);
    if is_measure(line, at, at) {
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

fn is_measure(line: Line<'_>, first: usize, last: usize) -> bool {
    is_priced_before(line, first) || is_priced_behind(line, last) || is_counted(line, first, last)
}

/// Whether a sign or code of a currency stands before a number, and is not that of another number before it.
fn is_priced_before(line: Line<'_>, first: usize) -> bool {
    const CODES: [&str; 5] = ["usd", "eur", "gbp", "inr", "rs"];
    let is_of_one_before = || first > 1 && line.is_number(first - 2) && matches!(line.gap(first - 1), "" | " ");
    let follows_code = || {
        first > 0
            && line.sense(first - 1) == Some(Sense::Unit)
            && CODES.into_iter().any(|code| line.is(first - 1, code))
            && !is_of_one_before()
    };
    line.gap(first).trim_end().ends_with(CURRENCIES) || follows_code()
}

/// Whether a sign of a currency stands behind a number, and is not that of the next one.
fn is_priced_behind(line: Line<'_>, last: usize) -> bool {
    let after = line.gap(last + 1);
    let is_of_next = line.is_number(last + 1) && after.starts_with(char::is_whitespace);
    after.starts_with('%') || !is_of_next && after.trim_start().starts_with(CURRENCIES)
}

/// Whether a unit follows. Numbers of more digits are not counted things.
fn is_counted(line: Line<'_>, first: usize, last: usize) -> bool {
    const LONGEST_COUNT: usize = 7;
    let is_unit = matches!(line.sense(last + 1), Some(Sense::Unit | Sense::Street)) && line.gap(last + 1).len() <= 1;
    is_unit && digits(line, first, last) <= LONGEST_COUNT
}
