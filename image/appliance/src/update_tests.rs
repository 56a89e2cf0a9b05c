//! Updates in folders: what is taken over, and what is refused without a trace.

use super::*;
use crate::system_disk::Entry;

use certs::development::{Authority, KeyType, Subject, Validity};

struct Bench {
    root: tempfile::TempDir,
    certificate: Vec<u8>,
    key: certs::PrivateKey,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("update")).unwrap();
        fs::create_dir_all(root.path().join("disk")).unwrap();
        fs::write(root.path().join("disk/schleuse_1.0.0.efi"), "running").unwrap();
        let (certificate, key) = signer();
        Self { root, certificate, key }
    }

    fn update(&self) -> PathBuf {
        self.root.path().join("update")
    }

    fn versions(&self) -> Versions {
        Versions::in_folder(&self.root.path().join("disk"))
    }

    /// An update with this content, signed.
    fn put(&self, version: &str, content: &[u8]) {
        fs::write(self.update().join(SYSTEM), content).unwrap();
        let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let manifest = format!("version = \"{version}\"\nsize = {}\nsha256 = \"{sha256}\"\n", content.len());
        let signature = Signature::sign(&self.key, SignedPurpose::ApplianceUpdate, manifest.as_bytes()).unwrap();
        fs::write(self.update().join(MANIFEST), manifest).unwrap();
        fs::write(self.update().join(SIGNATURE), format!("{signature}\n")).unwrap();
    }

    /// What the appliance would do, running 1.0.0.
    fn bring_in(&self, newest: Option<&str>) -> Result<Option<Version>, UpdateError> {
        let manifest = manifest(&self.update(), &self.certificate)?;
        let newest = newest.map(|newest| newest.parse().unwrap());
        let Some(new) = is_wanted(&manifest, running(), newest)? else { return Ok(None) };
        install(&self.update(), &self.versions(), &manifest, new, running()).map(|installed| installed.then_some(new))
    }

    fn names(&self) -> Vec<String> {
        let folder = fs::read_dir(self.root.path().join("disk")).unwrap();
        let mut names: Vec<String> =
            folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn running() -> Version {
    "1.0.0".parse().unwrap()
}

fn signer() -> (Vec<u8>, certs::PrivateKey) {
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
    let authority = Authority::root(&Subject::german("Builder", "Builder"), KeyType::EcdsaP256, validity).unwrap();
    let issued = authority
        .issue_server(&Subject::german("Updates", "updates"), &["localhost"], KeyType::EcdsaP256, validity)
        .unwrap();
    let key = certs::read_private_key(issued.private_key_pem().as_bytes(), "key").unwrap();
    (issued.chain_pem().into_bytes(), key)
}

#[test]
fn a_newer_signed_system_stands_beside_the_running_one() {
    let bench = Bench::new();
    bench.put("1.1.0", b"newer");
    assert_eq!(bench.bring_in(None).unwrap().unwrap().to_string(), "1.1.0");
    assert_eq!(bench.names(), ["schleuse_1.0.0.efi", "schleuse_1.1.0+3.efi"]);
    assert_eq!(fs::read(bench.root.path().join("disk/schleuse_1.1.0+3.efi")).unwrap(), b"newer");
    // The disk is still attached at the next boot of the old version, whose machine was stopped too early.
    assert!(bench.bring_in(None).unwrap().is_some());
    // The trial failed: it is not tried for ever, and the next version may come.
    bench.versions().settle("1.1.0".parse().unwrap(), false).unwrap();
    assert!(matches!(bench.bring_in(None), Err(UpdateError::Failed(_))));
    bench.put("1.1.1", b"mended");
    assert!(bench.bring_in(None).unwrap().is_some());
    assert_eq!(bench.names(), ["schleuse_1.0.0.efi", "schleuse_1.1.1+3.efi"]);
}

#[test]
fn what_is_not_newer_or_not_on_a_system_disk_is_not_taken_over() {
    let bench = Bench::new();
    bench.put("1.0.0", b"same");
    assert!(bench.bring_in(None).unwrap().is_none());
    bench.put("0.9.0", b"old");
    assert!(matches!(bench.bring_in(None), Err(UpdateError::Older { .. })));
    bench.put("1.1.0", b"ran before");
    assert!(matches!(bench.bring_in(Some("1.1.0")), Err(UpdateError::Older { .. })));
    assert_eq!(bench.names(), ["schleuse_1.0.0.efi"]);
    fs::remove_file(bench.root.path().join("disk/schleuse_1.0.0.efi")).unwrap();
    assert!(matches!(bench.bring_in(None), Err(UpdateError::NoDisk)));
}

#[test]
fn what_is_changed_anywhere_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    for name in [SYSTEM, MANIFEST, SIGNATURE] {
        for change in ["flip", "cut", "longer", "gone"] {
            bench.put("1.1.0", b"newer system");
            let path = bench.update().join(name);
            let mut bytes = fs::read(&path).unwrap();
            match change {
                "flip" => bytes[5] ^= 1,
                "cut" => drop(bytes.split_off(bytes.len() - 3)),
                "longer" => bytes.extend_from_slice(b"#xyz"),
                _ => bytes.clear(),
            }
            if change == "gone" {
                fs::remove_file(&path).unwrap()
            } else {
                fs::write(&path, bytes).unwrap()
            }
            let refused = bench.bring_in(None);
            assert!(refused.as_ref().is_err(), "{name} {change}: {refused:?}");
            assert!(!refused.unwrap_err().remedy().is_empty());
            assert_eq!(bench.names(), ["schleuse_1.0.0.efi"], "{name} {change}");
        }
    }
}

#[test]
fn a_signature_of_somebody_else_or_for_something_else_is_none() {
    let mut bench = Bench::new();
    bench.put("1.1.0", b"newer");
    let text = fs::read(bench.update().join(MANIFEST)).unwrap();
    let other = Signature::sign(&bench.key, SignedPurpose::Policy, &text).unwrap();
    fs::write(bench.update().join(SIGNATURE), other.to_string()).unwrap();
    assert!(matches!(bench.bring_in(None), Err(UpdateError::Signature(_))));
    bench.put("1.1.0", b"newer");
    bench.certificate = signer().0;
    assert!(matches!(bench.bring_in(None), Err(UpdateError::Signature(_))));
}

#[test]
fn a_manifest_says_what_it_must_and_nothing_else() {
    let bench = Bench::new();
    for text in [
        "",
        "version = \"1.1\"\nsize = 5\nsha256 = \"\"\n",
        "version = \"1.1.0\"\nsize = 0\nsha256 = \"\"\n",
        "version = \"1.1.0\"\nsize = 99999999999\nsha256 = \"\"\n",
        "version = \"1.1.0\"\nsize = 5\nsha256 = \"\"\nforce = true\n",
    ] {
        bench.put("1.1.0", b"newer");
        let signature = Signature::sign(&bench.key, SignedPurpose::ApplianceUpdate, text.as_bytes()).unwrap();
        fs::write(bench.update().join(MANIFEST), text).unwrap();
        fs::write(bench.update().join(SIGNATURE), signature.to_string()).unwrap();
        assert!(matches!(bench.bring_in(None), Err(UpdateError::Manifest(_))), "{text}");
    }
}

#[test]
fn the_newest_version_that_was_ready_is_kept_in_mind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newest-version");
    let version = |text: &str| text.parse::<Version>().unwrap();
    assert_eq!(floor(&path).unwrap(), None);
    raise(&path, version("1.2.0")).unwrap();
    raise(&path, version("1.1.0")).unwrap();
    assert_eq!(floor(&path).unwrap(), Some(version("1.2.0")));
    // What cannot be read is no permission.
    fs::write(&path, "1.2").unwrap();
    assert!(floor(&path).is_err() && raise(&path, version("9.0.0")).is_err());
    assert_eq!(Entry::kept(version("1.2.0")).to_string(), "schleuse_1.2.0.efi");
}
