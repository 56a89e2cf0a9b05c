//! Connections that break at any moment: what was answered is true, and the store goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fhir::ResourceType::Patient;

use super::client;
use crate::tests::support::{on_postgresql, patient};
use crate::{Found, PostgreSql, Store, StoreError, StoreOptions};

async fn open(database: &PostgreSql) -> Store {
    Store::open_postgresql(database.clone(), StoreOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_ended_at_any_moment_make_no_answer_false() {
    on_postgresql(|database| async move {
        let stores = [open(&database).await, open(&database).await];
        let stop = Arc::new(AtomicBool::new(false));
        let mut writing = tokio::task::JoinSet::new();
        for lane in 0..8_usize {
            let (store, stop) = (stores[lane % 2].clone(), Arc::clone(&stop));
            writing.spawn(async move {
                let mut answers = Vec::new();
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let id = format!("{lane}-{number}");
                    let copy = id.clone();
                    let answer = store.write(move |tx| tx.create(patient("A"), &copy).map(drop)).await;
                    answers.push((id, answer));
                }
                answers
            });
        }
        let admin = client().await;
        let mut changes = stores[1].subscribe();
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            // The sessions of this schema alone: other tests run on the same server.
            let end = format!(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l WHERE l.locktype = 'advisory'
                    AND ((l.classid::bigint << 32) | l.objid::bigint) = {}",
                database.lock("writer", "")
            );
            admin.batch_execute(&end).await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        let answers: Vec<_> = writing.join_all().await.into_iter().flatten().collect();
        let failed = answers.iter().filter(|(_, answer)| answer.is_err()).count();
        println!("{} writes, {failed} failed", answers.len());
        assert!(answers.len() - failed > 50, "the store goes on");
        for (id, answer) in answers {
            let copy = id.clone();
            let found = stores[0].read(move |tx| tx.read(Patient, &copy)).await.unwrap();
            let is_stored = found != Found::Missing;
            match answer {
                Ok(()) => assert!(is_stored, "{id} was answered and is lost"),
                Err(StoreError::CommitUnknown(_)) => {}
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    assert!(!is_stored, "{id} was refused with {error} and is stored");
                }
            }
        }
        while changes.try_recv().is_ok() {}
        for store in stores {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_was_cut_off_catches_up() {
    on_postgresql(|database| async move {
        let (first, second) = (open(&database).await, open(&database).await);
        let mut changes = second.subscribe();
        let admin = client().await;
        let end = format!(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l WHERE l.locktype = 'advisory'
                AND ((l.classid::bigint << 32) | l.objid::bigint) = {}",
            database.lock("presence", second.owner())
        );
        for number in 0..5 {
            let ended: u64 = admin.execute(&end, &[]).await.unwrap();
            assert!(ended > 0 || number > 0, "the listener's session is found");
            for part in 0..20 {
                let id = format!("p{number}-{part}");
                first.write(move |tx| tx.create(patient("A"), &id).map(drop)).await.unwrap();
            }
        }
        let mut heard = std::collections::BTreeSet::new();
        while heard.len() < 100 {
            let change = tokio::time::timeout(Duration::from_secs(20), changes.recv()).await;
            let change = change.unwrap_or_else(|_| panic!("only {} of 100 were heard", heard.len())).unwrap();
            assert!(heard.insert(change.id.clone()), "{} was announced twice", change.id);
        }
        first.close().await;
        second.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_begins_again_on_a_new_connection_only_before_its_first_answer() {
    on_postgresql(|database| async move {
        let store =
            Store::open_postgresql(database, StoreOptions { readers: 1, ..StoreOptions::default() }).await.unwrap();
        store.write(|tx| tx.create(patient("A"), "p1")).await.unwrap();
        let session = |store: Store| async move {
            store
                .read(|tx| tx.row("SELECT pg_backend_pid()::bigint", &[], |row| row.integer(0)))
                .await
                .unwrap()
                .unwrap()
        };
        let admin = client().await;
        let end = async |pid: i64| {
            let ended = admin.query_one("SELECT pg_terminate_backend($1::bigint::int)", &[&pid]).await.unwrap();
            assert!(ended.get::<_, bool>(0));
        };
        end(session(store.clone()).await).await;
        assert!(store.read(|tx| tx.read(Patient, "p1")).await.unwrap().current().is_some());

        let pid = session(store.clone()).await;
        let (began, go) = (tokio::sync::oneshot::channel::<()>(), std::sync::mpsc::channel::<()>());
        let (begin, begun) = began;
        let (let_go, gone) = go;
        let reading = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .read(move |tx| {
                        tx.read(Patient, "p1")?;
                        begin.send(()).unwrap();
                        gone.recv().unwrap();
                        tx.read(Patient, "p1")
                    })
                    .await
            }
        });
        begun.await.unwrap();
        end(pid).await;
        let_go.send(()).unwrap();
        let error = reading.await.unwrap().unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(store.read(|tx| tx.read(Patient, "p1")).await.unwrap().current().is_some());
        store.close().await;
    })
    .await;
}
