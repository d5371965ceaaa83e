//! Chats of which only the customer's side is there, often in lower case and without punctuation.

use super::assert_shown;

#[test]
fn a_bare_number_is_taken_for_an_answer() {
    assert_shown(&[
        (&["customer: i lost my credit card", "customer: anna bell", "customer: 4471"], "[national id]"),
        (
            &["customer: i lost my credit card", "customer: anna bell", "customer: 4471", "customer: 881 e 15"],
            "[payment card]",
        ),
        (&["customer: i want to know my balance", "customer: tom reed", "customer: 702"], "[national id]"),
        (&["customer: my screen broke", "customer: tom reed 5550142771"], "tom reed [phone]"),
        (&["customer: hello", "customer: ssn 4471 card 9902"], "ssn [national id] card [payment card]"),
        (
            &["customer: move money between my accounts", "customer: transfer 250 to 7741"],
            "transfer 250 to [bank account]",
        ),
    ]);
}

#[test]
fn codes_are_hidden_with_their_letters_where_claims_are_talked_about() {
    assert_shown(&[
        (&["customer: what about my claim", "customer: wqz 771209345"], "[policy number]"),
        (&["customer: what about my cliam", "customer: wqz 771"], "[claim number]"),
        (
            &["customer: hi", "customer: policy wqz 771209345 claim vbn 102"],
            "policy [policy number] claim [claim number]",
        ),
        (&["customer: status of claim", "customer: b 12 c 34 d 5"], "[claim number]"),
    ]);
}

#[test]
fn addresses_without_punctuation_are_recognised() {
    assert_shown(&[
        (&["customer: my email address is nora.k@example.org"], "my email address is [email]"),
        (&["customer: my email address is noragmailcom"], "my email address is [email]"),
        (&["customer: nora 88 gmailcom"], "[email]"),
        (&["customer: colleague norakaygmailcom"], "colleague [email]"),
        (&["customer: nora at gmail dot com"], "[email]"),
        (&["customer: nora dot kay at gmail dot com please"], "[email] please"),
        (&["customer: nora gmail com"], "[email]"),
        (&["customer: my email is norakayfoocom"], "my email is [email]"),
        (&["customer: nora underscore kay at yahoo dot co dot uk"], "[email]"),
        (&["customer: nora(at)example.com, nora at example dot org"], "[email], [email]"),
        (&["customer: look at example.com"], "look at example.com"),
        (&["customer: i like gmail and yahoo"], "i like gmail and yahoo"),
        (&["customer: is it on your site or gmail com"], "is it on your site or gmail com"),
    ]);
}

#[test]
fn a_line_with_a_street_is_an_address() {
    assert_shown(&[
        (&["customer: i moved house", "customer: 88 pine hill avenue dover de 19901"], "[address]"),
        (
            &["customer: i moved house", "customer: 88 pine avenue and my ssn is 4471"],
            "[address] and my ssn is [national id]",
        ),
        (&["customer: i moved house", "customer: the noise on the avenue is bad"], "the noise on the avenue is bad"),
    ]);
}

#[test]
fn years_of_cars_amounts_and_dates_stay() {
    assert_shown(&[
        (
            &["customer: proof of insurance for my car", "customer: ssn 4471", "customer: honda city 2016"],
            "honda city 2016",
        ),
        (&["customer: proof of insurance for my car", "customer: 4471", "customer: 2016"], "2016"),
        (&["customer: i want to transfer money", "customer: 4471", "customer: 8832", "customer: 5000"], "5000"),
        (
            &["customer: there is an error in my bill", "customer: 4471", "customer: 7702", "customer: 14062018"],
            "14062018",
        ),
        (
            &["customer: there is an error in my bill", "customer: 4471", "customer: 14 june 2018 amount 850"],
            "14 june 2018 amount 850",
        ),
    ]);
}
