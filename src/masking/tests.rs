//! What is hidden and what stays, as a user would see it: each example is a chat, with the text that is shown when all kinds are hidden.

use zeroize::Zeroizing;

use crate::domain::record::{Speaker, Turn};
use crate::domain::sensitive::SensitiveKind::{self, *};

use super::{find, mask, of_turn};

mod alone;
mod dialogue;
mod formats;
mod hostile;
mod properties;
mod seen;

fn turn(speaker: Speaker, text: &str) -> Turn {
    Turn { speaker, said: None, text: Zeroizing::new(text.to_owned()) }
}

/// Turns from lines such as "agent: May I have your name?".
fn chat(lines: &[&str]) -> Vec<Turn> {
    let speaker = |name| match name {
        "agent" => Speaker::Agent,
        "bot" => Speaker::Bot,
        "system" => Speaker::System,
        _ => Speaker::Customer,
    };
    lines.iter().filter_map(|line| line.split_once(": ")).map(|(name, text)| turn(speaker(name), text)).collect()
}

/// The last line of a chat as it is shown when all kinds are hidden.
fn shown(lines: &[&str]) -> String {
    let turns = chat(lines);
    let last = turns.len() - 1;
    mask(&turns[last].text, of_turn(&find(&turns), last as u32), |kind| Some(kind.placeholder())).unwrap().to_string()
}

/// The last line of a chat as an agent sees it by the default policy: what others are reached by, and names and numbers of the business
/// with them, stay visible.
fn seen(lines: &[&str]) -> String {
    let turns = chat(lines);
    let last = turns.len() - 1;
    mask(&turns[last].text, of_turn(&find(&turns), last as u32), hidden_from_agents).unwrap().to_string()
}

fn hidden_from_agents(kind: SensitiveKind) -> Option<&'static str> {
    matches!(kind, PaymentCard | NationalId | BankAccount | Password).then(|| kind.placeholder())
}

/// That the last line of each chat is shown so when all kinds are hidden.
fn assert_shown(examples: &[(&[&str], &str)]) {
    assert_all(examples, shown);
}

/// That an agent sees the last line of each chat so.
fn assert_seen(examples: &[(&[&str], &str)]) {
    assert_all(examples, seen);
}

fn assert_all(examples: &[(&[&str], &str)], shown: impl Fn(&[&str]) -> String) {
    let wrong = |(chat, expected): &&(&[&str], &str)| shown(chat) != *expected;
    let wrong: Vec<_> = examples.iter().filter(wrong).map(|(chat, expected)| (chat, shown(chat), expected)).collect();
    assert!(wrong.is_empty(), "chat, shown, expected: {wrong:#?}");
}

/// That these sentences are shown as they are, whoever says them in a chat with both sides.
fn assert_untouched(sentences: &[&str]) {
    for sentence in sentences {
        let (by_agent, by_customer) = (format!("agent: {sentence}"), format!("customer: {sentence}"));
        assert_eq!(shown(&["customer: Hello!", &by_agent]), *sentence);
        assert_eq!(shown(&["agent: Hello, how can I help?", &by_customer]), *sentence);
    }
}
