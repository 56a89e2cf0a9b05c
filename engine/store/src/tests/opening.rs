//! Opening: permissions, locks, foreign and newer files, damage.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fhir::ResourceType::Patient;

use super::support::{Backend, file, patient};
use crate::{Found, Store, StoreError, StoreOptions};

#[tokio::test]
async fn a_second_engine_cannot_use_the_file_until_the_first_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::Sqlite(file(directory.path()));
    let store = backend.open().await;
    let second = backend.open_with(StoreOptions::default()).await;
    assert!(matches!(second.map(|_| ()), Err(StoreError::InUse { .. })));
    store.close().await;
    backend.open().await.close().await;
}

#[tokio::test]
async fn the_files_are_readable_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = Backend::Sqlite(path).open().await;
    store.write(|tx| tx.create(patient("A"), "p1")).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    assert!(names.len() >= 4, "{names:?}");
    store.close().await;
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    fs::write(&text, vec![b'x'; 8192]).unwrap();
    let error = Store::open_sqlite(&text, StoreOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&text).unwrap(), vec![b'x'; 8192]);

    let other = directory.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let error = Store::open_sqlite(&other, StoreOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = Store::open_sqlite("/nonexistent/engine.db", StoreOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/engine.db"), "{error}");
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let backend = Backend::Sqlite(path.clone());
    backend.open().await.close().await;
    let newer = "INSERT INTO schema_step (number, name, applied) VALUES (99, 'later', 0)";
    rusqlite::Connection::open(&path).unwrap().execute_batch(newer).unwrap();
    let error = backend.open_with(StoreOptions::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer program"));
}

#[tokio::test]
async fn damage_is_reported_as_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let backend = Backend::Sqlite(path.clone());
    let store = backend.open().await;
    for number in 0..200 {
        store.write(move |tx| tx.create(patient("A"), &format!("p{number}"))).await.unwrap();
    }
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[8192..end].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    match backend.open_with(StoreOptions::default()).await {
        Err(error) => assert!(matches!(error, StoreError::Corrupted(_)), "{error}"),
        Ok(store) => {
            let error = store.read(|tx| tx.read(Patient, "p1")).await.unwrap_err();
            assert!(matches!(error, StoreError::Corrupted(_)), "{error}");
            store.close().await;
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::Sqlite(file(directory.path()));
    let store = backend.open().await;
    let written = store.write(|tx| tx.create(patient("A"), "p1")).await.unwrap();
    store.close().await;
    let store = backend.open().await;
    assert_eq!(store.read(|tx| tx.read(Patient, "p1")).await.unwrap(), Found::Current(written));
    store.close().await;
}

/// The options stand in `.cargo/config.toml`, which a build from another folder would not read. That `fdatasync` is used
/// cannot be asked; it stands in the same line.
#[test]
fn sqlite_is_compiled_as_the_project_says() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for wanted in ["DEFAULT_MEMSTATUS=0", "DQS=0", "OMIT_LOAD_EXTENSION", "OMIT_SHARED_CACHE", "THREADSAFE=1"] {
        assert!(options.iter().any(|option| option == wanted), "{wanted} is not among {options:?}");
    }
    for unwanted in ["ENABLE_FTS3", "ENABLE_FTS5", "ENABLE_RTREE", "ENABLE_LOAD_EXTENSION", "ENABLE_MEMORY_MANAGEMENT"]
    {
        assert!(!options.iter().any(|option| option == unwanted), "{unwanted} is among {options:?}");
    }
}
