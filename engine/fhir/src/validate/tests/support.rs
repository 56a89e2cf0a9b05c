//! Resources of the repository and of `../shared`, and Tasks made for tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::validate::{Issue, ProfileRegistry, has_errors, validate};
use crate::{Format, Limits, Resource, Value, parse};

pub(crate) const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
pub(crate) const PING: &str = "http://dsf.dev/fhir/CodeSystem/ping";
pub(crate) const PING_STATUS: &str = "http://dsf.dev/fhir/CodeSystem/ping-status";
pub(crate) const DEFINITION: &str = "http://dsf.dev/fhir/StructureDefinition/";
pub(crate) const TASK_BASE: &str = "http://dsf.dev/fhir/StructureDefinition/task-base";

pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../processes/resources")
}

/// The folder in `../shared/fixtures`, or a message that the test is skipped.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// Every XML or JSON file below the folder, with placeholders of process plug-ins replaced. Two versions of ping-pong are
/// shipped side by side.
pub(crate) fn resources(folder: &Path) -> Vec<(PathBuf, Resource)> {
    resources_of(folder, |path| if path.iter().any(|part| part == "ping-pong-2") { "2.0" } else { "1.0" })
}

fn resources_of(folder: &Path, version: impl Fn(&Path) -> &'static str) -> Vec<(PathBuf, Resource)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let format = match path.extension().and_then(|extension| extension.to_str()) {
                Some("xml") => Format::Xml,
                Some("json") => Format::Json,
                _ => continue,
            };
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .replace("#{version}", version(&path))
                .replace("#{date}", "2023-09-12")
                .replace("#{organization}", "Test_Organization");
            match parse(format, text.as_bytes(), &Limits::default()) {
                Ok(resource) => found.push((path, resource)),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

pub(crate) fn add_all(registry: &mut ProfileRegistry, folder: &Path) {
    for (_, resource) in resources(folder) {
        registry.add(resource);
    }
}

/// What a 2.x node makes of the profiles of a plug-in for the first interface (`process-engine.md` 1.9).
pub(crate) fn rebased(mut resource: Resource) -> Resource {
    let base = resource.str("baseDefinition").map(str::to_owned).unwrap_or_default();
    if base == TASK_BASE || base == format!("{TASK_BASE}|1.0.0") {
        resource.set("baseDefinition", "http://dsf.dev/fhir/StructureDefinition/task");
    }
    resource
}

/// Our base definitions.
pub(crate) fn our_base() -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    add_all(&mut registry, &shipped().join("dsf-base"));
    registry
}

/// Our base definitions, our ping-pong and the processes of the allow-list.
pub(crate) fn ours() -> ProfileRegistry {
    let mut registry = our_base();
    add_all(&mut registry, &shipped().join("ping-pong"));
    // What did not change in 2.0 is taken from 1.0.
    for (_, resource) in resources_of(&shipped().join("ping-pong"), |_| "2.0") {
        registry.add(resource);
    }
    add_all(&mut registry, &shipped().join("ping-pong-2"));
    add_all(&mut registry, &shipped().join("allow-list"));
    registry
}

pub(crate) fn json(text: &str) -> Resource {
    parse(Format::Json, text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn value(text: &str) -> Value {
    crate::json::parse_value(text.as_bytes(), &Limits::default()).unwrap()
}

pub(crate) fn is_valid(resource: &Resource, registry: &ProfileRegistry) -> bool {
    !has_errors(&validate(resource, registry))
}

pub(crate) fn listed(issues: &[Issue]) -> String {
    let line = |issue: &Issue| {
        format!(
            "{} {} {}: {}",
            issue.severity,
            issue.code,
            issue.expression.as_deref().unwrap_or(""),
            issue.diagnostics
        )
    };
    issues.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn reference(system: &str, identifier: &str) -> String {
    format!(
        r#"{{"type":"Organization","identifier":{{"system":"http://dsf.dev/sid/{system}","value":"{identifier}"}}}}"#
    )
}

pub(crate) fn parameter(system: &str, code: &str, value: &str) -> String {
    format!(r#"{{"type":{{"coding":[{{"system":"{system}","code":"{code}"}}]}},{value}}}"#)
}

/// A `requested` Task with the inputs and outputs.
pub(crate) fn task(profile: &str, process: &str, inputs: &[String], outputs: &[String]) -> Resource {
    let outputs = if outputs.is_empty() { String::new() } else { format!(r#","output":[{}]"#, outputs.join(",")) };
    json(&format!(
        r#"{{"resourceType":"Task","meta":{{"profile":["{DEFINITION}{profile}|1.0"]}},
            "instantiatesCanonical":"http://dsf.dev/bpe/Process/{process}|1.0","status":"requested","intent":"order",
            "authoredOn":"2024-05-01T10:00:00.000Z","requester":{},"restriction":{{"recipient":[{}]}},
            "input":[{}]{outputs}}}"#,
        reference("organization-identifier", "External_Test_Organization"),
        reference("organization-identifier", "Test_Organization"),
        inputs.join(","),
    ))
}

/// One valid Task of each kind that the ping-pong process knows, with everything that it may carry.
pub(crate) fn ping_pong_tasks() -> Vec<(&'static str, Resource)> {
    let text = |system, code, text: &str| parameter(system, code, &format!(r#""valueString":"{text}""#));
    let message = |name| text(BPMN_MESSAGE, "message-name", name);
    let business_key = || text(BPMN_MESSAGE, "business-key", "fdc8218e-ef55-4fc6-9c4f-a20883d569cc");
    let correlation_key = || text(BPMN_MESSAGE, "correlation-key", "0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11");
    let targets = || text(PING, "target-endpoints", "Endpoint?status=active");
    let endpoint = parameter(
        PING,
        "endpoint-identifier",
        r#""valueReference":{"type":"Endpoint","identifier":{"system":"http://dsf.dev/sid/endpoint-identifier","value":"dic-1.example"}}"#,
    );
    let mut started = task(
        "task-start-ping",
        "ping",
        &[message("startPing"), business_key(), targets()],
        &[
            status("ping-status", "pong-received", None),
            status("ping-status", "not-reachable", Some("connection refused")),
        ],
    );
    started.set("status", "completed");
    let mut answered = task(
        "task-ping",
        "pong",
        &[message("ping"), business_key(), correlation_key(), endpoint.clone()],
        &[status("pong-status", "pong-send", None)],
    );
    answered.set("status", "completed");
    vec![
        ("start", task("task-start-ping", "ping", &[message("startPing"), targets()], &[])),
        ("start, minimal", task("task-start-ping", "ping", &[message("startPing")], &[])),
        ("start, completed", started),
        ("ping", task("task-ping", "pong", &[message("ping"), business_key(), correlation_key(), endpoint], &[])),
        ("ping, completed", answered),
        ("pong", task("task-pong", "ping", &[message("pong"), business_key(), correlation_key()], &[])),
        (
            "autostart",
            task(
                "task-start-ping-autostart",
                "pingAutostart",
                &[
                    message("startPingAutostart"),
                    business_key(),
                    targets(),
                    text(PING, "timer-interval", "P1DT12H0.5S"),
                ],
                &[],
            ),
        ),
        ("autostop", task("task-stop-ping-autostart", "pingAutostart", &[message("stopPingAutostart")], &[])),
    ]
}

fn status(parameter_code: &str, code: &str, error: Option<&str>) -> String {
    let part = |url: &str, value: &str| format!(r#"{{"url":"{url}",{value}}}"#);
    let identifier = |system: &str, of: &str| {
        format!(r#""valueIdentifier":{{"system":"http://dsf.dev/sid/{system}","value":"{of}"}}"#)
    };
    let mut parts = vec![
        part("correlation-key", r#""valueString":"0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11""#),
        part("organization-identifier", &identifier("organization-identifier", "dic-1.example")),
        part("endpoint-identifier", &identifier("endpoint-identifier", "dic-1.example")),
    ];
    parts.extend(error.map(|error| part("error-message", &format!(r#""valueString":"{error}""#))));
    format!(
        r#"{{"extension":[{{"url":"{DEFINITION}extension-ping-status","extension":[{}]}}],
            "type":{{"coding":[{{"system":"{PING}","code":"{parameter_code}"}}]}},
            "valueCoding":{{"system":"{PING_STATUS}","code":"{code}"}}}}"#,
        parts.join(",")
    )
}

/// Every resource that differs from the given one in one place: a member left out, an element left out or doubled, a
/// primitive changed.
pub(crate) fn mutations(resource: &Resource) -> Vec<(String, Resource)> {
    let tree = Value::Object(resource.tree().clone());
    let mut found = Vec::new();
    let mut paths = Vec::new();
    collect_paths(&tree, &mut Vec::new(), &mut paths);
    for path in paths {
        for kind in ["remove", "double", "change", "empty", "foreign"] {
            let mut changed = tree.clone();
            if mutate(&mut changed, &path, kind)
                && let Value::Object(object) = changed
                && let Ok(resource) = Resource::from_tree(object)
            {
                found.push((format!("{kind} {}", path.join(".")), resource));
            }
        }
    }
    found
}

fn collect_paths(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let mut below = |name: String, value: &Value| {
        if name == "resourceType" {
            return;
        }
        path.push(name);
        paths.push(path.clone());
        collect_paths(value, path, paths);
        path.pop();
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| below(name.to_owned(), value)),
        Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| below(index.to_string(), value)),
        _ => {}
    }
}

fn mutate(value: &mut Value, path: &[String], kind: &str) -> bool {
    let (Some(first), rest) = (path.first(), &path[1..]) else { return false };
    match value {
        Value::Object(object) if rest.is_empty() => match (kind, object.get_mut(first)) {
            ("remove", _) => object.remove(first).is_some(),
            ("change", Some(Value::String(text))) => {
                text.push_str("-x");
                true
            }
            ("foreign", Some(Value::String(text))) => {
                "http://example.org/foreign".clone_into(text);
                true
            }
            ("empty", Some(Value::String(text))) => {
                text.clear();
                true
            }
            _ => false,
        },
        Value::Array(values) if rest.is_empty() => {
            let index: usize = first.parse().unwrap();
            match kind {
                "remove" => {
                    values.remove(index);
                    !values.is_empty()
                }
                "double" => {
                    let copy = values[index].clone();
                    values.insert(index, copy);
                    true
                }
                // The element of another place first.
                "change" if index > 0 => {
                    values.swap(index - 1, index);
                    true
                }
                "foreign" => match &mut values[index] {
                    Value::String(text) => {
                        "http://example.org/foreign".clone_into(text);
                        true
                    }
                    _ => false,
                },
                _ => false,
            }
        }
        Value::Object(object) => object.get_mut(first).is_some_and(|value| mutate(value, rest, kind)),
        Value::Array(values) => mutate(&mut values[first.parse::<usize>().unwrap()], rest, kind),
        _ => false,
    }
}

/// What of a compiled profile cannot be applied.
pub(crate) fn faults(constraints: &crate::validate::profile::Constraints) -> Vec<String> {
    let mut faults: Vec<_> = constraints.problems.iter().map(|problem| problem.text.clone()).collect();
    faults.extend(constraints.invariants.iter().filter_map(|invariant| invariant.expression.as_ref().err().cloned()));
    for link in constraints.types.iter().flat_map(|type_| &type_.profiles) {
        faults.extend(link.reason.clone());
    }
    for (_, child) in &constraints.children {
        faults.extend(self::faults(child));
    }
    for slice in &constraints.slices {
        faults.extend(self::faults(&slice.constraints));
    }
    faults
}

/// One valid resource of every kind whose base profile says more than "tagged".
pub(crate) fn base_resources() -> Vec<Resource> {
    let tagged =
        |profile: &str, tags: &str| format!(r#""meta":{{"profile":["{DEFINITION}{profile}"],"tag":[{tags}]}}"#);
    let tag = |code: &str, extension: &str| {
        format!(r#"{{{extension}"system":"http://dsf.dev/fhir/CodeSystem/read-access-tag","code":"{code}"}}"#)
    };
    let all = tag("ALL", "");
    let identifier = |system: &str| format!(r#"{{"system":"http://dsf.dev/sid/{system}","value":"dic-1.example"}}"#);
    let organization = format!(
        r#""extension":[{{"url":"{DEFINITION}extension-read-access-organization","valueIdentifier":{}}}],"#,
        identifier("organization-identifier")
    );
    let role = format!(
        r#""extension":[{{"url":"{DEFINITION}extension-read-access-parent-organization-role","extension":[
            {{"url":"parent-organization","valueIdentifier":{}}},
            {{"url":"organization-role","valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"DIC"}}}}]}}],"#,
        identifier("organization-identifier")
    );
    let some = [tag("LOCAL", ""), tag("ORGANIZATION", &organization), tag("ROLE", &role)].join(",");
    let thumbprint = "0123456789abcdef".repeat(8);
    let answer = |link: &str, text: &str, value: &str| {
        format!(r#"{{"linkId":"{link}","text":"{text}","answer":[{{{value}}}]}}"#)
    };
    [
        format!(
            r#"{{"resourceType":"Organization",{},"extension":[{{"url":"{DEFINITION}extension-certificate-thumbprint","valueString":"{thumbprint}"}}],
                "identifier":[{}],"active":true,"name":"DIC","endpoint":[{{"reference":"Endpoint/1"}}]}}"#,
            tagged("organization", &some), identifier("organization-identifier")
        ),
        format!(
            r#"{{"resourceType":"Organization",{},"identifier":[{}],"active":true,"name":"Parent"}}"#,
            tagged("organization-parent", &all), identifier("organization-identifier")
        ),
        format!(
            r#"{{"resourceType":"Endpoint",{},"identifier":[{}],"status":"active",
                "connectionType":{{"system":"http://terminology.hl7.org/CodeSystem/endpoint-connection-type","code":"hl7-fhir-rest"}},
                "managingOrganization":{{"reference":"Organization/1","type":"Organization"}},
                "payloadType":[{{"coding":[{{"system":"http://hl7.org/fhir/resource-types","code":"Task"}}]}}],
                "payloadMimeType":["application/fhir+xml","application/fhir+json"],"address":"https://dic-1.example/fhir"}}"#,
            tagged("endpoint", &all), identifier("endpoint-identifier")
        ),
        format!(
            r#"{{"resourceType":"OrganizationAffiliation",{},"active":true,"organization":{{"reference":"Organization/1"}},
                "participatingOrganization":{{"reference":"Organization/2"}},
                "code":[{{"coding":[{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"DIC"}}]}}],
                "endpoint":[{{"reference":"Endpoint/1"}}]}}"#,
            tagged("organization-affiliation", &all)
        ),
        format!(
            r#"{{"resourceType":"Subscription",{},"status":"active","reason":"engine","criteria":"Task?status=requested",
                "channel":{{"type":"websocket","payload":"application/fhir+json"}}}}"#,
            tagged("subscription", &tag("LOCAL", ""))
        ),
        format!(r#"{{"resourceType":"Binary",{},"contentType":"text/plain","data":"QUJD"}}"#, tagged("binary", &some)),
        format!(
            r#"{{"resourceType":"Binary","meta":{{"profile":["{DEFINITION}binary"]}},"contentType":"text/plain",
                "securityContext":{{"reference":"Organization/1"}},"data":"QUJD"}}"#
        ),
        format!(
            r#"{{"resourceType":"NamingSystem",{},"name":"Test","status":"active","kind":"identifier","date":"2024-01-01",
                "uniqueId":[{{"modifierExtension":[{{"url":"{DEFINITION}extension-check-logical-reference","valueBoolean":true}}],
                "type":"other","value":"http://example.org/sid"}}]}}"#,
            tagged("naming-system", &all)
        ),
        format!(
            r#"{{"resourceType":"Questionnaire",{},"url":"http://example.org/q","version":"1.0","status":"active","date":"2024-01-01",
                "item":[{{"linkId":"business-key","text":"The business-key of the process execution","type":"string","required":true}},
                {{"linkId":"user-task-id","text":"The user-task-id of the process execution","type":"string","required":true}},
                {{"linkId":"note","text":"Read this","type":"display"}},{{"linkId":"release","text":"Release?","type":"boolean","required":true}}]}}"#,
            tagged("questionnaire", &all)
        ),
        format!(
            r#"{{"resourceType":"QuestionnaireResponse","meta":{{"profile":["{DEFINITION}questionnaire-response"]}},
                "extension":[{{"url":"{DEFINITION}extension-questionnaire-authorization","extension":[
                    {{"url":"practitioner","valueIdentifier":{{"system":"http://dsf.dev/sid/practitioner-identifier","value":"a@example.org"}}}},
                    {{"url":"practitioner-role","valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/practitioner-role","code":"DSF_ADMIN"}}}}]}}],
                "questionnaire":"http://example.org/q|1.0","status":"completed","authored":"2024-01-01T10:00:00Z",
                "author":{{"type":"Organization","identifier":{}}},"item":[{},{},{{"linkId":"note","text":"Read this"}},{}]}}"#,
            identifier("organization-identifier"),
            answer("business-key", "The business-key of the process execution", r#""valueString":"a""#),
            answer("user-task-id", "The user-task-id of the process execution", r#""valueString":"b""#),
            answer("release", "Release?", r#""valueBoolean":true"#),
        ),
    ]
    .iter()
    .map(|text| json(text))
    .collect()
}

/// The resource with this version cut off from its profiles.
pub(crate) fn without_profile_version(mut resource: Resource, version: &str) -> Resource {
    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut)
        && let Some(Value::Array(profiles)) = meta.get_mut("profile")
    {
        for profile in profiles {
            if let Value::String(text) = profile {
                *text = text.trim_end_matches(version).to_owned();
            }
        }
    }
    resource
}
