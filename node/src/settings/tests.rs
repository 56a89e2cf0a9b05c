use std::path::Path;
use std::time::Duration;

use super::{Address, OnFailure, PostgreSqlStore, ServerAuthentication, Settings, StoreUrl, parse};
use crate::{Directory, Template, node_toml};

fn template() -> String {
    node_toml(&Template {
        organization_identifier: "dic-1.example".to_owned(),
        base_url: "https://localhost:20443/fhir".to_owned(),
        endpoint_identifier: "dsf.dic-1.example".to_owned(),
        listen: "127.0.0.1:20443".to_owned(),
        management: "127.0.0.1:20480".to_owned(),
    })
}

fn read(text: &str) -> Result<Settings, Vec<String>> {
    let directory = Directory::new(Path::new("/node"));
    parse(&directory, text)
        .map(|(settings, _)| settings)
        .map_err(|found| found.iter().map(ToString::to_string).collect())
}

#[test]
fn the_template_is_read_back_without_a_finding() {
    let settings = read(&template()).unwrap();
    assert_eq!(settings.organization_identifier.as_str(), "dic-1.example");
    assert_eq!(settings.base_url.host(), "localhost");
    assert_eq!(settings.base_url.port(), 20443);
    assert_eq!(settings.base_url.path(), "/fhir");
    assert_eq!(settings.store, StoreUrl::Sqlite("/node/data/engine.db".into()));
    assert_eq!(settings.outgoing.proxy, None);
}

#[test]
fn a_single_process_may_fail_otherwise_than_the_others() {
    let with = |lines: &str| read(&format!("{}\n{lines}", template()));
    let settings = with("[engine.process.dsfdev_ping]\non-failure = \"incident\"").unwrap();
    assert_eq!(settings.engine.on_failure, OnFailure::Fail);
    assert_eq!(settings.engine.on_failure_of, [("dsfdev_ping".to_owned(), OnFailure::Incident)].into());
    for (lines, text) in [
        ("[engine.process.dsfdev_ping]", "says nothing"),
        ("[engine.process.dsfdev_ping]\non-failure = \"retry\"", "on-failure"),
        ("[engine.process.dsfdev_ping]\non-failure = \"fail\"\nretries = 3", "retries"),
        ("[engine.process]\ndsfdev_ping = \"incident\"", "dsfdev_ping"),
    ] {
        let found = with(lines).unwrap_err();
        assert!(found.iter().any(|line| line.contains(text)), "{lines}: {found:#?}");
    }
}

#[test]
fn a_database_server_is_reached_with_tls_unless_it_is_said_otherwise() {
    let with = |lines: &str| read(&template().replace("url = \"sqlite:data/engine.db\"", lines));
    let url = "url = \"postgres://schleuse@db.example/schleuse\"\n";
    let store = |lines: &str| with(&format!("{url}{lines}")).unwrap().store;
    let expected = PostgreSqlStore {
        url: "postgres://schleuse@db.example/schleuse".to_owned(),
        schema: "schleuse".to_owned(),
        password_file: Some("/node/store.password".into()),
        tls_authorities: Some(vec!["/node/trust/store.pem".into()]),
    };
    let lines = "password-file = \"store.password\"\ntls-authorities = [\"trust/store.pem\"]";
    assert_eq!(store(lines), StoreUrl::PostgreSql(expected.clone()));
    let plain = PostgreSqlStore { schema: "other".to_owned(), password_file: None, tls_authorities: None, ..expected };
    assert_eq!(store("tls = \"disable\"\nschema = \"other\""), StoreUrl::PostgreSql(plain));
    for (lines, text) in [
        (url.to_owned(), "TLS to the database server is required"),
        (format!("{url}tls = \"require\""), "TLS to the database server is required"),
        (format!("{url}tls = \"disable\"\ntls-authorities = [\"a.pem\"]"), "of no use"),
        ("url = \"sqlite:data/engine.db\"\nschema = \"a\"".to_owned(), "url names none"),
        ("tls = \"disable\"".to_owned(), "url names none"),
        ("url = \"mysql://a\"".to_owned(), "is no store of this version"),
    ] {
        let found = with(&lines).unwrap_err();
        assert!(found.iter().any(|line| line.contains(text)), "{lines}: {found:#?}");
    }
}

#[test]
fn an_initial_bundle_is_a_file_of_the_node() {
    assert_eq!(read(&template()).unwrap().engine.initial_bundle, None);
    let text = template().replace("# initial-bundle", "initial-bundle");
    assert_eq!(read(&text).unwrap().engine.initial_bundle, Some("/node/initial-bundle.xml".into()));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_line() {
    let text = template()
        .replace("127.0.0.1:20480", "0.0.0.0:20480")
        .replace("[workers]", "[worker]")
        .replace("https://localhost:20443/fhir", "http://localhost/fhir/")
        .replace("\"60s\"", "60");
    let found = read(&text).unwrap_err();
    for key in ["management.address", "worker", "node.base-url", "outgoing.read-timeout"] {
        assert!(
            found.iter().any(|line| line.contains(&format!("{key}: ")) && line.starts_with("node.toml:")),
            "{key}: {found:#?}"
        );
    }
}

#[test]
fn a_missing_section_names_what_is_missing() {
    let found = read("[node]\n").unwrap_err();
    for key in ["node.base-url", "listen.address", "certificates.server.certificate", "trust-stores.client"] {
        assert!(found.iter().any(|line| line.contains(key)), "{key}: {found:#?}");
    }
}

#[test]
fn a_proxy_needs_user_and_password_together() {
    let text = template().replace("# proxy = {", "proxy = {").replace(", password-file = \"proxy.password\"", "");
    assert!(read(&text).unwrap_err()[0].contains("only one of username and password-file"));
}

#[test]
fn a_sandbox_is_required_unless_whoever_does_without_says_so() {
    let line = "sandbox = \"required\"";
    for text in [template(), template().replace(line, "")] {
        assert_eq!(read(&text).unwrap().sandbox, crate::Sandbox::Required);
    }
    let without = template().replace(line, "sandbox = \"best-effort\"");
    assert_eq!(read(&without).unwrap().sandbox, crate::Sandbox::BestEffort);
    assert!(read(&template().replace(line, "sandbox = \"off\"")).unwrap_err()[0].contains("node.sandbox"));
}

#[test]
fn a_gateway_user_must_exist() {
    let with =
        |user: &str| template().replace("# gateway-user = \"schleuse-gateway\"", &format!("gateway-user = \"{user}\""));
    assert_eq!(read(&template()).unwrap().gateway_user, None);
    assert_eq!(read(&with("root")).unwrap().gateway_user.unwrap().uid, 0);
    assert!(read(&with("nobody-of-this-name")).unwrap_err()[0].contains("node.gateway-user"));
}

#[test]
fn blocks_at_their_old_place_are_not_overlooked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("blocks.toml"), "").unwrap();
    let found = parse(&Directory::new(folder.path()), &template()).unwrap_err();
    assert!(found[0].remedy.contains("blocks/blocks.toml"), "{found:#?}");
}

#[test]
fn only_plain_https_addresses_are_base_urls() {
    for text in ["https://a/fhir", "https://dsf.hospital.example:8443/fhir", "https://a/b/fhir"] {
        assert!(Address::parse(text).is_some(), "{text}");
    }
    let refused = [
        "http://a/fhir",
        "https://a",
        "https://a/",
        "https://a/fhir/",
        "https://u@a/fhir",
        "https://a/fhir?x",
        "https://A/fhir",
        "https://a:0/fhir",
        "https://a:99999/fhir",
        "https:///fhir",
        "https://a//fhir",
        "https://a/fh ir",
    ];
    for text in refused {
        assert!(Address::parse(text).is_none(), "{text}");
    }
}

#[test]
fn asking_is_bounded_and_versions_are_known() {
    let with = |section: &str| read(&format!("{}\n{section}", template()));
    let default = read(&template()).unwrap().feasibility;
    assert_eq!((default.questions, &default), (200, &crate::settings::Feasibility::default()));
    assert_eq!((default.versions.as_slice(), default.answer_time.as_secs()), (&["1.0"][..], 300));
    let text = "[feasibility]\nversions = [\"1.1\", \"1.0\"]\nanswer-time = \"20s\"\nminimum-sites = 3\nquestions-per-month = 2\n";
    let written = with(text).unwrap().feasibility;
    assert_eq!((written.versions.as_slice(), written.answer_time.as_secs()), (&["1.1", "1.0"][..], 20));
    assert_eq!((written.minimum_sites, written.questions), (3, 2));
    for wrong in [
        "versions = []",
        "versions = [\"2.0\"]",
        "versions = [\"1.0\", \"1.0\"]",
        "answer-time = \"4s\"",
        "answer-time = \"2h\"",
        "minimum-sites = 0",
        "questions-per-month = 0",
        "obfuscate = false",
    ] {
        assert!(with(&format!("[feasibility]\n{wrong}\n")).is_err(), "{wrong}");
    }
}

#[test]
fn a_source_has_its_index_beside_the_data_and_never_among_the_records() {
    let with = |section: &str| read(&format!("{}\n{section}", template()));
    assert_eq!(read(&template()).unwrap().source, None);
    let source = with("[source]\nfolder = \"/srv/records\"\n").unwrap().source.unwrap();
    let records = source.records.unwrap();
    assert_eq!(records.folder, Path::new("/srv/records"));
    assert_eq!(records.index, Path::new("/node/data/source"));
    assert_eq!((source.obfuscate, source.requests_per_hour), (true, 999));
    let told =
        with("[source]\nfolder = \"records\"\nobfuscate = false\nrequests-per-hour = 5\n").unwrap().source.unwrap();
    assert_eq!((told.obfuscate, told.requests_per_hour), (false, 5));
    assert!(with("[source]\nfolder = \"records\"\nrequests-per-hour = 0\n").is_err());
    assert!(with("[source]\nfolder = \"records\"\nobfuscate = \"no\"\n").is_err());
    assert!(with("[source]\nindex = \"x\"\n").is_err());
    assert!(with("[source]\nfolder = \"records\"\nindex = \"records/index\"\n").is_err());
    assert!(with("[source]\nfolder = \"records\"\nformat = \"csv\"\n").is_err());
}

#[test]
fn servers_are_sources_with_one_complete_proof_of_who_asks() {
    let with = |section: &str| read(&format!("{}\n{section}", template()));
    let server = |more: &str| {
        with(&format!("[[source.server]]\nname = \"a\"\nkind = \"fhir\"\nurl = \"https://x.example/fhir\"\n{more}"))
    };
    let source = server("").unwrap().source.unwrap();
    assert_eq!((source.records, source.servers.len()), (None, 1));
    assert_eq!(source.servers[0].timeout, Duration::from_secs(300));
    assert_eq!(source.servers[0].authentication, ServerAuthentication::None);
    let proved = server("user = \"u\"\npassword-file = \"p\"\ncertificate = \"c\"\nprivate-key = \"k\"\n");
    let proved = proved.unwrap().source.unwrap().servers.remove(0);
    assert_eq!(proved.authentication.file().unwrap(), Path::new("/node/p"));
    assert_eq!(proved.certificate.unwrap().certificate, Path::new("/node/c"));
    assert!(server("token-file = \"t\"\n[source.server.proxy]\nurl = \"http://proxy:3128\"\n").is_ok());
    assert!(server("issuer = \"https://i.example\"\nclient = \"c\"\nsecret-file = \"s\"\n").is_ok());
    for wrong in [
        "user = \"u\"\n",
        "user = \"u:v\"\npassword-file = \"p\"\n",
        "user = \"u\"\npassword-file = \"p\"\ntoken-file = \"t\"\n",
        "issuer = \"https://i.example\"\nsecret-file = \"s\"\n",
        "issuer = \"http://i.example\"\nclient = \"c\"\nsecret-file = \"s\"\n",
        "certificate = \"c\"\n",
        "timeout = \"0s\"\n",
        "colour = \"red\"\n",
        "[[source.server]]\nname = \"a\"\nkind = \"cql\"\nurl = \"https://y.example\"\n",
        "[[source.server]]\nname = \"folder\"\nkind = \"cql\"\nurl = \"https://y.example\"\n",
    ] {
        assert!(server(wrong).is_err(), "{wrong}");
    }
    for table in [
        "[source]\n",
        "[source]\nindex = \"i\"\n[[source.server]]\nname = \"a\"\nkind = \"cql\"\nurl = \"https://y.example\"\n",
        "[[source.server]]\nname = \"a\"\nkind = \"sql\"\nurl = \"https://y.example\"\n",
        "[[source.server]]\nname = \"a\"\nkind = \"cql\"\nurl = \"ftp://y.example\"\n",
        "[[source.server]]\nname = \"a\"\nkind = \"cql\"\nurl = \"http://y.example\"\ntoken-file = \"t\"\n",
    ] {
        assert!(with(table).is_err(), "{table}");
    }
    // A secret may go to this machine without encryption; without a secret another machine is a warning.
    let local =
        "[[source.server]]\nname = \"a\"\nkind = \"flare\"\nurl = \"http://localhost:8080\"\ntoken-file = \"t\"\n";
    assert!(with(local).is_ok());
    assert!(with("[[source.server]]\nname = \"a\"\nkind = \"flare\"\nurl = \"http://y.example\"\n").is_ok());
}
