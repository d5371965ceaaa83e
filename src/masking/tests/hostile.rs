//! The work grows with the length of a turn, whatever somebody writes into it. Times are compared at two lengths, of which one is sixteen
//! times the other: where the work grew with the square, the longer turn would take 256 times as long. They say nothing of speed.

use std::time::{Duration, Instant};

use super::super::find;
use super::turn;
use crate::domain::record::{Speaker, Turn};

const SHORT: usize = 2_000;
const LONG: usize = 16 * SHORT;
/// Sixteen, and a generous factor for all else that the machine does.
const MOST_TIMES: u32 = 96;
/// Below this, a time is noise.
const LEAST: Duration = Duration::from_millis(1);
const ATTEMPTS: usize = 8;

fn time(turns: &[Turn]) -> Duration {
    let start = Instant::now();
    std::hint::black_box(find(turns));
    start.elapsed()
}

/// That the time of a chat grows with its length. A machine that does other things meanwhile gets a few attempts.
fn assert_in_proportion(what: &str, chat: impl Fn(usize) -> Vec<Turn>) {
    let [short, long] = [SHORT, LONG].map(&chat);
    let (mut shortest, mut longest) = (Duration::MAX, Duration::MAX);
    for _ in 0..ATTEMPTS {
        (shortest, longest) = (shortest.min(time(&short)), longest.min(time(&long)));
        if longest < shortest.max(LEAST) * MOST_TIMES {
            return;
        }
    }
    panic!("{what}: {shortest:?}, and sixteen times as much takes {longest:?}");
}

/// Text of about so many bytes.
fn repeated(piece: &str, bytes: usize) -> String {
    piece.repeat(bytes / piece.len())
}

#[test]
fn a_turn_of_anything_takes_time_in_proportion_to_its_length() {
    let pieces = [
        "ac ",
        "account card ",
        "password ",
        "pw a1 ",
        "pw\"",
        "pw:",
        "@",
        "a@b.c ",
        "my address is 1 ",
        "1 ",
        "4111 ",
        "41111111",
        "4:11,",
        "last 4 ",
        "gmail ",
        "\"",
        "a-1-",
        "a1",
        "is ",
        " ",
        ".",
        "1 dot ",
        "zxq",
        "４",
        "é",
        "$1",
        "$ ",
        "usd 1 ",
    ];
    for piece in pieces {
        for speaker in [Speaker::Agent, Speaker::Customer] {
            let chat = |bytes| vec![turn(speaker, &format!("{}?", repeated(piece, bytes)))];
            assert_in_proportion(&format!("{piece:?} by {speaker:?}"), chat);
        }
    }
}

#[test]
fn a_number_with_endless_letters_is_not_read_again_for_each_number_that_follows() {
    let chat = |bytes: usize| {
        let glued = turn(Speaker::Customer, &format!("my policy number is 1234{}", "x".repeat(bytes)));
        let spans = (0..31).map(|_| glued.clone());
        let numbers = turn(Speaker::Agent, &repeated("7731; ", bytes));
        spans.chain([numbers]).collect::<Vec<_>>()
    };
    assert_in_proportion("numbers after long codes", chat);
}

#[test]
fn numbers_after_questions_and_across_turns_take_time_in_proportion_too() {
    let chat = |bytes: usize| {
        let question = turn(Speaker::Agent, "What is your card number, ssn, password, address and e-mail?");
        let turns = (0..bytes / 16).flat_map(|_| [turn(Speaker::Customer, "4111 1111"), turn(Speaker::Agent, "ok")]);
        std::iter::once(question).chain(turns).collect::<Vec<_>>()
    };
    assert_in_proportion("answers in many turns", chat);
}
