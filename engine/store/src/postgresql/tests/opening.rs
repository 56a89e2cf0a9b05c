//! The first connection: what is wrong is said with what to do.

use super::client;
use crate::tests::support::{on_postgresql, postgresql_at};
use crate::{PostgreSql, Store, StoreError, StoreOptions, Tls};

async fn refused(database: PostgreSql) -> String {
    match Store::open_postgresql(database, StoreOptions::default()).await {
        Err(error @ StoreError::Setup { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("opened"),
    }
}

fn url() -> String {
    std::env::var("SCHLEUSE_TEST_POSTGRES").unwrap()
}

/// A role, made anew.
async fn role(name: &str, with: &str) {
    let text = format!("DROP ROLE IF EXISTS \"{name}\"; CREATE ROLE \"{name}\" LOGIN {with}");
    client().await.batch_execute(&text).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let database = PostgreSql::new("postgres://a@127.0.0.1:1/b", None, &Tls::Disabled, "s").unwrap();
    let text = refused(database).await;
    assert!(text.contains("127.0.0.1 port 1") && text.contains("check host and port"), "{text}");
}

#[tokio::test]
async fn passwords_rights_and_databases_are_told_apart() {
    on_postgresql(|_| async {
        role("with-password", "PASSWORD 'right'").await;
        let with = |password: &'static [u8]| {
            let url = url().replace("schleuse@", "with-password@");
            PostgreSql::new(&url, Some(password), &Tls::Disabled, "schema_of_nobody").unwrap()
        };
        let text = refused(with(b"wrong")).await;
        assert!(text.contains("password-file"), "{text}");
        let text = refused(with(b"right")).await;
        assert!(text.contains("may not create the schema") && text.contains("GRANT CREATE"), "{text}");

        let missing = url().replace("/postgres?", "/nowhere?");
        let text = refused(postgresql_at(&missing, "s")).await;
        assert!(text.contains("CREATE DATABASE"), "{text}");

        let name = format!("latin_{}", uuid::Uuid::new_v4().simple());
        let admin = client().await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
            .await
            .unwrap();
        let text = refused(postgresql_at(&url().replace("/postgres?", &format!("/{name}?")), "s")).await;
        admin.batch_execute(&format!("DROP DATABASE {name}")).await.unwrap();
        assert!(text.contains("LATIN1") && text.contains("ENCODING 'UTF8'"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn tables_of_others_and_newer_schemas_are_left_alone() {
    on_postgresql(|database| async move {
        let admin = client().await;
        let schema = &database.schema;
        admin.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.other (a INT)")).await.unwrap();
        let text = refused(database.clone()).await;
        assert!(text.contains("tables of another program"), "{text}");
        admin.batch_execute(&format!("DROP TABLE {schema}.other")).await.unwrap();
        let store = Store::open_postgresql(database.clone(), StoreOptions::default()).await.unwrap();
        store.close().await;
        let newer = format!("INSERT INTO {schema}.schema_step (number, name, applied) VALUES (99, 'later', 0)");
        admin.batch_execute(&newer).await.unwrap();
        let error = Store::open_postgresql(database, StoreOptions::default()).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn engines_that_start_together_make_the_schema_once() {
    on_postgresql(|database| async move {
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..4 {
            opening.spawn(Store::open_postgresql(database.clone(), StoreOptions::default()));
        }
        for store in opening.join_all().await {
            store.unwrap().close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn tls_is_used_and_the_server_must_prove_who_it_is() {
    let variable = |name: &str| std::env::var(format!("SCHLEUSE_TEST_POSTGRES_{name}")).ok();
    let (Some(url), Some(authority)) = (variable("TLS"), variable("CA")) else {
        println!("not tested: TLS to PostgreSQL, the variables of scripts/with-postgres are not set");
        return;
    };
    on_postgresql(|database| async move {
        let authorities = std::fs::read(authority).unwrap();
        let tls = Tls::Required { authorities };
        let trusted = PostgreSql::new(&url, None, &tls, &database.schema).unwrap();
        let store = Store::open_postgresql(trusted, StoreOptions::default()).await.unwrap();
        let versions = store
            .read(|tx| {
                let sql = "SELECT version FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
                tx.rows(sql, &[], |row| row.string(0))
            })
            .await;
        assert_eq!(versions.unwrap(), ["TLSv1.3"]);
        store.close().await;

        let other_name = url.replace("localhost", "127.0.0.1");
        let text = refused(PostgreSql::new(&other_name, None, &tls, &database.schema).unwrap()).await;
        assert!(text.contains("does not prove who it is"), "{text}");

        let stranger = certificate_of_a_stranger();
        let text = refused(PostgreSql::new(&url, None, &stranger, &database.schema).unwrap()).await;
        assert!(text.contains("does not prove who it is"), "{text}");
    })
    .await;
}

/// An authority that has nothing to do with the server.
fn certificate_of_a_stranger() -> Tls {
    use certs::development::{Authority, KeyType, Subject, Validity};
    let subject = Subject::german("Stranger", "Authority");
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 2);
    let authority = Authority::root(&subject, KeyType::EcdsaP256, validity).unwrap();
    Tls::Required { authorities: authority.certificate_pem().into() }
}
