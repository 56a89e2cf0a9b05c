#![allow(clippy::string_slice)]
use proptest::prelude::*;

use super::*;

fn ok(method: &str, target: &str) -> CanonicalRequest {
    canonicalize(method, target, "/fhir").unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

fn status(method: &str, target: &str) -> u16 {
    canonicalize(method, target, "/fhir")
        .map(|request| panic!("{method} {target} -> {request:?}"))
        .unwrap_err()
        .status()
}

#[test]
fn every_row_of_the_table_is_routed() {
    for (method, target, interaction) in [
        ("POST", "/fhir", Interaction::Bundle),
        ("POST", "/fhir/", Interaction::Bundle),
        ("GET", "/fhir/metadata", Interaction::Metadata),
        ("GET", "/fhir/ws", Interaction::Websocket),
        ("GET", "/fhir/_history", Interaction::HistorySystem),
        ("POST", "/fhir/Task", Interaction::Create),
        ("GET", "/fhir/Task", Interaction::Search),
        ("GET", "/fhir/Task?status=requested", Interaction::Search),
        ("PUT", "/fhir/Task?identifier=a%7Cb", Interaction::ConditionalUpdate),
        ("DELETE", "/fhir/Task?identifier=a|b", Interaction::ConditionalDelete),
        ("GET", "/fhir/Task/_history", Interaction::HistoryType),
        ("GET", "/fhir/Task/1", Interaction::Read),
        ("HEAD", "/fhir/Task/1", Interaction::Head),
        ("PUT", "/fhir/Task/1", Interaction::Update),
        ("DELETE", "/fhir/Task/1", Interaction::Delete),
        ("GET", "/fhir/Task/1/_history", Interaction::HistoryInstance),
        ("GET", "/fhir/Task/1/_history/2", Interaction::Vread),
        ("HEAD", "/fhir/Task/1/_history/2", Interaction::Head),
        ("POST", "/fhir/Task/1/$permanent-delete", Interaction::PermanentDelete),
        ("POST", "/fhir/Task/1/$permanent-delete/", Interaction::PermanentDelete),
        ("POST", "/fhir/Task/1/%24permanent-delete", Interaction::PermanentDelete),
        ("GET", "/fhir/StructureDefinition/$snapshot?url=http%3A%2F%2Fx", Interaction::Snapshot),
        ("POST", "/fhir/StructureDefinition/$snapshot", Interaction::Snapshot),
        ("GET", "/fhir/StructureDefinition/1/$snapshot", Interaction::Snapshot),
        ("POST", "/fhir/StructureDefinition/1/$snapshot", Interaction::Snapshot),
    ] {
        assert_eq!(ok(method, target).interaction(), interaction, "{method} {target}");
    }
}

#[test]
fn attack_a05_path_confusions_are_refused_before_routing() {
    for target in [
        "/fhir/../bpe/",
        "/fhir/%2e%2e/bpe",
        "/fhir/%2E./bpe",
        "/fhir/%252e%252e/bpe",
        "/fhir//Task",
        "//fhir/Task",
        "/fhir/Task//1",
        "/fhir/Task;x=1",
        "/fhir/Task%3bx=1",
        "/fhir/%2FTask",
        "/fhir/%2fTask",
        "/fhir/Task%5c1",
        "/fhir/Task\\1",
        "/fhir/Task%00",
        "/fhir/Task%0",
        "/fhir/Task%",
        "/fhir/Task%zz",
        "/fhir/Task%c0%ae",
        "/fhir/Täsk",
        "/fhir/Task /1",
        "/fhir/Task\t",
        "/fhir/Task#x",
        "/fhir/./Task",
        "/fhir/Task/.",
        "https://other/fhir/Task",
        "*",
        "",
        "/fhir/Task?x=%00",
        "/fhir/Task?x=%0d%0a",
        "/fhir/Task?x=%ff",
        "/fhir/Task?x=%2",
        "/fhir/Task?x=ä",
        "/fhir/Task?x=a b",
        "/fhir/Task?x=\\",
        "/fhir/Task?=x",
        "/fhir/Task?_method=DELETE",
        "/fhir/Task?%5Fmethod=DELETE",
    ] {
        assert_eq!(status("GET", target), 400, "{target}");
    }
}

#[test]
fn unknown_paths_types_and_methods_have_their_status() {
    for (method, target, expected) in [
        ("GET", "/", 404),
        ("GET", "/server-status", 404),
        ("GET", "/fhirx/Task", 404),
        ("GET", "/FHIR/Task", 404),
        ("GET", "/bpe/", 404),
        ("GET", "/fhir/task", 404),
        ("GET", "/fhir/Observation", 404),
        ("GET", "/fhir/Task/", 404),
        ("GET", "/fhir/metadata/", 404),
        ("GET", "/fhir/status", 404),
        ("GET", "/fhir/Task/a_b", 404),
        ("GET", "/fhir/Task/1/_history/x", 404),
        ("GET", "/fhir/Task/1/_history/01", 404),
        ("GET", "/fhir/Task/1/_history/1/x", 404),
        ("POST", "/fhir/Task/_search", 404),
        ("POST", "/fhir/Task/$expunge", 404),
        ("POST", "/fhir/Task/1/$snapshot", 404),
        ("POST", "/fhir/Task/$permanent-delete", 404),
        ("GET", "/fhir", 405),
        ("GET", "/fhir/", 405),
        ("POST", "/fhir/metadata", 405),
        ("POST", "/fhir/Task/1", 405),
        ("DELETE", "/fhir/Task/1/_history/2", 405),
        ("PATCH", "/fhir/Task/1", 405),
        ("TRACE", "/fhir/", 405),
        ("OPTIONS", "*", 405),
        ("CONNECT", "x:443", 405),
        ("PROPFIND", "/fhir/Task", 501),
        ("get", "/fhir/Task", 501),
        ("", "/fhir/Task", 501),
        ("PUT", "/fhir/Task", 400),
        ("PUT", "/fhir/Task?", 400),
        ("DELETE", "/fhir/Task?&&", 400),
    ] {
        assert_eq!(status(method, target), expected, "{method} {target}");
    }
    assert_eq!(status("GET", &format!("/fhir/Task?x={}", "a".repeat(9000))), 414);
    assert_eq!(status("GET", &format!("/fhir/Task?{}", "a=b&".repeat(300))), 400);
}

#[test]
fn a_wrong_method_names_the_methods_of_the_path() {
    let error = canonicalize("POST", "/fhir/Task/1", "/fhir").unwrap_err();
    let RequestError::MethodNotAllowed { allow } = error else { panic!("{error}") };
    assert_eq!(allow, [Method::Get, Method::Head, Method::Put, Method::Delete]);
}

#[test]
fn query_is_decoded_once_and_encoded_afresh() {
    let request = ok(
        "GET",
        "/fhir/Subscription?criteria:exact=Task%3Fstatus%3Drequested&payload=application/fhir%2Bjson&_x&name=M%C3%BCller+A",
    );
    assert_eq!(
        request.query(),
        [
            ("criteria:exact".to_owned(), "Task?status=requested".to_owned()),
            ("payload".to_owned(), "application/fhir+json".to_owned()),
            ("_x".to_owned(), String::new()),
            ("name".to_owned(), "Müller A".to_owned()),
        ]
    );
    assert_eq!(
        request.target("/fhir"),
        "/fhir/Subscription?criteria:exact=Task%3Fstatus%3Drequested&payload=application/fhir%2Bjson&_x=&name=M%C3%BCller%20A"
    );
    // Twice encoded text stays text; it is not decoded again.
    assert_eq!(ok("GET", "/fhir/Task?x=%252e").query()[0].1, "%2e");
}

#[test]
fn display_leaves_values_out() {
    assert_eq!(ok("GET", "/fhir/Patient?identifier=secret&name=b").to_string(), "GET /Patient?identifier&name");
}

#[test]
fn base_path_can_be_the_root() {
    for base in ["", "/"] {
        let request = canonicalize("GET", "/Task/1", base).unwrap();
        assert_eq!(request.target(base), "/Task/1");
        let root = canonicalize("POST", "/", base).unwrap();
        assert_eq!(root.target(base), "/");
    }
}

#[test]
fn attack_a13_entries_have_relative_urls_of_the_table() {
    for (method, url, interaction) in [
        ("POST", "Task", Interaction::Create),
        ("GET", "Task/1", Interaction::Read),
        ("HEAD", "Task/1", Interaction::Head),
        ("GET", "Task/1/_history/1", Interaction::Vread),
        ("GET", "Task?status=draft", Interaction::Search),
        (
            "PUT",
            "Organization?identifier=http://dsf.dev/sid/organization-identifier|Test_DIC_2",
            Interaction::ConditionalUpdate,
        ),
        ("DELETE", "Task/1", Interaction::Delete),
    ] {
        assert_eq!(
            for_bundle_entry(method, url).map(|request| request.interaction()),
            Ok(interaction),
            "{method} {url}"
        );
    }
    for (method, url) in [
        ("GET", "https://other.example/fhir/Task/1"),
        ("GET", "//other.example/fhir/Task/1"),
        ("GET", "/Task/1"),
        ("GET", "Task/1/"),
        ("GET", ""),
        ("POST", ""),
        ("POST", "Bundle/../Task"),
        ("POST", "Task/1/$permanent-delete"),
        ("GET", "StructureDefinition/$snapshot"),
        ("GET", "metadata"),
        ("GET", "ws"),
        ("GET", "_history"),
        ("GET", "Task/_history"),
        ("PATCH", "Task/1"),
        ("get", "Task/1"),
        ("PUT", "Task"),
        ("GET", "urn:uuid:00000000-0000-0000-0000-000000000000"),
    ] {
        assert!(for_bundle_entry(method, url).is_err(), "{method} {url}");
    }
}

#[test]
fn plus_is_itself_in_entries_and_a_space_in_request_lines() {
    let entry = for_bundle_entry("GET", "Subscription?payload=application/fhir+json").unwrap();
    assert_eq!(entry.query()[0].1, "application/fhir+json");
    assert_eq!(ok("GET", "/fhir/Subscription?payload=application/fhir+json").query()[0].1, "application/fhir json");
}

fn requests() -> impl Strategy<Value = CanonicalRequest> {
    let row = prop::sample::select(interaction::ROWS);
    let resource_type = prop::sample::select(ResourceType::ALL);
    let parameter = ("[a-zA-Z_:.ä%&=+| /-]{1,12}", "\\PC{0,20}");
    (row, resource_type, "[A-Za-z0-9-]{1,64}", 0..u64::MAX, prop::collection::vec(parameter, 0..5)).prop_filter_map(
        "in the table",
        |(row, resource_type, id, version, mut query)| {
            let resource_type = match row.path {
                PathForm::TypeOperation(Operation::Snapshot) | PathForm::InstanceOperation(Operation::Snapshot) => {
                    ResourceType::StructureDefinition
                }
                _ => resource_type,
            };
            query.retain(|(name, _)| !name.eq_ignore_ascii_case("_method"));
            let location = Location {
                form: row.path,
                resource_type: row.path.has_type().then_some(resource_type),
                id: row.path.has_id().then(|| id.parse().unwrap()),
                version: (row.path == PathForm::Version).then(|| version.to_string().parse().unwrap()),
            };
            CanonicalRequest::new(row.method, location, query).ok()
        },
    )
}

proptest! {
    #[test]
    fn canonicalize_inverts_target(request in requests(), base in prop::sample::select(vec!["/fhir", "", "/a/b"])) {
        let target = request.target(base);
        if target.len() <= limits::TARGET_BYTES {
            prop_assert_eq!(canonicalize(request.method().as_str(), &target, base), Ok(request));
        }
    }

    #[test]
    fn canonicalize_is_idempotent_on_what_it_accepts(target in "/fhir[/?&=%a-zA-Z0-9$._|+-]{0,60}") {
        if let Ok(request) = canonicalize("GET", &target, "/fhir") {
            prop_assert_eq!(canonicalize("GET", &request.target("/fhir"), "/fhir"), Ok(request));
        }
    }

    #[test]
    fn canonicalize_never_panics(method in "\\PC{0,8}", target in any::<String>(), base in "\\PC{0,8}") {
        let _ = canonicalize(&method, &target, &base);
        let _ = for_bundle_entry(&method, &target);
    }
}
