//! The XML printer.
//!
//! Members that the table does not know are printed as plain elements (nothing is lost silently), unless their name
//! cannot be an XML name.

use super::escape::escape;
use super::{FHIR_NAMESPACE, XHTML_NAMESPACE, narrative};
use crate::definitions::{Child, TypeDefinition, TypeKind, definitions};
use crate::{Object, Resource, Value};

struct Printer {
    out: String,
    pretty: bool,
    level: usize,
}

/// A member on its way to becoming elements.
struct Member<'a> {
    name: &'a str,
    child: Option<Child>,
    value: Option<&'a Value>,
    extra: Option<&'a Value>,
}

/// Writes the resource as a document.
pub(super) fn resource(resource: &Resource, pretty: bool) -> String {
    let mut printer = Printer { out: String::with_capacity(2048), pretty, level: 0 };
    printer.resource(resource.type_name(), resource.tree(), true);
    printer.out
}

impl Printer {
    fn resource(&mut self, type_name: &str, tree: &Object, is_root: bool) {
        if !is_xml_name(type_name) {
            return;
        }
        self.open(type_name);
        if is_root {
            self.attribute("xmlns", FHIR_NAMESPACE);
        }
        let members = members(tree, definitions().resource(type_name));
        self.content(type_name, &members);
    }

    /// Prints attributes and elements of an opened tag, and closes it.
    fn content(&mut self, name: &str, members: &[Member<'_>]) {
        for member in members.iter().filter(|member| member.is_attribute()) {
            if let Some(Value::String(text)) = member.value {
                self.attribute(member.name, text);
            }
        }
        self.out.push('>');
        let opened = self.out.len();
        self.level += 1;
        for member in members.iter().filter(|member| !member.is_attribute()) {
            self.member(member);
        }
        self.level -= 1;
        if self.out.len() == opened {
            self.out.pop();
            self.out.push_str("/>");
        } else {
            self.close(name);
        }
    }

    fn member(&mut self, member: &Member<'_>) {
        let values = one_or_all(member.value);
        let extras = one_or_all(member.extra);
        for index in 0..values.len().max(extras.len()) {
            self.element(member, values.get(index), extras.get(index).and_then(Value::as_object));
        }
    }

    fn element(&mut self, member: &Member<'_>, value: Option<&Value>, extra: Option<&Object>) {
        match value {
            Some(Value::Object(object)) => self.object(member, object),
            Some(Value::Array(elements)) => {
                for element in elements {
                    self.element(member, Some(element), None);
                }
            }
            None | Some(Value::Null) => {
                if let Some(extra) = extra {
                    self.primitive(member.name, None, Some(extra));
                }
            }
            Some(Value::String(text)) if member.child.is_some_and(|child| child.definition.name == "xhtml") => {
                self.narrative(text);
            }
            Some(Value::String(text)) => self.primitive(member.name, Some(text), extra),
            Some(Value::Number(number)) => self.primitive(member.name, Some(number.as_str()), extra),
            Some(Value::Bool(true)) => self.primitive(member.name, Some("true"), extra),
            Some(Value::Bool(false)) => self.primitive(member.name, Some("false"), extra),
        }
    }

    fn object(&mut self, member: &Member<'_>, object: &Object) {
        let definition = member.child.map(|child| child.definition);
        match (definition, object.str("resourceType")) {
            (Some(TypeDefinition { kind: TypeKind::Resource, .. }) | None, Some(type_name))
                if is_xml_name(type_name) =>
            {
                self.open(member.name);
                self.out.push('>');
                self.level += 1;
                self.resource(type_name, object, false);
                self.level -= 1;
                self.close(member.name);
            }
            _ => {
                self.open(member.name);
                self.content(member.name, &members(object, definition));
            }
        }
    }

    fn primitive(&mut self, name: &str, value: Option<&str>, extra: Option<&Object>) {
        self.open(name);
        let extras = extra.map_or_else(Vec::new, |extra| members(extra, definitions().type_("Element")));
        for id in extras.iter().filter(|member| member.is_attribute()) {
            self.attribute(id.name, id.value.and_then(Value::as_str).unwrap_or_default());
        }
        if let Some(value) = value {
            self.attribute("value", value);
        }
        let elements: Vec<_> = extras.into_iter().filter(|member| !member.is_attribute()).collect();
        self.content(name, &elements);
    }

    fn narrative(&mut self, text: &str) {
        self.line_break();
        if narrative::is_well_formed(text) {
            self.out.push_str(text);
        } else {
            self.out.push_str("<div xmlns=\"");
            self.out.push_str(XHTML_NAMESPACE);
            self.out.push_str("\">");
            escape(&mut self.out, text);
            self.out.push_str("</div>");
        }
    }

    fn open(&mut self, name: &str) {
        self.line_break();
        self.out.push('<');
        self.out.push_str(name);
    }

    fn close(&mut self, name: &str) {
        self.line_break();
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape(&mut self.out, value);
        self.out.push('"');
    }

    fn line_break(&mut self) {
        if self.pretty && !self.out.is_empty() {
            self.out.push('\n');
            for _ in 0..self.level {
                self.out.push_str("  ");
            }
        }
    }
}

impl Member<'_> {
    fn is_attribute(&self) -> bool {
        self.child.is_some_and(|child| child.element.is_xml_attribute) && matches!(self.value, Some(Value::String(_)))
    }
}

/// The members in schema order, each with its `_name`.
fn members<'a>(object: &'a Object, definition: Option<&'static TypeDefinition>) -> Vec<Member<'a>> {
    let is_resource = definition.is_none_or(|definition| definition.kind == TypeKind::Resource);
    let mut members = Vec::with_capacity(object.len());
    for (name, value) in object.iter() {
        let plain = name.strip_prefix('_').unwrap_or(name);
        if (is_resource && name == "resourceType") || !is_xml_name(plain) {
            continue;
        }
        let child = definition.and_then(|definition| definition.child(plain));
        if plain == name {
            let extra = match child {
                Some(child) if child.definition.kind != TypeKind::Primitive => None,
                _ => extra_of(object, name),
            };
            members.push(Member { name, child, value: Some(value), extra });
        } else if object.get(plain).is_none() {
            members.push(Member { name: plain, child, value: None, extra: Some(value) });
        }
    }
    members.sort_by_key(|member| member.child.map_or(usize::MAX, |child| child.position));
    members
}

/// The member `_name`, looked for without building the name.
fn extra_of<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.iter().find(|(other, _)| other.strip_prefix('_') == Some(name)).map(|(_, value)| value)
}

fn one_or_all(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(elements)) => elements,
        Some(value) => std::slice::from_ref(value),
        None => &[],
    }
}

/// FHIR names are ASCII letters and digits.
fn is_xml_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
