//! The store that tests of other crates run on: a file of the test, or with `SCHLEUSE_TEST_STORE=postgresql` a schema of
//! its own on the server of `SCHLEUSE_TEST_POSTGRES`.
//!
//! A test names its store by the path of the file; the same path is the same store, over restarts and from other
//! processes. A schema is removed when the folder of its path is gone, by the next test that opens one: a note of each
//! lies in the folder for temporary files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a surprise is a failed test, and says where")]

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use store::{PostgreSql, Store, StoreError, StoreOptions, Tls};

const STORE: &str = "SCHLEUSE_TEST_STORE";
const SERVER: &str = "SCHLEUSE_TEST_POSTGRES";

/// Whether the tests run on PostgreSQL.
///
/// # Panics
/// When `SCHLEUSE_TEST_STORE` names no store.
#[must_use]
pub fn is_postgresql() -> bool {
    match std::env::var(STORE).as_deref() {
        Ok("postgresql") => true,
        Ok("sqlite") => false,
        Ok(other) => panic!("{STORE} is {other:?}, not sqlite or postgresql"),
        Err(_) => {
            println!("not tested on PostgreSQL: {STORE} is not set to postgresql");
            false
        }
    }
}

/// Opens the store of a path.
pub async fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
    if !is_postgresql() {
        return Store::open_sqlite(path, options).await;
    }
    remove_old().await;
    let schema = schema(path);
    let folder = path.parent().expect("a path in a folder");
    fs::create_dir_all(notes()).unwrap();
    fs::write(notes().join(&schema), format!("{}\n{}", server(), folder.display())).unwrap();
    Store::open_postgresql(database(&schema), options).await
}

fn database(schema: &str) -> PostgreSql {
    PostgreSql::new(&server(), None, &Tls::Disabled, schema).expect("a usable URL")
}

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} is not set; scripts/with-postgres sets it"))
}

fn schema(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("test_{name}")
}

fn notes() -> PathBuf {
    std::env::temp_dir().join("schleuse-test-schemas")
}

/// Removes the schemas of this server whose folders are gone.
async fn remove_old() {
    let Ok(entries) = fs::read_dir(notes()) else { return };
    for entry in entries.flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let Some((server_of, folder)) = text.split_once('\n') else { continue };
        if fs::metadata(folder).is_ok() {
            continue;
        }
        // Whoever removes the note removes the schema; of another server there is nothing that could be removed.
        if fs::remove_file(entry.path()).is_ok() && server_of == server() {
            let schema = entry.file_name();
            database(schema.to_str().expect("a name of this crate")).remove().await.unwrap();
        }
    }
}
