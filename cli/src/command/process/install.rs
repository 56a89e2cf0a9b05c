//! `schleuse process install FOLDER|JAR DIR`: a plug-in comes into the folder of the node and in force, or everything stays
//! as it was.
//!
//! The copy is made under a hidden name, which the node passes over, and takes the place of an older one by renaming.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{refusal_text, refused, text};
use crate::admin::{AdminError, Node};
use crate::arguments::{Format, ProcessInstall};
use crate::command::{fail, fail_admin};
use crate::local::{Local, LocalError};
use crate::output::answer;

/// Files and folders of a plug-in, and how deep they may be; the node reads no more.
const FILES: usize = 20_000;
const DEPTH: usize = 16;

#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{} is no plug-in; name a folder with bpe/ and fhir/, or a jar", .0.display())]
    NoPlugIn(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} has links, or more than {FILES} files; leave only the files of the plug-in in it", .0.display())]
    Unusual(PathBuf),
    #[error("the plug-in is refused and was not installed:\n  {0}")]
    Refused(String),
}

/// A file or folder that has taken its place, and what was there before.
struct Placed {
    at: PathBuf,
    before: Option<PathBuf>,
}

pub(in crate::command) async fn run(install: &ProcessInstall, format: Format) -> u8 {
    let node = Node::at(&install.directory);
    // A node that does not run could not say what it thinks of it.
    if let Err(error) = node.get::<Value>("/processes").await {
        return fail_admin(&error);
    }
    let placed = match place_all(install) {
        Ok(placed) => placed,
        Err(error) => return fail(&error, 1),
    };
    let loaded = node.post::<Value>("/processes/load", &json!({})).await;
    let refusal = match &loaded {
        Ok(loaded) => refusal_of(loaded, &placed),
        Err(_) => None,
    };
    match (loaded, refusal) {
        (Ok(loaded), None) => {
            placed.into_iter().for_each(Placed::keep);
            answer(format, || text(&loaded), || loaded.clone());
            0
        }
        (Ok(_), Some(reason)) => {
            placed.into_iter().rev().for_each(Placed::take_back);
            match node.post::<Value>("/processes/load", &json!({})).await {
                Ok(_) => fail(&InstallError::Refused(reason), 1),
                Err(error) => fail_admin(&error),
            }
        }
        (Err(error), _) => give_up(placed, &error),
    }
}

fn give_up(placed: Vec<Placed>, error: &AdminError) -> u8 {
    placed.into_iter().rev().for_each(Placed::take_back);
    fail_admin(error)
}

/// What the node says against the plug-in.
fn refusal_of(loaded: &Value, placed: &[Placed]) -> Option<String> {
    let names: Vec<_> = placed.iter().filter_map(|placed| placed.at.file_name()).collect();
    let of_it = refused(loaded).filter(|refused| {
        let package = refused.get("package").and_then(Value::as_str).map(Path::new);
        package.and_then(Path::file_name).is_some_and(|name| names.contains(&name))
    });
    let reasons: Vec<String> = of_it.map(refusal_text).collect();
    (!reasons.is_empty()).then(|| reasons.join("\n  "))
}

/// Puts the plug-in, and the manifest beside a jar, into the folder of the node.
fn place_all(install: &ProcessInstall) -> Result<Vec<Placed>, InstallError> {
    let folder = Local::load(&install.directory)?.settings.engine.plugins;
    let source = &install.source;
    let is_jar = source.is_file() && source.extension().is_some_and(|extension| extension == "jar");
    let name = source.file_name().filter(|_| source.is_dir() || is_jar);
    let name = name.ok_or_else(|| InstallError::NoPlugIn(source.clone()))?.to_owned();
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    let beside = source.with_extension("toml");
    let mut placed = Vec::new();
    if is_jar && beside.is_file() {
        let name = beside.file_name().unwrap_or_default().to_owned();
        placed.push(place(&beside, &folder, &name)?);
    }
    match place(source, &folder, &name) {
        Ok(own) => placed.push(own),
        Err(error) => {
            placed.into_iter().for_each(Placed::take_back);
            return Err(error);
        }
    }
    Ok(placed)
}

fn place(source: &Path, folder: &Path, name: &OsString) -> Result<Placed, InstallError> {
    let hidden = |suffix: &str| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(suffix);
        folder.join(hidden)
    };
    let (new, old, at) = (hidden(".new"), hidden(".old"), folder.join(name));
    // What an earlier run that was killed has left.
    remove(&new);
    remove(&old);
    let mut count = 0;
    if let Err(error) = copy(source, &new, 0, &mut count) {
        remove(&new);
        return Err(error);
    }
    let before = at.exists().then_some(old);
    if let Some(before) = &before {
        std::fs::rename(&at, before).map_err(|error| failed(&at, error))?;
    }
    let placed = Placed { at, before };
    match std::fs::rename(&new, &placed.at) {
        Ok(()) => Ok(placed),
        Err(error) => {
            let failure = failed(&placed.at, error);
            remove(&new);
            placed.take_back();
            Err(failure)
        }
    }
}

fn copy(source: &Path, target: &Path, depth: usize, count: &mut usize) -> Result<(), InstallError> {
    *count += 1;
    let kind = std::fs::symlink_metadata(source).map_err(|error| failed(source, error))?.file_type();
    if *count > FILES || depth > DEPTH || !(kind.is_file() || kind.is_dir()) {
        return Err(InstallError::Unusual(source.to_owned()));
    }
    if kind.is_file() {
        return std::fs::copy(source, target).map(drop).map_err(|error| failed(source, error));
    }
    std::fs::create_dir(target).map_err(|error| failed(target, error))?;
    for entry in std::fs::read_dir(source).map_err(|error| failed(source, error))? {
        let entry = entry.map_err(|error| failed(source, error))?;
        copy(&entry.path(), &target.join(entry.file_name()), depth + 1, count)?;
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> InstallError {
    InstallError::Io { path: path.to_owned(), source }
}

/// Best effort: what stays has a hidden name and is removed by the next run.
fn remove(path: &Path) {
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

// === impl Placed ===

impl Placed {
    fn keep(self) {
        if let Some(before) = &self.before {
            remove(before);
        }
    }

    fn take_back(self) {
        remove(&self.at);
        if let Some(before) = &self.before
            && let Err(error) = std::fs::rename(before, &self.at)
        {
            eprintln!("schleuse: {} is left at {}: {error}", self.at.display(), before.display());
        }
    }
}
