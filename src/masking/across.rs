//! A card that is given in parts: four digits, "ok", the next four; or with words between, "4111 1111 and then 1111 1111". Each part tells
//! nothing by itself; together their groups pass for a card's number, and then all of them are hidden.

use crate::domain::record::{Speaker, Turn};
use crate::domain::sensitive::SensitiveKind::PaymentCard;

use super::Span;
use super::cards::{Group, cards_among, may_be_between};
use super::cues::Sense;
use super::formats::digits;
use super::tokens::Line;

/// The most groups that are remembered: a card's 19 digits one by one.
const MOST_GROUPS: usize = 19;
/// The most words beside the groups: "and then 1111".
const MOST_WORDS_BESIDE: usize = 3;
/// The most words of an acknowledgement between: "Thank you, and the next four digits please?"
const MOST_WORDS_BETWEEN: usize = 12;

/// Groups of digits that somebody gave in turns of little else.
#[derive(Default)]
pub(super) struct Pieces {
    customers: Vec<Piece>,
    others: Vec<Piece>,
}

/// A group of digits: its turn, and its place there.
#[derive(Clone, Copy)]
struct Piece {
    turn: u32,
    start: usize,
    end: usize,
    digits: usize,
}

impl Piece {
    /// It as a part of a card.
    fn span(&self) -> Span {
        Span { turn: self.turn, start: self.start as u32, end: self.end as u32, kind: PaymentCard }
    }

    fn text<'t>(&self, turns: &'t [Turn]) -> &'t str {
        &turns[self.turn as usize].text[self.start..self.end]
    }
}

impl Pieces {
    /// Hears a turn, and returns the parts of a card that it completes, each in its own turn.
    pub fn hear(&mut self, turns: &[Turn], turn: u32, line: Line<'_>) -> Vec<Span> {
        if line.tokens.len() > MOST_GROUPS + MOST_WORDS_BETWEEN {
            *self = Self::default();
            return Vec::new();
        }
        let is_customer = turns[turn as usize].speaker == Speaker::Customer;
        let words = line.tokens.iter().filter(|token| !token.is_number).count();
        let groups = groups_of(line).filter(|_| words <= MOST_WORDS_BESIDE && !names_another(line));
        if words > MOST_WORDS_BETWEEN {
            *self = Self::default();
        }
        let (pieces, echoes) =
            if is_customer { (&mut self.customers, &self.others) } else { (&mut self.others, &self.customers) };
        let Some((first, last)) = groups else {
            if words < line.tokens.len() {
                pieces.clear(); // other numbers came between
            }
            return Vec::new();
        };
        let numbers = line.tokens[first..=last].iter().filter(|token| token.is_number);
        pieces.extend(numbers.map(|at| Piece { turn, start: at.start, end: at.end, digits: at.digits }));
        pieces.drain(..pieces.len().saturating_sub(MOST_GROUPS));
        let mut parts = completed(turns, pieces, turn);
        if let Some(first) = parts.first().copied() {
            let card = &pieces[pieces.partition_point(|piece| piece.turn < first.turn)..];
            let turns_after = echoes.chunk_by(|a, b| a.turn == b.turn).filter(|echo| echo[0].turn > first.turn);
            parts.extend(turns_after.filter_map(|echo| repeated(turns, card, echo)));
        }
        parts
    }
}

/// Whether a turn says that its number is something else: "ssn 6430".
fn names_another(line: Line<'_>) -> bool {
    let is_another = |sense| matches!(sense, Some(Sense::Names(kind)) if kind != PaymentCard);
    line.tokens.iter().any(|token| is_another(token.sense))
}

/// The first and the last of the groups of digits in a line, where all of them could be groups of one number.
fn groups_of(line: Line<'_>) -> Option<(usize, usize)> {
    let first = line.tokens.iter().position(|token| token.is_number)?;
    let last = line.tokens.iter().rposition(|token| token.is_number)?;
    let are_together = (first + 1..=last).all(|at| may_be_between(line.gap(at)));
    (are_together && last - first < MOST_GROUPS).then_some((first, last))
}

/// What somebody else repeated in one turn of the groups of a card before it was complete: "4111 1111, go on".
fn repeated(turns: &[Turn], card: &[Piece], echo: &[Piece]) -> Option<Span> {
    const FEWEST_DIGITS: usize = 4;
    let is_same = |echo: &&Piece| {
        let is_same = |piece: &Piece| digits(piece.text(turns)).eq(digits(echo.text(turns)));
        echo.digits >= FEWEST_DIGITS && card.iter().any(is_same)
    };
    let mut same = echo.iter().filter(is_same);
    let first = same.next()?.span();
    Some(same.next_back().map_or(first, |last| Span { end: last.end as u32, ..first }))
}

/// The parts of the cards that end in this turn.
fn completed(turns: &[Turn], pieces: &[Piece], turn: u32) -> Vec<Span> {
    let group = |piece: &Piece| Group { text: piece.text(turns), digits: piece.digits };
    let groups: Vec<_> = pieces.iter().map(group).collect();
    // Whether nothing but signs stands between two pieces of one turn.
    let is_beside = |a: &Piece, b: &Piece| {
        a.turn == b.turn && !turns[a.turn as usize].text[a.end..b.start].contains(char::is_alphabetic)
    };
    let cards =
        cards_among(&groups).into_iter().filter_map(|(first, last)| whole_turns(pieces, first, last, is_beside));
    cards
        .filter(|card| card[card.len() - 1].turn == turn && !card.is_sorted_by(is_beside))
        .flat_map(|card| card.chunk_by(|a, b| a.turn == b.turn))
        .map(|part| Span { end: part[part.len() - 1].end as u32, ..part[0].span() })
        .collect()
}

/// The groups of a card, where it has the usual length and begins and ends as turns do: numbers of several turns make a card by chance more
/// easily than those of one. A security code may stand behind it.
fn whole_turns(
    pieces: &[Piece],
    first: usize,
    last: usize,
    is_beside: impl Fn(&Piece, &Piece) -> bool,
) -> Option<&[Piece]> {
    const CODE_DIGITS: usize = 3;
    let count: usize = pieces[first..=last].iter().map(|piece| piece.digits).sum();
    let begins = first == 0 || pieces[first - 1].turn < pieces[first].turn;
    let ends = match &pieces[last + 1..] {
        [] => true,
        [code] => code.digits == CODE_DIGITS && is_beside(&pieces[last], code),
        _ => false,
    };
    (begins && ends && matches!(count, 15 | 16 | 19)).then_some(&pieces[first..])
}
