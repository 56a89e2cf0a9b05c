//! Versions, deletions, history, uniqueness, read access.

use std::sync::Arc;

use fhir::ResourceType::{self, Binary, CodeSystem, Patient};
use time::Duration;

use super::support::{Backend, TestClock, each_backend, new_id, patient, resource};
use crate::read_access::Membership;
use crate::{
    ChangeKind, Deletion, Found, HistoryQuery, HistoryScope, ReadFilter, Store, StoreError, StoredResource, Transaction,
};

async fn write<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.write(work).await.unwrap()
}

async fn read<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.read(work).await.unwrap()
}

fn version_of(found: Found) -> Option<u64> {
    found.current().map(|stored: StoredResource| stored.version)
}

#[tokio::test]
async fn a_resource_is_created_updated_deleted_and_its_versions_stay() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let created = write(&store, |tx| tx.create(patient("A"), "p1")).await;
        assert_eq!(created.version, 1);
        assert_eq!(created.resource.id(), Some("p1"));
        assert_eq!(created.resource.version_id(), Some(1));
        assert_eq!(created.resource.get("meta").unwrap().str("lastUpdated"), Some("2023-11-14T22:13:20.000Z"));
        let stored = read(&store, |tx| tx.read(Patient, "p1")).await;
        assert_eq!(stored, Found::Current(created.clone()));

        clock.advance(Duration::seconds(1));
        let updated = write(&store, |tx| tx.update(patient("B"), "p1", Some(1))).await;
        assert_eq!(updated.version, 2);
        let conflict = store.write(|tx| tx.update(patient("C"), "p1", Some(1))).await;
        assert!(matches!(conflict, Err(StoreError::VersionConflict { expected: 1, actual: 2, .. })));

        assert_eq!(write(&store, |tx| tx.delete(Patient, "p1")).await, Deletion::Marked(3));
        assert_eq!(write(&store, |tx| tx.delete(Patient, "p1")).await, Deletion::Already(3));
        assert!(matches!(read(&store, |tx| tx.read(Patient, "p1")).await, Found::Deleted { version: 3, .. }));
        assert_eq!(version_of(read(&store, |tx| tx.read_version(Patient, "p1", 1)).await), Some(1));
        assert!(matches!(read(&store, |tx| tx.read_version(Patient, "p1", 3)).await, Found::Deleted { .. }));
        assert_eq!(read(&store, |tx| tx.read_version(Patient, "p1", 4)).await, Found::Missing);
        let revived = store.write(|tx| tx.update(patient("D"), "p1", None)).await;
        assert!(matches!(revived, Err(StoreError::Deleted { version: 3, .. })));

        write(&store, |tx| tx.delete_permanently(Patient, "p1")).await;
        assert_eq!(read(&store, |tx| tx.read(Patient, "p1")).await, Found::Missing);
        assert_eq!(read(&store, |tx| tx.read_version(Patient, "p1", 1)).await, Found::Missing);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_does_not_exist_is_neither_updated_nor_deleted() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let updated = store.write(|tx| tx.update(patient("A"), "p1", None)).await;
        assert!(matches!(updated, Err(StoreError::Missing { .. })));
        assert!(matches!(store.write(|tx| tx.delete(Patient, "p1")).await, Err(StoreError::Missing { .. })));
        let removed = store.write(|tx| tx.delete_permanently(Patient, "p1")).await;
        assert!(matches!(removed, Err(StoreError::Missing { .. })));
        write(&store, |tx| tx.create(patient("A"), "p1")).await;
        let removed = store.write(|tx| tx.delete_permanently(Patient, "p1")).await;
        assert!(matches!(removed, Err(StoreError::NotDeleted { .. })));
        let again = store.write(|tx| tx.create(patient("A"), "p1")).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_text_of_numbers_and_the_order_of_members_survive() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let text = "{'resourceType':'Location','position':{'latitude':1.50,'longitude':-0.0e1},'name':'x\u{1F600}'}";
        let written = write(&store, move |tx| tx.create(resource(text), "l1")).await;
        let found = read(&store, |tx| tx.read(ResourceType::Location, "l1")).await.current().unwrap();
        assert_eq!(found.resource, written.resource);
        let printed = fhir::json::print(&found.resource, false);
        assert!(printed.contains("\"latitude\":1.50,\"longitude\":-0.0e1"), "{printed}");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn history_lists_versions_and_deletions_in_order_with_exact_total() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        write(&store, |tx| tx.create(patient("A"), "p1")).await;
        clock.advance(Duration::seconds(1));
        write(&store, |tx| tx.create(patient("B"), "p2")).await;
        let middle = clock.now();
        clock.advance(Duration::seconds(1));
        write(&store, |tx| tx.update(patient("A2"), "p1", None)).await;
        clock.advance(Duration::seconds(1));
        write(&store, |tx| tx.delete(Patient, "p1")).await;
        write(&store, |tx| tx.create(resource("{'resourceType':'Location','name':'x'}"), "l1")).await;

        let page = |scope: HistoryScope, from, page, count| {
            let query = HistoryQuery { scope, from, before: None, page, count };
            let store = store.clone();
            async move {
                let found = read(&store, move |tx| tx.history(&query, &ReadFilter::everything())).await;
                let entries: Vec<_> =
                    found.entries.iter().map(|e| (e.id.clone(), e.version, e.resource.is_some())).collect();
                (found.total, entries)
            }
        };
        let instance = HistoryScope::Instance(Patient, "p1".to_owned());
        let all = vec![("p1".to_owned(), 1, true), ("p1".to_owned(), 2, true), ("p1".to_owned(), 3, false)];
        assert_eq!(page(instance.clone(), None, 1, 20).await, (3, all.clone()));
        assert_eq!(page(instance.clone(), None, 2, 2).await, (3, all[2..].to_vec()));
        assert_eq!(page(instance.clone(), None, 3, 2).await, (3, vec![]));
        assert_eq!(page(instance, None, 1, 0).await, (3, vec![]));
        assert_eq!(page(HistoryScope::Type(Patient), None, 1, 20).await.0, 4);
        assert_eq!(page(HistoryScope::Type(Patient), Some(middle), 1, 20).await.0, 3);
        assert_eq!(page(HistoryScope::System, None, 1, 20).await.0, 5);
        assert_eq!(page(HistoryScope::Instance(Patient, "unknown".to_owned()), None, 1, 20).await, (0, vec![]));
        store.close().await;
    })
    .await;
}

fn tagged(tags: &str) -> fhir::Resource {
    let tag = |code: &str| match code.split_once(' ') {
        None => format!("{{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'{code}'}}"),
        Some(("ORGANIZATION", organization)) => format!(
            "{{'extension':[{{'url':'http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization',\
             'valueIdentifier':{{'system':'http://dsf.dev/sid/organization-identifier','value':'{organization}'}}}}],\
             'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ORGANIZATION'}}"
        ),
        Some((_, role)) => format!(
            "{{'extension':[{{'url':'http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role',\
             'extension':[{{'url':'parent-organization','valueIdentifier':{{'system':'http://dsf.dev/sid/organization-identifier','value':'parent.org'}}}},\
             {{'url':'organization-role','valueCoding':{{'system':'http://dsf.dev/fhir/CodeSystem/organization-role','code':'{role}'}}}}]}}],\
             'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ROLE'}}"
        ),
    };
    let tags: Vec<_> = tags.split(',').map(tag).collect();
    resource(&format!("{{'resourceType':'CodeSystem','meta':{{'tag':[{}]}},'status':'active'}}", tags.join(",")))
}

fn member(role: &str) -> Vec<Membership> {
    vec![Membership {
        parent: "parent.org".to_owned(),
        role_system: "http://dsf.dev/fhir/CodeSystem/organization-role".to_owned(),
        role: role.to_owned(),
    }]
}

#[tokio::test]
async fn fhir_050_a_version_is_seen_by_those_whom_its_own_tags_name() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| tx.create(tagged("ALL"), "c1")).await;
        write(&store, |tx| tx.update(tagged("LOCAL"), "c1", None)).await;
        write(&store, |tx| tx.update(tagged("LOCAL,ORGANIZATION a.org"), "c1", None)).await;
        write(&store, |tx| tx.update(tagged("LOCAL,ROLE DIC"), "c1", None)).await;
        write(&store, |tx| tx.delete(CodeSystem, "c1")).await;

        let filters = [
            ("local", ReadFilter::local_organization("own.org", &[]), vec![1, 2, 3, 4, 5]),
            ("person", ReadFilter::practitioner("own.org", &[], "x@own.org", &[], false), vec![1, 2, 3, 4, 5]),
            ("a", ReadFilter::remote_organization("a.org", &[]), vec![1, 3]),
            ("b", ReadFilter::remote_organization("b.org", &[]), vec![1]),
            ("member", ReadFilter::remote_organization("b.org", &member("DIC")), vec![1, 4, 5]),
            ("other role", ReadFilter::remote_organization("b.org", &member("TTP")), vec![1]),
            ("none", ReadFilter::nothing(), vec![]),
            ("all", ReadFilter::everything(), vec![1, 2, 3, 4, 5]),
            ("other type", ReadFilter::everything().restricted_to([Patient]), vec![]),
        ];
        for (name, filter, expected) in filters {
            let query = HistoryQuery {
                scope: HistoryScope::Instance(CodeSystem, "c1".to_owned()),
                from: None,
                before: None,
                page: 1,
                count: 20,
            };
            let (versions, single) = read(&store, move |tx| {
                let page = tx.history(&query, &filter)?;
                let mut single = Vec::new();
                for version in 1..=5 {
                    if tx.is_readable(CodeSystem, "c1", version, &filter)? {
                        single.push(version);
                    }
                }
                assert_eq!(page.total, page.entries.len() as u64);
                Ok((page.entries.into_iter().map(|entry| entry.version).collect::<Vec<_>>(), single))
            })
            .await;
            assert_eq!(versions, expected, "{name}");
            assert_eq!(single, expected, "{name}");
        }
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn fhir_065_a_binary_is_seen_by_the_readers_of_its_context() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| tx.create(tagged("ALL"), "c1")).await;
        let binary =
            "{'resourceType':'Binary','contentType':'text/plain','securityContext':{'reference':'CodeSystem/c1'}}";
        write(&store, move |tx| tx.create(resource(binary), "b1")).await;
        let partner = ReadFilter::remote_organization("a.org", &[]);
        let readable = |filter: ReadFilter| {
            let store = store.clone();
            async move { read(&store, move |tx| tx.is_readable(Binary, "b1", 1, &filter)).await }
        };
        assert!(readable(partner.clone()).await);
        write(&store, |tx| tx.update(tagged("LOCAL"), "c1", None)).await;
        assert!(!readable(partner.clone()).await);
        assert!(readable(ReadFilter::local_organization("own.org", &[])).await);
        write(&store, |tx| tx.update(tagged("ALL"), "c1", None)).await;
        assert!(readable(partner.clone()).await);

        // A version with tags of its own is not opened by the context of a later version, and a deleted Binary follows.
        let own = "{'resourceType':'Binary','contentType':'text/plain','meta':{'tag':[\
            {'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'LOCAL'}]}}";
        write(&store, move |tx| tx.update(resource(own), "b1", None)).await;
        write(&store, move |tx| tx.update(resource(binary), "b1", None)).await;
        write(&store, |tx| tx.delete(Binary, "b1")).await;
        let versions = |filter: ReadFilter| {
            let store = store.clone();
            async move {
                read(&store, move |tx| {
                    let mut seen = Vec::new();
                    for version in 1..=4 {
                        if tx.is_readable(Binary, "b1", version, &filter)? {
                            seen.push(version);
                        }
                    }
                    Ok(seen)
                })
                .await
            }
        };
        assert_eq!(versions(partner.clone()).await, [1, 3, 4]);
        write(&store, |tx| tx.update(tagged("LOCAL"), "c1", None)).await;
        assert_eq!(versions(partner).await, [] as [u64; 0]);
        write(&store, |tx| tx.delete_permanently(Binary, "b1")).await;
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn fhir_075_of_many_parallel_creates_with_one_key_exactly_one_succeeds() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let endpoint = "{'resourceType':'Endpoint','address':'https://a.org/fhir','identifier':[\
            {'system':'http://dsf.dev/sid/endpoint-identifier','value':'a.org'}]}";
        let tries = (0..16).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.write(move |tx| tx.create(resource(endpoint), &new_id())).await })
        });
        let mut created = 0;
        for attempt in tries.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(_) => created += 1,
                Err(StoreError::Duplicate { kind, resource_type, .. }) => {
                    assert_eq!((kind, resource_type.as_str()), ("endpoint-address", "Endpoint"));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(created, 1);
        assert_eq!(read(&store, |tx| tx.all(ResourceType::Endpoint)).await.len(), 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_key_is_free_again_after_update_and_deletion() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let value_set = |url: &str| resource(&format!("{{'resourceType':'ValueSet','url':'{url}','version':'1'}}"));
        let (first, same, moved, again) =
            (value_set("http://a"), value_set("http://a"), value_set("http://b"), value_set("http://b"));
        write(&store, move |tx| tx.create(first, "v1")).await;
        let copy = same.clone();
        assert!(matches!(store.write(move |tx| tx.create(copy, "v2")).await, Err(StoreError::Duplicate { .. })));
        // Its own key does not stand in the way of an update.
        let copy = same.clone();
        write(&store, move |tx| tx.update(copy, "v1", None)).await;
        write(&store, move |tx| tx.update(moved, "v1", None)).await;
        write(&store, move |tx| tx.create(same, "v2")).await;
        // Deletion and creation of the same key in one transaction.
        write(&store, move |tx| {
            tx.delete(ResourceType::ValueSet, "v1")?;
            tx.create(again, "v3")
        })
        .await;
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn changes_are_announced_in_order_and_only_if_they_are_durable() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let mut changes = store.subscribe();
        let failed = store
            .write(|tx| {
                tx.create(patient("lost"), "p0")?;
                Err::<(), _>(StoreError::Unsearchable("given up".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        write(&store, |tx| {
            tx.create(patient("A"), "p1")?;
            tx.update(patient("B"), "p1", None)?;
            tx.delete(Patient, "p1")
        })
        .await;
        for (kind, version) in [(ChangeKind::Created, 1), (ChangeKind::Updated, 2), (ChangeKind::Deleted, 3)] {
            let change = changes.recv().await.unwrap();
            assert_eq!((change.id.as_str(), change.kind, change.version), ("p1", kind, version));
            assert_eq!(change.resource.is_some(), kind != ChangeKind::Deleted);
        }
        assert!(changes.try_recv().is_err());
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn later_commits_carry_later_times_even_if_the_clock_stands_still_or_goes_back() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let mut last = None;
        for round in 0..5 {
            let stored = write(&store, |tx| tx.create(patient("A"), &new_id())).await;
            assert!(Some(stored.last_updated) > last);
            last = Some(stored.last_updated);
            if round == 2 {
                clock.advance(Duration::milliseconds(-500));
            }
        }
        store.close().await;
        let store = backend.open_with(clock.options()).await.unwrap();
        let stored = write(&store, |tx| tx.create(patient("A"), &new_id())).await;
        assert!(Some(stored.last_updated) > last, "the time goes on after a restart");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_read_sees_one_snapshot_and_cannot_write() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        write(&store, |tx| tx.create(patient("A"), "p1")).await;
        let (started, wait) = (Arc::new(tokio::sync::Notify::new()), std::sync::mpsc::channel::<()>());
        let (go, gone) = wait;
        let reader = {
            let (store, started) = (store.clone(), Arc::clone(&started));
            tokio::spawn(async move {
                store
                    .read(move |tx| {
                        let before = version_of(tx.read(Patient, "p1")?);
                        started.notify_one();
                        gone.recv().unwrap();
                        Ok::<_, StoreError>((before, version_of(tx.read(Patient, "p1")?)))
                    })
                    .await
                    .unwrap()
            })
        };
        started.notified().await;
        write(&store, |tx| tx.update(patient("B"), "p1", None)).await;
        go.send(()).unwrap();
        assert_eq!(reader.await.unwrap(), (Some(1), Some(1)));
        assert_eq!(version_of(read(&store, |tx| tx.read(Patient, "p1")).await), Some(2));
        let refused = store.read(|tx| tx.create(patient("C"), "p2")).await;
        assert_eq!(refused, Err(StoreError::ReadOnly));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_belongs_to_the_current_version_and_goes_with_it() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let definition = || fhir::Resource::new("StructureDefinition");
        let snapshot = fhir::Value::from("whole");
        let written = snapshot.clone();
        write(&store, move |tx| {
            tx.create(definition(), "s1")?;
            tx.set_snapshot("s1", &fhir::Value::from("first"))?;
            tx.set_snapshot("s1", &written)
        })
        .await;
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 1)).await, Some(snapshot.clone()));
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 2)).await, None);
        assert_eq!(read(&store, |tx| tx.snapshot("s2", 1)).await, None);

        write(&store, move |tx| tx.update(definition(), "s1", None)).await;
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 1)).await, None);
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 2)).await, None);
        let written = snapshot.clone();
        write(&store, move |tx| tx.set_snapshot("s1", &written)).await;
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 2)).await, Some(snapshot.clone()));

        let kind = ResourceType::StructureDefinition;
        write(&store, move |tx| tx.delete(kind, "s1")).await;
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 2)).await, None);
        let written = snapshot.clone();
        write(&store, move |tx| tx.set_snapshot("s1", &written)).await;
        assert_eq!(read(&store, |tx| tx.snapshot("s1", 3)).await, None);
        write(&store, move |tx| tx.delete_permanently(kind, "s1")).await;
        store.close().await;
    })
    .await;
}
