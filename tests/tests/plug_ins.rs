//! Process plug-ins on a real node: a developer's example is installed, a person and a worker take part in its process, an
//! operator looks after it, and what is wrong with a plug-in is said with its file while everything else runs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::network::Process;
use tests::plug_ins::{KEY, PROCESS, Place, TOKEN, TOPIC};
use tests::{Schleuse, search};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn edit(file: &Path, change: impl FnOnce(&str) -> String) {
    let before = std::fs::read_to_string(file).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "{}", file.display());
    std::fs::write(file, after).unwrap();
}

/// The process of the example in `process list`.
fn listed(place: &Place) -> Option<Value> {
    let list = place.run(&["process", "list"], &[]).expect(0).json();
    list["processes"].as_array().unwrap().iter().find(|process| process["key"] == KEY).cloned()
}

fn refused(place: &Place) -> Vec<Value> {
    let list = place.run(&["process", "list"], &[]).expect(0).json();
    list["refused"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_example_runs_with_a_person_and_a_worker_and_through_kills() {
    let place = Place::start().await;
    let example = place.example("hello");
    let tested = Schleuse::run(&["process", "test", &example.display().to_string()]).expect(0);
    assert!(tested.out.contains("0 wrong") && tested.out.contains("a person releases"), "{}", tested.out);
    place.install(&example).expect(0);
    let process = listed(&place).unwrap();
    assert_eq!(
        (&process["process"], &process["state"], &process["running"]),
        (&json!(PROCESS), &json!("active"), &json!(0))
    );
    let shown = Schleuse::run(&["process", "show", PROCESS, &place.directory()]).expect(0);
    assert!(shown.out.contains("workers of topic hello-greet") && shown.out.contains("task-hello"), "{}", shown.out);
    let own = place.network.organization("dms", "dms");
    let stored = search::all(&own, "ActivityDefinition", "url=http://example.org/bpe/Process/hello").await;
    assert_eq!((stored.len(), &stored[0]["status"]), (1, &json!("active")));

    // A person answers from anywhere, with a certificate of their own.
    let task = place.start_task();
    place.until_status(&task, "in-progress").await;
    let open = place.open();
    assert_eq!(open.len(), 1, "{open:?}");
    let id = open[0]["id"].as_str().unwrap();
    let node = place.node();
    let authority = place.network.authority().join("ca.pem");
    let text = |path: &Path| path.display().to_string();
    let as_person = |words: &[&str], more: &[&str]| {
        let (certificate, key) = (text(&node.administrator.certificate), text(&node.administrator.private_key));
        let mut all = words.to_vec();
        let authority = text(&authority);
        all.extend([
            id,
            "--node",
            &node.base_url,
            "--certificate",
            &certificate,
            "--private-key",
            &key,
            "--authority",
            &authority,
        ]);
        all.extend(more);
        Schleuse::run(&all)
    };
    let form = as_person(&["task", "show"], &[]).expect(0);
    assert!(form.out.contains("Release?") && form.out.contains("boolean, required"), "{}", form.out);
    for (set, expected) in [
        ("typo=1", "no item to answer"),
        ("release=perhaps", "is no answer of type boolean"),
        ("note=x", "required and not answered: release"),
    ] {
        let wrong = as_person(&["task", "answer"], &["--set", set]).expect(2);
        assert!(wrong.err.contains(expected), "{}", wrong.err);
    }
    as_person(&["task", "answer"], &["--set", "release=true", "--set", "note=as agreed"]).expect(0);
    let twice = as_person(&["task", "answer"], &["--set", "release=true"]).expect(1);
    assert!(twice.err.contains("only one that is in-progress"), "{}", twice.err);

    // A worker has fetched it when the engine is killed; it holds its lock and its result counts.
    let found = place.fetch("w1").await;
    assert_eq!((&found["topicName"], &found["activityId"]), (&json!(TOPIC), &json!("greet")));
    let instance = place.instance();
    place.network.kill_and_await_restart("dms", Process::Engine).await;
    assert_eq!(place.instance(), instance);
    let complete = format!("/external-task/{}/complete", found["id"].as_str().unwrap());
    let done = json!({ "workerId": "w1", "variables": { "greeted": { "value": "Ada", "type": "String" } } });
    place.ask(TOKEN, &complete, &done).await.expect(204);
    place.ask(TOKEN, &complete, &done).await.expect(404);
    place.until_status(&task, "completed").await;
    let history = Schleuse::run(&["instance", "history", &instance, &place.directory()]).expect(0);
    for element in ["start", "release", "greet", "greeted"] {
        assert!(history.out.contains(element), "{element}: {}", history.out);
    }
    let gone = place.run(&["instance", "list"], &["--state", "completed", "--process", KEY]).expect(0).json();
    assert_eq!(gone["instances"][0]["id"], instance.as_str());

    // Rejected: the process has no way for that, so its Task fails with the reason.
    let task = place.start_task();
    place.until_status(&task, "in-progress").await;
    let id = place.open()[0]["id"].as_str().unwrap().to_owned();
    Schleuse::run(&["task", "reject", &id, &place.directory()]).expect(0);
    place.until_status(&task, "failed").await;
    assert!(place.open().is_empty());
}

#[tokio::test]
async fn workers_are_kept_to_their_topics_and_failures_wait_for_an_operator() {
    let place = Place::start().await;
    let example = place.example("hello");
    place.install(&example).expect(0);
    let task = place.start_released().await;
    let wanted = |topic: &str| json!({ "workerId": "w1", "maxTasks": 5, "topics": [{ "topicName": topic, "lockDuration": 60_000 }] });
    let none = place.worker().send("POST", "/external-task/fetchAndLock", &[], wanted(TOPIC).to_string()).await;
    assert_eq!(
        (
            none.expect(401).field("www-authenticate"),
            place.ask("wrong", "/external-task/fetchAndLock", &wanted(TOPIC)).await.status
        ),
        (Some("Bearer"), 401)
    );
    let foreign = place.ask(&TOKEN.to_uppercase(), "/external-task/fetchAndLock", &wanted(TOPIC)).await.expect(200);
    assert_eq!(foreign.json(), json!([]), "a credential sees its own topics alone");
    let found = place.fetch("w1").await;
    let path = |action: &str| format!("/external-task/{}/{action}", found["id"].as_str().unwrap());
    let foreign = place.ask(&TOKEN.to_uppercase(), &path("complete"), &json!({ "workerId": "w1" })).await;
    assert_eq!(foreign.status, 404);
    let wrong = place.ask(TOKEN, &path("complete"), &json!({ "workerId": "w2" })).await.expect(400);
    assert!(wrong.text().contains("locked by worker 'w1'"), "{}", wrong.text());
    place.ask(TOKEN, &path("complete"), &json!({ "variables": 7 })).await.expect(400);
    assert_eq!(place.ask(TOKEN, "/../fhir/Task", &json!({})).await.status, 404);

    // The manifest says incident: nothing fails before an operator has looked.
    let failure = json!({ "workerId": "w1", "errorMessage": "no paper", "retries": 0, "retryTimeout": 0 });
    place.ask(TOKEN, &path("failure"), &failure).await.expect(204);
    let incidents = place.run(&["incident", "list"], &[]).expect(0).json();
    let incident = &incidents["incidents"][0];
    assert_eq!(
        (&incident["element"], incident["failure"].as_str().unwrap().contains("no paper")),
        (&json!("greet"), true),
        "{incidents:#}"
    );
    let instance = place.instance();
    let shown = Schleuse::run(&["instance", "show", &instance, &place.directory()]).expect(0);
    assert!(shown.out.contains("incident") && shown.out.contains("no paper"), "{}", shown.out);
    place.until_status(&task, "in-progress").await;
    Schleuse::run(&["instance", "retry", &instance, &place.directory()]).expect(0);
    let again = place.fetch("w1").await;
    assert_eq!(again["id"], found["id"]);
    place.ask(TOKEN, &path("failure"), &failure).await.expect(204);
    place.network.kill_and_await_restart("dms", Process::Engine).await;
    Schleuse::run(&["instance", "resolve", &instance, &place.directory(), "--set", "greeted=by hand"]).expect(0);
    place.until_status(&task, "completed").await;

    let task = place.start_released().await;
    let cancelled = place.instance();
    Schleuse::run(&["instance", "cancel", &cancelled, &place.directory(), "--reason", "not needed"]).expect(0);
    let ended = place.until_status(&task, "failed").await;
    assert!(ended["error"].as_str().unwrap().contains("not needed"), "{ended:#}");
    let nothing = json!([]);
    assert_eq!(place.ask(TOKEN, "/external-task/fetchAndLock", &wanted(TOPIC)).await.expect(200).json(), nothing);
    for (words, code) in [(["instance", "show", "no-such"], 1), (["instance", "retry", "../x"], 2)] {
        let mut all = words.to_vec();
        let directory = place.directory();
        all.push(&directory);
        let wrong = Schleuse::run(&all);
        assert!(wrong.code == Some(code) || wrong.code == Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_damaged_plug_in_is_left_out_with_its_file_and_loses_nothing() {
    let place = Place::start().await;
    let example = place.example("hello");
    place.install(&example).expect(0);
    let task = place.start_released().await;
    let node = place.node();
    let installed = node.path("plugins/hello");

    // A file that the endpoint refuses; the installed one stays in force.
    let bad = place.example("bad");
    edit(&bad.join("fhir/Questionnaire/release.xml"), |text| text.replacen("<required value=\"false\"/>", "", 1));
    let tested = Schleuse::run(&["process", "test", &bad.display().to_string()]).expect(1);
    assert!(tested.out.contains("wrong  fhir/Questionnaire/release.xml"), "{}", tested.out);
    let not = place.install(&bad).expect(1);
    assert!(
        not.err.contains("bad: fhir/Questionnaire/release.xml: ") && not.err.contains("item-required"),
        "{}",
        not.err
    );
    assert!(!node.path("plugins/bad").exists() && refused(&place).is_empty());

    // Damaged in its place, while an instance waits for a worker: the node starts, says so and waits.
    let fresh = "<xml";
    std::fs::write(installed.join("fhir/StructureDefinition/task.xml"), fresh).unwrap();
    place.network.kill_and_await_restart("dms", Process::Engine).await;
    let left_out = refused(&place);
    assert_eq!(
        (left_out.len(), &left_out[0]["file"], &left_out[0]["whole"]),
        (1, &json!("fhir/StructureDefinition/task.xml"), &json!(true))
    );
    let text = Schleuse::run(&["process", "list", &place.directory()]).expect(0);
    assert!(
        text.out.contains("refused:") && text.out.contains("plugins/hello: fhir/StructureDefinition/task.xml: "),
        "{}",
        text.out
    );
    let check = Schleuse::run(&["check", &place.directory()]).expect(78);
    assert!(check.out.contains("plugins/hello/fhir/StructureDefinition/task.xml: error: "), "{}", check.out);
    let late = place.run(&["task", "start"], &[PROCESS, "hello"]);
    assert!(late.code == Some(0) || late.err.contains("not installed"), "{late:?}");
    // What a worker does meanwhile is kept.
    let found = place.fetch("w1").await;
    let complete = format!("/external-task/{}/complete", found["id"].as_str().unwrap());
    place.ask(TOKEN, &complete, &json!({ "workerId": "w1" })).await.expect(204);
    place.until_status(&task, "completed").await;

    // Repaired without a restart.
    std::fs::copy(
        example.join("fhir/StructureDefinition/task.xml"),
        installed.join("fhir/StructureDefinition/task.xml"),
    )
    .unwrap();
    Schleuse::run(&["process", "load", &place.directory()]).expect(0);
    assert!(refused(&place).is_empty() && listed(&place).is_some());
    Schleuse::run(&["check", &place.directory()]).expect(0);
    for (file, content, expected) in [
        ("plugin.toml", "version = 1", "plugin.toml"),
        ("bpe/process.bpmn", "<definitions", "bpe/process.bpmn"),
        ("fhir/ActivityDefinition/process.xml", "", "fhir/ActivityDefinition/process.xml"),
    ] {
        std::fs::write(installed.join(file), content).unwrap();
        let loaded = Schleuse::run(&["process", "load", &place.directory()]).expect(1);
        assert!(loaded.out.contains(expected), "{file}: {}", loaded.out);
        assert!(node.manage("/ready").await.unwrap().0 == 200 && listed(&place).is_none());
        std::fs::copy(example.join(file), installed.join(file)).unwrap();
    }
    Schleuse::run(&["process", "load", &place.directory()]).expect(0);
    std::fs::write(node.path("plugins/broken-1.0.0.0.jar"), b"PK\x03\x04 no archive").unwrap();
    let loaded = Schleuse::run(&["process", "load", &place.directory()]).expect(1);
    assert!(loaded.out.contains("plugins/broken-1.0.0.0.jar: is no complete ZIP archive"), "{}", loaded.out);
    assert!(listed(&place).is_some(), "the others run");
}

#[tokio::test]
async fn bpmn_008_to_010_states_hold_over_restarts_and_come_back() {
    let place = Place::start().await;
    let example = place.example("hello");
    place.install(&example).expect(0);
    let own = place.network.organization("dms", "dms");
    let status = async |kind: &str| {
        let found = search::all(&own, kind, "").await;
        let own = found.iter().filter(|resource| resource["url"].as_str().unwrap().starts_with("http://example.org/"));
        own.map(|resource| resource["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let running = place.start_released().await;
    let name = format!("{KEY}|1.0");
    let order = |word: &str| Schleuse::run(&["process", word, &name, &place.directory()]);
    order("retire").expect(0);
    assert_eq!(
        (listed(&place).unwrap()["state"].as_str(), status("ActivityDefinition").await),
        (Some("retired"), vec!["retired".to_owned()])
    );
    place.network.kill_and_await_restart("dms", Process::Engine).await;
    assert_eq!(listed(&place).unwrap()["state"], "retired");
    let not = place.run(&["task", "start"], &[PROCESS, "hello"]);
    assert_ne!(not.code, Some(0), "{not:?}");
    // What runs goes on.
    let found = place.fetch("w1").await;
    let complete = format!("/external-task/{}/complete", found["id"].as_str().unwrap());
    place.ask(TOKEN, &complete, &json!({ "workerId": "w1" })).await.expect(204);
    place.until_status(&running, "completed").await;

    order("exclude").expect(0);
    for kind in ["ActivityDefinition", "StructureDefinition", "Questionnaire"] {
        assert!(status(kind).await.is_empty(), "{kind}");
    }
    order("activate").expect(0);
    assert_eq!(
        (listed(&place).unwrap()["state"].as_str(), status("Questionnaire").await),
        (Some("active"), vec!["active".to_owned()])
    );
    let task = place.start_task();
    place.until_status(&task, "in-progress").await;
    let unknown = Schleuse::run(&["process", "retire", "exampleorg_other|1.0", &place.directory()]);
    assert!(unknown.code != Some(0) && unknown.err.contains("is not installed"), "{unknown:?}");
    let no_name = Schleuse::run(&["process", "show", "hello", &place.directory()]);
    assert!(no_name.code != Some(0) && no_name.err.contains("KEY|VERSION"), "{no_name:?}");

    // A second version beside the first; taking the folder away takes its resources with it.
    let second = place.example("hello-two");
    for file in [
        "plugin.toml",
        "bpe/process.bpmn",
        "fhir/ActivityDefinition/process.xml",
        "fhir/StructureDefinition/task.xml",
        "fhir/Questionnaire/release.xml",
    ] {
        edit(&second.join(file), |text| text.replace("hello-two", "hello").replace("1.0.0.0", "2.0.0.0") + "\n");
    }
    place.install(&second).expect(0);
    let list = place.run(&["process", "list"], &[]).expect(0).json();
    let versions: Vec<_> = list["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|process| process["key"] == KEY)
        .map(|process| process["version"].clone())
        .collect();
    assert_eq!(versions, ["1.0", "2.0"]);
    std::fs::remove_dir_all(place.node().path("plugins/hello-two")).unwrap();
    Schleuse::run(&["process", "load", &place.directory()]).expect(0);
    assert_eq!(status("ActivityDefinition").await.len(), 1);
}

/// The example as the jar that DSF takes; its manifest stays beside it.
fn jar(example: &Path, name: &str, version: &str) -> PathBuf {
    let path = example.with_file_name(format!("{name}.jar"));
    let mut writer = ZipWriter::new(std::fs::File::create(&path).unwrap());
    let properties = format!("artifactId=hello\nversion={version}\n");
    let mut files = vec![("META-INF/maven/org.example/hello/pom.properties".to_owned(), properties.into_bytes())];
    for file in [
        "bpe/process.bpmn",
        "fhir/ActivityDefinition/process.xml",
        "fhir/StructureDefinition/task.xml",
        "fhir/Questionnaire/release.xml",
    ] {
        files.push((file.to_owned(), std::fs::read(example.join(file)).unwrap()));
    }
    files.push((
        "META-INF/services/dev.dsf.bpe.v2.ProcessPluginDefinition".to_owned(),
        b"org.example.Definition".to_vec(),
    ));
    files.push(("org/example/Greet.class".to_owned(), vec![0xca, 0xfe, 0xba, 0xbe]));
    for (name, content) in files {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
    }
    writer.finish().unwrap();
    let manifest = std::fs::read_to_string(example.join("plugin.toml")).unwrap();
    std::fs::write(path.with_extension("toml"), manifest.replace("version = \"1.0.0.0\"\n", "")).unwrap();
    path
}

#[tokio::test]
async fn bpmn_011_and_013_a_jar_runs_as_a_draft_and_what_is_missing_is_stored_again() {
    let place = Place::start().await;
    let example = place.example("hello");
    let draft = jar(&example, "hello-1.0.0.0-SNAPSHOT", "1.0.0.0-SNAPSHOT");
    place.install(&draft).expect(0);
    let process = listed(&place).unwrap();
    assert_eq!((&process["state"], &process["plug-in-version"]), (&json!("draft"), &json!("1.0.0.0-SNAPSHOT")));
    let own = place.network.organization("dms", "dms");
    let form = async || {
        let found = search::all(&own, "Questionnaire", "url=http://example.org/fhir/Questionnaire/hello-release").await;
        assert_eq!(found.len(), 1);
        found[0].clone()
    };
    assert_eq!(form().await["status"], "draft");
    let task = place.start_released().await;
    let found = place.fetch("w1").await;
    let complete = format!("/external-task/{}/complete", found["id"].as_str().unwrap());
    place.ask(TOKEN, &complete, &json!({ "workerId": "w1" })).await.expect(204);
    place.until_status(&task, "completed").await;

    // Another text: a draft is replaced, and only when it has changed.
    place.install(&draft).expect(0);
    assert_eq!(form().await["meta"]["versionId"], "1");
    edit(&example.join("fhir/Questionnaire/release.xml"), |text| text.replace("May it go on?", "May it?"));
    place.install(&jar(&example, "hello-1.0.0.0-SNAPSHOT", "1.0.0.0-SNAPSHOT")).expect(0);
    let changed = form().await;
    assert_eq!((&changed["title"], &changed["meta"]["versionId"]), (&json!("May it?"), &json!("2")));

    // Released: in use as it is, and stored again when somebody has removed it.
    for file in ["hello-1.0.0.0-SNAPSHOT.jar", "hello-1.0.0.0-SNAPSHOT.toml"] {
        std::fs::remove_file(place.node().path("plugins").join(file)).unwrap();
    }
    place.install(&jar(&example, "hello-1.0.0.0", "1.0.0.0")).expect(0);
    assert_eq!(form().await["status"], "active");
    let definition = search::all(&own, "ActivityDefinition", "url=http://example.org/bpe/Process/hello").await;
    own.delete(&format!("/ActivityDefinition/{}", definition[0]["id"].as_str().unwrap())).await;
    assert_eq!(search::total(&own, "ActivityDefinition", "url=http://example.org/bpe/Process/hello").await, 0);
    place.network.kill_and_await_restart("dms", Process::Engine).await;
    assert_eq!(search::total(&own, "ActivityDefinition", "url=http://example.org/bpe/Process/hello").await, 1);
    let task = place.start_task();
    place.until_status(&task, "in-progress").await;
}
