//! `schleuse audit`: verifies the hash chains of a node or of one file and the signatures in them, finds and exports records.

mod records;

use std::path::{Path, PathBuf};

use audit::checkpoint;
use node::{Directory, KnownCertificates};
use serde_json::{Value, json};

use super::fail;
use crate::arguments::{AuditVerify, Format};
use crate::output::{answer, printable};

pub(super) use records::{export, search};

pub(super) fn verify(arguments: &AuditVerify, format: Format) -> u8 {
    let path = arguments.path.as_path();
    let chains = chains(path);
    let known = match known_certificates(path, &arguments.certificate) {
        Ok(known) => known,
        Err(error) => return fail(&error, 1),
    };
    if chains.is_empty() {
        eprintln!("schleuse: {} holds no audit file; name a node's directory or an audit file", path.display());
        return 1;
    }
    let mut lines = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut broken = false;
    for chain in &chains {
        match checkpoint::verify_signed(chain, chain_name(chain), &known) {
            Ok((report, signed)) => {
                let is_shortened = signed.removed_otherwise > arguments.moved_away;
                broken |= is_shortened;
                let word = if is_shortened { "SHORTENED" } else { "intact" };
                let cut = if report.unfinished_bytes > 0 { ", the last line is unfinished" } else { "" };
                lines.push(format!(
                    "{}: {word}, {} records from {} to {}{cut}\n    last hash {}\n    {}{}",
                    chain.display(),
                    report.records,
                    report.first_time,
                    report.last_time,
                    report.last_hash,
                    signed_text(&signed),
                    front_text(&signed)
                ));
                values.push(json!({ "file": chain, "intact": !is_shortened, "report": report, "signed": signed }));
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

fn signed_text(signed: &checkpoint::Signed) -> String {
    let mut text = match signed.checkpoints {
        0 => "no signed checkpoint that could be verified".to_owned(),
        count => format!("signed up to record {} by {count} checkpoints", signed.signed_to),
    };
    for (certificate, count) in &signed.unknown_certificates {
        text.push_str(&format!(
            "\n    {count} checkpoints of certificate {certificate}, which was not given (--certificate)"
        ));
    }
    text
}

/// What is gone from the front of the chain, and who has removed it.
fn front_text(signed: &checkpoint::Signed) -> String {
    let mut text = String::new();
    if let Some(cut) = &signed.cut {
        text.push_str(&format!(
            "\n    records up to {} of {} were removed by the node: {} = \"{}d\"",
            cut.last_sequence,
            printable(&cut.last_time),
            printable(&cut.rule),
            cut.kept_days
        ));
    }
    if signed.not_yet_removed > 0 {
        text.push_str(&format!("\n    {} of them are still there", signed.not_yet_removed));
    }
    if signed.removed_otherwise > 0 {
        text.push_str(&format!(
            "\n    {} records at the front were removed, and not by the node; who has moved so many away says so with --moved-away",
            signed.removed_otherwise
        ));
    }
    text
}

/// The name of a chain, as its process signs it.
fn chain_name(file: &Path) -> &str {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

/// The certificates of the node, and those that were named.
fn known_certificates(path: &Path, named: &[PathBuf]) -> Result<KnownCertificates, certs::CertError> {
    let mut known = KnownCertificates::default();
    let above = if path.is_file() { path.parent().and_then(Path::parent) } else { Some(path) };
    // An audit file alone, without its node, is verified with what was named.
    if let Some(Ok((settings, _))) = above.map(|above| node::load(&Directory::new(above))) {
        for pair in [&settings.server_certificate, &settings.client_certificate] {
            known.add(&pair.certificate)?;
        }
    }
    for file in named {
        known.add(file)?;
    }
    Ok(known)
}

/// A node has one chain for each of its processes.
fn chains(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let folder = Directory::new(path).audit();
    ["gateway.log", "engine.log"].iter().map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
}
