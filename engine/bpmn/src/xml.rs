//! A bounded reader of XML into an element tree with name spaces and line numbers, and its printer.
//!
//! DTDs are refused, so the only entities are the five of XML and character references; nothing can expand. Size, depth,
//! number of elements and of attributes are bounded by [`crate::limits`]. The tree keeps the whole information set (name
//! space prefixes and declarations, order of text and elements, comments, processing instructions), so that a model can be
//! written again without loss.

mod print;
#[cfg(test)]
mod tests;

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, ResolveResult};

use crate::limits;

/// A whole file: what a BPMN document says, also where nothing of it is executed (lanes, data, artefacts, diagram).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub(crate) root: Element,
    /// Comments and instructions before the root element.
    prolog: Vec<Remark>,
    /// Comments and instructions behind the root element.
    epilog: Vec<Remark>,
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) name: Box<str>,
    pub(crate) line: u32,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Self>,
    /// Character data directly inside the element, concatenated.
    pub(crate) text: String,
    prefix: Option<Box<str>>,
    /// Name space declarations: prefix (none is the default) and name space.
    declarations: Vec<(Option<Box<str>>, Box<str>)>,
    remarks: Vec<Remark>,
    /// How much text of the parent stands before the element.
    text_before: usize,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) name: Box<str>,
    pub(crate) value: String,
    prefix: Option<Box<str>>,
}

/// A comment or processing instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remark {
    /// Children of the parent before it.
    children_before: usize,
    /// Text of the parent before it.
    text_before: usize,
    kind: RemarkKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RemarkKind {
    Comment(String),
    /// Target and data as written.
    Instruction(String),
}

/// Why a text is no XML that we read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct XmlError {
    pub(crate) line: u32,
    pub(crate) text: String,
}

/// Reads a document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, XmlError> {
    if bytes.len() > limits::MODEL_BYTES {
        return Err(XmlError { line: 1, text: format!("file is larger than {} bytes", limits::MODEL_BYTES) });
    }
    if is_latin_1(bytes) {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        return Reader::new(&text).document();
    }
    let text = std::str::from_utf8(bytes).map_err(|error| XmlError {
        line: newlines(bytes.get(..error.valid_up_to()).unwrap_or_default()).saturating_add(1),
        text: "file is not UTF-8".to_owned(),
    })?;
    Reader::new(text.strip_prefix('\u{feff}').unwrap_or(text)).document()
}

/// Older modelling tools write ISO-8859-1, where every byte is the character of the same number.
fn is_latin_1(bytes: &[u8]) -> bool {
    let declaration = bytes.split(|&byte| byte == b'>').next().unwrap_or_default();
    declaration.starts_with(b"<?xml")
        && String::from_utf8_lossy(declaration).to_ascii_lowercase().contains("iso-8859-1")
}

struct Reader<'a> {
    xml: NsReader<&'a [u8]>,
    text: &'a str,
    /// Position up to which lines are counted, and the line there: the start of the current event.
    position: usize,
    line: u32,
    elements: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { xml: NsReader::from_str(text), text, position: 0, line: 1, elements: 0 }
    }

    fn document(mut self) -> Result<Document, XmlError> {
        let mut open: Vec<Element> = Vec::new();
        let mut root: Option<Element> = None;
        let (mut prolog, mut epilog) = (Vec::new(), Vec::new());
        loop {
            self.advance_line();
            let event = self.xml.read_event().map_err(|error| self.error(error.to_string()))?;
            match event {
                Event::Start(tag) => {
                    let element = self.element(&tag, open.len(), root.is_some())?;
                    open.push(element);
                }
                Event::Empty(tag) => {
                    let element = self.element(&tag, open.len(), root.is_some())?;
                    close(element, &mut open, &mut root);
                }
                Event::End(_) => {
                    if let Some(element) = open.pop() {
                        close(element, &mut open, &mut root);
                    }
                }
                Event::Text(text) => self.characters(&text.xml10_content(), &mut open)?,
                Event::CData(text) => self.characters(&text.xml10_content(), &mut open)?,
                Event::GeneralRef(reference) => {
                    let value = self.reference(&reference)?;
                    self.characters(&value, &mut open)?;
                }
                Event::DocType(_) => return Err(self.error("a document type declaration is not allowed")),
                Event::Decl(declaration) => self.declaration(&declaration)?,
                Event::Comment(text) => {
                    let kind = RemarkKind::Comment(text.xml10_content().into_owned());
                    let outside = if root.is_some() { &mut epilog } else { &mut prolog };
                    remark(kind, &mut open, outside);
                }
                Event::PI(text) => {
                    let kind = RemarkKind::Instruction(text.to_string());
                    let outside = if root.is_some() { &mut epilog } else { &mut prolog };
                    remark(kind, &mut open, outside);
                }
                Event::Eof => break,
            }
        }
        if let Some(element) = open.pop() {
            return Err(self.error(format!("element {} is not closed", element.name)));
        }
        let root = root.ok_or_else(|| self.error("no element found"))?;
        Ok(Document { root, prolog, epilog })
    }

    fn element(&mut self, tag: &BytesStart<'_>, depth: usize, has_root: bool) -> Result<Element, XmlError> {
        self.elements = self.elements.saturating_add(1);
        if self.elements > limits::XML_ELEMENTS {
            return Err(self.error(format!("more than {} elements", limits::XML_ELEMENTS)));
        }
        if depth >= limits::XML_DEPTH {
            return Err(self.error(format!("elements are nested deeper than {}", limits::XML_DEPTH)));
        }
        if depth == 0 && has_root {
            return Err(self.error("more than one root element"));
        }
        let (namespace, local) = self.xml.resolver().resolve_element(tag.name());
        let mut element = Element {
            namespace: self.namespace(&namespace)?,
            name: local.as_ref().into(),
            line: self.line,
            attributes: Vec::new(),
            children: Vec::new(),
            text: String::new(),
            prefix: tag.name().prefix().map(|prefix| prefix.as_ref().into()),
            declarations: Vec::new(),
            remarks: Vec::new(),
            text_before: 0,
        };
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| self.error(error.to_string()))?;
            if element.attributes.len().saturating_add(element.declarations.len()) >= limits::XML_ATTRIBUTES {
                return Err(self.error(format!("more than {} attributes", limits::XML_ATTRIBUTES)));
            }
            let value =
                attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|error| self.error(error.to_string()))?;
            if let Some(binding) = attribute.key.as_namespace_binding() {
                let prefix = match binding {
                    PrefixDeclaration::Default => None,
                    PrefixDeclaration::Named(prefix) => Some(prefix.into()),
                };
                element.declarations.push((prefix, value.as_ref().into()));
                continue;
            }
            let (namespace, local) = self.xml.resolver().resolve_attribute(attribute.key);
            element.attributes.push(Attribute {
                namespace: self.namespace(&namespace)?,
                name: local.as_ref().into(),
                value: value.into_owned(),
                prefix: attribute.key.prefix().map(|prefix| prefix.as_ref().into()),
            });
        }
        Ok(element)
    }

    fn namespace(&self, result: &ResolveResult<'_>) -> Result<Option<Box<str>>, XmlError> {
        match result {
            ResolveResult::Bound(namespace) => Ok(Some(namespace.as_ref().into())),
            ResolveResult::Unbound => Ok(None),
            ResolveResult::Unknown(prefix) => Err(self.error(format!("name space prefix {prefix} is not declared"))),
        }
    }

    fn characters(&self, text: &str, open: &mut [Element]) -> Result<(), XmlError> {
        match open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(self.error("text outside of the root element")),
        }
        Ok(())
    }

    fn reference(&self, reference: &BytesRef<'_>) -> Result<String, XmlError> {
        if let Some(character) = reference.resolve_char_ref().map_err(|error| self.error(error.to_string()))? {
            return Ok(character.to_string());
        }
        let name = reference.xml10_content();
        resolve_predefined_entity(&name)
            .map(str::to_owned)
            .ok_or_else(|| self.error(format!("unknown entity &{name};")))
    }

    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
        match declaration.encoding() {
            Some(Ok(encoding))
                if !["utf-8", "us-ascii", "iso-8859-1"].contains(&encoding.to_ascii_lowercase().as_str()) =>
            {
                Err(self.error(format!("encoding {encoding} is not supported, use UTF-8")))
            }
            _ => Ok(()),
        }
    }

    /// Moves the line counter to where the next event begins.
    fn advance_line(&mut self) {
        let position = usize::try_from(self.xml.buffer_position()).unwrap_or(self.position);
        let passed = self.text.as_bytes().get(self.position..position).unwrap_or_default();
        self.line = self.line.saturating_add(newlines(passed));
        self.position = position.max(self.position);
    }

    fn error(&self, text: impl Into<String>) -> XmlError {
        XmlError { line: self.line, text: text.into() }
    }
}

fn close(mut element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => {
            element.text_before = parent.text.len();
            parent.children.push(element);
        }
        None => *root = Some(element),
    }
}

fn remark(kind: RemarkKind, open: &mut [Element], outside: &mut Vec<Remark>) {
    match open.last_mut() {
        Some(parent) => {
            let (children_before, text_before) = (parent.children.len(), parent.text.len());
            parent.remarks.push(Remark { children_before, text_before, kind });
        }
        None => outside.push(Remark { children_before: 0, text_before: 0, kind }),
    }
}

fn newlines(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|&&byte| byte == b'\n').count()).unwrap_or(u32::MAX)
}

// === impl Element ===

impl Element {
    /// Value of an attribute without name space.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.namespace.is_none() && &*attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}
