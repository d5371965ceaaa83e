//! Payment cards among groups of digits, whatever stands before, between, and behind the groups: a security code, an expiry date, a price.
//! A card shows by its check digit, by the digits that its scheme begins with, and by groups as cards are written.

use super::cues::{CURRENCIES, spelled_digit};
use super::formats::{digits, is_card};
use super::tokens::Line;

/// A group of digits, as it stands in a text, or a spelled digit.
#[derive(Clone, Copy)]
pub(super) struct Group<'t> {
    pub text: &'t str,
    pub digits: usize,
}

/// The most digits of a card, and so the most groups.
const MOST_DIGITS: usize = 19;
/// The most characters between two groups of a card.
const LONGEST_GAP: usize = 6;
/// The most digits that are glued to a card behind it: a security code of 3 or 4, and the expiry date.
const MOST_GLUED_DIGITS: usize = 8;

/// The cards among these groups, each from its first group to its last. Where several readings are possible, all of them are one card, so
/// that nothing of the right one is left.
pub(super) fn cards_among(groups: &[Group<'_>]) -> Vec<(usize, usize)> {
    let mut cards: Vec<(usize, usize)> = Vec::new();
    for first in 0..groups.len() {
        let Some(last) = card_from(groups, first) else { continue };
        match cards.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => cards.push((first, last)),
        }
    }
    cards
}

/// The last group of the shortest card that begins with this one. What follows it is a security code more often than part of a longer card,
/// and hidden as such.
fn card_from(groups: &[Group<'_>], first: usize) -> Option<usize> {
    if is_card_with_more_behind(groups[first]) {
        return Some(first);
    }
    let mut count = 0;
    (first..groups.len())
        .take_while(|last| {
            count += groups[*last].digits;
            count <= MOST_DIGITS
        })
        .find(|last| is_whole_card(&groups[first..=*last]))
}

fn is_whole_card(groups: &[Group<'_>]) -> bool {
    let count = groups.iter().map(|group| group.digits).sum();
    is_written_so(groups, count) && is_card(groups.iter().flat_map(digits_of), count)
}

fn digits_of<'g>(group: &'g Group<'_>) -> impl Iterator<Item = u8> + Clone + 'g {
    spelled_digit(group.text).into_iter().chain(digits(group.text))
}

/// A card and its security code in one piece.
fn is_card_with_more_behind(group: Group<'_>) -> bool {
    [15, 16].into_iter().any(|count| {
        let is_longer = (count + 3..=count + MOST_GLUED_DIGITS).contains(&group.digits);
        is_longer && is_card(digits(group.text).take(count), count)
    })
}

/// Whether people write cards in such groups: in one piece; in fours or other equal groups, some of them joined, the last one shorter;
/// in 4-6-5, 4-6-4, and 6-13. Other than in one piece, only of the usual lengths.
fn is_written_so(groups: &[Group<'_>], count: usize) -> bool {
    let size = groups[0].digits;
    let (last, others) = (groups[groups.len() - 1].digits, &groups[..groups.len() - 1]);
    let are_equal = |size: usize| size > 0 && others.iter().all(|group| group.digits == size) && last <= size;
    let are_fours = || others.iter().all(|group| group.digits % 4 == 0);
    match groups.len() {
        1 => true,
        _ if count == 16 => are_equal(size) || are_fours() || size == 6 && groups.len() == 2,
        2 => matches!((size, last), (10, 4 | 5) | (4, 10 | 11) | (6, 13) | (8, 5..=7) | (12, 1..=3)),
        3 if size == 4 && others[1].digits == 6 => matches!(last, 4 | 5),
        _ if size >= 4 => are_fours() && matches!(count, 13 | 19),
        _ => are_equal(size) && matches!(count, 14 | 15),
    }
}

/// The cards of a line, each from its first token to its last.
pub(super) fn cards_of(line: Line<'_>) -> Vec<(usize, usize)> {
    let (mut cards, mut groups, mut first) = (Vec::new(), Vec::new(), 0);
    for at in 0..=line.tokens.len() {
        let is_group = at < line.tokens.len() && line.tokens[at].digits > 0;
        if !is_group || at > 0 && !may_be_between(line.gap(at)) {
            cards.extend(cards_among(&groups).into_iter().map(|(start, end)| (first + start, first + end)));
            groups.clear();
        }
        if is_group {
            if groups.is_empty() {
                first = at;
            }
            groups.push(Group { text: line.word(at), digits: line.tokens[at].digits });
        }
    }
    cards
}

/// Whether the groups of a card may be parted by this: by any signs, seen or unseen, but not by that of a currency.
pub(super) fn may_be_between(gap: &str) -> bool {
    gap.chars().take(LONGEST_GAP + 1).count() <= LONGEST_GAP && !gap.contains(CURRENCIES)
}
