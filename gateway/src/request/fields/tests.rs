use super::*;

fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut head = RequestHeader::build("GET", b"/fhir/Task", None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, (*value).to_owned()).unwrap();
    }
    head
}

fn check(fields: &[(&'static str, &str)]) -> Result<(), FieldRefusal> {
    check_fields(&head(fields), &["localhost:8443".to_owned()], HeadLimits { bytes: 32 * 1024, fields: 100 })
}

#[test]
fn only_our_host_with_our_port_is_served() {
    assert_eq!(check(&[("host", "localhost:8443")]), Ok(()));
    assert_eq!(check(&[("host", "LOCALHOST:8443")]), Ok(()));
    for foreign in ["localhost", "localhost:10000", "evil", "localhost:8443.evil", ""] {
        assert_eq!(check(&[("host", foreign)]), Err(FieldRefusal::Misdirected), "{foreign}");
    }
    assert_eq!(check(&[]), Err(FieldRefusal::Host));
}

#[test]
fn fields_that_decide_stand_once() {
    let host = ("host", "localhost:8443");
    for name in ["content-type", "if-none-exist", "x-security-context", "if-match", "range"] {
        assert_eq!(check(&[host, (name, "a"), (name, "a")]), Err(FieldRefusal::Repeated), "{name}");
    }
    assert_eq!(check(&[host, ("accept", "a"), ("accept", "b")]), Ok(()));
}

#[test]
fn odd_fields_are_refused_with_their_status() {
    let host = ("host", "localhost:8443");
    let cases = [
        (("x_clientcert", "a"), 400),
        (("expect", "the unexpected"), 417),
        (("content-encoding", "gzip"), 415),
        (("range", "bytes=0-1,3-4"), 416),
    ];
    for (field, status) in cases {
        assert_eq!(check(&[host, field]).map_err(FieldRefusal::status), Err(status), "{field:?}");
    }
}

#[test]
fn websocket_needs_the_whole_handshake_on_http_1() {
    let whole = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(wants_websocket(&head(&whole).headers, false), Ok(true));
    assert_eq!(wants_websocket(&head(&whole).headers, true), Err(FieldRefusal::Upgrade));
    assert_eq!(wants_websocket(&head(&[]).headers, false), Ok(false));
    for missing in [0, 2, 3] {
        let fields: Vec<_> =
            whole.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
        assert_eq!(wants_websocket(&head(&fields).headers, false), Err(FieldRefusal::Upgrade));
    }
    assert_eq!(wants_websocket(&head(&[("upgrade", "h2c")]).headers, false), Err(FieldRefusal::Upgrade));
}
