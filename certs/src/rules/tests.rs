use super::*;
use crate::development::{KeyType as Key, Subject};
use crate::testing::{CONSORTIUM, NOW, days, year};

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn dsf() -> CertificateRules {
    CertificateRules {
        issuer_common_names: Some(set(&["Test Issuing CA"])),
        subject_countries: Some(set(&["DE"])),
        ..CertificateRules::default()
    }
}

fn issue(subject: &Subject) -> Certificate {
    CONSORTIUM.issuing.issue_person(subject, Key::EcdsaP256, year()).unwrap().certificate().clone()
}

#[test]
fn each_rule_permits_what_it_lists_and_names_what_it_refuses() {
    let good = CONSORTIUM.organization.certificate();
    let french = issue(&Subject { country: Some("FR".to_owned()), ..Subject::german("Clinique", "c.example") });
    let stateless = issue(&Subject { country: None, ..Subject::german("Klinik", "k.example") });
    let from_root = CONSORTIUM.root.issue_person(&Subject::german("X", "x.example"), Key::EcdsaP256, year()).unwrap();
    let with = |change: fn(&mut CertificateRules)| {
        let mut rules = dsf();
        change(&mut rules);
        rules
    };
    let excused = with(|rules| rules.missing_country_allowed_for = set(&["Test Issuing CA"]));
    let curves = with(|rules| rules.curves = Some(set(&["P-384"])));
    let p256 = with(|rules| rules.curves = Some(set(&["P-256"])));
    let mut blocked = dsf();
    blocked.denied_thumbprints.insert(good.thumbprint().to_owned());
    let cases: Vec<(&str, &CertificateRules, &Certificate, Option<&str>)> = vec![
        ("no rules", &blocked, &french, Some("country-not-listed")),
        ("listed", &p256, good, None),
        ("country", &excused, &french, Some("country-not-listed")),
        ("missing country", &p256, &stateless, Some("country-missing")),
        ("excused country", &excused, &stateless, None),
        ("issuer", &p256, from_root.certificate(), Some("issuer-not-listed")),
        ("server certificate", &p256, CONSORTIUM.server.certificate(), Some("client-auth-missing")),
        ("curve", &curves, good, Some("key-not-listed")),
        ("blocked", &blocked, good, Some("certificate-blocked")),
    ];
    for (name, rules, certificate, expected) in cases {
        assert_eq!(rules.check(certificate).err().as_ref().map(CertificateRefusal::code), expected, "{name}");
    }
    assert_eq!(CertificateRules::default().check(&stateless), Ok(()));
}

#[test]
fn an_absent_extended_key_usage_passes_unless_it_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let subject = ["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "k.pem", "-subj", "/C=DE/CN=self"];
    let Some(pem) = crate::testing::openssl(folder.path(), &subject) else { return };
    let certificate = crate::read_certificates(&pem, "x").unwrap().remove(0);
    assert_eq!(certificate.extended_key_usage(), None);
    let mut rules = CertificateRules::default();
    assert_eq!(rules.check(&certificate), Ok(()));
    rules.client_auth_required = true;
    assert_eq!(rules.check(&certificate), Err(CertificateRefusal::ClientAuthMissing));
    rules = CertificateRules { minimum_rsa_bits: Some(3000), ..CertificateRules::default() };
    assert_eq!(rules.check(&certificate), Err(CertificateRefusal::KeyTooSmall { bits: 2048, minimum: 3000 }));
}

#[test]
fn a_resumed_session_does_not_outlive_its_certificate() {
    let good = CONSORTIUM.organization.certificate();
    assert_eq!(dsf().check_at(good, NOW), Ok(()));
    assert_eq!(dsf().check_at(good, NOW + days(366)).unwrap_err().code(), "certificate-expired");
    assert_eq!(dsf().check_at(good, NOW - days(1)).unwrap_err().code(), "certificate-not-yet-valid");
}
