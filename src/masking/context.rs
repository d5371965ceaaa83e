//! What the conversation so far tells of the next number: what was asked, what was talked about, what was given already.

use crate::domain::record::Speaker;
use crate::domain::sensitive::SensitiveKind::{self, *};

use super::Span;
use super::cues::{Sense, Subject};
use super::phrases::{is_last_digits, is_somebodys};
use super::tokens::Line;

/// A set of kinds.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub fn add(&mut self, kind: SensitiveKind) {
        self.0 |= 1 << kind as u8;
    }

    pub fn has(self, kind: SensitiveKind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its kinds, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = SensitiveKind> {
        SensitiveKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Default)]
pub(super) struct Question {
    /// What was asked for.
    pub kinds: Kinds,
    /// Whether it also asked for a date, an amount, a year.
    pub also_harmless: bool,
    /// For how many more of the customer's turns it waits.
    turns_left: u8,
}

/// The state of a conversation between two turns.
#[derive(Default)]
pub(super) struct Conversation {
    /// Whether nobody but the customer is heard; then questions must be guessed from the answers.
    pub is_one_sided: bool,
    /// What is asked and not yet answered.
    pub question: Question,
    /// Kinds that were mentioned.
    pub topics: Kinds,
    /// Kinds that the customer has given.
    pub given: Kinds,
    /// How many of the customer's turns gave any.
    pub turns_with_numbers: u8,
    /// Whether vehicles or models of other things were mentioned; these have years.
    pub is_about_models: bool,
    /// Whether amounts were mentioned.
    pub is_about_money: bool,
    /// Whether the customer's last turn had words of its own but no number: a name, a thing.
    pub just_named: bool,
}

/// How many turns of the customer a question waits for its answer.
const PATIENCE_TURNS: u8 = 4;

impl Conversation {
    /// A conversation among these speakers.
    pub fn among(mut speakers: impl Iterator<Item = Speaker>) -> Self {
        let is_one_sided = speakers.all(|speaker| matches!(speaker, Speaker::Customer | Speaker::System));
        Self { is_one_sided, ..Self::default() }
    }

    /// Hears a turn before its numbers are judged.
    pub fn hear(&mut self, speaker: Speaker, line: Line<'_>) {
        for at in 0..line.tokens.len() {
            match line.sense(at) {
                Some(Sense::Names(kind)) => self.topics.add(kind),
                Some(Sense::Harmless(Subject::Money)) => self.is_about_money = true,
                Some(Sense::Harmless(Subject::Models) | Sense::Vehicle) => self.is_about_models = true,
                _ => {}
            }
        }
        match speaker {
            Speaker::Agent | Speaker::Bot => self.hear_questions(line),
            Speaker::Customer | Speaker::System => {}
        }
    }

    /// Whether codes of letters and digits may come: they were asked for, or, where questions are not heard, talked about.
    pub fn is_about_codes(&self) -> bool {
        let has_codes = |kinds: Kinds| kinds.has(PolicyNumber) || kinds.has(ClaimNumber);
        has_codes(self.question.kinds) || self.is_one_sided && (has_codes(self.topics) || self.given.has(PolicyNumber))
    }

    /// A turn is over, in which this was found.
    pub fn turn_ends(&mut self, speaker: Speaker, line: Line<'_>, found: &[Span]) {
        if speaker == Speaker::Customer {
            self.just_named = found.is_empty() && line.strangers > 0;
            found.iter().for_each(|span| self.given.add(span.kind));
            self.turns_with_numbers = self.turns_with_numbers.saturating_add(u8::from(!found.is_empty()));
            self.question.turns_left = self.question.turns_left.saturating_sub(1);
            if self.question.turns_left == 0 {
                self.question = Question::default();
            }
        }
    }

    /// Takes over what a turn asks for. A question about something else ends the one before.
    fn hear_questions(&mut self, line: Line<'_>) {
        let mut asked = Question { turns_left: PATIENCE_TURNS, ..Question::default() };
        let (mut start, mut is_question) = (0, false);
        for end in 1..=line.tokens.len() {
            if end < line.tokens.len() && !line.sentence_ends_before(end) {
                continue;
            }
            let has_mark = line.gap(end).contains('?');
            is_question |= has_mark;
            if has_mark || (start..end).any(|at| line.sense(at) == Some(Sense::Ask)) {
                asked.hear_sentence(line, start, end);
            }
            start = end;
        }
        if !asked.kinds.is_empty() || is_question {
            self.question = asked;
        }
    }
}

impl Question {
    /// Takes over what a sentence asks for. A card, an account, or an order must be asked for by its number, as people are asked other
    /// things about them, too ("which account?").
    fn hear_sentence(&mut self, line: Line<'_>, start: usize, end: usize) {
        const NUMBER: [&str; 9] = ["number", "numbers", "no", "id", "code", "digits", "reference", "four", "details"];
        // Once for the whole sentence: it may hold as many such words as the turn has room for.
        let has_number = (start..end).any(|at| NUMBER.into_iter().any(|word| line.is(at, word)));
        for at in start..end {
            match line.sense(at) {
                Some(Sense::Names(Other)) if is_birth(line, at) => self.kinds.add(Other),
                Some(Sense::Names(PaymentCard | BankAccount | BookingNumber | Other)) if !has_number => {}
                Some(Sense::Names(kind)) => self.kinds.add(kind),
                Some(Sense::Place) if is_somebodys(line, at) => self.kinds.add(Address),
                Some(Sense::Harmless(_)) => self.also_harmless = true,
                _ => {}
            }
        }
        let asks_for_digits = || (start..end).any(|at| is_last_digits(line, at) || line.is(at, "code"));
        if self.kinds.is_empty() && !self.also_harmless && asks_for_digits() {
            self.kinds.add(Other);
        }
    }
}

/// Whether a word is of a date of birth.
fn is_birth(line: Line<'_>, at: usize) -> bool {
    ["birth", "dob", "born", "birthday", "date"].into_iter().any(|word| line.is(at, word))
}
