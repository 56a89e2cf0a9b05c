//! Fuzz target of the raw request head, as a plain function: whatever the bytes are, nothing panics, a head has one verdict
//! however it is cut into pieces, and the HTTP parser behind reads an accepted head as it was judged.
//!
//! The corpus in `fuzz/corpus` is replayed and mutated in the tests of this crate; `cargo fuzz` can call the same function.

use crate::request::{HeadLimits, HeadScanner, Progress};

/// Most fields and bytes of a head, smaller than those of the product so that small inputs reach them.
const LIMITS: HeadLimits = HeadLimits { bytes: 2048, fields: 20 };

/// What a connection sends first.
///
/// # Panics
/// If the head has two readings, which is the finding.
pub fn request_head(data: &[u8]) {
    let whole = HeadScanner::new(LIMITS).advance(data);
    let mut scanner = HeadScanner::new(LIMITS);
    let mut piecewise = Progress::Partial;
    for end in 1..=data.len() {
        piecewise = scanner.advance(data.get(..end).unwrap_or(data));
        if piecewise != Progress::Partial {
            break;
        }
    }
    match (&whole, &piecewise) {
        (Progress::Complete(one), Progress::Complete(other)) => assert_eq!(one, other, "two ends of one head"),
        (Progress::Partial, Progress::Partial) | (Progress::Refused(_), Progress::Refused(_)) => {}
        _ => panic!("whole {whole:?}, in pieces {piecewise:?}"),
    }
    if let Progress::Complete(end) = whole {
        let head = data.get(..end).unwrap_or(data);
        has_one_reading(head);
    }
}

/// The parser of the next layer sees the same parts, or refuses.
fn has_one_reading(head: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(parsed) = request.parse(head) else { return };
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "another end of the head");
    let text = String::from_utf8_lossy(head);
    let line = format!(
        "{} {} HTTP/1.{}\r\n",
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
        request.version.unwrap_or_default()
    );
    assert!(text.starts_with(&line), "another request line: {line:?}");
    let count = |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    assert_eq!(request.headers.len(), head.split(|byte| *byte == b'\n').count() - 3, "another number of fields");
    assert_eq!(count("host"), 1);
    assert!(count("content-length") + count("transfer-encoding") <= 1, "two framings");
    for field in request.headers.iter() {
        assert!(!field.name.contains('_'), "an underscore in {}", field.name);
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            assert!(field.value.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
    }
}

#[cfg(test)]
mod tests;
