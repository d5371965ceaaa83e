//! What the platform marked itself, beside what was found: both are sensitive, and where they meet, the platform's word for it counts.

use super::find;
use crate::domain::record::Turn;
use crate::domain::sensitive::TextSpan;

/// The sensitive spans of a chat: those that are found, and those of `marked`, which lie within their turns' texts. Sorted, without overlap.
pub fn with_marked(turns: &[Turn], marked: Vec<TextSpan>) -> Vec<TextSpan> {
    let found = find(turns);
    if marked.is_empty() {
        return found;
    }
    let found = found.into_iter().map(|span| (span, false));
    let mut all: Vec<_> = found.chain(marked.into_iter().map(|span| (span, true))).collect();
    all.sort_by_key(|(span, _)| (span.turn, span.start));
    let mut joined: Vec<(TextSpan, bool)> = Vec::with_capacity(all.len());
    for (span, is_marked) in all {
        match joined.last_mut() {
            Some((last, last_is_marked)) if last.turn == span.turn && span.start < last.end => {
                last.end = last.end.max(span.end);
                if is_marked && !*last_is_marked {
                    (last.kind, *last_is_marked) = (span.kind, true);
                }
            }
            _ => joined.push((span, is_marked)),
        }
    }
    joined.into_iter().map(|(span, _)| span).collect()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::record::Speaker;
    use crate::domain::sensitive::SensitiveKind::{Name, Other, PaymentCard};

    #[test]
    fn what_is_marked_joins_what_is_found_and_names_it() {
        let text = "Dear Ada Lovelace, my card is 4111 1111 1111 1111.".to_owned();
        let turns = [Turn { speaker: Speaker::Customer, said: None, text: Zeroizing::new(text) }];
        let span = |start, end, kind| TextSpan { turn: 0, start, end, kind };
        assert_eq!(with_marked(&turns, Vec::new()), [span(30, 49, PaymentCard)]);
        let marked = vec![span(5, 17, Name), span(25, 34, Other)];
        assert_eq!(with_marked(&turns, marked), [span(5, 17, Name), span(25, 49, Other)]);
    }
}
