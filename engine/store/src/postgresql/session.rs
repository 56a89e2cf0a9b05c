//! Sessions on the server: how each is set up, and what must hold before the first is used.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;
use tokio_postgres::{Client, Socket};

use super::statements::Statements;
use super::tls::Protected;
use super::{PostgreSql, PostgreSqlConnection, Role, error};
use crate::{StoreError, limits};

/// PostgreSQL 13: `pg_xact_status` with 64-bit ids.
const OLDEST_VERSION: i64 = 130_000;

/// Own commits that are remembered until the server has told of them.
const OWN_TIMES: usize = 65_536;

/// The wire of a session.
pub(super) type Wire = tokio_postgres::Connection<Socket, Protected>;

/// A database that one store of this process uses.
pub(crate) struct Database {
    pub(super) settings: PostgreSql,
    owner: String,
    /// Times of own commits, which are not to be taken for those of others.
    own_times: Mutex<VecDeque<i64>>,
}

/// A session on the server.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) statements: Statements,
    /// History of the server that the session is on; another one after a failover.
    pub(super) timeline: String,
}

// === impl Database ===

impl Database {
    /// Checks the server and makes the schema.
    pub(super) fn open(settings: PostgreSql) -> Result<Self, StoreError> {
        let database = Self::new(settings);
        runtime()?.block_on(database.check())?;
        Ok(database)
    }

    fn new(settings: PostgreSql) -> Self {
        let owner = format!("engine-{}", uuid::Uuid::new_v4());
        Self { settings, owner, own_times: Mutex::default() }
    }

    /// Drops the schema.
    pub(super) fn remove(settings: PostgreSql) -> Result<(), StoreError> {
        let database = Self::new(settings);
        runtime()?.block_on(async {
            let (client, wire) = database.connect().await.map_err(|error| database.explain(&error))?;
            tokio::spawn(wire);
            let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", database.settings.schema);
            client.batch_execute(&drop).await.map_err(|error| error::translate(&error))
        })
    }

    /// Name under which this engine claims work.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// The connection of the writer thread.
    pub(crate) fn writer(self: &Arc<Self>) -> PostgreSqlConnection {
        PostgreSqlConnection::new(Arc::clone(self), Role::Writer)
    }

    /// A connection for snapshots; it connects when it is used.
    pub(crate) fn reader(self: &Arc<Self>) -> PostgreSqlConnection {
        PostgreSqlConnection::new(Arc::clone(self), Role::Reader)
    }

    /// The lock that whoever writes holds.
    pub(super) fn writer_lock(&self) -> i64 {
        self.settings.lock("writer", "")
    }

    /// The lock that an engine holds as long as it lives.
    pub(super) fn presence_lock(&self, owner: &str) -> i64 {
        self.settings.lock("presence", owner)
    }

    pub(super) fn explain(&self, cause: &tokio_postgres::Error) -> StoreError {
        error::explain(cause, &self.settings.place(), self.settings.user())
    }

    /// Connects and sets the session up.
    pub(super) async fn connect(&self) -> Result<(Client, Wire), tokio_postgres::Error> {
        let (client, mut wire) = self.settings.config.connect(self.settings.tls.clone()).await?;
        {
            let setup = self.setup();
            let setup = client.batch_execute(&setup);
            tokio::pin!(setup);
            // The wire must be driven for the answer to arrive, and is given away afterwards.
            tokio::select! {
                done = &mut setup => done?,
                ended = &mut wire => ended?,
            }
        }
        Ok((client, wire))
    }

    /// What every session is set to. Times are bounded on the server too: an engine that is cut off cannot end its own
    /// transaction. A stronger `synchronous_commit` than `on` is left as it is.
    fn setup(&self) -> String {
        let millis = |time: std::time::Duration| time.as_millis();
        format!(
            "SET search_path TO {schema};
             SET statement_timeout TO {statement};
             SET lock_timeout TO {lock};
             SET idle_in_transaction_session_timeout TO {idle};
             SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5; SET tcp_keepalives_count TO 3;
             SET default_transaction_isolation TO 'read committed';
             SET default_transaction_read_only TO off;
             SET client_min_messages TO warning;
             SET jit TO off;
             SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') IN ('off', 'local');",
            schema = self.settings.schema,
            statement = millis(limits::STATEMENT),
            lock = millis(limits::LOCK),
            idle = millis(limits::IDLE_IN_TRANSACTION),
        )
    }

    async fn check(&self) -> Result<(), StoreError> {
        let (client, wire) = self.connect().await.map_err(|error| self.explain(&error))?;
        let wire = tokio::spawn(wire);
        let result = self.check_server(&client).await;
        drop(client);
        let _ = wire.await;
        result
    }

    async fn check_server(&self, client: &Client) -> Result<(), StoreError> {
        let place = self.settings.place();
        let setup = |cause: String, remedy: &str| Err(StoreError::Setup { cause, remedy: remedy.to_owned() });
        let translate = |error: tokio_postgres::Error| error::translate(&error);
        let server = client
            .query_one(
                "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
                    pg_is_in_recovery(), current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'",
                &[],
            )
            .await
            .map_err(translate)?;
        let get = |error: tokio_postgres::Error| StoreError::BadRow(error.to_string());
        let version: i64 = server.try_get(0).map_err(get)?;
        if version < OLDEST_VERSION {
            let cause = format!("the database server {place} is PostgreSQL {}", version / 10_000);
            return setup(cause, "use PostgreSQL 13 or newer");
        }
        let encoding: String = server.try_get(1).map_err(get)?;
        if encoding != "UTF8" {
            let cause = format!("the database {place} keeps text as {encoding}");
            return setup(cause, "create it with ENCODING 'UTF8' TEMPLATE template0");
        }
        if server.try_get(2).map_err(get)? {
            let cause = format!("the database server {place} is a standby and takes no writes");
            return setup(cause, "name the primary in url, or several hosts with target_session_attrs=read-write");
        }
        if !server.try_get::<_, bool>(3).map_err(get)? {
            tracing::warn!(
                "the database server does not wait for its disk (fsync or full_page_writes is off): a power cut can lose or damage what was accepted"
            );
        }
        self.make_schema(client).await
    }

    async fn make_schema(&self, client: &Client) -> Result<(), StoreError> {
        let PostgreSql { schema, .. } = &self.settings;
        let create = format!(
            "SELECT pg_advisory_xact_lock({}); CREATE SCHEMA IF NOT EXISTS {schema}",
            self.settings.lock("schema", "")
        );
        let state = "SELECT COUNT(*)::bigint,
                COALESCE(MAX(has_schema_privilege(n.oid, 'CREATE')::int), 0)::bigint,
                (SELECT COUNT(*) FROM pg_class AS c JOIN pg_namespace AS m ON m.oid = c.relnamespace
                    WHERE m.nspname = $1 AND c.relkind = 'r'),
                (SELECT COUNT(*) FROM pg_class AS c JOIN pg_namespace AS m ON m.oid = c.relnamespace
                    WHERE m.nspname = $1 AND c.relname = 'schema_step')
            FROM pg_namespace AS n WHERE n.nspname = $1";
        let state = client.prepare_typed(state, &[tokio_postgres::types::Type::TEXT]).await;
        let state = state.map_err(|error| error::translate(&error))?;
        let found = client.query_one(&state, &[schema]).await.map_err(|error| error::translate(&error))?;
        let number =
            |column: usize| found.try_get::<_, i64>(column).map_err(|error| StoreError::BadRow(error.to_string()));
        if number(0)? == 0 {
            return client.batch_execute(&create).await.map_err(|error| match error.code() {
                Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => StoreError::Setup {
                    cause: format!("the user {} may not create the schema {schema}", self.settings.user()),
                    remedy: error::no_rights(self.settings.user()),
                },
                _ => error::translate(&error),
            });
        }
        if number(2)? > 0 && number(3)? == 0 {
            return Err(StoreError::Setup {
                cause: format!("the schema {schema} of {} holds tables of another program", self.settings.place()),
                remedy: "name another schema in [store]".to_owned(),
            });
        }
        if number(1)? == 0 {
            return Err(StoreError::Setup {
                cause: format!("the user {} may not create tables in the schema {schema}", self.settings.user()),
                remedy: format!("ALTER SCHEMA {schema} OWNER TO {}", self.settings.user()),
            });
        }
        Ok(())
    }

    /// Remembers a commit as this engine's, before it happens.
    pub(super) fn remember_own(&self, time: i64) {
        let mut times = self.own_times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= OWN_TIMES {
            times.pop_front();
        }
        times.push_back(time);
    }

    /// The server has told of an own commit: those up to it need not be known any more.
    pub(super) fn forget_own(&self, time: i64) {
        let mut times = self.own_times.lock().unwrap_or_else(PoisonError::into_inner);
        while times.front().is_some_and(|own| *own <= time) {
            times.pop_front();
        }
    }

    pub(super) fn is_own(&self, time: i64) -> bool {
        self.own_times.lock().unwrap_or_else(PoisonError::into_inner).contains(&time)
    }
}

/// A runtime for one thread that waits for the server, as the writer and the readers do.
pub(super) fn runtime() -> Result<Runtime, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StoreError::Io(error.to_string()))
}
