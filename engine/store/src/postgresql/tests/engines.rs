//! Several engines on one database: what one writes holds for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fhir::ResourceType::{self, Organization, Patient};
use time::OffsetDateTime;

use crate::processes::{ExternalFetch, InstanceState, NewInstance, NewJob, NewOutboxMessage, NewWorkItem, WorkKind};
use crate::tests::support::{new_id, on_postgresql, patient, resource};
use crate::{Change, ChangeKind, PostgreSql, Store, StoreError, StoreOptions, Transaction};

async fn open(database: &PostgreSql) -> Store {
    Store::open_postgresql(database.clone(), StoreOptions::default()).await.unwrap()
}

async fn write<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.write(work).await.unwrap()
}

async fn next(changes: &mut tokio::sync::broadcast::Receiver<Arc<Change>>) -> (String, u64, ChangeKind, bool) {
    let change = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await.expect("no change").unwrap();
    (change.id.clone(), change.version, change.kind, change.resource.is_some())
}

/// One resource for each rule of uniqueness.
const UNIQUE: &[&str] = &[
    "{'resourceType':'ActivityDefinition','url':'http://a','version':'1'}",
    "{'resourceType':'CodeSystem','url':'http://a','version':'1'}",
    "{'resourceType':'StructureDefinition','url':'http://a','version':'1'}",
    "{'resourceType':'ValueSet','url':'http://a','version':'1'}",
    "{'resourceType':'Endpoint','identifier':[{'system':'http://dsf.dev/sid/endpoint-identifier','value':'a'}]}",
    "{'resourceType':'Endpoint','address':'https://a/fhir'}",
    "{'resourceType':'NamingSystem','name':'a'}",
    "{'resourceType':'NamingSystem','uniqueId':[{'type':'other','value':'a'}]}",
    "{'resourceType':'Organization','identifier':[{'system':'http://dsf.dev/sid/organization-identifier','value':'a'}]}",
    "{'resourceType':'Organization','extension':[{'url':'http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint','valueString':'aa'}]}",
    "{'resourceType':'OrganizationAffiliation','organization':{'reference':'Organization/a'},'participatingOrganization':{'reference':'Organization/b'},'endpoint':[{'reference':'Endpoint/c'}]}",
    "{'resourceType':'OrganizationAffiliation','organization':{'reference':'Organization/a'},'participatingOrganization':{'reference':'Organization/c'},'code':[{'coding':[{'system':'s','code':'DIC'}]}]}",
    "{'resourceType':'Subscription','criteria':'Task?status=requested','channel':{'type':'websocket'}}",
    "{'resourceType':'Task','status':'draft','identifier':[{'system':'http://dsf.dev/sid/task-identifier','value':'a'}]}",
];

#[tokio::test]
async fn of_two_engines_that_store_the_same_key_one_succeeds_for_every_kind() {
    on_postgresql(|database| async move {
        let engines = [open(&database).await, open(&database).await];
        for json in UNIQUE {
            let mut writing = tokio::task::JoinSet::new();
            for number in 0..8 {
                let store = engines[number % 2].clone();
                writing.spawn(async move { store.write(move |tx| tx.create(resource(json), &new_id())).await });
            }
            let results = writing.join_all().await;
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{json}: {results:?}");
            let refused = |error: &StoreError| matches!(error, StoreError::Duplicate { .. });
            assert!(results.iter().filter_map(|result| result.as_ref().err()).all(refused), "{json}: {results:?}");
        }
        for store in engines {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn versions_and_times_go_on_whichever_engine_writes() {
    on_postgresql(|database| async move {
        let engines = [open(&database).await, open(&database).await];
        write(&engines[0], |tx| tx.create(patient("A"), "p1")).await;
        let mut writing = tokio::task::JoinSet::new();
        for number in 0..40 {
            let store = engines[number % 2].clone();
            writing.spawn(async move { store.write(|tx| tx.update(patient("B"), "p1", None)).await.unwrap() });
        }
        let mut updates: Vec<_> =
            writing.join_all().await.into_iter().map(|stored| (stored.version, stored.last_updated)).collect();
        updates.sort_unstable();
        let versions: Vec<u64> = updates.iter().map(|update| update.0).collect();
        assert_eq!(versions, (2..=41).collect::<Vec<u64>>());
        assert!(updates.is_sorted_by_key(|update| update.1), "a later version is never older");

        // Who reads what it knows and then writes what follows from it is not overtaken in between.
        let mut counting = tokio::task::JoinSet::new();
        for number in 0..40 {
            let store = engines[number % 2].clone();
            counting.spawn(async move {
                let add = |tx: &mut Transaction<'_>| {
                    let count = tx.setting("count")?.map_or(0, |bytes| bytes.len());
                    tx.set_setting("count", &vec![b'x'; count + 1])
                };
                store.write(add).await.unwrap();
            });
        }
        counting.join_all().await;
        let count = engines[0].read(|tx| tx.setting("count")).await.unwrap();
        assert_eq!(count.map(|bytes| bytes.len()), Some(40));
        for store in engines {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn changes_of_one_engine_are_announced_by_the_other_and_observed_before_its_next_write() {
    on_postgresql(|database| async move {
        let (first, second) = (open(&database).await, open(&database).await);
        let mut changes = second.subscribe();
        let mut own = first.subscribe();
        let seen = Arc::new(AtomicU64::new(0));
        let copy = Arc::clone(&seen);
        second.observe_others(move |resource_type: ResourceType| {
            if resource_type == Organization {
                copy.fetch_add(1, Ordering::SeqCst);
            }
        });
        write(&second, |tx| tx.set_setting("begin", b"")).await;
        write(&first, |tx| tx.create(resource("{'resourceType':'Organization','name':'A'}"), "o1")).await;
        // At once, whether or not the notification has arrived.
        let known = Arc::clone(&seen);
        let observed = write(&second, move |_| Ok(known.load(Ordering::SeqCst))).await;
        assert!(observed >= 1, "a write that follows knows of it");
        assert_eq!(next(&mut changes).await, ("o1".to_owned(), 1, ChangeKind::Created, true));
        write(&first, |tx| {
            tx.create(patient("A"), "p1")?;
            tx.update(patient("B"), "p1", None)?;
            tx.delete(Patient, "p1")
        })
        .await;
        assert_eq!(next(&mut changes).await, ("p1".to_owned(), 1, ChangeKind::Created, true));
        assert_eq!(next(&mut changes).await, ("p1".to_owned(), 2, ChangeKind::Updated, true));
        assert_eq!(next(&mut changes).await, ("p1".to_owned(), 3, ChangeKind::Deleted, false));
        write(&second, |tx| tx.create(patient("C"), "p2")).await;
        assert_eq!(next(&mut changes).await, ("p2".to_owned(), 1, ChangeKind::Created, true));
        for expected in ["o1", "p1", "p1", "p1", "p2"] {
            assert_eq!(next(&mut own).await.0, expected);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(changes.is_empty() && own.is_empty(), "nothing is announced twice");
        first.close().await;
        second.close().await;
    })
    .await;
}

fn job(id: &str, due: OffsetDateTime) -> NewJob {
    NewJob {
        id: id.to_owned(),
        instance: Some("i1".to_owned()),
        kind: "timer".to_owned(),
        exclusive: false,
        due,
        retries: 3,
        payload: Vec::new(),
    }
}

fn message(id: &str, next_attempt: OffsetDateTime) -> NewOutboxMessage {
    NewOutboxMessage {
        id: id.to_owned(),
        instance: None,
        step: "send".to_owned(),
        target_url: "https://a.org/fhir".to_owned(),
        target_organization: "a.org".to_owned(),
        body: b"task".to_vec(),
        next_attempt,
    }
}

fn step(id: &str, kind: WorkKind, due: OffsetDateTime) -> NewWorkItem {
    NewWorkItem {
        id: id.to_owned(),
        instance: "i1".to_owned(),
        element: "task".to_owned(),
        process_key: "example_ping".to_owned(),
        version_tag: "1.0".to_owned(),
        business_key: "b".to_owned(),
        kind,
        topic: "Query".to_owned(),
        priority: 0,
        retries: None,
        due,
        input: Vec::new(),
    }
}

async fn work(store: &Store, count: usize) {
    write(store, move |tx| {
        let now = tx.now();
        tx.insert_instance(&NewInstance {
            id: "i1".to_owned(),
            process_key: "example_ping".to_owned(),
            version_tag: "1.0".to_owned(),
            definition_digest: "d".to_owned(),
            business_key: "b".to_owned(),
            alternative_business_key: None,
            state: InstanceState::Running,
            data: Vec::new(),
        })?;
        for number in 0..count {
            tx.insert_job(&job(&format!("j{number}"), now))?;
            tx.insert_outbox(&message(&format!("m{number}"), now))?;
            tx.insert_work_item(&step(&format!("s{number}"), WorkKind::Step, now))?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn each_job_message_and_step_is_claimed_by_one_engine() {
    on_postgresql(|database| async move {
        let engines = [open(&database).await, open(&database).await];
        let mut woken = [engines[1].watch_jobs(), engines[1].watch_outbox(), engines[1].watch_work()];
        work(&engines[0], 60).await;
        for watch in &mut woken {
            let woken = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await;
            woken.expect("the other engine is woken").unwrap();
        }
        let mut claiming = tokio::task::JoinSet::new();
        for number in 0..12 {
            let store = engines[number % 2].clone();
            claiming.spawn(async move {
                let owner = store.owner().to_owned();
                let claim = move |tx: &mut Transaction<'_>| {
                    let (now, lock) = (tx.now(), time::Duration::minutes(5));
                    let jobs = tx.claim_jobs(&owner, now, lock, 10)?;
                    let messages = tx.claim_outbox(&owner, now, lock, 10)?;
                    let steps = tx.claim_steps(&owner, now, lock, 10)?;
                    let ids = jobs.into_iter().map(|job| job.id);
                    let ids = ids.chain(messages.into_iter().map(|message| message.id));
                    Ok::<Vec<String>, StoreError>(ids.chain(steps.into_iter().map(|step| step.id)).collect())
                };
                store.write(claim).await.unwrap()
            });
        }
        let mut claimed: Vec<String> = claiming.join_all().await.into_iter().flatten().collect();
        claimed.sort_unstable();
        let before = claimed.len();
        claimed.dedup();
        assert_eq!((before, claimed.len()), (180, 180));
        for store in engines {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_an_engine_that_is_gone_had_claimed_is_taken_over_and_a_living_one_keeps_its_claims() {
    on_postgresql(|database| async move {
        let (gone, alive, other) = (open(&database).await, open(&database).await, open(&database).await);
        work(&other, 2).await;
        for (store, job) in [(&gone, "j0"), (&alive, "j1")] {
            let owner = store.owner().to_owned();
            let claimed = write(store, move |tx| {
                let now = tx.now();
                tx.claim_steps(&owner, now, time::Duration::minutes(5), 1)?;
                tx.claim_jobs(&owner, now, time::Duration::minutes(5), 1)
            })
            .await;
            assert_eq!(claimed[0].id, job);
        }
        // The name of a worker is no sign of an engine.
        write(&other, |tx| {
            let now = tx.now();
            tx.insert_work_item(&step("e0", WorkKind::External, now))?;
            let fetch = ExternalFetch { topic: "Query".to_owned(), ..ExternalFetch::default() };
            let offered = tx.offered_external(&fetch, now, 1)?;
            tx.lock_all(offered, "worker", now + time::Duration::minutes(5))
        })
        .await;
        let mut woken = other.watch_jobs();
        woken.borrow_and_update();
        // What the server sees of a killed process: its sessions end.
        gone.close().await;
        tokio::time::timeout(Duration::from_secs(20), woken.changed()).await.expect("nothing is taken over").unwrap();
        let owner = |id: &'static str| {
            let other = other.clone();
            async move { other.read(move |tx| tx.job(id)).await.unwrap().unwrap().locked_by }
        };
        assert_eq!(owner("j0").await, None);
        let holder = |id: &'static str| {
            let other = other.clone();
            async move { other.read(move |tx| tx.work_item(id)).await.unwrap().unwrap().locked_by }
        };
        assert_eq!(holder("s0").await, None);
        assert_eq!(holder("s1").await.as_deref(), Some(alive.owner()));
        assert_eq!(holder("e0").await.as_deref(), Some("worker"));
        assert_eq!(owner("j1").await.as_deref(), Some(alive.owner()));
        alive.close().await;
        other.close().await;
    })
    .await;
}
