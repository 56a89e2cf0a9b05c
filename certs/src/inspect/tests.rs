use super::*;
use crate::development::{KeyType as Key, Subject, Validity};
use crate::testing::{CONSORTIUM, NOW, days, openssl, year};

fn codes(inspection: &Inspection) -> Vec<&'static str> {
    inspection.notes.iter().map(|note| note.code).collect()
}

#[test]
fn a_chain_is_described_certificate_by_certificate() {
    let text = format!("{}{}", CONSORTIUM.organization.chain_pem(), CONSORTIUM.root.certificate_pem());
    let found = inspect(text.as_bytes(), "client.pem", NOW).unwrap();
    let kinds: Vec<_> = found.iter().map(|inspection| inspection.kind).collect();
    assert_eq!(kinds, [Kind::Client, Kind::IssuingAuthority, Kind::Root]);
    assert!(found.iter().all(|inspection| inspection.notes.is_empty()), "{found:?}");
    assert_eq!(found[0].days_left, 365);
    let text = found[0].text();
    for part in [
        "client.pem, certificate 1 of 3: client certificate",
        "subject      CN=dsf.klinikum.example,O=Klinikum Süd,C=DE",
        "issuer       CN=Test Issuing CA,O=Test,C=DE",
        "valid        2026-03-01 to 2027-03-01 (365 days left)",
        "key          EC P-256",
        "purposes     clientAuth",
        found[0].certificate.thumbprint(),
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["certificate"]["thumbprint"], found[0].certificate.thumbprint());
    assert_eq!(json["days-left"], 365);
    assert_eq!(json["kind"], "client");
}

#[test]
fn every_trouble_has_its_note() {
    let issue = |subject: &Subject, validity| {
        CONSORTIUM.issuing.issue_person(subject, Key::EcdsaP256, validity).unwrap().certificate_pem()
    };
    let nameless = Subject { common_name: None, ..Subject::german("Klinikum", "") };
    let stateless = Subject { country: None, ..Subject::german("Klinikum", "x") };
    let full = Subject::german("Klinikum", "x");
    let cases = [
        ("no CN", issue(&nameless, year()), NOW, vec!["no-common-name"]),
        ("no C", issue(&stateless, year()), NOW, vec!["no-country"]),
        ("empty subject", issue(&Subject::default(), year()), NOW, vec!["no-common-name", "no-country"]),
        ("expired", issue(&full, year()), NOW + days(366), vec!["expired"]),
        ("early", issue(&full, year()), NOW - days(2), vec!["not-yet-valid"]),
        ("soon", issue(&full, Validity::days(NOW, 20)), NOW, vec!["expires-soon"]),
        (
            "order",
            format!("{}{}", CONSORTIUM.root.certificate_pem(), CONSORTIUM.organization.certificate_pem()),
            NOW,
            vec!["chain-order"],
        ),
        ("twice", CONSORTIUM.organization.certificate_pem().repeat(2), NOW, vec!["repeated"]),
    ];
    for (name, pem, now, expected) in cases {
        let found = inspect(pem.as_bytes(), "f", now).unwrap();
        assert_eq!(codes(found.last().unwrap()), expected, "{name}");
        assert!(!found.last().unwrap().text().is_empty());
    }
}

#[test]
fn certificates_of_openssl_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let make = |extra: &[&str]| {
        let fixed = ["req", "-x509", "-noenc", "-keyout", "k.pem", "-days", "100"];
        openssl(folder.path(), &[&fixed[..], extra].concat())
    };
    let Some(old) = make(&["-newkey", "rsa:1024", "-sha1", "-subj", "/O=Alt"]) else { return };
    // openssl begins the validity at its own present second.
    let now = OffsetDateTime::now_utc() + time::Duration::hours(1);
    let found = inspect(&old, "old.pem", now).unwrap().remove(0);
    assert_eq!(codes(&found), ["weak-signature", "weak-key"]);
    let brainpool =
        make(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1", "-subj", "/CN=b"]).unwrap();
    assert_eq!(codes(&inspect(&brainpool, "b.pem", now).unwrap()[0]), ["unsupported-curve"]);
    let names = "subjectAltName=DNS:a.example,IP:10.0.0.1,email:x@a.example";
    let server = make(&[
        "-newkey",
        "rsa:2048",
        "-subj",
        "/C=DE/CN=a",
        "-addext",
        names,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=serverAuth,clientAuth,1.2.3.4",
    ])
    .unwrap();
    let found = inspect(&server, "s.pem", now).unwrap().remove(0);
    assert_eq!(found.kind, Kind::ServerAndClient);
    assert_eq!(codes(&found), ["small-key", "self-signed"]);
    let text = found.text();
    for part in [
        "host names   a.example",
        "addresses    10.0.0.1",
        "e-mail       x@a.example",
        "serverAuth, clientAuth, 1.2.3.4",
        "RSA 2048 bit",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn the_thumbprint_is_what_openssl_and_sha512sum_say() {
    let folder = tempfile::tempdir().unwrap();
    let pem = CONSORTIUM.organization.chain_pem();
    std::fs::write(folder.path().join("c.pem"), &pem).unwrap();
    let lines = thumbprints(&holders(pem.as_bytes(), "c.pem").unwrap());
    assert_eq!(lines.lines().count(), 1, "CA certificates of the chain are left out");
    assert!(lines.ends_with("  CN=dsf.klinikum.example,O=Klinikum Süd,C=DE\n"));
    let Some(theirs) = openssl(folder.path(), &["x509", "-in", "c.pem", "-noout", "-fingerprint", "-sha512"]) else {
        return;
    };
    let theirs = String::from_utf8(theirs).unwrap();
    let theirs = theirs.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase();
    assert_eq!(lines.split_whitespace().next().unwrap(), theirs);
    assert_eq!(theirs.len(), 128);
}

#[test]
fn a_file_is_verified_against_a_trust_store() {
    let store = TrustStore::from_certificates(vec![CONSORTIUM.root.certificate().clone()], "trust").unwrap();
    let good = verify(CONSORTIUM.organization.chain_pem().as_bytes(), "c", &store, Purpose::Client, NOW).unwrap();
    assert!(chain_text(&good).ends_with("(trusted)\nthe chain is valid\n"), "{}", chain_text(&good));
    let bad = verify(CONSORTIUM.organization.certificate_pem().as_bytes(), "c", &store, Purpose::Client, NOW).unwrap();
    assert!(
        chain_text(&bad).contains("the chain is not valid: the issuer of CN=dsf.klinikum.example"),
        "{}",
        chain_text(&bad)
    );
}
