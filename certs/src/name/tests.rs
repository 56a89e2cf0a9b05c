use super::*;
use crate::development::{KeyType, Subject};
use crate::testing::{CONSORTIUM, openssl, year};

fn name(common_name: &str) -> Name {
    let subject = Subject::german("O", common_name);
    CONSORTIUM.issuing.issue_person(&subject, KeyType::EcdsaP256, year()).unwrap().certificate().subject().clone()
}

#[test]
fn reserved_and_control_characters_cannot_forge_a_second_attribute_or_line() {
    let cases = [
        ("plain", "CN=plain,O=O,C=DE"),
        ("a,O=Evil", "CN=a\\,O=Evil,O=O,C=DE"),
        ("a+b;c<d>e\"f\\g", "CN=a\\+b\\;c\\<d\\>e\\\"f\\\\g,O=O,C=DE"),
        (" lead and trail ", "CN=\\ lead and trail\\ ,O=O,C=DE"),
        ("#1", "CN=\\#1,O=O,C=DE"),
        ("two\nlines", "CN=two\\0Alines,O=O,C=DE"),
        ("\u{202E}drawkcab", "CN=\\E2\\80\\AEdrawkcab,O=O,C=DE"),
        ("Süd", "CN=Süd,O=O,C=DE"),
    ];
    for (common_name, expected) in cases {
        let name = name(common_name);
        assert_eq!(name.as_str(), expected);
        assert_eq!(name.common_name(), Some(common_name));
        assert_eq!(name.values("C").collect::<Vec<_>>(), ["DE"]);
    }
}

#[test]
fn several_values_and_joined_attributes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let subject = "/C=DE/O=Uni/OU=A/OU=B/GN=Erika+SN=Muster/CN=x/UID=u1/organizationIdentifier=NTRDE-1/description=odd";
    let Some(pem) = openssl(
        folder.path(),
        &["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "k", "-multivalue-rdn", "-subj", subject],
    ) else {
        return;
    };
    let certificate = crate::read_certificates(&pem, "x").unwrap().remove(0);
    let name = certificate.subject();
    assert_eq!(name.values("OU").collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(
        name.as_str(),
        "2.5.4.13=odd,organizationIdentifier=NTRDE-1,UID=u1,CN=x,GN=Erika+SN=Muster,OU=B,OU=A,O=Uni,C=DE"
    );
}

#[test]
fn old_string_types_are_decoded() {
    assert_eq!(bmp(&[0x00, 0x53, 0x00, 0xFC, 0x00, 0x64]), "Süd");
    assert_eq!(bmp(&[0x00, 0x53, 0x00]), "S\u{FFFD}");
    assert_eq!(latin1(b"S\xfcd"), "Süd");
    assert_eq!(universal(&[0, 0, 0, 0x53, 0xFF, 0, 0, 0]), "S\u{FFFD}");
}
