//! A turn's text as words and numbers. Nothing is copied: a token is where it stands, and letters are compared in place.

use super::cues::{Sense, sense};

/// A run of letters, or a run of digits. `PNY57` is two tokens with no gap between them.
#[derive(Clone, Copy)]
pub(super) struct Token {
    /// Its first byte in the text.
    pub start: usize,
    /// One after its last byte.
    pub end: usize,
    /// How many digits it stands for: all of a number, one of a spelled digit, none of another word.
    pub digits: usize,
    /// What it tells of the numbers near it, where it is a word that does.
    pub sense: Option<Sense>,
    /// Whether it is a number in figures.
    pub is_number: bool,
}

/// A turn's text with its tokens.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub text: &'t str,
    pub tokens: &'t [Token],
    /// How many words are neither of the vocabulary nor numbers: names, things, slips.
    pub strangers: usize,
    /// Whether there is a number of one or two digits.
    pub has_small_number: bool,
}

/// Fills `tokens` with those of `text`.
pub(super) fn tokenize(text: &str, tokens: &mut Vec<Token>) {
    tokens.clear();
    let mut chars = text.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        let Some(is_number) = part_of_token(first) else { continue };
        let (mut end, mut digits) = (start + first.len_utf8(), usize::from(is_number));
        while let Some((at, next)) = chars.next_if(|(_, c)| part_of_token(*c) == Some(is_number)) {
            end = at + next.len_utf8();
            digits += usize::from(is_number);
        }
        let sense = if is_number { None } else { sense(&text[start..end]) };
        if sense == Some(Sense::Digit) {
            digits = 1;
        }
        tokens.push(Token { start, end, digits, sense, is_number });
    }
}

/// Whether a character is part of a number, or of a word, or of neither.
fn part_of_token(c: char) -> Option<bool> {
    if digit(c).is_some() { Some(true) } else { c.is_alphanumeric().then_some(false) }
}

/// The value of a decimal digit: ASCII, full-width, Arabic-Indic, or Devanagari.
pub(super) fn digit(c: char) -> Option<u8> {
    const ZEROS: [u32; 4] = [0xFF10, 0x0660, 0x06F0, 0x0966];
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    ZEROS.into_iter().find_map(|zero| (c as u32).checked_sub(zero).filter(|value| *value < 10)).map(|value| value as u8)
}

impl<'t> Line<'t> {
    /// The line of a text and its tokens.
    pub fn new(text: &'t str, tokens: &'t [Token]) -> Self {
        let strangers = tokens.iter().filter(|token| token.digits == 0 && token.sense.is_none()).count();
        let has_small_number = tokens.iter().any(|token| token.is_number && token.digits < 3);
        Self { text, tokens, strangers, has_small_number }
    }

    /// The text of a token.
    pub fn word(&self, index: usize) -> &'t str {
        let token = self.tokens[index];
        &self.text[token.start..token.end]
    }

    /// Whether a token is this word, in any case.
    pub fn is(&self, index: usize, word: &str) -> bool {
        let has_length = |token: &Token| token.end - token.start == word.len();
        self.tokens.get(index).is_some_and(has_length) && self.word(index).eq_ignore_ascii_case(word)
    }

    /// What stands between a token and the one before it, or before the first, or after the last.
    pub fn gap(&self, index: usize) -> &'t str {
        let start = index.checked_sub(1).map_or(0, |before| self.tokens[before].end);
        let end = self.tokens.get(index).map_or(self.text.len(), |token| token.start);
        &self.text[start..end]
    }

    /// The sense of a token, where there is one.
    pub fn sense(&self, index: usize) -> Option<Sense> {
        self.tokens.get(index).and_then(|token| token.sense)
    }

    /// Whether there is a token here, and it is a number in figures.
    pub fn is_number(&self, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_number)
    }

    /// Whether a sentence ends before this token.
    pub fn sentence_ends_before(&self, index: usize) -> bool {
        let gap = self.gap(index);
        // "no. 77120" goes on.
        let is_abbreviation = || {
            self.is_number(index) && index > 0 && ["no", "nr", "num"].into_iter().any(|word| self.is(index - 1, word))
        };
        gap.contains(['?', '!', ';', '\n']) || gap.starts_with(". ") && !is_abbreviation()
    }

    /// The piece between white space that holds this token: its first byte, and one after its last.
    pub fn piece(&self, index: usize) -> (usize, usize) {
        const LONGEST_BYTES: usize = 320; // an e-mail address has at most 254 (RFC 5321); a longer piece is cut, so the work stays bounded
        let Token { start, end, .. } = self.tokens[index];
        let left = self.text[..start].char_indices().rev().take(LONGEST_BYTES).take_while(|(_, c)| !c.is_whitespace());
        let right = self.text[end..].char_indices().take(LONGEST_BYTES).take_while(|(_, c)| !c.is_whitespace());
        (left.last().map_or(start, |(at, _)| at), right.last().map_or(end, |(at, c)| end + at + c.len_utf8()))
    }
}
