//! The network in the words of systemd-networkd, systemd-timesyncd and the resolver of the C library. Nothing listens for it:
//! no link-local names, no router advertisements, no resolver of its own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::configuration::{Addresses, Configuration, Network};

/// Writes everything below `root` (`/run` in the appliance).
pub(crate) fn write(root: &Path, configuration: &Configuration) -> io::Result<()> {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    put("systemd/network/10-partners.network", &networkd(&configuration.network))?;
    put("schleuse-appliance/resolv.conf", &resolver(&configuration.network))?;
    if configuration.time_servers.is_empty() {
        return Ok(());
    }
    let time = format!("[Time]\nNTP={}\nFallbackNTP=\n", configuration.time_servers.join(" "));
    put("systemd/timesyncd.conf.d/10-schleuse.conf", &time)
}

fn networkd(network: &Network) -> String {
    let mut text = "[Match]\nType=ether\n".to_owned();
    if let Some(card) = &network.card {
        let _ = writeln!(text, "PermanentMACAddress={card}");
    }
    text.push_str(
        "\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\nLLDP=no\nEmitLLDP=no\n",
    );
    match &network.addresses {
        Addresses::Dhcp => {
            text.push_str("DHCP=ipv4\n\n[DHCPv4]\nSendHostname=no\nUseHostname=no\nUseDomains=no\nUseRoutes=yes\n");
        }
        Addresses::Static { address, gateway } => {
            let _ = writeln!(text, "Address={address}");
            if let Some(gateway) = gateway {
                let _ = writeln!(text, "Gateway={gateway}");
            }
        }
    }
    text
}

fn resolver(network: &Network) -> String {
    let mut text = String::new();
    for server in &network.name_servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text.push_str("options timeout:3 attempts:2\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_addresses_and_time_servers_are_written() {
        let root = tempfile::tempdir().unwrap();
        let text = "[node]\norganization-identifier = \"a.example\"\nbase-url = \"https://a.example/fhir\"\n[network]\n\
            address = \"2001:db8::2/64\"\ngateway = \"2001:db8::1\"\nname-servers = [\"192.0.2.53\"]\ntime-servers = \"192.0.2.1\"\n";
        write(root.path(), &crate::configuration::parse(text).unwrap()).unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        let network = read("systemd/network/10-partners.network");
        assert!(
            network.contains("Address=2001:db8::2/64\nGateway=2001:db8::1\n") && !network.contains("DHCP"),
            "{network}"
        );
        assert!(read("schleuse-appliance/resolv.conf").starts_with("nameserver 192.0.2.53\n"));
        assert!(read("systemd/timesyncd.conf.d/10-schleuse.conf").contains("NTP=192.0.2.1\n"));
    }

    #[test]
    fn dhcp_says_nothing_about_this_machine() {
        let network = Network {
            card: Some("52:54:00:12:34:56".to_owned()),
            addresses: Addresses::Dhcp,
            name_servers: Vec::new(),
        };
        let text = networkd(&network);
        assert!(text.contains("PermanentMACAddress=52:54:00:12:34:56\n") && text.contains("SendHostname=no"), "{text}");
    }
}
