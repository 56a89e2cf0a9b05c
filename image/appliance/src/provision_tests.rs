use super::*;

const TOML: &str = "[node]\norganization-identifier = \"a.example\"\nbase-url = \"https://dsf.a.example/fhir\"\n[network]\naddress = \"dhcp\"\n";

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(folders.0.path().join("node")).unwrap();
        // The node is there already: making it is the work of `schleuse init`.
        fs::write(folders.0.path().join("node/node.toml"), "").unwrap();
        folders
    }

    fn with<T>(&self, work: impl FnOnce(&Places<'_>) -> T) -> T {
        let path = |name: &str| self.0.path().join(name);
        let (node, saved, run, state) = (path("node"), path("saved/appliance.toml"), path("run"), path("state"));
        work(&Places { node: &node, saved: &saved, run: &run, state: &state })
    }
}

fn bundle(files: &[(&str, &str)]) -> Bundle {
    let mut bundle = Bundle::default();
    for (path, content) in files {
        bundle.add(path, content.as_bytes().to_vec()).unwrap();
    }
    bundle
}

fn parsed() -> Configuration {
    configuration::parse(TOML).unwrap()
}

#[test]
fn without_configuration_the_node_waits_for_one() {
    Folders::new().with(|places| {
        let error = configuration_of(places, &Bundle::default()).unwrap_err();
        assert!(matches!(error, ProvisionError::Missing) && error.remedy().contains("SCHLEUSE"));
    });
}

#[test]
fn a_node_never_becomes_another() {
    Folders::new().with(|places| {
        write(places.saved, TOML.as_bytes(), 0o644).unwrap();
        assert!(configuration_of(places, &Bundle::default()).is_ok(), "what is in force goes on");
        let other = bundle(&[("appliance.toml", &TOML.replace("dsf.a", "dsf.b"))]);
        assert!(matches!(configuration_of(places, &other), Err(ProvisionError::Other(..))));
        let moved = bundle(&[("appliance.toml", &TOML.replace("dhcp", "192.0.2.1/24"))]);
        assert!(configuration_of(places, &moved).is_ok());
    });
}

#[test]
fn keys_are_made_inside_and_their_certificates_brought_back() {
    let days = certs::development::Validity::days(time::OffsetDateTime::now_utc(), 2);
    let kind = certs::development::KeyType::EcdsaP256;
    let subject = certs::development::Subject::german("a.example", "test");
    let authority = certs::development::Authority::root(&subject, kind, days).unwrap();
    let issued = authority.issue_server(&subject, &["dsf.a.example"], kind, days).unwrap();
    Folders::new().with(|places| {
        let missing = install(places, &Bundle::default(), &parsed(), None).unwrap();
        assert_eq!(missing, ["server", "client"]);
        let key = fs::read_to_string(places.node.join("certificates/server.key")).unwrap();
        let request = fs::read_to_string(places.state.join("for-console/server.csr")).unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        install(places, &Bundle::default(), &parsed(), None).unwrap();
        assert_eq!(key, fs::read_to_string(places.node.join("certificates/server.key")).unwrap(), "the key stays");

        let foreign = bundle(&[("certificates/server.pem", &issued.certificate_pem())]);
        assert!(matches!(install(places, &foreign, &parsed(), None), Err(ProvisionError::Pair("server"))));
        assert!(!places.node.join("certificates/server.pem").exists());

        let pair = bundle(&[
            ("certificates/server.pem", &issued.certificate_pem()),
            ("certificates/server.key", issued.private_key_pem()),
        ]);
        assert_eq!(install(places, &pair, &parsed(), None).unwrap(), ["client"]);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(places.node.join("certificates/server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn policies_of_the_disk_are_the_whole_set() {
    Folders::new().with(|places| {
        write(&places.node.join("policies/tls.toml"), b"old", 0o644).unwrap();
        replace_policies(places, &bundle(&[("trust/a.pem", "")])).unwrap();
        assert!(places.node.join("policies/tls.toml").exists(), "without a folder nothing changes");
        replace_policies(places, &bundle(&[("policies/strict.toml", "new")])).unwrap();
        let names: Vec<_> =
            fs::read_dir(places.node.join("policies")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["strict.toml"]);
    });
}
