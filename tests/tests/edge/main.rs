//! The outer edge: TLS, framing, sizes, slowness, paths, hosts. What is refused here never reaches the engine.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

mod framing;
mod limits;
mod oidc;
mod profiles;
mod requests;
mod table;
mod tls;

use tests::client::JSON;
use tests::{Client, Node, shared};

fn remote() -> Client {
    shared().organization("dic-1", "portal")
}

/// `Host` and `Accept` of a good request.
fn fields(client: &Client) -> String {
    format!("Host: {}\r\nAccept: {JSON}\r\n", client.authority())
}

/// The same client with one protocol version.
fn with_version(node: &Node, who: &str, version: &'static rustls::SupportedProtocolVersion) -> Client {
    let network = shared();
    let pair = &network.node(who).organization;
    let own = certs::Credentials::load(&pair.certificate, &pair.private_key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let authority = std::fs::read(network.authority().join("ca.pem")).unwrap();
    for certificate in certs::read_certificates(&authority, "authority").unwrap() {
        roots.add(certificate.der().clone()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(own.chain_der(), own.key_der())
        .unwrap();
    Client::with_config(&node.base_url, config)
}

fn never_reached_the_engine(node: &Node, marker: &str) {
    for file in ["audit/engine.log", "log/engine.log"] {
        assert!(!node.text(file).contains(marker), "{file} of {} has {marker}", node.name);
    }
}
