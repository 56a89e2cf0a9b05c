//! Packages: process plug-ins that an administrator puts into a folder of the node, as a folder of their own or as the jar
//! that DSF takes (`process-engine.md` 1.9, 1.10, 2.1).
//!
//! ```text
//! plugins/NAME/            or plugins/NAME-1.2.0.1.jar, with plugins/NAME-1.2.0.1.toml beside it where one is needed
//!   plugin.toml            name, version, release-date, api; [bind]: who implements a class; [placeholder]
//!   bpe/*.bpmn             models
//!   fhir/TYPE/*.xml|json   resources
//! ```
//!
//! A package is read once at the start. What is wrong with a file is an error of the package; a model that names classes
//! which nobody implements is left out and reported, the rest of the package stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive::{self, ArchiveError};
use super::bindings::{self, Misbound};
use super::{Implementations, Plugin};
use crate::catalogue::Refused;
use crate::{limits, sender};

/// A package of the node.
pub struct Package {
    /// Where it came from.
    pub source: PathBuf,
    /// What is in it.
    pub plugin: Plugin,
    /// Its whole version, `1.2.0.1`.
    pub version: String,
    /// The files of the models, in their order.
    pub files: Vec<String>,
    /// Whether it is not released: `-SNAPSHOT`, `-M1`, `-RC1` (`process-engine.md` 1.8).
    pub is_draft: bool,
    /// What becomes of a step that failed, by process id, where the package says so.
    pub on_failure: BTreeMap<String, OnFailure>,
}

/// What becomes of a step that failed after its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Its instance and Tasks fail, as in DSF.
    Fail,
    /// It waits for an operator.
    Incident,
}

/// What is in a folder.
#[derive(Default)]
pub struct Found {
    /// Packages that can be read.
    pub packages: Vec<Package>,
    /// Those that cannot.
    pub refused: Vec<Refused>,
}

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file or folder cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The archive cannot be read.
    #[error("{path}: {source}")]
    Archive {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: ArchiveError,
    },
    /// The manifest says what cannot be.
    #[error("{path}: {reason}; {remedy}")]
    Manifest {
        /// Which package.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file is not usable.
    #[error("{path}: {file}: {reason}")]
    File {
        /// Which package.
        path: PathBuf,
        /// Which file of it.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl Package {
    /// The models as a node of this organisation reads them, each with its file.
    #[must_use]
    pub fn texts(&self, organization: &str) -> Vec<(String, String)> {
        let texts = self.files.iter().zip(&self.plugin.models);
        texts.map(|(file, text)| (file.clone(), self.plugin.replace(text, organization))).collect()
    }

    /// The resources as a node of this organisation reads them, each with its file.
    pub fn resources(&self, organization: &str) -> Result<Vec<(&'static str, fhir::Resource)>, super::PluginError> {
        self.plugin.named_resources(organization)
    }

    /// Classes of a model of the package that its manifest binds to what cannot do their element. What the package leaves
    /// to the node only the node can judge.
    #[must_use]
    pub fn misbound(&self, model: &bpmn::Model) -> Vec<Misbound> {
        let processes = model.processes.iter().filter(|process| process.is_executable);
        let found = processes.flat_map(|process| bindings::misbound(process, &self.plugin.implementations));
        found.filter(|found| found.is_known).collect()
    }

    /// Whether workers do what the class names.
    pub(crate) fn binds(&self, implementation: &bpmn::model::Implementation) -> bool {
        let bpmn::model::Implementation::Class { class, .. } = implementation else { return false };
        self.plugin.implementations.topics.contains_key(class.as_str())
    }
}

impl PackageError {
    /// The package at this place is left out for it.
    #[must_use]
    pub fn refused(&self, package: &Path) -> Refused {
        let (file, reason) = match self {
            Self::File { file, reason, .. } => (Some(file.clone()), reason.clone()),
            Self::Manifest { reason, remedy, .. } => (None, format!("{reason}; {remedy}")),
            Self::Archive { source, .. } => (None, source.to_string()),
            Self::Io { path, source } => {
                let file = path.strip_prefix(package).ok().map(|file| file.to_string_lossy().into_owned());
                (file.filter(|file| !file.is_empty()), format!("cannot be read: {source}"))
            }
        };
        Refused { source: package.to_owned(), file, whole: true, reason }
    }
}

/// `plugin.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    name: Option<String>,
    /// `1.2.0.1`, or the first two numbers.
    version: Option<String>,
    /// `2026-01-31`
    release_date: Option<String>,
    /// Version of the plug-in API for which the resources were written.
    api: Option<u8>,
    /// Who implements a class.
    #[serde(default)]
    bind: BTreeMap<String, Binding>,
    /// Values of further placeholders.
    #[serde(default)]
    placeholder: BTreeMap<String, String>,
    /// Processes, `key|version`, that are not taken from the package.
    #[serde(default)]
    excluded: Vec<String>,
    /// What is particular to a process, by its id.
    #[serde(default)]
    process: BTreeMap<String, OfProcess>,
}

/// What the manifest says about one process.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OfProcess {
    /// What becomes of a step that failed after its retries.
    on_failure: OnFailure,
}

/// Who implements a class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Binding {
    /// A worker that fetches the topic.
    Topic(String),
    /// A building block of the node ([`crate::sender`]).
    Step(String),
    /// A WebAssembly component of the package (`contract/step.wit`, decision 035).
    Component(Component),
}

/// A step in a WebAssembly component.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Component {
    /// File within the package, such as `steps/merge.wasm`.
    file: String,
    /// What the component is told to do; several steps may be in one.
    export: String,
}

/// What may be bound without a worker.
const STEPS: &str = "bind it to step = \"send\", \"correlation-key\" or \"user-task\", or to a topic";
const MANIFEST: &str = "plugin.toml";
/// The API version of plug-ins whose manifest names none and which are no jar.
const DEFAULT_API: u8 = 2;

/// Every package in a folder, by name; what cannot be read does not keep the others back. A folder that is not there has
/// none.
pub fn load_all(folder: &Path) -> Result<Found, PackageError> {
    let fail = |source| PackageError::Io { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(fail(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_jar = path.extension().is_some_and(|extension| extension == "jar");
        if !hidden && (path.is_dir() || is_jar) {
            paths.push(path);
        }
        if paths.len() > limits::PACKAGES {
            return Err(PackageError::Manifest {
                path: folder.to_owned(),
                reason: format!("there are more than {} packages", limits::PACKAGES),
                remedy: "remove those that are not used",
            });
        }
    }
    paths.sort();
    let mut found = Found::default();
    for path in paths {
        match load(&path) {
            Ok(package) => found.packages.push(package),
            Err(error) => found.refused.push(error.refused(&path)),
        }
    }
    Ok(found)
}

/// One package.
pub fn load(path: &Path) -> Result<Package, PackageError> {
    let (mut files, is_jar) = if path.is_dir() { (read_folder(path)?, false) } else { (read_jar(path)?, true) };
    let beside = path.with_extension("toml");
    let manifest = match files.remove(MANIFEST) {
        Some(text) => Some(text),
        None if is_jar => read_optional(&beside)?,
        None => None,
    };
    let wrong = |reason: String, remedy| PackageError::Manifest { path: path.to_owned(), reason, remedy };
    let manifest: Manifest = match manifest {
        Some(text) => {
            let text = String::from_utf8(text)
                .map_err(|_| wrong("plugin.toml is not UTF-8".to_owned(), "write it as UTF-8"))?;
            toml::from_str(&text).map_err(|error| wrong(format!("plugin.toml: {error}"), "correct the file"))?
        }
        None => Manifest::default(),
    };
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let properties = files.iter().find(|(name, _)| name.ends_with("/pom.properties"));
    let properties = properties.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let property = |key: &str| properties.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let version = manifest.version.clone().or_else(|| property("version").map(str::to_owned));
    let version = version.or_else(|| version_of_name(&stem)).ok_or_else(|| {
        wrong("nothing says which version it is".to_owned(), "add a plugin.toml with version = \"1.0.0.0\"")
    })?;
    let resource_version = resource_version(&version).ok_or_else(|| {
        wrong(format!("version {version:?} does not begin with two numbers"), "write the version as \"1.0.0.0\"")
    })?;
    let date = manifest.release_date.clone().unwrap_or_else(|| "1970-01-01".to_owned());
    if time::Date::parse(&date, time::macros::format_description!("[year]-[month]-[day]")).is_err() {
        return Err(wrong(format!("release-date {date:?} is no date"), "write it as \"2026-01-31\""));
    }
    let is_v1 = files.contains_key("META-INF/services/dev.dsf.bpe.v1.ProcessPluginDefinition");
    let api = manifest.api.unwrap_or(if is_v1 { 1 } else { DEFAULT_API });
    if !matches!(api, 1 | 2) {
        return Err(wrong(format!("api {api} is not known"), "write api = 1 or api = 2"));
    }
    let is_draft = is_draft(&version) || (is_jar && is_draft(&stem));
    let name = manifest.name.clone().or_else(|| property("artifactId").map(str::to_owned)).unwrap_or(stem);
    let mut plugin = Plugin {
        name: kept(name),
        version: kept(resource_version),
        date: kept(date),
        models: Vec::new(),
        resources: Vec::new(),
        implementations: Implementations::default(),
    };
    for (class, binding) in manifest.bind {
        let topic = match binding {
            Binding::Topic(topic) => topic,
            Binding::Step(name) => {
                let bound = sender::bind(std::mem::take(&mut plugin.implementations), kept(class.clone()), &name, api);
                let unknown = || {
                    wrong(format!("class {class} is bound to the step {name:?}, which the node does not have"), STEPS)
                };
                plugin.implementations = bound.ok_or_else(unknown)?;
                continue;
            }
            // Known, so that the reason can be told; never half run.
            Binding::Component(Component { file, export }) => {
                let reason = format!(
                    "class {class} is bound to {export:?} of {file}: this version runs no WebAssembly components"
                );
                return Err(wrong(reason, "bind the class to a topic and run the step as an external worker"));
            }
        };
        if topic.is_empty() || topic.len() > limits::KEY_BYTES {
            return Err(wrong(format!("the topic of class {class} is empty or too long"), "name a topic"));
        }
        plugin.implementations = plugin.implementations.with_topic(kept(class), kept(topic));
    }
    let mut model_files = Vec::new();
    for (file, bytes) in files {
        let Some(kind) = kind_of(&file) else { continue };
        let bad = |reason: String| PackageError::File { path: path.to_owned(), file: file.clone(), reason };
        let text = String::from_utf8(bytes).map_err(|_| bad("is not UTF-8".to_owned()))?;
        let escape = if file.to_ascii_lowercase().ends_with("json") { in_json } else { in_xml };
        let text = replace(&text, &manifest.placeholder, escape).map_err(bad)?;
        match kind {
            Kind::Model if is_excluded(&text, &manifest.excluded, plugin.version) => {}
            Kind::Model => {
                model_files.push(file.clone());
                plugin.models.push(kept(text));
            }
            Kind::Resource if api == 1 => plugin.resources.push((kept(file), kept(adapted(&text)))),
            Kind::Resource => plugin.resources.push((kept(file), kept(text))),
        }
    }
    plugin.resources.sort_by_key(|(file, _)| order_of(file));
    if plugin.models.is_empty() && manifest.excluded.is_empty() {
        return Err(wrong("there is no model in bpe/ or bpmn/".to_owned(), "put the BPMN files there"));
    }
    Ok(Package {
        source: path.to_owned(),
        plugin,
        version,
        files: model_files,
        is_draft,
        on_failure: manifest.process.into_iter().map(|(key, process)| (key, process.on_failure)).collect(),
    })
}

/// Whether a version, or a file without its suffix, is one that is not released.
fn is_draft(name: &str) -> bool {
    let Some((_, last)) = name.rsplit_once('-') else { return false };
    let is_numbered = |prefix: &str| {
        let number = last.strip_prefix(prefix);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    last == "SNAPSHOT" || is_numbered("M") || is_numbered("RC")
}

/// Plug-ins live as long as the process: their texts are never given back.
fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

enum Kind {
    Model,
    Resource,
}

fn kind_of(file: &str) -> Option<Kind> {
    let (folder, name) = file.split_once('/')?;
    let is = |extension: &str| name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension));
    match folder {
        "bpe" | "bpmn" if is("bpmn") => Some(Kind::Model),
        "fhir" if is("xml") || is("json") => Some(Kind::Resource),
        _ => None,
    }
}

fn is_wanted(name: &str) -> bool {
    name == MANIFEST
        || kind_of(name).is_some()
        || (name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties"))
        || name.starts_with("META-INF/services/dev.dsf.bpe.")
}

/// Terminology before profiles, profiles before what they validate (SRV `FhirResourceHandlerImpl`).
fn order_of(file: &str) -> usize {
    const ORDER: [&str; 9] = [
        "NamingSystem",
        "CodeSystem",
        "ValueSet",
        "StructureDefinition",
        "Library",
        "Measure",
        "Questionnaire",
        "ActivityDefinition",
        "Task",
    ];
    ORDER.iter().position(|kind| file.split('/').any(|part| part == *kind)).unwrap_or(ORDER.len())
}

/// `#{name}` and `#{name:default}` of the manifest; version, date and organisation are replaced when they are known.
fn replace(text: &str, values: &BTreeMap<String, String>, escape: fn(&str) -> String) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("#{") {
        replaced.push_str(before);
        let Some((inside, after)) = behind.split_once('}') else {
            return Err("a placeholder #{ has no end".to_owned());
        };
        let (name, default) = inside.split_once(':').map_or((inside, None), |(name, default)| (name, Some(default)));
        match (name, values.get(name).map(String::as_str).or(default)) {
            ("version" | "date" | "organization", _) => {
                replaced.push_str("#{");
                replaced.push_str(name);
                replaced.push('}');
            }
            (_, Some(value)) => replaced.push_str(&escape(value)),
            (name, None) => return Err(format!("the placeholder #{{{name}}} has no value; add it to [placeholder]")),
        }
        rest = after;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

/// A value within XML, also between quotation marks.
fn in_xml(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A value within a JSON string.
fn in_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// Resources of plug-ins for API version 1 name versions of base profiles that do not exist any more (V1I
/// `ProcessPluginImpl`).
fn adapted(text: &str) -> String {
    let mut adapted = text.to_owned();
    for base in ["task-base", "task-base|1.0.0"] {
        let from = format!("\"http://dsf.dev/fhir/StructureDefinition/{base}\"");
        adapted = adapted.replace(&from, "\"http://dsf.dev/fhir/StructureDefinition/task\"");
    }
    let kinds = [
        "activity-definition",
        "code-system",
        "library",
        "measure",
        "naming-system",
        "questionnaire",
        "structure-definition",
        "value-set",
    ];
    for kind in kinds {
        for version in ["1.0.0", "1.5.0"] {
            let from = format!("http://dsf.dev/fhir/StructureDefinition/{kind}|{version}");
            adapted = adapted.replace(&from, &format!("http://dsf.dev/fhir/StructureDefinition/{kind}"));
        }
    }
    adapted
}

/// `1.2` of `1.2.0.1`, also with a suffix such as `-SNAPSHOT`.
fn resource_version(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-']);
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor) = (numbers.next().filter(is_number)?, numbers.next().filter(is_number)?);
    Some(format!("{major}.{minor}"))
}

/// `1.2.0.1` of `name-1.2.0.1`.
fn version_of_name(stem: &str) -> Option<String> {
    let begins = stem.match_indices('-').map(|(at, _)| stem.get(at + 1..).unwrap_or_default());
    begins.filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned).next()
}

fn is_excluded(model: &str, excluded: &[String], version: &str) -> bool {
    excluded.iter().any(|name| {
        let (key, tag) = name.split_once('|').unwrap_or((name, version));
        tag == version && model.contains(&format!("id=\"{key}\""))
    })
}

fn read_jar(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let bytes = read_bounded(path, limits::PLUGIN_BYTES)?;
    archive::read(&bytes, is_wanted).map_err(|source| PackageError::Archive { path: path.to_owned(), source })
}

fn read_folder(root: &Path) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(root.to_owned(), 0)];
    let (mut total, mut count) = (0, 0);
    while let Some((folder, depth)) = folders.pop() {
        let fail = |source| PackageError::Io { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            count += 1;
            if count > limits::PLUGIN_FILES || depth > limits::PLUGIN_DEPTH {
                return Err(PackageError::Manifest {
                    path: root.to_owned(),
                    reason: format!(
                        "there are more than {} files, or folders are nested too deep",
                        limits::PLUGIN_FILES
                    ),
                    remedy: "leave only the files of the plug-in in its folder",
                });
            }
            if path.is_dir() {
                folders.push((path, depth + 1));
                continue;
            }
            let name = path.strip_prefix(root).ok().map(|name| name.to_string_lossy().replace('\\', "/"));
            let Some(name) = name.filter(|name| is_wanted(name)) else { continue };
            let bytes = read_bounded(&path, limits::PLUGIN_FILE_BYTES)?;
            total += bytes.len();
            if total > limits::PLUGIN_BYTES {
                let source = ArchiveError::TooLarge { what: "bytes of files", limit: limits::PLUGIN_BYTES };
                return Err(PackageError::Archive { path: root.to_owned(), source });
            }
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, PackageError> {
    match path.is_file() {
        true => read_bounded(path, limits::PLUGIN_FILE_BYTES).map(Some),
        false => Ok(None),
    }
}

fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, PackageError> {
    use std::io::Read as _;
    let fail = |source| PackageError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // A pipe would be waited for, a device read without end.
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(std::io::Error::other("is no regular file")));
    }
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() > most {
        let source = ArchiveError::TooLarge { what: "bytes", limit: most };
        return Err(PackageError::Archive { path: path.to_owned(), source });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
