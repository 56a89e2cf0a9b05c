//! Reading and writing of Tasks as processes see them: inputs, the process that they name, status and outputs.
//!
//! A Task has been validated when it gets here; every function still answers for a Task of any shape.

use fhir::{Object, Resource, ResourceType, Value};
use store::{StoreError, StoredResource, Transaction};

use crate::limits;
use crate::terms;

/// Which process a Task is for: `http://example.org/bpe/Process/name|1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessName {
    /// BPMN process id: the domain without its dots, `_`, the name (`dsfdev_ping`).
    pub key: String,
    /// Version tag, `1.0`.
    pub version: String,
}

// === impl ProcessName ===

impl ProcessName {
    /// Reads `instantiatesCanonical` (DSF: `http[s]?://{domain}/bpe/Process/{name}|{d+.d+}`).
    #[must_use]
    pub fn parse(canonical: &str) -> Option<Self> {
        let rest = canonical.strip_prefix("http://").or_else(|| canonical.strip_prefix("https://"))?;
        let (domain, rest) = rest.split_once("/bpe/Process/")?;
        let (name, version) = rest.split_once('|')?;
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = version.split_once('.')?;
        let usable = domain.contains('.')
            && domain.split('.').all(is_word)
            && is_word(name)
            && is_number(major)
            && is_number(minor);
        usable.then(|| Self { key: format!("{}_{name}", domain.replace('.', "")), version: version.to_owned() })
    }
}

/// The first string input with this code of [`terms::BPMN_MESSAGE`].
#[must_use]
pub fn message_input<'t>(task: &'t Resource, code: &str) -> Option<&'t str> {
    string_input(task, terms::BPMN_MESSAGE, code)
}

/// The first string input with this system and code.
#[must_use]
pub fn string_input<'t>(task: &'t Resource, system: &str, code: &str) -> Option<&'t str> {
    input(task, system, code)?.str("valueString").filter(|text| !text.is_empty())
}

/// The first input with this system and code; a version of the coding does not matter, as in DSF's API v1.
#[must_use]
pub fn input<'t>(task: &'t Resource, system: &str, code: &str) -> Option<&'t Value> {
    task.list("input").iter().find(|input| is_typed(input, system, code))
}

fn is_typed(parameter: &Value, system: &str, code: &str) -> bool {
    let codings = parameter.get("type").map_or(&[][..], |kind| kind.list("coding"));
    codings.iter().any(|coding| coding.str("system") == Some(system) && coding.str("code") == Some(code))
}

/// `type` of an input or output.
#[must_use]
pub fn parameter(system: &str, code: &str) -> Object {
    let coding = Object::new().with("system", system).with("code", code);
    Object::new().with("type", Object::new().with("coding", vec![coding.into()]))
}

/// A string parameter.
#[must_use]
pub fn string_parameter(system: &str, code: &str, value: &str) -> Object {
    parameter(system, code).with("valueString", value)
}

/// `Reference` to an organisation by its identifier.
#[must_use]
pub fn organization_reference(identifier: &str) -> Object {
    let identifier = Object::new().with("system", terms::ORGANIZATION_IDENTIFIER).with("value", identifier);
    Object::new().with("type", "Organization").with("identifier", identifier)
}

/// The error output of a failed Task, cut to a bounded length.
#[must_use]
pub fn error_output(reason: &str) -> Object {
    let reason: String = reason.chars().take(limits::ERROR_TEXT).collect();
    string_parameter(terms::BPMN_MESSAGE, terms::ERROR, &reason)
}

/// The stored Task.
pub fn read(tx: &mut Transaction<'_>, id: &str) -> Result<Option<Resource>, StoreError> {
    Ok(tx.read(ResourceType::Task, id)?.current().map(|stored| (*stored.resource).clone()))
}

/// Writes the next version of a Task.
pub fn write(tx: &mut Transaction<'_>, task: Resource) -> Result<StoredResource, StoreError> {
    let id = task.id().unwrap_or_default().to_owned();
    tx.update(task, &id, None)
}

#[cfg(test)]
mod tests {
    use super::ProcessName;

    #[test]
    fn a_canonical_names_process_and_version() {
        let name = ProcessName::parse("http://dsf.dev/bpe/Process/ping|1.0").unwrap();
        assert_eq!((name.key.as_str(), name.version.as_str()), ("dsfdev_ping", "1.0"));
        let name = ProcessName::parse("https://medizininformatik-initiative.de/bpe/Process/dataSend|12.34").unwrap();
        assert_eq!(name.key, "medizininformatik-initiativede_dataSend");
    }

    #[test]
    fn other_canonicals_name_nothing() {
        let refused = [
            "",
            "ping|1.0",
            "http://dsf.dev/bpe/Process/ping",
            "http://dsf.dev/bpe/Process/ping|1",
            "http://dsf.dev/bpe/Process/|1.0",
            "http://dsf.dev/bpe/Process/ping|1.0.0",
            "http://dsfdev/bpe/Process/ping|1.0",
            "ftp://dsf.dev/bpe/Process/ping|1.0",
            "http://dsf..dev/bpe/Process/ping|1.0",
            "http://dsf.dev/bpe/Process/pi ng|1.0",
            "http://dsf.dev/bpe/Process/ping|1.x",
        ];
        for text in refused {
            assert_eq!(ProcessName::parse(text), None, "{text:?}");
        }
    }
}
