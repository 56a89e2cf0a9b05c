//! What must hold by each shipped base profile (`fhir-api` 4.5): a resource that holds it, and what breaks it. Tasks are in
//! `shipped`.

use super::support::{base_resources, is_valid, json, listed, mutations, our_base, ours, ping_pong_tasks};
use crate::validate::validate;
use crate::{Object, Resource, Value};

/// The place in [`base_resources`], and the changes that must be refused.
const BREAKS: &[(usize, &str, &[&str])] = &[
    (
        0,
        "Organization",
        &[
            "remove meta.tag",
            "remove meta.tag.0",
            "remove meta.tag.1.extension",
            "remove meta.tag.2.extension",
            "double meta.tag.1.extension.0",
            "remove extension",
            "change extension.0.valueString",
            "remove identifier",
            "double identifier.0",
            "foreign identifier.0.system",
            "remove active",
            "remove endpoint",
            "remove endpoint.0.reference",
        ],
    ),
    (1, "Organization", &["remove identifier", "foreign identifier.0.system", "remove meta.tag"]),
    (
        2,
        "Endpoint",
        &[
            "remove identifier",
            "double identifier.0",
            "change connectionType.code",
            "remove managingOrganization",
            "remove managingOrganization.reference",
            "change payloadType.0.coding.0.code",
            "remove payloadMimeType",
            "remove payloadMimeType.0",
            "double payloadMimeType.0",
            "remove address",
        ],
    ),
    (
        3,
        "OrganizationAffiliation",
        &[
            "remove active",
            "remove organization",
            "remove organization.reference",
            "remove participatingOrganization",
            "remove participatingOrganization.reference",
            "remove endpoint",
            "double endpoint.0",
            "remove endpoint.0.reference",
            "remove code",
            "remove code.0.coding",
            "remove code.0.coding.0.system",
            "remove code.0.coding.0.code",
        ],
    ),
    (4, "Subscription", &["remove meta.tag", "remove criteria", "change channel.type"]),
    (5, "Binary", &["remove meta.tag", "remove contentType"]),
    (6, "Binary", &["remove securityContext"]),
    (
        8,
        "Questionnaire",
        &[
            "remove url",
            "remove version",
            "remove date",
            "remove item.1",
            "double item.1",
            "change item.1.text",
            "change item.0.text",
            "remove item.1.required",
            "remove item.3.required",
        ],
    ),
    (
        9,
        "QuestionnaireResponse",
        &[
            "remove questionnaire",
            "remove item.1",
            "double item.1",
            "double item.0",
            "double item.3.answer.0",
            "remove authored",
            "remove author",
            "remove author.identifier",
            "foreign author.identifier.system",
        ],
    ),
];

#[test]
fn what_must_hold_by_base_profiles_is_demanded() {
    let registry = our_base();
    let resources = base_resources();
    for (position, type_name, breaks) in BREAKS {
        let resource = &resources[*position];
        assert_eq!(resource.type_name(), *type_name);
        assert!(is_valid(resource, &registry), "{type_name}: {}", listed(&validate(resource, &registry)));
        let mutations = mutations(resource);
        for wanted in *breaks {
            let (_, changed) = mutations.iter().find(|(label, _)| label == wanted).unwrap_or_else(|| {
                panic!("{type_name} {position} has no mutation {wanted}");
            });
            assert!(!is_valid(changed, &registry), "{type_name} {position}: {wanted} was accepted");
        }
    }
}

#[test]
fn everybody_may_read_only_what_names_nobody_else() {
    let registry = our_base();
    let group = |tags: &[&str]| {
        let tag =
            |code: &&str| format!(r#"{{"system":"http://dsf.dev/fhir/CodeSystem/read-access-tag","code":"{code}"}}"#);
        json(&format!(
            r#"{{"resourceType":"Group","meta":{{"profile":["http://dsf.dev/fhir/StructureDefinition/group"],"tag":[{}]}},
                "type":"person","actual":true}}"#,
            tags.iter().map(tag).collect::<Vec<_>>().join(",")
        ))
    };
    for (tags, is_right) in [
        (&["ALL"][..], true),
        (&["LOCAL"], true),
        (&["ALL", "LOCAL"], false),
        (&["ALL", "ALL"], false),
        (&["LOCAL", "LOCAL"], false),
        (&["ORGANIZATION"], false),
        (&["LOCAL", "ORGANIZATION"], false),
    ] {
        let group = group(tags);
        assert_eq!(is_valid(&group, &registry), is_right, "{tags:?}\n{}", listed(&validate(&group, &registry)));
    }
}

#[test]
fn questions_of_user_tasks_are_flat_and_unconditional() {
    let registry = our_base();
    let questionnaire = &base_resources()[8];
    let with = |name: &str, value: Value| {
        let mut changed: Resource = questionnaire.clone();
        if let Some(Value::Array(items)) = changed.get_mut("item")
            && let Some(item) = items.last_mut().and_then(Value::as_object_mut)
        {
            item.set(name, value);
        }
        changed
    };
    let inner = Object::new().with("linkId", "inner").with("type", "display");
    let option = Object::new().with("valueInteger", 1_i64);
    let when = Object::new().with("question", "note").with("operator", "exists").with("answerBoolean", true);
    let initial = Object::new().with("valueBoolean", true);
    for (name, value) in [("item", inner), ("answerOption", option), ("enableWhen", when), ("initial", initial)] {
        assert!(!is_valid(&with(name, vec![Value::Object(value)].into()), &registry), "{name} was accepted");
    }
}

#[test]
fn tasks_need_their_keys_in_each_status() {
    let registry = ours();
    let (_, task) = ping_pong_tasks().into_iter().find(|(name, _)| *name == "start").unwrap();
    let with_status = |status: &str, identifier: bool, inputs: usize| {
        let mut task = task.clone();
        task.set("status", status);
        if identifier {
            let identifier = Object::new().with("system", "http://dsf.dev/sid/task-identifier").with("value", "x");
            task.set("identifier", vec![Value::Object(identifier)]);
        }
        let inputs = task.list("input")[..inputs].to_vec();
        task.set("input", inputs);
        task
    };
    let is_valid = |task: &Resource| is_valid(task, &registry);
    assert!(is_valid(&with_status("draft", true, 1)));
    assert!(!is_valid(&with_status("draft", false, 1)), "a draft without identifier was accepted");
    assert!(is_valid(&with_status("requested", false, 1)));
    for status in ["in-progress", "completed", "failed"] {
        assert!(!is_valid(&with_status(status, false, 1)), "{status} without business-key was accepted");
    }
}
