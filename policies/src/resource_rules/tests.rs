use super::*;
use crate::world::*;

fn changed(resource: &fhir::Resource, from: &str, to: &str) -> fhir::Resource {
    let text = fhir::print(fhir::Format::Json, resource, false);
    assert!(text.contains(from), "{from} in {text}");
    json(&text.replacen(from, to, 1))
}

#[test]
fn resources_of_the_fixture_satisfy_the_conditions_of_their_types() {
    for resource in resources() {
        let resource_type = resource.resource_type().unwrap();
        assert_eq!(check(resource_type, resource.tree()), Ok(()), "{resource_type}");
        assert_eq!(check_update(resource_type, resource.tree(), resource.tree()), Ok(()));
    }
}

#[test]
fn organisations_have_one_identifier_and_well_formed_thumbprints() {
    let organization = organization_resource("x", "x.example", true, &['a'], None);
    let wrong = changed(&organization, "sid/organization-identifier", "sid/other");
    assert_eq!(check(ResourceType::Organization, wrong.tree()), Err(ResourceError::Element("identifier")));
    let wrong = changed(&organization, "aaaa", "AAAA");
    assert!(check(ResourceType::Organization, wrong.tree()).is_err());
    let other = changed(&organization, "x.example", "y.example");
    let result = check_update(ResourceType::Organization, organization.tree(), other.tree());
    assert_eq!(result, Err(ResourceError::Changed("identifier")));
}

#[test]
fn addresses_of_endpoints_are_https_urls_of_one_form_and_stay() {
    for (address, valid) in [
        ("https://dsf.example/fhir", true),
        ("https://dsf.example", true),
        ("https://dsf.example:8443/fhir", true),
        ("https://dsf.example:20443/fhir", true),
        ("https://localhost:443/a/b_c-d", true),
        ("http://dsf.example/fhir", false),
        ("https:///fhir", false),
        ("https://dsf.example:/fhir", false),
        ("https://dsf.example:0/fhir", false),
        ("https://dsf.example:70000/fhir", false),
        ("https://dsf.example:8a/fhir", false),
        ("https://user@dsf.example/fhir", false),
        ("https://dsf.example/fhir?x", false),
        ("https://dsf.example/../x", false),
    ] {
        let resource = endpoint("x", "x", address, "local");
        assert_eq!(check(ResourceType::Endpoint, resource.tree()).is_ok(), valid, "{address}");
    }
    let old = endpoint("x", "x", "https://a.example/fhir", "local");
    let new = endpoint("x", "x", "https://b.example/fhir", "local");
    assert_eq!(check_update(ResourceType::Endpoint, old.tree(), new.tree()), Err(ResourceError::Changed("address")));
}

#[test]
fn affiliations_keep_their_three_references() {
    let old = affiliation("x", "parent", "member", "member-endpoint", "DIC", true);
    let update = |new: &fhir::Resource| check_update(ResourceType::OrganizationAffiliation, old.tree(), new.tree());
    assert_eq!(update(&affiliation("x", "parent", "member", "member-endpoint", "HRP", false)), Ok(()));
    for (new, element) in [
        (affiliation("x", "other", "member", "member-endpoint", "DIC", true), "organization"),
        (affiliation("x", "parent", "other", "member-endpoint", "DIC", true), "participatingOrganization"),
        (affiliation("x", "parent", "member", "other-endpoint", "DIC", true), "endpoint"),
    ] {
        assert_eq!(update(&new), Err(ResourceError::Changed(element)));
    }
}

#[test]
fn unique_keys_name_what_two_resources_must_not_share() {
    let keys = |resource: &fhir::Resource| {
        let keys = unique_keys(resource.resource_type().unwrap(), resource.tree());
        keys.into_iter().map(|key| key.kind).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&organization_resource("x", "x.example", true, &['a', 'b'], None)),
        ["identifier", "thumbprint", "thumbprint"]
    );
    assert_eq!(keys(&endpoint("x", "x", "https://a.example/fhir", "local")), ["identifier", "address"]);
    assert_eq!(keys(&affiliation("x", "parent", "member", "e", "DIC", true)), ["member-endpoint", "member-role"]);
    assert_eq!(
        keys(&activity_definition("x", "x", "active", &[message("m", &[party("requester", "REMOTE_ALL", "")])])),
        ["url-version"]
    );
    assert!(keys(&json(&sent_task(MEMBER, "ping"))).is_empty());
}

#[test]
fn subscriptions_are_websockets_with_known_payload() {
    let good = json(
        r#"{"resourceType":"Subscription","criteria":"Task?status=requested","channel":{"type":"websocket","payload":"application/fhir+json"}}"#,
    );
    assert_eq!(check(ResourceType::Subscription, good.tree()), Ok(()));
    for (from, to) in [("websocket", "rest-hook"), ("fhir+json", "pdf"), ("Task?status=requested", " ")] {
        assert!(check(ResourceType::Subscription, changed(&good, from, to).tree()).is_err(), "{to}");
    }
}
