//! The judgement on a number: which kind it is, or none, from its form, the words around it, and the conversation.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::context::Conversation;
use super::cues::Sense;
use super::found::Surety::{self, Asked, Guessed, Sure};
use super::phrases::{Said, said_of};
use super::tokens::Line;
use super::values::{Form, Value};

/// Fewer digits are never judged to be sensitive.
const FEWEST_DIGITS: usize = 3;
/// So many digits are an identifier, whoever says them, unless they are a date or an amount.
const MANY_DIGITS: usize = 8;
/// The usual part of a long number by which people identify themselves.
const LAST_DIGITS: usize = 4;
/// Policies' numbers are longer than claims', where nothing else tells them apart.
const FEWEST_POLICY_DIGITS: usize = 6;
/// The most letters in one group of a code.
const CODE_LETTERS: usize = 4;
/// The most letters before a number that is not sure to be a code.
const FEW_LETTERS: usize = 3;

/// Which kind a number is, and how sure that is; `None` where nothing speaks for it being sensitive. What its form proves, no word beside it
/// takes away: of the two the stricter counts.
pub(super) fn kind_of_number(
    talk: &Conversation,
    line: Line<'_>,
    value: Value,
    is_answer: bool,
) -> Option<(SensitiveKind, Surety)> {
    if value.form == Form::Measure {
        return named_despite_price(line, value).map(|kind| (kind, Sure));
    }
    let told = told_kind(talk, line, value, is_answer);
    if let Form::Certain(kind) = value.form {
        return Some((told.map_or(kind, |(told, _)| told.stricter(kind)), Sure));
    }
    let may_be_guessed = is_answer && talk.is_one_sided;
    let may_be_code = is_answer && (talk.is_one_sided || talk.is_about_codes());
    let is_short = value.form != Form::Exponent && value.digits < FEWEST_DIGITS;
    let is_date = value.digits <= MANY_DIGITS || value.form == Form::Date;
    match told {
        Some(told) => Some(told),
        None if is_short => (may_be_code && is_code(talk, line, value)).then_some((ClaimNumber, Guessed)),
        None if is_date && said_of(line, value) == Said::Harmless => None,
        None if value.form == Form::Exponent => Some((likely(talk, value), Sure)),
        None if may_be_code && is_code(talk, line, value) => {
            Some((if value.digits >= FEWEST_POLICY_DIGITS { PolicyNumber } else { ClaimNumber }, Guessed))
        }
        None if value.form == Form::Plain && value.digits >= MANY_DIGITS => Some((likely(talk, value), Guessed)),
        None if may_be_guessed && is_likely_answer(talk, line, value) => Some((likely(talk, value), Guessed)),
        None => None,
    }
}

/// The kind that words beside a number, or the question before it, give it.
fn told_kind(talk: &Conversation, line: Line<'_>, value: Value, is_answer: bool) -> Option<(SensitiveKind, Surety)> {
    if value.form != Form::Exponent && value.digits < FEWEST_DIGITS {
        return None;
    }
    match said_of(line, value) {
        Said::Names(kind) => return Some((kind, Sure)),
        Said::LastDigits => return Some((likely(talk, value), Sure)),
        Said::Harmless | Said::Nothing if is_transfer_target(talk, line, value) => return Some((BankAccount, Sure)),
        Said::Harmless if value.digits <= MANY_DIGITS || value.form == Form::Date => return None,
        Said::Harmless | Said::Nothing => {}
    }
    (is_answer && is_asked(talk, line, value)).then(|| (likely(talk, value), Asked))
}

/// A long number with a price beside it, called by the name of what agents may not see: it is no price.
fn named_despite_price(line: Line<'_>, value: Value) -> Option<SensitiveKind> {
    let is_amount = (value.first + 1..=value.last).any(|at| line.gap(at).contains([':', ',', '.']));
    let said = if is_amount || value.digits < MANY_DIGITS { Said::Nothing } else { said_of(line, value) };
    match said {
        Said::Names(kind @ (PaymentCard | NationalId | BankAccount | Password)) => Some(kind),
        _ => None,
    }
}

/// "transfer 500 to 1234": what money goes to or comes from.
fn is_transfer_target(talk: &Conversation, line: Line<'_>, value: Value) -> bool {
    let is_direction = |at| ["to", "from", "into"].into_iter().any(|word| line.is(at, word));
    let is_about_accounts = talk.is_about_money && talk.topics.has(BankAccount);
    let may_be_time = matches!(value.form, Form::Date | Form::Year);
    is_about_accounts && !may_be_time && value.first > 0 && value.digits >= LAST_DIGITS && is_direction(value.first - 1)
}

/// "abc 325" where policies or claims are talked about: digits, with letters around them that are no word.
fn is_code(talk: &Conversation, line: Line<'_>, value: Value) -> bool {
    let (first, last) = with_letters(line, value, CODE_LETTERS);
    let digits: usize = line.tokens[first..=last].iter().map(|token| token.digits).sum();
    let is_long = value.digits >= FEWEST_POLICY_DIGITS && with_letters(line, value, FEW_LETTERS).0 < value.first;
    let is_of_another_kind = talk.topics.has(Phone) || talk.topics.has(PaymentCard) || talk.topics.has(BankAccount);
    (talk.is_about_codes() || is_long && !is_of_another_kind)
        && digits >= FEWEST_DIGITS
        && last - first > value.last - value.first
        && value.form != Form::Year
}

/// Whether an open question asks for such a number; where the line is hardly more than the number, its length does not matter. A date or an
/// amount is an answer only where nothing of that sort was asked for.
fn is_asked(talk: &Conversation, line: Line<'_>, value: Value) -> bool {
    const FEW_TOKENS: usize = 6;
    let may_be_harmless = matches!(value.form, Form::Date | Form::Year | Form::Round);
    let is_bare = line.strangers <= 1 && line.tokens.len() <= FEW_TOKENS && !may_be_harmless;
    let is_fitting = |kind| fits(kind, value) || is_bare && fits_in_part(kind);
    talk.question.kinds.iter().any(is_fitting) && !(may_be_harmless && talk.question.also_harmless)
}

/// Where only the customer is heard: agents ask for identification before all else, so numbers are taken for answers to that, unless they
/// look like what the chat is about (years of cars, amounts of money).
fn is_likely_answer(talk: &Conversation, line: Line<'_>, value: Value) -> bool {
    const FEW_WORDS: usize = 4;
    let strangers = line.strangers;
    let is_first = talk.given.is_empty();
    let is_early = talk.turns_with_numbers < 2;
    match value.form {
        Form::Year => {
            strangers == 0 && !line.has_small_number && (is_first || !talk.is_about_models && !talk.just_named)
        }
        Form::Round if is_early && value.digits >= LAST_DIGITS => line.tokens.len() <= FEW_WORDS,
        Form::Round => strangers == 0 && !talk.is_about_money,
        Form::Date => false,
        _ if value.digits >= LAST_DIGITS => strangers <= FEW_WORDS,
        _ => strangers <= 1 && (is_first || !talk.is_about_models),
    }
}

/// The likeliest kind of a number that nothing names.
fn likely(talk: &Conversation, value: Value) -> SensitiveKind {
    let is_fitting = |kind: &SensitiveKind| fits(*kind, value);
    let is_new = |kind: &SensitiveKind| !talk.given.has(*kind);
    if let Some(kind) = talk.question.kinds.iter().filter(is_new).chain(talk.question.kinds.iter()).find(is_fitting) {
        return kind;
    }
    if let Some(kind) = talk.question.kinds.iter().find(|kind| fits_in_part(*kind)) {
        return kind;
    }
    let mut topics = talk.topics;
    if topics.has(ClaimNumber) {
        topics.add(PolicyNumber); // who asks about a claim is asked for both
    }
    let by_length = match value.digits {
        _ if value.form == Form::Exponent => PaymentCard,
        ..=LAST_DIGITS | 9 => NationalId,
        10..=12 => Phone,
        13..=19 => PaymentCard,
        // Of unknown use, where something is talked about that not everybody may see: then rather that.
        _ => [PaymentCard, NationalId, BankAccount].into_iter().find(|kind| topics.has(*kind)).unwrap_or(Other),
    };
    let is_identification = value.digits == LAST_DIGITS && talk.is_one_sided && is_new(&NationalId);
    let from_topics = topics.iter().filter(is_new).chain(topics.iter()).find(is_fitting);
    if is_identification { NationalId } else { from_topics.unwrap_or(by_length) }
}

/// Whether a number can be of this kind, by its length.
fn fits(kind: SensitiveKind, value: Value) -> bool {
    let digits = value.digits;
    match kind {
        _ if value.form == Form::Exponent => matches!(kind, PaymentCard | BankAccount),
        PaymentCard => digits <= LAST_DIGITS || digits >= 12,
        NationalId => digits <= LAST_DIGITS || (8..=12).contains(&digits),
        BankAccount => digits >= LAST_DIGITS,
        Phone => (7..=15).contains(&digits),
        PolicyNumber => digits >= FEWEST_POLICY_DIGITS,
        ClaimNumber | AccountId | BookingNumber | Other => true,
        Address => (4..=6).contains(&digits),
        Password => (3..=8).contains(&digits),
        Email | Name | Username => false,
    }
}

/// Whether people also give parts of such a number, or mistype it to any length.
fn fits_in_part(kind: SensitiveKind) -> bool {
    !matches!(kind, Email | Name | Username | Address)
}

/// Where a number stands in the text, from its first byte to one after its last: with its letters, its "+", its parentheses.
pub(super) fn place(talk: &Conversation, line: Line<'_>, value: Value, kind: SensitiveKind) -> (usize, usize) {
    let most_letters = match kind {
        PolicyNumber | ClaimNumber if talk.is_about_codes() => CODE_LETTERS,
        PolicyNumber | ClaimNumber => FEW_LETTERS,
        _ if talk.is_one_sided && value.digits >= FEWEST_POLICY_DIGITS && !talk.topics.has(Phone) => FEW_LETTERS,
        BankAccount | NationalId => 2,
        _ => 0,
    };
    let (first, last) = with_letters(line, value, most_letters);
    let (start, end) = (line.tokens[first].start, line.tokens[last].end);
    let opens = if line.text[start..end].contains(')') { "(+" } else { "+" };
    let opening = line.gap(first).chars().rev().take_while(|c| opens.contains(*c)).count();
    (start - opening, end)
}

/// The tokens of a number with the letters that belong to it: `PNY57`, `C-88213`, "pny 57", "l 087". Letters with a space between must be
/// few, and before the number; only in codes are they also after it.
fn with_letters(line: Line<'_>, value: Value, most_letters: usize) -> (usize, usize) {
    const MOST_PARTS: usize = 12;
    const MOST_GLUED_BYTES: usize = 32; // more is a text without spaces, and no part of a code
    let is_code = most_letters == CODE_LETTERS;
    let belongs = |at: usize, beside: usize| match line.gap(at.max(beside)) {
        "" => line.sense(at) != Some(Sense::Unit) && length(line, at) <= MOST_GLUED_BYTES,
        "-" | "/" => is_part_of_code(line, at, CODE_LETTERS),
        " " if at > beside && !is_code => false,
        " " if line.is_number(at) => most_letters > 0 && !line.is_number(beside),
        " " => is_part_of_code(line, at, most_letters) || looks_like_digit(line, at),
        _ => false,
    };
    let (mut first, mut last) = (value.first, value.last);
    while first > 0 && value.first - first < MOST_PARTS && belongs(first - 1, first) {
        first -= 1;
    }
    while last + 1 < line.tokens.len() && last - value.last < MOST_PARTS && belongs(last + 1, last) {
        last += 1;
    }
    (first, last)
}

/// How many bytes a token has.
fn length(line: Line<'_>, at: usize) -> usize {
    line.tokens[at].end - line.tokens[at].start
}

/// A letter that stands alone, and is written where a digit is meant.
fn looks_like_digit(line: Line<'_>, at: usize) -> bool {
    matches!(line.gap(at), "" | " ") && ["l", "o", "s"].into_iter().any(|letter| line.is(at, letter))
}

/// Whether a word may be one of the groups of a code: a few letters that are no word, or short for what the code is of ("clm 839").
fn is_part_of_code(line: Line<'_>, at: usize, most_letters: usize) -> bool {
    let letters = length(line, at);
    letters <= most_letters
        && match line.sense(at) {
            None => true,
            Some(Sense::Names(PolicyNumber | ClaimNumber)) => letters == 3 && line.is_number(at + 1),
            Some(_) => letters == 1 && most_letters == CODE_LETTERS,
        }
}
