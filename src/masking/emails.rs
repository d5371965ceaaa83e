//! E-mail addresses: as RFC 5321 writes them, as people say them ("john at gmail dot com"), and without their punctuation ("johngmailcom").

use crate::domain::sensitive::SensitiveKind::Email;

use super::cues::Sense;
use super::found::{Found, Surety::Sure};
use super::tokens::Line;

/// The longest local part and the longest domain (RFC 5321, section 4.5.3.1).
const LONGEST_LOCAL_BYTES: usize = 64;
const LONGEST_DOMAIN_BYTES: usize = 255;

/// Names of mail services, with the slips that are often made on them. "mail" stands for all that end in it.
const PROVIDERS: [&str; 24] = [
    "mail", "gmail", "hotmail", "fastmail", "email", "yahoo", "outlook", "aol", "icloud", "live", "msn", "comcast",
    "rediff", "proton", "yandex", "verizon", "zoho", "gamil", "gmial", "gmil", "gmal", "gmai", "gail", "yaho",
];
/// Ends of domains.
const ENDS: [&str; 12] = ["com", "net", "org", "edu", "co", "in", "uk", "de", "fr", "ca", "au", "io"];
/// A longer word that ends in "com" is no English word.
const SHORTEST_DOMAIN_WORD: usize = 9;

/// Adds each address in a line. `is_expected` says that an address was asked for, or that the turn
/// may well be one.
pub(super) fn find_emails(line: Line<'_>, is_expected: bool, found: &mut Found) {
    for (at, _) in line.text.match_indices('@') {
        if let Some((start, end)) = around_at_sign(line.text, at) {
            found.add(start, end, Email, Sure);
        }
    }
    for at in 0..line.tokens.len() {
        if let Some((first, last)) = around_domain(line, at, is_expected) {
            found.add(line.tokens[first].start, line.tokens[last].end, Email, Sure);
        }
    }
}

fn around_at_sign(text: &str, at: usize) -> Option<(usize, usize)> {
    let is_local = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '%' | '\'');
    let is_domain = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let bytes = |total: usize, c: char| total + c.len_utf8();
    let local = text[..at].chars().rev().take(LONGEST_LOCAL_BYTES).take_while(is_local).fold(0, bytes);
    let domain = text[at + 1..].chars().take(LONGEST_DOMAIN_BYTES).take_while(is_domain).fold(0, bytes);
    let end = at + 1 + text[at + 1..at + 1 + domain].trim_end_matches(['.', '-']).len();
    (local > 0 && end > at + 2).then_some((at - local, end))
}

/// A domain among the tokens of a line.
struct Domain {
    /// How many letters of its first token stand before it: the four of "johngmailcom".
    letters_before: usize,
    /// Its last token.
    last: usize,
}

/// The tokens of an address whose domain begins in the token `at`.
fn around_domain(line: Line<'_>, at: usize, is_expected: bool) -> Option<(usize, usize)> {
    let may_be_name = matches!(line.sense(at), None | Some(Sense::Names(Email)));
    if !may_be_name || line.is_number(at) || !line.word(at).is_ascii() {
        return None;
    }
    let domain = known_domain(line, at).or_else(|| spelled_domain(line, at));
    let domain = domain.or_else(|| lost_domain(line, at).filter(|_| is_expected))?;
    Some((start_of_local(line, at, domain.letters_before)?, domain.last))
}

/// The domain of a mail service: "gmail com", "gmail dot com", "gmailcom", "johngmailcom".
fn known_domain(line: Line<'_>, at: usize) -> Option<Domain> {
    let word = line.word(at);
    let without_end = ENDS.into_iter().filter(|end| ends_with(word, end)).map(|end| &word[..word.len() - end.len()]);
    if let Some(letters_before) = without_end.filter_map(start_of_provider).next() {
        return Some(Domain { letters_before, last: at });
    }
    Some(Domain { letters_before: start_of_provider(word)?, last: end_of_domain(line, at)? })
}

/// Where in a word the name of a mail service begins that ends it.
fn start_of_provider(word: &str) -> Option<usize> {
    PROVIDERS.into_iter().filter(|name| ends_with(word, name)).map(|name| word.len() - name.len()).min()
}

/// Any domain that is spelled out: "at example dot com", "(at)example.com".
fn spelled_domain(line: Line<'_>, at: usize) -> Option<Domain> {
    let follows_at = at > 0 && line.is(at - 1, "at");
    let is_spelled = || line.gap(at).contains([')', ']']) || line.is(at + 1, "dot");
    if follows_at && is_spelled() { Some(Domain { letters_before: 0, last: end_of_domain(line, at)? }) } else { None }
}

/// The last token of "com" or "co dot uk" after a word.
fn end_of_domain(line: Line<'_>, word: usize) -> Option<usize> {
    let next = |at: usize| {
        let end = at + 1 + usize::from(line.is(at + 1, "dot"));
        let is_near = end < line.tokens.len() && (at + 1..=end).all(|index| matches!(line.gap(index), " " | "."));
        (is_near && ENDS.into_iter().any(|name| line.is(end, name))).then_some(end)
    };
    let first = next(word)?;
    Some(next(first).unwrap_or(first))
}

/// What may be a domain without its dot: a long word that ends in "com", or a lone "com" after other words.
fn lost_domain(line: Line<'_>, at: usize) -> Option<Domain> {
    let word = line.word(at);
    let is_long = word.len() >= SHORTEST_DOMAIN_WORD && ends_with(word, "com");
    let is_alone = line.is(at, "com") && at > 0 && line.gap(at) == " " && at + 1 == line.tokens.len();
    let letters_before = if is_long { word.len() } else { 0 };
    (is_long || is_alone).then_some(Domain { letters_before, last: at })
}

/// The token with which the local part begins, for a domain in the token `at` with so many letters before it; `None` where there is no
/// local part.
fn start_of_local(line: Line<'_>, at: usize, letters_before: usize) -> Option<usize> {
    const ENOUGH_LETTERS: usize = 3;
    const MOST_TOKENS: usize = 8;
    let has_local = letters_before >= ENOUGH_LETTERS;
    let says_at = letters_before == 0 && at > 1 && line.is(at - 1, "at");
    let domain = if says_at { at - 1 } else { at };
    let mut first = domain;
    while first > 0 && domain - first < MOST_TOKENS {
        let says_dot = first > 1 && ["dot", "underscore", "dash"].into_iter().any(|word| line.is(first - 1, word));
        let is_glued = matches!(line.gap(first), "." | "_" | "-" | "@" | "" | "+" | "(" | "[" | " (" | " [");
        // "john 45 gmailcom": a number belongs to the word before it. "see johngmailcom": a word need not.
        let is_joined = line.tokens[first].digits > 0 || first == domain && (!has_local || line.is_number(first - 1));
        if says_dot && first < domain {
            first -= 2;
        } else if is_glued || line.gap(first) == " " && is_joined && may_be_local(line, first - 1) {
            first -= 1;
        } else {
            break;
        }
    }
    (first < domain || has_local).then_some(first)
}

/// Whether a token may be part of a name before a domain: a short number, or a word that is not of the sentence around.
fn may_be_local(line: Line<'_>, at: usize) -> bool {
    const MOST_DIGITS: usize = 6;
    let token = line.tokens[at];
    if token.is_number { token.digits <= MOST_DIGITS } else { matches!(token.sense, None | Some(Sense::Digit)) }
}

fn ends_with(word: &str, end: &str) -> bool {
    word.len() >= end.len() && word.as_bytes()[word.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}
