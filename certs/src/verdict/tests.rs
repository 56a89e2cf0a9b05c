use std::time::Duration;

use super::*;
use crate::revocation::{LiveRevocation, Revocation, RevocationList, RevocationMode};
use crate::testing::{CONSORTIUM, NOW, days};

const DAY: Duration = Duration::from_secs(86_400);

fn trust() -> ClientTrust {
    let authorities = vec![CONSORTIUM.root.certificate().clone(), CONSORTIUM.issuing.certificate().clone()];
    ClientTrust::of(TrustStore::from_certificates(authorities, "trust").unwrap())
}

fn judge(certificate: &Certificate, trust: &ClientTrust, rules: &CertificateRules, now: OffsetDateTime) -> Verdict {
    judge_client(certificate, &[], trust, rules, now).unwrap()
}

#[test]
fn the_verdict_is_that_of_the_handshake_and_says_why() {
    let rules = CertificateRules::default();
    let organization = CONSORTIUM.organization.certificate();
    let good = judge(organization, &trust(), &rules, NOW);
    assert!(good.accepted, "{good:?}");
    for (certificate, now, step, code) in [
        (organization, NOW + days(400), "chain", "expired"),
        (CONSORTIUM.server.certificate(), NOW, "chain", "wrong-purpose"),
        (CONSORTIUM.issuing.certificate(), NOW, "chain", "authority-as-end-entity"),
    ] {
        let refused = judge(certificate, &trust(), &rules, now);
        let last = refused.steps.last().unwrap();
        assert!(!refused.accepted);
        assert_eq!((last.step, last.code.as_deref()), (step, Some(code)));
    }
}

#[test]
fn rules_are_judged_after_the_chain() {
    let rules = CertificateRules { subject_countries: Some(["FR".to_owned()].into()), ..CertificateRules::default() };
    let refused = judge(CONSORTIUM.organization.certificate(), &trust(), &rules, NOW);
    assert_eq!(refused.steps.last().unwrap().code.as_deref(), Some("country-not-listed"));
}

#[test]
fn a_depth_that_the_handshake_refuses_is_refused_here() {
    let shallow = ClientTrust { depth: 1, ..trust() };
    assert!(!judge(CONSORTIUM.organization.certificate(), &shallow, &CertificateRules::default(), NOW).accepted);
}

#[test]
fn revocation_is_told_in_words() {
    let organization = CONSORTIUM.organization.certificate();
    let with = |revoked: &[&Certificate]| {
        let pem = CONSORTIUM.issuing.revocation_list(revoked, 1, NOW, NOW + days(1)).unwrap();
        let list = RevocationList::read(pem.as_bytes(), "a.crl", None).unwrap();
        let trust = trust();
        let revocation = Revocation::new(vec![list], &trust.store, RevocationMode::Soft, DAY).unwrap();
        ClientTrust { revocation: Some(LiveRevocation::new(revocation)), ..trust }
    };
    let refused = judge(organization, &with(&[organization]), &CertificateRules::default(), NOW);
    let last = refused.steps.last().unwrap();
    assert_eq!((last.step, last.code.as_deref()), ("revocation", Some("revoked")));
    assert!(last.text.contains("keyCompromise"), "{}", last.text);
    let good = judge(organization, &with(&[]), &CertificateRules::default(), NOW);
    assert!(good.accepted && good.steps.iter().any(|step| step.step == "revocation"), "{good:?}");
}

#[test]
fn a_server_is_judged_with_its_name() {
    let store = trust().store;
    let judge = |host: &str| judge_server(CONSORTIUM.server.certificate(), &[], &store, host, NOW).unwrap();
    assert!(judge("dsf.klinikum.example").accepted);
    assert_eq!(judge("other.example").steps[0].code.as_deref(), Some("wrong-name"));
}
