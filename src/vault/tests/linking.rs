//! Linking: who has one image of the database and everything of today gets from an erased person's id to a tombstone, and no further.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::crypto::key_wrap;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::domain::grant::CaseAssignment;
use crate::domain::ids::{BlindIndex, CaseId, Handle, Pseudonym, ReceiptId};
use crate::keys::TenantKeys;
use crate::store::Database;
use crate::vault::format::{RequestRow, encode_tombstone};
use crate::vault::tree::pseudonym;

const PEOPLE: usize = 60;
/// Who works on the cases.
const AGENT: &str = "one";

type Image = BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows, as one image holds them.
fn image(db: &dyn Database) -> Image {
    let (mut rows, mut from) = (BTreeMap::new(), vec![0]);
    loop {
        let some = db.range(&from, &[0xff; 64], 1024).unwrap();
        let Some((last, _)) = some.last() else { return rows };
        from = rows::behind(last.clone());
        rows.extend(some);
    }
}

fn holds(row: (&Vec<u8>, &Vec<u8>), bytes: &[u8]) -> bool {
    let within = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
    within(row.0) || within(row.1)
}

struct Person {
    pseudonym: Pseudonym,
    handle: Handle,
    record: RecordId,
    /// The rows of the request that stored the record, and of the one that erased the person. The platform knows both ids.
    requests: [Vec<u8>; 2],
    /// Of her erasure.
    receipt: ReceiptId,
    final_at: Timestamp,
}

/// Stores a chat for each person. Then, in another order, each is heard of for the last time and erased, as it happens to people who ask for
/// it after a talk.
async fn come_and_go(house: &House, vault: &Arc<Vault>) -> Vec<Person> {
    let keys = vault.core.tenant_keys(house.tenant).unwrap();
    // Each is erased on the word of a second person, but for the first.
    house.approve(vault, PEOPLE as u32).await;
    let mut here = Vec::new();
    for number in 0..PEOPLE {
        let name = format!("person-{number:03}");
        let mut new = chat(&name, 40);
        new.details.case_id = Some(case_of(&name));
        let permit = house.permit(Action::CreateTranscript);
        let id = vault.create_transcript(permit, new, request(&name)).await.unwrap().content.id;
        let assignment = CaseAssignment {
            customer: customer(&name),
            case: case_of(&name),
            assignee: PrincipalName::parse(AGENT).unwrap(),
            expires: Timestamp::now().plus_ms(600_000),
        };
        vault.assign_case(house.permit(Action::AssignCase), assignment).await.unwrap();
        here.push((name, id));
    }
    let mut people = Vec::new();
    while !here.is_empty() {
        let (name, id) = here.swap_remove((people.len() * 7 + 3) % here.len());
        house.read(vault, id).await.unwrap();
        let pseudonym = pseudonym(&keys, &customer(&name));
        let handle = vault.core.tree.handle(house.tenant, pseudonym).unwrap().unwrap();
        let receipt = house.erase(vault, &name).await.unwrap();
        let (receipt, final_at) = (receipt.erased.receipt, receipt.erased.final_at);
        let requests = request_rows(house, &keys, &name);
        people.push(Person { pseudonym, handle, record: id, requests, receipt, final_at });
        // Times are in milliseconds: no two are the same.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    people
}

/// Where the requests about a person are answered. Both rows are found by the index key, which stays.
fn request_rows(house: &House, keys: &TenantKeys, name: &str) -> [Vec<u8>; 2] {
    let (alias, code) = ([7; 16], [Action::CreateTranscript.code()]);
    let (stored, erased) = (request(name).id, erasure_of(name));
    let by = |field, parts: &[&[u8]]| BlindIndex(blind(&keys.index, field, parts));
    let stored = by("request", &[&code, &alias, stored.as_str().as_bytes()]);
    let erased = by("erasure request", &[&alias, erased.as_str().as_bytes(), b""]);
    [rows::request(house.tenant, stored), rows::erasure_request(house.tenant, erased)]
}

/// The case of a person, whose id the platform knows.
fn case_of(name: &str) -> CaseId {
    CaseId::parse(&format!("case of {name}")).unwrap()
}

/// What the index key, which stays, makes of the case of a person: rows of layout 1 held these beside the person's handle.
fn hashes_of_case(keys: &TenantKeys, name: &str) -> [[u8; 16]; 2] {
    let case = case_of(name);
    let assigned = [case.as_str().as_bytes(), AGENT.as_bytes()];
    [blind(&keys.index, "case", &[case.as_str().as_bytes()]), blind(&keys.index, "assignment", &assigned)]
}

/// What confirms a guess of all that a request asked, as a row of layout 1 held it in the clear.
fn fingerprint_of_guess(keys: &TenantKeys, name: &str) -> [u8; 16] {
    blind(&keys.index, "request content", &[&[Action::CreateTranscript.code()], &request(name).hash])
}

/// Something by which people can be put in an order, each with its value; `None` where the image has none of hers.
type Observable = (String, Vec<Option<Vec<u8>>>);

/// All that an image and the keys of now show of each tombstone: its key, its bytes, what it says, and any eight bytes of it as a number.
fn of_tombstones(rows: &Image, house: &House, people: &[Person], settings: &Key) -> Vec<Observable> {
    let keys: Vec<_> = people.iter().map(|person| rows::tombstone(house.tenant, person.pseudonym)).collect();
    let sealed: Vec<_> = keys.iter().map(|key| rows[key].clone()).collect();
    let plain: Vec<_> = keys.iter().map(|key| key_wrap::open(settings, key, &rows[key]).unwrap().to_vec()).collect();
    let of = |what: &str, values: &[Vec<u8>]| (what.to_owned(), values.iter().cloned().map(Some).collect());
    let mut seen = vec![of("key", &keys), of("bytes", &sealed), of("plain", &plain)];
    let lengths: Vec<_> = sealed.iter().map(|bytes| bytes.len().to_be_bytes().to_vec()).collect();
    seen.push(of("length", &lengths));
    for (what, values) in [("bytes", &sealed), ("plain", &plain)] {
        for at in 0..values.iter().map(Vec::len).max().unwrap().saturating_sub(7) {
            let window = values.iter().map(|bytes| bytes.get(at..at + 8).map(<[u8]>::to_vec)).collect();
            seen.push((format!("{what} from {at} on"), window));
        }
    }
    // The rows of requests lead from the person as well. Of each: the day that the settings key opens, and any eight bytes.
    for (at, what) in ["request", "erasure's request"].into_iter().enumerate() {
        let values: Vec<_> = people.iter().map(|person| rows.get(&person.requests[at]).cloned()).collect();
        assert!(values.iter().all(Option::is_some), "the image has no row of a {what}");
        seen.push((format!("bytes of the {what}"), values.clone()));
        for from in 0..values.iter().flatten().map(Vec::len).min().unwrap().saturating_sub(7) {
            let window = values.iter().flatten().map(|bytes| bytes.get(from..from + 8).map(<[u8]>::to_vec)).collect();
            seen.push((format!("{what} from {from} on"), window));
        }
    }
    let day = |person: &Person| {
        let row = &person.requests[0];
        RequestRow::decode(&rows[row]).unwrap().day.open(settings, row).map(|day| day.to_be_bytes().to_vec())
    };
    seen.push(("day of the request".to_owned(), people.iter().map(day).collect()));
    seen
}

/// All that an image shows of each handle that no key leads to any more: itself, where the ledger names it first and last, when its record
/// came, and what still stands under it.
fn of_handles(rows: &Image, people: &[Person]) -> Vec<Observable> {
    let found = |person: &Person, kind: rows::Kind| -> Vec<(Vec<u8>, Vec<u8>)> {
        let (from, to) = rows::all(kind);
        let about = rows.range(from..to).filter(|row| holds(*row, &person.handle.0));
        about.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let of = |what: &str, seen: &dyn Fn(&Person) -> Option<Vec<u8>>| {
        (what.to_owned(), people.iter().map(seen).collect::<Vec<_>>())
    };
    let key_of = |row: &(Vec<u8>, Vec<u8>)| row.0.clone();
    let mut seen = vec![
        of("handle", &|person| Some(person.handle.0.to_vec())),
        of("first in the ledger", &|person| found(person, rows::Kind::Ledger).first().map(key_of)),
        of("last in the ledger", &|person| found(person, rows::Kind::Ledger).last().map(key_of)),
        of("record", &|person| found(person, rows::Kind::Record).first().map(key_of)),
        of("secret's key", &|person| found(person, rows::Kind::Secret).last().map(|row| row.0[17..].to_vec())),
    ];
    let kinds = {
        use rows::Kind::{Assignment, Index, Profile, Reclaim, Secret, Seen};
        [Profile, Secret, Reclaim, Index, Seen, Assignment]
    };
    for kind in kinds {
        seen.push(of(&format!("bytes of {kind:?}"), &|person| found(person, kind).first().map(|row| row.1.clone())));
        seen.push(of(&format!("count of {kind:?}"), &|person| {
            Some(vec![u8::try_from(found(person, kind).len()).unwrap()])
        }));
    }
    seen
}

/// The place of each in the order of the values; who has the same has the mean of their places.
fn ranks(values: &[Option<Vec<u8>>]) -> Vec<f64> {
    let place = |value: &Option<Vec<u8>>| {
        let before = values.iter().filter(|other| *other < value).count();
        let same = values.iter().filter(|other| *other == value).count();
        before as f64 + (same as f64 - 1.0) / 2.0
    };
    values.iter().map(place).collect()
}

/// Spearman's correlation of two orders: 1 and -1 where one tells the other, about 0 where it does not. An order in which all are the same
/// tells nothing.
fn correlation(one: &[Option<Vec<u8>>], other: &[Option<Vec<u8>>]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    let mean = (one.len() as f64 - 1.0) / 2.0;
    let sum = |pairs: &mut dyn Iterator<Item = (f64, f64)>| pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let both = sum(&mut one.iter().copied().zip(other.iter().copied()));
    let spread = sum(&mut one.iter().map(|a| (*a, *a))) * sum(&mut other.iter().map(|b| (*b, *b)));
    if spread == 0.0 { 0.0 } else { both / spread.sqrt() }
}

/// The strongest correlation of anything about the tombstones with anything about the handles, and how many pairs of such there were.
fn strongest(rows: &Image, house: &House, people: &[Person], settings: &Key) -> (f64, String, usize) {
    let (tombstones, handles) = (of_tombstones(rows, house, people, settings), of_handles(rows, people));
    let mut strongest = (0.0, String::new());
    for (what, values) in &tombstones {
        for (other, of_handle) in &handles {
            let found = correlation(values, of_handle).abs();
            if found > strongest.0 {
                strongest = (found, format!("{what} with {other}"));
            }
        }
    }
    (strongest.0, strongest.1, tombstones.len() * handles.len())
}

/// With sixty people, two orders that have nothing to do with each other come this near with a chance of less than 1 in a billion; that one
/// pair of the few hundred does, of less than 1 in a million.
const BY_CHANCE: f64 = 0.75;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_gets_from_an_erased_persons_id_to_a_tombstone_and_nowhere_else() {
    for reclaimed in [false, true] {
        let house = House::with(approvals::erasing_alone(1)).await;
        let vault = house.open().await;
        let people = come_and_go(&house, &vault).await;
        if reclaimed {
            vault.reclaim().await.unwrap();
        }
        let rows = image(vault.core.db.as_ref());
        let tenant = vault.core.tenant_keys(house.tenant).unwrap();
        let mut opened = BTreeSet::new();
        for person in &people {
            let place = format!("reclaimed: {reclaimed}, person {:?}", person.pseudonym);
            let about: Vec<_> = rows.iter().filter(|row| holds(*row, &person.pseudonym.0)).collect();
            let tombstone = rows::tombstone(house.tenant, person.pseudonym);
            assert_eq!(about.len(), 1, "{place}: more than a tombstone names her: {about:?}");
            assert_eq!(about[0].0, &tombstone);
            let plain = key_wrap::open(&tenant.settings, &tombstone, about[0].1).unwrap();
            assert_eq!(plain, encode_tombstone(), "{place}: the tombstone says more than that it is one");
            opened.insert(about[0].1.len());
            for row in &person.requests {
                let (row, bytes) = rows.get_key_value(row).expect("requests are not forgotten yet");
                for (what, leads) in [
                    ("the record", &person.record.as_bytes()[..]),
                    ("the handle", &person.handle.0),
                    ("the receipt", &person.receipt.0),
                    ("the pseudonym", &person.pseudonym.0),
                ] {
                    assert!(!holds((row, bytes), leads), "{place}: a request's row leads to {what}");
                }
            }
            let of_handle = rows.iter().filter(|row| holds(*row, &person.handle.0));
            for (key, _) in of_handle {
                let kinds = [rows::Kind::Ledger, rows::Kind::Record, rows::Kind::Secret, rows::Kind::Profile]
                    .into_iter()
                    .chain([rows::Kind::Reclaim, rows::Kind::Index, rows::Kind::Seen, rows::Kind::Assignment]);
                assert!(kinds.into_iter().any(|kind| key[0] == kind as u8), "{place}: a row of kind {:#x}", key[0]);
            }
        }
        assert_eq!(opened.len(), 1, "tombstones differ in length");
        let confirmed: Vec<_> = (0..PEOPLE)
            .map(|number| fingerprint_of_guess(&tenant, &format!("person-{number:03}")))
            .filter(|guess| rows.iter().any(|row| holds(row, guess)))
            .collect();
        assert!(confirmed.is_empty(), "{} guesses of erased texts are confirmed", confirmed.len());
        let of_cases = (0..PEOPLE).flat_map(|number| hashes_of_case(&tenant, &format!("person-{number:03}")));
        let led = of_cases.filter(|hash| rows.iter().any(|row| holds(row, hash))).count();
        assert_eq!(led, 0, "known cases lead to handles of erased persons");
        let (found, what, pairs) = strongest(&rows, &house, &people, &tenant.settings);
        println!("linking, reclaimed: {reclaimed}: {pairs} pairs of orders, the nearest {found:.2} ({what})");
        assert!(found < BY_CHANCE, "{what}: {found:.2}: which handle was whose can be told better than by chance");
        // With a tombstone that says only a little more, the same look tells whose each handle was.
        for (planted, more) in [
            ("its receipt", &(|person: &Person| person.receipt.0.to_vec()) as &dyn Fn(&Person) -> Vec<u8>),
            ("its time", &|person| person.final_at.as_ms().to_be_bytes().to_vec()),
        ] {
            let mut rows = rows.clone();
            for person in &people {
                let key = rows::tombstone(house.tenant, person.pseudonym);
                let plain = [encode_tombstone().as_slice(), &more(person)].concat();
                rows.insert(key.clone(), key_wrap::seal(&tenant.settings, &key, &plain));
            }
            let (found, what, _) = strongest(&rows, &house, &people, &tenant.settings);
            assert!(found > 0.95, "a tombstone with {planted} was planted, and is not seen: {found:.2} ({what})");
        }
        vault.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_of_a_moment_in_which_an_erasure_is_pending_finds_no_row_with_person_and_handle() {
    let mut seen = 0;
    for after in 0..MANY {
        let house = House::build().await;
        let vault = house.open().await;
        house.store(&vault, "ada", 40).await.unwrap();
        let keys = vault.core.tenant_keys(house.tenant).unwrap();
        let ada = pseudonym(&keys, &customer("ada"));
        let handle = vault.core.tree.handle(house.tenant, ada).unwrap().unwrap();
        house.fault.arm(after, true);
        let erased = house.erase(&vault, "ada").await;
        let rows = image(vault.core.db.as_ref());
        let both = rows.iter().find(|row| holds(*row, &ada.0) && holds(*row, &handle.0));
        assert!(both.is_none(), "operation {after}: {both:?}");
        seen += usize::from(erased.is_err() && rows.contains_key(&rows::tombstone(house.tenant, ada)));
        vault.close().await;
        if house.fault.was_missed() {
            break;
        }
    }
    assert!(seen > 5, "{seen} moments in which it was pending");
}
