//! Plug-ins are complete or not loaded.

use store::StoreOptions;

use super::models::{body_of, bpmn, plugin};
use crate::{Definition, LocalNode, Plugin, ProcessError, Runtime, ping_pong};

async fn start(plugins: &[Plugin]) -> Result<Runtime, ProcessError> {
    let directory = tempfile::tempdir().unwrap();
    let store = store_testing::open(&directory.path().join("engine.db"), StoreOptions::default()).await.unwrap();
    let node = LocalNode {
        organization_identifier: "a".to_owned(),
        endpoint_identifier: "a-endpoint".to_owned(),
        base_url: "https://a.example/fhir".to_owned(),
    };
    Runtime::start(store, node, plugins, "engine").await
}

#[tokio::test]
async fn a_plug_in_that_cannot_be_executed_is_refused_with_the_element() {
    let start_event = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="do"/>"#;
    let cases = [
        (r#"<serviceTask id="do" camunda:class="Unknown"/>"#, "needs the implementation Unknown"),
        (r#"<userTask id="do"/>"#, "is a user task without a form"),
        (r#"<scriptTask id="do"/>"#, "do"),
    ];
    for (element, expected) in cases {
        let refused = start(&[plugin(vec![bpmn("test", "1.0", &format!("{start_event}{element}"))])]).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_process_that_is_there_twice_is_refused_and_two_versions_are_not() {
    let hello = body_of("hello");
    let models = |versions: [&str; 2]| vec![plugin(versions.map(|version| bpmn("hello", version, hello)).to_vec())];
    let error = start(&models(["1.0", "1.0"])).await.err().unwrap().to_string();
    assert!(error.contains("testorg_hello|1.0 is there twice"), "{error}");
    assert_eq!(start(&models(["1.0", "2.0"])).await.unwrap().installed().len(), 2);
}

#[test]
fn a_model_needs_one_process_with_a_version() {
    let model = |processes: &str| {
        let text = format!(
            r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">{processes}</definitions>"#
        );
        Definition::parse(text.as_bytes()).map(|definition| definition.version).map_err(|error| error.to_string())
    };
    let process = |id: &str, version: &str| {
        format!(r#"<process id="{id}" isExecutable="true" {version}><startEvent id="s{id}"/></process>"#)
    };
    let tagged = r#"camunda:versionTag="1.0""#;
    assert_eq!(model(&process("a_b", tagged)), Ok("1.0".to_owned()));
    assert!(model(&process("a_b", "")).unwrap_err().contains("no camunda:versionTag"));
    assert!(
        model(&format!("{}{}", process("a_b", tagged), process("a_c", tagged))).unwrap_err().contains("exactly one")
    );
    assert!(model("").is_err());
}

#[test]
fn the_shipped_plug_in_names_the_organisation_only_in_its_drafts() {
    let plugin = ping_pong::plugin();
    assert_eq!(plugin.definitions().unwrap().len(), 3);
    for resource in plugin.resources("A & <B>").unwrap() {
        let is_task = resource.type_name() == "Task";
        let status = if is_task { "draft" } else { "active" };
        assert_eq!(resource.str("status"), Some(status));
        assert!(!fhir::print(fhir::Format::Json, &resource, false).contains("#{"), "{}", resource.type_name());
        if is_task {
            let requester = resource.get("requester").and_then(|requester| requester.get("identifier")?.str("value"));
            assert_eq!(requester, Some("A & <B>"));
        }
    }
}
