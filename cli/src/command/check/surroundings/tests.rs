use certs::development::{Authority, KeyType, Subject, Validity};
use fhir::{Format, Limits, Resource};
use policies::policy::AllowListSection;

use super::list::sources;
use super::*;

const OWN: &str = "hospital.example";
const PARTNER: &str = "dic-1.example";
const PARENT: &str = "consortium.example";

/// Resources of a consortium with two members; tests take away or change what they need.
fn resources(own_thumbprint: &str) -> Vec<String> {
    let system = "http://dsf.dev/sid/organization-identifier";
    let organization = |id: &str, name: &str, thumbprint: &str| {
        let url = policies::resource_rules::THUMBPRINT_EXTENSION;
        let extension = if thumbprint.is_empty() {
            String::new()
        } else {
            format!(
                r#""extension":[{{"url":"{url}","valueString":"{thumbprint}"}}],"endpoint":[{{"reference":"Endpoint/e{id}"}}],"#
            )
        };
        format!(
            r#"{{"resourceType":"Organization","id":"{id}",{extension}"identifier":[{{"system":"{system}","value":"{name}"}}],"active":true,"name":"{name}"}}"#
        )
    };
    let endpoint = |id: &str, name: &str| {
        format!(
            r#"{{"resourceType":"Endpoint","id":"e{id}","identifier":[{{"system":"http://dsf.dev/sid/endpoint-identifier","value":"dsf.{name}"}}],"status":"active","managingOrganization":{{"reference":"Organization/{id}"}},"address":"https://{name}/fhir"}}"#
        )
    };
    let affiliation = r#"{"resourceType":"OrganizationAffiliation","id":"a","active":true,"organization":{"reference":"Organization/3"},"participatingOrganization":{"reference":"Organization/2"},"code":[{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"DIC"}]}],"endpoint":[{"reference":"Endpoint/e2"}]}"#;
    let process = r#"{"resourceType":"ActivityDefinition","id":"p","status":"active","url":"http://dsf.dev/bpe/Process/pong","version":"1.0","extension":[{"url":"http://dsf.dev/fhir/StructureDefinition/extension-process-authorization","extension":[{"url":"message-name","valueString":"ping"},{"url":"task-profile","valueCanonical":"http://dsf.dev/fhir/StructureDefinition/task-ping|1.0"},{"url":"requester","valueCoding":{"system":"http://dsf.dev/fhir/CodeSystem/process-authorization","code":"REMOTE_ALL"}},{"url":"recipient","valueCoding":{"system":"http://dsf.dev/fhir/CodeSystem/process-authorization","code":"LOCAL_ALL"}}]}]}"#;
    vec![
        organization("1", OWN, own_thumbprint),
        organization("2", PARTNER, &"b".repeat(128)),
        organization("3", PARENT, ""),
        endpoint("1", OWN),
        endpoint("2", PARTNER),
        affiliation.to_owned(),
        process.to_owned(),
    ]
}

fn list(resources: &[String]) -> AllowList {
    let read = |text: &String| fhir::parse(Format::Json, text.as_bytes(), &Limits::default()).unwrap();
    let all: Vec<Resource> = resources.iter().map(read).collect();
    AllowList::from_resources(&all, OWN.parse().unwrap(), "https://hospital.example/fhir")
}

/// The shipped policy, of which `from` is `to`, and one more file.
fn policy(changes: &[(&str, &str)], more: &str) -> Policy {
    let mut files: Vec<(String, String)> = Vec::new();
    for (name, text) in policies::default_files() {
        let text = changes.iter().fold((*text).to_owned(), |text, (from, to)| text.replace(from, to));
        files.push(((*name).to_owned(), text));
    }
    files.push(("zz.toml".to_owned(), format!("schema = 1\n{more}\n")));
    Policy::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn authority(name: &str) -> Authority {
    let validity = Validity::days(OffsetDateTime::now_utc(), 100);
    Authority::root(&Subject::german("Test", name), KeyType::EcdsaP256, validity).unwrap()
}

struct Lab {
    client_is_newer: bool,
    policy: Policy,
    authorities: TrustStore,
    list: Option<AllowList>,
    client: Certificate,
    server: Vec<Certificate>,
    now: OffsetDateTime,
}

impl Lab {
    /// A node with nothing to be said about but what is shipped.
    fn new() -> Self {
        let now = OffsetDateTime::now_utc();
        let root = authority("Root");
        let subject = Subject::german("Hospital", OWN);
        let issued = root.issue_organization(&subject, &[OWN], KeyType::EcdsaP256, Validity::days(now, 90)).unwrap();
        let client = certs::read_certificates(issued.certificate_pem().as_bytes(), "client").unwrap().remove(0);
        let authorities = TrustStore::from_certificates(vec![root.certificate().clone()], "trust").unwrap();
        let list = Some(list(&resources(client.thumbprint())));
        let policy = policy(&[], "");
        Self { client_is_newer: false, policy, authorities, list, client, server: Vec::new(), now }
    }

    fn texts(&self) -> Vec<String> {
        let nobody = AllowList::empty(OWN.parse().unwrap(), "https://hospital.example/fhir");
        let around = Surroundings {
            policy: &self.policy,
            authorities: Some(&self.authorities),
            client: Some(&self.client),
            client_is_newer: self.client_is_newer,
            server: &self.server,
            list: self.list.as_ref(),
            known: self.list.as_ref().unwrap_or(&nobody),
            now: self.now,
        };
        let line =
            |finding: Finding| format!("{}: {}", if finding.is_error() { "error" } else { "warning" }, finding.text);
        around.all().into_iter().map(line).collect()
    }

    /// Demands one finding with these words, beside those that every shipped policy has.
    #[track_caller]
    fn says(&self, severity: &str, words: &str) {
        let texts = self.texts();
        let is_it = |text: &&String| text.starts_with(severity) && text.contains(words);
        assert!(texts.iter().any(|text| is_it(&text)), "{severity}: {words} is missing in {texts:#?}");
    }

    #[track_caller]
    fn is_silent_about(&self, check: &str) {
        let texts = self.texts();
        assert!(!texts.iter().any(|text| text.contains(check)), "{check} in {texts:#?}");
    }
}

#[test]
fn a_node_as_shipped_is_told_only_what_is_switched_off() {
    let texts = Lab::new().texts();
    assert_eq!(texts.iter().filter(|text| !text.contains("[W04]")).count(), 0, "{texts:#?}");
}

#[test]
fn edge_e06_names_of_issuers_lead_to_one_authority() {
    let mut lab = Lab::new();
    lab.policy = policy(&[], "[trust]\nissuer-cn = [\"Root\", \"Nobody\"]");
    lab.says("error", "no authority of the trust store for clients is called \"Nobody\" [E06]");
    let twins = vec![authority("Root").certificate().clone(), authority("Root").certificate().clone()];
    lab.authorities = TrustStore::from_certificates(twins, "trust").unwrap();
    lab.says("error", "2 authorities of the trust store for clients are called \"Root\" [E06]");
    lab.policy = policy(&[], "");
    lab.says("warning", "2 authorities of the trust store for clients are called \"Root\" [E06]");
}

#[test]
fn edge_e07_chains_fit_the_depth_and_authorities_have_not_expired() {
    let mut lab = Lab::new();
    let validity = Validity::days(lab.now, 50);
    let root = authority("Root");
    let issuing = root.issuing(&Subject::german("Test", "Issuing"), KeyType::EcdsaP256, validity).unwrap();
    let both = vec![root.certificate().clone(), issuing.certificate().clone()];
    lab.authorities = TrustStore::from_certificates(both, "trust").unwrap();
    lab.is_silent_about("[E07]");
    lab.policy = policy(&[("max-depth = 3", "max-depth = 1")], "");
    lab.says("error", "trust.max-depth: 1, but 2 authorities stand above a certificate that");
    lab.now += time::Duration::days(60);
    lab.says("error", "the authority CN=Issuing,O=Test,C=DE expired on");
}

#[test]
fn edge_e08_a_person_has_no_certificate_of_an_organisation() {
    let mut lab = Lab::new();
    let digits = "b".repeat(128);
    let person = format!("[[identity.person]]\nid = \"p\"\nthumbprint = [\"{digits}\"]\ndsf-role = [\"READ\"]");
    lab.policy = policy(&[], &person);
    lab.says(
        "error",
        "identity.person p: the certificate is the organisation's dic-1.example, which comes first [E08]",
    );
}

#[test]
fn edge_e12_a_bundle_with_the_list_must_fit() {
    let mut lab = Lab::new();
    lab.policy = policy(&[("Bundle = \"64MiB\"", "Bundle = \"1KiB\"")], "");
    lab.says("error", "limits.body.Bundle: 1024 bytes, but the allow-list of the node takes");
}

#[test]
fn edge_e13_lists_come_from_the_network_or_are_pinned() {
    let known_list = list(&resources(&"a".repeat(128)));
    let section = |sources: &[&str], pins: &[&str]| AllowListSection {
        sources: sources.iter().map(|text| (*text).to_owned()).collect(),
        pin_server_sha256: pins.iter().map(|text| (*text).to_owned()).collect(),
        ..AllowListSection::default()
    };
    let known = "https://dic-1.example/fhir/Bundle/*";
    assert_eq!(sources(&section(&[known], &[]), &known_list).len(), 0);
    for unknown in ["https://other.example/fhir/Bundle/*", "https://dic-1.example:8443/fhir/Bundle/1"] {
        let found = sources(&section(&[known, unknown], &[]), &known_list);
        assert!(found.len() == 1 && found[0].is_error() && found[0].text.contains(unknown), "{found:?}");
        assert_eq!(sources(&section(&[unknown], &["a"]), &known_list).len(), 0, "it is pinned");
    }
    let mut gone = resources(&"a".repeat(128));
    gone[1] = gone[1].replace("\"active\":true", "\"active\":false");
    assert_eq!(sources(&section(&[known], &[]), &list(&gone)).len(), 1);
}

#[test]
fn edge_e17_the_own_organisation_is_there_and_has_the_own_certificate() {
    let mut lab = Lab::new();
    lab.list = Some(list(&resources(&"a".repeat(128))));
    lab.says("error", "does not have the thumbprint of certificates.client for hospital.example [E17]");
    lab.client_is_newer = true;
    lab.says("warning", "does not have the thumbprint of certificates.client for hospital.example yet [E17]");
    let mut inactive = resources(lab.client.thumbprint());
    inactive[0] = inactive[0].replace("\"active\":true", "\"active\":false");
    lab.list = Some(list(&inactive));
    lab.says("error", "the own organisation hospital.example is not active in the allow-list [E17]");
    lab.list = Some(list(&inactive[1..]));
    lab.says("error", "does not name the own organisation hospital.example [E17]");
    lab.list = None;
    lab.says("warning", "not checked, because the node has no allow-list yet: E08, E12, E13, E17, W05, W06");
}

#[test]
fn edge_w01_short_rsa_keys_under_the_profile_bsi_are_told() {
    let mut lab = Lab::new();
    let subject = Subject::german("Test", "Short");
    let validity = Validity::days(lab.now, 50);
    let short = Authority::root(&subject, KeyType::Rsa2048, validity).unwrap();
    lab.server = vec![short.certificate().clone()];
    lab.authorities = TrustStore::from_certificates(lab.server.clone(), "trust").unwrap();
    lab.is_silent_about("[W01]");
    lab.policy = policy(&[("profile = \"dsf-compat\"", "profile = \"bsi\"")], "");
    lab.says("warning", "the server certificate CN=Short,O=Test,C=DE has an RSA key of 2048 bit [W01]");
    lab.says("warning", "the authority CN=Short,O=Test,C=DE has an RSA key of 2048 bit [W01]");
}

#[test]
fn edge_w02_administrators_without_networks_and_addresses_without_thumbprint_are_told() {
    let mut lab = Lab::new();
    let role = "practitioner-role = [\"http://dsf.dev/fhir/CodeSystem/practitioner-role|DSF_ADMIN\"]";
    lab.policy = policy(&[], &format!("[[identity.person]]\nid = \"p\"\nemail = [\"p@hospital.example\"]\n{role}"));
    lab.says("warning", "identity.person p: an e-mail address alone identifies nobody [W02]");
    let texts: Vec<&str> = lab.policy.warnings().iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(texts, ["DSF_ADMIN is granted without limit to networks [W02]"]);
}

#[test]
fn edge_w03_authorities_that_leave_the_network_are_told() {
    let mut lab = Lab::new();
    let leaving = authority("USERTrust RSA Certification Authority");
    lab.authorities = TrustStore::from_certificates(vec![leaving.certificate().clone()], "trust").unwrap();
    lab.says("warning", "DSF is going to remove the authority CN=USERTrust RSA Certification Authority");
}

#[test]
fn edge_w04_protection_that_is_off_is_told() {
    let mut lab = Lab::new();
    lab.says("warning", "trust.revocation.mode: revoked certificates are accepted [W04]");
    lab.says("warning", "limits.rate.per-identity: no rate is limited [W04]");
    lab.policy = policy(
        &[
            ("mode = \"off\"", "mode = \"soft\""),
            ("per-identity = \"off\"", "per-identity = \"50/s\""),
            ("handshakes-per-ip = \"off\"", "handshakes-per-ip = \"20/s\""),
        ],
        "",
    );
    lab.is_silent_about("[W04]");
}

#[test]
fn edge_w05_rules_about_nobody_and_loose_ends_are_told() {
    let mut lab = Lab::new();
    let rule = |id: &str, subject: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"deny\"\nsubject = \"{subject}\"\nmatch = {{ operations = [\"read\"], types = [\"Task\"] }}\n"
        )
    };
    let rules = rule("typo", "org:dic-one.example")
        + &rule("right", "org:dic-1.example")
        + &rule("role", "role:consortium.example/DIC")
        + &rule("no-role", "role:consortium.example/HRP")
        + &rule("member", "member:consortium.example");
    lab.policy = policy(&[], &rules);
    lab.says("warning", "the rule typo is about nobody whom allow-list or policy know [W05]");
    lab.says("warning", "the rule no-role is about nobody whom allow-list or policy know [W05]");
    for known in ["the rule right", "the rule role", "the rule member"] {
        lab.is_silent_about(known);
    }
    let mut loose = resources(lab.client.thumbprint());
    loose[1] = loose[1].replace("\"reference\":\"Endpoint/e2\"", "\"display\":\"none\"");
    loose[2] = loose[2].replace("\"active\":true", "\"active\":false");
    loose[5] = loose[5].replace("Endpoint/e2", "Endpoint/e1");
    loose.remove(4);
    lab.list = Some(list(&loose));
    lab.says("warning", "the organisation dic-1.example has no endpoint to send to [W05]");
    lab.says("warning", "dic-1.example is a member of consortium.example, which is not active");
}

#[test]
fn edge_w06_rules_that_break_an_installed_process_are_told() {
    let mut lab = Lab::new();
    let deny = "[[rule]]\nid = \"no-payload\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = { operations = [\"read\"], types = [\"Binary\"] }\n";
    lab.policy = policy(&[], deny);
    lab.says(
        "warning",
        "dic-1.example may start http://dsf.dev/bpe/Process/pong|1.0, but the rules refuse read Binary",
    );
}

#[test]
fn edge_w07_a_policy_that_nobody_looks_at_is_told() {
    let now = OffsetDateTime::parse("2026-06-15T12:00:00Z", &time::format_description::well_known::Rfc3339).unwrap();
    let days_ago = |days| move |_: &str| Some(now - time::Duration::days(days));
    let rule = |id: &str, stamp: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\n{stamp}effect = \"deny\"\nsubject = \"any\"\nmatch = {{ operations = [\"read\"], types = [\"Group\"] }}\n"
        )
    };
    let load =
        |stamp: &str, rules: &str| Policy::load(&[("rules.toml", format!("schema = 1\n{stamp}{rules}"))]).unwrap();
    let of = |policy: &Policy, days| -> Vec<String> {
        let found = reviewed(policy, days_ago(days), now);
        assert!(found.iter().all(|finding| !finding.is_error()));
        found.into_iter().map(|finding| finding.text).collect()
    };
    // Without a stamp a change or a signature is a look.
    assert!(of(&load("", ""), 300).is_empty());
    let old = ["rules.toml was signed or changed, and never reviewed, last on 2025-05-11 [W07]"];
    assert_eq!(of(&load("", ""), 400), old);
    // A stamp counts alone: copying a file is no review.
    assert!(of(&load("reviewed = \"2026-01-31\"\n", ""), 400).is_empty());
    let stamped = load("reviewed = \"2025-01-31\"\n", &rule("mine", "reviewed = \"2024-01-31\"\n"));
    assert_eq!(
        of(&stamped, 0),
        ["rules.toml was reviewed last on 2025-01-31 [W07]"],
        "of the file, and so of its rules"
    );
    // A rule may have a stamp of its own.
    let both = rule("mine", "reviewed = \"2024-01-31\"\n") + &rule("other", "reviewed = \"2027-01-31\"\n");
    let found = of(&load("", &both), 0);
    assert_eq!(found[0], "the rule mine in rules.toml was reviewed last on 2024-01-31 [W07]");
    assert_eq!(
        found[1],
        "the rule other in rules.toml says that it was reviewed on 2027-01-31, which is to come [W07]"
    );
    for wrong in ["\"yesterday\"", "\"2026-02-30\"", "\"2026-1-31\"", "2026"] {
        assert!(Policy::load(&[("rules.toml", format!("reviewed = {wrong}\n"))]).is_err(), "{wrong}");
    }
}

#[test]
fn edge_w08_what_partners_get_otherwise_than_from_dsf_is_told() {
    let mut lab = Lab::new();
    lab.is_silent_about("[W08]");
    let deny = "[[rule]]\nid = \"no-lab\"\neffect = \"deny\"\nsubject = \"org:dic-1.example\"\nmatch = { operations = [\"create\"], types = [\"Task\"] }\n";
    lab.policy = policy(&[], deny);
    lab.says("warning", "dic-1.example: create Task: refused; DSF: permitted if status requested [W08]");
}
