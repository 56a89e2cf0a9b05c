//! `[tls] profile`: what each offers, seen from a client.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use tests::network::{folder, free_ports, run_node};
use tests::{Client, Pair, Schleuse};

use super::remote;

const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// What the provider has, of which only these suites.
fn only(suites: &[CipherSuite]) -> CryptoProvider {
    let mut provider = (*certs::provider()).clone();
    provider.cipher_suites.retain(|known| suites.contains(&known.suite()));
    provider
}

#[tokio::test]
async fn edge_t04_the_profile_bsi_has_no_chacha20_and_dsf_compat_has() {
    // The nodes of the demonstration have the shipped profile.
    let compat = remote().reconfigured(|config| {
        *config = with_suites(&tests::shared().node("dic-1").organization, &authority(), only(&CHACHA20));
    });
    compat.get("/metadata").await.expect(200);

    let place = folder();
    let directory = place.path().join("node");
    let (port, management) = free_ports();
    let base_url = format!("https://localhost:{port}/fhir");
    let (listen, manage) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{management}"));
    let path = directory.to_str().unwrap();
    let arguments = ["init", path, "--organization-identifier", "bsi.example", "--base-url", base_url.as_str()];
    let more = ["--listen", listen.as_str(), "--management", manage.as_str(), "--development-certificates"];
    Schleuse::run(&[arguments.as_slice(), more.as_slice()].concat()).expect(0);
    let file = directory.join("policies/tls.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("profile = \"dsf-compat\"", "profile = \"bsi\"")).unwrap();
    let _running = run_node(&directory, management).await;

    let pair = Pair {
        certificate: directory.join("certificates/client.pem"),
        private_key: directory.join("certificates/client.key"),
    };
    let own = std::fs::read(directory.join("authority/ca.pem")).unwrap();
    let refused = Client::with_config(&base_url, with_suites(&pair, &own, only(&CHACHA20)));
    let error = refused.connect().await.expect_err("no suite is shared").to_string();
    assert!(error.contains("HandshakeFailure"), "{error}");
    let aes = [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
    Client::with_config(&base_url, with_suites(&pair, &own, only(&aes))).get("/metadata").await.expect(200);
}

fn authority() -> Vec<u8> {
    std::fs::read(tests::shared().authority().join("ca.pem")).unwrap()
}

fn with_suites(pair: &Pair, authority: &[u8], provider: CryptoProvider) -> ClientConfig {
    let own = certs::Credentials::load(&pair.certificate, &pair.private_key).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(authority, "authority").unwrap() {
        roots.add(certificate.der().clone()).unwrap();
    }
    ClientConfig::builder_with_provider(std::sync::Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(own.chain_der(), own.key_der())
        .unwrap()
}
