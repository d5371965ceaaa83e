//! Finds what is sensitive in a chat, so that it can be hidden from roles that may not see it. It goes by formats and their check digits,
//! by the words around a number, and by what was asked before. It reads the turns in place and keeps nothing of them: what it returns are
//! positions and kinds. It never decides who may see what, and it is no proof that nothing sensitive is left: names are not looked for,
//! and a number that nothing speaks for stays. What is of several kinds has the strictest of them, byte by byte, whoever else finds or
//! marks something around it.
//!
//! ```text
//! find:  turns -> for each: tokens -> cards, numbers -> judged by form, words around, conversation -> spans
//! show:  turns, spans, hidden kinds -> turns with "[payment card]" and the like
//! ```

mod across;
mod cards;
mod context;
mod cues;
mod emails;
mod formats;
mod found;
mod marked;
mod mask;
mod meaning;
mod numbers;
mod passwords;
mod phrases;
mod repeats;
mod show;
mod tokens;
mod values;
pub mod wav;
mod words;

#[cfg(test)]
mod tests;

use crate::domain::record::{Speaker, Turn};
use crate::domain::sensitive::SensitiveKind::Email;
use crate::domain::sensitive::TextSpan as Span;

use across::Pieces;
use context::Conversation;
use found::{Found, Surety};
use tokens::Line;

use mask::{all_hidden, masked_length};

pub use marked::with_marked;
pub use mask::mask;
pub use show::show;

/// The sensitive spans of a chat, sorted, without overlap, on boundaries of characters. The work grows with the length of the text; a text
/// of more than 4 GiB, which no chat has, does not fit the offsets.
pub fn find(turns: &[Turn]) -> Vec<Span> {
    let mut talk = Conversation::among(turns.iter().map(|turn| turn.speaker));
    let (mut spans, mut tokens) = (Vec::new(), Vec::new());
    let (mut pieces, mut earlier) = (Pieces::default(), Vec::new());
    for (index, turn) in (0..).zip(turns) {
        tokens::tokenize(&turn.text, &mut tokens);
        meaning::settle_meanings(&turn.text, &mut tokens);
        let line = Line::new(&turn.text, &tokens);
        talk.hear(turn.speaker, line);
        let mut found = Found::in_turn(index);
        find_words(&talk, turn.speaker, line, &mut found);
        for value in values::values_of(line) {
            let judged = numbers::kind_of_number(&talk, line, value, turn.speaker == Speaker::Customer);
            if let Some((kind, surety)) = repeats::with_repeated(judged, turns, &spans, line, value) {
                let (start, end) = numbers::place(&talk, line, value, kind);
                found.add(start, end, kind, surety);
            }
        }
        for part in pieces.hear(turns, index, line) {
            if part.turn == index {
                found.add(part.start as usize, part.end as usize, part.kind, Surety::Sure);
            } else {
                earlier.push(part);
            }
        }
        let mut found = found.settled(&turn.text);
        talk.turn_ends(turn.speaker, line, &found);
        spans.append(&mut found);
    }
    if earlier.is_empty() {
        return spans;
    }
    spans.append(&mut earlier);
    found::strictest(spans)
}

/// The spans of one turn among those of a chat.
pub fn of_turn(spans: &[Span], turn: u32) -> &[Span] {
    let start = spans.partition_point(|span| span.turn < turn);
    let count = spans[start..].partition_point(|span| span.turn == turn);
    &spans[start..start + count]
}

/// Adds what shows by its form, or is called by its name.
fn find_words(talk: &Conversation, speaker: Speaker, line: Line<'_>, found: &mut Found) {
    let is_answer = speaker == Speaker::Customer;
    let may_be_email = talk.is_one_sided || talk.question.kinds.has(Email) || talk.topics.has(Email);
    emails::find_emails(line, is_answer && may_be_email, found);
    words::find_words(line, found);
    if is_answer {
        words::find_answers(line, talk.question.kinds, found);
    }
    if is_answer && talk.is_one_sided {
        words::find_street(line, found);
    }
}
