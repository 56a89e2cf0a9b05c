//! The node directory of a gateway under measurement, and the allow-list that its engine's stand-in publishes.
//!
//! Two sizes: [`Size::Full`] has the policy data of the largest network that is planned for (5,000 certificates, 200
//! rules, conditions on issuer and country); [`Size::Small`] has the shipped policy and two organisations.

use std::path::{Path, PathBuf};

use certs::Certificate;
use fhir::{Object, Resource, Value};
use link::Snapshot;
use node::{Directory, Template};
use policies::AllowList;

use crate::error::{During as _, Failure, Outcome};
use crate::limits::{CERTIFICATES, RULES};
use crate::pki::{self, ISSUER, Pki};
use crate::processors::{self, Side};

/// The organisation that runs the node.
pub(crate) const LOCAL: &str = "local.example";
/// The organisation of the load generator's certificate.
pub(crate) const CLIENT: &str = "client.example";
/// The consortium.
pub(crate) const PARENT: &str = "consortium.example";

pub(crate) const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
pub(crate) const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";
const THUMBPRINT: &str = "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint";
const PONG: &str = include_str!("../../../engine/processes/resources/ping-pong/ActivityDefinition/pong.xml");

/// How much policy data the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Full,
    Small,
}

/// A written directory.
#[derive(Clone, Debug)]
pub(crate) struct NodeDirectory {
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) management_port: u16,
    /// The snapshot, as JSON for the stand-in.
    pub(crate) snapshot: PathBuf,
}

/// Writes a directory that the gateway starts in.
pub(crate) fn write(root: &Path, size: Size, pki: &Pki, port: u16, management_port: u16) -> Outcome<NodeDirectory> {
    let directory = Directory::new(root);
    let wrote = |what: &str| format!("writing {what} of {}", root.display());
    directory.create().during(wrote("folders"))?;
    let base_url = format!("https://localhost:{port}/fhir");
    let template = Template {
        organization_identifier: LOCAL.to_owned(),
        endpoint_identifier: format!("dsf.{LOCAL}"),
        base_url: base_url.clone(),
        listen: format!("127.0.0.1:{port}"),
        management: format!("127.0.0.1:{management_port}"),
    };
    // One for each processor, like the servers beside it.
    let workers = format!("[workers]\ngateway = {}", processors::count(Side::Server));
    let text = node::node_toml(&template).replace("[workers]\ngateway = 2", &workers);
    std::fs::write(directory.node_toml(), text).during(wrote("node.toml"))?;
    for (name, text) in policies::default_files() {
        std::fs::write(directory.policies().join(name), text).during(wrote(name))?;
    }
    if size == Size::Full {
        std::fs::write(directory.policies().join("benchmark.toml"), rules()).during(wrote("benchmark.toml"))?;
    }
    let files = pki.write(&directory.certificates())?;
    // The gateway needs no client key, but its settings name one.
    for (from, to) in [(&files.server_chain, "client.pem"), (&files.server_key, "client.key")] {
        std::fs::copy(from, directory.certificates().join(to)).during(wrote(to))?;
    }
    for name in ["client-authorities.pem", "server-authorities.pem"] {
        std::fs::copy(&files.authorities, directory.trust().join(name)).during(wrote(name))?;
    }
    let snapshot = directory.data().join("benchmark-snapshot.json");
    let json = Snapshot::new(1, allow_list(size, &base_url, pki.client())?).during("making an allow-list")?.to_json();
    pki::write_secret(&snapshot, &String::from_utf8_lossy(&json.during("making an allow-list")?))?;
    Ok(NodeDirectory { root: root.to_owned(), port, management_port, snapshot })
}

// === Policy ===

/// Conditions on issuer and country as DSF's proxy has them, and so many rules about single organisations, roles and
/// processes that there are [`RULES`] with the shipped ones. A third of them stands in the way of every read.
fn rules() -> String {
    let shipped = policies::Policy::shipped().rules().all().len();
    let mut text =
        format!("schema = 1\n\n[trust]\nissuer-cn = [\"{ISSUER}\", \"GEANT TLS RSA 1\"]\nsubject-country = [\"DE\"]\n");
    for number in 0..RULES.saturating_sub(shipped) {
        let site = organization(number + 1_000);
        let (effect, rest) = match number % 3 {
            0 => (
                "deny",
                format!(
                    "subject = \"org:{site}\"\nmatch = {{ operations = [\"read\", \"search\"], types = [\"Organization\", \"Binary\", \"Task\"] }}"
                ),
            ),
            1 => (
                "allow",
                format!(
                    "subject = \"org:{site}\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nwhen.task = {{ status = \"requested\", process = [\"http://example.org/bpe/Process/process{number}|*\"] }}"
                ),
            ),
            _ => (
                "allow",
                format!(
                    "subject = \"role:{PARENT}/DIC\"\nmatch = {{ operations = [\"read\", \"search\"], types = [\"Questionnaire\", \"Measure\"] }}\nnetworks = [\"10.{}.0.0/16\"]",
                    number % 256
                ),
            ),
        };
        text.push_str(&format!("\n[[rule]]\nid = \"benchmark-{number:03}\"\neffect = \"{effect}\"\n{rest}\n"));
    }
    text
}

// === Allow-list ===

pub(crate) fn organization(number: usize) -> String {
    format!("site-{number}.example")
}

/// The allow-list: every member an organisation with one certificate, an endpoint and an affiliation.
pub(crate) fn allow_list(size: Size, base_url: &str, client: &Certificate) -> Outcome<AllowList> {
    let others = if size == Size::Full { CERTIFICATES.saturating_sub(2) } else { 0 };
    allow_list_of(others, base_url, client)
}

/// The same with so many members beside the node and the client.
pub(crate) fn allow_list_of(others: usize, base_url: &str, client: &Certificate) -> Outcome<AllowList> {
    let mut resources = vec![parent()];
    resources.extend(member(LOCAL, &certs::thumbprint(LOCAL.as_bytes()), base_url));
    resources.extend(member(CLIENT, client.thumbprint(), "https://client.example/fhir"));
    for number in 0..others {
        let name = organization(number);
        resources.extend(member(&name, &certs::thumbprint(name.as_bytes()), &format!("https://dsf.{name}/fhir")));
    }
    resources.push(process()?);
    let local = LOCAL.parse().during("an organisation identifier")?;
    let list = AllowList::from_resources(&resources, local, base_url);
    if list.organizations().len() != others + 3 || list.processes().len() != 1 {
        return Err(Failure::new("the allow-list of the benchmark is not what was meant"));
    }
    Ok(list)
}

/// The process definition that lets everybody send a ping.
fn process() -> Outcome<Resource> {
    let text = PONG
        .replace("#{version}", "1.0")
        .replace("#{date}", "2026-01-01")
        .replace("<status value=\"unknown\"/>", "<status value=\"active\"/>")
        .replacen("<meta>", "<id value=\"pong\"/><meta>", 1);
    fhir::parse(fhir::Format::Xml, text.as_bytes(), &fhir::Limits::default()).during("reading a process definition")
}

fn parent() -> Resource {
    let mut resource = named("Organization", PARENT, ORGANIZATION_IDENTIFIER, PARENT);
    resource.set("active", true);
    resource
}

pub(crate) fn member(name: &str, thumbprint: &str, base_url: &str) -> [Resource; 3] {
    let endpoint_name = format!("dsf.{name}");
    let certificate = || Object::new().with("url", THUMBPRINT).with("valueString", thumbprint);
    let mut organization = named("Organization", name, ORGANIZATION_IDENTIFIER, name);
    organization.set("active", true);
    organization.push("extension", certificate());
    organization.push("endpoint", reference("Endpoint", &endpoint_name));

    let mut endpoint = named("Endpoint", &endpoint_name, ENDPOINT_IDENTIFIER, &endpoint_name);
    endpoint.set("status", "active");
    endpoint.set("address", base_url);
    endpoint.push("extension", certificate());
    endpoint.set("managingOrganization", reference("Organization", name));

    let mut affiliation = Resource::new("OrganizationAffiliation");
    affiliation.set("id", format!("member-{name}"));
    affiliation.set("active", true);
    affiliation.set("organization", reference("Organization", PARENT));
    affiliation.set("participatingOrganization", reference("Organization", name));
    let role = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/organization-role").with("code", "DIC");
    affiliation.push("code", Object::new().with("coding", vec![role.into()]));
    affiliation.push("endpoint", reference("Endpoint", &endpoint_name));
    [organization, endpoint, affiliation]
}

fn named(resource_type: &str, id: &str, system: &str, identifier: &str) -> Resource {
    let mut resource = Resource::new(resource_type);
    resource.set("id", id);
    resource.push("identifier", Object::new().with("system", system).with("value", identifier));
    resource.set("name", identifier);
    resource
}

fn reference(resource_type: &str, id: &str) -> Value {
    Object::new().with("reference", format!("{resource_type}/{id}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_loads_a_full_directory() {
        certs::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(certs::development::KeyType::EcdsaP256).unwrap();
        let written = write(folder.path(), Size::Full, &pki, 4, 5).unwrap();
        let (settings, _) = node::load(&Directory::new(&written.root)).unwrap();
        let loaded = gateway::reload::load(&settings, None, time::OffsetDateTime::now_utc()).unwrap();
        assert_eq!(loaded.policy.rules().all().len(), RULES);
        let snapshot = Snapshot::from_json(&std::fs::read(&written.snapshot).unwrap()).unwrap();
        let certificates: usize = snapshot.allow_list().organizations().iter().map(|one| one.thumbprints.len()).sum();
        assert_eq!(certificates, CERTIFICATES);
    }
}
