//! Errors of the client library in the words of the store.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::StoreError;

/// An error while the store is open.
pub(super) fn translate(error: &Error) -> StoreError {
    let Some(cause) = error.as_db_error() else {
        return if is_lost(error) { StoreError::Unavailable(chain(error)) } else { StoreError::Database(chain(error)) };
    };
    let text = format!("{} ({})", cause.message(), cause.code().code());
    match *cause.code() {
        SqlState::DISK_FULL => StoreError::DiskFull(text),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreError::Corrupted(text),
        SqlState::IO_ERROR => StoreError::Io(text),
        SqlState::LOCK_NOT_AVAILABLE => StoreError::Locked(text),
        SqlState::QUERY_CANCELED => StoreError::TooSlow(text),
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::IN_FAILED_SQL_TRANSACTION
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | SqlState::OUT_OF_MEMORY => StoreError::RolledBack(text),
        _ if is_lost(error) => StoreError::Unavailable(text),
        _ => StoreError::Database(text),
    }
}

/// Whether the connection is of no use any more, or there was none.
pub(super) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(cause) => is_shutdown(cause) || cause.severity() == "FATAL" || cause.severity() == "PANIC",
        None => {
            error.is_closed() || std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
        }
    }
}

/// Whether connecting again soon may help: the server is starting, stopping, full, or not there.
pub(super) fn may_pass(error: &Error) -> bool {
    match error.as_db_error() {
        Some(cause) => is_shutdown(cause),
        None => !is_certificate(error),
    }
}

fn is_shutdown(cause: &DbError) -> bool {
    let code = cause.code();
    let passing = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    passing.contains(code) || code.code().starts_with("08")
}

fn is_certificate(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// An error at the first connection, with the remedy.
pub(super) fn explain(error: &Error, place: &str, user: &str) -> StoreError {
    let setup = |cause: String, remedy: String| StoreError::Setup { cause, remedy };
    let Some(cause) = error.as_db_error() else {
        if is_certificate(error) {
            let remedy = "tls-authorities must hold the authority of the server's certificate, and the certificate must name the host of url";
            return setup(
                format!("the database server {place} does not prove who it is: {}", chain(error)),
                remedy.to_owned(),
            );
        }
        let text = chain(error);
        let remedy = if text.contains("does not support TLS") {
            "set ssl = on in postgresql.conf, with a certificate of the host"
        } else {
            "check host and port of url in [store], that PostgreSQL listens there (listen_addresses) and that no firewall is between"
        };
        return setup(format!("the database server {place} cannot be reached: {text}"), remedy.to_owned());
    };
    let text = cause.message();
    let remedy = match *cause.code() {
        SqlState::INVALID_PASSWORD => {
            format!("write the password of {user} into the file of password-file, without anything else")
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!("create the user ({user}), and let it in with a line of pg_hba.conf (scram-sha-256)")
        }
        SqlState::INVALID_CATALOG_NAME => {
            format!("create it: CREATE DATABASE name OWNER {user} ENCODING 'UTF8' TEMPLATE template0")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => no_rights(user),
        _ if may_pass(error) => "wait until the server has started, or raise its max_connections".to_owned(),
        _ => "look into the log of the server".to_owned(),
    };
    setup(format!("the database {place} refuses the user {user}: {text} ({})", cause.code().code()), remedy)
}

pub(super) fn no_rights(user: &str) -> String {
    format!("make {user} the owner of the database, or GRANT CREATE ON DATABASE name TO {user}")
}

/// The error with its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
