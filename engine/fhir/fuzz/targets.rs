//! Fuzz targets of the crate: plain functions over bytes that panic when a promise is broken.
//!
//! `replay.rs` runs them on the corpus and on mutations of it; `cargo fuzz` may call them as well.

use fhir::search::{Context, extract, matches_in, parse_query_in};
use fhir::{Limits, ParseError, ResourceType, json, xml};

/// Reading never panics; what was read prints to something that reads the same, and never to dangerous XML.
pub(crate) fn json(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(value) = json::parse_value(bytes, &limits) else { return };
    for pretty in [false, true] {
        let printed = json::print_value(&value, pretty);
        assert_eq!(json::parse_value(printed.as_bytes(), &limits).as_ref(), Ok(&value));
    }
    let Ok(resource) = json::parse(bytes, &limits) else { return };
    let _ = extract(&resource);
    let _ = fhir::reference::collect(&resource);
    let xml = xml::print(&resource, false);
    match xml::parse(xml.as_bytes(), &limits) {
        Ok(again) => assert_eq!(xml::print(&again, false), xml),
        Err(ParseError::Structure { .. }) => {}
        Err(error @ ParseError::Hostile { .. }) => panic!("{error}: {xml}"),
    }
}

/// Reading never panics; what was read prints to the same tree in both formats.
pub(crate) fn xml(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(resource) = xml::parse(bytes, &limits) else { return };
    for pretty in [false, true] {
        let printed = xml::print(&resource, pretty);
        assert_eq!(xml::parse(printed.as_bytes(), &limits).as_ref(), Ok(&resource), "{printed}");
        let printed = json::print(&resource, pretty);
        assert_eq!(json::parse(printed.as_bytes(), &limits).as_ref(), Ok(&resource), "{printed}");
    }
    let _ = extract(&resource);
    let _ = fhir::reference::collect(&resource);
}

/// Reading a query never panics, and what links repeat means the same.
pub(crate) fn search(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let context = Context { base: Some("https://dic.example/fhir"), ..Context::default() };
    for resource_type in ResourceType::ALL {
        let query = parse_query_in(&context, *resource_type, raw.trim_end());
        let again = parse_query_in(&context, *resource_type, &query.echo());
        assert_eq!(again.errors, [], "{}", query.echo());
        assert_eq!(again.echo(), query.echo());
        let _ = matches_in(&context, &query, &fhir::Resource::new(resource_type.as_str()));
    }
}

/// A Binary that is read in pieces is read as in one, and what is accepted is what the ordinary parser sees: the content
/// that was handed out is the `data` of the resource, and nothing else is.
pub(crate) fn binary(bytes: &[u8]) {
    for format in [fhir::Format::Json, fhir::Format::Xml] {
        let whole = read_binary(format, bytes, bytes.len().max(1));
        for size in [1, 7] {
            let pieces = read_binary(format, bytes, size);
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
        let Some((printed, content)) = whole else { continue };
        let parsed = fhir::parse(format, bytes, &Limits::default());
        let Ok(mut parsed) = parsed else { panic!("only the reader in pieces accepts it: {printed}") };
        let data = parsed.remove("data");
        assert_eq!(json::print(&parsed, false), printed);
        assert_eq!(data.is_some(), content.is_some());
    }
}

/// The resource as it prints, and its content.
fn read_binary(format: fhir::Format, bytes: &[u8], size: usize) -> Option<(String, Option<Vec<u8>>)> {
    let mut reader = fhir::binary::BinaryReader::new(format, Limits::default());
    let mut content = Vec::new();
    for piece in bytes.chunks(size) {
        reader.push(piece, &mut content).ok()?;
    }
    let read = reader.finish(&mut content).ok()?;
    Some((json::print(&read.resource, false), read.has_data.then_some(content)))
}
