//! What is found in one turn, until it is put in order.

use crate::domain::sensitive::SensitiveKind;

use super::Span;

/// The spans of one turn in the order in which they were found: the surer before the less sure. They may overlap.
pub(super) struct Found {
    turn: u32,
    spans: Vec<Span>,
}

impl Found {
    /// Nothing is found yet in this turn.
    pub fn in_turn(turn: u32) -> Self {
        Self { turn, spans: Vec::new() }
    }

    /// Adds the bytes from `start` to before `end`.
    pub fn add(&mut self, start: usize, end: usize, kind: SensitiveKind) {
        self.spans.push(Span { turn: self.turn, start: start as u32, end: end as u32, kind });
    }

    /// The spans from left to right; those that overlap, or that only a space or hyphen parts, are joined. Of two that overlap, the one that
    /// begins first, or else was found first, names the kind.
    pub fn settled(mut self, text: &str) -> Vec<Span> {
        self.spans.sort_by_key(|span| span.start);
        self.spans.dedup_by(|next, last| {
            let is_one = next.start < last.end || next.kind == last.kind && are_near(text, *last, *next);
            if is_one {
                last.end = last.end.max(next.end);
            }
            is_one
        });
        self.spans
    }
}

fn are_near(text: &str, left: Span, right: Span) -> bool {
    matches!(&text[left.end as usize..right.start as usize], "" | " " | "-")
}
