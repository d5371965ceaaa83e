//! Revisions of a chat: the newest is shown, the others stay until they are erased, each for itself or all with the record.

use super::*;
use crate::domain::ids::CaseId;
use crate::vault::Ended;

const FIRST: Revision = Revision::FIRST;
const SECOND: Revision = Revision(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revised_chat_shows_its_newest_revision_and_keeps_the_others_until_they_are_erased() {
    let house = House::build().await;
    let vault = house.open().await;
    let chat_of_ada = house.store(&vault, "ada", 100).await.unwrap();
    house.store(&vault, "bob", 100).await.unwrap();
    let used = vault.core.usage(house.tenant).unwrap();
    // Longer than what else would go to objects: a revision is always in rows.
    assert_eq!(house.revise(&vault, (chat_of_ada, FIRST), "ada", 9_000).await.unwrap(), SECOND);
    assert_eq!(house.revise(&vault, (chat_of_ada, FIRST), "ada", 9_000).await.unwrap(), SECOND, "a repeat");
    assert_eq!((house.list(&vault, "ada").await, house.objects()), (1, 0));
    assert_eq!(vault.core.usage(house.tenant).unwrap().records, used.records, "a revision is no record");
    for (revision, length) in [(None, Some(9_000)), (Some(2), Some(9_000)), (Some(1), Some(100)), (Some(3), None)] {
        let read = house.read_revision(&vault, chat_of_ada, revision).await;
        assert_eq!(read.map(|text| text.len()), length, "revision {revision:?}");
    }
    let again = vault
        .revise_transcript(house.permit(Action::ReviseTranscript), (chat_of_ada, FIRST), chat("ada", 70), request("z"))
        .await
        .map(drop);
    assert!(matches!(again, Err(VaultError::RevisionOutdated { newest: 2 })), "{again:?}");
    for of in ["bob", "nobody"] {
        let other = vault
            .revise_transcript(house.permit(Action::ReviseTranscript), (chat_of_ada, SECOND), chat(of, 70), request(of))
            .await
            .map(drop);
        assert!(other.is_err(), "a record of ada was revised as one of {of}");
    }

    let newest = house.erase_part(&vault, Part::Revision(chat_of_ada, SECOND)).await;
    assert!(matches!(newest, Err(VaultError::RevisionIsNewest)), "{newest:?}");
    let unknown = house.erase_part(&vault, Part::Revision(chat_of_ada, Revision(3))).await;
    assert!(matches!(unknown, Err(VaultError::NotFound)), "{unknown:?}");
    let receipt = house.erase_part(&vault, Part::Revision(chat_of_ada, FIRST)).await.unwrap();
    assert_eq!(receipt.erased.subject, crate::domain::erasure::Subject::Revision);
    assert_eq!(house.erase_part(&vault, Part::Revision(chat_of_ada, FIRST)).await.unwrap(), receipt);
    let again = vault
        .erase(
            house.permit(Action::EraseRecord),
            Target::Part(Part::Revision(chat_of_ada, FIRST)),
            erasure_of("another-request"),
        )
        .await
        .map(drop);
    assert!(matches!(again, Err(VaultError::RecordErased)), "{again:?}");
    for reclaimed in [false, true] {
        assert_eq!(house.read_revision(&vault, chat_of_ada, Some(1)).await, None, "reclaimed: {reclaimed}");
        assert_eq!(house.read(&vault, chat_of_ada).await, Some(text(9_000)), "reclaimed: {reclaimed}");
        assert_eq!(house.list(&vault, "ada").await, 1, "reclaimed: {reclaimed}");
        vault.reclaim().await.unwrap();
    }
    assert_eq!(vault.core.usage(house.tenant).unwrap().records, 2);
    house.erase_part(&vault, Part::Record(chat_of_ada)).await.unwrap();
    assert_eq!(house.read(&vault, chat_of_ada).await, None);
    vault.reclaim().await.unwrap();
    let left = vault.core.usage(house.tenant).unwrap();
    assert_eq!((left.records, left.content_bytes < used.content_bytes), (1, true));
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_by_what_its_newest_revision_says() {
    let house = House::build().await;
    let vault = house.open().await;
    let new = |of: &str, case: &str, agent: &str, length: usize| {
        let mut new = chat(of, length);
        new.details.case_id = Some(CaseId::parse(case).unwrap());
        new.details.agent = Some(PrincipalName::parse(agent).unwrap());
        new
    };
    let create = |new, name| vault.create_transcript(house.permit(Action::CreateTranscript), new, request(name));
    let id = create(new("ada", "S-1", "kim", 60), "a").await.unwrap().content.id;
    create(new("bob", "S-1", "lee", 60), "c").await.unwrap();
    let permit = house.permit(Action::ReviseTranscript);
    vault.revise_transcript(permit, (id, FIRST), new("ada", "S-2", "kim", 70), request("b")).await.unwrap();
    let found = async |by: FindBy| {
        let door = Arc::new(house.permit(Action::ListRecords));
        let filter = RecordFilter { by, started_from: None, started_before: None };
        let page = Page { question: [0; 32], mark: None, size: 100 };
        let (access, through) = (Access::new(Policies::default_policy()), Arc::clone(&door));
        let found = vault.find(&door, &filter, page, move |facts| access.record(&through, facts).ok()).await.unwrap();
        found.permits.iter().map(|permit| permit.resource().revision.0).collect::<Vec<_>>()
    };
    for erased in [false, true] {
        let of_case = |of: &str, case: &str| FindBy::Case(customer(of), CaseId::parse(case).unwrap());
        assert_eq!(found(of_case("ada", "S-1")).await, Vec::<u32>::new(), "erased: {erased}");
        assert_eq!(found(of_case("ada", "S-2")).await, [2], "erased: {erased}");
        assert_eq!(found(of_case("bob", "S-1")).await, [1], "erased: {erased}");
        assert_eq!(found(of_case("bob", "S-2")).await, Vec::<u32>::new(), "erased: {erased}");
        assert_eq!(found(FindBy::Agent(PrincipalName::parse("kim").unwrap())).await, [2], "erased: {erased}");
        assert_eq!(found(FindBy::Customer(customer("ada"))).await, [2], "erased: {erased}");
        let mut all = found(FindBy::Tenant).await;
        all.sort_unstable();
        assert_eq!(all, [1, 2], "erased: {erased}");
        if !erased {
            house.erase_part(&vault, Part::Revision(id, FIRST)).await.unwrap();
            vault.reclaim().await.unwrap();
        }
    }
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_revise_the_same_chat_at_once_one_is_told_that_there_is_a_newer_one() {
    let house = House::build().await;
    let vault = house.open().await;
    for round in 0..20 {
        let of = format!("customer-{round}");
        let id = house.store(&vault, &of, 60).await.unwrap();
        let one = |length| {
            let (permit, name) = (house.permit(Action::ReviseTranscript), format!("{round}.{length}"));
            vault.revise_transcript(permit, (id, FIRST), chat(&of, length), request(&name))
        };
        let (first, second) = tokio::join!(one(70), one(80));
        let lengths = [(&first, 70), (&second, 80)].map(|(revised, length)| revised.is_ok().then_some(length));
        let stored: Vec<usize> = lengths.into_iter().flatten().collect();
        assert_eq!(stored.len(), 1, "round {round}");
        let refused = first.map(drop).err().or(second.map(drop).err());
        assert!(matches!(refused, Some(VaultError::RevisionOutdated { newest: 2 })), "round {round}: {refused:?}");
        assert_eq!(house.read(&vault, id).await.map(|text| text.len()), Some(stored[0]));
    }
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_revisions_of_many_segments_and_their_customer_are_erased_at_once() {
    let limits = VaultLimits { segment_secrets: 2, epoch_window: Duration::from_millis(1_500), ..limits() };
    let house = House::with(limits).await;
    let vault = house.open().await;
    let mut records = Vec::new();
    for number in 0..24 {
        let of = ["ada", "bob"][number % 2];
        let new = vault.create_transcript(
            house.permit(Action::CreateTranscript),
            chat(of, 60),
            request(&format!("of-{number}")),
        );
        let id = new.await.unwrap().content.id;
        house.revise(&vault, (id, FIRST), of, 70).await.unwrap();
        records.push(id);
    }
    let stays = records.split_off(20);
    // One epoch first, so that all others wait for the window together.
    house.store(&vault, "cara", 60).await.unwrap();
    house.erase(&vault, "cara").await.unwrap();
    let parts = records.iter().enumerate().map(|(number, id)| match number % 3 {
        0 => Part::Revision(*id, FIRST),
        _ => Part::Record(*id),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for part in parts.clone() {
        let (vault, permit) = (Arc::clone(&vault), house.permit(Action::EraseRecord));
        let request = erasure_of(&format!("{}", part.record()));
        tasks
            .spawn(async move { vault.erase(permit, Target::Part(part), request).await.unwrap().receipt.erased.epoch });
    }
    // Asked for last, within the window.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let bob = house.erase(&vault, "bob").await.unwrap().erased.epoch;
    let epochs = tasks.join_all().await;
    // Every epoch loses three segments at most; and the customer goes with the last of them, so that no record loses it before.
    assert!(epochs.iter().max().unwrap() - epochs.iter().min().unwrap() >= 3, "{epochs:?}");
    assert!(epochs.iter().all(|epoch| *epoch <= bob), "{epochs:?}, the customer in {bob}");
    for (number, (id, part)) in records.iter().zip(parts).enumerate() {
        let stays = number % 2 == 0 && part.revision().is_some();
        assert_eq!(house.read(&vault, *id).await.map(|text| text.len()), stays.then_some(70), "{number}");
        assert_eq!(house.read_revision(&vault, *id, Some(1)).await, None, "{number}");
    }
    for (number, id) in stays.iter().enumerate() {
        assert_eq!(house.read(&vault, *id).await.is_some(), number % 2 == 0, "a record of {number}");
    }
    assert_eq!(house.final_erasures(&vault), 22);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_was_read_before_its_revision_was_erased_does_not_leave_after_it() {
    let house = House::build().await;
    let vault = house.open().await;
    let id = house.store(&vault, "ada", 60).await.unwrap();
    let read = async |revision: Option<Revision>| {
        let door = house.permit(Action::GetTranscript);
        let facts = vault.facts(&door, id, revision).await.unwrap().unwrap();
        vault.get_transcript(house.access.record(&door, facts).unwrap()).await.unwrap()
    };
    let wrong = read(None).await;
    house.revise(&vault, (id, FIRST), "ada", 70).await.unwrap();
    let right = read(None).await;
    house.erase_part(&vault, Part::Revision(id, FIRST)).await.unwrap();
    assert!(wrong.watches.iter().all(|watch| watch.ended() == Some(Ended::Erased)), "what was erased may still leave");
    assert!(!right.watches.iter().any(|watch| watch.ended().is_some()), "the newest revision is cut off");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_erased_is_not_revised_while_its_rows_wait_to_be_removed_nor_in_a_race() {
    let house = House::build().await;
    let vault = house.open().await;
    let keeper = house.store(&vault, "ada", 60).await.unwrap();
    let secrets = |vault: &Vault| {
        let (from, to) = rows::all(rows::Kind::Secret);
        vault.core.db.range(&from, &to, 4096).unwrap().len()
    };
    let before = secrets(&vault);
    for round in 0..40 {
        let name = format!("chat-{round}");
        let stored =
            vault.create_transcript(house.permit(Action::CreateTranscript), chat("ada", 60), request(&name)).await;
        let id = stored.unwrap().content.id;
        if round == 0 {
            house.erase_part(&vault, Part::Record(id)).await.unwrap();
            let late = house.revise(&vault, (id, FIRST), "ada", 70).await;
            assert!(matches!(late, Err(VaultError::RecordErased)), "{late:?}");
            continue;
        }
        let (erased, revised) =
            tokio::join!(house.erase_part(&vault, Part::Record(id)), house.revise(&vault, (id, FIRST), "ada", 70));
        erased.unwrap();
        // Stored before the erasure began, or refused: never after it.
        assert!(matches!(revised, Ok(SECOND) | Err(VaultError::RecordErased | VaultError::NotFound)), "{revised:?}");
        assert_eq!(house.read(&vault, id).await, None, "round {round}");
        if round % 3 == 0 {
            vault.reclaim().await.unwrap();
        }
    }
    vault.reclaim().await.unwrap();
    assert_eq!(secrets(&vault), before, "a secret of a record that is gone is left");
    assert!(house.read(&vault, keeper).await.is_some());
    vault.close().await;
}
