//! The events of a document with what every reader of it needs: namespaces, counting, places, refusals.

use quick_xml::NsReader;
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::escape::{BadText, reference, unescape};
use super::{FHIR_NAMESPACE, XHTML_NAMESPACE};
use crate::error::Hostility;
use crate::text::is_fhir_char;
use crate::{Limits, ParseError};

/// The reader and what was counted so far.
pub(super) struct Reader<'a> {
    pub(super) xml: NsReader<&'a [u8]>,
    pub(super) text: &'a str,
    /// Where the last event began.
    before: usize,
    depth: usize,
    members: usize,
    pub(super) limits: &'a Limits,
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
            Event::Start(start) | Event::Empty(start) => {
                self.count_member()?;
                // Counted before anybody compares them with each other, which costs the square of their number.
                if start.attributes().with_checks(false).take(self.limits.attributes + 1).count()
                    > self.limits.attributes
                {
                    return Err(self.hostile(Hostility::Members(self.limits.attributes)));
                }
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

    fn check_declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), ParseError> {
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
    pub(super) fn item(&mut self) -> Result<Item<'a>, ParseError> {
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

    pub(super) fn count_member(&mut self) -> Result<(), ParseError> {
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
        match reference(name) {
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

    pub(super) fn bad_text(&self, tag: &Tag<'a>, bad: BadText) -> ParseError {
        match bad {
            BadText::Hostile(reason) => ParseError::hostile(reason, self.text.as_bytes(), tag.at),
            BadText::Structure(text) => self.at(tag, text),
        }
    }

    pub(super) fn bad_attribute(&self, tag: &Tag<'a>, error: &AttrError) -> ParseError {
        match error {
            AttrError::Duplicated(..) => {
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

/// Whether every character may stand in a document.
pub(super) fn holds_only_fhir_chars(text: &str) -> bool {
    text.chars().all(is_fhir_char)
}
