//! Values that show what they are by their format alone. All are made up or published for tests.

use super::super::formats::{is_iban, passes_luhn};
use super::{assert_shown, assert_untouched};

#[test]
fn card_numbers_are_hidden_with_and_without_separators() {
    assert_shown(&[
        (&["agent: Hi!", "customer: 4111 1111 1111 1111"], "[payment card]"),
        (&["agent: Hi!", "customer: use 4111-1111-1111-1111, please"], "use [payment card], please"),
        (&["agent: Hi!", "customer: 378282246310005"], "[payment card]"),
        (&["agent: Hi!", "customer: it is 4.11111E+15 now"], "it is [payment card] now"),
        (&["agent: Hi!", "customer: ４１１１１１１１１１１１１１１１"], "[payment card]"),
    ]);
    assert!(passes_luhn("79927398713") && !passes_luhn("79927398710"));
}

#[test]
fn national_numbers_are_hidden() {
    assert_shown(&[
        (&["agent: Hi!", "customer: 219-09-9999"], "[national id]"),
        (&["agent: Hi!", "customer: it's QQ 12 34 56 C."], "it's [national id]."),
        (&["agent: Hi!", "customer: QQ123456C"], "[national id]"),
        (&["agent: Hi!", "customer: 046-454-286"], "[national id]"),
        (&["agent: Hi!", "customer: 12345678Z"], "[national id]"),
        (&["agent: Hi!", "customer: ABCDE1234F"], "[national id]"),
        (&["agent: Hi!", "customer: passport number X1234567"], "passport number [national id]"),
    ]);
}

#[test]
fn ibans_are_hidden_when_their_check_digits_are_right() {
    assert_shown(&[
        (&["agent: Hi!", "customer: GB82 WEST 1234 5698 7654 32"], "[bank account]"),
        (&["agent: Hi!", "customer: to DE89370400440532013000!"], "to [bank account]!"),
    ]);
    assert!(is_iban("GB82 WEST 1234 5698 7654 32") && !is_iban("GB83 WEST 1234 5698 7654 32"));
}

#[test]
fn telephone_numbers_are_hidden() {
    assert_shown(&[
        (&["agent: You can call (977) 555-0188."], "You can call [phone]."),
        (&["agent: Call +44 20 7946 0018 or 020 7946 0018."], "Call [phone] or [phone]."),
        (&["agent: Call 415-555-0133 today"], "Call [phone] today"),
        (&["agent: Call 415.555.0133 or 1-800-555-0133"], "Call [phone] or [phone]"),
        (&["agent: +33 1 99 00 12 34"], "[phone]"),
    ]);
}

#[test]
fn e_mail_addresses_are_hidden() {
    assert_shown(&[
        (&["agent: We wrote to <tom.o'neil+shop@mail.example.co.uk>."], "We wrote to <[email]>."),
        (&["agent: ana_99@example.com, right?"], "[email], right?"),
        (&["agent: josé@exämple.de"], "[email]"),
    ]);
    assert_untouched(&["Follow us @ example", "It is 5 @ 10 dollars each"]);
}
