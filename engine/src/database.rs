//! The store that `node.toml` names, checked before it is opened.

use std::path::Path;

use node::{NODE_TOML, PostgreSqlStore, StoreUrl};
use settings::Finding;
use store::{IndexContext, PostgreSql, SettingError, Store, StoreOptions, Tls};

use crate::run::RunError;

/// Bytes of a password or of a file of authorities; more is another file.
const SECRET_BYTES: u64 = 1 << 20;

/// The lock of an engine whose store is elsewhere.
const LOCK: &str = "engine.lock";

/// Opens the store.
pub(crate) async fn open(settings: &node::Settings) -> Result<Store, RunError> {
    let context = IndexContext { base: Some(settings.base_url.as_str().to_owned()), ..IndexContext::default() };
    let options = StoreOptions { context, ..StoreOptions::default() };
    Ok(match &settings.store {
        StoreUrl::Sqlite(path) => Store::open_sqlite(path, options).await?,
        StoreUrl::PostgreSql(database) => {
            let database = read(database).map_err(|finding| RunError::Database(finding.to_string()))?;
            Store::open_postgresql(database, options).await?
        }
    })
}

/// Keeps a second engine out of this directory if the store does not: its sockets and its audit log have one writer.
pub(crate) fn lock(settings: &node::Settings) -> Result<Option<std::fs::File>, RunError> {
    if matches!(settings.store, StoreUrl::Sqlite(_)) {
        return Ok(None);
    }
    let path = settings.directory.data().join(LOCK);
    let locked = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).and_then(|file| {
        file.try_lock().map_err(std::io::Error::from)?;
        Ok(file)
    });
    locked.map(Some).map_err(|source| RunError::Directory { path: path.display().to_string(), source })
}

/// What is wrong with the settings of a database server, as far as it can be told without asking it.
pub(crate) fn findings(store: &StoreUrl) -> Option<Finding> {
    match store {
        StoreUrl::Sqlite(_) => None,
        StoreUrl::PostgreSql(database) => read(database).err(),
    }
}

fn read(database: &PostgreSqlStore) -> Result<PostgreSql, Finding> {
    let password = database.password_file.as_deref().map(read_password).transpose()?;
    let tls = match &database.tls_authorities {
        None => Tls::Disabled,
        Some(files) => {
            let mut authorities = Vec::new();
            for file in files {
                authorities.extend(read_file("tls-authorities", file)?);
                authorities.push(b'\n');
            }
            Tls::Required { authorities }
        }
    };
    let refused =
        |error: SettingError| Finding::in_file(NODE_TOML, format!("store.{}: {}", error.key, error.text), error.remedy);
    PostgreSql::new(&database.url, password.as_deref(), &tls, &database.schema).map_err(refused)
}

/// The password stands alone in its file; the end of the line is not part of it.
fn read_password(file: &Path) -> Result<Vec<u8>, Finding> {
    let mut password = read_file("password-file", file)?;
    while password.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        password.pop();
    }
    if password.is_empty() || password.contains(&b'\n') {
        let text = format!("store.password-file: {} does not hold one password", file.display());
        return Err(Finding::in_file(NODE_TOML, text, "write the password into it, without anything else"));
    }
    Ok(password)
}

fn read_file(key: &str, file: &Path) -> Result<Vec<u8>, Finding> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(SECRET_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let text = format!("store.{key}: {} cannot be read: {error}", file.display());
            Err(Finding::in_file(NODE_TOML, text, "name a file that the engine's user can read"))
        }
    }
}
