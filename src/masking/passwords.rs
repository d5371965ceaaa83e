//! Passwords: what is said to be one, even where it begins as a common word does ("March2024!"), stands in quotes, or is of several words.

use crate::domain::sensitive::SensitiveKind::Password;

use super::cues::Sense;
use super::found::{Found, Surety::Sure};
use super::tokens::Line;

/// How many tokens after the word for it are read.
const REACH: usize = 10;
/// The most words of a pass phrase behind its first.
const MOST_WORDS: usize = 5;
/// The longest password in quotes.
const LONGEST_QUOTED_BYTES: usize = 128;

/// Adds what follows a word for a password, or stands before it: `password Tulip77x`, "my password for the bank is open sesame", "Tulip77x is
/// my password", but not "password is wrong".
pub(super) fn find_password(line: Line<'_>, cue: usize, found: &mut Found) {
    if let Some((start, end)) = said_before(line, cue) {
        found.add(start, end, Password, Sure);
    }
    let is = |at: usize, words: &[&str]| words.iter().any(|word| line.is(at, word));
    let (mut is_said, mut has_owner, mut is_talk, mut behind) = (false, false, false, line.tokens[cue].end);
    for at in (cue + 1..line.tokens.len()).take(REACH) {
        let says = line.gap(at).contains([':', '=']);
        let goes_on = says || is_said && line.gap(at).trim().is_empty();
        is_said |= says || line.gap(at).contains('#');
        if line.sentence_ends_before(at) && !goes_on || is_talk && line.gap(at).contains(',') {
            return;
        }
        if line.tokens[at].start < behind {
            continue;
        }
        if let Some((start, end)) = quoted(line, at).filter(|_| !is_talk) {
            return found.add(start, end, Password, Sure);
        }
        let (start, end) = trimmed(line, at);
        let may_follow = !is_talk || is(at - 1, &["to", "is", "was", "be", "from", "as"]);
        if may_follow && start >= behind && is_secret(&line.text[start..end]) {
            found.add(start, end, Password, Sure);
            behind = end;
            if is_said && !is_talk {
                return;
            }
            continue;
        }
        match line.sense(at) {
            Some(Sense::Link) if !says => {
                is_said |= is(at, &["is", "was", "are", "number"]);
                has_owner |= is(at, &["for", "of", "to", "on", "at", "with"]);
            }
            // "password is wrong": talk about it, in which it may still be told ("was changed to Tulip77x").
            Some(Sense::Plain | Sense::Ask | Sense::Harmless(_)) => is_talk = true,
            _ if is_talk => {}
            _ if is_said || line.is_number(at) && !has_owner => {
                let (start, end) = phrase_from(line, at);
                return found.add(start, end, Password, Sure);
            }
            // "password for my account", "password of the router": it may still be said.
            Some(Sense::Names(_)) => {}
            None if has_owner => {}
            _ => is_talk = true,
        }
    }
}

/// "Tulip77x is my password".
fn said_before(line: Line<'_>, cue: usize) -> Option<(usize, usize)> {
    const MOST_LINKS: usize = 3;
    let is_near = |at: &usize| !line.sentence_ends_before(at + 1);
    let is_link = |at: &usize| ["my", "the", "our", "new", "old"].into_iter().any(|word| line.is(*at, word));
    let verb = (0..cue).rev().take(MOST_LINKS).take_while(is_near).find(|at| !is_link(at))?;
    let is_verb = ["is", "was", "as"].into_iter().any(|word| line.is(verb, word));
    let (start, end) = trimmed(line, verb.checked_sub(1).filter(|_| is_verb && is_near(&(verb - 1)))?);
    is_secret(&line.text[start..end]).then_some((start, end))
}

/// Adds an answer to the question for a password that is of words alone: "it's open sesame", but not "I forgot".
pub(super) fn find_answer(line: Line<'_>, found: &mut Found) {
    let is_before =
        |at: &usize| line.sense(*at) == Some(Sense::Link) || ["sure", "ok"].into_iter().any(|word| line.is(*at, word));
    let first = (0..line.tokens.len()).take(MOST_WORDS).find(|at| !is_before(at));
    // "Blue Monday" may be one; with a word of a sentence in it ("I forgot") it is an answer of another sort.
    let is_word = |at| !matches!(line.sense(at), Some(Sense::Plain | Sense::Link | Sense::Ask | Sense::Names(_)));
    if let Some(first) =
        first.filter(|first| line.tokens.len() - first <= MOST_WORDS && (*first..line.tokens.len()).all(is_word))
    {
        let end = trimmed(line, line.tokens.len() - 1).1;
        found.add(trimmed(line, first).0, end, Password, Sure);
    }
}

/// Whether a piece of text is no word of a sentence: it has letters and digits, or a sign within. Times and measures are none ("10:30am").
pub(super) fn is_secret(piece: &str) -> bool {
    const SHORTEST: usize = 4;
    const SIGNS: [char; 17] = ['!', '@', '#', '$', '%', '^', '&', '*', '_', '+', '=', '~', '<', '>', '|', '\\', '?'];
    let is_mail = || piece.split_once('@').is_some_and(|(before, after)| !before.is_empty() && after.contains('.'));
    let within = piece.trim_end_matches(['!', '?']);
    let has_letters = piece.contains(char::is_alphabetic);
    let mixes = has_letters && piece.contains(|c: char| c.is_ascii_digit());
    let is_measure = || {
        let unit = piece.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '-' | ','));
        unit.len() < piece.len() && matches!(super::cues::sense(unit), Some(Sense::Unit | Sense::Harmless(_)))
    };
    piece.len() >= SHORTEST && (mixes && !is_measure() || has_letters && within.contains(SIGNS) && !is_mail())
}

/// What stands in quotes that open before this token.
fn quoted(line: Line<'_>, at: usize) -> Option<(usize, usize)> {
    const QUOTES: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('«', '»'), ('`', '`')];
    let start = line.tokens[at].start;
    let before = line.gap(at);
    let close = QUOTES
        .into_iter()
        .find(|(open, _)| before.contains(*open) && before.contains([' ', ':', '=']))
        .map(|quote| quote.1)?;
    let opened = start - before.len() + before.find(|c| QUOTES.iter().any(|(open, _)| *open == c))?;
    let start = opened + line.text[opened..].chars().next().map_or(0, char::len_utf8);
    let mut within = line.text[start..].char_indices().take(LONGEST_QUOTED_BYTES).take_while(|(_, c)| *c != '\n');
    let end = start + within.find(|(_, c)| *c == close)?.0;
    (start < end).then_some((start, end))
}

/// A password that begins with this token: a piece, or where that is a mere word, also the words behind it that are not of the sentence.
fn phrase_from(line: Line<'_>, first: usize) -> (usize, usize) {
    let (start, end) = trimmed(line, first);
    let is_word = |piece: &str| piece.chars().all(char::is_alphabetic);
    if !is_word(&line.text[start..end]) {
        return (start, end);
    }
    let goes_on = |at: &usize| line.gap(*at) == " " && line.sense(*at).is_none();
    let last = (first + 1..line.tokens.len()).take(MOST_WORDS).take_while(goes_on).last();
    (start, last.map_or(end, |last| trimmed(line, last).1))
}

/// The piece around a token without the punctuation of the sentence.
pub(super) fn trimmed(line: Line<'_>, at: usize) -> (usize, usize) {
    let (start, end) = line.piece(at);
    let piece = &line.text[start..end];
    let start = start + (piece.len() - piece.trim_start_matches(['"', '\'', '(', '“', '‘']).len());
    let end = end - (piece.len() - piece.trim_end_matches(['"', '\'', ')', '”', '’', '.', ',', ';', ':']).len());
    if start <= line.tokens[at].start && end >= line.tokens[at].end {
        (start, end)
    } else {
        (line.tokens[at].start, line.tokens[at].end)
    }
}
