//! `cert inspect` and `cert thumbprint`: files as hospitals have them.

use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use serde_json::Value;
use tests::Output;
use tests::network::folder;

use super::{run, text};

struct Files {
    folder: tempfile::TempDir,
    issued: Issued,
}

fn certificates() -> Files {
    let now = time::OffsetDateTime::now_utc();
    let (key, validity) = (KeyType::EcdsaP256, Validity::days(now, 100));
    let root = Authority::root(&Subject::german("Test", "Test Root"), key, validity).unwrap();
    let issuing = root.issuing(&Subject::german("Test", "Test Issuing"), key, validity).unwrap();
    let subject = Subject::german("Hospital", "dsf.hospital.example").with_email("dsf@hospital.example");
    let issued = issuing.issue_organization(&subject, &["dsf.hospital.example"], key, validity).unwrap();
    let files = Files { folder: folder(), issued };
    let chain = files.issued.chain_pem();
    files.write("chain.pem", chain.as_bytes());
    files.write("crlf.pem", chain.replace('\n', "\r\n").as_bytes());
    files.write("with-text.pem", format!("Subject: somebody\n\n{chain}").as_bytes());
    files.write("leaf.der", files.issued.certificate().der());
    files.write("expired.pem", {
        let past = Validity { not_before: now - time::Duration::days(20), not_after: now - time::Duration::days(1) };
        root.issue_organization(&subject, &[], key, past).unwrap().chain_pem()
    });
    files.write("nameless.pem", {
        let nameless = Subject { common_name: None, ..subject.clone() };
        root.issue_organization(&nameless, &[], key, validity).unwrap().chain_pem()
    });
    files.write("server.pem", {
        root.issue_server(&subject, &["dsf.hospital.example"], key, validity).unwrap().chain_pem()
    });
    files.write("key.pem", files.issued.private_key_pem().as_bytes());
    files.write("encrypted.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    files.write("nonsense.pem", "nonsense");
    files.write("empty.pem", "");
    files.write("truncated.pem", &chain.as_bytes()[..200]);
    files
}

impl Files {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn cert(&self, command: &str, names: &[&str], more: &[&str]) -> Output {
        let paths: Vec<String> = names.iter().map(|name| text(&self.folder.path().join(name)).to_owned()).collect();
        let mut arguments = vec!["cert", command];
        arguments.extend(more);
        arguments.extend(paths.iter().map(String::as_str));
        run(&arguments)
    }
}

#[test]
fn thumbprints_are_those_of_openssl_for_every_form_of_a_file() {
    let files = certificates();
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha512", "-in"])
        .arg(files.folder.path().join("chain.pem"))
        .output();
    let expected = match openssl {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            said.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase()
        }
        _ => files.issued.certificate().thumbprint().to_owned(),
    };
    assert_eq!(files.issued.certificate().thumbprint(), expected);
    for name in ["chain.pem", "crlf.pem", "with-text.pem", "leaf.der"] {
        let output = files.cert("thumbprint", &[name], &[]).expect(0);
        let first = output.out.lines().next().unwrap();
        assert_eq!(first.split(' ').next(), Some(expected.as_str()), "{name}: {}", output.out);
        assert!(first.contains("CN=dsf.hospital.example"), "{name}: {}", output.out);
        assert_eq!(output.out.lines().count(), 1, "authorities of a chain stand on no allow-list: {}", output.out);
    }
    let json = files.cert("thumbprint", &["chain.pem"], &["--format", "json"]).expect(0).json();
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{json:#}");
    assert_eq!(json[0]["thumbprint"].as_str(), Some(expected.as_str()));
}

#[test]
fn inspection_tells_what_partners_would_object_to() {
    let files = certificates();
    let good = files.cert("inspect", &["chain.pem"], &[]).expect(0);
    for words in [
        "CN=dsf.hospital.example",
        "CN=Test Issuing",
        "C=DE",
        "clientAuth",
        "digitalSignature",
        "EC P-256",
        "days left",
        "dsf@hospital.example",
    ] {
        assert!(good.out.contains(words), "{words}: {}", good.out);
    }
    assert!(good.out.contains("1 of 2") && good.out.contains("2 of 2"), "{}", good.out);
    let expired = files.cert("inspect", &["expired.pem"], &[]).expect(0);
    assert!(expired.out.contains("expired"), "{}", expired.out);
    let nameless = files.cert("inspect", &["nameless.pem"], &[]).expect(0);
    assert!(nameless.out.to_lowercase().contains("common name") || nameless.out.contains("CN"), "{}", nameless.out);
    let server = files.cert("inspect", &["server.pem"], &[]).expect(0);
    assert!(server.out.contains("serverAuth") && server.out.contains("server certificate"), "{}", server.out);
    let json = files.cert("inspect", &["chain.pem", "expired.pem"], &["--format", "json"]).expect(0).json();
    let list = json.as_array().unwrap();
    assert_eq!(list.len(), 3, "{json:#}");
    assert!(list[2]["days-left"].as_i64() < Some(0), "{json:#}");
    assert!(list[2]["notes"].as_array().is_some_and(|notes| !notes.is_empty()), "{json:#}");
}

#[test]
fn files_that_hold_no_certificate_are_named_with_a_remedy_and_hide_no_others() {
    let files = certificates();
    for (name, words) in [
        ("key.pem", "private key"),
        ("encrypted.key", "private key"),
        ("nonsense.pem", "neither PEM nor DER"),
        ("empty.pem", "empty"),
        ("truncated.pem", "truncated"),
        ("missing.pem", "read"),
    ] {
        for command in ["inspect", "thumbprint"] {
            let output = files.cert(command, &[name, "leaf.der"], &[]).expect(1);
            assert!(output.err.contains(name) && output.err.contains(words), "{name}: {}", output.err);
            assert!(output.err.contains("remedy: "), "{name}: {}", output.err);
            assert!(output.out.contains("dsf.hospital.example"), "the other file is still shown: {}", output.out);
            assert!(!output.err.contains("-----BEGIN"), "{}", output.err);
        }
    }
}

#[test]
fn text_of_certificates_does_not_control_the_terminal() {
    let now = time::OffsetDateTime::now_utc();
    let validity = Validity::days(now, 100);
    let evil = Subject::german("Evil", "evil\u{1b}[31m\r\nCN=good.example");
    let authority = Authority::root(&evil, KeyType::EcdsaP256, validity).unwrap();
    let place = folder();
    let file = place.path().join("evil.pem");
    std::fs::write(&file, authority.certificate_pem()).unwrap();
    for command in ["inspect", "thumbprint"] {
        let output = run(&["cert", command, text(&file)]).expect(0);
        assert!(!output.out.contains('\u{1b}') && !output.out.contains('\r'), "{:?}", output.out);
    }
    let json: Value = run(&["cert", "inspect", "--format", "json", text(&file)]).expect(0).json();
    assert!(json[0].is_object());
}
