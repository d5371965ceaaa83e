//! One byte of one row of each kind is damaged, past the service: what was damaged is lost, all else works, and `verify` names it.

mod pending;
mod world;

use std::collections::BTreeMap;

use super::*;
use crate::domain::ids::Handle;
use crate::store::rows::Kind;
use world::World;

/// What is asserted after a row was damaged, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Verify,
    ReadAnother,
    EraseAnother,
    EraseRecord,
    EraseSame,
    Restart,
    EraseTenant,
    ReadOtherTenant,
    Restore,
}

/// What a damaged row costs beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Nothing that these operations see.
    Nothing,
    /// No record of the customer is erased alone until the secret of her profile is back: the fresh key would lose it for ever.
    Records,
    /// The customer whose page it is cannot be erased alone until her page is back: she would take the others of that page along.
    Customer,
    /// The log says otherwise, or cannot be read: the running service goes on, and a start refuses and names the way out.
    Start,
    /// Both.
    CustomerAndStart,
}

impl Cost {
    fn is_a_customer(self) -> bool {
        matches!(self, Self::Customer | Self::CustomerAndStart)
    }

    fn is_records(self) -> bool {
        self.is_a_customer() || self == Self::Records
    }

    fn is_a_start(self) -> bool {
        matches!(self, Self::Start | Self::CustomerAndStart)
    }
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::Verify,
        Self::ReadAnother,
        Self::EraseAnother,
        Self::EraseRecord,
        Self::EraseSame,
        Self::Restart,
        Self::EraseTenant,
        Self::ReadOtherTenant,
        Self::Restore,
    ];
}

/// Which secret.
const OF_PROFILE: &str = "of the customer's profile";

struct Case {
    kind: Kind,
    /// Which row of the kind, for the report.
    what: &'static str,
    cost: Cost,
    /// Whether `verify` of the running service can tell.
    is_named: bool,
}

const fn case(kind: Kind, what: &'static str) -> Case {
    Case { kind, what, cost: Cost::Nothing, is_named: true }
}

/// A row that no check can tell from a right one: it is a number, or nothing reads its value.
const fn silent(kind: Kind, what: &'static str) -> Case {
    Case { is_named: false, ..case(kind, what) }
}

/// A row that decides: a start compares it with the log.
const fn deciding(kind: Kind, what: &'static str) -> Case {
    Case { cost: Cost::Start, ..case(kind, what) }
}

fn cases() -> Vec<Case> {
    vec![
        case(Kind::Secret, "of one of the customer's records"),
        Case { cost: Cost::Records, ..case(Kind::Secret, OF_PROFILE) },
        case(Kind::Segment, "of the customer"),
        case(Kind::Record, "of the customer"),
        case(Kind::Profile, "of the customer"),
        case(Kind::Index, "of a record"),
        case(Kind::Upload, "that is under way"),
        Case { cost: Cost::Customer, ..case(Kind::Page, "with the customer's key") },
        // The page is right, and the log vouches for another one.
        Case { cost: Cost::CustomerAndStart, ..case(Kind::PageDigest, "of the page with the customer's key") },
        case(Kind::Reclaim, "of an erased customer"),
        case(Kind::ReclaimRecord, "of an erased record"),
        case(Kind::ReclaimPages, "of an erased tenant"),
        silent(Kind::RefusedJob, "that was put aside"),
        case(Kind::Receipt, "of an erasure"),
        silent(Kind::Request, "that stored a record"),
        silent(Kind::ErasureRequest, "of an erased customer"),
        silent(Kind::Erasures, "of these five minutes"),
        silent(Kind::Usage, "of the tenant"),
        silent(Kind::Seen, "of a reader"),
        silent(Kind::Reads, "of a reader"),
        silent(Kind::ErasedBy, "of the officer"),
        silent(Kind::Approved, "of the officer"),
        silent(Kind::TokenOf, "of the tenant"),
        deciding(Kind::Assignment, "of the customer"),
        deciding(Kind::Glass, "of the customer"),
        deciding(Kind::Tombstone, "of an erased customer"),
        deciding(Kind::Erasing, "that waits"),
        deciding(Kind::Duty, "that is owed"),
        deciding(Kind::TenantErasure, "of an erased tenant"),
        deciding(Kind::Token, "of the tenant"),
        deciding(Kind::Principal, "of the tenant"),
        deciding(Kind::Tenant, "that is no other's"),
        deciding(Kind::Approval, "of the officer"),
        deciding(Kind::LogKey, "of the log"),
        // Held against the tree from the next start on: a block that is not complete yet was hashed by the start.
        Case { is_named: false, ..deciding(Kind::Ledger, "an entry in the last block") },
        // The commitment to what decides is made again with each change, from memory; a start reads it.
        Case { is_named: false, cost: Cost::Nothing, ..deciding(Kind::Deciding, "the only one") },
        silent(Kind::Position, "the only one"),
        Case { is_named: false, ..deciding(Kind::Subtree, "of the first block") },
        Case { is_named: false, ..deciding(Kind::Format, "the only one") },
        Case { is_named: false, ..deciding(Kind::Root, "the only one") },
    ]
}

type Coverage = BTreeMap<Operation, usize>;

/// One case: damages its row at `at`, and tries every operation; with `changes` also those that may replace or remove the damaged row itself.
async fn run(case: &Case, place: &str, at: impl Fn(usize) -> usize, changes: bool, covered: &mut Coverage) {
    let mut count = |operation| *covered.entry(operation).or_default() += 1;
    let mut world = World::build().await;
    let before = world.vault.core.verify(|_| {}).await.unwrap();
    let row = world.target(case).await;
    let at = at(row.1.len());
    let (key, value) = world.damage(row, at);
    let verified = world.vault.core.verify(|_| {}).await.unwrap();
    let named = |verified: &Verified| verified.damaged + verified.missing + verified.damaged_rows;
    if case.is_named {
        assert!(named(&verified) > named(&before), "{place}: verify names nothing: {verified:?}");
        // A page and its digest do not fit: the page is named.
        let named_kind = if case.kind == Kind::PageDigest { Kind::Page } else { case.kind };
        let is_of_kind = verified.named_rows.iter().any(|one| one.kind == named_kind);
        // A record that does not open is named as a record.
        let is_of_record = verified.damaged > before.damaged || verified.missing > before.missing;
        assert!(is_of_kind || is_of_record, "{place}: {verified:?}");
        count(Operation::Verify);
    }
    let bob = world.house.read(&world.vault, world.bob).await;
    assert_eq!(bob, Some(text(60)), "{place}: another customer is not read");
    count(Operation::ReadAnother);
    world.house.erase(&world.vault, &world.cleo).await.unwrap_or_else(|error| panic!("{place}: another: {error}"));
    count(Operation::EraseAnother);
    if !changes {
        return restore(world, case, place, false, covered).await;
    }
    // A record that is not damaged, of the customer whose rows are.
    let part = world.house.erase_part(&world.vault, Part::Record(world.records[3])).await;
    match case.cost.is_records() {
        true => {
            assert!(matches!(part, Err(ref error) if error.is_damage()), "{place}: {part:?}");
            let stored = world.vault.core.db.get(&key).unwrap();
            assert!(case.cost != Cost::Records || stored == Some(value), "{place}: it is not kept for a restore");
        }
        false => {
            part.unwrap_or_else(|error| panic!("{place}: a record of the same: {error}"));
            assert_eq!(world.house.read(&world.vault, world.records[3]).await, None, "{place}");
            let again = world.house.erase_part(&world.vault, Part::Record(world.records[3])).await;
            again.unwrap_or_else(|error| panic!("{place}: a repeat: {error}"));
            count(Operation::EraseRecord);
        }
    }
    let erased = world.house.erase(&world.vault, "ada").await;
    match case.cost.is_a_customer() {
        true => assert!(matches!(erased, Err(ref error) if error.is_damage()), "{place}: {erased:?}"),
        false => {
            erased.unwrap_or_else(|error| panic!("{place}: the same: {error}"));
            assert!(world.vault.core.tree.customer_key(world.house.tenant, world.ada).unwrap().is_none(), "{place}");
            count(Operation::EraseSame);
        }
    }
    world.vault.reclaim().await.unwrap_or_else(|error| panic!("{place}: reclaim: {error}"));
    assert!(world.reads_other_tenant().await || case.kind == Kind::Tenant, "{place}: the other tenant is not read");
    if !case.cost.is_a_start() {
        world = world.close().await.open().await.unwrap_or_else(|error| panic!("{place}: restart: {error}"));
        count(Operation::Restart);
        world.house.erase(&world.vault, &world.late).await.unwrap_or_else(|error| panic!("{place}: late: {error}"));
    }
    world.erase_tenant().await.unwrap_or_else(|error| panic!("{place}: the tenant: {error}"));
    count(Operation::EraseTenant);
    world.vault.reclaim().await.unwrap_or_else(|error| panic!("{place}: reclaim of the tenant: {error}"));
    assert!(world.reads_other_tenant().await || case.kind == Kind::Tenant, "{place}: the other tenant is not read");
    count(Operation::ReadOtherTenant);
    // Nobody replaces what is not as logged: it is not acted on.
    let is_acted_on = matches!(case.kind, Kind::Erasing | Kind::Duty);
    let is_still_there = is_acted_on || matches!(case.kind, Kind::TenantErasure | Kind::Tenant | Kind::LogKey);
    restore(world, case, place, !is_still_there, covered).await;
}

/// The damaged database is given up, and the data comes back from the mirror, which never saw the damage. Where the service replaced or removed
/// the damaged row by then (`is_replaced`), a start goes on all the same.
async fn restore(world: World, case: &Case, place: &str, is_replaced: bool, covered: &mut Coverage) {
    restore_drill::mirrored(&world.vault).await;
    let stopped = world.close().await;
    let house = &stopped.house;
    if case.cost.is_a_start() {
        let refused = Vault::open(house.paths(), house.limits.clone()).await.map(drop);
        let words = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
        println!("fault matrix: {place}: a start says {words:?}");
        match is_replaced {
            true => assert!(refused.is_ok(), "{place}: {words}"),
            false => {
                let is_named = words.contains("restore") || words.contains("put the newest");
                assert!(refused.is_ok() || is_named, "{place}: {words}");
            }
        }
    }
    house.lose_the_disk();
    house.restore(Sort::Whole, None).await.unwrap_or_else(|error| panic!("{place}: restore: {error}"));
    let world = stopped.open().await.unwrap_or_else(|error| panic!("{place}: after a restore: {error}"));
    assert!(world.reads_other_tenant().await, "{place}: the other tenant is not read after a restore");
    world.vault.close().await;
    *covered.entry(Operation::Restore).or_default() += 1;
}

/// Which byte of a row of a length, and what that is called.
type Place = (fn(usize) -> usize, &'static str);

/// Tries one case, in a runtime of its own; what it covered, or that something else was lost.
fn try_case(number: usize) -> Result<Coverage, String> {
    const PLACES: [Place; 3] = [
        (|length| length / 2, "the middle"),
        (|length| length.saturating_sub(1), "the end"),
        (|length| length / 4, "a quarter"),
    ];
    // Which byte is damaged goes round.
    let (at, which) = PLACES[number % PLACES.len()];
    let case = cases().swap_remove(number);
    let named = format!("{:?} {}", case.kind, case.what);
    let tried = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (case, mut covered) = (&case, Coverage::new());
            let place = |which| format!("{:?} {}, {which}", case.kind, case.what);
            let whole = [Kind::Root, Kind::Format, Kind::Position, Kind::Deciding, Kind::Subtree, Kind::Ledger];
            if whole.contains(&case.kind) {
                for (at, which) in PLACES {
                    run_at_start(case, &place(which), at, &mut covered).await;
                }
            } else {
                run(case, &place(which), at, true, &mut covered).await;
                if case.cost.is_a_start() {
                    run(case, &place(which), at, false, &mut covered).await;
                }
            }
            covered
        })
    });
    tried.join().map_err(|_| named)
}

/// Tries those cases that `is_mine` names; prints what was covered.
fn run_all(is_mine: impl Fn(usize) -> bool) {
    let (mut covered, mut failed, mut kinds) = (Coverage::new(), Vec::new(), 0);
    for number in (0..cases().len()).filter(|number| is_mine(*number)) {
        match try_case(number) {
            Ok(one) => one.into_iter().for_each(|(operation, count)| *covered.entry(operation).or_default() += count),
            Err(place) => failed.push(place),
        }
        kinds += 1;
    }
    println!("fault matrix: {kinds} kinds, {covered:?}");
    assert!(failed.is_empty(), "{failed:#?}");
    for operation in Operation::ALL {
        assert!(covered.get(&operation).is_some_and(|count| *count > 0), "{operation:?} was never tried: {covered:?}");
    }
}

/// A row on which the database as a whole rests: what runs goes on, and a start either goes on or refuses and names the way out.
async fn run_at_start(case: &Case, place: &str, at: impl Fn(usize) -> usize, covered: &mut Coverage) {
    let world = World::build().await;
    let row = world.target(case).await;
    let at = at(row.1.len());
    world.damage(row, at);
    let bob = world.house.read(&world.vault, world.bob).await;
    assert_eq!(bob, Some(text(60)), "{place}: another customer is not read");
    *covered.entry(Operation::ReadAnother).or_default() += 1;
    let erased = world.house.erase(&world.vault, &world.cleo).await;
    assert!(erased.is_ok() || case.kind == Kind::Root, "{place}: {erased:?}");
    assert!(world.reads_other_tenant().await, "{place}");
    *covered.entry(Operation::ReadOtherTenant).or_default() += 1;
    restore(world, case, place, false, covered).await;
}

#[test]
fn the_fault_matrix_has_every_kind_of_row() {
    let tried: Vec<Kind> = cases().iter().map(|case| case.kind).collect();
    let missing: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !tried.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn fault_matrix_one_damaged_row_costs_only_itself_even() {
    run_all(|number| number % 2 == 0);
}

#[test]
fn fault_matrix_one_damaged_row_costs_only_itself_odd() {
    run_all(|number| number % 2 == 1);
}
