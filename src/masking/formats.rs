//! Formats that show by themselves what a number is, with the standards that they come from, and those of dates. All read in place.

use crate::domain::sensitive::SensitiveKind::{self, *};

use super::tokens::digit;

/// Whether a card that begins with these four digits has so many (ISO/IEC 7812-1 allows 8 to 19; the schemes in use have 13 or more). Years
/// of this century, and the serial numbers of telephones (35, of 15 digits), begin no card.
fn is_of_scheme(first_four: u32, count: usize) -> bool {
    match (first_four / 100, first_four) {
        (_, 2200..=2204 | 2221..=2720) => (16..=19).contains(&count), // Mir, Mastercard
        (30 | 36 | 38 | 39, _) => (14..=19).contains(&count),         // Diners Club
        (34 | 37, _) => count == 15,                                  // American Express
        (35, _) => (16..=19).contains(&count),                        // JCB
        (40..=69, _) => (13..=19).contains(&count), // Visa, Mastercard, Maestro, Discover, UnionPay, RuPay
        _ => false,
    }
}

/// The shortest and longest international telephone number (ITU-T E.164, with the shortest ones in use).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// The digits of a text, from either end.
pub(super) fn digits(text: &str) -> impl DoubleEndedIterator<Item = u8> + Clone + '_ {
    text.chars().filter_map(digit)
}

/// The number that the digits of a text make, where it has at most nine.
pub(super) fn number(text: &str) -> u32 {
    digits(text).take(9).fold(0, |number, digit| number * 10 + u32::from(digit))
}

/// What a number is by its own digits and their grouping, where that leaves little doubt. `groups` counts the digits of each group.
pub(super) fn kind_of(text: &str, groups: &[usize], after_plus: bool) -> Option<SensitiveKind> {
    let count = groups.iter().sum::<usize>();
    if !after_plus && is_card(digits(text), count) {
        return Some(PaymentCard);
    }
    if after_plus {
        return PHONE_DIGITS.contains(&count).then_some(Phone);
    }
    match groups {
        [3, 2, 4] if is_social_security(text) => Some(NationalId),
        [3, 3, 3] if passes_luhn(text) => Some(NationalId), // Canada: social insurance number
        [3, 3, 3, 2] => Some(NationalId),                   // Brazil: CPF
        [.., 3, 3, 4] | [3, 7] | [.., 3, 4, 4] | [1..=3, 10] => PHONE_DIGITS.contains(&count).then_some(Phone),
        // A trunk prefix, as in "020 7946 0018".
        [2..=5, _, ..] if digits(text).next() == Some(0) && (10..=11).contains(&count) => Some(Phone),
        [3, 4] if text.contains('-') => Some(Phone), // North America, without area code
        _ => None,
    }
}

/// Whether `count` digits are the number of a payment card: their length, their beginning, and their check digit are right.
pub(super) fn is_card(digits: impl Iterator<Item = u8> + Clone, count: usize) -> bool {
    let first_four = digits.clone().take(4).fold(0, |number, digit| number * 10 + u32::from(digit));
    is_of_scheme(first_four, count) && luhn_sum(digits, count).is_multiple_of(10)
}

/// The check digit of ISO/IEC 7812-1, Annex B.
pub(super) fn passes_luhn(text: &str) -> bool {
    luhn_sum(digits(text), digits(text).count()).is_multiple_of(10)
}

/// The sum of `count` digits, of which every second one from the last but one on is doubled.
fn luhn_sum(digits: impl Iterator<Item = u8>, count: usize) -> u32 {
    digits
        .zip(0..count)
        .map(|(digit, at)| (digit, (count - at).is_multiple_of(2)))
        .map(|(digit, is_doubled)| u32::from(if is_doubled { digit * 2 / 10 + digit * 2 % 10 } else { digit }))
        .sum()
}

/// United States: an area that is given out (not 000, 666), a group and a serial number that are not all zeros. 9xx is a taxpayer's number.
pub(super) fn is_social_security(text: &str) -> bool {
    let number = number(text);
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    area != 0 && area != 666 && group != 0 && serial != 0
}

/// An IBAN: two letters, two check digits, up to 30 more characters, and a remainder of 1 (ISO 13616, with ISO/IEC 7064 MOD 97-10).
/// In print it comes in fours.
pub(super) fn is_iban(text: &str) -> bool {
    let groups = || text.split([' ', '-']);
    let are_fours = groups().count() == 1 || groups().rev().skip(1).all(|group| group.len() == 4);
    let compact = || groups().flat_map(str::chars);
    let starts_well = compact().take(4).map(|c| c.is_ascii_digit()).eq([false, false, true, true]);
    if !are_fours || !starts_well || !(15..=34).contains(&compact().count()) {
        return false;
    }
    let value = |c: char| c.to_digit(36).filter(|_| c.is_ascii());
    let remainder = compact().skip(4).chain(compact().take(4)).try_fold(0, |remainder, c| {
        let shifted = if c.is_ascii_digit() { remainder * 10 } else { remainder * 100 };
        Some((shifted + value(c)?) % 97)
    });
    remainder == Some(1)
}

/// National numbers with letters: A stands for a letter, 9 for a digit.
const NATIONAL_SHAPES: [&str; 4] = [
    "AA999999A",        // United Kingdom: national insurance number
    "AAAAA9999A",       // India: permanent account number
    "AAAAAA99A99A999A", // Italy: codice fiscale
    "99999999A",        // Spain: DNI
];

/// Whether a text is a national number with letters. Only the British one is printed with spaces.
pub(super) fn is_national_with_letters(text: &str) -> bool {
    let compact = || text.chars().filter(|c| *c != ' ');
    let fits = |c: char, shape| if shape == '9' { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
    let length = compact().take(20).count();
    let shape = NATIONAL_SHAPES
        .iter()
        .find(|shape| length == shape.len() && compact().zip(shape.chars()).all(|(c, s)| fits(c, s)));
    let last = compact().next_back().map(|c| c.to_ascii_uppercase());
    match shape {
        Some(&"AA999999A") => matches!(last, Some('A'..='D')),
        _ if text.contains(' ') => false,
        // The letter is a remainder.
        Some(&"99999999A") => last == "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(number(text) as usize % 23),
        shape => shape.is_some(),
    }
}

/// A year that people talk about.
pub(super) fn is_year(number: u32) -> bool {
    (1900..=2099).contains(&number)
}

/// Whether these groups of digits are a date, in any of the usual orders: day, month, year with 2 or 4 digits.
pub(super) fn is_date(text: &str, groups: &[usize]) -> bool {
    let part = |skip: usize, count: usize| {
        digits(text).skip(skip).take(count).fold(0, |number, digit| number * 10 + u32::from(digit))
    };
    match *groups {
        [4, month @ 1..=2, day @ 1..=2] => {
            is_year(part(0, 4)) && is_day_and_month(part(4, month), part(4 + month, day))
        }
        [a @ 1..=2, b @ 1..=2, year @ (2 | 4)] => {
            is_day_and_month(part(0, a), part(a, b)) && (year == 2 || is_year(part(a + b, year)))
        }
        _ => false,
    }
}

/// Whether digits without separators may be a date, also one that lost its leading zero.
pub(super) fn is_compact_date(text: &str, count: usize) -> bool {
    match count {
        8 => is_date(text, &[4, 2, 2]) || is_date(text, &[2, 2, 4]),
        7 => is_date(text, &[1, 2, 4]) || is_date(text, &[2, 1, 4]),
        6 => is_date(text, &[2, 2, 2]) && number(text) % 100 < 40 || is_date(text, &[1, 1, 4]),
        5 => (is_date(text, &[1, 2, 2]) || is_date(text, &[2, 1, 2])) && (10..40).contains(&(number(text) % 100)),
        _ => false,
    }
}

fn is_day_and_month(a: u32, b: u32) -> bool {
    let fits = |day: u32, month: u32| (1..=31).contains(&day) && (1..=12).contains(&month);
    fits(a, b) || fits(b, a)
}
