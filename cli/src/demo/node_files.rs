//! The files of a demonstration node: settings and policies, written once and kept, so that what a visitor changes in
//! them stays.

use std::path::{Path, PathBuf};

use node::{Directory, Template};

use super::certificates::PERSONS;
use super::files;
use super::network::{Network, Site};

/// Writes what is missing of every node.
pub(crate) fn write_all(root: &Path, network: &Network) -> Result<(), (PathBuf, std::io::Error)> {
    for site in &network.sites {
        let directory = site.directory(root);
        let log = directory.log();
        std::fs::create_dir_all(&log).map_err(|error| (log, error))?;
        write_missing(&directory.node_toml(), || Ok(node::node_toml(&template(site))))?;
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

    #[test]
    fn the_policies_and_settings_of_every_node_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::plan(folder.path(), 1, 0).unwrap();
        issue_all(folder.path(), &network).unwrap();
        super::write_all(folder.path(), &network).unwrap();
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
