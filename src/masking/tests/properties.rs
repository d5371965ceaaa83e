//! Whatever the text: no panic, and spans that are sorted, apart, on boundaries of characters, and gone when they are hidden.

use super::super::tokens::digit;
use super::super::{Span, find, mask, of_turn};
use super::{chat, hidden_from_agents, turn};
use crate::domain::record::{Speaker, Turn};
use crate::domain::sensitive::SensitiveKind;

/// Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const PIECES: [&str; 48] = [
    " ",
    " ",
    " ",
    " ",
    "-",
    ".",
    ". ",
    ", ",
    "@",
    ":",
    "?",
    "/",
    "(",
    ")",
    "+",
    "#",
    "e",
    "E+15",
    "4111111111111111",
    "1234",
    "7",
    "2017",
    "$",
    "%",
    "ssn",
    "my",
    "is",
    "policy",
    "claim",
    "password",
    "address",
    "email",
    "gmail",
    "com",
    "at",
    "dot",
    "last",
    "four",
    "DE89",
    "QQ",
    "may",
    "é",
    "😀",
    "\u{301}",
    "٣",
    "４",
    "ﬁ",
    "\u{202e}",
];

fn any_chat(dice: &mut Dice) -> Vec<Turn> {
    const SPEAKERS: [Speaker; 4] = [Speaker::Customer, Speaker::Agent, Speaker::Bot, Speaker::System];
    let speakers = if dice.roll(2) == 0 { 1 } else { 4 };
    (0..1 + dice.roll(6))
        .map(|_| {
            let text: String = (0..dice.roll(30)).map(|_| PIECES[dice.roll(PIECES.len())]).collect();
            turn(SPEAKERS[dice.roll(speakers)], &text)
        })
        .collect()
}

#[test]
fn spans_are_sorted_apart_and_on_boundaries_in_any_text() {
    for seed in 1..=20_000 {
        let turns = any_chat(&mut Dice(seed * 0x9E37_79B9));
        let spans = find(&turns);
        let is_sorted = spans.windows(2).all(|pair| {
            let [a, b] = [pair[0], pair[1]];
            a.turn < b.turn || a.turn == b.turn && a.end <= b.start
        });
        let fits = |span: &Span| {
            let text = &turns[span.turn as usize].text;
            span.start < span.end && text.get(span.start as usize..span.end as usize).is_some()
        };
        assert!(is_sorted && spans.iter().all(fits), "seed {seed}: {spans:?}");
        for (index, turn) in (0..).zip(&turns) {
            let within = of_turn(&spans, index);
            // No placeholder has a digit: what is shown has those that stand outside the spans, and no other.
            let all_hidden = mask(&turn.text, within, |kind| Some(kind.placeholder())).unwrap();
            let is_outside =
                |at: usize| !within.iter().any(|span| (span.start as usize..span.end as usize).contains(&at));
            let outside = turn.text.char_indices().filter(|(at, _)| is_outside(*at)).map(|(_, c)| c);
            assert!(outside.filter_map(digit).eq(all_hidden.chars().filter_map(digit)), "seed {seed}");
            assert_eq!(*mask(&turn.text, within, |_| None).unwrap(), *turn.text, "seed {seed}");
            let hidden: usize = within.iter().map(|span| span.kind.placeholder().len()).sum();
            let values: usize = within.iter().map(|span| (span.end - span.start) as usize).sum();
            assert_eq!(all_hidden.len(), turn.text.len() - values + hidden, "seed {seed}");
        }
    }
}

/// Values that show what they are by themselves, and their digits as they would be left if they were shown.
const PROVEN: [(&str, &str); 6] = [
    ("4929 1234 5678 9015", "4929123456789015"),
    ("4929123456789015", "4929123456789015"),
    ("4929-1234-5678-9015", "4929123456789015"),
    ("3787 344936 71000", "378734493671000"),
    ("291-39-9469", "291399469"),
    ("GB82 WEST 1234 5698 7654 32", "12345698765432"),
];

#[test]
fn what_proves_itself_is_hidden_from_agents_whatever_is_said_before_and_behind_it() {
    for seed in 1..=20_000 {
        let dice = &mut Dice(seed * 0x9E37_79B9);
        let mut turns = any_chat(dice);
        let (value, digits) = PROVEN[dice.roll(PROVEN.len())];
        let at = dice.roll(turns.len());
        let behind: String = (0..dice.roll(6)).map(|_| PIECES[dice.roll(PIECES.len())]).collect();
        turns[at] = turn(turns[at].speaker, &format!("{} {value} {behind}", *turns[at].text));
        let spans = find(&turns);
        let seen = mask(&turns[at].text, of_turn(&spans, at as u32), hidden_from_agents).unwrap();
        // None of its digits is left: not even half of them stand together anywhere.
        let left: String = seen.chars().filter_map(digit).map(|digit| char::from(b'0' + digit)).collect();
        let half = digits.len() / 2;
        let parts = (0..=digits.len() - half).map(|from| &digits[from..from + half]);
        for part in parts {
            assert!(!left.contains(part), "seed {seed}: {:?} is seen as {:?}", *turns[at].text, *seen);
        }
    }
}

#[test]
fn only_the_hidden_kinds_are_hidden() {
    let turns = chat(&["customer: card 4111 1111 1111 1111, mail a.b@example.com"]);
    let spans = find(&turns);
    let shown =
        mask(&turns[0].text, &spans, |kind| (kind == SensitiveKind::PaymentCard).then(|| kind.placeholder())).unwrap();
    assert_eq!(*shown, "card [payment card], mail a.b@example.com");
}

#[test]
fn nothing_is_shown_of_a_text_that_its_spans_do_not_fit() {
    let span = |start, end| Span { turn: 0, start, end, kind: SensitiveKind::Phone };
    for spans in [&[span(0, 99)][..], &[span(1, 2)], &[span(3, 5), span(2, 4)], &[span(4, 2)]] {
        assert!(mask("é 123456", spans, |kind| Some(kind.placeholder())).is_none());
    }
}

#[test]
fn a_replacement_tells_nothing_of_the_length() {
    let shown = ["customer: my policy number is 12345678", "customer: my policy number is 123456789012"]
        .map(|line| super::shown(&[line]));
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn the_longest_chat_is_read_in_a_moment() {
    let text = "my ssn is 4711, a@b.example 1 2 3 zqx 88 ".repeat(1500);
    let turns: Vec<_> = (0..12).map(|_| turn(Speaker::Customer, &text)).collect();
    let start = std::time::Instant::now();
    assert!(!find(&turns).is_empty());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}
