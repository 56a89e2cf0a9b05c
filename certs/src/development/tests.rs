use super::*;
use crate::certificate::{ExtendedKeyUsage, KeyUsage};
use crate::testing::{CONSORTIUM, NOW, year};

#[test]
fn a_server_is_valid_for_localhost_loopback_and_its_hosts() {
    let server = CONSORTIUM
        .root
        .issue_server(
            &Subject::german("A", "a.example"),
            &["a.example", "10.0.0.7", "127.0.0.1"],
            KeyType::EcdsaP256,
            year(),
        )
        .unwrap();
    let certificate = server.certificate();
    assert_eq!(certificate.dns_names(), ["localhost", "a.example"]);
    assert_eq!(list(certificate.ip_addresses()), ["127.0.0.1", "::1", "10.0.0.7"]);
    assert_eq!(certificate.extended_key_usage(), Some(&[ExtendedKeyUsage::ServerAuth][..]));
}

fn list<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn an_organization_and_a_person_are_clients() {
    let organization = CONSORTIUM.organization.certificate();
    assert_eq!(organization.extended_key_usage(), Some(&[ExtendedKeyUsage::ClientAuth][..]));
    assert_eq!(organization.key_usage(), Some(&[KeyUsage::DigitalSignature][..]));
    let subject = Subject::german("A", "Erika").with_email("e@a.example");
    let person = CONSORTIUM.issuing.issue_person(&subject, KeyType::EcdsaP256, year()).unwrap();
    assert!(person.certificate().names_client_auth());
    assert_eq!(person.certificate().subject().values("emailAddress").collect::<Vec<_>>(), ["e@a.example"]);
    assert_eq!(person.certificate().emails(), ["e@a.example"]);
    assert!(!person.certificate().is_authority());
}

#[test]
fn a_stored_authority_issues_certificates_of_the_same_chain() {
    for authority in [&CONSORTIUM.root, &CONSORTIUM.issuing] {
        let again = Authority::from_pem(&authority.chain_pem(), authority.private_key_pem(), "ca.pem").unwrap();
        assert_eq!(again.certificate(), authority.certificate());
        let issued =
            again.issue_organization(&Subject::german("A", "a.example"), &[], KeyType::EcdsaP256, year()).unwrap();
        let store = crate::TrustStore::from_certificates(vec![CONSORTIUM.root.certificate().clone()], "t").unwrap();
        let report =
            crate::inspect::verify(issued.chain_pem().as_bytes(), "i", &store, crate::chain::Purpose::Client, NOW)
                .unwrap();
        assert_eq!(report.problem, None);
    }
    let mismatch = Authority::from_pem(&CONSORTIUM.root.chain_pem(), CONSORTIUM.issuing.private_key_pem(), "ca.pem");
    assert!(matches!(mismatch, Err(DevelopmentError::Mismatch(_))));
}

#[test]
fn names_that_cannot_be_encoded_are_errors() {
    let subject = Subject { country: Some("Österreich".to_owned()), ..Subject::german("A", "a") };
    assert!(CONSORTIUM.root.issue_person(&subject, KeyType::EcdsaP256, year()).is_err());
    assert!(
        CONSORTIUM.root.issue_server(&Subject::german("A", "a"), &["süd.example"], KeyType::EcdsaP256, year()).is_err()
    );
}
