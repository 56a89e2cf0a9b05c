//! What the tests share: the backends, a clock that stands still, small resources.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fhir::{Limits, Resource};
use time::{Duration, OffsetDateTime};

use crate::{PostgreSql, Store, StoreError, StoreOptions, Tls};

const POSTGRESQL: &str = "SCHLEUSE_TEST_POSTGRES";

/// A database that can be opened again and again.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of it")]
pub(crate) enum Backend {
    Sqlite(PathBuf),
    PostgreSql(PostgreSql),
}

/// A clock that the test moves.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl Backend {
    pub(crate) async fn open(&self) -> Store {
        self.open_with(StoreOptions::default()).await.unwrap()
    }

    pub(crate) async fn open_with(&self, options: StoreOptions) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(path) => Store::open_sqlite(path, options).await,
            Self::PostgreSql(database) => Store::open_postgresql(database.clone(), options).await,
        }
    }
}

/// The database of `SCHLEUSE_TEST_POSTGRES`, with a schema that nobody else has; none without the variable.
pub(crate) fn postgresql() -> Option<PostgreSql> {
    let Ok(url) = std::env::var(POSTGRESQL) else {
        println!("not tested on PostgreSQL: {POSTGRESQL} is not set; scripts/with-postgres sets it");
        return None;
    };
    Some(postgresql_at(&url, &format!("test_{}", uuid::Uuid::new_v4().simple())))
}

pub(crate) fn postgresql_at(url: &str, schema: &str) -> PostgreSql {
    PostgreSql::new(url, None, &Tls::Disabled, schema).unwrap()
}

/// Runs the test on a fresh database of every kind that is available.
pub(crate) async fn each_backend<F, Fut>(test: F)
where
    F: Fn(Backend) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = tempfile::tempdir().unwrap();
    test(Backend::Sqlite(file(directory.path()))).await;
    on_postgresql(|database| test(Backend::PostgreSql(database))).await;
}

/// [`each_backend`] for a test that runs many times: the server has its turn in one of four.
pub(crate) async fn each_backend_in_turns<F, Fut>(test: F)
where
    F: Fn(Backend) -> Fut,
    Fut: Future<Output = ()>,
{
    static TURN: AtomicI64 = AtomicI64::new(0);
    if TURN.fetch_add(1, Ordering::Relaxed) % 4 == 0 {
        return each_backend(test).await;
    }
    let directory = tempfile::tempdir().unwrap();
    test(Backend::Sqlite(file(directory.path()))).await;
}

/// Runs the test on a schema of its own, if there is a server, and removes the schema.
pub(crate) async fn on_postgresql<F, Fut>(test: F)
where
    F: FnOnce(PostgreSql) -> Fut,
    Fut: Future<Output = ()>,
{
    let Some(database) = postgresql() else { return };
    test(database.clone()).await;
    database.remove().await.unwrap();
}

pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("engine.db")
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        crate::sql::from_millis(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.whole_milliseconds()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let clock = self.clone();
        StoreOptions { clock: Some(Arc::new(move || clock.now())), ..StoreOptions::default() }
    }
}

/// Reads a resource from JSON with single quotes.
pub(crate) fn resource(json: &str) -> Resource {
    fhir::json::parse(json.replace('\'', "\"").as_bytes(), &Limits::default()).unwrap()
}

pub(crate) fn patient(name: &str) -> Resource {
    resource(&format!(
        "{{'resourceType':'Patient','meta':{{'tag':[{{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'LOCAL'}}]}},\
         'active':true,'name':[{{'family':'{name}'}}]}}"
    ))
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
