//! What the platform marked itself, beside what was found. A mark adds and never takes away: whoever marks part of a card number as something
//! else does not know better than its check digit, and what is found around a mark does not know better than the platform.

use super::find;
use super::found::strictest;
use crate::domain::record::Turn;
use crate::domain::sensitive::TextSpan;

/// The sensitive spans of a chat: those that are found, and those of `marked`, which lie within their turns' texts. Sorted, without overlap;
/// what is found and marked under several kinds has the strictest of them.
pub fn with_marked(turns: &[Turn], marked: Vec<TextSpan>) -> Vec<TextSpan> {
    let mut spans = find(turns);
    if marked.is_empty() {
        return spans;
    }
    spans.extend(marked);
    strictest(spans)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::record::Speaker;
    use crate::domain::sensitive::SensitiveKind::{self, *};

    fn chat(lines: &[(Speaker, &str)]) -> Vec<Turn> {
        let turn = |(speaker, text): &(Speaker, &str)| Turn {
            speaker: *speaker,
            said: None,
            text: Zeroizing::new((*text).to_owned()),
        };
        lines.iter().map(turn).collect()
    }

    fn span(turn: u32, start: u32, end: u32, kind: SensitiveKind) -> TextSpan {
        TextSpan { turn, start, end, kind }
    }

    #[test]
    fn a_mark_adds_to_what_is_found_and_never_takes_away() {
        let turns = chat(&[(Speaker::Customer, "Dear Ada Lovelace, my card is 4111 1111 1111 1111.")]);
        let card = span(0, 30, 49, PaymentCard);
        assert_eq!(with_marked(&turns, Vec::new()), [card]);
        // The card stays a card, whatever part of it is marked as what agents may see; before it, the mark counts.
        let marked = vec![span(0, 5, 17, Name), span(0, 25, 34, Other)];
        assert_eq!(with_marked(&turns, marked), [span(0, 5, 17, Name), span(0, 25, 30, Other), card]);
        for weaker in [Other, Phone, Name, BankAccount] {
            assert_eq!(with_marked(&turns, vec![span(0, 33, 34, weaker)]), [card], "{weaker:?}");
        }
        let parts = [span(0, 30, 33, PaymentCard), span(0, 33, 34, Password), span(0, 34, 49, PaymentCard)];
        assert_eq!(with_marked(&turns, vec![span(0, 33, 34, Password)]), parts);
    }

    #[test]
    fn a_mark_of_a_hidden_kind_stays_hidden_within_a_visible_kind_that_is_found_around_it() {
        let turns = chat(&[
            (Speaker::Agent, "What is your current address?"),
            (Speaker::Customer, "22 Acacia Avenue, Leeds, England"),
        ]);
        assert_eq!(with_marked(&turns, Vec::new()), [span(1, 0, 32, Address)]);
        let marked = vec![span(1, 0, 2, Other), span(1, 18, 23, PaymentCard)];
        let expected = [span(1, 0, 18, Address), span(1, 18, 23, PaymentCard), span(1, 23, 32, Address)];
        assert_eq!(with_marked(&turns, marked), expected);
    }

    #[test]
    fn marks_that_overlap_are_all_kept() {
        let turns = chat(&[(Speaker::Customer, "abcdefghij")]);
        let marked = vec![span(0, 0, 9, Other), span(0, 1, 2, Password), span(0, 1, 5, Phone), span(0, 8, 10, Phone)];
        let expected = [
            span(0, 0, 1, Other),
            span(0, 1, 2, Password),
            span(0, 2, 5, Phone),
            span(0, 5, 8, Other),
            span(0, 8, 10, Phone),
        ];
        assert_eq!(with_marked(&turns, marked), expected);
    }
}
