use rustls::server::danger::ClientCertVerifier as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::ClientVerifier;
use crate::development::{Authority, KeyType, Subject, Validity};
use crate::testing::{CONSORTIUM, NOW, days, year};

const DAY: Duration = Duration::from_secs(86_400);

fn store(authorities: &[&Authority]) -> TrustStore {
    let certificates = authorities.iter().map(|authority| authority.certificate().clone()).collect();
    TrustStore::from_certificates(certificates, "trust").unwrap()
}

fn list(authority: &Authority, revoked: &[&Certificate], fetched: OffsetDateTime) -> RevocationList {
    let pem = authority.revocation_list(revoked, 1, fetched, fetched + days(7)).unwrap();
    RevocationList::read(pem.as_bytes(), "list.crl", Some(fetched)).unwrap()
}

/// The word of the handshake for the organisation of the consortium.
fn handshake(store: &TrustStore, lists: Vec<RevocationList>, mode: RevocationMode, now: OffsetDateTime) -> String {
    let revocation = Revocation::new(lists, store, mode, 2 * DAY).unwrap();
    let verifier =
        ClientVerifier::new(store, crate::provider()).unwrap().with_revocation(LiveRevocation::new(revocation));
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix_timestamp()).unwrap()));
    let sent: Vec<CertificateDer<'_>> = vec![CONSORTIUM.issuing.certificate().der().clone()];
    match verifier.verify_client_cert(CONSORTIUM.organization.certificate().der(), &sent, time) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => crate::handshake::classify(&error).code(),
    }
}

#[test]
fn a_revoked_leaf_is_refused_in_both_modes_and_others_are_not() {
    let c = &CONSORTIUM;
    let both = store(&[&c.root, &c.issuing]);
    let leaf = c.organization.certificate();
    for mode in [RevocationMode::Soft, RevocationMode::Hard] {
        let lists = || vec![list(&c.root, &[], NOW), list(&c.issuing, &[leaf], NOW)];
        assert_eq!(handshake(&both, lists(), mode, NOW), "revoked");
        let lists = vec![list(&c.root, &[], NOW), list(&c.issuing, &[c.server.certificate()], NOW)];
        assert_eq!(handshake(&both, lists, mode, NOW), "accepted");
    }
}

#[test]
fn a_revoked_intermediate_is_refused_whether_the_node_has_it_or_the_client_sends_it() {
    let c = &CONSORTIUM;
    for known in [store(&[&c.root, &c.issuing]), store(&[&c.root])] {
        let lists = vec![list(&c.root, &[c.issuing.certificate()], NOW), list(&c.issuing, &[], NOW)];
        assert_eq!(handshake(&known, lists, RevocationMode::Soft, NOW), "revoked");
    }
}

#[test]
fn a_missing_or_stale_list_refuses_in_hard_mode_only() {
    let c = &CONSORTIUM;
    let both = store(&[&c.root, &c.issuing]);
    let complete = || vec![list(&c.root, &[], NOW), list(&c.issuing, &[], NOW)];
    for (lists, now, hard) in [
        (complete(), NOW, "accepted"),
        (complete(), NOW + days(2), "accepted"),
        (complete(), NOW + days(3), "revocation-unknown"),
        (vec![list(&c.issuing, &[], NOW)], NOW, "revocation-unknown"),
        (vec![list(&c.root, &[], NOW)], NOW, "revocation-unknown"),
        (Vec::new(), NOW, "revocation-unknown"),
    ] {
        assert_eq!(handshake(&both, lists.clone(), RevocationMode::Hard, now), hard);
        assert_eq!(handshake(&both, lists, RevocationMode::Soft, now), "accepted");
    }
    // A stale list still names whom it names.
    let lists = vec![list(&c.issuing, &[c.organization.certificate()], NOW)];
    assert_eq!(handshake(&both, lists, RevocationMode::Soft, NOW + days(30)), "revoked");
}

#[test]
fn a_list_is_fresh_until_its_next_update_and_not_longer_than_max_age_after_it_was_fetched() {
    let issued = NOW - days(5);
    let pem = CONSORTIUM.issuing.revocation_list(&[], 1, issued, NOW + days(2)).unwrap();
    let read = |fetched| RevocationList::read(pem.as_bytes(), "list.crl", fetched).unwrap();
    assert_eq!(read(None).fresh_until(DAY), issued + days(1));
    assert_eq!(read(Some(NOW)).fresh_until(DAY), NOW + days(1));
    assert_eq!(read(Some(NOW)).fresh_until(30 * DAY), NOW + days(2));
}

#[test]
fn a_list_that_its_issuer_did_not_sign_is_an_error() {
    let c = &CONSORTIUM;
    let imposter =
        Authority::root(&Subject::german("Test", "Test Issuing CA"), KeyType::EcdsaP256, Validity::days(NOW, 10))
            .unwrap();
    let forged = list(&imposter, &[], NOW);
    let problems =
        Revocation::new(vec![forged], &store(&[&c.root, &c.issuing]), RevocationMode::Soft, DAY).unwrap_err();
    assert!(matches!(problems[0].problem, Problem::ListSignature { .. }));
}

#[test]
fn a_list_of_an_unknown_name_counts_only_below_the_intermediate_that_signed_it() {
    let c = &CONSORTIUM;
    let imposter =
        Authority::root(&Subject::german("Test", "Test Issuing CA"), KeyType::EcdsaP256, Validity::days(NOW, 10))
            .unwrap();
    // Only the root is known: both lists are accepted as files, and the forged one changes nothing.
    let root = store(&[&c.root]);
    let leaf = c.organization.certificate();
    let lists = vec![list(&c.root, &[], NOW), list(&imposter, &[leaf], NOW)];
    assert_eq!(handshake(&root, lists, RevocationMode::Soft, NOW), "accepted");
    let lists = vec![list(&c.root, &[], NOW), list(&c.issuing, &[leaf], NOW)];
    assert_eq!(handshake(&root, lists, RevocationMode::Soft, NOW), "revoked");
}

#[test]
fn damaged_files_are_errors_and_never_empty_lists() {
    let folder = tempfile::tempdir().unwrap();
    let known = store(&[&CONSORTIUM.root, &CONSORTIUM.issuing]);
    let good = CONSORTIUM.issuing.revocation_list(&[], 1, NOW, NOW + days(1)).unwrap();
    let path = folder.path().join("issuing.crl");
    let load = || Revocation::load(&[folder.path()], &known, RevocationMode::Soft, DAY);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(load().unwrap().lists().count(), 1);
    for damaged in ["", "nothing", good.split_at(good.len() / 2).0, &CONSORTIUM.root.certificate_pem(), &good.repeat(2)]
    {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(load().unwrap_err().len(), 1, "{damaged:.40}");
    }
    let missing = folder.path().join("absent");
    assert!(Revocation::load(&[missing], &known, RevocationMode::Soft, DAY).is_err());
}

#[test]
fn a_list_in_force_is_not_followed_by_nothing_or_by_an_older_one() {
    let c = &CONSORTIUM;
    let known = store(&[&c.root, &c.issuing]);
    let of = |lists| Revocation::new(lists, &known, RevocationMode::Soft, DAY).unwrap();
    let now = of(vec![list(&c.issuing, &[], NOW)]);
    assert!(now.regressions(&of(vec![list(&c.issuing, &[], NOW + days(1))]), &known).is_empty());
    assert!(now.regressions(&now, &known).is_empty());
    assert!(matches!(now.regressions(&of(Vec::new()), &known)[..], [Regression::Missing { .. }]));
    assert!(now.regressions(&of(Vec::new()), &store(&[&c.root])).is_empty(), "the authority is gone");
    let older = of(vec![list(&c.issuing, &[], NOW - days(1))]);
    assert!(matches!(now.regressions(&older, &known)[..], [Regression::Older { .. }]));
}

#[test]
fn authorities_without_a_fresh_list_are_named() {
    let c = &CONSORTIUM;
    let known = store(&[&c.root, &c.issuing]);
    let revocation = Revocation::new(vec![list(&c.issuing, &[], NOW)], &known, RevocationMode::Hard, DAY).unwrap();
    assert!(revocation.uncovered(&known, NOW).is_empty());
    assert_eq!(revocation.uncovered(&known, NOW + days(8)).len(), 1);
    assert_eq!(revocation.next_change(NOW), Some(NOW + days(1)));
    assert_eq!(revocation.next_change(NOW + days(1)), None);
}

#[test]
fn every_revoked_certificate_of_a_list_is_found() {
    let c = &CONSORTIUM;
    let mut revoked = Vec::new();
    for number in 0..20 {
        let subject = Subject::german("Many", &format!("m{number}.example"));
        let issued = c.issuing.issue_organization(&subject, &[], KeyType::EcdsaP256, year()).unwrap();
        revoked.push(issued.certificate().clone());
    }
    let found = list(&c.issuing, &revoked.iter().collect::<Vec<_>>(), NOW);
    assert!(revoked.iter().all(|certificate| found.find(certificate).is_some()));
    assert!(found.find(c.organization.certificate()).is_none());
}
