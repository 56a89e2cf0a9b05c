//! The FHIR server in memory, from npm, behind a small HTTP wrapper (`peers.md` section 4). The package is installed into
//! a folder of the results once and for this benchmark alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::limits::READY;
use crate::process::{Lifeline, Process};

/// The version whose figures are compared.
const PACKAGE: &str = "@medplum/fhir-router@4.5.2";

const WRAPPER: &str = include_str!("memory_peer.mjs");

/// What answers once the server runs.
pub(super) const READY_TARGET: &str = "/fhir/ready";
/// Length of that answer.
pub(super) const READY_BYTES: usize = 5;

/// Installs the package if it is not there yet; gives the folder and the versions.
pub(super) fn install(run: &Run) -> Outcome<(PathBuf, String)> {
    let folder = run.results.join("memory-peer");
    std::fs::create_dir_all(&folder).during(format!("creating {}", folder.display()))?;
    std::fs::write(folder.join("memory_peer.mjs"), WRAPPER).during("writing the wrapper")?;
    if !folder.join("node_modules/@medplum/fhir-router").is_dir() {
        eprintln!("endpoint: installing {PACKAGE}");
        std::fs::write(folder.join("package.json"), "{ \"private\": true }\n").during("writing package.json")?;
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE])
            .current_dir(&folder)
            .stdout(std::process::Stdio::null())
            .status()
            .during("running npm (install nodejs and npm first)")?;
        if !status.success() {
            return Err(Failure::new(format!("npm could not install {PACKAGE}")));
        }
    }
    let node = Command::new("node").arg("--version").output().during("asking node for its version")?;
    Ok((folder, format!("{PACKAGE}, node {}", String::from_utf8_lossy(&node.stdout).trim())))
}

/// Starts it on a socket.
pub(super) async fn start(package: &Path, socket: &Path, log: &Path) -> Outcome<Process> {
    let (script, path) = (package.join("memory_peer.mjs").display().to_string(), socket.display().to_string());
    let node = Path::new("/usr/bin/env");
    let mut process = Process::start("memory peer", node, &["node", &script, &path], log, Lifeline::StandardInput)?;
    let end = Instant::now() + READY;
    while !std::fs::read_to_string(log).is_ok_and(|text| text.contains("ready")) {
        process.must_run()?;
        if Instant::now() > end {
            return Err(process.failure("is not ready"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(process)
}
