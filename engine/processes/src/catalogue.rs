//! What is installed: the built-in processes and those of packages, with everything that steps need.
//!
//! ```text
//! packages of a folder ─▶ Catalogue::of: judged together ─▶ resources published ─▶ Runtime::install: in force at once
//!                               └─ refused: package or process, with file and reason ◀┘
//! ```
//!
//! A catalogue never changes; a load makes another one. What is wrong with a package leaves that package out, and what is
//! wrong with a model leaves that process out; everything else runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpmn::model::{FieldValue, Implementation, NodeKind};
use fhir::Resource;

use crate::definition::{Definition, Definitions};
use crate::plugin::Implementations;
use crate::plugin::assignment::{self, Assigned};
use crate::plugin::package::{Found, OnFailure, Package};
use crate::state::ProcessState;
use crate::{LocalNode, Plugin, PluginError};

/// A package or a process of one that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where the package is.
    pub source: PathBuf,
    /// The file that is wrong, if it is one.
    pub file: Option<String>,
    /// Whether the whole package is left out, or only the process of the file.
    pub whole: bool,
    /// What is wrong.
    pub reason: String,
}

/// Where an installed process came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Folder or jar; none if it is built in.
    pub package: Option<PathBuf>,
    /// Name of the plug-in.
    pub plugin: &'static str,
    /// Version of the plug-in, `1.2.0.1`.
    pub plugin_version: String,
    /// The BPMN file, if it came from a package.
    pub file: Option<String>,
    /// Whether the package is not released.
    pub is_draft: bool,
    /// What the package says about failures of its steps.
    pub on_failure: Option<OnFailure>,
}

/// The resources of a plug-in as they are to be stored.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Name of the plug-in.
    pub plugin: &'static str,
    /// Its package; none if it is built in.
    pub package: Option<PathBuf>,
    /// The resources, in the order in which they are stored.
    pub resources: Vec<Published>,
}

/// A resource of a plug-in.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its file.
    pub file: String,
    /// The resource; its status is that of the state.
    pub resource: Resource,
    /// The highest state of the processes that need it.
    pub state: ProcessState,
}

/// What is installed.
#[derive(Clone, Default)]
pub struct Catalogue {
    pub(crate) definitions: Definitions,
    pub(crate) implementations: Implementations,
    origins: BTreeMap<(String, String), Origin>,
    resources: Vec<PluginResources>,
    refused: Vec<Refused>,
}

/// The resources of one plug-in, each with the processes that need it.
#[derive(Clone)]
struct PluginResources {
    plugin: &'static str,
    package: Option<PathBuf>,
    assigned: Vec<Assigned>,
}

// === impl Refused ===

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.source.display())?;
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        f.write_str(&self.reason)
    }
}

// === impl Catalogue ===

impl Catalogue {
    /// The built-in plug-ins, all of which must be complete.
    pub(crate) fn built_in(plugins: &[Plugin], node: &LocalNode) -> Result<Self, PluginError> {
        let mut catalogue = Self { implementations: Implementations::standard(), ..Self::default() };
        plugins.iter().for_each(|plugin| catalogue.implementations.extend(&plugin.implementations));
        for plugin in plugins {
            let mut own: Vec<Arc<Definition>> = Vec::new();
            for definition in plugin.definitions_with(&catalogue.implementations)? {
                let is_twice = own.iter().any(|other| other.name() == definition.name());
                if is_twice || catalogue.definitions.installed(&definition.key, &definition.version).is_some() {
                    let (key, version) = (definition.key, definition.version);
                    return Err(PluginError::Twice { plugin: plugin.name, key, version });
                }
                own.push(Arc::new(definition));
            }
            let resources = plugin.named_resources(&node.organization_identifier)?;
            catalogue.add_resources(plugin.name, None, resources, &own);
            for definition in own {
                let origin = Origin {
                    package: None,
                    plugin: plugin.name,
                    plugin_version: plugin.version.to_owned(),
                    file: None,
                    is_draft: false,
                    on_failure: None,
                };
                catalogue.install(definition, origin);
            }
        }
        Ok(catalogue)
    }

    /// This catalogue, of the built-in plug-ins, with the packages of a folder.
    #[must_use]
    pub fn with(&self, found: &Found, node: &LocalNode) -> Self {
        let mut all = self.clone();
        all.refused = found.refused.clone();
        // What a package binds is for classes that nobody here implements; it cannot take over those of others.
        found.packages.iter().for_each(|package| all.implementations.bind_missing(&package.plugin.implementations));
        let mut judged = Vec::new();
        for package in &found.packages {
            match package.plugin.named_resources(&node.organization_identifier) {
                Ok(resources) => {
                    let models = all.judge(package, &resources);
                    let is_known = |key: &&String| models.iter().any(|(_, definition)| definition.key == **key);
                    // A model that is refused may be the one.
                    let is_whole = models.len() == package.files.len();
                    match package.on_failure.keys().find(|key| is_whole && !is_known(key)) {
                        Some(key) => {
                            let reason = format!("[process.{key}] of plugin.toml names no process of the package");
                            all.refuse_package(&package.source, Some("plugin.toml".to_owned()), &reason);
                        }
                        None => judged.push((package, resources, models)),
                    }
                }
                Err(error) => all.refuse_package(&package.source, error.file().map(str::to_owned), &error),
            }
        }
        // A process that two of them bring is taken from neither, as in the reference.
        let mut names: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (_, definition) in judged.iter().flat_map(|(_, _, models)| models) {
            *names.entry(definition.name()).or_default() += 1;
        }
        for (package, resources, models) in judged {
            let mut own = Vec::new();
            for (file, definition) in models {
                let name = definition.name();
                let is_twice = names.get(&name).is_some_and(|count| *count > 1);
                if is_twice || self.definitions.installed(&name.0, &name.1).is_some() {
                    let reason = format!("process {}|{} is there more than once", name.0, name.1);
                    all.refuse_model(package, &file, reason);
                    continue;
                }
                own.push(Arc::clone(&definition));
                let origin = Origin {
                    package: Some(package.source.clone()),
                    plugin: package.plugin.name,
                    plugin_version: package.version.clone(),
                    file: Some(file),
                    is_draft: package.is_draft,
                    on_failure: package.on_failure.get(&definition.key).copied(),
                };
                all.install(definition, origin);
            }
            all.add_resources(package.plugin.name, Some(package.source.clone()), resources, &own);
        }
        all
    }

    /// The usable models of a package; the others are refused.
    fn judge(&mut self, package: &Package, resources: &[(&str, Resource)]) -> Vec<(String, Arc<Definition>)> {
        let mut usable = Vec::new();
        for (text, file) in package.plugin.models.iter().zip(&package.files) {
            let definition = package.plugin.definition(text, &self.implementations).map_err(|error| error.to_string());
            match definition.and_then(|definition| check(package, resources, &definition).map(|()| definition)) {
                Ok(definition) => usable.push((file.clone(), Arc::new(definition))),
                Err(reason) => self.refuse_model(package, file, reason),
            }
        }
        usable
    }

    fn install(&mut self, definition: Arc<Definition>, origin: Origin) {
        self.origins.insert(definition.name(), origin);
        self.definitions.install(definition);
    }

    fn add_resources(
        &mut self,
        plugin: &'static str,
        package: Option<PathBuf>,
        resources: Vec<(&str, Resource)>,
        own: &[Arc<Definition>],
    ) {
        let assigned = assignment::assign(resources, own);
        self.resources.push(PluginResources { plugin, package, assigned });
    }

    fn refuse_model(&mut self, package: &Package, file: &str, reason: String) {
        let (source, file) = (package.source.clone(), Some(file.to_owned()));
        self.refused.push(Refused { source, file, whole: false, reason });
    }

    fn refuse_package(&mut self, source: &Path, file: Option<String>, reason: &dyn std::fmt::Display) {
        self.refused.push(Refused { source: source.to_owned(), file, whole: true, reason: reason.to_string() });
    }

    /// Leaves out a package whose resources were refused, with all its processes.
    pub fn refuse(&mut self, source: &Path, file: Option<String>, reason: &str) {
        let of_it: Vec<(String, String)> = self
            .origins
            .iter()
            .filter(|(_, origin)| origin.package.as_deref() == Some(source))
            .map(|(name, _)| name.clone())
            .collect();
        for name in of_it {
            self.origins.remove(&name);
            self.definitions.remove(&name.0, &name.1);
        }
        self.resources.retain(|resources| resources.package.as_deref() != Some(source));
        self.refuse_package(source, file, &reason);
    }

    /// What is left out, and why.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Installed processes.
    #[must_use]
    pub fn installed(&self) -> Vec<Arc<Definition>> {
        self.definitions.all_installed().cloned().collect()
    }

    /// Where a process came from.
    #[must_use]
    pub fn origin(&self, key: &str, version: &str) -> Option<&Origin> {
        self.origins.get(&(key.to_owned(), version.to_owned()))
    }

    /// The topic under which workers do what a class names.
    #[must_use]
    pub fn topic_of(&self, class: &str) -> Option<&'static str> {
        self.implementations.topics.get(class).copied()
    }

    /// Whether a package of the folder is left out as a whole: a class that nobody implements may be one of its own.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.refused.iter().any(|refused| refused.whole)
    }

    /// The resources as they are to be stored. `ordered` is what operators have ordered; resources that no installed
    /// process needs are not stored.
    #[must_use]
    pub fn publications(&self, ordered: &BTreeMap<(String, String), ProcessState>) -> Vec<Publication> {
        let state = |name: &(String, String)| {
            let own = match self.origins.get(name).is_some_and(|origin| origin.is_draft) {
                true => ProcessState::Draft,
                false => ProcessState::Active,
            };
            ordered.get(name).copied().unwrap_or(own)
        };
        let publication = |resources: &PluginResources| {
            let published = resources.assigned.iter().filter_map(|assigned| {
                let state = assigned.processes.iter().map(state).max()?;
                let mut resource = assigned.resource.clone();
                // Metadata resources come with status unknown and get that of their process; a draft Task stays a draft.
                if resource.type_name() != "Task" && resource.str("status").is_some() {
                    let status = if state == ProcessState::Excluded { "retired" } else { state.as_str() };
                    resource.set("status", status);
                }
                Some(Published { file: assigned.file.clone(), resource, state })
            });
            Publication { plugin: resources.plugin, package: resources.package.clone(), resources: published.collect() }
        };
        self.resources.iter().map(publication).collect()
    }
}

/// What a package must keep beyond what the engine can run (`process-engine.md` 1.8, 1.9).
fn check(package: &Package, resources: &[(&str, Resource)], definition: &Definition) -> Result<(), String> {
    let (key, version) = (&definition.key, &definition.version);
    if version != package.plugin.version {
        return Err(format!(
            "process {key} has the version tag {version}, the plug-in is of version {}; write #{{version}}",
            package.plugin.version
        ));
    }
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !key.split_once('_').is_some_and(|(domain, name)| is_word(domain) && is_word(name)) {
        return Err(format!("process id {key} is not of the form domain_name, such as exampleorg_hello"));
    }
    let own = resources.iter().filter(|(_, resource)| assignment::is_definition_of(resource, key)).count();
    if own > 1 {
        return Err(format!("process {key} has {own} ActivityDefinitions, but one is needed"));
    }
    let nodes = definition.process().into_iter().flat_map(bpmn::Process::implementations);
    match nodes.filter(|(_, kind)| !package.binds(kind)).find_map(missing_field) {
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

/// What sends a message says where and what (`process-engine.md` 2.2).
fn missing_field((node, implementation): (&bpmn::model::Node, &Implementation)) -> Option<String> {
    let Implementation::Class { fields, .. } = implementation else { return None };
    if matches!(node.kind, NodeKind::ServiceTask(_)) {
        return None;
    }
    let is_blank = |value: &FieldValue| matches!(value, FieldValue::Literal(text) if text.trim().is_empty());
    let is_given = |name: &str| fields.iter().any(|field| field.name == name && !is_blank(&field.value));
    let missing = ["instantiatesCanonical", "messageName", "profile"].into_iter().find(|name| !is_given(name))?;
    Some(format!("element {} sends a message and has no field {missing}", node.id))
}
