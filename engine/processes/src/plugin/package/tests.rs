use std::io::Write as _;
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

const MODEL: &str = r##"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
  <process id="testorg_hello" isExecutable="true" camunda:versionTag="#{version}"><startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
  <sequenceFlow id="f" sourceRef="start" targetRef="do"/><serviceTask id="do" camunda:class="org.example.Hello"/></process><message id="m" name="m"/></definitions>"##;

const PROFILE: &str = r##"<StructureDefinition xmlns="http://hl7.org/fhir"><url value="http://test.org/fhir/StructureDefinition/task-hello"/><version value="#{version}"/>
  <status value="unknown"/><publisher value="#{my.publisher:nobody}"/><baseDefinition value="http://dsf.dev/fhir/StructureDefinition/task-base|1.0.0"/></StructureDefinition>"##;

/// A ZIP archive; every second entry is deflated.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (index, (name, content)) in files.iter().enumerate() {
        let method = if index % 2 == 0 { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn all(folder: &Path) -> Found {
    load_all(folder).unwrap()
}

fn jar() -> Vec<u8> {
    archive(&[
        ("META-INF/services/dev.dsf.bpe.v1.ProcessPluginDefinition", b"org.example.Definition"),
        ("META-INF/maven/org.example/hello/pom.properties", b"artifactId=hello\nversion=1.2.0.1\n"),
        ("bpe/hello.bpmn", MODEL.as_bytes()),
        ("fhir/StructureDefinition/task-hello.xml", PROFILE.as_bytes()),
        ("org/example/Hello.class", &[0xca, 0xfe]),
    ])
}

#[test]
fn bpmn_017_a_jar_gives_its_version_models_and_adapted_resources() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("hello-9.9.0.0.jar"), &jar());
    let package = all(folder.path()).packages.pop().unwrap();
    let plugin = &package.plugin;
    assert_eq!((plugin.name, plugin.version), ("hello", "1.2"), "the archive knows better than its name");
    let unbound = plugin.definitions().unwrap_err().to_string();
    assert!(unbound.contains("line 3: element do needs the implementation org.example.Hello"), "{unbound}");
    let profile = plugin.resources("a.org").unwrap().pop().unwrap();
    assert_eq!(profile.str("version"), Some("1.2"));
    assert_eq!(profile.str("publisher"), Some("nobody"));
    assert_eq!(profile.str("baseDefinition"), Some("http://dsf.dev/fhir/StructureDefinition/task"));
}

#[test]
fn a_manifest_beside_the_jar_overrides_and_binds_classes() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("hello-9.9.0.0.jar"), &jar());
    let manifest = br#"
        version = "3.4.0.0"
        release-date = "2026-01-31"
        api = 2
        [bind]
        "org.example.Hello" = { topic = "hello" }
        [placeholder]
        "my.publisher" = "A & B"
    "#;
    write(&folder.path().join("hello-9.9.0.0.toml"), manifest);
    let package = all(folder.path()).packages.pop().unwrap();
    let definition = package.plugin.definitions().unwrap().pop().unwrap();
    assert_eq!((definition.key.as_str(), definition.version.as_str()), ("testorg_hello", "3.4"));
    let profile = package.plugin.resources("a.org").unwrap().pop().unwrap();
    assert_eq!(profile.str("publisher"), Some("A & B"));
    assert!(profile.str("baseDefinition").unwrap().ends_with("task-base|1.0.0"), "API 2 is not adapted");
}

#[test]
fn values_of_placeholders_are_written_as_the_syntax_of_the_file_wants() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    write(&own.join("plugin.toml"), b"version = \"1.0\"\n[placeholder]\np = 'A & \"B\" <C>'");
    write(&own.join("bpe/hello.bpmn"), MODEL.as_bytes());
    write(&own.join("fhir/CodeSystem/a.json"), br##"{"resourceType":"CodeSystem","publisher":"#{p}"}"##);
    write(
        &own.join("fhir/CodeSystem/b.xml"),
        br##"<CodeSystem xmlns="http://hl7.org/fhir"><publisher value="#{p}"/></CodeSystem>"##,
    );
    let resources = all(folder.path()).packages.pop().unwrap().plugin.resources("a.org").unwrap();
    assert_eq!(resources.len(), 2);
    assert!(resources.iter().all(|resource| resource.str("publisher") == Some("A & \"B\" <C>")), "{resources:?}");
}

#[test]
fn a_folder_is_a_package_and_processes_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    write(&own.join("bpe/hello.bpmn"), MODEL.as_bytes());
    write(&own.join("notes/readme.txt"), b"not read");
    assert!(all(folder.path()).refused[0].to_string().contains("which version"));
    write(&own.join("plugin.toml"), b"version = \"1.0\"\nexcluded = [\"testorg_hello|1.0\"]");
    assert_eq!(all(folder.path()).packages[0].plugin.models.len(), 0);
    write(&own.join("plugin.toml"), b"version = \"1.0\"");
    assert_eq!(all(folder.path()).packages[0].plugin.models.len(), 1);
    assert!(all(&folder.path().join("missing")).packages.is_empty());
}

#[test]
fn what_is_wrong_with_a_package_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    write(&own.join("bpe/hello.bpmn"), MODEL.replace("#{version}", "#{unknown}").as_bytes());
    for (manifest, expected) in [
        ("version = \"1.0\"", "#{unknown} has no value"),
        ("version = \"one\"", "does not begin with two numbers"),
        ("version = \"1.0\"\nrelease-date = \"today\"", "is no date"),
        ("version = \"1.0\"\napi = 3", "api 3 is not known"),
        ("version = \"1.0\"\ntypo = 1", "unknown field `typo`"),
        ("version = \"1.0\"\n[bind]\na = { topic = \"\" }", "is empty or too long"),
        (
            "version = \"1.0\"\n[bind]\na = { component = { file = \"steps/a.wasm\", export = \"a\" } }",
            "class a is bound to \"a\" of steps/a.wasm: this version runs no WebAssembly components",
        ),
    ] {
        write(&own.join("plugin.toml"), manifest.as_bytes());
        let error = all(folder.path()).refused[0].to_string();
        assert!(error.contains(expected), "{manifest}: {error}");
    }
}

#[test]
fn damaged_archives_are_refused_and_never_panic() {
    let whole = jar();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello-1.0.0.0.jar");
    for end in (0..whole.len()).step_by(7) {
        write(&path, &whole[..end]);
        assert!(load(&path).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        write(&path, &changed);
        // What is not read may be changed unnoticed; what is read has a checksum.
        if let Ok(package) = load(&path) {
            assert!(package.plugin.models.iter().all(|model| *model == MODEL), "changed at {at}");
        }
    }
    let bomb = vec![0; limits::PLUGIN_FILE_BYTES + 1];
    write(&path, &archive(&[("a", b""), ("bpe/a.bpmn", &bomb)]));
    assert!(load(&path).err().unwrap().to_string().contains("bytes in one file"));
    write(&path, &archive(&[("bpe/../../a.bpmn", b"x")]));
    assert!(load(&path).err().unwrap().to_string().contains("leads out of a folder"));
}

#[test]
fn an_archive_with_a_name_that_is_there_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello-1.0.0.0.jar");
    let other = MODEL.replace("org.example.Hello", "org.example.Other");
    // The writer makes no such archive, so the second name is changed afterwards, wherever it stands.
    let mut twice = archive(&[("bpe/hello.bpmn", MODEL.as_bytes()), ("bpe/hell0.bpmn", other.as_bytes())]);
    let places: Vec<usize> =
        (0..twice.len()).filter(|at| twice[*at..].starts_with(b"bpe/hell0.bpmn")).map(|at| at + 8).collect();
    assert_eq!(places.len(), 2, "before the content and in the directory");
    places.into_iter().for_each(|at| twice[at] = b'o');
    write(&path, &twice);
    let refused = load(&path).err().unwrap().to_string();
    assert!(refused.contains("its directory has 2 entries under 1 names"), "{refused}");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    write(&own.join("plugin.toml"), b"version = \"1.0\"");
    std::fs::create_dir(own.join("bpe")).unwrap();
    let pipe = own.join("bpe/hello.bpmn");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (done, loaded) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(load(&own).err().map(|error| error.to_string())));
    let refused = loaded.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(refused.unwrap().contains("is no regular file"));
}

#[test]
fn a_class_that_is_bound_to_what_cannot_do_its_element_is_refused_by_element_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    let listener = r#"<serviceTask id="do" camunda:class="org.example.Hello"><extensionElements>
        <camunda:executionListener event="start" class="org.example.Listen"/></extensionElements></serviceTask>
        <sequenceFlow id="g" sourceRef="do" targetRef="ask"/>
        <userTask id="ask" camunda:formKey="x"><extensionElements><camunda:taskListener event="create" class="org.example.Ask"/></extensionElements></userTask>"#;
    let task = r#"<serviceTask id="do" camunda:class="org.example.Hello"/>"#;
    write(&own.join("bpe/hello.bpmn"), MODEL.replace(task, listener).as_bytes());
    for (bind, expected) in [
        (
            r#""org.example.Hello" = { step = "send" }"#,
            "line 3: element do is bound to org.example.Hello, which sends messages; a service task needs a step or a topic of workers; line 3: element do needs the implementation org.example.Listen, which is not there; line 6: element ask needs the implementation org.example.Ask, which is not there",
        ),
        (
            r#""org.example.Hello" = { topic = "t" }
            "org.example.Listen" = { topic = "t" }
            "org.example.Ask" = { step = "send" }"#,
            "line 3: element do is bound to org.example.Listen, which is done by workers; an execution listener is needed; line 6: element ask is bound to org.example.Ask, which sends messages; a listener of user tasks is needed",
        ),
        (
            r#""org.example.Hello" = { step = "correlation-key" }
            "org.example.Listen" = { step = "correlation-key" }
            "org.example.Ask" = { step = "user-task" }"#,
            "line 3: element do is bound to org.example.Hello, which is an execution listener; a service task needs a step or a topic of workers",
        ),
    ] {
        write(&own.join("plugin.toml"), format!("version = \"1.0\"\n[bind]\n{bind}").as_bytes());
        let package = all(folder.path()).packages.pop().unwrap();
        let refused = package.plugin.definitions().unwrap_err().to_string();
        assert_eq!(refused, format!("plug-in hello: {expected}"));
    }
    let good = r#""org.example.Hello" = { topic = "t" }
        "org.example.Listen" = { step = "correlation-key" }
        "org.example.Ask" = { step = "user-task" }"#;
    write(&own.join("plugin.toml"), format!("version = \"1.0\"\n[bind]\n{good}").as_bytes());
    let package = all(folder.path()).packages.pop().unwrap();
    assert_eq!(package.plugin.definitions().unwrap().len(), 1);
}
