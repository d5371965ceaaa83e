//! What a word tells together with the words beside it: "user id", "e-mail address", "security code", "12 may".

use crate::domain::sensitive::SensitiveKind::*;

use super::cues::{Sense, Subject};
use super::tokens::Token;

/// Words before "code" that make it a secret: "one time code".
const SECRET_CODES: [&str; 4] = ["verification", "access", "authentication", "time"];

/// Settles what each word tells.
pub(super) fn settle_meanings(text: &str, tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        tokens[at].sense = tokens[at].sense.map(|sense| Beside { text, tokens, at }.meaning(sense));
    }
}

/// A word among its neighbours; those before it are settled.
struct Beside<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
}

impl Beside<'_> {
    fn meaning(&self, sense: Sense) -> Sense {
        match sense {
            Sense::Place if self.before() == Some(Sense::Names(Email)) => Sense::Names(Email),
            Sense::Names(Other) if self.before() == Some(Sense::Names(BookingNumber)) => Sense::Names(BookingNumber),
            Sense::Names(BankAccount) if self.is(1, &["id", "name"]) => Sense::Names(AccountId),
            Sense::Harmless(_) if self.is(0, &["date"]) && self.is(2, &["birth"]) => Sense::Names(Other),
            Sense::Ask if self.is(0, &["may"]) && self.is_month() => Sense::Harmless(Subject::Else),
            Sense::Link if self.is(0, &["code"]) && self.is(-1, &["security"]) => Sense::Names(PaymentCard),
            Sense::Link if self.is(0, &["code"]) && self.is(-1, &SECRET_CODES) => Sense::Names(Password),
            Sense::Link if self.is(0, &["id", "name"]) && self.is(-1, &["user", "login"]) => Sense::Names(Username),
            Sense::Link if self.is(0, &["id", "name"]) && self.is(-1, &["account"]) => Sense::Names(AccountId),
            sense => sense,
        }
    }

    /// "12 may 2018", "12th of may", "may 12", but not "may i".
    fn is_month(&self) -> bool {
        let is_day =
            |offset| self.token(offset).is_some_and(|token| token.is_number || token.sense == Some(Sense::Unit));
        self.token(1).is_some_and(|token| token.is_number) || is_day(-1) || self.is(-1, &["of"]) && is_day(-2)
    }

    fn token(&self, offset: isize) -> Option<&Token> {
        self.at.checked_add_signed(offset).and_then(|index| self.tokens.get(index))
    }

    fn before(&self) -> Option<Sense> {
        self.token(-1).and_then(|token| token.sense)
    }

    /// Whether the word at this distance is one of these.
    fn is(&self, offset: isize, words: &[&str]) -> bool {
        let word = self.token(offset).map(|token| &self.text[token.start..token.end]);
        word.is_some_and(|word| words.iter().any(|other| word.eq_ignore_ascii_case(other)))
    }
}
