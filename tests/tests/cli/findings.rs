//! The checks E01 to E18 of the requirement, by `schleuse check`: a node is initialised, one thing is made wrong, and the
//! finding with its file and its words is demanded. What needs an allow-list is tested where it is found
//! (`cli/src/command/check/surroundings`).

use std::path::PathBuf;

use tests::Output;
use tests::network::folder;

use super::{init, run, text};

struct Lab {
    _place: tempfile::TempDir,
    directory: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let place = folder();
        let directory = place.path().join("node");
        init(&directory).expect(0);
        Self { _place: place, directory }
    }

    fn check(&self, code: i32) -> Output {
        run(&["check", text(&self.directory)]).expect(code)
    }

    /// Writes a file, demands what `check` says, and restores what was there.
    fn with(&self, file: &str, content: &[u8], code: i32, words: &[&str]) {
        let path = self.directory.join(file);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, content).unwrap();
        let said = self.check(code).out;
        for word in words {
            assert!(said.contains(word), "{file}: {word} is missing in\n{said}");
        }
        match before {
            Some(before) => std::fs::write(path, before).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    fn edited(&self, file: &str, from: &str, to: &str) -> Vec<u8> {
        let before = std::fs::read_to_string(self.directory.join(file)).unwrap();
        let after = before.replacen(from, to, 1);
        assert_ne!(before, after, "{file} has no {from}");
        after.into_bytes()
    }

    /// One more policy file.
    fn policy(&self, content: &str, words: &[&str]) {
        self.with("policies/zz.toml", format!("schema = 1\n{content}\n").as_bytes(), 78, words);
    }
}

fn rule(id: &str, effect: &str, subject: &str, rest: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\nsubject = \"{subject}\"\n{rest}\n")
}

const READ_TASKS: &str = "match = { operations = [\"read\"], types = [\"Task\"] }";

#[test]
fn edge_e01_unknown_keys_duplicates_and_wrong_units_are_errors() {
    let lab = Lab::new();
    lab.policy("[trust]\ncolour = \"red\"", &["zz.toml:3: error: trust.colour: unknown key"]);
    lab.policy("[tls]\nprofile = \"bsi\"", &["set in another file too"]);
    lab.policy(&rule("local-all", "allow", "local-organization", READ_TASKS), &["the id \"local-all\" is used twice"]);
    let units = lab.edited("policies/limits.toml", "bytes = \"32KiB\"", "bytes = \"32 apples\"");
    lab.with("policies/limits.toml", &units, 78, &["limits.head.bytes"]);
}

#[test]
fn edge_e02_the_base_url_is_https_without_a_slash_at_its_end() {
    let lab = Lab::new();
    for wrong in ["http://localhost:23443/fhir", "https://localhost:23443/fhir/", "https://localhost:23443"] {
        let settings =
            lab.edited("node.toml", "base-url = \"https://localhost:23443/fhir\"", &format!("base-url = \"{wrong}\""));
        lab.with("node.toml", &settings, 78, &["node.base-url: is no usable address"]);
    }
}

#[test]
fn edge_e03_a_server_certificate_of_another_host_or_key_is_an_error() {
    let lab = Lab::new();
    let client = std::fs::read(lab.directory.join("certificates/client.pem")).unwrap();
    lab.with("certificates/server.pem", &client, 78, &["server"]);
    let settings = lab.edited("node.toml", "https://localhost:23443/fhir", "https://dsf.other.example:23443/fhir");
    lab.with("node.toml", &settings, 78, &["does not name the host dsf.other.example"]);
}

#[test]
fn edge_e04_a_client_certificate_that_partners_would_refuse_is_told() {
    let lab = Lab::new();
    let server = std::fs::read_to_string(lab.directory.join("certificates/server.pem")).unwrap();
    let key = std::fs::read(lab.directory.join("certificates/server.key")).unwrap();
    let kept = std::fs::read(lab.directory.join("certificates/client.key")).unwrap();
    std::fs::write(lab.directory.join("certificates/client.key"), key).unwrap();
    lab.with("certificates/client.pem", server.as_bytes(), 0, &["is not for TLS clients"]);
    std::fs::write(lab.directory.join("certificates/client.key"), kept).unwrap();
    lab.check(0);
}

#[test]
fn edge_e05_optional_client_certificates_and_openid_connect_are_refused() {
    let lab = Lab::new();
    lab.policy("[tls]\nclient-auth = \"optional\"", &["tls.client-auth: unknown key"]);
    lab.policy("[oidc]\nenabled = true", &["oidc: unknown key"]);
}

#[test]
fn edge_e06_e12_e17_are_said_by_check() {
    let lab = Lab::new();
    lab.policy(
        "[trust]\nissuer-cn = [\"Nobody\"]",
        &["no authority of the trust store for clients is called \"Nobody\" [E06]"],
    );
    let said = lab.check(0).out;
    for words in ["no allow-list yet: E08, E12, E13, E17, W05, W06", "revoked certificates are accepted [W04]"] {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
}

#[test]
fn edge_e08_thumbprints_have_128_lower_case_digits() {
    let lab = Lab::new();
    for wrong in ["abc", &"A".repeat(128), &"a".repeat(127)] {
        let person = format!("[[identity.person]]\nid = \"p\"\nthumbprint = [\"{wrong}\"]\ndsf-role = [\"READ\"]");
        lab.policy(&person, &["thumbprint"]);
    }
}

#[test]
fn edge_e09_unknown_operations_types_and_roles_are_errors() {
    let lab = Lab::new();
    let unknown = "match = { operations = [\"reed\"], types = [\"Task\"] }";
    lab.policy(&rule("a", "allow", "any", unknown), &["\"reed\" is no operation"]);
    let unknown = "match = { operations = [\"read\"], types = [\"Tusk\"] }";
    lab.policy(&rule("a", "allow", "any", unknown), &["\"Tusk\" is no resource type"]);
    let digits = "a".repeat(128);
    let person = format!(
        "[[identity.person]]\nid = \"p\"\nthumbprint = [\"{digits}\"]\ndsf-role = [\"READ\"]\npractitioner-role = [\"DSF_ADMIN\"]"
    );
    lab.policy(&person, &["practitioner-role"]);
}

#[test]
fn edge_e10_a_rule_under_a_deny_is_an_error() {
    let lab = Lab::new();
    let both = rule("a", "allow", "person", READ_TASKS) + &rule("b", "deny", "person", READ_TASKS);
    lab.policy(&both, &["never applies, because the rule \"b\" denies all of it"]);
}

#[test]
fn edge_e11_no_rule_gives_others_more_than_tasks() {
    let lab = Lab::new();
    for (operation, kind) in
        [("update", "Task"), ("delete", "Task"), ("create", "Organization"), ("permanent-delete", "Task")]
    {
        let wide = format!("match = {{ operations = [\"{operation}\"], types = [\"{kind}\"] }}");
        lab.policy(&rule("a", "allow", "remote-organization", &wide), &["who may create Tasks and nothing else"]);
    }
}

#[test]
fn edge_e14_hard_revocation_needs_a_fresh_list() {
    let lab = Lab::new();
    for (mode, code, severity) in [("hard", 78, "error"), ("soft", 0, "warning")] {
        let trust = lab.edited("policies/trust.toml", "mode = \"off\"", &format!("mode = \"{mode}\""));
        lab.with("policies/trust.toml", &trust, code, &["[E14]", severity]);
    }
}

#[test]
fn edge_e15_management_is_on_loopback() {
    let lab = Lab::new();
    let settings = lab.edited("node.toml", "address = \"127.0.0.1:23480\"", "address = \"0.0.0.0:23480\"");
    lab.with("node.toml", &settings, 78, &["management.address: is not a loopback address"]);
}

#[test]
fn edge_e16_records_never_travel_in_plain_text() {
    let lab = Lab::new();
    let with = |sink: &str| lab.edited("policies/audit.toml", "sink = []", &format!("sink = [\"{sink}\"]"));
    for sink in ["syslog://siem.example:514", "tcp://siem.example:601", "tls-syslog://siem.example"] {
        lab.with("policies/audit.toml", &with(sink), 78, &["audit.sink", "plain text"]);
    }
    for sink in ["journald", "tls-syslog://siem.example:6514"] {
        lab.with("policies/audit.toml", &with(sink), 0, &[]);
    }
    let before = std::fs::read(lab.directory.join("policies/audit.toml")).unwrap();
    std::fs::write(lab.directory.join("policies/audit.toml"), with("tls-syslog://siem.example:6514")).unwrap();
    for (key, file) in [("server.key", "private-key: is a key of the node itself"), ("none.key", "none.key")] {
        let own = format!("certificate = \"certificates/server.pem\"\nprivate-key = \"certificates/{key}\"");
        let settings = std::fs::read_to_string(lab.directory.join("node.toml")).unwrap();
        lab.with("node.toml", format!("{settings}\n[syslog]\n{own}\n").as_bytes(), 78, &["syslog", file]);
    }
    std::fs::write(lab.directory.join("policies/audit.toml"), before).unwrap();
}

#[test]
fn edge_e18_anywhere_with_private_addresses_is_an_error() {
    let lab = Lab::new();
    let before = std::fs::read_to_string(lab.directory.join("policies/outbound.toml")).unwrap();
    let header = before.find("\n[outbound]").map_or(before.as_str(), |end| &before[..end]);
    let wide = format!("{header}\n[outbound]\nmode = \"any\"\ndeny-private-addresses = false\n");
    lab.with("policies/outbound.toml", wide.as_bytes(), 78, &["outbound.deny-private-addresses"]);
}

#[test]
fn approval_without_officers_is_an_error() {
    let lab = Lab::new();
    let approval = lab.edited("policies/allow-list.toml", "approval = \"none\"", "approval = \"two-person\"");
    lab.with("policies/allow-list.toml", &approval, 78, &["needs 2 officers, and 0 are named"]);
    let officers =
        lab.edited("node.toml", "[workers]", "[officers]\nrequired = 3\ncertificates = [\"a.pem\"]\n\n[workers]");
    lab.with("node.toml", &officers, 78, &["officers.required: is more than the 1 officers"]);
}
