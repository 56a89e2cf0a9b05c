#![allow(clippy::string_slice)]

use super::*;
use crate::development::{Authority, KeyType, Subject};
use crate::testing::{CONSORTIUM, openssl, year};

fn certificates_of(bytes: &[u8]) -> Result<Vec<Certificate>, Problem> {
    read_certificates(bytes, "site.pem").map_err(|error| {
        assert!(!error.remedy().is_empty());
        assert!(error.to_string().starts_with("site.pem: "));
        error.problem
    })
}

fn key_of(bytes: &[u8]) -> Result<PrivateKey, Problem> {
    read_private_key(bytes, "site.key").map_err(|error| {
        assert!(!error.remedy().is_empty());
        error.problem
    })
}

fn pem_text() -> String {
    CONSORTIUM.organization.certificate_pem()
}

#[test]
fn a_chain_is_read_in_its_order() {
    let found = certificates_of(CONSORTIUM.organization.chain_pem().as_bytes()).unwrap();
    let names: Vec<_> = found.iter().map(|certificate| certificate.subject().short()).collect();
    assert_eq!(names, ["dsf.klinikum.example", "Test Issuing CA"]);
}

#[test]
fn every_harmless_form_of_a_file_is_accepted() {
    let pem = pem_text();
    let der = CONSORTIUM.organization.certificate().der().to_vec();
    let mut der_with_line_end = der.clone();
    der_with_line_end.push(b'\n');
    let without_gap = format!("{}{pem}", pem.trim_end());
    let forms: Vec<(&str, Vec<u8>, usize)> = vec![
        ("plain", pem.clone().into(), 1),
        ("CRLF", pem.replace('\n', "\r\n").into(), 1),
        ("CR", pem.replace('\n', "\r").into(), 1),
        ("no final line end", pem.trim_end().into(), 1),
        ("byte order mark", format!("\u{FEFF}{pem}").into(), 1),
        (
            "text before",
            [b"Zertifikat f\xfcr das Klinikum\nCertificate:\n  Data: -----\n".as_slice(), pem.as_bytes()].concat(),
            1,
        ),
        ("bag attributes", format!("Bag Attributes\n    localKeyID: 01 02\nsubject=C = DE\n{pem}").into(), 1),
        ("text behind", format!("{pem}\n-- with kind regards\n").into(), 1),
        ("two blocks without a line end between", without_gap.into(), 2),
        ("indented", pem.replace('\n', "\n    ").into(), 1),
        ("one line", pem.replace('\n', " ").into(), 1),
        ("empty lines", pem.replace('\n', "\n\n").into(), 1),
        ("old label", pem.replace("CERTIFICATE", "X509 CERTIFICATE").into(), 1),
        ("DER", der, 1),
        ("DER with a line end", der_with_line_end, 1),
        ("key in front", format!("{}{pem}", CONSORTIUM.organization.private_key_pem()).into(), 1),
    ];
    for (name, bytes, count) in forms {
        let found = certificates_of(&bytes).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(found.len(), count, "{name}");
        assert_eq!(&found[0], CONSORTIUM.organization.certificate(), "{name}");
    }
}

#[test]
fn every_broken_file_is_named() {
    let pem = pem_text();
    let key = CONSORTIUM.organization.private_key_pem();
    let der = CONSORTIUM.organization.certificate().der().to_vec();
    let mut longer = der.clone();
    longer.extend_from_slice(b"garbage");
    let lines: Vec<&str> = pem.lines().collect();
    let label = "CERTIFICATE".to_owned();
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(pem.bytes().flat_map(|byte| [byte, 0])).collect();
    let cases: Vec<(&str, Vec<u8>, Problem)> = vec![
        ("empty", Vec::new(), Problem::Empty),
        ("white space", b" \r\n\n".to_vec(), Problem::Empty),
        ("prose", b"please find attached".to_vec(), Problem::UnknownFormat),
        ("UTF-16", utf16, Problem::Utf16),
        ("no END", lines[..3].join("\n").into(), Problem::Truncated { line: 1, label: label.clone() }),
        (
            "cut in the BEGIN line",
            b"hello\n-----BEGIN CERTIFI".to_vec(),
            Problem::Truncated { line: 2, label: "PEM".to_owned() },
        ),
        (
            "second block cut",
            format!("{pem}{}", &pem[..200]).into(),
            Problem::Truncated { line: lines.len() + 1, label: label.clone() },
        ),
        (
            "BEGIN after BEGIN",
            format!("{}\n{pem}", lines[0]).into(),
            Problem::Truncated { line: 1, label: label.clone() },
        ),
        (
            "other END",
            pem.replace("END CERTIFICATE", "END PRIVATE KEY").into(),
            Problem::MismatchedEnd { line: 1, label: label.clone(), end: "PRIVATE KEY".to_owned() },
        ),
        (
            "no base64",
            pem.replacen(lines[2], "this is not base64!", 1).into(),
            Problem::BadBase64 { line: 3, label: label.clone() },
        ),
        ("escaped line ends", pem.replace('\n', "\\n").into(), Problem::BadBase64 { line: 2, label: label.clone() }),
        (
            "empty block",
            b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_vec(),
            Problem::BadBase64 { line: 1, label },
        ),
        ("without markers", lines[1..lines.len() - 1].join("\n").into(), Problem::MissingMarkers),
        ("a key", key.into(), Problem::KeyInsteadOfCertificate),
        ("DER cut", der[..der.len() - 9].to_vec(), Problem::Truncated { line: 1, label: "DER".to_owned() }),
        ("DER and more", longer.clone(), Problem::TrailingBytes { line: 1, count: 7 }),
        ("block with more", encode("CERTIFICATE", &longer).into(), Problem::TrailingBytes { line: 1, count: 7 }),
        ("Java key store", vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2], Problem::JavaKeyStore),
        ("trusted certificate", encode("TRUSTED CERTIFICATE", &longer).into(), Problem::TrustedCertificate { line: 1 }),
        (
            "parameters only",
            encode("DH PARAMETERS", b"x").into(),
            Problem::NoCertificate { found: "DH PARAMETERS".to_owned() },
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(certificates_of(&bytes).err(), Some(expected), "{name}");
    }
    let wrong = encode("CERTIFICATE", &[0x30, 0x03, 0x02, 0x01, 0x05]);
    assert!(matches!(certificates_of(wrong.as_bytes()), Err(Problem::NotACertificate { line: 1, .. })));
    assert_eq!(
        certificates_of(encode("CERTIFICATE", key_of(key.as_bytes()).unwrap().der().secret_der()).as_bytes()).err(),
        Some(Problem::KeyInsteadOfCertificate)
    );
    assert_eq!(
        certificates_of(&vec![b'x'; limits::FILE_BYTES + 1]).err(),
        Some(Problem::TooLarge { limit: limits::FILE_BYTES })
    );
    let many = encode("X", b"x").repeat(limits::BLOCKS + 1);
    assert_eq!(certificates_of(many.as_bytes()).err(), Some(Problem::TooManyBlocks { limit: limits::BLOCKS }));
}

#[test]
fn a_private_key_is_read_from_pem_der_and_beside_certificates() {
    let key = CONSORTIUM.organization.private_key_pem();
    let der = key_of(key.as_bytes()).unwrap().der().secret_der().to_vec();
    let combined = format!("{}{key}", pem_text());
    for bytes in [key.as_bytes(), der.as_slice(), combined.as_bytes(), key.replace('\n', "\r\n").as_bytes()] {
        let found = key_of(bytes).unwrap();
        assert!(crate::matches(CONSORTIUM.organization.certificate(), &found));
        assert!(!crate::matches(CONSORTIUM.server.certificate(), &found));
        assert_eq!(format!("{found:?}"), "PrivateKey(not shown)");
    }
}

#[test]
fn every_unusable_key_is_named() {
    let key = CONSORTIUM.organization.private_key_pem();
    let der = key_of(key.as_bytes()).unwrap().der().secret_der().to_vec();
    let encrypted_pkcs1 = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    let cases: Vec<(&str, String, Problem)> = vec![
        ("certificate", pem_text(), Problem::CertificateInsteadOfKey),
        ("two keys", format!("{key}{key}"), Problem::SeveralPrivateKeys { count: 2 }),
        ("traditional encryption", encrypted_pkcs1.to_owned(), Problem::EncryptedKey { line: 1 }),
        ("PKCS #8 encryption", encode("ENCRYPTED PRIVATE KEY", b"0"), Problem::EncryptedKey { line: 1 }),
        ("public key", encode("PUBLIC KEY", b"0"), Problem::NoPrivateKey { found: "PUBLIC KEY".to_owned() }),
    ];
    for (name, text, expected) in cases {
        assert_eq!(key_of(text.as_bytes()).err(), Some(expected), "{name}");
    }
    assert!(matches!(key_of(encode("PRIVATE KEY", &der[..40]).as_bytes()), Err(Problem::UnusableKey { line: 1, .. })));
    assert!(matches!(key_of(encode("DSA PRIVATE KEY", b"0").as_bytes()), Err(Problem::UnusableKey { .. })));
    let error = read_private_key(encrypted_pkcs1.as_bytes(), "client.key").unwrap_err();
    assert_eq!(error.to_string(), "client.key: line 1: the private key is encrypted with a pass phrase");
    assert!(error.remedy().contains("openssl pkey -in client.key"));
}

#[test]
fn files_that_openssl_writes_are_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("cert.pem"), pem_text()).unwrap();
    std::fs::write(path.join("key.pem"), CONSORTIUM.organization.private_key_pem()).unwrap();
    let run = |arguments: &[&str]| openssl(path, arguments);
    let Some(text) = run(&["x509", "-in", "cert.pem", "-text"]) else { return };
    assert_eq!(certificates_of(&text).unwrap().len(), 1);
    let trusted = run(&["x509", "-in", "cert.pem", "-trustout", "-addtrust", "clientAuth"]).unwrap();
    assert_eq!(certificates_of(&trusted).err(), Some(Problem::TrustedCertificate { line: 1 }));
    let pkcs7 = ["crl2pkcs7", "-nocrl", "-certfile", "cert.pem"];
    assert_eq!(certificates_of(&run(&pkcs7).unwrap()).err(), Some(Problem::Pkcs7));
    let pkcs7_der = run(&[&pkcs7[..], &["-outform", "DER"]].concat()).unwrap();
    assert_eq!(certificates_of(&pkcs7_der).err(), Some(Problem::Pkcs7));
    let pkcs12 =
        run(&["pkcs12", "-export", "-in", "cert.pem", "-inkey", "key.pem", "-passout", "pass:secret"]).unwrap();
    assert_eq!(certificates_of(&pkcs12).err(), Some(Problem::Pkcs12));
    assert_eq!(key_of(&pkcs12).err(), Some(Problem::Pkcs12));
    let request = ["req", "-new", "-key", "key.pem", "-subj", "/C=DE/CN=x"];
    assert_eq!(certificates_of(&run(&request).unwrap()).err(), Some(Problem::SigningRequest));
    let request_der = run(&[&request[..], &["-outform", "DER"]].concat()).unwrap();
    assert_eq!(certificates_of(&request_der).err(), Some(Problem::SigningRequest));
    assert_eq!(certificates_of(encode("CERTIFICATE", &request_der).as_bytes()).err(), Some(Problem::SigningRequest));

    let encrypted = run(&["pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:secret"]).unwrap();
    assert_eq!(key_of(&encrypted).err(), Some(Problem::EncryptedKey { line: 1 }));
    let encrypted_der =
        run(&["pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:secret", "-outform", "DER"]).unwrap();
    assert_eq!(key_of(&encrypted_der).err(), Some(Problem::EncryptedKey { line: 1 }));
    let old_encrypted = run(&["ec", "-in", "key.pem", "-aes256", "-passout", "pass:secret"]).unwrap();
    assert_eq!(key_of(&old_encrypted).err(), Some(Problem::EncryptedKey { line: 1 }));
    let sec1 = run(&["ec", "-in", "key.pem"]).unwrap();
    assert!(crate::matches(CONSORTIUM.organization.certificate(), &key_of(&sec1).unwrap()));
    let with_parameters = run(&["ecparam", "-name", "secp384r1", "-genkey"]).unwrap();
    assert!(String::from_utf8_lossy(&with_parameters).contains("EC PARAMETERS"));
    key_of(&with_parameters).unwrap();
    let rsa = run(&["genrsa", "-traditional", "2048"]).unwrap();
    assert!(String::from_utf8_lossy(&rsa).contains("RSA PRIVATE KEY"));
    key_of(&rsa).unwrap();
    let secp256k1 = run(&["ecparam", "-name", "secp256k1", "-genkey", "-noout"]).unwrap();
    assert!(matches!(key_of(&secp256k1), Err(Problem::UnusableKey { line: 1, .. })));
}

#[test]
fn credentials_find_the_own_certificate_in_any_order_and_leave_the_root_out() {
    let own = CONSORTIUM.organization.certificate_pem();
    let (issuing, root) = (CONSORTIUM.issuing.certificate_pem(), CONSORTIUM.root.certificate_pem());
    for text in
        [format!("{own}{issuing}{root}"), format!("{root}{issuing}{own}"), format!("{issuing}{own}{root}{issuing}")]
    {
        let certificates = certificates_of(text.as_bytes()).unwrap();
        let key = key_of(CONSORTIUM.organization.private_key_pem().as_bytes()).unwrap();
        let credentials = crate::Credentials::new(certificates, key, "c.pem", "c.key").unwrap();
        assert_eq!(credentials.certificate(), CONSORTIUM.organization.certificate());
        let names: Vec<_> = credentials.chain().map(|certificate| certificate.subject().short()).collect();
        assert_eq!(names, ["dsf.klinikum.example", "Test Issuing CA"]);
        credentials.certified_key().unwrap();
    }
    let key = key_of(CONSORTIUM.server.private_key_pem().as_bytes()).unwrap();
    let error = crate::Credentials::new(certificates_of(own.as_bytes()).unwrap(), key, "c.pem", "c.key").unwrap_err();
    assert!(matches!(error.problem, Problem::KeyMismatch { .. }));
    assert!(error.to_string().contains("c.key"), "{error}");
}

#[test]
fn an_rsa_authority_makes_certificates_that_can_be_read_again() {
    let authority = Authority::root(&Subject::german("Test", "RSA Root"), KeyType::Rsa3072, year()).unwrap();
    let subject = Subject::german("Klinikum", "Erika Mustermann").with_email("erika@klinikum.example");
    let issued = authority.issue_person(&subject, KeyType::Rsa3072, year()).unwrap();
    let found = certificates_of(issued.chain_pem().as_bytes()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(*found[0].key(), crate::certificate::KeyType::Rsa { bits: 3072 });
    assert_eq!(found[0].emails(), ["erika@klinikum.example"]);
    assert_eq!(found[0].subject().as_str(), "emailAddress=erika@klinikum.example,CN=Erika Mustermann,O=Klinikum,C=DE");
    assert!(crate::matches(&found[0], &key_of(issued.private_key_pem().as_bytes()).unwrap()));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    #[test]
    fn no_cut_and_no_flipped_bit_makes_the_reader_panic(cut in 0_usize..4000, flip in 0_usize..4000, bit in 0_u8..8) {
        for text in [CONSORTIUM.organization.chain_pem(), CONSORTIUM.organization.private_key_pem().to_owned()] {
            let mut bytes = text.into_bytes();
            let length = bytes.len();
            bytes[flip % length] ^= 1 << bit;
            crate::fuzz::file(&bytes);
            bytes.truncate(cut % length);
            crate::fuzz::file(&bytes);
        }
        let mut der = CONSORTIUM.organization.certificate().der().to_vec();
        let length = der.len();
        der[flip % length] ^= 1 << bit;
        crate::fuzz::certificate(&der);
        crate::fuzz::file(&der);
        der.truncate(cut % length);
        crate::fuzz::certificate(&der);
        crate::fuzz::file(&der);
    }

    #[test]
    fn what_is_encoded_is_scanned_again(der in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..300)) {
        let blocks = scan(encode("CERTIFICATE", &der).as_bytes()).unwrap();
        proptest::prop_assert_eq!(blocks, vec![Block { label: "CERTIFICATE".to_owned(), line: 1, der, encrypted: false }]);
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        crate::fuzz::file(&bytes);
        crate::fuzz::certificate(&bytes);
    }
}

#[test]
fn a_private_key_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("server.key");
    std::fs::write(&key, "x").unwrap();
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let refused =
        |path: &Path| matches!(read_key_file(path), Err(CertError { problem: Problem::ExposedKey { .. }, .. }));
    for (folder_mode, key_mode, expected) in [
        (0o755, 0o644, true),
        (0o755, 0o602, true),
        (0o755, 0o640, false),
        (0o755, 0o600, false),
        (0o700, 0o644, false),
    ] {
        set(folder.path(), folder_mode);
        set(&key, key_mode);
        assert_eq!(refused(&key), expected, "{folder_mode:o} {key_mode:o}");
    }
    // A link does not hide what it points to.
    set(folder.path(), 0o755);
    set(&key, 0o644);
    let inner = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&key, inner.path().join("server.key")).unwrap();
    assert!(refused(&inner.path().join("server.key")));
}
