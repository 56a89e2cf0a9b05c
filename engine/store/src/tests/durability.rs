//! `kill -9` loses nothing that was answered and leaves nothing half done.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use fhir::ResourceType::Patient;

use super::support::{Backend, each_backend, file, on_postgresql, patient, postgresql_at};
use crate::processes::{InstanceState, NewInstance};
use crate::{Found, StoreError};

const DIRECTORY: &str = "STORE_TEST_KILLED_WRITER";
const SCHEMA: &str = "STORE_TEST_KILLED_WRITER_SCHEMA";

/// Not a test by itself: what the child process of the next test does until it is killed.
#[test]
fn killed_writer() {
    let backend = match (std::env::var_os(DIRECTORY), std::env::var(SCHEMA)) {
        (Some(directory), _) => Backend::Sqlite(file(directory.as_ref())),
        (None, Ok(schema)) => {
            Backend::PostgreSql(postgresql_at(&std::env::var("SCHLEUSE_TEST_POSTGRES").unwrap(), &schema))
        }
        (None, Err(_)) => return,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let store = backend.open().await;
        let start = store.read(|tx| Ok::<_, StoreError>(tx.all(Patient)?.len())).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..8 {
            let store = store.clone();
            writers.spawn(async move {
                for number in start.. {
                    let id = format!("{lane}-{number}");
                    let task = id.clone();
                    store
                        .write(move |tx| {
                            tx.create(patient("A"), &task)?;
                            tx.update(patient("B"), &task, Some(1))?;
                            tx.insert_instance(&NewInstance {
                                id: task.clone(),
                                process_key: "example_ping".to_owned(),
                                version_tag: "1.0".to_owned(),
                                definition_digest: "d".to_owned(),
                                business_key: task,
                                alternative_business_key: None,
                                state: InstanceState::Running,
                                data: vec![1; 2000],
                            })
                        })
                        .await
                        .unwrap();
                    println!("done {id}");
                }
            });
        }
        writers.join_all().await;
    });
}

#[tokio::test]
async fn a_killed_writer_has_lost_nothing_that_it_answered() {
    let directory = tempfile::tempdir().unwrap();
    let environment = (DIRECTORY, directory.path().to_str().unwrap());
    killed(&Backend::Sqlite(file(directory.path())), environment).await;
    on_postgresql(|database| async move {
        let schema = database.schema().to_owned();
        killed(&Backend::PostgreSql(database), (SCHEMA, &schema)).await;
    })
    .await;
}

async fn killed(backend: &Backend, environment: (&str, &str)) {
    let mut answered: Vec<String> = Vec::new();
    for round in 0..4_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::durability::killed_writer", "--nocapture", "--test-threads=1"])
            .env(environment.0, environment.1)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.filter_map(|line| line.split_once("done ").map(|(_, id)| id.to_owned())).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(150 + 130 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        answered.extend(reader.join().unwrap());
    }
    assert!(answered.len() > 20, "only {} were answered", answered.len());

    let store = backend.open().await;
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    let (patients, instances) = store
        .read(|tx| {
            let patients: Vec<_> = tx.all(Patient)?.into_iter().map(|found| (found.id, found.version)).collect();
            let list = crate::processes::InstanceList { limit: 10_000, ..Default::default() };
            let instances: std::collections::BTreeSet<_> =
                tx.instances(&list)?.into_iter().map(|instance| instance.id).collect();
            Ok::<_, StoreError>((patients, instances))
        })
        .await
        .unwrap();
    for (id, version) in &patients {
        assert_eq!(*version, 2, "{id} is half done");
        assert!(instances.contains(id), "{id} has no instance");
    }
    assert_eq!(patients.len(), instances.len());
    for id in &answered {
        assert!(instances.contains(id), "{id} was answered and is lost");
    }
    store.close().await;
}

#[tokio::test]
async fn what_is_not_committed_is_gone_after_reopening() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let failed = store
            .write(|tx| {
                tx.create(patient("A"), "p1")?;
                Err::<(), _>(StoreError::Unsearchable("no".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        store.close().await;
        let store = backend.open().await;
        assert_eq!(store.read(|tx| tx.read(Patient, "p1")).await, Ok(Found::Missing));
        store.close().await;
    })
    .await;
}
