//! Many closures, one commit; each answers for itself.

use std::sync::mpsc;

use fhir::ResourceType::Patient;

use super::support::{Backend, each_backend, patient};
use crate::{Found, StoreError};

#[tokio::test]
async fn closures_that_wait_share_a_commit_and_fail_alone() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let before = store.statistics();
        // The first closure keeps the writer busy until all others are queued.
        let (go, gone) = mpsc::channel::<()>();
        let first = {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(move |_| {
                        gone.recv().unwrap();
                        Ok::<_, StoreError>(())
                    })
                    .await
            })
        };
        let mut others = Vec::new();
        for number in 0..60 {
            let store = store.clone();
            others.push(tokio::spawn(async move {
                let work = move |tx: &mut crate::Transaction<'_>| {
                    tx.create(patient("A"), &format!("p{number}"))?;
                    match number % 3 {
                        0 => Ok(()),
                        1 => Err(StoreError::Unsearchable(number.to_string())),
                        _ => panic!("number {number}"),
                    }
                };
                store.write(work).await
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        for (number, other) in others.into_iter().enumerate() {
            let result = other.await.unwrap();
            match number % 3 {
                0 => assert_eq!(result, Ok(())),
                1 => assert_eq!(result, Err(StoreError::Unsearchable(number.to_string()))),
                _ => assert_eq!(result, Err(StoreError::Panicked(format!("number {number}")))),
            }
            let id = format!("p{number}");
            let found = store.read(move |tx| tx.read(Patient, &id)).await.unwrap();
            assert_eq!(matches!(found, Found::Current(_)), number % 3 == 0, "{number}");
        }
        let after = store.statistics();
        assert_eq!(after.rolled_back - before.rolled_back, 40);
        assert!(after.commits - before.commits < 30, "{} commits", after.commits - before.commits);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_closure_that_panics_within_an_attempt_leaves_nothing() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let panics = |tx: &mut crate::Transaction<'_>| {
            tx.create(patient("A"), "before")?;
            tx.attempt(|tx| {
                tx.create(patient("A"), "within")?;
                assert!(tx.changes().is_empty(), "in the middle of an attempt");
                Ok::<_, StoreError>(())
            })
        };
        let result = store.write(panics).await;
        assert!(matches!(result, Err(StoreError::Panicked(_))), "{result:?}");
        store.write(|tx| tx.create(patient("A"), "after")).await.unwrap();
        for (id, is_there) in [("before", false), ("within", false), ("after", true)] {
            let found = store.read(move |tx| tx.read(Patient, id)).await.unwrap();
            assert_eq!(matches!(found, Found::Current(_)), is_there, "{id}");
        }
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is_closed() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        store.close().await;
        assert_eq!(store.write(|_| Ok::<_, StoreError>(())).await, Err(StoreError::Closed));
        assert_eq!(store.read(|_| Ok::<_, StoreError>(())).await, Err(StoreError::Closed));
    })
    .await;
}
