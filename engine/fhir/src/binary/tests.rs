//! Every way to write a Binary, cut anywhere; what is no Binary; what tries to hide content.

use proptest::prelude::*;

use super::*;

/// Reads `text` in pieces of `size` bytes.
fn read_in(format: Format, text: &str, size: usize) -> Result<(Resource, Option<Vec<u8>>), ParseError> {
    let limits = Limits { bytes: 4096, ..Limits::default() };
    let mut reader = BinaryReader::new(format, limits);
    let mut content = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        reader.push(piece, &mut content)?;
    }
    let read = reader.finish(&mut content)?;
    Ok((read.resource, read.has_data.then_some(content)))
}

/// Reads `text` in one piece and in every small one; all must say the same.
fn read(format: Format, text: &str) -> Result<(Resource, Option<Vec<u8>>), ParseError> {
    let whole = read_in(format, text, text.len().max(1));
    for size in 1..8 {
        let again = read_in(format, text, size);
        assert_eq!(again.is_ok(), whole.is_ok(), "{text} in pieces of {size}: {again:?}");
        if let (Ok(again), Ok(whole)) = (again, &whole) {
            assert_eq!(&again, whole, "{text} in pieces of {size}");
        }
    }
    whole
}

fn content_of(format: Format, text: &str) -> Option<Vec<u8>> {
    let (resource, content) = read(format, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(resource.get("data"), None);
    assert_eq!(resource.str("contentType"), Some("text/plain"), "{text}");
    content
}

#[test]
fn data_is_found_wherever_it_stands_and_however_it_is_written() {
    for (json, expected) in [
        (r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD"}"#, Some("ABC")),
        (r#"{"data":"QUJDRA==","resourceType":"Binary","contentType":"text/plain"}"#, Some("ABCD")),
        (r#" { "resourceType" : "Binary" , "data" : "QUJD" , "contentType" : "text/plain" } "#, Some("ABC")),
        (r#"{"resourceType":"Binary","contentType":"text/plain","data":"QU  JD"}"#, Some("ABC")),
        (r#"{"resourceType":"Binary","contentType":"text/plain","data":"QU\nJD\r\n"}"#, Some("ABC")),
        (
            r#"{"resourceType":"Binary","contentType":"text/plain","data":"Pz8\/\u002b\u002B8="}"#,
            Some("???\u{fb}\u{ef}"),
        ),
        (r#"{"resourceType":"Binary","contentType":"text/plain","d\u0061ta":"QUJD"}"#, Some("ABC")),
        (r#"{"resourceType":"Binary","contentType":"text/plain"}"#, None),
        (
            r#"{"resourceType":"Binary","meta":{"tag":[{"code":"data","display":"\"data\":\"x"}]},"contentType":"text/plain","data":"QQ=="}"#,
            Some("A"),
        ),
    ] {
        let expected = expected.map(|text| text.chars().map(|character| character as u8).collect::<Vec<u8>>());
        assert_eq!(content_of(Format::Json, json), expected, "{json}");
    }
    for (xml, expected) in [
        (
            r#"<Binary xmlns="http://hl7.org/fhir"><contentType value="text/plain"/><data value="QUJD"/></Binary>"#,
            Some("ABC"),
        ),
        (
            "<?xml version='1.0' encoding='UTF-8'?>\n<!-- <data value=\"x\"/> --><Binary xmlns='http://hl7.org/fhir'>\n\
             <!-- > --><contentType value='text/plain' />\n<data id=\"d\" value = 'QU\nJD&#10;&#x0a;RA=&#61;'>\n</data></Binary>",
            Some("ABCD"),
        ),
        (
            r#"<f:Binary xmlns:f="http://hl7.org/fhir"><f:contentType value="text/plain"/><f:data value="QQ=="/></f:Binary>"#,
            Some("A"),
        ),
        (
            r#"<Binary xmlns="http://hl7.org/fhir"><meta><tag><code value="&lt;data value='x'/>"/></tag></meta><contentType value="text/plain"/></Binary>"#,
            None,
        ),
    ] {
        assert_eq!(content_of(Format::Xml, xml), expected.map(|text| text.as_bytes().to_vec()), "{xml}");
    }
}

#[test]
fn an_identifier_of_the_data_stays_with_the_resource() {
    let xml =
        r#"<Binary xmlns="http://hl7.org/fhir"><contentType value="text/plain"/><data id="d" value="QUJD"/></Binary>"#;
    let (resource, content) = read(Format::Xml, xml).unwrap();
    assert_eq!(content.as_deref(), Some(&b"ABC"[..]));
    assert_eq!(resource.get("_data").and_then(|extra| extra.str("id")), Some("d"));
}

#[test]
fn what_is_no_binary_is_refused() {
    let long = "QUJD".repeat(2000);
    for json in [
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJ"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD="}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QQ==QUJD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"Q=JD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"Q-JD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"Q\u00e4JD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD"} x"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD","data":"QUJD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":"QUJD","d\u0061ta":"QUJD"}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":["QUJD"]}"#,
        r#"{"resourceType":"Binary","contentType":"text/plain","data":7}"#,
        r#"{"resourceType":"Binary" "data":"QUJD"}"#,
        r#"["data":"QUJD"]"#,
        "",
    ] {
        assert!(read(Format::Json, json).is_err(), "{json}");
    }
    for xml in [
        r#"<Binary xmlns="http://hl7.org/fhir"><data value="QUJD"/><data value="QUJD"/></Binary>"#,
        r#"<Binary xmlns="http://hl7.org/fhir"><data xmlns="http://other" value="QUJD"/></Binary>"#,
        r#"<Binary xmlns="http://hl7.org/fhir"><data value="QUJD" value="QUJD"/></Binary>"#,
        r#"<Binary xmlns="http://hl7.org/fhir"><data value="QU&amp;D"/></Binary>"#,
        r#"<Binary xmlns="http://hl7.org/fhir"><data value="QUJD"/>"#,
        r#"<!DOCTYPE x [<!ENTITY a "<data value='QUJD'/>">]><Binary xmlns="http://hl7.org/fhir"><data value="QUJD"/></Binary>"#,
        r#"<Binary xmlns="http://hl7.org/fhir"><![CDATA[<data value="QUJD"/>]]></Binary>"#,
    ] {
        assert!(read(Format::Xml, xml).is_err(), "{xml}");
    }
    let hidden = format!(r#"{{"resourceType":"Binary","contentType":"text/plain","x":{{"data":"{long}"}}}}"#);
    let error = read(Format::Json, &hidden).unwrap_err();
    assert!(error.is_hostile(), "only the content of a Binary may be large: {error}");
}

#[test]
fn an_error_names_its_place() {
    let text = "{\"resourceType\":\"Binary\",\n\"data\":\"QU*D\"}";
    let error = read_in(Format::Json, text, 5).unwrap_err();
    assert_eq!((error.position().line, error.position().column), (2, 11), "{error}");
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(
        content in proptest::collection::vec(any::<u8>(), 0..2000),
        size in 1_usize..300,
        pretty in any::<bool>(),
    ) {
        use ::base64::Engine as _;
        let mut binary = Resource::new("Binary");
        binary.set("contentType", "text/plain");
        let without = binary.clone();
        binary.set("data", ::base64::engine::general_purpose::STANDARD.encode(&content));
        for format in [Format::Json, Format::Xml] {
            let printed = crate::print(format, &binary, pretty);
            if content.is_empty() && format == Format::Xml {
                continue;
            }
            let (resource, read) = read_in(format, &printed, size).unwrap();
            prop_assert_eq!(&resource, &without);
            prop_assert_eq!(read.as_ref(), Some(&content));
        }
    }

    #[test]
    fn nothing_panics_and_pieces_do_not_matter(text in "[{}\\[\\]\"\\\\:,<>/!?= a-zA-Z0-9&;#'-]{0,200}", size in 1_usize..20) {
        for format in [Format::Json, Format::Xml] {
            let whole = read_in(format, &text, text.len().max(1)).is_ok();
            prop_assert_eq!(read_in(format, &text, size).is_ok(), whole);
        }
    }
}
