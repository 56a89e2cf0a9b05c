use proptest::prelude::*;

use super::{
    Context, Direction, FilterValue, IndexValue, Kind, Modifier, QueryErrorKind, Relation, Summary, TokenFilter,
    extract, extract_in, find, include_rules, matches, matches_in, parameters, parse_query, parse_query_in,
    revinclude_rules,
};
use crate::date::Zone;
use crate::definitions::definitions;
use crate::samples::{Random, fixtures};
use crate::{Limits, Resource, ResourceType, json};

fn resource(text: &str) -> Resource {
    json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

/// Whether the only resource is found; the query must be free of errors.
fn found(query: &str, text: &str) -> bool {
    let resource = resource(text);
    let query = parse_query(resource.resource_type().unwrap(), query);
    assert_eq!(query.errors, [], "{query:?}");
    matches(&query, &resource)
}

fn errors(resource_type: ResourceType, query: &str) -> Vec<(String, QueryErrorKind)> {
    parse_query(resource_type, query).errors.into_iter().map(|error| (error.parameter, error.kind)).collect()
}

#[test]
fn every_parameter_leads_to_elements_of_its_kind() {
    for resource_type in ResourceType::ALL {
        for parameter in super::common_parameters().iter().chain(parameters(*resource_type)) {
            for path in parameter.paths {
                let mut definition = definitions().resource(resource_type.as_str()).unwrap();
                for segment in path.split('.') {
                    let name = segment.split('(').next().unwrap();
                    // Measure.library is a canonical, ResearchStudy's are references: choices do not occur.
                    definition = definition.child(name).unwrap_or_else(|| panic!("{resource_type}.{path}")).definition;
                }
                let expected: &[&str] = match parameter.kind {
                    Kind::Id => &["string", "id"],
                    Kind::Code => &["code", "string"],
                    Kind::Concept => &["CodeableConcept"],
                    Kind::Identifier => &["Identifier"],
                    Kind::Boolean => &["boolean"],
                    Kind::String => &["string"],
                    Kind::Uri => &["url", "uri", "canonical"],
                    Kind::CanonicalUrl => &["uri"],
                    Kind::Date => &["dateTime", "instant", "date"],
                    Kind::Reference => &["Reference"],
                    Kind::Canonical => &["canonical"],
                };
                assert!(expected.contains(&definition.name), "{resource_type}.{path} is {}", definition.name);
            }
        }
        for rule in include_rules(*resource_type).chain(revinclude_rules(*resource_type)) {
            let parameter = find(rule.source, rule.parameter).unwrap();
            assert!(rule.targets.iter().all(|target| parameter.targets.contains(target)), "{rule:?}");
        }
    }
}

#[test]
fn tokens_have_four_forms() {
    let group = r#"{"resourceType":"Group","identifier":[{"system":"s","value":"v"},{"value":"w"}]}"#;
    for (query, expected) in [
        ("identifier=v", true),
        ("identifier=s|v", true),
        ("identifier=s%7Cv", true),
        ("identifier=|w", true),
        ("identifier=s|", true),
        ("identifier=|v", false),
        ("identifier=t|v", false),
        ("identifier=t|", false),
        ("identifier=s|w", false),
        ("identifier=V", false),
        ("identifier=v&identifier=w", true),
        ("identifier=v&identifier=x", false),
        ("identifier=v,w", false),
        ("identifier:not=v", false),
        ("identifier:not=x", true),
        ("identifier=", true),
    ] {
        assert_eq!(found(query, group), expected, "{query}");
    }
}

#[test]
fn codes_are_compared_exactly_and_must_exist() {
    let task = r#"{"resourceType":"Task","status":"requested"}"#;
    assert!(found("status=requested", task));
    assert!(!found("status=draft", task));
    assert!(found("status:not=draft", task));
    for query in ["status=foo", "status=s|requested", "status:not=foo"] {
        assert_eq!(errors(ResourceType::Task, query).len(), 1, "{query}");
    }
    assert!(found("contentType=text/plain", r#"{"resourceType":"Binary","contentType":"text/plain"}"#));
    assert!(found("version=1.0", r#"{"resourceType":"CodeSystem","version":"1.0"}"#));
}

#[test]
fn concepts_are_searched_by_their_codings() {
    let affiliation = r#"{"resourceType":"OrganizationAffiliation","active":true,
        "code":[{"coding":[{"system":"s","code":"DIC"},{"system":"s","code":"COS"}]}]}"#;
    assert!(found("role=s|DIC&role=COS&active=true", affiliation));
    assert!(!found("role=HRP", affiliation));
    assert!(!found("active=false", affiliation));
    assert_eq!(errors(ResourceType::OrganizationAffiliation, "active=yes").len(), 1);
}

#[test]
fn texts_are_compared_without_case_unless_exact() {
    let organization = r#"{"resourceType":"Organization","name":"Data Integration Ünit","alias":["DIU"]}"#;
    for (query, expected) in [
        ("name=data", true),
        ("name=DATA%20int", true),
        ("name=integration", false),
        ("name:contains=integration", true),
        ("name:contains=ünit", true),
        ("name:exact=Data%20Integration%20%C3%9Cnit", true),
        ("name:exact=data", false),
        ("name=diu", true),
        ("name=data+integration", true),
    ] {
        assert_eq!(found(query, organization), expected, "{query}");
    }
    let subscription = r#"{"resourceType":"Subscription","status":"active","criteria":"Task?status=requested",
        "channel":{"type":"websocket","payload":"application/fhir+json"}}"#;
    let query = "criteria=Task%3Fstatus%3Drequested&status=active&type=websocket&payload=application/fhir%2Bjson";
    assert!(found(query, subscription));
}

#[test]
fn uris_are_exact_or_prefixes_with_optional_version() {
    let definition = r#"{"resourceType":"ActivityDefinition","url":"http://x/Process/ping","version":"1.0"}"#;
    for (query, expected) in [
        ("url=http://x/Process/ping", true),
        ("url=http://x/Process/ping|1.0", true),
        ("url=http://x/Process/ping|1.1", false),
        ("url=http://x/Process", false),
        ("url:below=http://x/Process", true),
        ("url:below=http://x/Process|1.0", true),
        ("url:below=http://x/Process|2", false),
        ("url:below=http://y", false),
    ] {
        assert_eq!(found(query, definition), expected, "{query}");
    }
    let task = r#"{"resourceType":"Task","meta":{"profile":["http://x/P|0.1.0"]}}"#;
    assert!(!found("_profile=http://x/P", task));
    assert!(found("_profile=http://x/P|0.1.0", task));
    assert!(found("_profile:below=http://x/", task));
}

#[test]
fn dates_are_intervals() {
    let task = r#"{"resourceType":"Task","authoredOn":"2021-12-02T10:30:00+01:00","meta":{"lastUpdated":"2021-12-02T10:30:00.500+01:00"}}"#;
    for (query, expected) in [
        ("authored-on=2021", true),
        ("authored-on=2021-12", true),
        ("authored-on=2021-12-02", true),
        ("authored-on=eq2021-12-03", false),
        ("authored-on=2021-12-02T10:30:00", true),
        ("authored-on=2021-12-02T09:30:00Z", true),
        ("authored-on=2021-12-02T10:30:00Z", false),
        ("authored-on=2021-12-02T10:30:00+01:00", true),
        ("authored-on=2021-12-02T10:30:00%2B01:00", true),
        ("authored-on=gt2021-12-01", true),
        ("authored-on=gt2021-12-02", false),
        ("authored-on=ge2021-12-02", true),
        ("authored-on=le2021-12-02", true),
        ("authored-on=lt2021-12-02", false),
        ("authored-on=lt2021-12-03", true),
        ("authored-on=ne2021-12-02", false),
        ("_lastUpdated=gt2021-12-02T10:30:00.499", true),
        ("_lastUpdated=gt2021-12-02T10:30:00.500", false),
        ("_lastUpdated=ge2021-12-02T10:30:00.500", true),
        ("_lastUpdated=gt2021-12-02T10:30:00", true),
        ("_lastUpdated=gt2021-12-02T10:00:00&_lastUpdated=lt2021-12-02T12:00:00", true),
        ("_lastUpdated=lt2021-12-02T12:00:00&_lastUpdated=gt2021-12-02T11:00:00", false),
        ("modified=2021", false),
    ] {
        assert_eq!(found(query, task), expected, "{query}");
    }
    for query in [
        "authored-on=gt2021",
        "authored-on=lt2021-12",
        "authored-on=sa2021-12-02",
        "authored-on=ap2021",
        "authored-on=x",
    ] {
        assert_eq!(
            errors(ResourceType::Task, query),
            [("authored-on".to_owned(), QueryErrorKind::UnparsableValue)],
            "{query}"
        );
    }
}

#[test]
fn times_without_zone_are_read_in_the_zone_of_the_node() {
    let task = resource(r#"{"resourceType":"Task","authoredOn":"2021-12-02T10:30:00Z"}"#);
    for (zone, expected) in [(Zone::UTC, true), (Zone::CentralEurope, false)] {
        let context = Context { zone, ..Context::default() };
        let query = parse_query_in(&context, ResourceType::Task, "authored-on=2021-12-02T10:30:00");
        assert_eq!(matches_in(&context, &query, &task), expected);
    }
}

#[test]
fn references_are_found_by_id_type_url_and_identifier() {
    let task = r#"{"resourceType":"Task","requester":{"reference":"Organization/o1","identifier":{"system":"s","value":"v"}}}"#;
    for (query, expected) in [
        ("requester=o1", true),
        ("requester=Organization/o1", true),
        ("requester=Practitioner/o1", false),
        ("requester=o2", false),
        ("requester:identifier=s|v", true),
        ("requester:identifier=v", true),
        ("requester:identifier=|v", false),
        ("requester=https://x/fhir/Organization/o1", false),
    ] {
        assert_eq!(found(query, task), expected, "{query}");
    }
    for query in
        ["requester=Binary/1", "requester=Organization/o1/_history/1", "requester=urn:uuid:1", "requester=a%20b"]
    {
        assert_eq!(
            errors(ResourceType::Task, query),
            [("requester".to_owned(), QueryErrorKind::UnparsableValue)],
            "{query}"
        );
    }
    for query in ["requester:Organization=o1", "requester.name=x", "_has:Task:x:y=1", "requester:missing=true"] {
        assert_eq!(errors(ResourceType::Task, query)[0].1, QueryErrorKind::UnsupportedParameter, "{query}");
    }
}

#[test]
fn an_absolute_reference_below_the_base_is_a_literal() {
    let context = Context { base: Some("https://dic/fhir"), ..Context::default() };
    let task =
        resource(r#"{"resourceType":"Task","requester":{"reference":"https://dic/fhir/Organization/o1/_history/3"}}"#);
    let query = |text| parse_query_in(&context, ResourceType::Task, text);
    assert!(matches_in(&context, &query("requester=Organization/o1"), &task));
    assert!(matches_in(&context, &query("requester=https://dic/fhir/Organization/o1"), &task));
    let entries = extract_in(&context, &task);
    assert_eq!(
        entries[0].value,
        IndexValue::Reference {
            type_name: Some("Organization".into()),
            id: Some("o1".into()),
            version: Some("3".into()),
            url: None,
            identifier: None,
        }
    );
}

#[test]
fn canonical_references_are_searched_by_prefix_of_an_absolute_url() {
    let response = r#"{"resourceType":"QuestionnaireResponse","questionnaire":"http://x/q|1.0"}"#;
    assert!(found("questionnaire=http://x/q", response));
    assert!(found("questionnaire=http://x/q|1.0", response));
    assert!(!found("questionnaire=http://x/q|2", response));
    let measure = r#"{"resourceType":"Measure","library":["http://x/a"],
        "relatedArtifact":[{"type":"depends-on","resource":"http://x/b"},{"type":"citation","resource":"http://x/c"}]}"#;
    assert!(found("depends-on=http://x/a&depends-on=http://x/b", measure));
    assert!(!found("depends-on=http://x/c", measure));
    assert_eq!(errors(ResourceType::Measure, "depends-on=123").len(), 1);
}

#[test]
fn ids_are_uuids() {
    let patient = r#"{"resourceType":"Patient","id":"0b1f3e9a-0c8d-4c0e-9a57-1f2e3d4c5b6a"}"#;
    assert!(found("_id=0b1f3e9a-0c8d-4c0e-9a57-1f2e3d4c5b6a", patient));
    assert!(found("_id=0B1F3E9A-0c8d-4c0e-9a57-1f2e3d4c5b6a", patient));
    assert!(!found("_id=0b1f3e9a-0c8d-4c0e-9a57-1f2e3d4c5b6b", patient));
    for query in ["_id=1", "_id=0b1f3e9a0c8d4c0e9a571f2e3d4c5b6a", "_id=0b1f3e9a-0c8d-4c0e-9a57-1f2e3d4c5b6g"] {
        assert_eq!(errors(ResourceType::Patient, query).len(), 1, "{query}");
    }
}

#[test]
fn modifiers_belong_to_their_parameters() {
    assert_eq!(errors(ResourceType::ActivityDefinition, "identifier:not=x").len(), 1);
    assert_eq!(errors(ResourceType::Endpoint, "identifier:not=x").len(), 0);
    assert_eq!(
        errors(ResourceType::Endpoint, "address:below=https://x&status=active&organization:identifier=s|v").len(),
        0
    );
    assert_eq!(errors(ResourceType::Patient, "active:not=true").len(), 1);
    assert_eq!(
        parse_query(ResourceType::Endpoint, "not-supported-parameter=x").diagnostics().unwrap(),
        "parameter: not-supported-parameter, error: UNSUPPORTED_PARAMETER, message: 'not-supported-parameter' is not a parameter of Endpoint'"
            .replace("message: '", "message: ''")
    );
}

#[test]
fn paging_has_the_arithmetic_of_the_reference() {
    let page = |query: &str| {
        let query = parse_query(ResourceType::Measure, query);
        (query.page, query.count, query.is_count_only())
    };
    assert_eq!(page(""), (1, 20, false));
    assert_eq!(page("_count=5&_page=3"), (3, 5, false));
    assert_eq!(page("_count=x&_page=1.5"), (1, 20, false));
    assert_eq!(page("_count=-1"), (1, 0, true));
    assert_eq!(page("_page=0"), (0, 20, true));
    assert_eq!(page("_page=2147483647&_count=2147483647"), (1, 20, false));
    assert_eq!(page("_page=1&_count=2147483647"), (1, 2_147_483_647, false));
    assert_eq!(page("_summary=count"), (1, 20, true));
    assert_eq!(parse_query(ResourceType::Measure, "_page=3&_count=7").offset(), 14);
}

#[test]
fn links_lead_through_the_result() {
    let links = |query: &str, total| {
        parse_query(ResourceType::Patient, query)
            .links(total)
            .into_iter()
            .map(|link| (link.relation.as_str(), link.query))
            .collect::<Vec<_>>()
    };
    let link = |relation: Relation, query: &str| (relation.as_str(), query.to_owned());
    assert_eq!(
        links("_count=2&_page=2", 5),
        [
            link(Relation::Itself, "_count=2&_page=2"),
            link(Relation::First, "_count=2&_page=1"),
            link(Relation::Previous, "_count=2&_page=1"),
            link(Relation::Next, "_count=2&_page=3"),
            link(Relation::Last, "_count=2&_page=3"),
        ]
    );
    assert_eq!(links("", 3).len(), 3);
    assert_eq!(links("_count=0&active=true", 3), [link(Relation::Itself, "active=true&_count=0")]);
    assert_eq!(links("_page=9", 3), [link(Relation::Itself, "_count=0")]);
    assert_eq!(links("", 0), [link(Relation::Itself, "_count=0")]);
}

#[test]
fn the_echo_is_ordered_and_leaves_out_what_was_left_out() {
    let query = parse_query(
        ResourceType::Task,
        "_summary=data&_pretty=true&status=requested&_format=json&_include=Task:requester:Organization&foo=1&_sort=-_lastUpdated,status\
         &authored-on=2021-12-02&identifier=s%7Cv&_count=3&status:not=draft",
    );
    assert_eq!(
        query.echo(),
        "authored-on=eq2021-12-02&identifier=s%7Cv&status=requested&status:not=draft&_sort=-_lastUpdated,status\
         &_include=Task:requester:Organization&_format=json&_pretty=true&_summary=data"
    );
    assert_eq!(query.summary, Some(Summary::Data));
    assert_eq!(
        query.sort.iter().map(|key| key.direction).collect::<Vec<_>>(),
        [Direction::Descending, Direction::Ascending]
    );
    assert_eq!(query.filters.last().unwrap().modifier, Some(Modifier::Not));
    assert!(parse_query(ResourceType::Task, "_pretty=True&_summary=x") == parse_query(ResourceType::Task, ""));
}

#[test]
fn sort_and_includes_are_checked() {
    let kinds =
        |query: &str| errors(ResourceType::Endpoint, query).into_iter().map(|error| error.1).collect::<Vec<_>>();
    assert_eq!(
        kinds(
            "_include=Endpoint:organization&_include=Endpoint:organization:Organization&_revinclude=Organization:endpoint"
        ),
        []
    );
    assert_eq!(
        kinds("_include=Endpoint:organization&_include=Endpoint:organization"),
        [QueryErrorKind::UnsupportedNumberOfValues]
    );
    for query in [
        "_include=Endpoint:foo",
        "_include=Endpoint",
        "_include=Endpoint:organization:Patient",
        "_revinclude=Endpoint:organization",
        "_include=Endpoint:organization:Organization:x",
        "_sort=foo",
    ] {
        assert_eq!(kinds(query), [QueryErrorKind::UnparsableValue], "{query}");
    }
    assert_eq!(kinds("_sort=name&_sort=status"), [QueryErrorKind::UnsupportedNumberOfValues]);
    assert_eq!(errors(ResourceType::Task, "_include=Task:requester").len(), 1);
    let query = parse_query(ResourceType::Organization, "_revinclude=OrganizationAffiliation:primary-organization");
    assert_eq!(
        (query.revinclude[0].source, query.revinclude[0].parameter.name),
        (ResourceType::OrganizationAffiliation, "primary-organization")
    );
    assert_eq!(query.revinclude[0].targets, [ResourceType::Organization]);
    assert_eq!(parse_query(ResourceType::Task, "_sort=+status,%2Bmodified").sort.len(), 2);
}

#[test]
fn broken_escapes_and_endless_queries_are_errors() {
    for query in ["name=%", "name=%4", "name=%zz", "name=%ff", "%=x"] {
        assert_eq!(errors(ResourceType::Organization, query)[0].1, QueryErrorKind::UnparsableValue, "{query}");
    }
    let long = parse_query(ResourceType::Organization, &"name=x&".repeat(300));
    assert!(long.must_be_refused() && long.filters.is_empty());
    assert!(parse_query(ResourceType::Organization, &"x".repeat(100_000)).must_be_refused());
}

#[test]
fn entries_are_what_the_store_needs() {
    let organization = resource(
        r#"{"resourceType":"Organization","id":"x","meta":{"lastUpdated":"2021-01-01T00:00:00Z","profile":["http://p"]},
            "identifier":[{"system":"s","value":"v"},{"system":"t"}],"active":true,"name":"N","endpoint":[{"reference":"Endpoint/e"}]}"#,
    );
    let entries = extract(&organization);
    let names: Vec<_> = entries.iter().map(|entry| entry.parameter).collect();
    assert_eq!(names, ["_profile", "active", "endpoint", "identifier", "identifier", "name"]);
    assert_eq!(entries[3].value, IndexValue::Token { system: Some("s".into()), code: "v".into() });
    assert!(FilterValue::Token(TokenFilter::System("t".into())).matches(&entries[4].value));
    assert!(extract(&resource(r#"{"resourceType":"OperationOutcome"}"#)).is_empty());
}

#[test]
fn published_resources_are_indexed_and_found_by_their_own_values() {
    let mut checked = 0;
    for file in fixtures("xml") {
        let resource = crate::xml::parse(&std::fs::read(&file).unwrap(), &Limits::default()).unwrap();
        let Some(resource_type) = resource.resource_type() else { continue };
        if let Some(url) = resource.str("url").filter(|_| find(resource_type, "url").is_some()) {
            let query = parse_query(resource_type, &format!("url={}", url.replace('#', "%23")));
            assert!(matches(&query, &resource), "{}", file.display());
            checked += 1;
        }
        assert!(extract(&resource).len() < 1_000);
    }
    println!("{checked} resources found by their url");
}

proptest! {
    #[test]
    fn an_echo_means_the_query_that_it_came_from(
        pairs in prop::collection::vec(("status|identifier|authored-on|requester|_sort|_include|_profile|x", "[a-z0-9|:/ %+,-]{0,12}|requested|gt2021-12-02"), 0..6)
    ) {
        let raw: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = parse_query(ResourceType::Task, &raw.join("&"));
        let again = parse_query(ResourceType::Task, &query.echo());
        prop_assert_eq!(&again.errors, &[]);
        prop_assert_eq!(again.echo(), query.echo());
        prop_assert_eq!(again.filters.len(), query.filters.len());
        for filter in &query.filters {
            prop_assert!(again.filters.contains(filter));
        }
    }

    #[test]
    fn no_query_and_no_resource_makes_search_panic(raw in "\\PC{0,40}", seed: u64) {
        let resource = Random::new(seed).resource();
        let _ = extract(&resource);
        for resource_type in ResourceType::ALL {
            let query = parse_query(*resource_type, &raw);
            let _ = matches(&query, &resource);
            let _ = query.links(u64::from(u32::MAX));
        }
    }
}
