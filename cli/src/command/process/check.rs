//! `schleuse process check FILE|FOLDER`: what would run of a model, what would be refused and why; with `--simulate` also
//! the path of its tokens through steps that do nothing.

use std::path::{Path, PathBuf};

use bpmn::kit::simulation::{End, Simulation, Walk};
use bpmn::model::{Implementation, NodeKind};
use bpmn::{Model, ModelError, Process};
use processes::{Package, PackageError, package};
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::output::{answer, printable};

/// Files that one call looks at.
const FILES: usize = 10_000;

/// Folders in folders.
const DEPTH: usize = 32;

/// Walks with different values, of which the one that gets furthest is shown.
const WALKS: u64 = 24;

/// A file and what was found in it.
struct Checked {
    file: String,
    outcome: Result<Vec<Model>, Vec<ModelError>>,
}

/// Checks and prints; 1 if something would be refused or does not reach its end.
pub(in crate::command) fn run(path: &Path, simulate: bool, format: Format) -> u8 {
    let files = match files(path) {
        Ok(files) if files.is_empty() => {
            eprintln!("schleuse: {} holds no BPMN file (*.bpmn)", path.display());
            return 1;
        }
        Ok(files) => files,
        Err(error) => {
            eprintln!("schleuse: {}: {error}; name a BPMN file or a folder with BPMN files", path.display());
            return 1;
        }
    };
    let (package, unusable) = match package_around(path).map(|root| (package::load(&root), root)) {
        None => (None, None),
        Some((Ok(package), _)) => (Some(package), None),
        Some((Err(error), root)) => (None, Some(not_a_package(&error, &root))),
    };
    let checked: Vec<Checked> =
        unusable.into_iter().chain(files.iter().map(|file| check(path, file, package.as_ref()))).collect();
    let reports: Vec<Value> = checked.iter().map(|checked| report(checked, simulate)).collect();
    let is_good = reports.iter().all(|report| report.get("ok").and_then(Value::as_bool) == Some(true));
    answer(format, || reports.iter().map(text).collect::<Vec<_>>().join("\n"), || json!({ "files": reports }));
    u8::from(!is_good)
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        // Links are not followed, they may lead in circles.
        if kind.is_dir() && depth < DEPTH {
            collect(&path, depth + 1, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "bpmn") && found.len() < FILES
        {
            found.push(path);
        }
    }
    Ok(())
}

/// The plug-in to which the file or folder belongs.
fn package_around(path: &Path) -> Option<PathBuf> {
    let root = if path.is_dir() { path } else { path.parent()?.parent()? };
    root.join("plugin.toml").is_file().then(|| root.to_owned())
}

fn not_a_package(error: &PackageError, root: &Path) -> Checked {
    let refused = error.refused(root);
    let finding = ModelError { element: "plug-in".to_owned(), line: 1, text: refused.reason };
    Checked { file: refused.file.unwrap_or_else(|| "plugin.toml".to_owned()), outcome: Err(vec![finding]) }
}

/// A model as an element of `package`: what its manifest binds must be able to do the elements that name it.
fn check(root: &Path, file: &Path, package: Option<&Package>) -> Checked {
    let name = file.strip_prefix(root).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(file);
    let refused = |text: String| vec![ModelError { element: "document".to_owned(), line: 1, text }];
    let outcome = std::fs::read(file)
        .map_err(|error| refused(error.to_string()))
        .and_then(|bytes| Model::parse(&bytes))
        .and_then(|model| {
            let misbound = package.map(|package| package.misbound(&model)).unwrap_or_default().into_iter();
            let found: Vec<ModelError> = misbound.map(ModelError::from).collect();
            if found.is_empty() { Ok(vec![model]) } else { Err(found) }
        });
    Checked { file: name.display().to_string(), outcome }
}

fn report(checked: &Checked, simulate: bool) -> Value {
    match &checked.outcome {
        Err(findings) => json!({ "file": checked.file, "ok": false, "loads": false, "findings": findings }),
        Ok(models) => {
            let processes = models.iter().flat_map(|model| &model.processes);
            let processes: Vec<Value> = processes.map(|process| process_report(models, process, simulate)).collect();
            let ends = |process: &Value| process.get("ends").and_then(Value::as_bool) != Some(false);
            let ok = processes.iter().all(ends);
            json!({ "file": checked.file, "ok": ok, "loads": true, "processes": processes })
        }
    }
}

fn process_report(models: &[Model], process: &Process, simulate: bool) -> Value {
    let messages: Vec<String> = process.message_starts().into_iter().map(|(_, name)| name).collect();
    let mut steps = Vec::new();
    for (node, implementation) in process.implementations() {
        let needs = match implementation {
            Implementation::Class { class, .. } => class.clone(),
            Implementation::External { topic, .. } => format!("external topic {topic}"),
            Implementation::Expression { .. } => continue,
        };
        steps.push(json!({ "element": &*node.id, "line": node.line, "needs": needs }));
    }
    let calls = process.nodes.values().filter_map(|node| match &node.kind {
        NodeKind::CallActivity(call) => {
            Some(json!({ "element": &*node.id, "line": node.line, "needs": format!("process {}", call.called) }))
        }
        _ => None,
    });
    steps.extend(calls);
    let mut report = json!({
        "process": &*process.id,
        "version": process.version_tag,
        "line": process.line,
        "elements": process.nodes.len(),
        "messages": messages,
        "steps": steps,
    });
    if simulate {
        let simulation = Simulation::new(models, process);
        let walks: Vec<(String, Walk)> =
            simulation.starts().iter().map(|start| (start.to_string(), simulation.main_path(start, WALKS))).collect();
        let ends = walks.iter().all(|(_, walk)| walk.end == End::Completed);
        let walks: Vec<Value> = walks.iter().map(|(start, walk)| walk_report(start, walk)).collect();
        if let Some(members) = report.as_object_mut() {
            members.insert("ends".to_owned(), Value::Bool(ends));
            members.insert("walks".to_owned(), Value::Array(walks));
        }
    }
    report
}

fn walk_report(start: &str, walk: &Walk) -> Value {
    let path: Vec<Value> = walk
        .stations
        .iter()
        .map(|station| json!({ "process": station.process, "element": &*station.element, "note": station.note }))
        .collect();
    let end = match &walk.end {
        End::Completed => "completed".to_owned(),
        End::Failed(reason) => format!("failed: {reason}"),
        End::Refused(reason) => format!("refused: {reason}"),
        End::Stuck(place) => format!("stuck at {place}"),
        End::Endless => "goes on without end".to_owned(),
    };
    json!({ "start": start, "path": path, "end": end })
}

fn text(report: &Value) -> String {
    let member = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    let file = member(report, "file");
    if report.get("loads").and_then(Value::as_bool) != Some(true) {
        lines.push(format!("{file}: refused"));
        for finding in list(report, "findings") {
            let (line, element) = (member(&finding, "line"), member(&finding, "element"));
            lines.push(format!("  line {line}: {element}: {}", member(&finding, "text")));
        }
        return lines.join("\n");
    }
    lines.push(format!("{file}: loads"));
    for process in list(report, "processes") {
        let messages: Vec<String> =
            list(&process, "messages").iter().filter_map(Value::as_str).map(printable).collect();
        let begins = if messages.is_empty() { String::new() } else { format!(", begins with {}", messages.join(", ")) };
        let (id, version) = (member(&process, "process"), member(&process, "version"));
        lines.push(format!("  process {id} {version} ({} elements{begins})", member(&process, "elements")));
        for step in list(&process, "steps") {
            let (line, element) = (member(&step, "line"), member(&step, "element"));
            lines.push(format!("    line {line}: {element} needs {}", member(&step, "needs")));
        }
        for walk in list(&process, "walks") {
            lines.push(format!("    walk from {}:", member(&walk, "start")));
            for station in list(&walk, "path") {
                let note = member(&station, "note");
                let note = if note.is_empty() { note } else { format!("  ({note})") };
                lines.push(format!("      -> {}{note}", member(&station, "element")));
            }
            lines.push(format!("      {}", member(&walk, "end")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check, files, report, text};

    const HEAD: &str = r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d"><process id="p" camunda:versionTag="1.0">"#;

    #[test]
    fn a_folder_is_searched_and_every_model_is_walked_through_or_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let good = format!(
            "{HEAD}<startEvent id=\"s\"/><sequenceFlow id=\"f\" sourceRef=\"s\" targetRef=\"g\"/>
             <exclusiveGateway id=\"g\" default=\"h\"/><sequenceFlow id=\"h\" sourceRef=\"g\" targetRef=\"e\"/><endEvent id=\"e\"/>
             <sequenceFlow id=\"i\" sourceRef=\"g\" targetRef=\"do\"><conditionExpression>${{ready == 'yes'}}</conditionExpression></sequenceFlow>
             <serviceTask id=\"do\" camunda:class=\"org.example.Do\"/></process></definitions>"
        );
        let bad = format!("{HEAD}<startEvent id=\"s\"/>\n<complexGateway id=\"x\"/></process></definitions>");
        std::fs::write(folder.path().join("good.bpmn"), good).unwrap();
        std::fs::write(folder.path().join("inner/bad.bpmn"), bad).unwrap();
        std::fs::write(folder.path().join("readme.txt"), "no model").unwrap();

        let found = files(folder.path()).unwrap();
        let reports: Vec<_> = found.iter().map(|file| report(&check(folder.path(), file, None), true)).collect();
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0]["ok"], json!(true));
        let path = reports[0]["processes"][0]["walks"][0]["path"].as_array().unwrap();
        let path: Vec<_> = path.iter().filter_map(|station| station["element"].as_str()).collect();
        assert_eq!(path, ["s", "g", "do"], "a value of the condition was found");
        assert!(text(&reports[0]).contains("do needs org.example.Do"));
        assert_eq!(reports[1]["ok"], json!(false));
        assert!(text(&reports[1]).contains("line 2: x: complexGateway is not executed"), "{}", text(&reports[1]));
    }
}
