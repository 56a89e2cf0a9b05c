//! The finite space of identities, interactions and types, gone through as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use fhir::{Resource, ResourceType};
use policies::interaction::{BodyKind, PathForm, ROWS, Row};
use policies::{CanonicalRequest, Identity, Interaction, canonicalize, decide};
use world::*;

/// Every request of the table: each row, with each type for which it exists.
fn requests() -> Vec<(&'static Row, CanonicalRequest)> {
    let mut all = Vec::new();
    for row in ROWS {
        let types: Vec<Option<ResourceType>> =
            if row.path.has_type() { ResourceType::ALL.iter().copied().map(Some).collect() } else { vec![None] };
        for resource_type in types {
            let name = resource_type.map_or("", ResourceType::as_str);
            let path = match row.path {
                PathForm::Root => String::new(),
                PathForm::Metadata => "metadata".to_owned(),
                PathForm::Websocket => "ws".to_owned(),
                PathForm::History => "_history".to_owned(),
                PathForm::Type => format!("{name}?identifier=a|b"),
                PathForm::TypeHistory => format!("{name}/_history"),
                PathForm::TypeOperation(operation) => format!("{name}/{}", operation.as_str()),
                PathForm::Instance => format!("{name}/1"),
                PathForm::InstanceHistory => format!("{name}/1/_history"),
                PathForm::Version => format!("{name}/1/_history/1"),
                PathForm::InstanceOperation(operation) => format!("{name}/1/{}", operation.as_str()),
            };
            match canonicalize(row.method.as_str(), &format!("/fhir/{path}"), "/fhir") {
                Ok(request) => all.push((row, request)),
                Err(error) => {
                    let undefined = matches!(row.path, PathForm::TypeOperation(operation) | PathForm::InstanceOperation(operation)
                        if resource_type.is_some_and(|resource_type| !operation.is_defined_on(resource_type)));
                    assert!(undefined, "{} {path}: {error}", row.method);
                }
            }
        }
    }
    all
}

/// A body that the request could have; for Tasks one that the caller is authorised to send.
fn body(row: &Row, request: &CanonicalRequest, caller: &Identity) -> Option<Resource> {
    match row.body {
        BodyKind::Absent => None,
        BodyKind::Parameters => Some(Resource::new("Parameters")),
        BodyKind::Bundle => Some(json(r#"{"resourceType":"Bundle","type":"batch"}"#)),
        BodyKind::Resource if request.resource_type() == Some(ResourceType::Task) => {
            let organization = caller.organization().map_or(MEMBER, policies::OrganizationIdentifier::as_str);
            Some(json(&sent_task(organization, "ping")))
        }
        BodyKind::Resource => Some(Resource::new(request.resource_type().unwrap().as_str())),
    }
}

fn permitted(policy: &policies::Policy, certificate: char) -> Vec<(Interaction, Option<ResourceType>)> {
    let list = allow_list();
    let caller = list.identify(&thumbprint(certificate), None, policy);
    requests()
        .iter()
        .filter(|(row, request)| {
            decide(policy, &list, &caller, request, body(row, request, &caller).as_ref(), &inside()).is_permit()
        })
        .map(|(_, request)| (request.interaction(), request.resource_type()))
        .collect()
}

#[test]
fn the_space_is_complete() {
    let all = requests();
    for interaction in Interaction::ALL {
        assert!(all.iter().any(|(_, request)| request.interaction() == *interaction), "{interaction}");
    }
    for resource_type in ResourceType::ALL {
        assert!(all.iter().any(|(_, request)| request.resource_type() == Some(*resource_type)));
    }
}

#[test]
fn a_remote_organisation_creates_tasks_and_reads_and_nothing_else() {
    for certificate in [MEMBER_CERTIFICATE, OTHER_CERTIFICATE] {
        let allowed = permitted(&hospital_policy(), certificate);
        for (interaction, resource_type) in &allowed {
            let expected = match interaction {
                Interaction::Create => *resource_type == Some(ResourceType::Task),
                Interaction::Snapshot => *resource_type == Some(ResourceType::StructureDefinition),
                Interaction::Read
                | Interaction::Vread
                | Interaction::Head
                | Interaction::Search
                | Interaction::HistoryInstance
                | Interaction::HistoryType
                | Interaction::HistorySystem
                | Interaction::Metadata
                | Interaction::Bundle => true,
                Interaction::Update
                | Interaction::ConditionalUpdate
                | Interaction::Delete
                | Interaction::ConditionalDelete
                | Interaction::PermanentDelete
                | Interaction::Websocket => false,
            };
            assert!(expected, "{interaction} {resource_type:?}");
        }
        // And all of that it may: the shipped policy is DSF's behaviour, not less.
        let types = ResourceType::ALL.len();
        // read, vread, two kinds of head, search, two histories per type; create Task; four forms of $snapshot;
        // metadata, system history, bundle.
        assert_eq!(allowed.len(), types * 7 + 1 + 4 + 3);
    }
}

#[test]
fn bundles_of_remote_organisations_are_made_only_of_what_they_may_do_alone() {
    let (policy, list) = (hospital_policy(), allow_list());
    let caller = list.identify(&thumbprint(MEMBER_CERTIFICATE), None, &policy);
    for (row, request) in requests().iter().filter(|(row, _)| row.in_bundle) {
        let resource = body(row, request, &caller);
        let alone = decide(&policy, &list, &caller, request, resource.as_ref(), &inside()).is_permit();
        let resource = resource.map_or(String::new(), |resource| {
            format!(r#""resource":{},"#, fhir::print(fhir::Format::Json, &resource, false))
        });
        for kind in ["batch", "transaction"] {
            let text = format!(
                r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"fullUrl":"urn:uuid:1",{resource}"request":{{"method":"{}","url":"{}"}}}},{{"request":{{"method":"GET","url":"Organization?active=true"}}}}]}}"#,
                row.method,
                request.relative_target()
            );
            let root = canonicalize("POST", "/fhir", "/fhir").unwrap();
            let inside = decide(&policy, &list, &caller, &root, Some(&json(&text)), &inside()).is_permit();
            assert_eq!(inside, alone, "{kind} with {request}");
        }
    }
}

#[test]
fn unknown_identities_can_do_nothing() {
    for policy in [hospital_policy(), strict_policy()] {
        for certificate in [STRANGER_CERTIFICATE, INACTIVE_CERTIFICATE] {
            assert_eq!(permitted(&policy, certificate), []);
        }
    }
}

#[test]
fn the_local_organisation_can_do_everything() {
    assert_eq!(permitted(&hospital_policy(), LOCAL_CERTIFICATE).len(), requests().len());
}

#[test]
fn persons_can_do_what_their_roles_grant() {
    for (interaction, resource_type) in permitted(&hospital_policy(), PERSON_CERTIFICATE) {
        let expected = match interaction {
            Interaction::Update | Interaction::ConditionalUpdate => {
                resource_type == Some(ResourceType::QuestionnaireResponse)
            }
            Interaction::Read
            | Interaction::Vread
            | Interaction::Head
            | Interaction::Search
            | Interaction::Snapshot
            | Interaction::Metadata
            | Interaction::Bundle => true,
            _ => false,
        };
        assert!(expected, "{interaction} {resource_type:?}");
    }
}

#[test]
fn the_strict_example_only_narrows() {
    for certificate in [LOCAL_CERTIFICATE, MEMBER_CERTIFICATE, OTHER_CERTIFICATE, ADMIN_CERTIFICATE, PERSON_CERTIFICATE]
    {
        let shipped = permitted(&hospital_policy(), certificate);
        for cell in permitted(&strict_policy(), certificate) {
            assert!(shipped.contains(&cell), "{cell:?}");
        }
    }
}
