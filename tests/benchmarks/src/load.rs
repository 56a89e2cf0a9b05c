//! The load generator: tokio and rustls with a client certificate, which no ready-made one can present.
//!
//! Each test is a type that is opened (connections, handshakes, one request as warm-up) and then run for a time, so that
//! the caller can read the server's CPU time around the run alone. Everything that is not the expected answer is counted
//! as unexpected, never left out.

mod h1;
mod h2;
mod handshake;
mod idle;
mod keep_alive;
mod pinned;
mod requests;
mod slow;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, version};
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{During as _, Outcome};
use crate::limits;
use crate::pki::{ClientSide, Trust};

pub(crate) use h1::Exchange;
pub(crate) use h2::Streams;
pub(crate) use handshake::{Handshakes, Kind};
pub(crate) use idle::Idle;
pub(crate) use keep_alive::KeepAlive;
use pinned::Pinned;
pub(crate) use requests::{Make, Requests, Way};
pub(crate) use slow::{SlowClient, time_to_close};

/// A server on loopback and how to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) client: ClientSide,
}

/// What is asked, and what the answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) target: &'static str,
    pub(crate) bytes: usize,
}

/// What a run counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Expected answers.
    pub(crate) answers: u64,
    /// Anything else: other status or length, broken connections, failed handshakes.
    pub(crate) unexpected: u64,
    /// Handshakes that were resumed.
    pub(crate) resumed: u64,
    pub(crate) seconds: f64,
    /// Time of each answer in microseconds.
    pub(crate) latencies: Vec<f64>,
}

/// A protocol of the application layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

// === impl Endpoint ===

impl Endpoint {
    /// TLS 1.3 with X25519 and AES-128-GCM, so that every server does the same work. With `resumption` the sessions of
    /// this configuration are kept.
    pub(crate) fn tls(&self, protocol: Protocol, resumption: bool) -> Outcome<Arc<ClientConfig>> {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])
            .during("a TLS configuration")?;
        let builder = match &self.client.trust {
            Trust::Certificate(known) => builder.dangerous().with_custom_certificate_verifier(Pinned::new(known)),
            Trust::Authorities(roots) => builder.with_root_certificates(Arc::clone(roots)),
        };
        let mut config =
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.client.key))));
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        config.resumption = if resumption { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        Ok(Arc::new(config))
    }

    /// Connects and shakes hands, from an address of loopback if one is given.
    pub(crate) async fn connect(
        &self,
        tls: &Arc<ClientConfig>,
        source: Option<IpAddr>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let work = async {
            let tcp = self.connect_tcp(source).await?;
            TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await
        };
        within(limits::REQUEST, work).await
    }

    pub(crate) async fn connect_tcp(&self, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// The bytes of a GET over HTTP/1.1.
    pub(crate) fn get(&self, target: &str) -> Vec<u8> {
        format!(
            "GET {target} HTTP/1.1\r\nHost: localhost:{}\r\nAccept: application/fhir+json\r\n\r\n",
            self.address.port()
        )
        .into_bytes()
    }
}

// === impl Sample ===

impl Sample {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        (self.answers as f64) / self.seconds.max(f64::EPSILON)
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.unexpected += other.unexpected;
        self.resumed += other.resumed;
        self.latencies.extend(other.latencies);
    }
}

/// Fails instead of waiting longer.
async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Waits for all tasks and adds up what they counted.
async fn gather(tasks: Vec<tokio::task::JoinHandle<Sample>>) -> Sample {
    let started = std::time::Instant::now();
    let mut all = Sample::default();
    for task in tasks {
        match task.await {
            Ok(sample) => all.add(sample),
            Err(_) => all.unexpected += 1,
        }
    }
    all.seconds = started.elapsed().as_secs_f64();
    all
}
