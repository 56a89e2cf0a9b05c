use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;

const MODEL: &str = r##"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
  <process id="testorg_hello" isExecutable="true" camunda:versionTag="#{version}"><startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
  <sequenceFlow id="f" sourceRef="start" targetRef="do"/><serviceTask id="do" camunda:class="org.example.Hello"/></process><message id="m" name="m"/></definitions>"##;

const PROFILE: &str = r##"<StructureDefinition xmlns="http://hl7.org/fhir"><url value="http://test.org/fhir/StructureDefinition/task-hello"/><version value="#{version}"/>
  <status value="unknown"/><publisher value="#{my.publisher:nobody}"/><baseDefinition value="http://dsf.dev/fhir/StructureDefinition/task-base|1.0.0"/></StructureDefinition>"##;

/// A ZIP archive; every second entry is deflated.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (index, (name, content)) in files.iter().enumerate() {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let (method, packed): (u16, Vec<u8>) = if index % 2 == 0 {
            (0, content.to_vec())
        } else {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            (8, encoder.finish().unwrap())
        };
        let sizes = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let name_bytes = (name.len() as u16).to_le_bytes();
        let offset = (bytes.len() as u32).to_le_bytes();
        let head = [
            &20_u16.to_le_bytes()[..],
            &0_u16.to_le_bytes(),
            &method.to_le_bytes(),
            &[0; 4],
            &sizes,
            &name_bytes,
            &[0; 2],
        ]
        .concat();
        bytes.extend([&b"PK\x03\x04"[..], &head, name.as_bytes(), &packed].concat());
        directory
            .extend([&b"PK\x01\x02"[..], &20_u16.to_le_bytes(), &head, &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    bytes.extend(directory);
    bytes.extend([&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size, &at, &[0; 2]].concat());
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
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
    let package = load_all(folder.path()).unwrap().pop().unwrap();
    let plugin = &package.plugin;
    assert_eq!((plugin.name, plugin.version), ("hello", "1.2"), "the archive knows better than its name");
    let unbound = plugin.definitions().unwrap_err().to_string();
    assert!(unbound.contains("element do needs the implementation org.example.Hello"), "{unbound}");
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
    let package = load_all(folder.path()).unwrap().pop().unwrap();
    let definition = package.plugin.definitions().unwrap().pop().unwrap();
    assert_eq!((definition.key.as_str(), definition.version.as_str()), ("testorg_hello", "3.4"));
    let profile = package.plugin.resources("a.org").unwrap().pop().unwrap();
    assert_eq!(profile.str("publisher"), Some("A & B"));
    assert!(profile.str("baseDefinition").unwrap().ends_with("task-base|1.0.0"), "API 2 is not adapted");
}

#[test]
fn a_folder_is_a_package_and_processes_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("hello");
    write(&own.join("bpe/hello.bpmn"), MODEL.as_bytes());
    write(&own.join("notes/readme.txt"), b"not read");
    assert!(load_all(folder.path()).err().unwrap().to_string().contains("which version"));
    write(&own.join("plugin.toml"), b"version = \"1.0\"\nexcluded = [\"testorg_hello|1.0\"]");
    assert_eq!(load_all(folder.path()).unwrap()[0].plugin.models.len(), 0);
    write(&own.join("plugin.toml"), b"version = \"1.0\"");
    assert_eq!(load_all(folder.path()).unwrap()[0].plugin.models.len(), 1);
    assert!(load_all(&folder.path().join("missing")).unwrap().is_empty());
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
    ] {
        write(&own.join("plugin.toml"), manifest.as_bytes());
        let error = load_all(folder.path()).err().unwrap().to_string();
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
