//! What only a server has: settings and their errors, several engines, broken connections.

mod engines;
mod faults;
mod opening;

use tokio_postgres::NoTls;

use super::listener::Heard;
use super::{PostgreSql, Tls};

#[test]
fn settings_that_cannot_be_used_are_refused_with_the_key() {
    let refused = |url: &str, tls: &Tls, schema: &str| PostgreSql::new(url, None, tls, schema).map(|_| ()).unwrap_err();
    let (plain, local) = (Tls::Disabled, "postgres://a@localhost/b");
    for url in [
        "postgres://a@localhost",
        "postgres://localhost/b",
        "postgres://a@/b",
        "postgres:/x",
        "mysql://a@localhost/b",
        "postgres://a:secret@localhost/b",
        "postgres://a@localhost/b?password=secret",
        "postgres://a@localhost/b?sslmode=disable",
        "postgres://a@localhost/b?options=-csearch_path%3Dx",
    ] {
        let error = refused(url, &plain, "schleuse");
        assert_eq!(error.key, "url", "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for schema in ["", "public", "pg_x", "A", "1a", "a-b", "a b", "a\"b", "information_schema", &"a".repeat(49)] {
        assert_eq!(refused(local, &plain, schema).key, "schema", "{schema}");
    }
    assert_eq!(refused("postgres://a@db.example/b", &plain, "s").key, "tls");
    let empty = Tls::Required { authorities: b"no certificate".to_vec() };
    assert_eq!(refused(local, &empty, "s").key, "tls-authorities");
    for url in [local, "postgres://a@127.0.0.1:5433/b", "postgresql://a@/b?host=/run/postgresql&port=5433"] {
        let shown = format!("{:?}", PostgreSql::new(url, Some(b"secret"), &plain, "schleuse_1").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_notification_is_read_whole_or_not_at_all() {
    let heard = Heard { owner: "engine-1".to_owned(), time: 17, changes: true, jobs: false, outbox: true, work: false };
    assert_eq!(Heard::parse("engine-1 17 c-o-"), Some(heard));
    for text in
        ["", "engine-1", "engine-1 17", "engine-1 x c-o-", " 17 c-o-", "engine-1 17 c-o", "engine-1 17 c-o- more"]
    {
        assert_eq!(Heard::parse(text), None, "{text}");
    }
}

/// A client beside the store, for what an administrator does.
async fn client() -> tokio_postgres::Client {
    let url = std::env::var("SCHLEUSE_TEST_POSTGRES").unwrap();
    let (client, wire) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(wire);
    client
}
