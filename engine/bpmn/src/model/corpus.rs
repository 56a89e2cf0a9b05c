//! The published models under `../shared/bpmn`: each loads, or is refused with an element, a line and a reason.

use std::path::{Path, PathBuf};

use super::Model;

/// Published models that are no complete processes: skeletons of exercises.
const UNFINISHED: [&str; 4] = [
    "dsf-process-tutorial-2.0.0/cos-process.bpmn",
    "dsf-process-tutorial-2.0.0/dic-process.bpmn",
    "dsf-process-tutorial-2.0.0/exercise3_message_flow.bpmn",
    "dsf-process-tutorial-2.0.0/exercise5_event_based_gateway.bpmn",
];

fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            models(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "bpmn") {
            found.push(path);
        }
    }
}

#[test]
fn bpmn_080_081_every_published_plug_in_model_loads_and_others_are_refused_precisely() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/bpmn");
    let mut found = Vec::new();
    models(&root, &mut found);
    if found.is_empty() {
        println!("skipped: no published models at {}", root.display());
        return;
    }
    found.sort();
    for path in found {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let bytes = std::fs::read(&path).unwrap();
        let may_be_refused = name.starts_with("miwg-reference/") || UNFINISHED.contains(&name.as_str());
        match Model::parse(&bytes) {
            Ok(model) => println!(
                "loaded   {name}: {} nodes",
                model.processes.iter().map(|process| process.nodes.len()).sum::<usize>()
            ),
            Err(errors) => {
                println!("refused  {name}: {}", errors[0]);
                assert!(may_be_refused, "{name}: {errors:#?}");
                assert!(
                    errors.iter().all(|error| error.line > 0 && !error.element.is_empty() && !error.text.is_empty())
                );
                // Syntax of the file itself is never the reason.
                assert!(errors.iter().all(|error| error.element != "document"), "{name}: {errors:#?}");
            }
        }
    }
}
