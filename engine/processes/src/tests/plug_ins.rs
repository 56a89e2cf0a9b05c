//! Packages beside each other: what is installed of them, what is left out, and how their resources are to be stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fhir::Resource;
use store::{Store, StoreOptions};

use super::support::{error_of, new_task};
use crate::runtime::{LocalNode, ProcessError, Runtime};
use crate::state::{self, ProcessState};
use crate::{Found, limits, package, task};

struct Folder {
    store: Store,
    runtime: Arc<Runtime>,
    directory: tempfile::TempDir,
}

impl Folder {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store_testing::open(&directory.path().join("engine.db"), StoreOptions::default()).await.unwrap();
        let node = LocalNode {
            organization_identifier: "a.example".to_owned(),
            endpoint_identifier: "a-endpoint".to_owned(),
            base_url: "https://a.example/fhir".to_owned(),
        };
        let runtime = Runtime::start(store.clone(), node, &[], store.owner()).await.unwrap();
        Self { runtime: Arc::new(runtime), store, directory }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join("plugins").join(file)
    }

    fn write(&self, file: &str, content: &str) {
        write(&self.path(file), content);
    }

    /// A package whose processes wait for a worker, each with an ActivityDefinition and a profile.
    fn package(&self, name: &str, version: &str, processes: &[&str]) {
        self.write(&format!("{name}/plugin.toml"), &format!("version = \"{version}\""));
        for process in processes {
            self.write(&format!("{name}/bpe/{process}.bpmn"), &model(process, "#{version}", WORK));
            let (own, profile) = resources(process);
            self.write(&format!("{name}/fhir/ActivityDefinition/{process}.xml"), &own);
            self.write(&format!("{name}/fhir/StructureDefinition/{process}.xml"), &profile);
        }
    }

    async fn load(&self) {
        let found = package::load_all(&self.path("")).unwrap();
        self.runtime.install(self.runtime.judge(&found)).await.unwrap();
    }

    fn installed(&self) -> Vec<String> {
        self.runtime.installed().iter().map(|definition| format!("{}|{}", definition.key, definition.version)).collect()
    }

    fn refused(&self) -> Vec<String> {
        let root = self.path("").display().to_string();
        let catalogue = self.runtime.catalogue();
        catalogue.refused().iter().map(|refused| refused.to_string().replace(&root, "")).collect()
    }

    /// File and status of everything that is to be stored.
    fn published(&self, ordered: &[(&str, ProcessState)]) -> BTreeMap<String, String> {
        let ordered = ordered.iter().map(|(key, state)| (((*key).to_owned(), "1.0".to_owned()), *state)).collect();
        let publications = self.runtime.catalogue().publications(&ordered);
        let all = publications.iter().flat_map(|publication| &publication.resources);
        all.map(|published| (published.file.clone(), published.state.as_str().to_owned())).collect()
    }

    /// Creates a Task; gives it as it is afterwards.
    async fn create(&self, process: &str, key: &str, message: &str) -> Resource {
        let built: Resource = new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), message, Some(key), None);
        let runtime = Arc::clone(&self.runtime);
        let created = self.store.write(move |tx| {
            let created = tx.create(built, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource)?;
            Ok::<_, ProcessError>(task::read(tx, &created.id)?.unwrap())
        });
        created.await.unwrap()
    }

    async fn order(&self, key: &'static str, state: ProcessState) {
        self.store.write(move |tx| state::order(tx, key, "1.0", state)).await.unwrap();
    }
}

const WORK: &str = r#"<serviceTask id="do" camunda:type="external" camunda:topic="work"/>"#;

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn model(process: &str, version: &str, middle: &str) -> String {
    format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
        <process id="testorg_{process}" isExecutable="true" camunda:versionTag="{version}">
          <startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f" sourceRef="start" targetRef="do"/>
          {middle}<sequenceFlow id="g" sourceRef="do" targetRef="end"/><endEvent id="end"/></process><message id="m" name="m"/></definitions>"#
    )
}

fn resources(process: &str) -> (String, String) {
    let own = format!(
        r##"<ActivityDefinition xmlns="http://hl7.org/fhir"><extension url="x"><valueCanonical value="http://test.org/fhir/StructureDefinition/task-{process}|#{{version}}"/></extension>
        <url value="http://test.org/bpe/Process/{process}"/><version value="#{{version}}"/><status value="unknown"/><kind value="Task"/></ActivityDefinition>"##
    );
    let profile = format!(
        r##"<StructureDefinition xmlns="http://hl7.org/fhir"><url value="http://test.org/fhir/StructureDefinition/task-{process}"/><version value="#{{version}}"/><status value="unknown"/></StructureDefinition>"##
    );
    (own, profile)
}

#[tokio::test]
async fn bpmn_012_a_process_that_two_packages_bring_is_taken_from_neither() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0", &["same", "first"]);
    folder.package("two", "1.0.0.1", &["same"]);
    folder.load().await;
    assert_eq!(folder.installed(), ["testorg_first|1.0"]);
    let reason = "process testorg_same|1.0 is there more than once";
    assert_eq!(folder.refused(), [format!("one: bpe/same.bpmn: {reason}"), format!("two: bpe/same.bpmn: {reason}")]);
    let published: Vec<String> = folder.published(&[]).into_keys().collect();
    assert_eq!(published, ["fhir/ActivityDefinition/first.xml", "fhir/StructureDefinition/first.xml"]);
    std::fs::remove_dir_all(folder.path("two")).unwrap();
    folder.load().await;
    assert_eq!((folder.installed().len(), folder.refused().len()), (2, 0));
}

#[tokio::test]
async fn bpmn_014_without_a_time_to_live_an_ended_instance_is_kept_thirty_days() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0", &["plain"]);
    let own = model("own", "1.0", WORK).replace("isExecutable", "camunda:historyTimeToLive=\"P7D\" isExecutable");
    folder.write("one/bpe/own.bpmn", &own);
    folder.load().await;
    let kept: Vec<i64> = folder
        .runtime
        .installed()
        .iter()
        .map(|definition| definition.retention.unwrap_or(limits::RETENTION).whole_days())
        .collect();
    assert_eq!(kept, [7, limits::RETENTION.whole_days()]);
}

#[tokio::test]
async fn bpmn_015_and_016_a_model_that_breaks_the_rules_is_left_out_and_the_others_stay() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0", &["good", "tag", "send", "class", "name"]);
    folder.write("one/bpe/tag.bpmn", &model("tag", "1.1", WORK));
    let send = |fields: &str| {
        format!(
            r#"<sendTask id="do" camunda:class="org.example.Send"><extensionElements>{fields}</extensionElements></sendTask>"#
        )
    };
    let field =
        |name: &str| format!(r#"<camunda:field name="{name}"><camunda:string>x</camunda:string></camunda:field>"#);
    folder.write(
        "one/bpe/send.bpmn",
        &model("send", "1.0", &send(&(field("instantiatesCanonical") + &field("messageName")))),
    );
    folder.write(
        "one/bpe/class.bpmn",
        &model("class", "1.0", r#"<serviceTask id="do" camunda:class="org.example.Unknown"/>"#),
    );
    folder.write("one/bpe/name.bpmn", &model("name", "1.0", WORK).replace("testorg_name", "nameless"));
    folder.load().await;
    assert_eq!(folder.installed(), ["testorg_good|1.0"]);
    let refused = folder.refused();
    let expected = [
        ("class.bpmn", "needs the implementation org.example.Unknown"),
        ("name.bpmn", "is not of the form domain_name"),
        ("send.bpmn", "needs the implementation org.example.Send"),
        ("tag.bpmn", "has the version tag 1.1, the plug-in is of version 1.0"),
    ];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for (found, (file, reason)) in refused.iter().zip(expected) {
        assert!(found.contains(file) && found.contains(reason), "{found}");
    }
    // With somebody who sends, the missing field is what is wrong.
    let catalogue =
        Runtime::start(folder.store.clone(), (*folder.runtime.node).clone(), &[super::models::plugin(Vec::new())], "x")
            .await
            .unwrap();
    folder.write(
        "one/bpe/send.bpmn",
        &model(
            "send",
            "1.0",
            &send(&(field("instantiatesCanonical") + &field("messageName"))).replace("org.example.Send", "Send"),
        ),
    );
    let judged = catalogue.judge(&package::load_all(&folder.path("")).unwrap());
    assert!(
        judged.refused().iter().any(|refused| refused.reason == "element do sends a message and has no field profile"),
        "{:?}",
        judged.refused()
    );
}

#[tokio::test]
async fn bpmn_011_what_is_not_released_is_a_draft_and_its_newest_model_begins() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0-SNAPSHOT", &["draft"]);
    folder.load().await;
    assert!(folder.published(&[]).values().all(|state| state == "draft"));
    let before = folder.runtime.installed()[0].digest.clone();
    assert_eq!(folder.create("draft", "A", "m").await.str("status"), Some("in-progress"));
    folder.write("one/bpe/draft.bpmn", &(model("draft", "1.0", WORK) + "\n"));
    folder.load().await;
    assert_ne!(folder.runtime.installed()[0].digest, before);
    assert!(folder.runtime.catalogue().definitions.by_digest(&before).is_some(), "running instances keep theirs");
    for (name, is_draft) in [("1.0.0.0-M2", true), ("1.0.0.0-RC1", true), ("1.0.0.0-Mx", false), ("1.0.0.0", false)] {
        folder.package("one", name, &["draft"]);
        let Found { packages, .. } = package::load_all(&folder.path("")).unwrap();
        assert_eq!(packages[0].is_draft, is_draft, "{name}");
    }
}

#[tokio::test]
async fn bpmn_008_and_009_and_010_states_decide_what_begins_and_what_is_published() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0", &["first", "second"]);
    // What both need, and what nothing leads to.
    let (own, _) = resources("second");
    let both = own.replace("<url", r#"<extension url="y"><valueCanonical value="http://test.org/fhir/StructureDefinition/task-first|1.0"/></extension><url"#);
    folder.write("one/fhir/ActivityDefinition/second.xml", &both);
    folder.write(
        "one/fhir/CodeSystem/alone.json",
        r#"{"resourceType":"CodeSystem","url":"http://test.org/alone","version":"1.0","status":"unknown"}"#,
    );
    folder.load().await;
    let published = folder.published(&[("testorg_first", ProcessState::Excluded)]);
    let state = |file: &str| published[file].as_str();
    assert_eq!(state("fhir/ActivityDefinition/first.xml"), "excluded");
    for file in ["StructureDefinition/first.xml", "ActivityDefinition/second.xml", "CodeSystem/alone.json"] {
        assert_eq!(state(&format!("fhir/{file}")), "active", "{file}");
    }

    let running = folder.create("first", "A", "m").await;
    for ordered in [ProcessState::Retired, ProcessState::Excluded] {
        folder.order("testorg_first", ordered).await;
        let refused = folder.create("first", "B", "m").await;
        assert_eq!(error_of(&refused).as_deref(), Some("Process not found"));
        assert_eq!(folder.create("second", "B", "m").await.str("status"), Some("in-progress"));
    }
    assert_eq!(running.str("status"), Some("in-progress"));
    folder.order("testorg_first", ProcessState::Active).await;
    assert_eq!(folder.create("first", "C", "m").await.str("status"), Some("in-progress"));
}

#[tokio::test]
async fn bpmn_017_placeholders_of_models_and_resources_are_replaced() {
    let folder = Folder::open().await;
    folder.package("one", "1.2.0.0", &["first"]);
    folder.write("one/plugin.toml", "version = \"1.2.0.0\"\nrelease-date = \"2026-01-31\"");
    folder.write("one/fhir/CodeSystem/a.json", r##"{"resourceType":"CodeSystem","url":"http://test.org/a","version":"#{version}","date":"#{date}","publisher":"#{organization}","status":"unknown"}"##);
    folder.load().await;
    assert_eq!(folder.installed(), ["testorg_first|1.2"]);
    let publications = folder.runtime.catalogue().publications(&BTreeMap::new());
    let all = publications.iter().flat_map(|publication| &publication.resources);
    let system =
        all.map(|published| &published.resource).find(|resource| resource.type_name() == "CodeSystem").unwrap();
    let members = ["version", "date", "publisher", "status"].map(|name| system.str(name).unwrap());
    assert_eq!(members, ["1.2", "2026-01-31", "a.example", "active"]);
}

#[tokio::test]
async fn a_step_that_lacks_a_package_that_is_left_out_waits_for_its_repair() {
    let folder = Folder::open().await;
    folder.package("one", "1.0.0.0", &["first"]);
    let body = r#"<intermediateCatchEvent id="do"><messageEventDefinition messageRef="go"/></intermediateCatchEvent><sequenceFlow id="h" sourceRef="do" targetRef="late"/><serviceTask id="late" camunda:class="org.example.Late"/>"#;
    let text =
        model("first", "1.0", body).replace(r#"sourceRef="do" targetRef="end""#, r#"sourceRef="late" targetRef="end""#);
    folder
        .write("one/bpe/first.bpmn", &text.replace("</definitions>", r#"<message id="go" name="go"/></definitions>"#));
    let manifest = "version = \"1.0.0.0\"\n[bind]\n\"org.example.Late\" = { topic = \"late\" }";
    folder.write("one/plugin.toml", manifest);
    folder.load().await;
    let started = folder.create("first", "A", "m").await;
    folder.write("one/fhir/StructureDefinition/first.xml", "<damaged");
    folder.load().await;
    let refused = folder.refused();
    assert!(refused.len() == 1 && refused[0].starts_with("one: fhir/StructureDefinition/first.xml: "), "{refused:?}");
    // Who does its steps is known as long as the manifest can be read.
    folder.write("one/plugin.toml", "version = 1");
    folder.load().await;
    assert!(folder.refused()[0].starts_with("one: plugin.toml: "), "{:?}", folder.refused());
    assert!(folder.installed().is_empty() && folder.published(&[]).is_empty());
    assert_eq!(error_of(&folder.create("first", "B", "m").await).as_deref(), Some("Process not found"));
    // Only what was there before goes on: by a signal of its own time, here by the subscription itself.
    let runtime = Arc::clone(&folder.runtime);
    let moved = folder.store.write(move |tx| {
        let row = tx.instances_by_business_key("A")?.pop().unwrap();
        let target = store::processes::MessageTarget {
            process_key: Some("testorg_first"),
            version_tag: Some("1.0"),
            message_name: "go",
            business_key: "A",
            correlation_key: None,
        };
        let open = tx.find_message_subscriptions(&target)?.pop().unwrap();
        let command =
            bpmn::Command::Message { subscription: open.id.as_str().into(), variables: Vec::new(), message: None };
        let mut unit = crate::runtime::Unit::new(&runtime, tx);
        unit.enqueue(&row.id, command);
        unit.run()?;
        Ok::<_, ProcessError>((row.id.clone(), tx.work_of(&row.id)?))
    });
    let (instance, work) = moved.await.unwrap();
    assert_eq!((work.len(), work[0].retries), (1, Some(0)), "it waits for an operator");
    let id = started.id().unwrap().to_owned();
    let kept = folder.store.read(move |tx| task::read(tx, &id)).await.unwrap().unwrap();
    assert_eq!(kept.str("status"), Some("in-progress"));
    let (_, profile) = resources("first");
    folder.write("one/fhir/StructureDefinition/first.xml", &profile);
    folder.write("one/plugin.toml", manifest);
    folder.load().await;
    assert!(folder.refused().is_empty());
    let work = folder.store.read(move |tx| tx.work_of(&instance)).await.unwrap();
    assert_eq!(work.len(), 1);
}
