//! `schleuse init DIR`: a new node's directory. Nothing that exists is overwritten.

use std::path::{Path, PathBuf};

use node::{Address, Directory, GatewayUser, Template};
use serde_json::json;

use super::fail;
use crate::arguments::{Format, Init};
use crate::demo::{development_certificates, files};
use crate::output::answer;

/// The gateway's user of the package (`systemd/schleuse.sysusers`).
const SERVICE_USER: &str = "schleuse-gateway";
/// The line of the template that names it, behind a comment sign.
const GATEWAY_USER: &str = "# gateway-user = \"schleuse-gateway\"";

#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error(
        "--base-url {0} is not usable; write https://, the host and port that partners use, and /fhir, without a slash at the end"
    )]
    BaseUrl(String),
    #[error("--organization-identifier {0} is not usable; write the domain of your home page")]
    Organization(String),
    #[error("{0} exists already; choose another directory, or remove it to begin anew")]
    Exists(PathBuf),
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the user {SERVICE_USER} is not there; --service is for the Debian package or the appliance, which make it, so install one of them or leave --service out"
    )]
    NoUser,
    #[error("the template of node.toml has no line {0}")]
    Template(&'static str),
    #[error("development certificates: {0}")]
    Certificates(String),
}

pub(super) fn run(arguments: &Init, format: Format) -> u8 {
    match create(arguments) {
        Ok(thumbprint) => {
            let directory = arguments.directory.display();
            let text = || {
                let certificates = match &thumbprint {
                    Some(thumbprint) => format!(
                        "Development certificates are in {directory}/certificates; thumbprint for the allow-list:\n  {thumbprint}\n"
                    ),
                    None => format!(
                        "Put the certificates and trusted authorities where {directory}/node.toml names them.\n"
                    ),
                };
                let start = match arguments.service {
                    true => "systemctl enable --now schleuse.target".to_owned(),
                    false => format!("schleuse run {directory}"),
                };
                format!("Created {directory}.\n{certificates}Then: schleuse check {directory} && {start}\n")
            };
            answer(format, text, || json!({ "directory": arguments.directory, "thumbprint": thumbprint }));
            0
        }
        Err(error @ (InitError::BaseUrl(_) | InitError::Organization(_))) => fail(&error, 2),
        Err(error) => fail(&error, 1),
    }
}

/// Writes the directory; gives the thumbprint of a development certificate.
fn create(arguments: &Init) -> Result<Option<String>, InitError> {
    let address = Address::parse(&arguments.base_url).ok_or_else(|| InitError::BaseUrl(arguments.base_url.clone()))?;
    let organization = &arguments.organization_identifier;
    if organization.parse::<policies::OrganizationIdentifier>().is_err() {
        return Err(InitError::Organization(organization.clone()));
    }
    let directory = Directory::new(&arguments.directory);
    if directory.node_toml().is_file() {
        return Err(InitError::Exists(directory.node_toml()));
    }
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::File { path, source }
    };
    let service_user = match arguments.service {
        true => Some(GatewayUser::find(SERVICE_USER).ok_or(InitError::NoUser)?),
        false => None,
    };
    directory.prepare(service_user.as_ref()).map_err(fail(directory.root()))?;
    let listen = arguments.listen.clone().unwrap_or_else(|| format!("0.0.0.0:{}", address.port()));
    let template = Template {
        organization_identifier: organization.clone(),
        endpoint_identifier: endpoint_identifier(&address, organization),
        base_url: arguments.base_url.clone(),
        listen,
        management: arguments.management.clone(),
    };
    for (name, text) in policies::default_files() {
        let path = directory.policies().join(name);
        // On one machine partners are on loopback, which the shipped policy refuses as destination.
        let is_local = address.host() == "localhost" && *name == "outbound.toml";
        let text = if is_local {
            text.replacen("private-hosts = []", "private-hosts = [\"localhost\"]", 1)
        } else {
            (*text).to_owned()
        };
        files::write(&path, text.as_bytes(), 0o644).map_err(fail(&path))?;
    }
    let thumbprint = certificates(arguments, &directory, &address)?;
    // Last, so that an interrupted init can be repeated.
    let path = directory.node_toml();
    let mut text = node::node_toml(&template);
    if service_user.is_some() {
        let line = text.find(GATEWAY_USER).ok_or(InitError::Template(GATEWAY_USER))?;
        text.replace_range(line..line + "# ".len(), "");
    }
    files::write(&path, text.as_bytes(), 0o644).map_err(fail(&path))?;
    Ok(thumbprint)
}

/// By convention the host; on one machine all hosts are alike, and the identifier must be unique.
fn endpoint_identifier(address: &Address, organization: &str) -> String {
    if address.host() == "localhost" { format!("dsf.{organization}") } else { address.host().to_owned() }
}

fn certificates(arguments: &Init, directory: &Directory, address: &Address) -> Result<Option<String>, InitError> {
    let Some(authority) = &arguments.development_certificates else { return Ok(None) };
    let authority = (!authority.is_empty()).then(|| Path::new(authority));
    let unusable = |error: &dyn std::fmt::Display| InitError::Certificates(error.to_string());
    let client = development_certificates(directory, &arguments.organization_identifier, address.host(), authority)
        .map_err(|error| unusable(&error))?;
    let chain = certs::pem::read_file(&client)
        .and_then(|bytes| certs::read_certificates(&bytes, &client.display().to_string()))
        .map_err(|error| unusable(&error))?;
    Ok(chain.first().map(|leaf| leaf.thumbprint().to_owned()))
}
