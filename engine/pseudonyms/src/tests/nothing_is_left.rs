//! Whatever a resource holds and wherever: no original name, identifier or date leaves.
//!
//! Resources are made from the definitions of R4 with every element filled, so that no place is forgotten; texts, ids and
//! dates in them carry marks that are looked for in the result.

use std::collections::BTreeSet;

use fhir::definitions::{TypeDefinition, TypeKind, TypeReference, definitions};
use fhir::{Number, Object, Resource, Value};
use proptest::prelude::*;

use super::{names, shift};
use crate::{Deidentifier, Refused, Rules};

/// In every text that is not a code.
const MARKS: [&str; 4] = ["zqx", "4711", "1971-03", "WlFY"];

fn primitive(type_name: &str, element: &fhir::definitions::ElementDefinition) -> Value {
    let code = || {
        let codes = element.binding.as_ref().and_then(|binding| definitions().codes(&binding.value_set));
        let code = codes.and_then(|codes| codes.groups.first()?.1.first().copied());
        // A marked code where codes are free, a right one where a wrong one refuses the resource.
        code.filter(|_| element.is_modifier).unwrap_or("zqx-4711").into()
    };
    match type_name {
        "boolean" => true.into(),
        "integer" | "unsignedInt" | "positiveInt" => 5.into(),
        "decimal" => Value::Number(Number::parse("1.50").unwrap()),
        "date" => "1971-03-04".into(),
        "dateTime" | "instant" => "1971-03-04T05:06:07+01:00".into(),
        "time" => "05:06:07".into(),
        "code" => code(),
        "uri" | "url" | "canonical" => "http://zqx.example/4711".into(),
        "oid" => "urn:oid:1.2.4711".into(),
        "uuid" => "urn:uuid:47114711-0000-4000-8000-000000000000".into(),
        "id" => "zqx-4711".into(),
        "base64Binary" => "WlFYNDcxMQ==".into(),
        "xhtml" => "<div xmlns=\"http://www.w3.org/1999/xhtml\">Zqx</div>".into(),
        _ => "Anna Zqx 4711".into(),
    }
}

fn complex(type_name: &str, variant: usize, depth: usize) -> Option<Value> {
    let definition = definitions().type_(type_name)?;
    let coding = || {
        Object::new()
            .with("system", "http://snomed.info/sct")
            .with("version", "zqx")
            .with("code", "38341003")
            .with("display", "Zqx")
    };
    Some(match type_name {
        "Coding" => coding().into(),
        "CodeableConcept" => {
            Object::new().with("id", "zqx").with("coding", vec![coding().into()]).with("text", "Zqx 4711").into()
        }
        "Reference" => {
            let target = ["Patient/zqx-4711", "Practitioner/zqx-4711", "#zqx", "http://zqx.example/fhir/Patient/4711"]
                [variant % 4];
            Object::new().with("reference", target).with("display", "Anna Zqx").into()
        }
        _ if depth == 0 => return None,
        "Resource" | "DomainResource" => filled("Medication", variant, depth - 1).into_tree().into(),
        _ => Value::Object(members(definition, variant, depth - 1)),
    })
}

fn members(definition: &'static TypeDefinition, variant: usize, depth: usize) -> Object {
    let mut object = Object::new();
    for element in definition.elements() {
        if ["modifierExtension", "implicitRules"].contains(&element.name) {
            continue;
        }
        let reference: &TypeReference = &element.types[variant % element.types.len()];
        let kind = definitions().type_(reference.code).map(|definition| definition.kind);
        let value = match kind {
            Some(TypeKind::Primitive) => Some(primitive(reference.code, element)),
            Some(_) => complex(reference.code, variant, depth),
            None => None,
        };
        let Some(value) = value else { continue };
        let value = if element.is_list() { Value::Array(vec![value.clone(), value]) } else { value };
        object.set(&element.instance_name(reference), value);
    }
    object
}

fn filled(type_name: &str, variant: usize, depth: usize) -> Resource {
    let mut resource = Resource::new(type_name);
    let definition = definitions().resource(type_name).unwrap();
    for (name, value) in members(definition, variant, depth).into_members() {
        resource.set(&name, value);
    }
    resource.set("id", "zqx-4711");
    resource
}

fn assert_unmarked(resource: &Resource, of: &str) {
    let text = fhir::json::print(resource, false).to_lowercase();
    for mark in MARKS {
        assert!(!text.contains(&mark.to_lowercase()), "{of} keeps {mark}: {text}");
    }
}

#[test]
fn a_resource_of_every_shared_type_with_every_element_keeps_no_mark() {
    let (rules, names) = (Rules::default(), names(1));
    let deidentifier = Deidentifier::new(&rules, &names);
    let mut shared = BTreeSet::new();
    for type_name in &rules.resource_types {
        for variant in 0..60 {
            let resource = filled(type_name, variant, 4);
            match deidentifier.deidentify(&resource, shift()) {
                Ok(outcome) => {
                    assert_unmarked(&outcome.resource, type_name);
                    shared.insert(type_name.clone());
                }
                Err(Refused::Modifier { .. }) => {}
                Err(refused) => panic!("{type_name}: {refused}"),
            }
        }
    }
    assert_eq!(shared.len(), rules.resource_types.len(), "every type was shared in some variant: {shared:?}");
}

/// Any tree with names of elements and marked content.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::from("Anna Zqx 4711")),
        Just(Value::from("1971-03-04")),
        Just(Value::from("Patient/zqx-4711")),
        Just(Value::from("http://zqx.example/x")),
        Just(Value::from(true)),
        Just(Value::Null),
    ];
    let name = prop::sample::select(vec![
        "code",
        "coding",
        "system",
        "display",
        "text",
        "value",
        "unit",
        "valueString",
        "subject",
        "reference",
        "identifier",
        "extension",
        "url",
        "contained",
        "resourceType",
        "id",
        "note",
        "period",
        "start",
        "birthDate",
        "name",
        "_status",
        "zqx",
        "meta",
        "profile",
        "component",
        "valueQuantity",
        "version",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let mut object = Object::new();
                members.into_iter().for_each(|(name, value)| object.set(name, value));
                object.into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn malformed_resources_keep_no_mark_either(members in prop::collection::vec((prop::sample::select(vec![
        "code", "subject", "note", "component", "extension", "contained", "meta", "text", "valueQuantity", "identifier",
        "effectivePeriod", "zqx", "performer", "interpretation",
    ]), any_value()), 0..8)) {
        let mut resource = Resource::new("Observation");
        members.into_iter().for_each(|(name, value)| resource.set(name, value));
        resource.set("id", "zqx-4711");
        let (rules, names) = (Rules::default(), names(1));
        if let Ok(outcome) = Deidentifier::new(&rules, &names).deidentify(&resource, shift()) {
            assert_unmarked(&outcome.resource, "Observation");
        }
    }
}
