//! What a reference may point to, as far as the reference itself tells.

use super::{IssueCode, Validator};
use crate::Value;
use crate::definitions::definitions;

impl Validator<'_> {
    /// Checks that the type that the reference names, in its literal or in `type`, is one of `allowed`.
    ///
    /// Where the target is stored, and what profile it has, is the endpoint's matter (`fhir-api.md` 4.1).
    pub(super) fn reference_target(&mut self, reference: &Value, allowed: &[&str]) {
        if allowed.is_empty() || allowed.contains(&"Resource") {
            return;
        }
        let named = reference.str("type").map(|name| name.rsplit('/').next().unwrap_or(name));
        let literal = reference.str("reference").and_then(literal_type);
        if let (Some(named), Some(literal)) = (named, literal)
            && named != literal
        {
            self.findings.error(IssueCode::Value, format!("says type {named} and points to {literal}"));
        }
        for type_name in [named, literal].into_iter().flatten() {
            if !allowed.contains(&type_name) {
                self.findings
                    .error(IssueCode::Value, format!("points to {type_name}, allowed is {}", allowed.join(", ")));
                return;
            }
        }
    }
}

/// The resource type of `Type/id`, `base/Type/id`, both with `/_history/v`, and `Type?query`; none for other references.
fn literal_type(reference: &str) -> Option<&str> {
    if reference.starts_with('#') || reference.starts_with("urn:") {
        return None;
    }
    if let Some((path, _)) = reference.split_once('?') {
        return path.rsplit('/').next().filter(|name| definitions().resource(name).is_some());
    }
    let mut parts = reference.rsplit('/');
    let (last, before) = (parts.next()?, parts.next()?);
    if before == "_history" {
        let _ = last;
        let (_id, type_name) = (parts.next()?, parts.next()?);
        return Some(type_name).filter(|name| definitions().resource(name).is_some());
    }
    Some(before).filter(|name| definitions().resource(name).is_some())
}
