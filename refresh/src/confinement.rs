//! What the refresher needs of the machine: the policy and the trusted authorities to read, the folder of the lists to write,
//! connections to the ports of its sources and sinks; the audit files to read if there is a sink. It parses what strangers
//! send, so it reaches neither keys of the node nor data.

use std::path::{Path, PathBuf};

use confine::{Access, Attempt, Network, Profile};
use node::Settings;

use crate::sinks::Plan;

/// DNS over TCP, for answers that are too long for a datagram.
const DNS: u16 = 53;

/// The profile of a node's refresher.
#[must_use]
pub fn profile(settings: &Settings, plan: &Plan) -> Profile {
    let directory = &settings.directory;
    let root = directory.root();
    let keys: [&Path; 2] = [&settings.server_certificate.private_key, &settings.client_certificate.private_key];
    let proxy = settings.outgoing.proxy.iter().filter_map(|proxy| proxy.password_file.as_ref());
    let officers = settings.officers.iter().flat_map(|officers| &officers.certificates);
    let mut profile = Profile::new(Network::Outgoing)
        .with(directory.node_toml(), Access::Read)
        .with(directory.policies(), Access::Read)
        .with(directory.signed_policies(), Access::Read)
        .with(directory.revocation_lists(), Access::Write)
        .with(directory.refresh(), Access::Write)
        .with_ports(ports(settings, plan))
        .with_name_resolution();
    let stores = settings.trust_stores.client.iter().chain(&settings.trust_stores.server);
    for file in stores.chain(proxy).chain(officers) {
        profile = profile.with_file(root, file, &keys);
    }
    if !plan.is_empty() {
        profile = profile.with(directory.audit(), Access::Read);
        let own = settings.syslog.certificate.iter().flat_map(|pair| [&pair.certificate, &pair.private_key]);
        for file in settings.syslog.authorities.iter().chain(own) {
            profile = profile.with_file(root, file, &keys);
        }
    }
    profile
}

/// What it must not do, for [`daemon::prove`].
#[must_use]
pub fn attempts(settings: &Settings, plan: &Plan) -> Vec<Attempt> {
    let directory = &settings.directory;
    let mut attempts = vec![
        Attempt::Read(settings.server_certificate.private_key.clone()),
        Attempt::Read(settings.client_certificate.private_key.clone()),
        Attempt::List(directory.data()),
        Attempt::Create(directory.audit()),
        Attempt::Create(directory.policies()),
        Attempt::Change(directory.node_toml()),
        Attempt::List(PathBuf::from("/")),
        Attempt::Create(std::env::temp_dir()),
        Attempt::Connect,
        Attempt::Listen,
        Attempt::Execute,
        Attempt::Signal,
    ];
    if plan.is_empty() {
        attempts.push(Attempt::List(directory.audit()));
    }
    attempts
}

/// Ports of the sources, or of the forward proxy, and of the sinks.
fn ports(settings: &Settings, plan: &Plan) -> Vec<u16> {
    let proxy = settings.outgoing.proxy.iter().map(|proxy| proxy.url.as_str());
    let mut ports: Vec<u16> =
        settings.revocation.sources.iter().map(String::as_str).chain(proxy).map(port_of).collect();
    ports.extend(plan.ports());
    ports.push(DNS);
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port_of(address: &str) -> u16 {
    let default = if address.starts_with("https://") { 443 } else { 80 };
    let authority = address.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::port_of;

    #[test]
    fn the_port_of_an_address_is_the_written_one_or_that_of_its_scheme() {
        for (address, port) in [
            ("http://crl.example/a.crl", 80),
            ("https://crl.example/a.crl", 443),
            ("http://crl.example:8080/a:b", 8080),
            ("https://[::1]:8443/a", 8443),
            ("https://[::1]/a", 443),
        ] {
            assert_eq!(port_of(address), port, "{address}");
        }
    }
}
