//! Sensitive things that need not be numbers: passwords, user names, codes of letters and digits, IBANs, postal addresses.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::context::Kinds;
use super::cues::Sense;
use super::formats::{is_iban, is_national_with_letters};
use super::found::{Found, Surety::Sure};
use super::passwords::{self, find_password, is_secret, trimmed};
use super::phrases::is_somebodys;
use super::tokens::Line;

/// The most tokens of one piece that is looked at as a whole.
const MOST_PARTS: usize = 16;
/// Fewer letters and digits are no code.
const SHORTEST_CODE_BYTES: usize = 5;

/// Adds each sensitive thing in a line that shows by its own form or by the words before it.
pub(super) fn find_words(line: Line<'_>, found: &mut Found) {
    for at in 0..line.tokens.len() {
        match line.sense(at) {
            Some(Sense::Names(Password)) => find_password(line, at, found),
            // Other than before a colon it is a verb, or lets somebody in.
            None if line.is(at, "pass") && line.gap(at + 1).contains([':', '=']) => find_password(line, at, found),
            Some(Sense::Names(kind)) => {
                if let Some((start, end)) = after_cue(line, at, kind) {
                    found.add(start, end, kind, Sure);
                }
            }
            Some(Sense::Link) if is_number_of_something(line, at) => {
                if let Some((start, end)) = after_cue(line, at, Other) {
                    found.add(start, end, Other, Sure);
                }
            }
            Some(Sense::Place) if is_somebodys(line, at) => {
                if let Some((first, last)) = address_from(line, at + 1) {
                    found.add(line.tokens[first].start, line.tokens[last].end, Address, Sure);
                }
            }
            _ => {}
        }
        if let Some((last, kind)) = registered(line, at) {
            found.add(line.tokens[at].start, line.tokens[last].end, kind, Sure);
        }
    }
}

/// "employee number", "ticket id", but not "flight number".
fn is_number_of_something(line: Line<'_>, at: usize) -> bool {
    let is_number = ["number", "no", "id", "code"].into_iter().any(|word| line.is(at, word));
    is_number && at > 0 && !matches!(line.sense(at - 1), Some(Sense::Harmless(_) | Sense::Vehicle))
}

/// Adds a line that is a postal address: it begins with a number, and names a street after it.
pub(super) fn find_street(line: Line<'_>, found: &mut Found) {
    let names_street =
        |(first, last): &(usize, usize)| (*first..*last).any(|at| line.sense(at + 1) == Some(Sense::Street));
    if let Some((first, last)) = address_from(line, 0).filter(names_street) {
        found.add(line.tokens[first].start, line.tokens[last].end, Address, Sure);
    }
}

/// Adds what a line answers to a question for `asked`, where that is not found by its digits.
pub(super) fn find_answers(line: Line<'_>, asked: Kinds, found: &mut Found) {
    if let Some((first, last)) = address_from(line, 0).filter(|_| asked.has(Address)) {
        found.add(line.tokens[first].start, line.tokens[last].end, Address, Sure);
    }
    if asked.has(Password) {
        passwords::find_answer(line, found);
    }
    if asked.is_empty() {
        return;
    }
    let is_single = line.text.split_whitespace().nth(1).is_none();
    let mut at = 0;
    while at < line.tokens.len() {
        let (start, end) = trimmed(line, at);
        let next =
            (at + 1..line.tokens.len()).find(|index| line.tokens[*index].start >= end).unwrap_or(line.tokens.len());
        let piece = Piece {
            text: &line.text[start..end],
            is_code: mixes_letters_and_digits(line, at, next),
            is_alone: is_single && !line.sense(at).is_some_and(is_of_sentence),
        };
        if let Some(kind) = asked.iter().find(|kind| may_be(*kind, piece)) {
            found.add(start, end, kind, Sure);
        }
        at = next;
    }
}

/// A piece of an answer, between white space.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t str,
    /// Whether it is made of letters and digits, as codes are.
    is_code: bool,
    /// Whether it is all of the answer, and no common word.
    is_alone: bool,
}

/// Whether the tokens from `first` to before `end` may be a code: letters and digits, and neither time, date, nor measure ("10:30am").
fn mixes_letters_and_digits(line: Line<'_>, first: usize, end: usize) -> bool {
    let tokens = &line.tokens[first..end];
    let is_harmless = |at| matches!(line.sense(at), Some(Sense::Unit | Sense::Harmless(_))) || line.gap(at + 1) == ":";
    let length = tokens.last().map_or(0, |last| last.end - tokens[0].start);
    let has_both = tokens.iter().any(|token| token.is_number) && tokens.iter().any(|token| token.digits == 0);
    has_both && length >= SHORTEST_CODE_BYTES && !(first..end).any(is_harmless)
}

fn is_of_sentence(sense: Sense) -> bool {
    matches!(sense, Sense::Plain | Sense::Link | Sense::Harmless(_) | Sense::Ask)
}

/// Whether a piece can be of a kind that was asked for.
fn may_be(kind: SensitiveKind, piece: Piece<'_>) -> bool {
    const LOCATOR_BYTES: usize = 6;
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    match kind {
        Password => piece.is_code || piece.is_alone || is_secret(piece.text),
        Username => piece.is_code || piece.is_alone && piece.text.contains(char::is_alphabetic),
        AccountId | PolicyNumber | ClaimNumber | NationalId | Other => piece.is_code,
        // A record locator: six letters or digits, in capitals.
        BookingNumber => piece.is_code || piece.text.len() == LOCATOR_BYTES && piece.text.bytes().all(is_capital),
        PaymentCard | BankAccount | Phone | Email | Name | Address => false,
    }
}

/// The piece after "username:", unless it is a word about it ("username is wrong"); after other cues, a code of letters and digits in one
/// piece ("booking reference is K7QP2M").
fn after_cue(line: Line<'_>, cue: usize, kind: SensitiveKind) -> Option<(usize, usize)> {
    const MOST_LINKS: usize = 3;
    let may_be_word = matches!(kind, Username | AccountId);
    let mut is_said = false;
    for at in (cue + 1..line.tokens.len()).take(MOST_LINKS) {
        is_said |= line.gap(at).contains([':', '=', '#']);
        if let Some(code) = code_in_one_piece(line, at).filter(|_| is_said && !may_be_word) {
            return Some(code);
        }
        let whole = trimmed(line, at);
        match line.sense(at) {
            Some(Sense::Link) if !line.gap(at).contains([':', '=']) => {
                is_said |= ["is", "was", "number"].into_iter().any(|word| line.is(at, word));
            }
            _ if may_be_word && is_said && is_secret(&line.text[whole.0..whole.1]) => return Some(whole),
            Some(Sense::Plain | Sense::Ask | Sense::Harmless(_)) => return None,
            _ if line.sentence_ends_before(at) => return None,
            _ => return (may_be_word && (is_said || line.is_number(at))).then_some(whole),
        }
    }
    None
}

/// A piece of letters and digits that begins with this token: `K7QP2M`, `T7K-90211`, not `10:30pm`.
fn code_in_one_piece(line: Line<'_>, first: usize) -> Option<(usize, usize)> {
    let belongs = |at: &usize| matches!(line.gap(*at), "" | "-");
    let last = (first + 1..line.tokens.len()).take(MOST_PARTS).take_while(belongs).last()?;
    let is_whole = !line.gap(first).is_empty() && !line.gap(last + 1).starts_with('@');
    (is_whole && mixes_letters_and_digits(line, first, last + 1))
        .then_some((line.tokens[first].start, line.tokens[last].end))
}

/// An address in the sentence that begins or goes on with `from`: from its first number, which must come soon, to where the sentence ends
/// or speaks of something else ("and my ssn").
fn address_from(line: Line<'_>, from: usize) -> Option<(usize, usize)> {
    const MOST_LINKS: usize = 5;
    const FEWEST_WORDS: usize = 2;
    const MOST_WORDS: usize = 16;
    let goes_on = |at: &usize| {
        let speaks_of_other = matches!(line.sense(*at), Some(Sense::Names(kind)) if kind != Address);
        !speaks_of_other && (*at == from || !line.sentence_ends_before(*at))
    };
    let first = (from..line.tokens.len()).take(MOST_LINKS).take_while(goes_on).find(|at| line.is_number(*at))?;
    let rest = (first + 1..line.tokens.len()).take(MOST_WORDS).take_while(goes_on);
    let last = rest.filter(|at| line.sense(*at) != Some(Sense::Link)).last()?;
    (last >= first + FEWEST_WORDS).then_some((first, last))
}

/// An IBAN or a national number with letters that begins with this token: its last token, and what it is.
fn registered(line: Line<'_>, first: usize) -> Option<(usize, SensitiveKind)> {
    const LONGEST_BYTES: usize = 44; // an IBAN of 34 characters with its spaces
    let start = line.tokens[first].start;
    let is_whole_word = first == 0 || !line.gap(first).is_empty();
    let letters_and_digits = line.is_number(first) != line.is_number(first + 1) && first + 1 < line.tokens.len();
    if !is_whole_word || !letters_and_digits || !matches!(line.gap(first + 1), "" | " ") {
        return None;
    }
    if line.gap(first + 1) == " " && line.tokens[first].end - start != 2 {
        return None; // only "QQ 12 34 56 C" has a gap there
    }
    let is_near =
        |at: &usize| matches!(line.gap(*at), "" | " " | "-" | ".") && line.tokens[*at].end - start <= LONGEST_BYTES;
    let mut best = None;
    for last in (first + 1..line.tokens.len()).take(MOST_PARTS * 2).take_while(is_near) {
        let is_end = last + 1 == line.tokens.len() || !line.gap(last + 1).is_empty();
        let text = &line.text[start..line.tokens[last].end];
        if is_end && is_iban(text) {
            best = Some((last, BankAccount));
        } else if is_end && best.is_none() && is_national_with_letters(text) {
            best = Some((last, NationalId));
        }
    }
    best
}
