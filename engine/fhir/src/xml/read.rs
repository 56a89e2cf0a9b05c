//! The XML reader: recursive descent over quick-xml's events, each element typed by the table.

use quick_xml::name::ResolveResult;

use super::SCHEMA_INSTANCE_NAMESPACE;
use super::cursor::{Item, Namespace, Reader, Tag};
use super::escape::unescape;
use super::narrative;
use super::slots::Slots;
use crate::definitions::{Child, TypeDefinition, TypeKind, definitions};
use crate::error::Hostility;
use crate::text::utf_8;
use crate::{Limits, Number, Object, ParseError, Resource, Value};

/// Attributes that belong to the tree.
#[derive(Default)]
struct Attributes {
    id: Option<String>,
    value: Option<String>,
    url: Option<String>,
}

/// Reads the document.
pub(super) fn resource(bytes: &[u8], limits: &Limits) -> Result<Resource, ParseError> {
    if bytes.len() > limits.bytes {
        return Err(ParseError::hostile(Hostility::Bytes(limits.bytes), bytes, limits.bytes));
    }
    let text = utf_8(bytes).map_err(|offset| ParseError::hostile(Hostility::Encoding, bytes, offset))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reader = Reader::new(text, limits);
    let root = reader.root()?;
    let tree = reader.resource(&root)?;
    reader.end_of_document()?;
    Resource::from_tree(tree).map_err(|error| reader.structure(error.to_string()))
}

impl<'a> Reader<'a> {
    /// Reads the resource that `tag` opens.
    fn resource(&mut self, tag: &Tag<'a>) -> Result<Object, ParseError> {
        if tag.namespace != Namespace::Fhir {
            return Err(self.at(tag, "the root of a resource is not in the FHIR namespace"));
        }
        let name = tag.local_name();
        let Some(definition) = definitions().resource(name) else {
            return Err(self.at(tag, format!("unknown resource type {name:?}")));
        };
        let attributes = self.attributes(tag)?;
        if attributes.id.is_some() || attributes.value.is_some() || attributes.url.is_some() {
            return Err(self.at(tag, "a resource has no attributes"));
        }
        let mut tree = Object::new();
        tree.append_unchecked("resourceType".to_owned(), Value::from(name));
        self.children(tag, definition, Slots::default(), &mut tree)?;
        Ok(tree)
    }

    /// Reads what is between `tag` and its end into members of `object`; `slots` holds the attributes.
    fn children(
        &mut self,
        tag: &Tag<'a>,
        definition: &'static TypeDefinition,
        mut slots: Slots,
        object: &mut Object,
    ) -> Result<(), ParseError> {
        self.enter()?;
        if !tag.is_empty {
            while let Item::Tag(inner) = self.item()? {
                self.child(&inner, definition, &mut slots)?;
                if slots.len() > self.limits.object_members {
                    return Err(self.hostile(Hostility::Members(self.limits.object_members)));
                }
            }
        }
        self.leave();
        slots.append_to(object);
        Ok(())
    }

    fn child(
        &mut self,
        tag: &Tag<'a>,
        definition: &'static TypeDefinition,
        slots: &mut Slots,
    ) -> Result<(), ParseError> {
        let name = tag.local_name();
        let child = match definition.child(name) {
            Some(child) if !child.element.is_xml_attribute => child,
            _ => return Err(self.at(tag, format!("unknown element {name:?} in {}", definition.name))),
        };
        let is_narrative = child.definition.name == "xhtml";
        if tag.namespace != Namespace::Fhir && !(is_narrative && tag.namespace == Namespace::Xhtml) {
            return Err(self.at(tag, format!("element {name:?} is in a foreign namespace")));
        }
        let (value, extra) = if is_narrative {
            (Some(Value::String(narrative::read(self, tag)?)), None)
        } else {
            self.content(tag, child)?
        };
        slots
            .add(name, child, value, extra)
            .map_err(|_| self.at(tag, format!("element {name:?} occurs more than once in {}", definition.name)))
    }

    /// The value of an element, and for primitives what JSON keeps in `_name`.
    fn content(&mut self, tag: &Tag<'a>, child: Child) -> Result<(Option<Value>, Option<Object>), ParseError> {
        match child.definition.kind {
            TypeKind::Primitive => self.primitive(tag, child.definition),
            TypeKind::Resource => Ok((Some(Value::Object(self.container(tag)?)), None)),
            TypeKind::Complex | TypeKind::Backbone => {
                Ok((Some(Value::Object(self.complex(tag, child.definition)?)), None))
            }
        }
    }

    fn primitive(
        &mut self,
        tag: &Tag<'a>,
        definition: &'static TypeDefinition,
    ) -> Result<(Option<Value>, Option<Object>), ParseError> {
        let attributes = self.attributes(tag)?;
        if attributes.url.is_some() {
            return Err(self.at(tag, "unexpected attribute \"url\""));
        }
        let mut slots = Slots::default();
        let element = element_type(definition);
        self.add_attribute(tag, element, "id", attributes.id, &mut slots)?;
        let mut extra = Object::new();
        if tag.is_empty {
            slots.append_to(&mut extra);
        } else {
            self.children(tag, element, slots, &mut extra)?;
        }
        let value = attributes.value.map(|text| typed(definition.name, text));
        if value.is_none() && extra.is_empty() {
            return Err(self.at(tag, "an element without value and extension"));
        }
        Ok((value, (!extra.is_empty()).then_some(extra)))
    }

    fn complex(&mut self, tag: &Tag<'a>, definition: &'static TypeDefinition) -> Result<Object, ParseError> {
        let attributes = self.attributes(tag)?;
        if attributes.value.is_some() {
            return Err(self.at(tag, "unexpected attribute \"value\""));
        }
        let mut slots = Slots::default();
        self.add_attribute(tag, definition, "id", attributes.id, &mut slots)?;
        self.add_attribute(tag, definition, "url", attributes.url, &mut slots)?;
        let mut object = Object::new();
        self.children(tag, definition, slots, &mut object)?;
        if object.is_empty() {
            return Err(self.at(tag, "an element without content"));
        }
        Ok(object)
    }

    fn add_attribute(
        &self,
        tag: &Tag<'a>,
        definition: &'static TypeDefinition,
        name: &str,
        value: Option<String>,
        slots: &mut Slots,
    ) -> Result<(), ParseError> {
        let Some(value) = value else { return Ok(()) };
        let child = definition.child(name).filter(|child| child.element.is_xml_attribute);
        let added = child.and_then(|child| slots.add(name, child, Some(Value::String(value)), None).ok());
        added.ok_or_else(|| self.at(tag, format!("unexpected attribute {name:?}")))
    }

    /// An element that holds one resource, such as `contained`.
    fn container(&mut self, tag: &Tag<'a>) -> Result<Object, ParseError> {
        let attributes = self.attributes(tag)?;
        if attributes.id.is_some() || attributes.value.is_some() || attributes.url.is_some() || tag.is_empty {
            return Err(self.at(tag, "expected one resource and no attributes"));
        }
        let Item::Tag(inner) = self.item()? else { return Err(self.at(tag, "expected a resource")) };
        let tree = self.resource(&inner)?;
        match self.item()? {
            Item::End => Ok(tree),
            Item::Tag(second) => Err(self.at(&second, "more than one resource")),
        }
    }

    fn attributes(&mut self, tag: &Tag<'a>) -> Result<Attributes, ParseError> {
        let mut attributes = Attributes::default();
        for attribute in tag.start.attributes() {
            let attribute = attribute.map_err(|error| self.bad_attribute(tag, &error))?;
            self.count_member()?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let value = unescape(&attribute.value, self.limits.string_bytes).map_err(|bad| self.bad_text(tag, bad))?;
            let (namespace, local) = self.xml.resolver().resolve_attribute(attribute.key);
            match (namespace, local.as_ref()) {
                (ResolveResult::Unbound, "id") => attributes.id = Some(value),
                (ResolveResult::Unbound, "value") => attributes.value = Some(value),
                (ResolveResult::Unbound, "url") => attributes.url = Some(value),
                (ResolveResult::Bound(namespace), _) if namespace.as_ref() == SCHEMA_INSTANCE_NAMESPACE => {}
                (_, name) => return Err(self.at(tag, format!("unexpected attribute {name:?}"))),
            }
        }
        Ok(attributes)
    }
}

/// Primitives have the attributes and extensions of `Element`.
fn element_type(definition: &'static TypeDefinition) -> &'static TypeDefinition {
    definitions().type_("Element").unwrap_or(definition)
}

/// Text that is not of the type stays text: the reader does not validate.
fn typed(type_name: &str, text: String) -> Value {
    match (type_name, text.as_str()) {
        ("boolean", "true") => Value::Bool(true),
        ("boolean", "false") => Value::Bool(false),
        ("decimal" | "integer" | "unsignedInt" | "positiveInt", number) => {
            Number::parse(number).map_or(Value::String(text), Value::Number)
        }
        _ => Value::String(text),
    }
}
