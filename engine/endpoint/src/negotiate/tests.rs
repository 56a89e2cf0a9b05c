use super::{BadContentType, Negotiated, NotAcceptable, Summary, accepts, body_format, wants_raw_binary};
use fhir::Format;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

fn headers(accept: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
    }
    headers
}

fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn fhir_021_xml_is_the_default_and_the_scan_order_is_that_of_the_reference() {
    let table = [
        (None, Some((Format::Xml, "application/fhir+xml"))),
        (Some("*/*"), Some((Format::Xml, "application/fhir+xml"))),
        (Some("application/fhir+json"), Some((Format::Json, "application/fhir+json"))),
        (Some("application/fhir+json; fhirVersion=4.0"), Some((Format::Json, "application/fhir+json"))),
        (Some("application/fhir+xml, application/fhir+json"), Some((Format::Json, "application/fhir+json"))),
        (Some("text/html, application/xml;q=0.9, */*;q=0.8"), Some((Format::Xml, "application/xml"))),
        (Some("application/JSON"), Some((Format::Json, "application/json"))),
        (Some("text/xml"), Some((Format::Xml, "text/xml"))),
        (Some("text/html"), None),
        (Some("image/png"), None),
    ];
    for (accept, expected) in table {
        let chosen = Negotiated::of(&headers(accept), &[]).map(|chosen| (chosen.format, chosen.media_type));
        assert_eq!(chosen, expected.ok_or(NotAcceptable), "{accept:?}");
    }
}

#[test]
fn fhir_022_and_023_format_parameter_overrides_accept() {
    let table = [
        ("json", Some((Format::Json, "application/fhir+json"))),
        ("xml", Some((Format::Xml, "application/fhir+xml"))),
        ("application/fhir json", Some((Format::Json, "application/fhir+json"))),
        ("application/json", Some((Format::Json, "application/json"))),
        ("html", None),
        ("foo", None),
        ("*/*", None),
    ];
    for (format, expected) in table {
        let chosen = Negotiated::of(&headers(Some("application/fhir+xml")), &query(&[("_format", format)]))
            .map(|chosen| (chosen.format, chosen.media_type));
        assert_eq!(chosen, expected.ok_or(NotAcceptable), "{format}");
    }
}

#[test]
fn pretty_is_exactly_true_and_an_unknown_summary_is_ignored() {
    let chosen = Negotiated::of(&headers(None), &query(&[("_pretty", "true"), ("_summary", "count")])).unwrap();
    assert!(chosen.pretty);
    assert_eq!(chosen.summary, Summary::Count);
    let chosen = Negotiated::of(&headers(None), &query(&[("_pretty", "1"), ("_summary", "some")])).unwrap();
    assert!(!chosen.pretty);
    assert_eq!(chosen.summary, Summary::False);
}

#[test]
fn a_body_is_read_in_six_types_and_utf_8_only() {
    let table = [
        (Some("application/fhir+json"), Ok(Format::Json)),
        (Some("application/json; charset=UTF-8"), Ok(Format::Json)),
        (Some("application/xml+fhir;charset=\"utf-8\""), Ok(Format::Xml)),
        (Some("application/fhir+xml; charset=ISO-8859-1"), Err(BadContentType::Charset)),
        (Some("text/plain"), Err(BadContentType::Unsupported)),
        (None, Err(BadContentType::Unsupported)),
    ];
    for (content_type, expected) in table {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        }
        assert_eq!(body_format(&headers), expected, "{content_type:?}");
    }
}

#[test]
fn a_binary_is_read_raw_unless_a_fhir_type_comes_first() {
    let table = [
        (None, true),
        (Some("*/*"), true),
        (Some("text/plain"), true),
        (Some("application/json"), true),
        (Some("application/fhir+json"), false),
        (Some("application/fhir+xml;q=1, text/plain"), false),
    ];
    for (accept, raw) in table {
        assert_eq!(wants_raw_binary(&headers(accept), &[]), raw, "{accept:?}");
    }
    assert!(!wants_raw_binary(&headers(None), &query(&[("_format", "json")])));
}

#[test]
fn fhir_059_and_060_stored_type_must_be_acceptable() {
    assert!(accepts(&headers(Some("text/plain")), "text/plain;charset=utf-8"));
    assert!(accepts(&headers(Some("text/*")), "text/plain"));
    assert!(accepts(&headers(None), "text/plain"));
    assert!(!accepts(&headers(Some("application/xml")), "text/plain"));
}
