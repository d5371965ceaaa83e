//! What an agent may not see stays hidden, whatever stands beside, around, or within it. All numbers are made up or published for tests.

use super::super::find;
use super::{assert_all, assert_seen, chat, hidden_from_agents, mask, of_turn};
use crate::domain::record::Turn;
use crate::domain::sensitive::SensitiveKind::Password;

#[test]
fn what_a_number_proves_itself_no_word_beside_it_takes_away() {
    assert_seen(&[
        (
            &["agent: Hi!", "customer: I paid for my order with 4111 1111 1111 1111"],
            "I paid for my order with [payment card]",
        ),
        (&["agent: Hi!", "customer: customer 219-09-9999"], "customer [national id]"),
        (&["agent: Hi!", "customer: my dob is 04/11/1983 219-09-9999"], "my dob is 04/11/1983 [national id]"),
        (
            &["agent: Hi!", "customer: phone 219-09-9999, order 5500000000000004"],
            "phone [national id], order [payment card]",
        ),
        (&["agent: Anything about your order?", "customer: 4111 1111 1111 1111 123"], "[payment card]"),
        (&["agent: What is your account number?", "customer: 415 555 0133"], "[bank account]"),
        (&["agent: Hi!", "customer: my account number is 415-555-0133"], "my account number is [bank account]"),
    ]);
}

#[test]
fn a_serial_number_of_a_telephone_is_no_card_though_its_check_digit_is_right() {
    assert_seen(&[(&["agent: Hi!", "customer: my imei is 352099001761481"], "my imei is 352099001761481")]);
}

#[test]
fn what_is_hidden_stays_hidden_within_what_is_visible_which_stays_visible_beside_it() {
    let address = "agent: What is your address?";
    assert_seen(&[
        (
            &[address, "customer: 22 Acacia Avenue, Leeds, 4111 1111 1111 1111"],
            "22 Acacia Avenue, Leeds, [payment card]",
        ),
        (
            &[address, "customer: 22 Acacia Avenue, 4111 1111 1111 1111, Leeds"],
            "22 Acacia Avenue, [payment card], Leeds",
        ),
        (
            &["agent: Hi!", "customer: My address is 17 Elm Street Springfield 219-09-9999"],
            "My address is 17 Elm Street Springfield [national id]",
        ),
        (
            &["agent: Hi!", "customer: My address is 17 Elm Street Springfield 219099999"],
            "My address is 17 Elm Street Springfield [national id]",
        ),
        (
            &["agent: Hi!", "customer: my account name is GB82 WEST 1234 5698 7654 32"],
            "my account name is [bank account]",
        ),
        (&["agent: Hi!", "customer: 4111111111111111@gmail.com"], "[payment card]@gmail.com"),
        (&["agent: Hi!", "customer: ana.219-09-9999@gmail.com"], "ana.[national id]@gmail.com"),
        (&["agent: Hi!", "customer: My address is 1460 Elm Street 60613"], "My address is 1460 Elm Street 60613"),
        (&["agent: Hi!", "customer: write to ana5551234@example.com"], "write to ana5551234@example.com"),
    ]);
}

#[test]
fn a_number_of_unknown_use_is_taken_for_what_is_talked_about_and_agents_may_not_see() {
    assert_seen(&[
        (&["customer: my credit card was stolen", "customer: 77121 3390441277 12 7"], "[payment card]"),
        (&["customer: I lost my card", "agent: Oh no!", "customer: it is 88120931"], "it is [payment card]"),
        (&["customer: I lost my hat", "agent: Oh no!", "customer: it is 88120931"], "it is 88120931"),
        (
            &["agent: Hi!", "customer: my account only ending with 1575 please"],
            "my account only ending with [bank account] please",
        ),
    ]);
}

#[test]
fn a_price_a_time_or_an_amount_beside_a_number_makes_no_amount_of_it() {
    assert_seen(&[
        (
            &["agent: Hi!", "customer: my card is 4111 1111 1111 1111 $50 please"],
            "my card is [payment card] $50 please",
        ),
        (&["agent: Hi!", "customer: my ssn is 219-09-9999 $5"], "my ssn is [national id] $5"),
        (&["agent: Hi!", "customer: my ssn is 4471 $5"], "my ssn is [national id] $5"),
        (&["agent: Hi!", "customer: charge 50 usd 4111 1111 1111 1111"], "charge 50 usd [payment card]"),
        (&["agent: Hi!", "customer: 10:30 4111 1111 1111 1111"], "10:30 [payment card]"),
        (&["agent: Hi!", "customer: 10:30 219-09-9999 1,050"], "10:30 [national id] 1,050"),
        (&["agent: Hi!", "customer: $ 4111 1111 1111 1111 1,050.25"], "$ [payment card] 1,050.25"),
        (&["agent: Hi!", "customer: my ssn is 4471 500 dollars"], "my ssn is [national id] 500 dollars"),
        (&["agent: Hi!", "customer: ssn $5 4471"], "ssn $5 [national id]"),
        (&["agent: Hi!", "customer: I have 1 500 000 dollars"], "I have 1 500 000 dollars"),
        (&["agent: Hi!", "customer: my account is $20417733"], "my account is $[bank account]"),
        (&["agent: Hi!", "customer: my card is 4111 1111 1111 1112 $50"], "my card is [payment card] $50"),
    ]);
}

#[test]
fn a_card_is_found_among_more_digits() {
    assert_seen(&[
        (&["agent: Hi!", "customer: 4111 1111 1111 1111 120"], "[payment card]"),
        (&["agent: Hi!", "customer: 4111 1111 1111 1111 12 2027"], "[payment card] 12 2027"),
        (&["agent: Hi!", "customer: card number 4111 1111 1111 1111 2027"], "card number [payment card] 2027"),
        (&["agent: Hi!", "customer: 4111 1111 1111 1111 04/28 123"], "[payment card] 04/28 [payment card]"),
        (&["agent: Hi!", "customer: 4111111111111111 123 04/28"], "[payment card] 04/28"),
        (&["agent: Hi!", "customer: 3782 822463 10005 1234"], "[payment card]"),
        (&["agent: Hi!", "customer: 12 4111-1111-1111-1111 77"], "12 [payment card] 77"),
        (&["agent: Hi!", "customer: 4111111111111111123"], "[payment card]"),
        (&["agent: Hi!", "customer: 4111 1111 1111 1111 219 09 9999"], "[payment card] [national id]"),
        (&["agent: Hi!", "customer: 4111 1111 1111 1111 415-555-0133"], "[payment card] 415-555-0133"),
        (&["agent: Hi!", "customer: 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 0 4 2 8"], "[payment card] 0 4 2 8"),
    ]);
}

#[test]
fn a_card_in_words_is_a_card_whatever_was_asked() {
    let spelled = "customer: four one one one one one one one one one one one one one one one";
    assert_seen(&[(&["agent: Anything about your order?", spelled], "[payment card]")]);
    assert_seen(&[(&["agent: Hi!", "customer: my order is four two one one"], "my order is four two one one")]);
}

#[test]
fn an_account_that_is_read_back_under_another_name_stays_hidden() {
    let chat = ["agent: What is your account number?", "customer: 20417733", "agent: So you are customer 20417733?"];
    assert_seen(&[(&chat, "So you are customer [bank account]?")]);
}

#[test]
fn a_card_is_found_whatever_parts_its_groups() {
    for between in [
        "\u{202f}", "\u{2009}", "\u{2011}", "_", ",", ", ", "\t", "\u{200b}", "\n", "\r\n", " - ", "|", "/", "\u{a0}",
        "\u{ad}", ".", " : ", "*", "\u{202e}",
    ] {
        let card = ["4111", "1111", "1111", "1111"].join(between);
        let all = [("agent", "Hi!"), ("customer", card.as_str())].map(|(who, text)| format!("{who}: {text}"));
        let all = all.each_ref().map(String::as_str);
        assert_eq!(super::seen(&all), "[payment card]", "{between:?}");
    }
    for ssn in ["219\u{2011}09\u{2011}9999", "219_09_9999", "219\u{202f}09\u{202f}9999"] {
        assert_eq!(super::seen(&["agent: Hi!", &format!("customer: {ssn}")]), "[national id]");
    }
}

/// What an agent sees of each turn.
fn all_seen(lines: &[&str]) -> Vec<String> {
    let turns = chat(lines);
    let spans = find(&turns);
    let seen =
        |(at, turn): (u32, &Turn)| mask(&turn.text, of_turn(&spans, at), hidden_from_agents).unwrap().to_string();
    (0..).zip(&turns).map(seen).collect()
}

#[test]
fn a_card_in_several_turns_is_hidden_in_all_of_them() {
    let card = "[payment card]";
    let question = "agent: Which card is it?";
    let halves = [question, "customer: 4111 1111", "agent: Thanks, and the rest?", "customer: then 1111 1111"];
    assert_eq!(all_seen(&halves)[1..], [card, "Thanks, and the rest?", "then [payment card]"]);
    let fours = [
        question,
        "customer: 4111",
        "customer: 1111",
        "agent: ok",
        "customer: 1111",
        "customer: one sec",
        "customer: 1111",
    ];
    assert_eq!(all_seen(&fours)[1..], [card, card, "ok", card, "one sec", card]);
    let american =
        ["agent: Hello!", "customer: 3782", "customer: 822463", "customer: 10005", "agent: So it ends in 10005?"];
    assert_eq!(all_seen(&american)[1..], [card, card, card, "So it ends in [payment card]?"]);
    let digits: Vec<_> = "4111111111111111".chars().map(|digit| format!("customer: {digit}")).collect();
    let digits: Vec<_> = std::iter::once("agent: Hello!").chain(digits.iter().map(String::as_str)).collect();
    assert!(all_seen(&digits)[1..].iter().all(|seen| seen == card));
    let words_between = ["agent: Hello!", "customer: 4111 1111 and then 1111 1111"];
    assert_eq!(all_seen(&words_between)[1], card);
    let with_code = ["agent: Hello!", "customer: 4111 1111", "customer: 1111 1111 123", "customer: 900 pm"];
    assert_eq!(all_seen(&with_code)[1..], [card, card, "900 pm"]);
    let echoed = ["agent: Hello!", "customer: 4111 1111", "agent: 4111 1111, go on", "customer: 1111 1111"];
    assert_eq!(all_seen(&echoed)[1..], [card, "[payment card], go on", card]);
    let read_back = ["customer: Hello!", "agent: 5500 0000", "customer: yes", "agent: 0000 0004"];
    assert_eq!(all_seen(&read_back)[1..], [card, "yes", card]);
}

#[test]
fn numbers_of_several_turns_that_are_no_card_stay_apart() {
    let other_digits = ["agent: Hello!", "customer: 4111 1111", "customer: 1111 1112"];
    assert_eq!(all_seen(&other_digits)[1..], ["4111 1111", "1111 1112"]);
    let speech = "agent: Thank you. Before we go on I have to tell you that this line is recorded, is that fine?";
    let long_ago = ["agent: Hello!", "customer: 4111", speech, "customer: 1111 1111 1111"];
    assert_eq!(all_seen(&long_ago)[1], "4111");
}

#[test]
fn numbers_that_only_look_like_cards_stay_what_they_are() {
    assert_seen(&[
        (&["agent: Hi!", "customer: tracking 9400 1000 0000 0000 0000 00"], "tracking 9400 1000 0000 0000 0000 00"),
        (&["agent: Hi!", "customer: in 2017 2018 2019 2020 and 2021"], "in 2017 2018 2019 2020 and 2021"),
        (&["agent: Hi!", "customer: call 415 555 0133 or 415 555 0134"], "call 415 555 0133 or 415 555 0134"),
        (&["agent: Hi!", "customer: order 1250, 1500, 2750, 3000 pieces"], "order 1250, 1500, 2750, 3000 pieces"),
    ]);
}

#[test]
fn a_password_is_hidden_though_it_begins_as_a_common_word_does() {
    assert_seen(&[
        (&["agent: Hi!", "customer: My password is March2024!"], "My password is [password]"),
        (&["agent: Hi!", "customer: my password is Monday12"], "my password is [password]"),
        (&["agent: Hi!", "customer: my password is Good4you"], "my password is [password]"),
        (&["agent: Hi!", "customer: my password is Please-2024, thanks"], "my password is [password], thanks"),
        (&["agent: Hi!", "customer: password Tulip77x does not work"], "password [password] does not work"),
        (&["agent: Hi!", "customer: pw: Tulip!77x"], "pw: [password]"),
        (&["agent: Hi!", "customer: my password is open sesame"], "my password is [password]"),
        (
            &["agent: Hi!", "customer: the password is \"correct horse battery staple\"."],
            "the password is \"[password]\".",
        ),
        (
            &["agent: Hi!", "customer: my password for the bank account is Tulip77x"],
            "my password for the bank account is [password]",
        ),
        (&["agent: Hi!", "customer: password for netflix: tulip"], "password for netflix: [password]"),
        (&["agent: What is your password?", "customer: it's March2024!"], "it's [password]"),
        (&["agent: What is your password?", "customer: Monday12"], "[password]"),
        (&["agent: What is your password?", "customer: it is open sesame"], "it is [password]"),
        (&["agent: What is your password?", "customer: Blue Monday"], "[password]"),
        (&["agent: Hi!", "customer: My password is\nTulip77x"], "My password is\n[password]"),
        (&["agent: Hi!", "customer: Tulip77x is my new password"], "[password] is my new password"),
        (
            &["agent: Hi!", "customer: please change my password from Tulip77x to Rose88y"],
            "please change my password from [password] to [password]",
        ),
        (&["agent: Hi!", "customer: my password will be Tulip77x"], "my password will be [password]"),
        (&["agent: Hi!", "customer: user ada, pass: tulip"], "user ada, pass: [password]"),
    ]);
}

#[test]
fn talk_about_passwords_stays() {
    for sentence in [
        "My password is not working since March 2024!",
        "the password is wrong!",
        "I need a password reset at 10:30am",
        "the password for my account is expired",
        "Is the password required on the 2nd page?",
        "I forgot the password and my username",
        "The password does not work on Windows11",
        "My password is not accepted, the error is E1234",
        "Which password do you mean, and is it mine?",
        "The password reset link to ana@example.com is missing",
    ] {
        assert_seen(&[(&["agent: Hi!", &format!("customer: {sentence}")], sentence)]);
    }
    assert_seen(&[(&["agent: What is your password?", "customer: I forgot it, sorry"], "I forgot it, sorry")]);
}

#[test]
fn supervisors_see_no_password_either() {
    let seen_by_supervisor = |lines: &[&str]| {
        let turns = chat(lines);
        let last = turns.len() - 1;
        let hidden = |kind| (kind == Password).then_some("[password]");
        mask(&turns[last].text, of_turn(&find(&turns), last as u32), hidden).unwrap().to_string()
    };
    assert_all(
        &[
            (&["agent: Hi!", "customer: My password is March2024!"], "My password is [password]"),
            (&["agent: Hi!", "customer: password: 4111111111111111"], "password: [password]"),
            (&["agent: Hi!", "customer: my pin is 219-09-9999"], "my pin is [password]"),
        ],
        seen_by_supervisor,
    );
}
