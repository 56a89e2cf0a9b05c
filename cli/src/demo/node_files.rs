//! The files of a demonstration node: settings and policies, written once and kept, so that what a visitor changes in
//! them stays.

use std::path::{Path, PathBuf};

use node::{Directory, Template};

use super::certificates::PERSONS;
use super::files;
use super::network::{Network, Site};
use super::records;
use crate::arguments::DemoStore;

/// The store of a new node.
const SQLITE: &str = "url = \"sqlite:data/engine.db\"";

/// What a demonstration does without where the kernel is too old, and says so in its logs.
const SANDBOX: &str = "sandbox = \"required\"";

/// Writes what is missing of every node.
pub(crate) fn write_all(root: &Path, network: &Network, store: &DemoStore) -> Result<(), (PathBuf, std::io::Error)> {
    // Tells the schemas of this network from those of others in the database.
    let (network_id, ..) = uuid::Uuid::new_v4().as_fields();
    for site in &network.sites {
        let directory = site.directory(root);
        let log = directory.log();
        std::fs::create_dir_all(&log).map_err(|error| (log, error))?;
        let settings = directory.node_toml();
        write_missing(&settings, || {
            let text = replace(&node::node_toml(&template(site)), SANDBOX, "sandbox = \"best-effort\"")?;
            let text = with_records(text, site);
            with_store(&text, store, network_id, site)
        })?;
        check_store(&settings, store).map_err(|error| (settings, error))?;
        for (name, text) in policies::default_files() {
            let path = directory.policies().join(name);
            write_missing(&path, || adapt(&directory, name, text))?;
        }
    }
    Ok(())
}

fn template(site: &Site) -> Template {
    Template {
        organization_identifier: site.organization_identifier(),
        endpoint_identifier: site.endpoint_identifier(),
        base_url: site.base_url(),
        listen: format!("127.0.0.1:{}", site.port),
        management: format!("127.0.0.1:{}", site.management_port),
    }
}

fn with_records(text: String, site: &Site) -> String {
    if site.has_records() { text + records::SECTION } else { text }
}

fn with_store(text: &str, store: &DemoStore, network: u32, site: &Site) -> std::io::Result<String> {
    let DemoStore::PostgreSql(url) = store else { return Ok(text.to_owned()) };
    let quoted = serde_json::to_string(url)?;
    let schema = format!("demo_{network:08x}_{}", site.name.replace('-', "_"));
    replace(text, SQLITE, &format!("url = {quoted}\nschema = \"{schema}\"\ntls = \"disable\""))
}

/// A network that is started again stays where its data is.
fn check_store(settings: &Path, store: &DemoStore) -> std::io::Result<()> {
    let DemoStore::PostgreSql(url) = store else { return Ok(()) };
    let text = std::fs::read_to_string(settings)?;
    if text.contains(&format!("url = {}", serde_json::to_string(url)?)) {
        return Ok(());
    }
    Err(std::io::Error::other("the network keeps its data elsewhere; leave --store out, or choose another --directory"))
}

/// The shipped policy with what a network on one machine needs: partners on loopback, and the persons of the node.
fn adapt(directory: &Directory, name: &str, text: &str) -> std::io::Result<String> {
    match name {
        "outbound.toml" => replace(text, "private-hosts = []", "private-hosts = [\"localhost\"]"),
        "identity.toml" => Ok(format!("{text}{}", persons(directory)?)),
        _ => Ok(text.to_owned()),
    }
}

fn replace(text: &str, from: &str, to: &str) -> std::io::Result<String> {
    if text.contains(from) {
        Ok(text.replacen(from, to, 1))
    } else {
        Err(std::io::Error::other(format!("the shipped policy has no line {from}")))
    }
}

/// Roles as in the reference's integration tests: an administrator, a practitioner, one who may only use Tasks and
/// questionnaires.
fn persons(directory: &Directory) -> std::io::Result<String> {
    let mut tables = String::new();
    for person in PERSONS {
        let path = directory.certificates().join(format!("{person}.pem"));
        let chain = certs::pem::read_file(&path)
            .and_then(|bytes| certs::read_certificates(&bytes, &path.display().to_string()))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let thumbprint = chain.first().map(certs::Certificate::thumbprint).unwrap_or_default();
        let everything = r#"["CREATE", "READ", "UPDATE", "DELETE", "SEARCH", "HISTORY"]"#;
        let tasks_only = r#"["CREATE[Task]", "READ[Task, Questionnaire, QuestionnaireResponse]", "UPDATE[QuestionnaireResponse]", "SEARCH[Task, Questionnaire, QuestionnaireResponse]", "HISTORY[Task, Questionnaire, QuestionnaireResponse]"]"#;
        let (roles, practitioner_role) = match person {
            "administrator" => (everything, "DSF_ADMIN"),
            "practitioner" => (everything, "DIC_USER"),
            _ => (tasks_only, "DIC_USER"),
        };
        tables.push_str(&format!(
            "\n[[identity.person]]\nid = \"{person}\"\nthumbprint = [\"{thumbprint}\"]\ndsf-role = {roles}\npractitioner-role = [\"http://dsf.dev/fhir/CodeSystem/practitioner-role|{practitioner_role}\"]\n"
        ));
    }
    Ok(tables)
}

fn write_missing(
    path: &Path,
    content: impl FnOnce() -> std::io::Result<String>,
) -> Result<(), (PathBuf, std::io::Error)> {
    if path.is_file() {
        return Ok(());
    }
    content()
        .and_then(|content| files::write(path, content.as_bytes(), 0o644))
        .map_err(|error| (path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::super::certificates::issue_all;
    use super::super::network::Network;
    use crate::arguments::DemoStore;

    #[test]
    fn each_node_has_a_schema_and_a_network_keeps_its_store() {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::plan(folder.path(), 1, 0).unwrap();
        issue_all(folder.path(), &network).unwrap();
        let store = DemoStore::PostgreSql("postgres://a@/b?host=/run/postgresql".to_owned());
        super::write_all(folder.path(), &network, &store).unwrap();
        super::write_all(folder.path(), &network, &store).unwrap();
        let mut schemas = std::collections::BTreeSet::new();
        for site in &network.sites {
            match node::load(&site.directory(folder.path())).unwrap().0.store {
                node::StoreUrl::PostgreSql(database) => assert!(schemas.insert(database.schema)),
                other @ node::StoreUrl::Sqlite(_) => panic!("{other:?}"),
            }
        }
        let other = DemoStore::PostgreSql("postgres://a@/c?host=/run/postgresql".to_owned());
        assert!(super::write_all(folder.path(), &network, &other).is_err());
    }

    #[test]
    fn the_policies_and_settings_of_every_node_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::plan(folder.path(), 1, 0).unwrap();
        issue_all(folder.path(), &network).unwrap();
        super::write_all(folder.path(), &network, &DemoStore::Sqlite).unwrap();
        for site in &network.sites {
            let directory = site.directory(folder.path());
            let (settings, findings) = node::load(&directory).unwrap();
            assert!(findings.is_empty(), "{findings:?}");
            assert_eq!(settings.base_url.as_str(), site.base_url());
            let files = node::read_policy_files(&directory).unwrap();
            policies::Policy::load(&files).unwrap();
        }
    }
}
