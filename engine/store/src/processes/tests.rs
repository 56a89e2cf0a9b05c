use time::Duration;

use super::*;
use crate::tests::support::{Backend, TestClock, each_backend};
use crate::{Store, StoreError, Transaction};

async fn write<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.write(work).await.unwrap()
}

fn instance(id: &str, business_key: &str) -> NewInstance {
    NewInstance {
        id: id.to_owned(),
        process_key: "dsfdev_ping".to_owned(),
        version_tag: "1.0".to_owned(),
        definition_digest: "digest".to_owned(),
        business_key: business_key.to_owned(),
        alternative_business_key: None,
        state: InstanceState::Running,
        data: b"{}".to_vec(),
    }
}

fn running(data: &[u8]) -> InstanceUpdate {
    InstanceUpdate { alternative_business_key: None, state: InstanceState::Running, data: data.to_vec() }
}

fn job(id: &str, instance: &str, due: time::OffsetDateTime) -> NewJob {
    NewJob {
        id: id.to_owned(),
        instance: Some(instance.to_owned()),
        kind: "timer".to_owned(),
        exclusive: true,
        due,
        retries: 3,
        payload: b"p".to_vec(),
    }
}

#[tokio::test]
async fn of_two_writers_of_one_instance_the_second_notices_the_first() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| tx.insert_instance(&instance("i1", "b1"))).await;
        assert_eq!(write(&store, |tx| tx.update_instance("i1", 1, &running(b"2"))).await, 2);
        let late = store.write(|tx| tx.update_instance("i1", 1, &running(b"late"))).await;
        assert!(matches!(late, Err(StoreError::RevisionConflict { .. })));
        let unknown = store.write(|tx| tx.update_instance("i2", 1, &running(b""))).await;
        assert!(matches!(unknown, Err(StoreError::NoRecord { .. })));
        let twice = store.write(|tx| tx.insert_instance(&instance("i1", "b1"))).await;
        assert!(matches!(twice, Err(StoreError::Database(_))));
        let found = write(&store, |tx| tx.instance("i1")).await.unwrap();
        assert_eq!((found.revision, found.data.as_slice()), (2, &b"2"[..]));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn instances_are_found_by_both_keys_until_they_end() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| {
            tx.insert_instance(&instance("i1", "b1"))?;
            tx.insert_instance(&instance("i2", "b2"))?;
            let update = InstanceUpdate { alternative_business_key: Some("b1".to_owned()), ..running(b"") };
            tx.update_instance("i2", 1, &update)
        })
        .await;
        let ids = |store: Store| async move {
            let found = write(&store, |tx| tx.instances_by_business_key("b1")).await;
            found.into_iter().map(|instance| instance.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(store.clone()).await, ["i1", "i2"]);
        let ended = InstanceUpdate { state: InstanceState::Completed, ..running(b"") };
        write(&store, move |tx| tx.update_instance("i1", 1, &ended)).await;
        assert_eq!(ids(store.clone()).await, ["i2"]);
        let list = InstanceList { ended: Some(true), limit: 10, ..InstanceList::default() };
        assert_eq!(write(&store, move |tx| tx.instances(&list)).await.len(), 1);
        let list = InstanceList { limit: 1, ..InstanceList::default() };
        let first = write(&store, move |tx| tx.instances(&list)).await;
        let after = first.first().map(|instance| (instance.created, instance.id.clone()));
        let list = InstanceList { limit: 10, after, ..InstanceList::default() };
        assert_eq!(write(&store, move |tx| tx.instances(&list)).await.len(), 1);
        assert_eq!(write(&store, |tx| tx.count_instances()).await.len(), 2);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_log_of_an_instance_grows_and_goes_with_it() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| tx.insert_instance(&instance("i1", "b1"))).await;
        let events = vec![b"a".to_vec(), b"b".to_vec()];
        let copy = events.clone();
        assert_eq!(write(&store, move |tx| tx.append_instance_events("i1", &copy)).await, 0);
        assert_eq!(write(&store, move |tx| tx.append_instance_events("i1", &events)).await, 2);
        let log = write(&store, |tx| tx.instance_events("i1", 1, 2)).await;
        assert_eq!(log.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(log.iter().map(|event| event.data.as_slice()).collect::<Vec<_>>(), [b"b", b"a"]);
        // More than fit into a row, and what is no line.
        let many: Vec<Vec<u8>> = (0..1_500_u32).map(|number| number.to_string().into_bytes()).collect();
        let large = vec![vec![b'x'; 40_000]; 40];
        assert_eq!(write(&store, move |tx| tx.append_instance_events("i1", &many)).await, 4);
        assert_eq!(write(&store, move |tx| tx.append_instance_events("i1", &large)).await, 1_504);
        for from in [0, 3, 4, 259, 260, 261, 1_000, 1_503, 1_543, 1_544] {
            let page = write(&store, move |tx| tx.instance_events("i1", from, 500)).await;
            let expected: Vec<u64> = (from..1_544).take(500).collect();
            assert_eq!(page.iter().map(|event| event.position).collect::<Vec<_>>(), expected, "from {from}");
            let mut numbers = page.iter().filter(|event| (4..1_504).contains(&event.position));
            assert!(numbers.all(|event| event.data == (event.position - 4).to_string().as_bytes()));
        }
        for bad in [b"".to_vec(), b"a\nb".to_vec()] {
            let refused = store.write(move |tx| tx.append_instance_events("i1", &[bad])).await;
            assert!(matches!(refused, Err(StoreError::BadRow(_))), "{refused:?}");
        }
        write(&store, |tx| {
            let now = tx.now();
            tx.insert_job(&job("j1", "i1", now))
        })
        .await;
        assert!(write(&store, |tx| tx.delete_instance("i1")).await);
        assert!(!write(&store, |tx| tx.delete_instance("i1")).await);
        assert_eq!(write(&store, |tx| tx.job("j1")).await, None);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_job_is_claimed_once_and_again_only_when_its_lock_is_over() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let start = clock.now();
        write(&store, move |tx| {
            tx.insert_instance(&instance("i1", "b1"))?;
            tx.insert_instance(&instance("i2", "b2"))?;
            tx.insert_job(&job("j1", "i1", start))?;
            tx.insert_job(&job("j2", "i1", start + Duration::seconds(1)))?;
            tx.insert_job(&job("j3", "i2", start + Duration::seconds(2)))?;
            tx.insert_job(&NewJob { exclusive: false, ..job("j4", "i1", start + Duration::seconds(3)) })?;
            tx.insert_job(&job("j5", "i2", start + Duration::hours(1)))?;
            tx.insert_job(&NewJob { retries: 0, ..job("j6", "i2", start) })
        })
        .await;
        assert_eq!(write(&store, |tx| tx.next_job()).await, Some(start));
        let claim = |owner: &'static str, at: time::OffsetDateTime| {
            let store = store.clone();
            async move {
                let jobs = write(&store, move |tx| tx.claim_jobs(owner, at, Duration::minutes(5), 10)).await;
                jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
            }
        };
        let at = start + Duration::seconds(10);
        assert_eq!(claim("a", at).await, ["j1", "j3", "j4"], "one exclusive job per instance");
        assert_eq!(claim("b", at).await, [] as [&str; 0]);
        assert!(!write(&store, |tx| tx.complete_job("j1", "b")).await, "not b's job");
        assert!(write(&store, |tx| tx.complete_job("j1", "a")).await);
        assert_eq!(claim("b", at).await, ["j2"]);
        let later = at + Duration::minutes(5);
        assert_eq!(claim("b", later).await, ["j2", "j3", "j4"], "locks are over");
        assert!(!write(&store, |tx| tx.complete_job("j3", "a")).await, "a has lost its lock");
        write(&store, move |tx| tx.reschedule_job("j3", later + Duration::hours(2), 2, Some("boom"))).await;
        let found = write(&store, |tx| tx.job("j3")).await.unwrap();
        assert_eq!((found.retries, found.failure.as_deref(), found.locked_by), (2, Some("boom"), None));
        write(&store, |tx| tx.release_locks("b")).await;
        assert_eq!(claim("c", later).await.len(), 2);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn waiting_engines_are_woken_after_the_commit() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let (mut jobs, mut outbox) = (store.watch_jobs(), store.watch_outbox());
        let failed = store
            .write(|tx| {
                let now = tx.now();
                tx.insert_instance(&instance("i1", "b1"))?;
                tx.insert_job(&job("j1", "i1", now))?;
                Err::<(), _>(StoreError::Unsearchable("no".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert!(!jobs.has_changed().unwrap());
        write(&store, |tx| {
            let now = tx.now();
            tx.insert_instance(&instance("i1", "b1"))?;
            tx.insert_job(&job("j1", "i1", now))
        })
        .await;
        jobs.changed().await.unwrap();
        assert!(!outbox.has_changed().unwrap());
        write(&store, |tx| {
            let now = tx.now();
            tx.insert_outbox(&message("m1", now))
        })
        .await;
        outbox.changed().await.unwrap();
        store.close().await;
    })
    .await;
}

fn message(id: &str, next_attempt: time::OffsetDateTime) -> NewOutboxMessage {
    NewOutboxMessage {
        id: id.to_owned(),
        instance: Some("i1".to_owned()),
        step: "send".to_owned(),
        target_url: "https://a.org/fhir".to_owned(),
        target_organization: "a.org".to_owned(),
        body: b"task".to_vec(),
        next_attempt,
    }
}

#[tokio::test]
async fn a_message_stays_until_its_delivery_is_recorded() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let now = clock.now();
        write(&store, move |tx| tx.insert_outbox(&message("m1", now))).await;
        let lock = Duration::minutes(1);
        assert_eq!(write(&store, move |tx| tx.claim_outbox("a", now, lock, 10)).await.len(), 1);
        assert_eq!(write(&store, move |tx| tx.claim_outbox("a", now, lock, 10)).await.len(), 0);
        assert_eq!(write(&store, |tx| tx.next_outbox()).await, Some(now + lock));
        let retry = now + Duration::seconds(5);
        write(&store, move |tx| tx.reschedule_outbox("m1", retry, "connection refused")).await;
        let claimed = write(&store, move |tx| tx.claim_outbox("b", retry, lock, 10)).await;
        assert_eq!((claimed[0].attempts, claimed[0].failure.as_deref()), (1, Some("connection refused")));
        assert!(!write(&store, |tx| tx.complete_outbox("m1", "a")).await);
        assert!(write(&store, |tx| tx.complete_outbox("m1", "b")).await);
        assert_eq!(write(&store, |tx| tx.count_outbox()).await, 0);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn messages_find_the_instances_that_wait_for_them() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let wait = |id: &str, correlation: Option<&str>| MessageSubscription {
            instance: String::new(),
            id: id.to_owned(),
            message_name: "pong".to_owned(),
            correlation_key: correlation.map(str::to_owned),
        };
        let (one, two, three) = (wait("s1", Some("c1")), wait("s2", Some("c2")), wait("s3", None));
        write(&store, move |tx| {
            tx.insert_instance(&instance("i1", "b1"))?;
            tx.insert_instance(&NewInstance { version_tag: "2.0".to_owned(), ..instance("i2", "b2") })?;
            tx.set_subscriptions("i1", &[one, two], &[])?;
            let signal =
                SignalSubscription { instance: "i2".to_owned(), id: "g".to_owned(), signal_name: "stop".to_owned() };
            tx.set_subscriptions("i2", &[three], &[signal])?;
            let update = InstanceUpdate { alternative_business_key: Some("x2".to_owned()), ..running(b"") };
            tx.update_instance("i2", 1, &update)
        })
        .await;
        let find =
            |business_key: &'static str, correlation_key: Option<&'static str>, version_tag: Option<&'static str>| {
                let store = store.clone();
                async move {
                    let target = MessageTarget {
                        process_key: Some("dsfdev_ping"),
                        version_tag,
                        message_name: "pong",
                        business_key,
                        correlation_key,
                    };
                    let found = write(&store, move |tx| tx.find_message_subscriptions(&target)).await;
                    found.into_iter().map(|subscription| subscription.id).collect::<Vec<_>>()
                }
            };
        assert_eq!(find("b1", Some("c2"), None).await, ["s2"]);
        assert_eq!(find("b1", Some("c3"), None).await, [] as [&str; 0]);
        assert_eq!(find("b1", None, Some("1.0")).await, ["s1", "s2"]);
        assert_eq!(find("b1", None, Some("2.0")).await, [] as [&str; 0]);
        assert_eq!(find("b2", None, Some("2.0")).await, ["s3"]);
        assert_eq!(find("x2", None, None).await, ["s3"]);
        assert_eq!(find("b2", Some("c1"), None).await, [] as [&str; 0]);
        assert_eq!(write(&store, |tx| tx.find_signal_subscriptions("stop")).await.len(), 1);
        write(&store, |tx| tx.set_subscriptions("i2", &[], &[])).await;
        assert_eq!(find("b2", None, None).await, [] as [&str; 0]);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn buffered_messages_wait_and_expire() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let expires = clock.now() + Duration::minutes(1);
        let buffered = NewBufferedMessage {
            task_id: "t1".to_owned(),
            process_key: "dsfdev_ping".to_owned(),
            version_tag: "1.0".to_owned(),
            message_name: "pong".to_owned(),
            business_key: "b1".to_owned(),
            correlation_key: Some("c1".to_owned()),
            expires,
        };
        write(&store, move |tx| tx.insert_inbox(&buffered)).await;
        assert_eq!(write(&store, |tx| tx.inbox_of("b1")).await.len(), 1);
        assert_eq!(write(&store, |tx| tx.next_inbox_expiry()).await, Some(expires));
        assert_eq!(write(&store, move |tx| tx.expired_inbox(expires - Duration::seconds(1), 9)).await.len(), 0);
        assert_eq!(write(&store, move |tx| tx.expired_inbox(expires, 9)).await.len(), 1);
        assert!(write(&store, |tx| tx.delete_inbox("t1")).await);
        assert!(!write(&store, |tx| tx.delete_inbox("t1")).await);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_counter_stops_at_its_limit_in_each_period_and_survives_restarts() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let day = time::OffsetDateTime::UNIX_EPOCH;
        let tries = (0..10).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.write(move |tx| tx.count_within("a.org", day, 5)).await.unwrap() })
        });
        let mut within = Vec::new();
        for attempt in tries.collect::<Vec<_>>() {
            if let Counted::Within(count) = attempt.await.unwrap() {
                within.push(count);
            }
        }
        within.sort_unstable();
        assert_eq!(within, [1, 2, 3, 4, 5]);
        store.close().await;
        let store = backend.open().await;
        let next = day + Duration::days(1);
        assert_eq!(write(&store, move |tx| tx.count_within("a.org", day, 5)).await, Counted::Exceeded(5));
        assert_eq!(write(&store, move |tx| tx.count_within("a.org", next, 5)).await, Counted::Within(1));
        assert_eq!(write(&store, move |tx| tx.count_within("b.org", next, 0)).await, Counted::Exceeded(0));
        assert_eq!(write(&store, move |tx| tx.delete_counters_before(next)).await, 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn definitions_and_settings_are_kept() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        assert!(write(&store, |tx| tx.insert_definition("d1", "dsfdev_ping", "1.0", b"<xml/>")).await);
        assert!(!write(&store, |tx| tx.insert_definition("d1", "dsfdev_ping", "1.0", b"<xml/>")).await);
        assert!(write(&store, |tx| tx.insert_definition("d2", "dsfdev_ping", "1.0", b"<xml2/>")).await);
        let newest = write(&store, |tx| tx.definitions_of("dsfdev_ping", "1.0")).await;
        assert_eq!(newest[0].digest, "d2");
        write(&store, |tx| tx.set_definition_active("d1", false)).await;
        assert!(!write(&store, |tx| tx.definition("d1")).await.unwrap().active);
        write(&store, |tx| tx.set_setting("a", b"1")).await;
        write(&store, |tx| tx.set_setting("a", b"2")).await;
        assert_eq!(write(&store, |tx| tx.setting("a")).await, Some(b"2".to_vec()));
        write(&store, |tx| tx.delete_setting("a")).await;
        assert_eq!(write(&store, |tx| tx.setting("a")).await, None);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_part_of_a_transaction_fails_alone() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let mut jobs = store.watch_jobs();
        write(&store, |tx| {
            tx.insert_instance(&instance("i1", "b1"))?;
            let part = tx.attempt(|tx| {
                let now = tx.now();
                tx.insert_instance(&instance("i2", "b2"))?;
                tx.insert_job(&job("j1", "i2", now))?;
                tx.insert_instance(&instance("i2", "again"))
            });
            assert!(matches!(part, Err(StoreError::Database(_))));
            tx.attempt(|tx| tx.insert_instance(&instance("i3", "b3")))
        })
        .await;
        assert!(!jobs.has_changed().unwrap(), "the job is undone");
        let list = InstanceList { limit: 10, ..InstanceList::default() };
        let ids: Vec<_> =
            write(&store, move |tx| tx.instances(&list)).await.into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["i1", "i3"]);
        jobs.borrow_and_update();
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn ended_instances_are_listed_page_by_page() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        for id in ["i1", "i2", "i3"] {
            write(&store, move |tx| tx.insert_instance(&instance(id, "b"))).await;
            clock.advance(Duration::seconds(1));
        }
        let ended = InstanceUpdate { state: InstanceState::Completed, ..running(b"") };
        let copy = ended.clone();
        write(&store, move |tx| tx.update_instance("i1", 1, &copy)).await;
        write(&store, move |tx| tx.update_instance("i3", 1, &ended)).await;
        let end = clock.now() + Duration::seconds(1);
        let first = write(&store, move |tx| tx.ended_instances(end, None, 1)).await;
        assert_eq!(first[0].id, "i1");
        let created = first[0].created;
        let next = write(&store, move |tx| tx.ended_instances(end, Some((created, "i1")), 9)).await;
        assert_eq!(next.iter().map(|ended| ended.id.as_str()).collect::<Vec<_>>(), ["i3"]);
        assert!(write(&store, move |tx| tx.ended_instances(created, None, 9)).await.is_empty());
        store.close().await;
    })
    .await;
}
