//! What an organisation says it sent.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{Manifest, ManifestError, Part, SignedManifest, Signer};

fn identity(algorithm: &'static rcgen::SignatureAlgorithm) -> (PrivateKeyDer<'static>, CertificateDer<'static>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec!["dic-1.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    (PrivatePkcs8KeyDer::from(key.serialize_der()).into(), certificate.der().clone())
}

fn manifest() -> Manifest {
    Manifest {
        sender: "dic-1.example".to_owned(),
        recipient: "dms.example".to_owned(),
        project: "project-1".to_owned(),
        run: "5f2c1a4e-0000-4000-8000-000000000001".to_owned(),
        created: "2026-11-22T20:00:00Z".to_owned(),
        revision: None,
        parts: vec![Part::of("Patient.ndjson", b"{}\n", 1)],
    }
}

fn signer() -> Signer {
    let (key, certificate) = identity(&PKCS_ECDSA_P256_SHA256);
    Signer::new(&key, &certificate).unwrap()
}

#[test]
fn a_signed_manifest_is_believed_with_every_kind_of_key() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let (key, certificate) = identity(algorithm);
        let signed = Signer::new(&key, &certificate).unwrap().sign(&manifest()).unwrap();
        let verified = SignedManifest::verify(&signed.to_json().unwrap()).unwrap();
        assert_eq!(verified.manifest, manifest());
        assert_eq!(verified.certificate, certificate.to_vec());
    }
}

#[test]
fn a_part_is_named_by_the_hash_of_its_bytes() {
    let part = Part::of("empty", b"", 0);
    assert_eq!(part.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!((part.bytes, part.records), (0, 0));
}

#[test]
fn a_changed_manifest_signature_or_certificate_is_not_believed() {
    let json = String::from_utf8(signer().sign(&manifest()).unwrap().to_json().unwrap()).unwrap();
    let other = String::from_utf8(signer().sign(&manifest()).unwrap().to_json().unwrap()).unwrap();
    let member = |json: &str, name: &str| {
        let (_, value) = json.split_once(&format!("\"{name}\":\"")).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    for name in ["signature", "certificate"] {
        let exchanged = json.replace(&member(&json, name), &member(&other, name));
        assert_eq!(SignedManifest::verify(exchanged.as_bytes()).unwrap_err(), ManifestError::Signature, "{name}");
    }
    let mut changed = manifest();
    changed.recipient = "other.example".to_owned();
    let changed = String::from_utf8(signer().sign(&changed).unwrap().to_json().unwrap()).unwrap();
    let exchanged = json.replace(&member(&json, "manifest"), &member(&changed, "manifest"));
    assert_eq!(SignedManifest::verify(exchanged.as_bytes()).unwrap_err(), ManifestError::Signature);
    for scheme in ["ecdsa-p384-sha384", "ed25519", "rsa-pss-sha256"] {
        let exchanged = json.replace("ecdsa-p256-sha256", scheme);
        assert_eq!(SignedManifest::verify(exchanged.as_bytes()).unwrap_err(), ManifestError::Signature, "{scheme}");
    }
    assert_eq!(
        SignedManifest::verify(json.replace("ecdsa-p256-sha256", "none").as_bytes()),
        Err(ManifestError::Format)
    );
}

#[test]
fn what_is_no_manifest_is_refused() {
    let huge = format!("\"{}\"", "x".repeat(2 << 20));
    for (json, error) in [
        ("", ManifestError::Format),
        ("{}", ManifestError::Format),
        (r#"{"manifest":"e30=","scheme":"ed25519","signature":"","certificate":"","more":1}"#, ManifestError::Format),
        (r#"{"manifest":"e30=","scheme":"ed25519","signature":"","certificate":""}"#, ManifestError::Format),
        (huge.as_str(), ManifestError::TooLarge),
    ] {
        assert_eq!(SignedManifest::verify(json.as_bytes()).unwrap_err(), error);
    }
    let mut many = manifest();
    many.parts = vec![Part::of("x", b"", 0); 10_001];
    assert_eq!(signer().sign(&many).unwrap_err(), ManifestError::TooLarge);
    let mut wrong = manifest();
    wrong.parts[0].sha256 = "no hash".to_owned();
    assert!(signer().sign(&wrong).is_err());
}

#[test]
fn a_key_of_another_certificate_does_not_sign() {
    let ((key, _), (_, certificate)) = (identity(&PKCS_ECDSA_P256_SHA256), identity(&PKCS_ECDSA_P256_SHA256));
    assert_eq!(Signer::new(&key, &certificate).err(), Some(ManifestError::OtherKey));
    let garbage = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(vec![1, 2, 3]));
    assert!(matches!(Signer::new(&garbage, &certificate).err(), Some(ManifestError::Key(_))));
}
