//! Just enough DER to tell what kind of file a hospital was given: tags and lengths of the first elements.

/// One element: its tag, its content, and what follows it.
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) rest: &'a [u8],
}

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;

const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];

/// What a DER file is, by its outermost shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Three parts: to be signed, algorithm, signature. A certificate, a request or a revocation list.
    Certificate,
    SigningRequest,
    RevocationList,
    Pkcs12,
    Pkcs7,
    Pkcs8Key,
    Pkcs1Key,
    Sec1Key,
    EncryptedKey,
}

/// Reads the first element, if it is complete.
pub(crate) fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        rest = after;
        digits.iter().fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit))
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// The kind of DER file, if it is one that we know.
pub(crate) fn shape(bytes: &[u8]) -> Option<Shape> {
    let outer = element(bytes).filter(|outer| outer.tag == SEQUENCE)?;
    let first = element(outer.content)?;
    let second = element(first.rest);
    match (first.tag, second.as_ref().map(|second| second.tag)) {
        (INTEGER, Some(SEQUENCE)) if first.content == [3] => Some(Shape::Pkcs12),
        (INTEGER, Some(SEQUENCE)) => Some(Shape::Pkcs8Key),
        (INTEGER, Some(OCTET_STRING)) => Some(Shape::Sec1Key),
        (INTEGER, Some(INTEGER)) => Some(Shape::Pkcs1Key),
        (OID, _) if first.content.starts_with(PKCS7) => Some(Shape::Pkcs7),
        (SEQUENCE, Some(OCTET_STRING)) => Some(Shape::EncryptedKey),
        (SEQUENCE, Some(SEQUENCE)) => Some(signed_shape(first.content)),
        _ => None,
    }
}

/// Tells the three signed structures apart by what they begin with (RFC 5280 4.1, 5.1; RFC 2986 4).
fn signed_shape(to_be_signed: &[u8]) -> Shape {
    let Some(first) = element(to_be_signed) else { return Shape::Certificate };
    let tags: Vec<u8> = std::iter::successors(element(first.rest), |previous| element(previous.rest))
        .take(2)
        .map(|found| found.tag)
        .collect();
    match (first.tag, tags.as_slice()) {
        // version 0, subject, public key
        (INTEGER, [SEQUENCE, SEQUENCE]) if first.content == [0] => Shape::SigningRequest,
        // algorithm, issuer, thisUpdate
        (SEQUENCE, [SEQUENCE, 0x17 | 0x18]) => Shape::RevocationList,
        // version 1 means 2, algorithm, issuer; a version 1 certificate has its serial number there, seldom 1
        (INTEGER, [SEQUENCE, SEQUENCE]) if first.content == [1] && third_is_time(first.rest) => Shape::RevocationList,
        _ => Shape::Certificate,
    }
}

fn third_is_time(bytes: &[u8]) -> bool {
    element(bytes)
        .and_then(|algorithm| element(algorithm.rest))
        .and_then(|issuer| element(issuer.rest))
        .is_some_and(|third| matches!(third.tag, 0x17 | 0x18))
}
