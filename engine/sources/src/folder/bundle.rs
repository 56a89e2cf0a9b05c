//! JSON files: a Bundle or one resource, taken apart into resources that stand on their own.
//!
//! Entries refer to each other by `fullUrl` or by a search for an identifier; both become `Type/id`.

use std::collections::HashMap;

use fhir::{Limits, Object, Resource, Value};

use crate::limits;

/// A resource of the file, or what is wrong with it.
pub(crate) type Entry = Result<Resource, String>;

/// Reads the file.
pub(crate) fn resources(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let limits = Limits { bytes: limits::JSON_FILE_BYTES as usize, members: 50_000_000, ..Limits::default() };
    let value = fhir::json::parse_value(bytes, &limits).map_err(|error| error.to_string())?;
    let Value::Object(tree) = value else { return Err("it holds no object".to_owned()) };
    match tree.str("resourceType") {
        Some("Bundle") => Ok(entries(tree)),
        Some(_) => Ok(vec![resource(tree)]),
        None => Err("it holds no resource: resourceType is missing".to_owned()),
    }
}

fn entries(bundle: Object) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut names = Names::default();
    for (index, mut entry) in list(bundle, "entry").into_iter().enumerate() {
        let is_deletion = entry.get("request").is_some_and(|request| request.str("method") == Some("DELETE"));
        let Some(Value::Object(mut tree)) = entry.as_object_mut().and_then(|entry| entry.remove("resource")) else {
            continue;
        };
        if is_deletion {
            continue;
        }
        let full_url = entry.str("fullUrl").unwrap_or_default();
        if tree.str("id").is_none()
            && let Some(uuid) = full_url.strip_prefix("urn:uuid:")
        {
            tree.set("id", uuid);
        }
        names.add(full_url, &tree);
        found.push((index, tree));
    }
    let resolved = found.into_iter().map(|(index, mut tree)| {
        names.resolve(&mut tree);
        match tree.str("resourceType") {
            Some("Bundle") => Err(format!("entry {index} is a Bundle; take it out into a file of its own")),
            _ => resource(tree).map_err(|reason| format!("entry {index}: {reason}")),
        }
    });
    resolved.collect()
}

fn list(object: Object, name: &str) -> Vec<Value> {
    let member = object.into_members().find(|(member, _)| member == name);
    match member {
        Some((_, Value::Array(values))) => values,
        _ => Vec::new(),
    }
}

fn resource(tree: Object) -> Entry {
    Resource::from_tree(tree).map_err(|error| error.to_string())
}

/// What entries of a Bundle are called by others.
#[derive(Default)]
struct Names {
    by_url: HashMap<String, String>,
    by_identifier: HashMap<(String, String, String), String>,
}

impl Names {
    fn add(&mut self, full_url: &str, tree: &Object) {
        let (Some(resource_type), Some(id)) = (tree.str("resourceType"), tree.str("id")) else { return };
        let name = format!("{resource_type}/{id}");
        for identifier in tree.list("identifier") {
            if let (Some(system), Some(value)) = (identifier.str("system"), identifier.str("value")) {
                let key = (resource_type.to_owned(), system.to_owned(), value.to_owned());
                self.by_identifier.insert(key, name.clone());
            }
        }
        if !full_url.is_empty() {
            self.by_url.insert(full_url.to_owned(), name);
        }
    }

    fn resolve(&self, object: &mut Object) {
        let target = object.str("reference").and_then(|reference| self.target(reference)).cloned();
        if let Some(target) = target {
            object.set("reference", target);
        }
        for (_, value) in object.iter_mut() {
            self.resolve_value(value);
        }
    }

    fn resolve_value(&self, value: &mut Value) {
        match value {
            Value::Object(object) => self.resolve(object),
            Value::Array(values) => values.iter_mut().for_each(|value| self.resolve_value(value)),
            _ => {}
        }
    }

    fn target(&self, reference: &str) -> Option<&String> {
        if let Some(name) = self.by_url.get(reference) {
            return Some(name);
        }
        let (resource_type, query) = reference.split_once('?')?;
        let (system, value) = query.strip_prefix("identifier=")?.split_once('|')?;
        self.by_identifier.get(&(resource_type.to_owned(), system.to_owned(), value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::resources;

    #[test]
    fn references_between_entries_are_resolved() {
        let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","identifier":[{"system":"s","value":"v"}]}},
            {"fullUrl":"urn:uuid:2","resource":{"resourceType":"Condition","id":"c","subject":{"reference":"urn:uuid:1"}}},
            {"resource":{"resourceType":"Condition","id":"d","subject":{"reference":"Patient?identifier=s|v"}}},
            {"request":{"method":"DELETE","url":"Patient/9"}}]}"#;
        let found: Vec<_> = resources(bundle.as_bytes()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].id(), Some("1"));
        for condition in &found[1..] {
            assert_eq!(condition.get("subject").and_then(|subject| subject.str("reference")), Some("Patient/1"));
        }
    }

    #[test]
    fn a_file_that_is_neither_bundle_nor_resource_is_refused() {
        for text in ["", "[]", "{}", "{\"resourceType\":", "null"] {
            assert!(resources(text.as_bytes()).is_err(), "{text}");
        }
        let nested = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Bundle"}}]}"#;
        assert!(resources(nested.as_bytes()).unwrap()[0].is_err());
    }
}
