//! `schleuse process new FOLDER`: the example plug-in under a name of one's own.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::{Format, ProcessNew};
use crate::command::fail;
use crate::output::{answer, printable};

/// The files; `@domain@`, `@key@` and `@name@` are replaced.
const FILES: [(&str, &str); 6] = [
    ("plugin.toml", include_str!("example/plugin.toml")),
    ("bpe/process.bpmn", include_str!("example/bpe/process.bpmn")),
    ("fhir/ActivityDefinition/process.xml", include_str!("example/fhir/ActivityDefinition/process.xml")),
    ("fhir/StructureDefinition/task.xml", include_str!("example/fhir/StructureDefinition/task.xml")),
    ("fhir/Questionnaire/release.xml", include_str!("example/fhir/Questionnaire/release.xml")),
    ("tests/process.txt", include_str!("example/tests/process.txt")),
];

#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error("{0:?} is no domain; write one such as example.org")]
    Domain(String),
    #[error("{0:?} is no name of a process; use letters, digits and hyphens")]
    Name(String),
    #[error("{} is there already; name a folder that is not", .0.display())]
    Exists(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub(in crate::command) fn run(new: &ProcessNew, format: Format) -> u8 {
    let name = new.name.clone().or_else(|| Some(new.folder.file_name()?.to_string_lossy().into_owned()));
    let name = name.unwrap_or_default();
    match write(&new.folder, &new.domain, &name) {
        Ok(()) => {
            let process = format!("http://{}/bpe/Process/{name}|1.0", new.domain);
            let folder = printable(&new.folder.display().to_string());
            let text = || format!("{folder} holds the process {process}\nnext: schleuse process test {folder}\n");
            answer(format, text, || json!({ "folder": new.folder, "process": process, "message": name }));
            0
        }
        Err(error @ (NewError::Domain(_) | NewError::Name(_))) => fail(&error, 2),
        Err(error) => fail(&error, 1),
    }
}

fn write(folder: &Path, domain: &str, name: &str) -> Result<(), NewError> {
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !domain.contains('.') || !domain.split('.').all(is_word) {
        return Err(NewError::Domain(domain.to_owned()));
    }
    if !is_word(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    if folder.exists() {
        return Err(NewError::Exists(folder.to_owned()));
    }
    let key = domain.replace('.', "");
    for (file, text) in FILES {
        let path = folder.join(file);
        let text = text.replace("@domain@", domain).replace("@key@", &key).replace("@name@", name);
        let folder = path.parent().unwrap_or(folder);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|source| NewError::Io { path, source })?;
    }
    Ok(())
}
