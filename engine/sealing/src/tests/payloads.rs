//! What is sealed is opened by whom it is for, as it was, or not at all.

use proptest::prelude::*;

use super::{BINDING, key, open, ring, seal};
use crate::keys::KeyError;
use crate::limits::{CHUNK, TAG};
use crate::seal::HEADER;
use crate::{Binding, Keyring, OpenError, Opener, PrivateKey, Sealer};

/// Bytes of a chunk that is not the last.
const SEALED_CHUNK: usize = 5 + CHUNK + TAG;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 % 251) as u8).collect()
}

#[test]
fn every_length_around_a_chunk_comes_back() {
    for length in [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17] {
        let plaintext = text(length);
        let sealed = seal(&plaintext);
        assert_eq!(open(&sealed, &ring(1), &BINDING).unwrap(), plaintext, "{length}");
        let chunks = length.div_ceil(CHUNK).max(1);
        assert_eq!(sealed.len(), HEADER + length + chunks * (5 + TAG));
    }
}

#[test]
fn small_writes_and_large_ones_seal_the_same() {
    let plaintext = text(CHUNK + 500);
    let mut sealer = Sealer::new(Vec::new(), &key(1).public(), &BINDING).unwrap();
    plaintext.chunks(997).for_each(|piece| sealer.write(piece).unwrap());
    assert_eq!(open(&sealer.finish().unwrap(), &ring(1), &BINDING).unwrap(), plaintext);
}

#[test]
fn sealing_twice_gives_different_bytes_and_none_of_the_plaintext() {
    let plaintext = b"Anna Mueller 1980-02-29".repeat(10);
    let (first, second) = (seal(&plaintext), seal(&plaintext));
    assert_ne!(first, second);
    assert!(!first.windows(7).any(|window| window == b"Mueller"));
}

#[test]
fn whoever_it_is_not_for_does_not_open_it() {
    let sealed = seal(b"secret");
    assert!(matches!(open(&sealed, &ring(2), &BINDING), Err(OpenError::UnknownKey)));
    assert!(matches!(open(&sealed, &Keyring::default(), &BINDING), Err(OpenError::UnknownKey)));
    // Told that it is for another key, the key of that other does not open it either.
    let mut redirected = sealed;
    redirected[11..43].copy_from_slice(&key(2).public().id());
    assert!(matches!(open(&redirected, &ring(2), &BINDING), Err(OpenError::Refused)));
}

#[test]
fn another_sender_recipient_project_purpose_or_run_is_refused() {
    let sealed = seal(b"secret");
    let others = [
        Binding { sender: "dic-2.example", ..BINDING },
        Binding { recipient: "ttp.example", ..BINDING },
        Binding { project: "project-2", ..BINDING },
        Binding { purpose: "submitLinkage", ..BINDING },
        Binding { run: "5f2c1a4e-0000-4000-8000-000000000002", ..BINDING },
        // The same letters, cut at another place.
        Binding { sender: "dic-1.exampled", recipient: "ms.example", ..BINDING },
    ];
    for other in others {
        assert!(matches!(open(&sealed, &ring(1), &other), Err(OpenError::Refused)), "{other:?}");
    }
}

#[test]
fn a_payload_that_is_cut_off_anywhere_is_refused() {
    let sealed = seal(&text(CHUNK + 100));
    let cuts = [HEADER, HEADER + 3, HEADER + 5, HEADER + SEALED_CHUNK - 1, HEADER + SEALED_CHUNK, sealed.len() - 1];
    for cut in cuts {
        assert!(matches!(open(&sealed[..cut], &ring(1), &BINDING), Err(OpenError::Refused)), "{cut}");
    }
    assert!(matches!(open(&sealed[..HEADER - 1], &ring(1), &BINDING), Err(OpenError::Format)));
    assert!(matches!(open(b"", &ring(1), &BINDING), Err(OpenError::Format)));
}

#[test]
fn the_first_chunk_is_not_made_the_last_one() {
    let mut sealed = seal(&text(CHUNK + 100));
    sealed.truncate(HEADER + SEALED_CHUNK);
    sealed[HEADER] = 1;
    assert!(matches!(open(&sealed, &ring(1), &BINDING), Err(OpenError::Refused)));
}

#[test]
fn exchanged_repeated_and_added_chunks_are_refused() {
    let sealed = seal(&text(2 * CHUNK + 100));
    let (header, rest) = sealed.split_at(HEADER);
    let (first, rest) = rest.split_at(SEALED_CHUNK);
    let (second, last) = rest.split_at(SEALED_CHUNK);
    let made = [
        [header, second, first, last].concat(),
        [header, first, first, second, last].concat(),
        [header, first, last].concat(),
        [header, first, second, last, last].concat(),
        [header, first, second, last, b"x"].concat(),
    ];
    assert_eq!(open(&sealed, &ring(1), &BINDING).unwrap(), text(2 * CHUNK + 100));
    for payload in made {
        assert!(matches!(open(&payload, &ring(1), &BINDING), Err(OpenError::Refused)));
    }
}

#[test]
fn after_an_error_nothing_more_comes() {
    let mut sealed = seal(&text(2 * CHUNK + 100));
    sealed[HEADER + 100] ^= 1;
    let keys = ring(1);
    let mut opener = Opener::new(sealed.as_slice(), &keys, &BINDING).unwrap();
    assert!(opener.next_chunk().is_err());
    assert!(opener.next_chunk().is_err());
}

#[test]
fn share_c15_old_payloads_open_after_a_rotation_and_new_ones_use_the_new_key() {
    let old = seal(b"before");
    let keys = Keyring::new(vec![key(5), key(1)]).unwrap();
    assert_eq!(open(&old, &keys, &BINDING).unwrap(), b"before");
    assert_eq!(keys.current(), Some(key(5).public()));
    let mut sealer = Sealer::new(Vec::new(), &keys.current().unwrap(), &BINDING).unwrap();
    sealer.write(b"after").unwrap();
    let new = sealer.finish().unwrap();
    assert_eq!(open(&new, &keys, &BINDING).unwrap(), b"after");
    assert!(matches!(open(&new, &ring(1), &BINDING), Err(OpenError::UnknownKey)));
}

#[test]
fn keys_have_32_bytes_and_are_not_printed() {
    assert_eq!(PrivateKey::new(&[1; 31]).unwrap_err(), KeyError::Length { found: 31 });
    let key = PrivateKey::generate().unwrap();
    assert_eq!(PrivateKey::new(key.secret_bytes()).unwrap().public(), key.public());
    assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    assert!(Keyring::new((0..17).map(super::key).collect()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_byte_can_be_changed(place in 0_usize..400, bit in 0_u32..8) {
        let plaintext = text(300);
        let mut sealed = seal(&plaintext);
        let place = place % sealed.len();
        sealed[place] ^= 1 << bit;
        prop_assert!(open(&sealed, &ring(1), &BINDING).is_err());
    }

    #[test]
    fn any_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), keep in 0_usize..80) {
        let mut payload = seal(b"x");
        payload.truncate(keep);
        payload.extend(bytes);
        prop_assert!(open(&payload, &ring(1), &BINDING).is_err());
    }
}
