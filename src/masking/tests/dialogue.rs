//! Chats with both sides and their punctuation.

use super::{assert_shown, assert_untouched};

#[test]
fn prices_dates_times_years_and_quantities_stay() {
    assert_untouched(&[
        "The total is $1,299.00 for 3 nights.",
        "It costs 450 dollars, or 1200 with the extras.",
        "I paid 1500 USD on 12/05/2024 at 10:45 am.",
        "My car is a Honda Civic, model 2016, bought in 2018.",
        "I was charged 2500 twice on June 14, 2023.",
        "Please order 150 roses and 1200 candles.",
        "Flight number BA2490, room number 12B04, model no. A2341.",
        "Flight 1432 leaves gate 112 at 17:05.",
        "The meeting is on 2024-03-18, or on 18.03.2024.",
        "He lives at 1460 West Addison Street, Chicago.",
        "Version 10.4.2011 is slower by 250 ms, about 3.75 %.",
        "There were 12000 people in 2019 and 15000 in 2022.",
        "My order has 240 pieces, and I booked 120 seats.",
        "The battery has 4500 mAh and the screen 1080 lines.",
        "May I ask why? I may 2 times have called.",
        "Pi is 3.14159265, I have 5 000 EUR, or Rs. 2500.",
        "Is it 1/2 or 3/4? Between 1100-1300, I think.",
    ]);
}

#[test]
fn an_identifier_is_hidden_where_it_is_named() {
    assert_shown(&[
        (&["agent: Hi!", "customer: My SSN is 4821."], "My SSN is [national id]."),
        (
            &["agent: Hi!", "customer: The last four of my social are 0417, thanks"],
            "The last four of my social are [national id], thanks",
        ),
        (&["agent: Hi!", "customer: 4821 is my ssn"], "[national id] is my ssn"),
        (&["agent: Your card ending in 7719 is blocked."], "Your card ending in [payment card] is blocked."),
        (
            &["agent: I see claim CLX 904 on policy PQR-88231907."],
            "I see claim [claim number] on policy [policy number].",
        ),
        (
            &["agent: Hi!", "customer: Policy number: HX-2210984, claim no. 77120"],
            "Policy number: [policy number], claim no. [claim number]",
        ),
        (&["agent: Hi!", "customer: Order ID: 5501298837"], "Order ID: [hidden]"),
        (&["agent: Hi!", "customer: my booking reference is K7QP2M."], "my booking reference is [booking number]."),
        (&["agent: Hi!", "customer: I was born on 04/11/1983, dob 04111983"], "I was born on [hidden], dob [hidden]"),
        (
            &["agent: Hi!", "customer: transfer 500 from my account 20417733 to 88120911"],
            "transfer 500 from my account [bank account] to [bank account]",
        ),
        (&["agent: Hi!", "customer: My zip code is 60613"], "My zip code is [address]"),
        (
            &["agent: Hi!", "customer: My new address is 17 Elm Street, Springfield. Thanks!"],
            "My new address is [address]. Thanks!",
        ),
        (&["agent: Hi!", "customer: my phone number: five five five zero one nine nine"], "my phone number: [phone]"),
        (
            &["agent: Hi!", "customer: sort code 20-00-01, account 55779911"],
            "sort code [bank account], account [bank account]",
        ),
        (&["agent: Hi!", "customer: date of birth is 4/11/83"], "date of birth is [hidden]"),
        (&["agent: Hi!", "customer: cvv 123, ref #88213"], "cvv [payment card], ref #[hidden]"),
        (&["agent: Hi!", "customer: The tracking number is 1Z999AA10123456784"], "The tracking number is [hidden]"),
        (&["agent: Confirmation number is T7K-90211."], "Confirmation number is [booking number]."),
        (&["agent: Your ticket number is INC0012345."], "Your ticket number is [hidden]."),
        (&["agent: Hi!", "customer: card 5500000000000004 exp 04/28"], "card [payment card] exp 04/28"),
        (&["agent: Hi!", "customer: account id is mona_lee77"], "account id is [account id]"),
    ]);
}

#[test]
fn a_bare_answer_is_hidden_after_the_question_for_it() {
    assert_shown(&[
        (&["agent: What is your policy number?", "customer: 579 654"], "[policy number]"),
        (
            &["agent: May I have the last four digits of your SSN?", "customer: Sure, it's 1947"],
            "Sure, it's [national id]",
        ),
        (&["bot: Please enter your account number.", "customer: 7712"], "[bank account]"),
        (
            &["agent: Could you share your claim number?", "customer: one moment", "agent: Sure.", "customer: ABX 442"],
            "[claim number]",
        ),
        (&["agent: Please provide your username and order ID.", "customer: lena.fox", "customer: 5512998"], "[hidden]"),
        (&["agent: What is your claim number?", "customer: gh 48 k 7"], "[claim number]"),
        (&["agent: What is your phone number?", "customer: sorry, 55501"], "sorry, [phone]"),
        (&["agent: And your date of birth?", "customer: 03/22/1985"], "[hidden]"),
        (&["agent: Please read me the code.", "customer: 882913"], "[hidden]"),
        (
            &["agent: What is the card number and the CVV?", "customer: 5500 0000 0000 0004, 123"],
            "[payment card], [payment card]",
        ),
        (&["agent: What is your phone number?", "customer: five five five oh one nine nine"], "[phone]"),
        (&["agent: And the last four digits, please?", "customer: 4471"], "[hidden]"),
        (&["agent: What is your phone number?", "customer: 555 0142"], "[phone]"),
        (&["agent: Can I have your e-mail?", "customer: marta sol at gmail dot com"], "marta [email]"),
        (&["agent: What's the booking reference or code?", "customer: QWXZRT"], "[booking number]"),
        (&["agent: What is your current address?", "customer: 22 Acacia Avenue, Leeds"], "[address]"),
        (&["agent: Can you give me your customer number?", "customer: it is C-88213"], "it is [hidden]"),
    ]);
}

#[test]
fn an_answer_to_another_question_stays() {
    assert_shown(&[
        (&["agent: What is the year of your car?", "customer: 2017"], "2017"),
        (&["agent: What is your policy number and the date of the accident?", "customer: 2021"], "2021"),
        (
            &["agent: What is your ssn?", "customer: no", "agent: How much do you want to send?", "customer: 1450"],
            "1450",
        ),
        (&["agent: Which account do you want to use?", "customer: savings, and send 1250"], "savings, and send 1250"),
        (
            &["agent: What is your policy number?", "customer: I have a meeting at 10:30am, 2nd-hand."],
            "I have a meeting at 10:30am, 2nd-hand.",
        ),
        (&["agent: Do you want to book a room?", "customer: yes, room 1204"], "yes, room 1204"),
    ]);
}

#[test]
fn a_password_is_hidden_and_talk_about_passwords_is_not() {
    assert_shown(&[
        (&["agent: Hi!", "customer: My password is Tulip!77x."], "My password is [password]."),
        (&["agent: Hi!", "customer: password: correcthorse"], "password: [password]"),
        (&["agent: Hi!", "customer: username is mona_lee, pin 4471"], "username is [username], pin [password]"),
        (&["agent: What is your password?", "customer: hunter2"], "[password]"),
        (&["agent: What is the verification code?", "customer: 449120"], "[password]"),
        (&["agent: Hi!", "customer: My password is not working"], "My password is not working"),
        (
            &["agent: Hi!", "customer: the password is wrong, I need a password reset"],
            "the password is wrong, I need a password reset",
        ),
        (&["agent: What is your password?", "customer: sorry"], "sorry"),
    ]);
}

#[test]
fn a_number_that_was_found_is_hidden_when_it_comes_again() {
    assert_shown(&[
        (
            &["agent: What is your account number?", "customer: 20417733", "agent: So it is 2041-7733?"],
            "So it is [bank account]?",
        ),
        (
            &["customer: My card is 4111 1111 1111 4471", "agent: The one with 4471, right?"],
            "The one with [payment card], right?",
        ),
        (
            &["customer: My card is 4111 1111 1111 4471", "agent: The one with 4472, right?"],
            "The one with 4472, right?",
        ),
    ]);
}

#[test]
fn words_that_are_also_deeds_do_not_make_numbers_of_amounts() {
    assert_untouched(&[
        "I want to claim 1500 for the damage.",
        "Please credit 2000 to me, and order 150 of them.",
        "In the last 3 weeks, 1450 were charged.",
        "We emailed 1400 letters to 2025 members.",
    ]);
}

#[test]
fn a_question_is_forgotten_after_a_few_turns() {
    let long_ago = [
        "agent: What is your policy number?",
        "customer: wait",
        "customer: hm",
        "customer: well",
        "customer: ok",
        "customer: 1450",
    ];
    assert_shown(&[(&long_ago, "1450")]);
}
