//! `[store]`: a file of this node, or a database server that several engines share.
//!
//! What the server's URL means is checked by the engine, whose library reads it; here only what needs no such knowledge.

use std::path::PathBuf;

use settings::{Reader, Section};

use crate::Directory;

/// Schema of a node that shares its database with nobody.
const SCHEMA: &str = "schleuse";

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    PostgreSql(PostgreSqlStore),
}

/// A database of a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgreSqlStore {
    /// `postgres://user@host:port/database`, without a password.
    pub url: String,
    /// The schema that holds the tables.
    pub schema: String,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// PEM files with authorities of the server's certificate; `None` for a connection without TLS.
    pub tls_authorities: Option<Vec<PathBuf>>,
}

#[derive(Clone, Copy)]
enum TlsMode {
    Required,
    Disabled,
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<StoreUrl> {
    let url = section.string(reader, "url");
    let schema = section.string(reader, "schema");
    let password_file = section.string(reader, "password-file");
    let choices = [("require", TlsMode::Required), ("disable", TlsMode::Disabled)];
    let tls = section.choice(reader, "tls", &choices);
    let authorities = section.strings(reader, "tls-authorities");
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(reader);

    let is_server = url
        .as_ref()
        .is_some_and(|item| ["postgres://", "postgresql://"].iter().any(|scheme| item.value.starts_with(scheme)));
    if !is_server {
        let others = [&schema, &password_file].into_iter().flatten().next().is_some() || tls.is_some();
        if others || authorities.is_some() {
            let text = "has keys of a database server, but url names none";
            reader.error(&span, &path, text, "leave them out, or write url = \"postgres://...\"");
        }
        return read_sqlite(url, reader, directory);
    }
    let files = |names: Vec<settings::Item<String>>| {
        names.into_iter().map(|name| directory.root().join(name.value)).collect::<Vec<_>>()
    };
    // Missing means required: whoever does without says so.
    let tls = tls.map_or(TlsMode::Required, |item| item.value);
    let tls_authorities = match (tls, authorities) {
        (TlsMode::Disabled, None) => None,
        (TlsMode::Required, Some(names)) if !names.is_empty() => Some(files(names)),
        (TlsMode::Required, _) => {
            let text = "is missing, and TLS to the database server is required";
            let remedy = "name the PEM file of the authority of the server's certificate; tls = \"disable\" is for Unix sockets and this machine";
            reader.error(&span, "store.tls-authorities", text, remedy);
            return None;
        }
        (TlsMode::Disabled, Some(_)) => {
            let remedy = "leave one of them out";
            reader.error(&span, "store.tls-authorities", "is of no use with tls = \"disable\"", remedy);
            return None;
        }
    };
    Some(StoreUrl::PostgreSql(PostgreSqlStore {
        url: url?.value,
        schema: schema.map_or_else(|| SCHEMA.to_owned(), |item| item.value),
        password_file: password_file.map(|item| directory.root().join(item.value)),
        tls_authorities,
    }))
}

fn read_sqlite(
    item: Option<settings::Item<String>>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Option<StoreUrl> {
    let Some(item) = item else { return Some(StoreUrl::Sqlite(directory.data().join("engine.db"))) };
    match item.value.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() => Some(StoreUrl::Sqlite(directory.root().join(file))),
        _ => {
            let remedy = "write \"sqlite:data/engine.db\", or \"postgres://USER@HOST:PORT/DATABASE\"";
            reader.refuse(&item, "is no store of this version", remedy);
            None
        }
    }
}
