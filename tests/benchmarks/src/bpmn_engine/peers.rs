//! The engines beside ours: SpiffWorkflow from PyPI and bpmn-engine from npm (`peers.md` section 4). Each is installed into a
//! folder of the results, which is kept for the next run, and runs in a process of its own that parses nothing twice that
//! its interface lets it keep: SpiffWorkflow keeps the parsed model, bpmn-engine reads its source for each instance.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Language;
use crate::error::{During as _, Failure, Outcome};
use crate::report::Report;

/// Versions whose figures are compared.
const SPIFF: &str = "SpiffWorkflow>=3.1,<3.3";
const BPMN_ENGINE: &str = "bpmn-engine@25";

/// Ours runs so many times while a peer runs once.
const SHARE: usize = 20;

const SPIFF_RUN: &str = r#"
import sys, time
from SpiffWorkflow import TaskState
from SpiffWorkflow.bpmn.parser import BpmnParser
from SpiffWorkflow.bpmn import BpmnWorkflow
parser = BpmnParser()
parser.add_bpmn_file(sys.argv[1])
spec = parser.get_spec("p")
count = int(sys.argv[2])
def once():
    workflow = BpmnWorkflow(spec)
    workflow.do_engine_steps()
    # A task without type waits for somebody.
    while not workflow.is_completed():
        for task in workflow.get_tasks(state=TaskState.READY, manual=True):
            task.run()
        workflow.do_engine_steps()
    assert workflow.data.get("x", 5) == 5
once()
started = time.perf_counter()
for _ in range(count):
    once()
print(count / (time.perf_counter() - started))
"#;

const BPMN_ENGINE_RUN: &str = r#"
import { readFileSync } from "node:fs";
import { Engine } from "bpmn-engine";
const source = readFileSync(process.argv[2], "utf8");
const count = Number(process.argv[3]);
async function once() {
  const engine = new Engine({ source });
  const ended = new Promise((resolve, reject) => {
    engine.once("end", resolve);
    engine.once("error", reject);
  });
  await engine.execute();
  const { x } = (await ended).environment.output;
  if (x !== undefined && x !== 5) throw new Error(`x is ${x}`);
}
await once();
const started = performance.now();
for (let done = 0; done < count; done++) await once();
console.log((count / (performance.now() - started)) * 1000);
"#;

/// An engine that is installed.
pub(super) enum Peer {
    /// With the Python of its environment.
    Spiff(PathBuf),
    /// With the script that runs it.
    BpmnEngine(PathBuf),
}

/// The peers that can be had here; the report says which cannot and why.
pub(super) fn install(results: &Path, report: &mut Report) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (name, peer) in [("SpiffWorkflow", spiff(results)), ("bpmn-engine", bpmn_engine(results))] {
        match peer {
            Ok(peer) => peers.push(peer),
            Err(failure) => report.note(format!("{name} is not measured: {failure}")),
        }
    }
    peers
}

fn spiff(results: &Path) -> Outcome<Peer> {
    let folder = results.join("spiffworkflow");
    let python = folder.join("bin/python");
    if python.is_file() && succeeds(Command::new(&python).args(["-c", "import SpiffWorkflow"])) {
        return Ok(Peer::Spiff(python));
    }
    if !succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder)) {
        return Err(Failure::new("python3 -m venv does not work here"));
    }
    if !succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", SPIFF])) {
        return Err(Failure::new("pip cannot install it"));
    }
    Ok(Peer::Spiff(python))
}

fn bpmn_engine(results: &Path) -> Outcome<Peer> {
    let folder = results.join("bpmn-engine");
    std::fs::create_dir_all(&folder).during("making a folder")?;
    let script = folder.join("run.mjs");
    std::fs::write(&script, BPMN_ENGINE_RUN).during("writing the script")?;
    if !folder.join("node_modules/bpmn-engine").is_dir() {
        std::fs::write(folder.join("package.json"), "{ \"private\": true }\n").during("writing package.json")?;
        let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", BPMN_ENGINE];
        if !succeeds(Command::new("npm").args(install).current_dir(&folder)) {
            return Err(Failure::new("npm cannot install it"));
        }
    }
    Ok(Peer::BpmnEngine(script))
}

fn succeeds(program: &mut Command) -> bool {
    program.output().is_ok_and(|output| output.status.success())
}

impl Peer {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Spiff(_) => "SpiffWorkflow",
            Self::BpmnEngine(_) => "bpmn-engine",
        }
    }

    pub(super) const fn language(&self) -> Language {
        match self {
            Self::Spiff(_) => Language::Python,
            Self::BpmnEngine(_) => Language::JavaScript,
        }
    }

    /// Its instances per second of the model.
    pub(super) fn rate(&self, model: &str, results: &Path, times: usize) -> Outcome<f64> {
        let file = results.join("bpmn-peer.bpmn");
        std::fs::write(&file, model).during("writing the peer's model")?;
        let mut command = match self {
            Self::Spiff(python) => Command::new(python),
            Self::BpmnEngine(_) => Command::new("node"),
        };
        match self {
            Self::Spiff(_) => command.args(["-c", SPIFF_RUN]),
            Self::BpmnEngine(script) => command.arg(script),
        };
        let output = command.arg(&file).arg((times / SHARE).max(20).to_string()).output();
        let output = output.during(format!("running {}", self.name()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::new(format!("{}: {text}", self.name())));
        }
        String::from_utf8_lossy(&output.stdout).trim().parse().during(format!("the rate of {}", self.name()))
    }
}
