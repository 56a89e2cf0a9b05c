//! Narratives: the XHTML `div`, which the tree keeps as text.
//!
//! The text of a document is taken over as it stands once it is known to be well-formed and complete in itself, and it is
//! written back as it stands only if that still holds: a string that came in as JSON cannot break out of its element.

use quick_xml::events::Event;

use super::XHTML_NAMESPACE;
use super::cursor::{Namespace, Reader, Tag, holds_only_fhir_chars};
use crate::error::Hostility;
use crate::{Limits, ParseError};

/// Reads the `div` that `tag` opens, with its tags.
pub(super) fn read<'a>(reader: &mut Reader<'a>, tag: &Tag<'a>) -> Result<String, ParseError> {
    if tag.start.name().prefix().is_some() {
        return Err(reader.at(tag, "a narrative with a namespace prefix"));
    }
    reader.check_attributes(&tag.start)?;
    let declares_namespace = tag.start.attributes().flatten().any(|attribute| attribute.key.into_inner() == "xmlns");
    if !tag.is_empty {
        skip_content(reader)?;
    }
    let text = reader.text_since(tag.at);
    if text.len() > reader.limits().string_bytes {
        return Err(reader.hostile(Hostility::Text(reader.limits().string_bytes)));
    }
    if !holds_only_fhir_chars(text) {
        return Err(reader.at(tag, "a character that XML cannot hold"));
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    Ok(if declares_namespace { text } else { text.replacen("<div", &format!("<div xmlns=\"{XHTML_NAMESPACE}\""), 1) })
}

fn skip_content(reader: &mut Reader<'_>) -> Result<(), ParseError> {
    let mut open = 1;
    while open > 0 {
        match reader.narrative_event()? {
            Event::Start(start) => {
                if start.name().prefix().is_some() {
                    return Err(reader.structure("a prefixed element in a narrative"));
                }
                reader.check_attributes(&start)?;
                reader.enter()?;
                open += 1;
            }
            Event::Empty(start) => {
                if start.name().prefix().is_some() {
                    return Err(reader.structure("a prefixed element in a narrative"));
                }
                reader.check_attributes(&start)?;
            }
            Event::End(_) => {
                open -= 1;
                if open > 0 {
                    reader.leave();
                }
            }
            Event::GeneralRef(name) => {
                super::escape::reference(&name).map_err(|bad| reader.bad_text_here(bad))?;
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
            Event::Eof => return Err(reader.structure("the document ends inside a narrative")),
            _ => return Err(reader.hostile(Hostility::ProcessingInstruction)),
        }
    }
    Ok(())
}

/// Whether `text` is one complete `div` in the XHTML namespace, as `Narrative.div` must be.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let limits = Limits::default();
    if !text.starts_with("<div") || text.len() > limits.bytes {
        return false;
    }
    let mut reader = Reader::new(text, &limits);
    let Ok(tag) = reader.root() else { return false };
    tag.local_name() == "div"
        && tag.namespace == Namespace::Xhtml
        && read(&mut reader, &tag).is_ok_and(|read| read == text)
        && reader.end_of_document().is_ok()
        && text.ends_with('>')
        && !text.ends_with("-->")
}
