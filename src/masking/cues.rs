//! The vocabulary: what a word tells of the numbers near it. It holds general English of support chats, and no values.

use std::cmp::Ordering;
use std::sync::LazyLock;

use crate::domain::sensitive::SensitiveKind::{self, *};

/// What a word tells of the numbers near it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    /// The number is one of these: "ssn", "policy".
    Names(SensitiveKind),
    /// The number is an amount, a date, a year, a size: "amount", "june", "model".
    Harmless(Subject),
    /// Something that has models and years.
    Vehicle,
    /// The number right before it counts or measures: "dollars", "pm".
    Unit,
    /// As a unit, and it makes an address of the line: "street".
    Street,
    /// May stand between such a word and its number: "my", "is", "number".
    Link,
    /// Asks for something, or hands it over: "what", "provide".
    Ask,
    /// An address, postal or of e-mail.
    Place,
    /// A spelled digit.
    Digit,
    /// A common word that tells nothing; it is not part of a code or of an address.
    Plain,
}

/// What a harmless number is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Sums of money.
    Money,
    /// Makes and models of things, and their years.
    Models,
    /// Dates, times, sizes, and the rest.
    Else,
}

/// Words for numbers that are sensitive.
const NAMES: [(SensitiveKind, &str); 12] = [
    (PaymentCard, "card cards credit debit visa mastercard amex cvv cvc cvv2 creditcard"),
    (NationalId, "ssn ssns social sin nino tin itin aadhaar aadhar adhar passport licence license identity ss"),
    (BankAccount, "account accounts acc acct acnt accnt ac iban checking savings routing sort sortcode bank"),
    (Phone, "phone phones mobile cell cellphone telephone tel ph contact whatsapp landline fax handphone"),
    (Email, "email emails mail emailid mailid gmail"),
    (Password, "password passwords passcode passphrase pin pwd pw passwd pswd otp"),
    (PolicyNumber, "policy policies pol plc"),
    (ClaimNumber, "claim claims clm"),
    (Address, "zip zipcode postcode postal pincode"),
    (Username, "username userid login loginid"),
    (BookingNumber, "booking reservation confirmation pnr itinerary bookings"),
    (
        Other,
        "order tracking reference ref member membership customer case invoice serial dob born birth birthday imei vin",
    ),
];

/// Words beside numbers that are not, by what those are about.
const HARMLESS: [(Subject, &str); 3] = [
    (
        Subject::Money,
        "amount amounts amt charge charged charges paid pay payment price priced cost costs total balance transfer \
    transfers deposit deposited withdraw withdrew worth fee fees bill refund refunded money spent cash purchase",
    ),
    (Subject::Models, "model models modal manufactured manufacture manufacturing make maker built year years made"),
    (
        Subject::Else,
        "date dated time day month bought purchased january february march april june july august september october \
    november december jan feb mar apr jun jul aug sep sept oct nov dec monday tuesday wednesday thursday friday \
    saturday sunday version size room flight gate around about approximately almost over under minimum maximum \
    limit promo coupon discount voucher question step page chapter score rating rated series engine used tickets \
    quantity only since until till before after",
    ),
];

/// Things that have models and years.
const VEHICLES: &str = "car cars vehicle vehicles truck trucks bike motorcycle scooter auto suv van honda toyota ford bmw audi \
    hyundai nissan chevrolet chevy mercedes mazda suzuki volkswagen vw jeep kia tata mahindra skoda renault";

/// Words right after numbers that count or measure.
const UNITS: &str = "dollar dollars usd eur euro euros gbp pound pounds inr rs rupee rupees cents cent bucks pm am oclock hrs hr \
    hour hours minute minutes min mins second seconds days week weeks months yr yrs night nights th st nd rd cc \
    km kms mile miles mph kg lb lbs gb mb tb inch inches percent people persons adults seats seat rooms ticket \
    items item pieces times stars star ft feet sq ml cm mm thousand hundred million lakh lakhs grand points";

/// Words for streets; "st" and "rd" are left out, as they also follow the day of a month.
const STREETS: &str = "street avenue ave blvd boulevard road drive lane apartment apt suite";

/// Words for addresses, postal or of e-mail.
const PLACES: &str = "address addresses addres adress";

/// Words that may stand between a cue and its number.
const LINKS: &str = "id name code is was are were s it its this that these thats here my your his her their our the a an number \
    numbers numer nmber num nums no nos nr ids ending ended ends end in with as of be would for last final first digit digits \
    dig on file has and to from other another new old following security holder yes";

/// Words of questions and requests.
const ASKS: &str = "may what whats which can could please provide tell give need share confirm verify enter send type have know let \
    require want help supply state specify";

/// Common words that carry none of this; they are neither codes nor parts of an address.
const PLAIN: &str = "i im me we you u he she they them us do did does done dont not none nope yeah yep yup ya sure ok okay okey k \
    fine hi hii hai hey hello sir madam mam maam man thanks thank thx thnks tnx good great well oops so sorry \
    but or if then than too also now just very much more less all any some got get gets go going went come came \
    see say said says how why when where who there at by up out off into onto per via own same still yet back \
    next ago today lost had been will wont shall should must might like look again hold wait mr mrs ms dr fix \
    bye way use using sent put set take big far few ask run try buy due cover plan kind line part working wrong \
    correct incorrect expired locked invalid weak strong changed reset missing forgotten required needed";

/// Spelled digits.
const DIGITS: &str = "zero oh one two three four five six seven eight nine";

/// Cue words that people mistype; long enough that a slip still shows which one is meant.
const OFTEN_MISTYPED: [(&str, Sense); 11] = [
    ("account", Sense::Names(BankAccount)),
    ("policy", Sense::Names(PolicyNumber)),
    ("claim", Sense::Names(ClaimNumber)),
    ("phone", Sense::Names(Phone)),
    ("mobile", Sense::Names(Phone)),
    ("contact", Sense::Names(Phone)),
    ("credit", Sense::Names(PaymentCard)),
    ("social", Sense::Names(NationalId)),
    ("number", Sense::Link),
    ("password", Sense::Names(Password)),
    ("transfer", Sense::Harmless(Subject::Money)),
];

/// The longest word that is looked up.
const LONGEST_BYTES: usize = 16;
const BUCKETS: usize = 1024;

/// The words by their hash, so that a look-up costs about one comparison.
static VOCABULARY: LazyLock<Vec<Vec<(&'static str, Sense)>>> = LazyLock::new(|| {
    let mut buckets = vec![Vec::new(); BUCKETS];
    let mut add = |list: &'static str, sense| {
        for word in list.split_whitespace() {
            buckets[bucket(word)].push((word, sense));
        }
    };
    NAMES.into_iter().for_each(|(kind, list)| add(list, Sense::Names(kind)));
    add(PLACES, Sense::Place);
    HARMLESS.into_iter().for_each(|(subject, list)| add(list, Sense::Harmless(subject)));
    add(VEHICLES, Sense::Vehicle);
    add(STREETS, Sense::Street);
    add(UNITS, Sense::Unit);
    add(LINKS, Sense::Link);
    add(ASKS, Sense::Ask);
    add(DIGITS, Sense::Digit);
    add(PLAIN, Sense::Plain);
    buckets
});

/// What a word tells.
pub(super) fn sense(word: &str) -> Option<Sense> {
    if word.len() > LONGEST_BYTES {
        return None;
    }
    let known = VOCABULARY[bucket(word)].iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    known.or_else(|| OFTEN_MISTYPED.iter().find(|(meant, _)| is_slip(word, meant))).map(|(_, sense)| *sense)
}

/// Signs of currencies.
pub(super) const CURRENCIES: [char; 7] = ['$', '€', '£', '₹', '¥', '₽', '₩'];

/// The digit that a word stands for.
pub(super) fn spelled_digit(word: &str) -> Option<u8> {
    const OH: (&str, u8) = ("oh", 0);
    let digits = DIGITS.split_whitespace().filter(|digit| *digit != OH.0).zip(0..).chain([OH]);
    digits.into_iter().find(|(digit, _)| digit.eq_ignore_ascii_case(word)).map(|(_, value)| value)
}

/// Where a word is looked for, in any case.
fn bucket(word: &str) -> usize {
    word.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte | 0x20))) % BUCKETS
}

/// Whether `word` is `meant` with one slip of the fingers: a letter too many, one left out, or two swapped. A wrong letter does not count,
/// as it makes other words ("police"); nor does a slip on the first.
fn is_slip(word: &str, meant: &str) -> bool {
    let (word, meant) = (word.as_bytes(), meant.as_bytes());
    if word.len().abs_diff(meant.len()) > 1 || !word[0].eq_ignore_ascii_case(&meant[0]) {
        return false;
    }
    let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    let Some(at) = word.iter().zip(meant).position(|(a, b)| !a.eq_ignore_ascii_case(b)) else {
        return word.len() != meant.len();
    };
    match word.len().cmp(&meant.len()) {
        Ordering::Greater => same(&word[at + 1..], &meant[at..]),
        Ordering::Less => same(&word[at..], &meant[at + 1..]),
        Ordering::Equal => {
            let swapped = word.len() > at + 1 && word[at].eq_ignore_ascii_case(&meant[at + 1]);
            swapped && word[at + 1].eq_ignore_ascii_case(&meant[at]) && same(&word[at + 2..], &meant[at + 2..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_in_two_lists() {
        for (word, _) in VOCABULARY.iter().flatten() {
            let count = VOCABULARY[bucket(word)].iter().filter(|(other, _)| other == word).count();
            assert_eq!(count, 1, "{word}");
            assert!(word.len() <= LONGEST_BYTES, "{word} is never looked up");
        }
    }

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let meant = |kind| Some(Sense::Names(kind));
        for slip in ["polcy", "polciy", "ploicy", "poliicy", "POLICYY"] {
            assert!(sense(slip) == meant(PolicyNumber), "{slip}");
        }
        assert!(sense("cliam") == meant(ClaimNumber) && sense("acount") == meant(BankAccount));
        assert!(sense("police").is_none() && sense("clam") == meant(ClaimNumber) && sense("prone").is_none());
    }
}
