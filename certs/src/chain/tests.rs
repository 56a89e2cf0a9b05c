use super::*;
use crate::development::{Authority, KeyType, Subject, Validity};
use crate::testing::{CONSORTIUM, NOW, days, openssl, year};

fn store(authorities: &[&Authority]) -> TrustStore {
    TrustStore::from_certificates(
        authorities.iter().map(|authority| authority.certificate().clone()).collect(),
        "trust",
    )
    .unwrap()
}

#[test]
fn a_chain_with_its_issuing_authority_is_valid_and_listed_to_the_root() {
    let c = &CONSORTIUM;
    let report = verify(
        c.organization.certificate(),
        &[c.issuing.certificate().clone()],
        &store(&[&c.root]),
        Purpose::Client,
        NOW,
    );
    assert_eq!(report.problem, None);
    let links: Vec<_> = report.links.iter().map(|link| (link.subject.as_str(), link.trusted)).collect();
    let expected = [
        ("CN=dsf.klinikum.example,O=Klinikum Süd,C=DE", false),
        ("CN=Test Issuing CA,O=Test,C=DE", false),
        ("CN=Test Root,O=Test,C=DE", true),
    ];
    assert_eq!(links, expected);
}

#[test]
fn a_leaf_alone_is_valid_when_the_store_holds_its_issuing_authority() {
    let c = &CONSORTIUM;
    assert_eq!(verify(c.organization.certificate(), &[], &store(&[&c.issuing]), Purpose::Client, NOW).problem, None);
}

#[test]
fn each_broken_chain_has_its_reason() {
    let c = &CONSORTIUM;
    let leaf = c.organization.certificate();
    let subject = leaf.subject().to_string();
    let issuer = leaf.issuer().to_string();
    let both = store(&[&c.root, &c.issuing]);
    let stranger = Authority::root(&Subject::german("Other", "Other Root"), KeyType::EcdsaP256, year()).unwrap();
    let namesake = Authority::root(&Subject::german("Test", "Test Issuing CA"), KeyType::EcdsaP256, year()).unwrap();
    let problem = |store: &TrustStore, purpose, now| verify(leaf, &[], store, purpose, now).problem;

    assert_eq!(
        problem(&store(&[&stranger]), Purpose::Client, NOW),
        Some(ChainProblem::IssuerMissing { subject: subject.clone(), issuer: issuer.clone() })
    );
    assert_eq!(
        problem(&store(&[&namesake]), Purpose::Client, NOW),
        Some(ChainProblem::WrongSignature { subject: subject.clone(), issuer })
    );
    assert!(matches!(problem(&both, Purpose::Client, NOW + days(400)), Some(ChainProblem::Expired { .. })));
    assert!(matches!(problem(&both, Purpose::Client, NOW - days(2)), Some(ChainProblem::NotYetValid { .. })));
    assert!(matches!(problem(&both, Purpose::Server, NOW), Some(ChainProblem::WrongPurpose { .. })));
    let own = verify(c.issuing.certificate(), &[], &both, Purpose::Client, NOW).problem;
    assert!(matches!(own, Some(ChainProblem::AuthorityAsEndEntity { .. })));
}

#[test]
fn an_expired_authority_is_named_although_webpki_would_accept_it_as_anchor() {
    let short =
        Authority::root(&Subject::german("Test", "Short CA"), KeyType::EcdsaP256, Validity::days(NOW, 10)).unwrap();
    let leaf = short.issue_organization(&Subject::german("A", "a.example"), &[], KeyType::EcdsaP256, year()).unwrap();
    let trust = store(&[&short]);
    assert_eq!(verify(leaf.certificate(), &[], &trust, Purpose::Client, NOW).problem, None);
    let report = verify(leaf.certificate(), &[], &trust, Purpose::Client, NOW + days(20));
    assert!(matches!(report.problem, Some(ChainProblem::Expired { subject, .. }) if subject.contains("Short CA")));
}

#[test]
fn a_self_signed_certificate_of_openssl_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "k.pem", "-subj", "/C=DE/CN=self", "-days", "30"];
    let Some(pem) = openssl(folder.path(), &arguments) else { return };
    let certificate = crate::read_certificates(&pem, "self.pem").unwrap().remove(0);
    assert!(certificate.is_self_signed());
    let now = certificate.not_before();
    let report = verify(&certificate, &[], &store(&[&CONSORTIUM.root]), Purpose::Client, now);
    assert!(matches!(report.problem, Some(ChainProblem::AuthorityAsEndEntity { .. })));
}

#[test]
fn a_changed_signature_is_wrong_and_not_unsupported() {
    let c = &CONSORTIUM;
    let mut der = c.organization.certificate().der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let changed = Certificate::from_der(&der).unwrap();
    assert_eq!(is_signed_by(&changed, c.issuing.certificate()), Err(SignatureProblem::Wrong));
    assert_eq!(is_signed_by(c.organization.certificate(), c.issuing.certificate()), Ok(()));
}
