//! What is found in one turn, until it is put in order. Things that overlap are of one kind or another at each byte: the strictest rules, so
//! that nothing becomes visible because something else was found around it.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::Span;
use super::formats::digits;

/// How sure it is that something is of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surety {
    /// Nothing speaks for it but its length, or the place at which it comes.
    Guessed,
    /// The question before it.
    Asked,
    /// Its form, or a word beside it.
    Sure,
}

/// The spans of one turn in the order in which they were found. They may overlap.
pub(super) struct Found {
    turn: u32,
    spans: Vec<(Span, Surety)>,
}

impl Found {
    /// Nothing is found yet in this turn.
    pub fn in_turn(turn: u32) -> Self {
        Self { turn, spans: Vec::new() }
    }

    /// Adds the bytes from `start` to before `end`.
    pub fn add(&mut self, start: usize, end: usize, kind: SensitiveKind, surety: Surety) {
        self.spans.push((Span { turn: self.turn, start: start as u32, end: end as u32, kind }, surety));
    }

    /// The spans from left to right, apart from each other. Values that overlap are one. An address keeps what is visible of it beside a
    /// card: it is cut there. Spans of one kind that only a space or hyphen parts are joined.
    pub fn settled(self, text: &str) -> Vec<Span> {
        let (wide, values): (Vec<_>, Vec<_>) = self.spans.into_iter().partition(|(span, _)| is_wide(span.kind));
        let wide = strictest(wide.into_iter().map(|(span, _)| span).collect());
        let mut all: Vec<_> =
            joined(values).into_iter().filter(|value| !is_part_of(&wide, value, text)).map(|(span, _)| span).collect();
        all.extend(wide);
        let mut spans = strictest(all);
        spans.iter_mut().filter(|span| is_wide(span.kind)).for_each(|span| trim(text, span));
        spans.retain(|span| span.start < span.end);
        spans.dedup_by(|next, last| {
            let is_one = next.kind == last.kind && are_near(text, *last, *next);
            if is_one {
                last.end = next.end;
            }
            is_one
        });
        spans
    }
}

/// Spans of which each byte has the strictest of its kinds: sorted, without overlap. Those of one kind that touch are joined.
pub(super) fn strictest(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable_by_key(|span| (span.turn, span.start));
    let (mut settled, mut rest) = (Vec::with_capacity(spans.len()), spans.as_slice());
    while let Some(first) = rest.first() {
        // Spans that overlap, one with the next.
        let (mut end, mut count) = (first.end, 0);
        for span in rest.iter().take_while(|span| span.turn == first.turn) {
            if count > 0 && span.start >= end {
                break;
            }
            end = end.max(span.end);
            count += 1;
        }
        let (overlapping, others) = rest.split_at(count);
        push_strictest(overlapping, &mut settled);
        rest = others;
    }
    settled.dedup_by(|next, last| {
        let is_one = (next.turn, next.start, next.kind) == (last.turn, last.end, last.kind);
        if is_one {
            last.end = next.end;
        }
        is_one
    });
    settled
}

/// Adds spans of one turn, cut wherever one begins or ends.
fn push_strictest(overlapping: &[Span], settled: &mut Vec<Span>) {
    if let [span] = overlapping {
        settled.push(*span);
        return;
    }
    let mut edges: Vec<_> =
        overlapping.iter().flat_map(|span| [(span.start, span.kind, true), (span.end, span.kind, false)]).collect();
    edges.sort_unstable_by_key(|(at, _, begins)| (*at, !begins));
    let mut open = [0_usize; SensitiveKind::ALL.len()];
    let mut from = 0;
    for (at, kind, begins) in edges {
        let kinds = SensitiveKind::ALL.into_iter().zip(open).filter(|(_, count)| *count > 0).map(|(kind, _)| kind);
        if let Some(strictest) = kinds.reduce(SensitiveKind::stricter).filter(|_| from < at) {
            settled.push(Span { turn: overlapping[0].turn, start: from, end: at, kind: strictest });
        }
        from = at;
        let count = &mut open[kind as usize - 1];
        *count = if begins { *count + 1 } else { *count - 1 };
    }
}

/// Values that overlap are parts of one thing, such as a code and the digits in it. The strictest names it, but for what is only guessed.
fn joined(mut values: Vec<(Span, Surety)>) -> Vec<(Span, Surety)> {
    values.sort_unstable_by_key(|(span, _)| span.start);
    values.dedup_by(|(next, next_surety), (last, surety)| {
        let is_one = next.start < last.end;
        if is_one {
            last.end = last.end.max(next.end);
            last.kind = match (*surety, *next_surety) {
                (Surety::Guessed, Surety::Asked | Surety::Sure) => next.kind,
                (Surety::Asked | Surety::Sure, Surety::Guessed) => last.kind,
                _ => last.kind.stricter(next.kind),
            };
            *surety = (*next_surety).max(*surety);
        }
        is_one
    });
    values
}

/// Whether something can hold other things: an address has numbers in it that are no identifiers.
fn is_wide(kind: SensitiveKind) -> bool {
    matches!(kind, Address | Email | Name)
}

/// Whether a value lies in one of these, which tells better what it is: an address has short numbers of its own, and before its sign an
/// e-mail address may have any; but not what a word or its form calls something else.
fn is_part_of(wide: &[Span], (value, surety): &(Span, Surety), text: &str) -> bool {
    const LONGEST_IN_ADDRESS: usize = 7;
    let around = wide[..wide.partition_point(|span| span.start <= value.start)].last();
    let Some(around) = around.filter(|around| value.end <= around.end) else { return false };
    let is_short = || {
        let number = &text[value.start as usize..value.end as usize];
        digits(number).take(LONGEST_IN_ADDRESS + 1).count() <= LONGEST_IN_ADDRESS
    };
    *surety < Surety::Sure && (around.kind == Email || is_short())
}

/// Leaves out the commas and spaces at which an address was cut.
fn trim(text: &str, span: &mut Span) {
    let piece = &text[span.start as usize..span.end as usize];
    let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
    let left = piece.len() - piece.trim_start_matches(is_between).len();
    let right = piece.len() - piece.trim_end_matches(is_between).len();
    span.end -= right as u32;
    span.start = (span.start + left as u32).min(span.end);
}

fn are_near(text: &str, left: Span, right: Span) -> bool {
    matches!(&text[left.end as usize..right.start as usize], "" | " " | "-")
}
