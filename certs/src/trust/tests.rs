use super::*;
use crate::development::{Authority, KeyType, Subject, Validity};
use crate::testing::{CONSORTIUM, NOW, days, year};

fn unix(time: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(time.unix_timestamp()).unwrap()))
}

fn store(authorities: &[&Authority]) -> TrustStore {
    TrustStore::from_certificates(
        authorities.iter().map(|authority| authority.certificate().clone()).collect(),
        "trust",
    )
    .unwrap()
}

#[test]
fn a_folder_is_read_with_every_problem_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.pem", &CONSORTIUM.root.certificate_pem());
    write("chain.crt", &format!("{}{}", CONSORTIUM.issuing.certificate_pem(), CONSORTIUM.root.certificate_pem()));
    write("README", "not a certificate");
    write(".hidden.pem", "not a certificate");
    let loaded = TrustStore::load(&[folder.path()]).unwrap();
    assert_eq!(loaded.len(), 2, "the root is there once");
    let issuing: Vec<_> = loaded.issuing_authorities().map(|authority| authority.subject().short()).collect();
    assert_eq!(issuing, ["Test Issuing CA"]);

    write("broken.pem", "nothing");
    write("leaf.pem", &CONSORTIUM.organization.certificate_pem());
    let problems = TrustStore::load(&[folder.path()]).unwrap_err();
    let problems: Vec<_> = problems.iter().map(|error| &error.problem).collect();
    assert!(matches!(problems.as_slice(), [Problem::UnknownFormat, Problem::NotAnAuthority { .. }]), "{problems:?}");
}

#[test]
fn an_empty_folder_and_a_missing_file_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(TrustStore::load(&[folder.path()]).unwrap_err()[0].problem, Problem::NoTrustAnchor);
    let missing = TrustStore::load(&[folder.path().join("ca.pem")]).unwrap_err();
    assert!(matches!(missing[0].problem, Problem::Unreadable { .. }));
}

#[test]
fn depth_counts_every_authority_above_the_client_wherever_its_certificate_comes_from() {
    let c = &CONSORTIUM;
    let leaf = c.organization.certificate().der();
    let issuing = [c.issuing.certificate().der().clone()];
    let verify = |anchors: &[&Authority], known: &[&Authority], most, sent: &[CertificateDer<'_>]| {
        let verifier = ClientVerifier::new(&store(anchors), crate::provider()).unwrap();
        verifier.with_depth(most, &store(known)).verify_client_cert(leaf, sent, unix(NOW)).is_ok()
    };
    let both: &[&Authority] = &[&c.root, &c.issuing];
    // Root and issuing CA are above the client, whether the node knows the issuing CA or the client sends it.
    for (anchors, sent) in [(both, &[][..]), (both, &issuing[..]), (&[&c.root][..], &issuing[..])] {
        assert!(verify(anchors, anchors, 2, sent));
        assert!(!verify(anchors, anchors, 1, sent));
    }
    // A path may end at the issuing CA; where the root is unknown it does not count.
    assert!(verify(&[&c.issuing], &[&c.issuing], 1, &[]));
    assert!(!verify(&[&c.issuing], both, 1, &[]));
    // What the client sends besides its path is no depth.
    let noise = vec![c.server.certificate().der().clone(), issuing[0].clone(), c.root.certificate().der().clone()];
    assert!(verify(both, both, 2, &noise));
}

#[test]
fn a_listed_root_does_not_let_the_authorities_below_it_issue() {
    let c = &CONSORTIUM;
    let leaf = c.organization.certificate().der();
    let issuing = [c.issuing.certificate().der().clone()];
    let verify = |anchor: &Authority| {
        let verifier = ClientVerifier::new(&store(&[anchor]), crate::provider()).unwrap().with_direct_issuers();
        verifier.verify_client_cert(leaf, &issuing, unix(NOW)).is_ok()
    };
    assert!(verify(&c.issuing));
    assert!(!verify(&c.root));
}

#[test]
fn the_verifier_accepts_its_own_and_refuses_everybody_else() {
    let c = &CONSORTIUM;
    let stranger = Authority::root(&Subject::german("Other", "Other Root"), KeyType::EcdsaP256, year()).unwrap();
    let other =
        stranger.issue_organization(&Subject::german("B", "b.example"), &[], KeyType::EcdsaP256, year()).unwrap();
    let verifier = client_verifier(&store(&[&c.root, &c.issuing]), crate::provider()).unwrap();
    assert!(verifier.client_auth_mandatory());
    verifier.verify_client_cert(c.organization.certificate().der(), &[], unix(NOW)).unwrap();
    let code =
        |der, now| crate::handshake::classify(&verifier.verify_client_cert(der, &[], unix(now)).unwrap_err()).code();
    assert_eq!(code(other.certificate().der(), NOW), "unknown-issuer");
    assert_eq!(code(c.organization.certificate().der(), NOW + days(366)), "expired");
    assert_eq!(code(c.organization.certificate().der(), NOW - days(3)), "unknown-issuer", "no anchor is valid yet");
    assert_eq!(code(c.server.certificate().der(), NOW), "wrong-purpose");
    assert_eq!(code(c.issuing.certificate().der(), NOW), "authority-as-end-entity");
    assert_eq!(code(&CertificateDer::from(vec![1, 2, 3]), NOW), "malformed-certificate");
}

#[test]
fn clients_are_told_the_issuing_authorities_only() {
    let c = &CONSORTIUM;
    let verifier = client_verifier(&store(&[&c.root, &c.issuing]), crate::provider()).unwrap();
    let hints: Vec<&[u8]> = verifier.root_hint_subjects().iter().map(|hint| hint.as_ref()).collect();
    assert_eq!(hints, [c.issuing.certificate().subject().der()]);
    let with_roots = store(&[&c.root]);
    let roots_only = ClientVerifier::new(&with_roots, crate::provider()).unwrap();
    // The same bytes that rustls itself would send.
    let roots = RootCertStore { roots: with_roots.anchors.iter().map(|anchor| anchor.anchor.clone()).collect() };
    let bytes = |hints: &[DistinguishedName]| hints.iter().map(|hint| hint.as_ref().to_vec()).collect::<Vec<_>>();
    assert_eq!(bytes(roots_only.root_hint_subjects()), bytes(&roots.subjects()));
}

#[test]
fn an_authority_stops_being_trusted_when_it_expires_and_others_stay() {
    let c = &CONSORTIUM;
    let short =
        Authority::root(&Subject::german("Test", "Short CA"), KeyType::EcdsaP256, Validity::days(NOW, 10)).unwrap();
    let leaf = short.issue_organization(&Subject::german("A", "a.example"), &[], KeyType::EcdsaP256, year()).unwrap();
    let verifier = client_verifier(&store(&[&c.issuing, &short]), crate::provider()).unwrap();
    verifier.verify_client_cert(leaf.certificate().der(), &[], unix(NOW)).unwrap();
    let error = verifier.verify_client_cert(leaf.certificate().der(), &[], unix(NOW + days(11))).unwrap_err();
    assert_eq!(crate::handshake::classify(&error).code(), "unknown-issuer");
    verifier.verify_client_cert(c.organization.certificate().der(), &[], unix(NOW + days(11))).unwrap();
    verifier.verify_client_cert(leaf.certificate().der(), &[], unix(NOW + days(9))).unwrap();
}

#[test]
fn a_long_list_of_certificates_is_refused_without_looking_at_it() {
    let c = &CONSORTIUM;
    let verifier = client_verifier(&store(&[&c.issuing]), crate::provider()).unwrap();
    let many = vec![c.root.certificate().der().clone(); limits::PRESENTED_CERTIFICATES];
    let error = verifier.verify_client_cert(c.organization.certificate().der(), &many, unix(NOW)).unwrap_err();
    assert_eq!(crate::handshake::classify(&error).code(), "too-many-certificates");
}

#[test]
fn the_server_verifier_checks_chain_and_name() {
    let c = &CONSORTIUM;
    let verifier = server_verifier(&store(&[&c.issuing]), crate::provider()).unwrap();
    let verify = |name: &'static str| {
        verifier.verify_server_cert(
            c.server.certificate().der(),
            &[],
            &ServerName::try_from(name).unwrap(),
            &[],
            unix(NOW),
        )
    };
    for name in ["localhost", "dsf.klinikum.example", "127.0.0.1", "::1"] {
        verify(name).unwrap();
    }
    assert_eq!(crate::handshake::classify(&verify("evil.example").unwrap_err()).code(), "wrong-name");
}
