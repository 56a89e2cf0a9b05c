//! `appliance.toml`: who the node is and how it reaches the network. Everything else that the administrator decides keeps
//! the defaults of `schleuse init`, or comes as a `node.toml` beside it.

use std::net::IpAddr;

use settings::{Finding, Item, Reader, Section};
use url::Url;

pub(crate) const APPLIANCE_TOML: &str = "appliance.toml";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) organization: String,
    pub(crate) base_url: String,
    /// Host name of the base URL, for the server certificate.
    pub(crate) host: String,
    pub(crate) network: Network,
    /// Names or addresses of time servers; empty means that the hypervisor keeps the clock.
    pub(crate) time_servers: Vec<String>,
}

/// How the partner network is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// The network card by its hardware address; without it the only one there is.
    pub(crate) card: Option<String>,
    pub(crate) addresses: Addresses,
    pub(crate) name_servers: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    Dhcp,
    Static { address: String, gateway: Option<IpAddr> },
}

/// Reads the file; findings are errors unless they are warnings.
pub(crate) fn parse(text: &str) -> Result<Configuration, Vec<Finding>> {
    let mut reader = Reader::new(APPLIANCE_TOML, text);
    let document = reader.parse();
    let mut root = document.root();
    let mut node = root.section(&mut reader, "node");
    let organization = node
        .required_string(&mut reader, "organization-identifier", "write the domain of your home page")
        .filter(|item| is_domain(&mut reader, item));
    let base_url = node
        .required_string(&mut reader, "base-url", "write https://, the host that partners use, and /fhir")
        .and_then(|item| base_url(&mut reader, item));
    node.finish(&mut reader);
    let mut section = root.section(&mut reader, "network");
    let network = network(&mut reader, &mut section);
    let time_servers = section.strings(&mut reader, "time-servers").unwrap_or_default();
    for server in &time_servers {
        if server.value.parse::<IpAddr>().is_err() {
            is_domain(&mut reader, server);
        }
    }
    section.finish(&mut reader);
    root.finish(&mut reader);
    match (organization, base_url, network) {
        (Some(organization), Some((base_url, host)), Some(network)) if !reader.has_errors() => Ok(Configuration {
            organization: organization.value,
            base_url,
            host,
            network,
            time_servers: time_servers.into_iter().map(|item| item.value).collect(),
        }),
        _ => Err(reader.into_findings()),
    }
}

fn base_url(reader: &mut Reader<'_>, item: Item<String>) -> Option<(String, String)> {
    let host = Url::parse(&item.value)
        .ok()
        .filter(|url| url.scheme() == "https" && url.path() == "/fhir" && url.query().is_none())
        .and_then(|url| url.host_str().map(str::to_owned));
    if host.is_none() {
        reader.refuse(&item, "is no address of a node", "write https://, the host that partners use, and /fhir");
    }
    Some((item.value, host?))
}

fn network(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Network> {
    let card = section.string(reader, "card").filter(|item| is_card(reader, item));
    let address = section.required_string(
        reader,
        "address",
        "write an address with its length, such as \"192.0.2.10/24\", or \"dhcp\"",
    );
    let gateway = section.string(reader, "gateway").and_then(|item| address_of(reader, &item));
    let name_servers = section.strings(reader, "name-servers").unwrap_or_default();
    let name_servers = name_servers.iter().filter_map(|item| address_of(reader, item)).collect();
    let address = address?;
    let addresses = if address.value == "dhcp" {
        if gateway.is_some() {
            reader.refuse(&address, "comes from DHCP, which also names the gateway", "remove gateway");
        }
        Addresses::Dhcp
    } else {
        let parsed = address.value.split_once('/').and_then(|(host, length)| {
            let host: IpAddr = host.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            (length <= if host.is_ipv4() { 32 } else { 128 }).then_some((host, length))
        });
        let Some((host, length)) = parsed else {
            reader.refuse(&address, "is no address with a length", "write it as \"192.0.2.10/24\", or \"dhcp\"");
            return None;
        };
        Addresses::Static { address: format!("{host}/{length}"), gateway }
    };
    Some(Network { card: card.map(|item| item.value), addresses, name_servers })
}

fn address_of(reader: &mut Reader<'_>, item: &Item<String>) -> Option<IpAddr> {
    let address = item.value.parse().ok();
    if address.is_none() {
        reader.refuse(item, "is no IP address", "write it as 192.0.2.1 or 2001:db8::1");
    }
    address
}

fn is_domain(reader: &mut Reader<'_>, item: &Item<String>) -> bool {
    let good = item.value.len() <= 253
        && item.value.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        });
    if !good {
        reader.refuse(item, "is no domain name", "write letters, digits and hyphens, with dots between");
    }
    good
}

fn is_card(reader: &mut Reader<'_>, item: &Item<String>) -> bool {
    let parts: Vec<&str> = item.value.split(':').collect();
    let good = parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !good {
        reader.refuse(item, "is no hardware address", "write it as 52:54:00:12:34:56");
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[node]
organization-identifier = "hospital.example"
base-url = "https://dsf.hospital.example/fhir"
[network]
card = "52:54:00:12:34:56"
address = "192.0.2.10/24"
gateway = "192.0.2.1"
name-servers = ["192.0.2.53"]
time-servers = ["192.0.2.123", "time.hospital.example"]
"#;

    #[test]
    fn a_whole_configuration_is_read() {
        let read = parse(GOOD).unwrap();
        assert_eq!(read.host, "dsf.hospital.example");
        let gateway = Some("192.0.2.1".parse().unwrap());
        assert_eq!(read.network.addresses, Addresses::Static { address: "192.0.2.10/24".to_owned(), gateway });
        assert_eq!(read.time_servers.len(), 2);
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        for (from, to, line, word) in [
            ("hospital.example\"", "not a domain\"", 3, "domain"),
            ("https://dsf", "http://dsf", 4, "address of a node"),
            ("/fhir", "/fhir/", 4, "address of a node"),
            ("52:54", "52-54", 6, "hardware"),
            ("192.0.2.10/24", "192.0.2.10", 7, "length"),
            ("192.0.2.10/24", "192.0.2.10/33", 7, "length"),
            ("192.0.2.10/24", "dhcp", 7, "gateway"),
            ("\"192.0.2.53\"", "\"x\\ny\"", 9, "IP address"),
            ("time.hospital.example", "a b\\nNTP=x", 10, "domain"),
            ("card =", "kard =", 6, "unknown"),
        ] {
            let findings = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            let said = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(said.contains(word) && said.contains(&format!(":{line}:")), "{from} as {to}: {said}");
        }
        let findings = parse("").unwrap_err();
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert_eq!(parse("[node]\nbase-url = 1\n[network]\ngateway = \"x\"\n").unwrap_err().len(), 4);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
