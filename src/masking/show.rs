//! A chat as somebody sees it: what that one may not see gives way to fixed words, and what is sensitive is told by its place in the text as it
//! is shown. Where so much is hidden that the words would make the chat longer than a chat may be, each gives way to one sign instead.

use std::cell::OnceCell;

use crate::domain::record::{TranscriptLimits, Turn};
use crate::domain::sensitive::{SensitiveKind, ShownSpan, ShownTurn, SpanLimits, TextSpan};

use super::{mask, masked_length, of_turn};

/// What stands for a hidden value where there is no room for words.
const SIGN: &str = "*";

/// The chat for somebody who sees the kinds that `sees` says. `spans` are those of the chat, as [`find`](super::find) gives them.
pub fn show(turns: Vec<Turn>, spans: &[TextSpan], sees: impl Fn(SensitiveKind) -> bool) -> Vec<ShownTurn> {
    // Each kind is asked about once: it is a question to the policy, and a chat can hold thousands of spans.
    let answers = SensitiveKind::ALL.map(|_| OnceCell::new());
    let sees = |kind: SensitiveKind| {
        let place = SensitiveKind::ALL.iter().position(|one| *one == kind);
        place.map_or_else(|| sees(kind), |place| *answers[place].get_or_init(|| sees(kind)))
    };
    let words = |kind: SensitiveKind| (!sees(kind)).then(|| kind.placeholder());
    let sign = |kind: SensitiveKind| (!sees(kind)).then_some(SIGN);
    let lengths = (0..).zip(&turns).map(|(index, turn)| masked_length(&turn.text, of_turn(spans, index), &words));
    let has_room = lengths.sum::<usize>() <= TranscriptLimits::MAX_TEXT_BYTES;
    let mut told = 0;
    (0..)
        .zip(turns)
        .map(|(index, turn)| {
            let here = of_turn(spans, index);
            let mut shown = if has_room { show_turn(turn, here, &words) } else { show_turn(turn, here, &sign) };
            shown.spans.truncate(SpanLimits::MAX_TOLD - told);
            told += shown.spans.len();
            shown
        })
        .collect()
}

fn show_turn(turn: Turn, spans: &[TextSpan], hidden: &impl Fn(SensitiveKind) -> Option<&'static str>) -> ShownTurn {
    let (mut grown, mut shown) = (0_i64, Vec::with_capacity(spans.len()));
    for span in spans {
        let placeholder = hidden(span.kind);
        let start = moved(span.start, grown);
        let length = i64::from(span.end) - i64::from(span.start);
        grown += placeholder.map_or(0, |words| words.len() as i64 - length);
        shown.push(ShownSpan { start, end: moved(span.end, grown), kind: span.kind, is_hidden: placeholder.is_some() });
    }
    let Some(text) = mask(&turn.text, spans, hidden) else {
        return ShownTurn { turn: Turn { text: super::all_hidden(), ..turn }, spans: Vec::new() };
    };
    ShownTurn { turn: Turn { text, ..turn }, spans: shown }
}

/// A place in the text after all before it has grown by so much.
fn moved(place: u32, grown: i64) -> u32 {
    u32::try_from(i64::from(place) + grown).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::record::Speaker;
    use crate::domain::sensitive::SensitiveKind::{Email, PaymentCard};

    fn turn(text: &str) -> Turn {
        Turn { speaker: Speaker::Customer, said: None, text: Zeroizing::new(text.to_owned()) }
    }

    fn span(turn: u32, start: u32, end: u32, kind: SensitiveKind) -> TextSpan {
        TextSpan { turn, start, end, kind }
    }

    #[test]
    fn what_is_told_stands_where_it_is_told_in_the_text_that_is_shown() {
        let turns = || vec![turn("hello"), turn("Ünal: 4111111111111111, a@b.example, thanks")];
        let spans = [span(1, 7, 23, PaymentCard), span(1, 25, 36, Email)];
        let shown = show(turns(), &spans, |kind| kind == Email);
        assert_eq!(shown[0].turn.text.as_str(), "hello");
        let one = &shown[1];
        assert_eq!(one.turn.text.as_str(), "Ünal: [payment card], a@b.example, thanks");
        let told: Vec<_> = one
            .spans
            .iter()
            .map(|span| (&one.turn.text[span.start as usize..span.end as usize], span.is_hidden))
            .collect();
        assert_eq!(told, [("[payment card]", true), ("a@b.example", false)]);
        let all = show(turns(), &spans, |_| true);
        assert_eq!(all[1].turn.text.as_str(), turns()[1].text.as_str());
    }

    #[test]
    fn spans_that_are_not_of_the_text_hide_all_of_it() {
        for wrong in [span(0, 3, 99, Email), span(0, 1, 3, Email)] {
            let shown = show(vec![turn("Ünal")], &[wrong], |_| true);
            assert_eq!((shown[0].turn.text.as_str(), shown[0].spans.len()), ("[hidden]", 0));
        }
    }

    #[test]
    fn a_chat_of_nothing_else_gets_no_longer_than_a_chat_may_be_and_tells_no_more_than_it_may() {
        let text = "1234 ".repeat(TranscriptLimits::MAX_TURN_BYTES / 5);
        let turns: Vec<_> = (0..12).map(|_| turn(&text)).collect();
        let spans: Vec<_> = (0..12)
            .flat_map(|at| {
                (0..text.len() as u32 / 5).map(move |number| span(at, number * 5, number * 5 + 4, PaymentCard))
            })
            .collect();
        let shown = show(turns, &spans, |_| false);
        assert!(shown.iter().map(|one| one.turn.text.len()).sum::<usize>() <= TranscriptLimits::MAX_TEXT_BYTES);
        assert!(shown.iter().all(|one| one.turn.text.starts_with("* * ")));
        assert_eq!(shown.iter().map(|one| one.spans.len()).sum::<usize>(), SpanLimits::MAX_TOLD);
    }
}
