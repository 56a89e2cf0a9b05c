//! The security officer's files, as text. Both processes read them with this function, because the version of a policy
//! is the digest over the names and texts of its files and must be the same in both.

use std::path::Path;

use settings::Finding;

use crate::Directory;

/// Largest policy file; the shipped ones have 10 KiB.
const POLICY_BYTES: u64 = 1 << 20;
/// Most policy files.
const POLICY_FILES: usize = 1_000;

/// Names and texts of `policies/*.toml`, by name. Hidden files and other endings are left out; a file that cannot be read
/// is a finding, never skipped.
pub fn read_policy_files(directory: &Directory) -> Result<Vec<(String, String)>, Vec<Finding>> {
    read_policy_folder(&directory.policies())
}

/// The same of any folder: a candidate that is compared with the policy in force.
pub fn read_policy_folder(folder: &Path) -> Result<Vec<(String, String)>, Vec<Finding>> {
    let unreadable = |name: &str, error: &dyn std::fmt::Display| {
        let remedy = "make the policy files readable for the users of the node, as UTF-8 text";
        Finding::in_file(&format!("policies/{name}"), format!("cannot be read: {error}"), remedy)
    };
    let entries = std::fs::read_dir(folder).map_err(|error| vec![unreadable("", &error)])?;
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                findings.push(unreadable("", &error));
                continue;
            }
        };
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            findings.push(unreadable(&path.to_string_lossy(), &"the name is not UTF-8"));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        match read_bounded(&path) {
            Ok(text) => files.push((name.to_owned(), text)),
            Err(error) => findings.push(unreadable(name, &error)),
        }
    }
    if files.len() > POLICY_FILES {
        findings.push(unreadable("", &format!("more than {POLICY_FILES} files")));
    }
    files.sort_unstable();
    if findings.is_empty() { Ok(files) } else { Err(findings) }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(POLICY_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > POLICY_BYTES {
        return Err(std::io::Error::other(format!("larger than {POLICY_BYTES} bytes")));
    }
    Ok(text)
}
