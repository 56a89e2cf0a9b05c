//! Correlation ids: random, from bytes that each thread fetches for many ids at once.

use std::cell::RefCell;

use link::CorrelationId;
use rustls::crypto::CryptoProvider;

/// Bytes of one id.
const ID_BYTES: usize = 16;

/// Ids for which bytes are fetched at once.
const IDS: usize = 128;

thread_local! {
    /// Bytes that no id was made of yet.
    static RANDOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An id for the request at hand.
pub(crate) fn next() -> CorrelationId {
    let bytes = RANDOM.with_borrow_mut(|left| {
        if left.len() < ID_BYTES {
            *left = fetch()?;
        }
        // Each byte is used once.
        let rest = left.len() - ID_BYTES;
        left.split_off(rest).try_into().ok()
    });
    bytes.map_or_else(CorrelationId::random, CorrelationId::from_random)
}

/// Fresh bytes; none if there is no generator, and then the operating system is asked for each id.
fn fetch() -> Option<Vec<u8>> {
    let mut bytes = vec![0; ID_BYTES * IDS];
    CryptoProvider::get_default()?.secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice() {
        certs::install_provider();
        let ids: std::collections::HashSet<_> = (0..3 * IDS).map(|_| next()).collect();
        assert_eq!(ids.len(), 3 * IDS);
        let text = next().to_string();
        assert_eq!((text.len(), text.as_bytes()[14]), (36, b'4'), "{text}");
    }
}
