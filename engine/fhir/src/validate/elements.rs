//! Elements against the constraints of a profile.

use super::compile::core_type;
use super::equality;
use super::fhirpath::{EvaluationError, Item, Node, Scope};
use super::profile::{CompiledProfile, Constraints, Invariant, ProfileLink, RequiredBinding, TypeConstraint};
use super::terminology::Membership;
use super::{IssueCode, Validator};
use crate::Value;

impl<'a> Validator<'a> {
    /// Checks one element and everything below it.
    pub(super) fn element(&mut self, node: Node<'a>, constraints: &Constraints, profile: &CompiledProfile) {
        if !self.may_go_on() {
            return;
        }
        self.depth += 1;
        for problem in &constraints.problems {
            let text = format!("{} (profile {})", problem.text, profile.url());
            if problem.is_error {
                self.findings.error(IssueCode::NotSupported, text);
            } else {
                self.findings.warning(IssueCode::NotSupported, text);
            }
        }
        self.types(node, &constraints.types, profile);
        self.value(node, constraints, profile);
        for invariant in &constraints.invariants {
            self.invariant(node, invariant);
        }
        for (name, child) in &constraints.children {
            self.children(node, name, child, profile);
        }
        self.depth -= 1;
    }

    /// Checks the child elements of one name: how many there are, slices, and each of them.
    fn children(&mut self, node: Node<'a>, name: &str, constraints: &Constraints, profile: &CompiledProfile) {
        let (stem, found) = match name.strip_suffix("[x]") {
            Some(stem) => (stem, node.choice(stem)),
            None => (name, node.exactly(name)),
        };
        let before = self.findings.enter(stem, None);
        self.count(found.len(), constraints, "", profile);
        self.findings.leave(before);
        let is_list = node.is_list(name);
        for (index, element) in found.iter().enumerate() {
            let before = self.findings.enter(stem, is_list.then_some(index));
            self.element(*element, constraints, profile);
            self.findings.leave(before);
        }
        if !constraints.slices.is_empty() {
            self.slices(stem, &found, is_list, constraints, profile);
        }
    }

    /// Checks how often an element (or slice) occurs.
    pub(super) fn count(&mut self, found: usize, constraints: &Constraints, slice: &str, profile: &CompiledProfile) {
        let of = |text: String| if slice.is_empty() { text } else { format!("slice {slice}: {text}") };
        if u32::try_from(found).unwrap_or(u32::MAX) < constraints.min {
            let text =
                of(format!("at least {} needed, {found} found (profile {})", constraints.min, profile.canonical()));
            self.findings.error(IssueCode::Required, text);
        }
        if let Some(max) = constraints.max.filter(|max| u32::try_from(found).unwrap_or(u32::MAX) > *max) {
            let text = of(format!("at most {max} allowed, {found} found (profile {})", profile.canonical()));
            self.findings.error(IssueCode::Structure, text);
        }
    }

    fn types(&mut self, node: Node<'a>, types: &[TypeConstraint], profile: &CompiledProfile) {
        if types.is_empty() {
            return;
        }
        // Only a choice can have another type than the definition says; names write primitives with a capital.
        let fits = |type_: &&TypeConstraint| match node.type_name {
            Some(actual) if !type_.code.starts_with("http") => type_.code.eq_ignore_ascii_case(actual),
            _ => true,
        };
        let fitting: Vec<_> = types.iter().filter(fits).collect();
        if fitting.is_empty() {
            let allowed: Vec<_> = types.iter().map(|type_| type_.code.as_str()).collect();
            let text = format!(
                "type {} is not allowed, only {} (profile {})",
                node.type_name.unwrap_or_default(),
                allowed.join(", "),
                profile.canonical()
            );
            self.findings.error(IssueCode::Structure, text);
            return;
        }
        let links: Vec<_> = fitting.iter().flat_map(|type_| &type_.profiles).collect();
        if !links.is_empty() && fitting.iter().all(|type_| !type_.profiles.is_empty()) {
            self.one_of(node, &links);
        }
        let targets: Vec<_> = fitting.iter().flat_map(|type_| &type_.targets).collect();
        if !targets.is_empty() && fitting.iter().all(|type_| !type_.targets.is_empty()) {
            self.target(node, &targets);
        }
    }

    /// Checks that one of the profiles holds.
    fn one_of(&mut self, node: Node<'a>, links: &[&ProfileLink]) {
        let mut failed = Vec::new();
        for link in links {
            let Some(profile) = &link.profile else {
                let reason = link.reason.as_deref().unwrap_or("it is not known");
                let mut findings = super::Findings::at(self.findings.path());
                findings.error(IssueCode::NotFound, format!("profile {} cannot be checked: {reason}", link.canonical));
                failed.push(findings);
                continue;
            };
            // Each on its own: what is wrong with one does not matter if another holds.
            let own = super::Findings::at(self.findings.path());
            let outer = std::mem::replace(&mut self.findings, own);
            self.element(node, &profile.root, profile);
            let findings = std::mem::replace(&mut self.findings, outer);
            if findings.has_no_error() {
                self.findings.append(findings);
                return;
            }
            failed.push(findings);
        }
        if failed.len() > 1 {
            let names: Vec<_> = links.iter().map(|link| link.canonical.as_str()).collect();
            self.findings.error(IssueCode::Structure, format!("fits none of the profiles {}", names.join(", ")));
            return;
        }
        for findings in failed {
            self.findings.append(findings);
        }
    }

    fn value(&mut self, node: Node<'a>, constraints: &Constraints, profile: &CompiledProfile) {
        if let Some(fixed) = constraints.fixed.as_ref().filter(|fixed| !equality::same(node.value, fixed)) {
            let text = format!("is not {} (profile {})", shown(fixed), profile.canonical());
            self.findings.error(IssueCode::Value, text);
        }
        if let Some(pattern) = constraints.pattern.as_ref().filter(|pattern| !equality::fits(node.value, pattern)) {
            let text = format!("does not have {} (profile {})", shown(pattern), profile.canonical());
            self.findings.error(IssueCode::Value, text);
        }
        if let (Some(length), Value::String(text)) = (constraints.max_length, node.value)
            && text.chars().count() > length
        {
            self.findings.error(
                IssueCode::TooLong,
                format!("has more than {length} characters (profile {})", profile.canonical()),
            );
        }
        if let Some(binding) = &constraints.binding {
            self.binding(node.value, binding);
        }
    }

    fn binding(&mut self, value: &Value, binding: &RequiredBinding) {
        let Some(codes) = &binding.codes else {
            let text = format!("value set {} is not known, the code was not checked", binding.value_set);
            self.findings.warning(IssueCode::NotFound, text);
            return;
        };
        let coding = |coding: &Value| match coding.str("code") {
            Some(code) => codes.membership(coding.str("system"), coding.str("version"), code),
            None => Membership::Foreign,
        };
        let membership = match value {
            Value::String(code) => codes.membership(None, None, code),
            Value::Object(object) if object.get("coding").is_some() => {
                let codings: Vec<_> = object.list("coding").iter().map(coding).collect();
                let best = codings.iter().find(|found| **found == Membership::Member);
                let unknown = codings.iter().find(|found| matches!(found, Membership::Unknown(_)));
                best.or(unknown).cloned().unwrap_or(Membership::Foreign)
            }
            Value::Object(_) => coding(value),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Membership::Foreign,
        };
        match membership {
            Membership::Member => {}
            Membership::Foreign => {
                let text = format!("has no code of value set {}, which is required", binding.value_set);
                self.findings.error(IssueCode::CodeInvalid, text);
            }
            Membership::Unknown(reason) => {
                let text = format!("the code was not checked against value set {}: {reason}", binding.value_set);
                self.findings.warning(IssueCode::NotSupported, text);
            }
        }
    }

    fn invariant(&mut self, node: Node<'a>, invariant: &Invariant) {
        let not_checked = |reason: &str| format!("invariant {} was not checked: {reason}", invariant.key);
        let expression = match &invariant.expression {
            Ok(expression) => expression,
            Err(reason) => {
                self.findings.warning(IssueCode::NotSupported, not_checked(reason));
                return;
            }
        };
        match expression.holds(self.scope(node)) {
            Ok(true) => {}
            Ok(false) => {
                let text = format!("{} ({})", invariant.human, invariant.key);
                if invariant.is_error {
                    self.findings.error(IssueCode::Invariant, text);
                } else {
                    self.findings.warning(IssueCode::Invariant, text);
                }
            }
            Err(error @ EvaluationError::Unsupported(_)) => {
                self.findings.warning(IssueCode::NotSupported, not_checked(&error.to_string()));
            }
            // Otherwise a large resource would be the way round an invariant.
            Err(error @ EvaluationError::TooCostly(_)) => {
                self.findings.error(IssueCode::TooCostly, not_checked(&error.to_string()));
            }
        }
    }

    pub(super) const fn scope(&self, focus: Node<'a>) -> Scope<'a> {
        Scope { resource: self.resource, root: self.root, focus, budget: self.budget }
    }

    /// Checks where a reference leads. One by identifier alone leads nowhere that could be looked at: its type is held
    /// against R4 and the invariants of the profile, as the reference validator does (`fhir-api` 6.6 lets a practitioner
    /// be the author of an answer although the profile names only organisations as targets).
    fn target(&mut self, node: Node<'a>, targets: &[&super::profile::Target]) {
        if node.value.get("reference").is_none() && node.value.get("identifier").is_some() {
            return;
        }
        // A target profile that is not known could be of any type.
        let mut types = Vec::new();
        for target in targets {
            match target.type_name.as_deref().or_else(|| core_type(&target.canonical)) {
                Some("Resource" | "DomainResource") | None => return,
                Some(type_name) => types.push(type_name),
            }
        }
        self.reference_target(node.value, &types);
    }
}

/// A value in a text: primitives as they are, others by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => "the fixed value".to_owned(),
    }
}

/// Whether one item of a discriminator is the wanted value.
pub(super) fn item_is(item: &Item<'_>, wanted: &Value) -> bool {
    match wanted {
        Value::String(text) => item.text() == Some(text),
        Value::Bool(value) => item.boolean() == Some(*value),
        Value::Number(number) => item.number() == Some(number.as_str()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            item.node().is_some_and(|node| equality::same(node.value, wanted))
        }
    }
}
