//! Whether a record is absent, another tenant's, erased, being erased, or not for this caller: the answer is the same to the last byte, in any
//! order. That it takes the same time, too, is measured by `benches/access.rs`.

use std::collections::{BTreeMap, BTreeSet};

use tonic::{Code, Status};

use crate::chance::Chance;
use crate::oracle_house::{House, Read};
use crate::tell;
use crate::wire::reason;

const SAMPLES: usize = 500;

/// All that a caller sees of a refusal, but for the clock of the server.
type Seen = (String, Vec<u8>, BTreeMap<String, Vec<u8>>);

fn seen(status: &Status) -> Seen {
    let mut headers = status.metadata().clone().into_headers();
    headers.remove("date");
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    (status.message().to_owned(), status.details().to_vec(), headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_absent_foreign_erased_or_forbidden_is_refused_in_the_same_bytes() {
    let mut chance = Chance::of_test("oracle");
    let house = House::build().await;
    house.assert_open().await;
    let mut answers: BTreeMap<Seen, BTreeSet<String>> = BTreeMap::new();
    let mut of_class = vec![0; house.classes.len()];
    for _ in 0..SAMPLES {
        let at = chance.below(house.classes.len());
        let (class, read) = (&house.classes[at], *chance.one_of(&Read::ALL));
        let status = house.refusal(class, read, chance.below(usize::MAX)).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND"),
            "{}: {status:?}",
            class.name
        );
        answers.entry(seen(&status)).or_default().insert(format!("{}, {read:?}", class.name));
        of_class[at] += 1;
    }
    assert_eq!(answers.len(), 1, "classes can be told apart: {answers:#?}");
    assert!(of_class.iter().all(|samples| *samples > 0));
    let names: Vec<&str> = house.classes.iter().map(|class| class.name).collect();
    tell(&format!("oracle: {SAMPLES} samples of {names:?}, one answer: {:?}", answers.keys().next().unwrap()));
    house.assert_open().await;
    house.close().await;
}
