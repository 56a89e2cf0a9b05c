//! `schleuse audit verify`: recomputes the hash chains of a node, or of one file.

use std::path::{Path, PathBuf};

use node::Directory;
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::output::{answer, printable};

pub(super) fn verify(path: &Path, format: Format) -> u8 {
    let chains = chains(path);
    if chains.is_empty() {
        eprintln!("schleuse: {} holds no audit file; name a node's directory or an audit file", path.display());
        return 1;
    }
    let mut lines = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut broken = false;
    for chain in &chains {
        match audit::verify(chain) {
            Ok(report) => {
                let cut = if report.unfinished_bytes > 0 { ", the last line is unfinished" } else { "" };
                lines.push(format!(
                    "{}: intact, {} records from {} to {}{cut}\n    last hash {}",
                    chain.display(),
                    report.records,
                    report.first_time,
                    report.last_time,
                    report.last_hash
                ));
                values.push(json!({ "file": chain, "intact": true, "report": report }));
            }
            Err(error) => {
                broken = true;
                lines.push(format!("{}: BROKEN: {}", chain.display(), printable(&error.to_string())));
                values.push(json!({ "file": chain, "intact": false, "error": error.to_string() }));
            }
        }
    }
    answer(format, || lines.join("\n"), || json!({ "chains": values }));
    u8::from(broken)
}

/// A node has one chain for each of its processes.
fn chains(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let folder = Directory::new(path).audit();
    ["gateway.log", "engine.log"].iter().map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
}
