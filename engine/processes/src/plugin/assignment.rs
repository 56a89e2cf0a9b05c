//! Which process needs which resource of a plug-in. A jar says so in its Java part, which is not read; the resources say
//! it themselves: from the ActivityDefinition of a process, and from its model, references lead to everything it needs.
//!
//! A resource to which no reference leads belongs to every process of the plug-in. One that only processes need which are
//! left out belongs to none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir::{Format, Resource};

use crate::definition::Definition;
use crate::task::ProcessName;

/// A resource with the installed processes that need it, `(key, version)`.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    pub(crate) file: String,
    pub(crate) resource: Resource,
    pub(crate) processes: BTreeSet<(String, String)>,
}

/// Assigns the resources of a plug-in to those of its processes that are installed.
pub(crate) fn assign(resources: Vec<(&str, Resource)>, installed: &[Arc<Definition>]) -> Vec<Assigned> {
    let texts: Vec<String> = resources.iter().map(|(_, resource)| fhir::print(Format::Json, resource, false)).collect();
    let names: Vec<Option<&str>> = resources.iter().map(|(_, resource)| resource.str("url")).collect();
    let models: BTreeMap<&str, String> = installed
        .iter()
        .map(|definition| (definition.key.as_str(), String::from_utf8_lossy(&definition.xml).into_owned()))
        .collect();
    let mut keys: BTreeSet<String> = models.keys().map(|key| (*key).to_owned()).collect();
    keys.extend(resources.iter().filter_map(|(_, resource)| process_of(resource)));
    let mut needed: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); resources.len()];
    for key in &keys {
        let is_seed = |index: usize, resource: &Resource| {
            let in_model = || {
                let (model, url) = (models.get(key.as_str())?, names.get(index).copied().flatten()?);
                Some(names_it(model, url))
            };
            process_of(resource).as_ref() == Some(key) || in_model() == Some(true)
        };
        let seeds = resources.iter().enumerate().filter(|(index, (_, resource))| is_seed(*index, resource));
        let mut open: Vec<usize> = seeds.map(|(index, _)| index).collect();
        while let Some(index) = open.pop() {
            let is_new = needed.get_mut(index).is_some_and(|own| own.insert(key));
            let Some(text) = texts.get(index).filter(|_| is_new) else { continue };
            let referred = names.iter().enumerate().filter(|(_, url)| url.is_some_and(|url| names_it(text, url)));
            open.extend(referred.map(|(index, _)| index));
        }
    }
    let all: BTreeSet<(String, String)> = installed.iter().map(|definition| definition.name()).collect();
    let assigned = resources.into_iter().zip(needed).map(|((file, resource), needed)| {
        let of_it = all.iter().filter(|(key, _)| needed.is_empty() || needed.contains(key.as_str()));
        Assigned { file: file.to_owned(), processes: of_it.cloned().collect(), resource }
    });
    assigned.collect()
}

/// Whether the resource is the ActivityDefinition of the process.
pub(crate) fn is_definition_of(resource: &Resource, key: &str) -> bool {
    resource.type_name() == "ActivityDefinition" && process_of(resource).as_deref() == Some(key)
}

/// The process that an ActivityDefinition defines or a draft Task starts.
fn process_of(resource: &Resource) -> Option<String> {
    let canonical = match resource.type_name() {
        "ActivityDefinition" => format!("{}|{}", resource.str("url")?, resource.str("version")?),
        "Task" => resource.str("instantiatesCanonical")?.to_owned(),
        _ => return None,
    };
    ProcessName::parse(&canonical).map(|name| name.key)
}

/// Whether the text holds the URL, and not only the beginning of a longer one.
fn names_it(text: &str, url: &str) -> bool {
    let ends = text.match_indices(url).filter_map(|(at, _)| text.get(at + url.len()..));
    ends.into_iter().any(|rest| {
        let next = rest.chars().next();
        next.is_none_or(|next| !next.is_ascii_alphanumeric() && !matches!(next, '-' | '_' | '.' | '/'))
    })
}
