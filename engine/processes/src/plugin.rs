//! Plug-ins: processes with the FHIR resources that they need and the steps that they name.
//!
//! The resources come in the form of DSF plug-ins, FHIR XML with the placeholders `#{version}`, `#{date}` and
//! `#{organization}`; [`Plugin::resources`] replaces them, parses and sets the status, and the engine stores the result
//! through the endpoint as any other resource. An error in a plug-in is an error at start, never a half-loaded process.

mod archive;
pub(crate) mod assignment;
mod bindings;
pub mod package;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir::{Format, Limits, Resource};

use crate::definition::{Definition, DefinitionError};
use crate::step::{Listener, SendStep, ServiceStep, WorkStep};
use crate::user_task::{DEFAULT_LISTENERS, DefaultListener, UserTaskListener};
pub use bindings::Misbound;

/// A plug-in.
pub struct Plugin {
    /// Name, for texts.
    pub name: &'static str,
    /// Resource version of its processes, `1.0`.
    pub version: &'static str,
    /// Release date, `2023-09-12`.
    pub date: &'static str,
    /// BPMN texts.
    pub models: Vec<&'static str>,
    /// FHIR texts, XML or JSON by the end of their file name, in the order in which they are stored.
    pub resources: Vec<(&'static str, &'static str)>,
    /// Implementations by class name.
    pub implementations: Implementations,
}

/// Implementations by class name.
#[derive(Clone, Default)]
pub struct Implementations {
    pub(crate) services: BTreeMap<&'static str, Arc<dyn ServiceStep>>,
    pub(crate) works: BTreeMap<&'static str, Arc<dyn WorkStep>>,
    pub(crate) sends: BTreeMap<&'static str, Arc<dyn SendStep>>,
    pub(crate) listeners: BTreeMap<&'static str, Arc<dyn Listener>>,
    pub(crate) user_tasks: BTreeMap<&'static str, Arc<dyn UserTaskListener>>,
    /// Topics under which workers do what a class names.
    pub(crate) topics: BTreeMap<&'static str, &'static str>,
}

/// Why a plug-in cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A model is not usable.
    #[error("plug-in {plugin}: {source}")]
    Model {
        /// Name of the plug-in.
        plugin: &'static str,
        /// Cause.
        #[source]
        source: DefinitionError,
    },
    /// A resource cannot be read.
    #[error("plug-in {plugin}: {file}: {source}")]
    Resource {
        /// Name of the plug-in.
        plugin: &'static str,
        /// File.
        file: &'static str,
        /// Cause.
        #[source]
        source: fhir::ParseError,
    },
    /// A model names classes that nobody implements, or that are for something else.
    #[error("plug-in {plugin}: {}", join(.found))]
    Misbound {
        /// Name of the plug-in.
        plugin: &'static str,
        /// Each with its element and line.
        found: Vec<Misbound>,
    },
    /// A model has a user task that nobody could answer.
    #[error("plug-in {plugin}: element {element} is a user task without a form (camunda:formKey)")]
    UserTask {
        /// Name of the plug-in.
        plugin: &'static str,
        /// Element.
        element: String,
    },
    /// Two models are of the same process and version.
    #[error("plug-in {plugin}: process {key}|{version} is there twice")]
    Twice {
        /// Name of the plug-in that came second.
        plugin: &'static str,
        /// Process.
        key: String,
        /// Version tag.
        version: String,
    },
}

fn join(found: &[Misbound]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

// === impl PluginError ===

impl PluginError {
    /// The file that is wrong, where it is one.
    pub(crate) const fn file(&self) -> Option<&'static str> {
        match self {
            Self::Resource { file, .. } => Some(file),
            _ => None,
        }
    }
}

// === impl Plugin ===

impl Plugin {
    /// The definitions of its processes, each checked for implementations.
    pub fn definitions(&self) -> Result<Vec<Definition>, PluginError> {
        self.definitions_with(&self.implementations)
    }

    /// As [`Self::definitions`], with the implementations of other plug-ins too.
    pub(crate) fn definitions_with(&self, all: &Implementations) -> Result<Vec<Definition>, PluginError> {
        self.models.iter().map(|text| self.definition(text, all)).collect()
    }

    pub(crate) fn definition(&self, text: &str, all: &Implementations) -> Result<Definition, PluginError> {
        let xml = self.replace(text, "");
        let definition =
            Definition::parse(xml.as_bytes()).map_err(|source| PluginError::Model { plugin: self.name, source })?;
        let mut nodes = definition.process().into_iter().flat_map(|process| process.nodes.values());
        let formless = |node: &&bpmn::model::Node| matches!(&node.kind, bpmn::model::NodeKind::UserTask(task) if task.form_key.is_none());
        if let Some(node) = nodes.find(formless) {
            return Err(PluginError::UserTask { plugin: self.name, element: node.id.to_string() });
        }
        let found: Vec<Misbound> =
            definition.process().into_iter().flat_map(|process| bindings::misbound(process, all)).collect();
        if !found.is_empty() {
            return Err(PluginError::Misbound { plugin: self.name, found });
        }
        Ok(definition)
    }

    /// The resources as a node of this organisation stores them.
    pub fn resources(&self, organization: &str) -> Result<Vec<Resource>, PluginError> {
        Ok(self.named_resources(organization)?.into_iter().map(|(_, resource)| resource).collect())
    }

    /// The same, each with its file.
    pub(crate) fn named_resources(&self, organization: &str) -> Result<Vec<(&'static str, Resource)>, PluginError> {
        let resources = self.resources.iter();
        resources.map(|(file, text)| Ok((*file, self.resource(file, text, organization)?))).collect()
    }

    fn resource(&self, file: &'static str, text: &str, organization: &str) -> Result<Resource, PluginError> {
        let xml = self.replace(text, organization);
        let format = if file.ends_with(".json") { Format::Json } else { Format::Xml };
        let mut resource = fhir::parse(format, xml.as_bytes(), &Limits::default())
            .map_err(|source| PluginError::Resource { plugin: self.name, file, source })?;
        // Metadata resources come with status unknown and get that of their process; a draft Task stays a draft.
        if resource.type_name() != "Task" && resource.str("status").is_some() {
            resource.set("status", "active");
        }
        Ok(resource)
    }

    fn replace(&self, text: &str, organization: &str) -> String {
        let organization = organization.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        text.replace("#{version}", self.version).replace("#{date}", self.date).replace("#{organization}", &organization)
    }
}

// === impl Implementations ===

impl Implementations {
    /// Adds a service step.
    #[must_use]
    pub fn with_service(mut self, class: &'static str, step: impl ServiceStep + 'static) -> Self {
        self.services.insert(class, Arc::new(step));
        self
    }

    /// Adds a service step whose work is done outside of transactions.
    #[must_use]
    pub fn with_work(mut self, class: &'static str, step: impl WorkStep + 'static) -> Self {
        self.works.insert(class, Arc::new(step));
        self
    }

    /// Adds a send step.
    #[must_use]
    pub fn with_send(mut self, class: &'static str, step: impl SendStep + 'static) -> Self {
        self.sends.insert(class, Arc::new(step));
        self
    }

    /// Adds a listener.
    #[must_use]
    pub fn with_listener(mut self, class: &'static str, listener: impl Listener + 'static) -> Self {
        self.listeners.insert(class, Arc::new(listener));
        self
    }

    /// Adds a listener that takes part in the creation of user tasks.
    #[must_use]
    pub fn with_user_task(mut self, class: &'static str, listener: impl UserTaskListener + 'static) -> Self {
        self.user_tasks.insert(class, Arc::new(listener));
        self
    }

    /// Has workers that fetch the topic do what the class names.
    #[must_use]
    pub fn with_topic(mut self, class: &'static str, topic: &'static str) -> Self {
        self.topics.insert(class, topic);
        self
    }

    /// The classes that are implemented here.
    fn classes(&self) -> impl Iterator<Item = &'static str> {
        let steps = self.services.keys().chain(self.works.keys()).chain(self.sends.keys());
        let listeners = self.listeners.keys().chain(self.user_tasks.keys());
        steps.chain(listeners).chain(self.topics.keys()).copied()
    }

    fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.services.retain(|class, _| keeps(class));
        self.works.retain(|class, _| keeps(class));
        self.sends.retain(|class, _| keeps(class));
        self.listeners.retain(|class, _| keeps(class));
        self.user_tasks.retain(|class, _| keeps(class));
        self.topics.retain(|class, _| keeps(class));
    }

    /// Takes over what another plug-in binds for classes that have no implementation.
    pub(crate) fn bind_missing(&mut self, other: &Self) {
        let missing: BTreeSet<&str> = other.classes().filter(|class| !self.has(class)).collect();
        let mut bound = other.clone();
        bound.retain(|class| missing.contains(class));
        self.extend(&bound);
    }

    /// Those that DSF itself brings.
    pub(crate) fn standard() -> Self {
        DEFAULT_LISTENERS.into_iter().fold(Self::default(), |all, class| all.with_user_task(class, DefaultListener))
    }

    /// Adds all of another plug-in.
    pub fn extend(&mut self, other: &Self) {
        self.services.extend(other.services.iter().map(|(class, step)| (*class, Arc::clone(step))));
        self.works.extend(other.works.iter().map(|(class, step)| (*class, Arc::clone(step))));
        self.sends.extend(other.sends.iter().map(|(class, step)| (*class, Arc::clone(step))));
        self.listeners.extend(other.listeners.iter().map(|(class, listener)| (*class, Arc::clone(listener))));
        self.topics.extend(&other.topics);
        self.user_tasks.extend(other.user_tasks.iter().map(|(class, listener)| (*class, Arc::clone(listener))));
    }

    fn has(&self, class: &str) -> bool {
        self.services.contains_key(class)
            || self.works.contains_key(class)
            || self.sends.contains_key(class)
            || self.listeners.contains_key(class)
            || self.user_tasks.contains_key(class)
            || self.topics.contains_key(class)
            || DEFAULT_LISTENERS.contains(&class)
    }
}
