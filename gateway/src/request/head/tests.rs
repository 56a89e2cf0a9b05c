use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 32 * 1024, fields: 100 };

fn scan(head: &[u8]) -> Progress {
    HeadScanner::new(LIMITS).advance(head)
}

fn with_fields(fields: &str) -> Vec<u8> {
    format!("GET /fhir/Task HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

#[test]
fn good_head_is_complete_and_the_body_stays_outside() {
    let head = with_fields("Host: localhost\r\nContent-Length: 3\r\nX-Empty:\r\n");
    let mut bytes = head.clone();
    bytes.extend_from_slice(b"abc");
    assert_eq!(scan(&bytes), Progress::Complete(head.len()));
}

#[test]
fn smuggling_corpus_is_refused_with_its_reason() {
    use HeadRefusal::*;
    let host = "Host: localhost\r\n";
    let cases: Vec<(Vec<u8>, HeadRefusal)> = vec![
        (with_fields(&format!("{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length: 5\r\nContent-Length: 5\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length: 5\r\nContent-Length: 6\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length: 3, 3\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length: +3\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length:\r\n")), ContentLength),
        (with_fields(&format!("{host}Content-Length: 99999999999999999999\r\n")), ContentLength),
        (with_fields(&format!("{host}Transfer-Encoding: xchunked\r\n")), TransferEncoding),
        (with_fields(&format!("{host}Transfer-Encoding: chunked, identity\r\n")), TransferEncoding),
        (with_fields(&format!("{host}Transfer-Encoding: gzip, chunked\r\n")), TransferEncoding),
        (with_fields(&format!("{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), TransferEncoding),
        (with_fields(&format!("{host}Transfer-Encoding : chunked\r\n")), FieldName),
        (with_fields(&format!("{host}X-Folded: a\r\n b\r\n")), FieldName),
        (with_fields(&format!("{host}x_clientcert: a\r\n")), FieldName),
        (with_fields(&format!("{host}: a\r\n")), FieldName),
        (with_fields(&format!("{host}no colon\r\n")), FieldName),
        (with_fields(&format!("{host}X: a\0b\r\n")), FieldValue),
        (with_fields(&format!("{host}X: a\rb\r\n")), LineEnd),
        (with_fields("Accept: a\r\n"), HostMissing),
        (with_fields("Host: a\r\nHost: a\r\n"), HostRepeated),
        (b"GET /fhir/Task HTTP/1.1\nHost: localhost\n\n".to_vec(), LineEnd),
        (b"GET /fhir/Task HTTP/1.1\r\nHost: localhost\n\r\n".to_vec(), LineEnd),
        (b"GET /fhir/Task a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"GET  /fhir/Task HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"GET /fhir/T\xc3\xa4sk HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"GET /fhir/Task\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"GET /fhir/Task#a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"\r\nGET /fhir/Task HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), RequestLine),
        (b"GET https://localhost/fhir/Task HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), TargetForm),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), TargetForm),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Connect),
        (b"GET /fhir/Task HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Version),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), TransferEncoding),
    ];
    for (head, refusal) in cases {
        assert_eq!(scan(&head), Progress::Refused(refusal), "{}", head.escape_ascii());
    }
}

#[test]
fn too_many_fields_and_too_many_bytes_are_refused() {
    let many = format!("Host: a\r\n{}", "X: y\r\n".repeat(LIMITS.fields));
    assert_eq!(scan(&with_fields(&many)), Progress::Refused(HeadRefusal::TooManyFields));
    let long = format!("Host: a\r\nX: {}\r\n", "y".repeat(LIMITS.bytes));
    assert_eq!(scan(&with_fields(&long)), Progress::Refused(HeadRefusal::TooLarge));
    assert_eq!(scan(&vec![b'A'; LIMITS.bytes + 1]), Progress::Refused(HeadRefusal::TooLarge));
}

proptest! {
    #[test]
    fn result_does_not_depend_on_how_the_bytes_arrive(
        bytes in prop::collection::vec(prop::sample::select(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nX:_ \n\r\0".to_vec()), 0..200),
        chunk in 1_usize..20,
    ) {
        let whole = scan(&bytes);
        let mut scanner = HeadScanner::new(LIMITS);
        let mut last = Progress::Partial;
        for end in (0..=bytes.len()).step_by(chunk).chain([bytes.len()]) {
            last = scanner.advance(&bytes[..end]);
            if last != Progress::Partial {
                break;
            }
        }
        prop_assert_eq!(whole, last);
    }

    #[test]
    fn complete_head_has_one_reading_for_a_strict_line_splitter(
        names in prop::collection::vec("[A-Za-z-]{1,12}", 0..5),
        values in prop::collection::vec("[ -~]{0,20}", 5),
    ) {
        let fields: String = names.iter().zip(&values).map(|(name, value)| format!("X{name}: {value}\r\n")).collect();
        let head = with_fields(&format!("Host: a\r\n{fields}"));
        prop_assert_eq!(scan(&head), Progress::Complete(head.len()));
    }
}
