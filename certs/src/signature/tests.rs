use time::OffsetDateTime;

use super::*;
use crate::development::{Authority, KeyType, Subject, Validity};
use crate::pem::{read_certificates, read_private_key};

fn pair(key: KeyType) -> (Certificate, PrivateKey) {
    let validity = Validity::days(OffsetDateTime::now_utc(), 10);
    let authority = Authority::root(&Subject::german("Test", "Root"), key, validity).unwrap();
    let issued = authority.issue_person(&Subject::german("Test", "Officer"), key, validity).unwrap();
    let certificate = read_certificates(issued.certificate_pem().as_bytes(), "officer.pem").unwrap().remove(0);
    (certificate, read_private_key(issued.private_key_pem().as_bytes(), "officer.key").unwrap())
}

#[test]
fn a_signature_holds_for_its_content_its_purpose_and_its_key_only() {
    for kind in [KeyType::EcdsaP256, KeyType::Rsa2048] {
        let (certificate, key) = pair(kind);
        let signature = Signature::sign(&key, SignedPurpose::Policy, b"tree").unwrap();
        assert_eq!(signature.verify(&certificate, SignedPurpose::Policy, b"tree"), Ok(()));
        assert_eq!(signature.verify(&certificate, SignedPurpose::Policy, b"trees"), Err(SignatureError::Wrong));
        assert_eq!(signature.verify(&certificate, SignedPurpose::AllowListChange, b"tree"), Err(SignatureError::Wrong));
        let (other, _) = pair(kind);
        assert_eq!(signature.verify(&other, SignedPurpose::Policy, b"tree"), Err(SignatureError::Wrong));
    }
    let (certificate, _) = pair(KeyType::EcdsaP256);
    let (_, key) = pair(KeyType::Rsa2048);
    let signature = Signature::sign(&key, SignedPurpose::Policy, b"tree").unwrap();
    assert!(signature.verify(&certificate, SignedPurpose::Policy, b"tree").is_err());
}

#[test]
fn every_flipped_bit_of_the_text_is_refused() {
    let (certificate, key) = pair(KeyType::EcdsaP256);
    let text = Signature::sign(&key, SignedPurpose::Policy, b"tree").unwrap().to_string();
    assert_eq!(text.parse::<Signature>().unwrap().to_string(), text);
    for index in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let holds = String::from_utf8(bytes).ok().and_then(|changed| changed.parse::<Signature>().ok());
            let holds = holds.map(|changed| changed.verify(&certificate, SignedPurpose::Policy, b"tree"));
            assert!(!matches!(holds, Some(Ok(()))), "byte {index}, bit {bit} of {text}");
        }
    }
}
