//! The structure that R4 says, from the tables: elements, cardinality, primitives, required codes, reference targets,
//! extensions.

use super::compile::Compiler;
use super::fhirpath::Node;
use super::{IssueCode, Validator, primitive};
use crate::definitions::{Binding, BindingStrength, Child, TypeDefinition, TypeKind, ValueSetCodes, definitions};
use crate::{Object, Value};

const MEDIA_TYPES: &str = "http://hl7.org/fhir/ValueSet/mimetypes";

impl<'a> Validator<'a> {
    /// Checks the structure of a resource.
    pub(super) fn structure(&mut self, resource: &'a Object) {
        let name = resource.str("resourceType").unwrap_or_default();
        match definitions().resource(name) {
            Some(definition) => self.object(resource, Node::resource(resource), definition),
            None => self.findings.error(IssueCode::Structure, format!("{name} is no resource type of R4")),
        }
    }

    /// Checks an element with children.
    fn object(&mut self, object: &'a Object, node: Node<'a>, definition: &'static TypeDefinition) {
        if !self.may_go_on() {
            return;
        }
        self.depth += 1;
        let mut names: Vec<Option<&str>> = vec![None; definition.elements().len()];
        for (member, value) in object.iter() {
            if member == "resourceType" && definition.kind == TypeKind::Resource {
                continue;
            }
            self.member(object, member, value, definition, &mut names);
        }
        for (element, name) in definition.elements().iter().zip(&names) {
            if element.min > 0 && name.is_none() {
                let choice = if element.is_choice { "[x]" } else { "" };
                self.findings.error(IssueCode::Required, format!("{}{choice} is missing", element.name));
            }
        }
        // Beside a primitive an id is enough if there is a value; `companion` knows.
        let has_children = object.iter().any(|(member, _)| member != "id");
        if !has_children && matches!(definition.kind, TypeKind::Complex | TypeKind::Backbone) {
            self.no_content();
        }
        if definition.name == "Extension" {
            self.extension(object);
        }
        if definition.is_a("Reference") {
            // An identifier or display alone is fine; what must be resolvable is the endpoint's rule.
            self.contained_reference(object);
        }
        self.type_invariants(node, definition);
        self.depth -= 1;
    }

    fn member<'n>(
        &mut self,
        object: &'a Object,
        member: &'n str,
        value: &'a Value,
        definition: &'static TypeDefinition,
        names: &mut [Option<&'n str>],
    ) {
        let name = member.strip_prefix('_').unwrap_or(member);
        let child = definition.child(name);
        let Some(child) = child.filter(|child| name == member || child.definition.kind == TypeKind::Primitive) else {
            self.findings.error(IssueCode::Structure, format!("{member} is no element of {}", definition.name));
            return;
        };
        if let Some(seen) = names.get_mut(child.position) {
            if seen.is_some_and(|seen| seen != name) {
                self.findings.error(IssueCode::Structure, format!("{}[x] occurs with two types", child.element.name));
            }
            *seen = Some(name);
        }
        if name != member {
            self.companion(object, name, value, &child);
            return;
        }
        match (value, child.element.is_list()) {
            (Value::Array(values), true) => {
                if values.is_empty() {
                    self.findings.error(IssueCode::Structure, format!("{member} is an empty list"));
                }
                let most = child.element.max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
                if most.is_some_and(|max| values.len() > max) {
                    self.findings.error(IssueCode::Structure, format!("{member} occurs too often"));
                }
                if values.len() < usize::try_from(child.element.min).unwrap_or(usize::MAX) {
                    self.findings.error(IssueCode::Required, format!("{member} occurs too seldom"));
                }
                for (index, value) in values.iter().enumerate() {
                    let before = self.findings.enter(child.element.name, Some(index));
                    self.occurrence(object, member, Some(index), value, definition, &child);
                    self.findings.leave(before);
                }
            }
            (Value::Array(_), false) => {
                self.findings.error(IssueCode::Structure, format!("{member} must not be a list"))
            }
            (_, true) => self.findings.error(IssueCode::Structure, format!("{member} must be a list")),
            (_, false) => {
                let before = self.findings.enter(child.element.name, None);
                self.occurrence(object, member, None, value, definition, &child);
                self.findings.leave(before);
            }
        }
    }

    /// Checks one value of an element.
    fn occurrence(
        &mut self,
        object: &'a Object,
        member: &str,
        index: Option<usize>,
        value: &'a Value,
        parent: &'static TypeDefinition,
        child: &Child,
    ) {
        let type_ = child.definition;
        match (type_.kind, value) {
            (TypeKind::Primitive, Value::Null) => {
                let has_companion = object
                    .iter()
                    .find(|(name, _)| name.strip_prefix('_') == Some(member))
                    .and_then(|(_, companion)| companion.elements().get(index?))
                    .is_some_and(|companion| companion.as_object().is_some());
                if !has_companion {
                    self.findings
                        .error(IssueCode::Structure, "null stands only where an extension takes the place of a value");
                }
            }
            (TypeKind::Primitive, _) => {
                if let Some(fault) = primitive::fault(type_.name, value) {
                    let text = format!("{fault} ({})", type_.name);
                    if parent.name == "Bundle.entry" && child.element.name == "fullUrl" && is_public_key(self.resource)
                    {
                        self.findings.warning(IssueCode::Value, text);
                    } else {
                        self.findings.error(IssueCode::Value, text);
                    }
                    return;
                }
                self.core_binding(value, child.element.binding.as_ref());
            }
            (TypeKind::Resource, Value::Object(resource)) => self.resource(resource, child.element.name == "contained"),
            (_, Value::Object(element)) => {
                let node = Node { value, extra: None, type_name: Some(type_.name) };
                self.object(element, node, type_);
                self.core_binding(value, child.element.binding.as_ref());
                if type_.name == "Reference" {
                    self.reference_target(value, &child.reference.targets);
                }
            }
            _ => self.findings.error(IssueCode::Structure, format!("must be an object ({})", type_.name)),
        }
        self.element_invariants(Node { value, extra: None, type_name: Some(type_.name) }, parent, child.element.name);
        if type_.name == "Extension" {
            self.known_extension(value, parent, child.element.name == "modifierExtension");
        }
    }

    /// Checks the id and extensions beside a primitive.
    fn companion(&mut self, object: &'a Object, name: &str, value: &'a Value, child: &Child) {
        match (value, child.element.is_list()) {
            (Value::Object(companion), false) => {
                let before = self.findings.enter(child.element.name, None);
                if object.get(name).is_none() && companion.get("extension").is_none() {
                    self.no_content();
                }
                self.object(companion, Node { value, extra: None, type_name: None }, child.definition);
                self.findings.leave(before);
            }
            (Value::Array(companions), true) => {
                let list = object.list(name);
                let values = list.len();
                if companions.is_empty() || (values > 0 && companions.len() > values) {
                    self.findings.error(IssueCode::Structure, format!("_{name} does not match {name}"));
                }
                for (index, value) in companions.iter().enumerate() {
                    let before = self.findings.enter(child.element.name, Some(index));
                    match value {
                        Value::Object(companion) => {
                            let has_value = list.get(index).is_some_and(|value| *value != Value::Null);
                            if !has_value && companion.get("extension").is_none() {
                                self.no_content();
                            }
                            self.object(companion, Node { value, extra: None, type_name: None }, child.definition);
                        }
                        Value::Null if index < values => {}
                        _ => self.findings.error(IssueCode::Structure, format!("_{name} must hold objects")),
                    }
                    self.findings.leave(before);
                }
            }
            _ => self.findings.error(IssueCode::Structure, format!("_{name} has the wrong form")),
        }
    }

    fn no_content(&mut self) {
        self.findings.error(IssueCode::Structure, "an element needs a value or children (ele-1)");
    }

    fn core_binding(&mut self, value: &Value, binding: Option<&Binding>) {
        let Some(binding) = binding.filter(|binding| binding.strength == BindingStrength::Required) else { return };
        let url = binding.value_set.split('|').next().unwrap_or_default();
        if url == MEDIA_TYPES {
            if value.as_str().is_some_and(|code| !primitive::is_media_type(code)) {
                self.findings.error(IssueCode::CodeInvalid, "is no media type");
            }
            return;
        }
        // Without a table (all languages, all types) the set is open in R4 as well, or not enumerable.
        let Some(codes) = definitions().codes(url) else { return };
        if !is_bound(value, codes) {
            self.findings.error(IssueCode::CodeInvalid, format!("has no code of value set {url}, which is required"));
        }
    }

    fn extension(&mut self, extension: &Object) {
        let has_value = extension.iter().any(|(name, _)| name.trim_start_matches('_').starts_with("value"));
        if has_value == extension.get("extension").is_some() {
            self.findings.error(IssueCode::Invariant, "an extension has either a value or extensions (ext-1)");
        }
    }

    fn contained_reference(&mut self, reference: &Object) {
        if reference.str("reference") == Some("#") && std::ptr::eq(self.resource, self.root) {
            self.findings.error(IssueCode::Value, "'#' points to nothing outside of a contained resource");
        }
    }

    /// Checks an extension whose definition is known, wherever it occurs.
    fn known_extension(&mut self, extension: &'a Value, parent: &'static TypeDefinition, is_modifier: bool) {
        // Parts of a complex extension have a relative url.
        let Some(url) = extension.str("url").filter(|url| url.contains(':')) else { return };
        if self.source.compiled(url).is_none() && self.source.structure_definition(url, None).is_none() {
            // What may turn the meaning of its element round must not be passed over (FHIR R4, 2.4.0.1).
            if is_modifier {
                self.findings.error(IssueCode::Extension, format!("modifier extension {url} is not known"));
            }
            return;
        }
        match Compiler::new(self.source).compile(url) {
            Ok(profile) if profile.type_name() == "Extension" => {
                self.context(&profile.contexts, url, parent);
                self.element(Node { value: extension, extra: None, type_name: None }, &profile.root, &profile);
            }
            Ok(_) => self.findings.error(IssueCode::Extension, format!("{url} defines no extension")),
            Err(error) => self.findings.error(IssueCode::Extension, error.to_string()),
        }
    }

    /// Checks that the extension may stand where it stands: the type, or the path of the element.
    fn context(&mut self, contexts: &[String], url: &str, parent: &'static TypeDefinition) {
        if contexts.is_empty() || contexts.iter().any(|context| context == "Element" || parent.is_a(context)) {
            return;
        }
        // The path without its last step (the extension) and without indexes: `Task.requester`.
        let path: String = self
            .findings
            .path()
            .split('.')
            .map(|step| step.split('[').next().unwrap_or(step))
            .collect::<Vec<_>>()
            .join(".");
        let element = path.rsplit_once('.').map_or("", |(element, _)| element);
        if !contexts.iter().any(|context| context == element) {
            self.findings
                .error(IssueCode::Extension, format!("extension {url} may stand on {} only", contexts.join(", ")));
        }
    }
}

/// Whether the resource is the Bundle in which sites publish their keys; published processes write no proper `fullUrl`
/// into it, and the reference server lets that pass (`fhir-api.md` 4.4).
fn is_public_key(resource: &Object) -> bool {
    resource.get("identifier").is_some_and(|identifier| {
        identifier.str("system") == Some("http://medizininformatik-initiative.de/fhir/CodeSystem/cryptography")
            && identifier.str("value") == Some("public-key")
    })
}

fn is_bound(value: &Value, codes: &ValueSetCodes) -> bool {
    let coding = |coding: &Value| {
        coding.str("code").is_some_and(|code| match coding.str("system") {
            Some(system) => codes.contains_coding(system, code),
            None => codes.contains(code),
        })
    };
    match value {
        Value::String(code) => codes.contains(code),
        Value::Object(object) if object.get("coding").is_some() => object.list("coding").iter().any(coding),
        Value::Object(object) if object.get("value").is_some() || object.get("unit").is_some() => {
            // A Quantity may leave out its code.
            object.get("code").is_none() || coding(value)
        }
        Value::Object(_) => coding(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}
