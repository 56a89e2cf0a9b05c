use time::{Duration, OffsetDateTime};

use super::*;
use crate::Store;
use crate::processes::{InstanceState, NewInstance};
use crate::tests::support::{Backend, TestClock, each_backend};

const LOCK: Duration = Duration::minutes(1);

async fn write<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.write(work).await.unwrap()
}

fn item(id: &str, kind: WorkKind, topic: &str, due: OffsetDateTime) -> NewWorkItem {
    NewWorkItem {
        id: id.to_owned(),
        instance: "i1".to_owned(),
        element: "task".to_owned(),
        process_key: "example_process".to_owned(),
        version_tag: "1.0".to_owned(),
        business_key: "b1".to_owned(),
        kind,
        topic: topic.to_owned(),
        priority: 0,
        retries: None,
        due,
        input: b"{}".to_vec(),
    }
}

async fn with_instance(store: &Store) {
    write(store, |tx| {
        tx.insert_instance(&NewInstance {
            id: "i1".to_owned(),
            process_key: "example_process".to_owned(),
            version_tag: "1.0".to_owned(),
            definition_digest: "d".to_owned(),
            business_key: "b1".to_owned(),
            alternative_business_key: None,
            state: InstanceState::Running,
            data: Vec::new(),
        })
    })
    .await;
}

fn ids(items: Vec<WorkItem>) -> Vec<String> {
    items.into_iter().map(|item| item.id).collect()
}

#[tokio::test]
async fn a_step_is_claimed_once_recorded_once_and_again_only_when_its_lease_is_over() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        with_instance(&store).await;
        let now = clock.now();
        let mut wake = store.watch_work();
        write(&store, move |tx| {
            tx.insert_work_item(&item("s1", WorkKind::Step, "Query", now))?;
            tx.insert_work_item(&item("s2", WorkKind::Step, "Query", now + Duration::hours(1)))?;
            tx.insert_work_item(&item("e1", WorkKind::External, "Query", now))
        })
        .await;
        wake.changed().await.unwrap();
        let twice = store.write(move |tx| tx.insert_work_item(&item("s1", WorkKind::Step, "Query", now))).await;
        assert!(matches!(twice, Err(StoreError::Exists { .. })));
        assert_eq!(write(&store, |tx| tx.next_step()).await, Some(now));

        let claim = |owner: &'static str, at: OffsetDateTime| {
            let store = store.clone();
            async move { ids(write(&store, move |tx| tx.claim_steps(owner, at, LOCK, 10)).await) }
        };
        assert_eq!(claim("a", now).await, ["s1"], "neither what is due later nor what is for a worker");
        assert!(claim("b", now).await.is_empty());
        assert_eq!(write(&store, |tx| tx.next_step()).await, Some(now + LOCK));
        assert!(write(&store, |tx| tx.note_work_progress("s1", "a", "half")).await);
        assert!(write(&store, move |tx| tx.extend_work_lock("s1", "a", now + LOCK * 2)).await);
        assert!(claim("b", now + LOCK).await.is_empty(), "the lease was prolonged");
        assert_eq!(claim("b", now + LOCK * 2).await, ["s1"]);
        assert!(!write(&store, move |tx| tx.extend_work_lock("s1", "a", now + LOCK * 9)).await);
        assert!(!write(&store, |tx| tx.note_work_progress("s1", "a", "most")).await);
        assert!(!write(&store, |tx| tx.complete_work_item("s1", "a")).await, "its result would count twice");
        assert!(!write(&store, move |tx| tx.fail_work_item("s1", "a", 0, now, "no", None)).await);
        let again = now + LOCK * 3;
        assert!(write(&store, move |tx| tx.fail_work_item("s1", "b", 2, again, "no answer", Some("trace"))).await);
        let found = write(&store, |tx| tx.work_item("s1")).await.unwrap();
        assert_eq!((found.attempts, found.retries, found.due, found.locked_by), (2, Some(2), again, None));
        assert_eq!((found.failure.as_deref(), found.failure_details.as_deref()), (Some("no answer"), Some("trace")));
        assert_eq!(found.progress.as_deref(), Some("half"));
        assert_eq!(claim("b", again).await, ["s1"]);
        assert!(write(&store, |tx| tx.complete_work_item("s1", "b")).await);
        assert!(!write(&store, |tx| tx.complete_work_item("s1", "b")).await);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_starts_again_gives_up_its_own_leases_and_no_workers() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        with_instance(&store).await;
        let now = clock.now();
        write(&store, move |tx| {
            tx.insert_work_item(&item("s1", WorkKind::Step, "Query", now))?;
            tx.insert_work_item(&item("e1", WorkKind::External, "t", now))?;
            tx.claim_steps("a", now, LOCK, 10)?;
            let fetch = ExternalFetch { topic: "t".to_owned(), ..ExternalFetch::default() };
            let offered = tx.offered_external(&fetch, now, 10)?;
            tx.lock_all(offered, "a", now + LOCK)
        })
        .await;
        write(&store, |tx| tx.release_locks("a")).await;
        assert_eq!(write(&store, |tx| tx.work_item("s1")).await.unwrap().locked_by, None);
        assert_eq!(write(&store, |tx| tx.work_item("e1")).await.unwrap().locked_by.as_deref(), Some("a"));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn workers_get_what_they_ask_for_by_priority_and_age() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        with_instance(&store).await;
        let now = clock.now();
        write(&store, move |tx| {
            tx.insert_work_item(&item("e1", WorkKind::External, "t", now))?;
            tx.insert_work_item(&NewWorkItem { priority: 5, ..item("e2", WorkKind::External, "t", now) })?;
            tx.insert_work_item(&NewWorkItem {
                business_key: "b2".to_owned(),
                ..item("e3", WorkKind::External, "t", now)
            })?;
            tx.insert_work_item(&NewWorkItem { retries: Some(0), ..item("e4", WorkKind::External, "t", now) })?;
            tx.insert_work_item(&item("e5", WorkKind::External, "other", now))?;
            tx.insert_work_item(&item("s1", WorkKind::Step, "t", now))
        })
        .await;
        let fetch = |worker: &'static str, fetch: ExternalFetch, limit| {
            let store = store.clone();
            async move {
                let locked = write(&store, move |tx| {
                    let offered = tx.offered_external(&fetch, now, limit)?;
                    tx.lock_all(offered, worker, now + LOCK)
                });
                ids(locked.await)
            }
        };
        let topic = || ExternalFetch { topic: "t".to_owned(), ..ExternalFetch::default() };
        let of_b2 = ExternalFetch { business_key: Some("b2".to_owned()), ..topic() };
        assert_eq!(fetch("w1", of_b2, 10).await, ["e3"]);
        let of_another = ExternalFetch { process_key: Some("example_another".to_owned()), ..topic() };
        assert!(fetch("w1", of_another, 10).await.is_empty());
        let of_version = ExternalFetch { version_tag: Some("2.0".to_owned()), ..topic() };
        assert!(fetch("w1", of_version, 10).await.is_empty());
        assert_eq!(fetch("w1", topic(), 1).await, ["e2"], "the highest priority");
        assert_eq!(fetch("w2", topic(), 10).await, ["e1"], "none that is locked or exhausted");
        let next = write(&store, move |tx| tx.next_external("t", now)).await;
        assert_eq!(next, Some(now + LOCK));
        assert!(write(&store, |tx| tx.unlock_work_item("e1")).await);
        assert_eq!(write(&store, move |tx| tx.next_external("t", now)).await, Some(now));
        assert!(write(&store, move |tx| tx.set_work_retries("e4", 1, now)).await);
        assert!(write(&store, |tx| tx.set_work_priority("e4", 9)).await);
        assert_eq!(fetch("w3", topic(), 10).await, ["e4", "e1"]);
        let list = WorkItemList { kind: Some(WorkKind::External), limit: 10, ..WorkItemList::default() };
        assert_eq!(ids(write(&store, move |tx| tx.work_items(&list)).await), ["e1", "e2", "e3", "e4", "e5"]);
        let list = WorkItemList { is_exhausted: Some(true), limit: 10, ..WorkItemList::default() };
        assert!(write(&store, move |tx| tx.work_items(&list)).await.is_empty());
        assert_eq!(write(&store, |tx| tx.count_work_items()).await.len(), 3);
        assert_eq!(write(&store, |tx| tx.work_of("i1")).await.len(), 6);
        assert!(write(&store, |tx| tx.delete_instance("i1")).await, "with its work");
        assert_eq!(write(&store, |tx| tx.work_item("e1")).await, None);
        store.close().await;
    })
    .await;
}
