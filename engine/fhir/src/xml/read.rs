//! The XML reader: recursive descent over quick-xml's events, each element typed by the table.

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::escape::{BadText, unescape};
use super::narrative;
use super::slots::Slots;
use super::{FHIR_NAMESPACE, SCHEMA_INSTANCE_NAMESPACE, XHTML_NAMESPACE};
use crate::definitions::{Child, TypeDefinition, TypeKind, definitions};
use crate::error::Hostility;
use crate::text::is_fhir_char;
use crate::{Limits, Number, Object, ParseError, Resource, Value};

/// The reader and what was counted so far.
pub(super) struct Reader<'a> {
    xml: NsReader<&'a [u8]>,
    text: &'a str,
    /// Where the last event began.
    before: usize,
    depth: usize,
    members: usize,
    limits: &'a Limits,
}

/// The namespaces that mean something here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    Fhir,
    Xhtml,
    Other,
}

/// A tag that opened, or that is empty.
pub(super) struct Tag<'a> {
    pub(super) start: BytesStart<'a>,
    pub(super) is_empty: bool,
    pub(super) namespace: Namespace,
    pub(super) at: usize,
}

/// What comes next inside an element.
pub(super) enum Item<'a> {
    Tag(Tag<'a>),
    End,
}

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
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ParseError::hostile(Hostility::Encoding, bytes, error.valid_up_to()))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reader = Reader::new(text, limits);
    let root = reader.root()?;
    let tree = reader.resource(&root)?;
    reader.end_of_document()?;
    Resource::from_tree(tree).map_err(|error| reader.structure(error.to_string()))
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, limits: &'a Limits) -> Self {
        let mut xml = NsReader::from_str(text);
        xml.config_mut().check_comments = true;
        Self { xml, text, before: 0, depth: 0, members: 0, limits }
    }

    /// The next event with its namespace; tags are counted.
    fn event(&mut self) -> Result<(Namespace, Event<'a>), ParseError> {
        self.before = self.offset();
        let (namespace, event) = match self.xml.read_resolved_event() {
            Ok((namespace, event)) => (Namespace::of(&namespace), event),
            Err(error) => {
                let at = usize::try_from(self.xml.error_position()).unwrap_or(usize::MAX);
                return Err(ParseError::structure(error.to_string(), self.text.as_bytes(), at));
            }
        };
        match &event {
            Event::DocType(_) => Err(self.hostile(Hostility::DocumentType)),
            Event::PI(_) => Err(self.hostile(Hostility::ProcessingInstruction)),
            Event::Start(_) | Event::Empty(_) => {
                self.count_member()?;
                Ok((namespace, event))
            }
            _ => Ok((namespace, event)),
        }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.xml.buffer_position()).unwrap_or(usize::MAX)
    }

    /// Reads the prolog and the root's tag.
    pub(super) fn root(&mut self) -> Result<Tag<'a>, ParseError> {
        loop {
            let (namespace, event) = self.event()?;
            match event {
                Event::Decl(declaration) if self.before == 0 => self.check_declaration(&declaration)?,
                Event::Decl(_) => return Err(self.hostile(Hostility::ProcessingInstruction)),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Start(start) => {
                    return Ok(Tag { start, is_empty: false, namespace, at: self.before });
                }
                Event::Empty(start) => return Ok(Tag { start, is_empty: true, namespace, at: self.before }),
                _ => return Err(self.structure("text outside the root element")),
            }
        }
    }

    fn check_declaration(&self, declaration: &quick_xml::events::BytesDecl<'_>) -> Result<(), ParseError> {
        let version = declaration.version().map_err(|error| self.structure(error.to_string()))?;
        if version.trim() != "1.0" {
            return Err(self.structure("an XML version other than 1.0"));
        }
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("utf-8") => Ok(()),
            Some(Ok(_)) => Err(self.hostile(Hostility::Encoding)),
            Some(Err(error)) => Err(self.structure(error.to_string())),
        }
    }

    pub(super) fn end_of_document(&mut self) -> Result<(), ParseError> {
        loop {
            match self.event()?.1 {
                Event::Eof => return Ok(()),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Decl(_) => return Err(self.hostile(Hostility::ProcessingInstruction)),
                _ => return Err(self.structure("content after the root element")),
            }
        }
    }

    /// The next tag or the end of the element; blanks and comments are passed over, other text is refused.
    fn item(&mut self) -> Result<Item<'a>, ParseError> {
        loop {
            let (namespace, event) = self.event()?;
            match event {
                Event::Start(start) => {
                    return Ok(Item::Tag(Tag { start, is_empty: false, namespace, at: self.before }));
                }
                Event::Empty(start) => {
                    return Ok(Item::Tag(Tag { start, is_empty: true, namespace, at: self.before }));
                }
                Event::End(_) => return Ok(Item::End),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::GeneralRef(name) => return Err(self.bad_reference(&name)),
                Event::Eof => return Err(self.structure("the document ends inside an element")),
                Event::Decl(_) => return Err(self.hostile(Hostility::ProcessingInstruction)),
                _ => return Err(self.structure("text inside an element")),
            }
        }
    }

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

// Counting and errors, shared with the narrative.
impl<'a> Reader<'a> {
    pub(super) fn enter(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(self.hostile(Hostility::Depth(self.limits.depth)));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn count_member(&mut self) -> Result<(), ParseError> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(self.hostile(Hostility::Members(self.limits.members)));
        }
        Ok(())
    }

    /// The next event inside a narrative.
    pub(super) fn narrative_event(&mut self) -> Result<Event<'a>, ParseError> {
        Ok(self.event()?.1)
    }

    /// The document from `start` to behind the last event.
    pub(super) fn text_since(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset()).unwrap_or_default()
    }

    pub(super) const fn limits(&self) -> &Limits {
        self.limits
    }

    pub(super) fn check_attributes(&mut self, start: &BytesStart<'a>) -> Result<(), ParseError> {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.structure(error.to_string()))?;
            self.count_member()?;
            if attribute.key.prefix().is_some_and(|prefix| !matches!(prefix.as_ref(), "xml" | "xmlns")) {
                return Err(self.structure("a prefixed attribute in a narrative"));
            }
            unescape(&attribute.value, self.limits.string_bytes).map_err(|bad| self.bad_text_here(bad))?;
        }
        Ok(())
    }

    pub(super) fn structure(&self, text: impl Into<String>) -> ParseError {
        ParseError::structure(text, self.text.as_bytes(), self.before)
    }

    pub(super) fn hostile(&self, reason: Hostility) -> ParseError {
        ParseError::hostile(reason, self.text.as_bytes(), self.before)
    }

    pub(super) fn at(&self, tag: &Tag<'a>, text: impl Into<String>) -> ParseError {
        ParseError::structure(text, self.text.as_bytes(), tag.at)
    }

    pub(super) fn bad_reference(&self, name: &str) -> ParseError {
        match super::escape::reference(name) {
            Ok(_) => self.structure("text inside an element"),
            Err(bad) => self.bad_text_here(bad),
        }
    }

    pub(super) fn bad_text_here(&self, bad: BadText) -> ParseError {
        match bad {
            BadText::Hostile(reason) => self.hostile(reason),
            BadText::Structure(text) => self.structure(text),
        }
    }

    fn bad_text(&self, tag: &Tag<'a>, bad: BadText) -> ParseError {
        match bad {
            BadText::Hostile(reason) => ParseError::hostile(reason, self.text.as_bytes(), tag.at),
            BadText::Structure(text) => self.at(tag, text),
        }
    }

    fn bad_attribute(&self, tag: &Tag<'a>, error: &quick_xml::events::attributes::AttrError) -> ParseError {
        match error {
            quick_xml::events::attributes::AttrError::Duplicated(..) => {
                let reason = Hostility::DuplicateKey(tag.local_name().to_owned());
                ParseError::hostile(reason, self.text.as_bytes(), tag.at)
            }
            other => self.at(tag, other.to_string()),
        }
    }
}

impl Tag<'_> {
    pub(super) fn local_name(&self) -> &str {
        let name = self.start.name().into_inner();
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }
}

impl Namespace {
    fn of(result: &ResolveResult<'_>) -> Self {
        match result {
            ResolveResult::Bound(namespace) if namespace.as_ref() == FHIR_NAMESPACE => Self::Fhir,
            ResolveResult::Bound(namespace) if namespace.as_ref() == XHTML_NAMESPACE => Self::Xhtml,
            _ => Self::Other,
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
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

/// Whether every character may stand in a document.
pub(super) fn holds_only_fhir_chars(text: &str) -> bool {
    text.chars().all(is_fhir_char)
}
