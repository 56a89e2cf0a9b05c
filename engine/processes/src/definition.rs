//! Definitions: the models of installed processes, and of those that running instances still need.
//!
//! A definition is identified by the digest of its BPMN text and never changes. Messages look for running instances by
//! process key and version tag across definitions (`process-engine.md` 0.6); new instances start with the installed one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpmn::Model;
use sha2::{Digest as _, Sha256};

use crate::retention;

/// A model with its identity.
#[derive(Debug)]
pub struct Definition {
    /// SHA-256 of the BPMN text, hex.
    pub digest: String,
    /// BPMN process id.
    pub key: String,
    /// Version tag.
    pub version: String,
    /// The BPMN text.
    pub xml: Vec<u8>,
    /// The model.
    pub model: Model,
    /// How long an ended instance is kept.
    pub retention: Option<time::Duration>,
}

/// Why a BPMN text is no usable definition.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It cannot be read or uses what is not executed; each with element and line.
    #[error("{}", join(.0))]
    Model(Vec<bpmn::ModelError>),
    /// It has not exactly one executable process.
    #[error("the model must have exactly one executable process")]
    OneProcess,
    /// The process has no version tag.
    #[error("process {0} has no camunda:versionTag")]
    NoVersion(String),
    /// How long instances are kept is not understood.
    #[error("camunda:historyTimeToLive {0:?} is no number of days such as 180 or P30D")]
    TimeToLive(String),
}

/// Definitions by process and by digest.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    by_process: BTreeMap<(String, String), Arc<Definition>>,
    by_digest: BTreeMap<String, Arc<Definition>>,
}

// === impl Definition ===

impl Definition {
    /// Reads a BPMN text.
    pub fn parse(xml: &[u8]) -> Result<Self, DefinitionError> {
        let model = Model::parse(xml).map_err(DefinitionError::Model)?;
        let mut executable = model.processes.iter().filter(|process| process.is_executable);
        let (Some(process), None) = (executable.next(), executable.next()) else {
            return Err(DefinitionError::OneProcess);
        };
        let key = process.id.to_string();
        let version = process.version_tag.clone().ok_or_else(|| DefinitionError::NoVersion(key.clone()))?;
        let digest = Sha256::digest(xml).iter().map(|byte| format!("{byte:02x}")).collect();
        let retention = match process.history_time_to_live.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Some(retention::parse(text).ok_or_else(|| DefinitionError::TimeToLive(text.to_owned()))?),
            None => None,
        };
        Ok(Self { digest, key, version, xml: xml.to_vec(), model, retention })
    }

    /// Key and version tag.
    #[must_use]
    pub fn name(&self) -> (String, String) {
        (self.key.clone(), self.version.clone())
    }

    /// The process of the model.
    #[must_use]
    pub fn process(&self) -> Option<&bpmn::Process> {
        self.model.process(&self.key)
    }
}

// === impl Definitions ===

impl Definitions {
    /// Installs a definition: new instances of its process and version start with it.
    pub fn install(&mut self, definition: Arc<Definition>) {
        self.keep(Arc::clone(&definition));
        self.by_process.insert((definition.key.clone(), definition.version.clone()), definition);
    }

    /// New instances of the process do not start any more; those that run keep their definition.
    pub fn remove(&mut self, key: &str, version: &str) {
        self.by_process.remove(&(key.to_owned(), version.to_owned()));
    }

    /// Keeps what another catalogue knows for instances that run it.
    pub fn keep_all(&mut self, other: &Self) {
        for (digest, definition) in &other.by_digest {
            self.by_digest.entry(digest.clone()).or_insert_with(|| Arc::clone(definition));
        }
    }

    /// Keeps a definition for instances that already run it.
    pub fn keep(&mut self, definition: Arc<Definition>) {
        self.by_digest.insert(definition.digest.clone(), definition);
    }

    /// The installed definition of a process.
    #[must_use]
    pub fn installed(&self, key: &str, version: &str) -> Option<&Arc<Definition>> {
        self.by_process.get(&(key.to_owned(), version.to_owned()))
    }

    /// The installed definition of a process with the highest version.
    #[must_use]
    pub fn newest(&self, key: &str) -> Option<&Arc<Definition>> {
        let versions = self.by_process.range((key.to_owned(), String::new())..);
        let versions = versions.take_while(|((found, _), _)| found == key);
        versions.map(|(_, definition)| definition).max_by_key(|definition| version_number(&definition.version))
    }

    /// The newest version of every installed process.
    pub fn all_newest(&self) -> impl Iterator<Item = &Arc<Definition>> {
        let keys: std::collections::BTreeSet<&str> = self.by_process.keys().map(|(key, _)| key.as_str()).collect();
        keys.into_iter().filter_map(|key| self.newest(key))
    }

    /// Every installed definition.
    pub fn all_installed(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_process.values()
    }

    /// The definition with this digest.
    #[must_use]
    pub fn by_digest(&self, digest: &str) -> Option<&Arc<Definition>> {
        self.by_digest.get(digest)
    }
}

/// `1.10` is newer than `1.9`; what is no number comes first.
fn version_number(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn join(errors: &[bpmn::ModelError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
