//! TLS to the database server with rustls: the certificate must name the host and come from a configured authority.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::settings::{SettingError, Tls};

/// Makes connections that are protected as configured.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<rustls::ClientConfig>>);

/// A connection to be protected, to this host.
pub(super) struct Handshake {
    config: Option<Arc<rustls::ClientConfig>>,
    host: String,
}

/// A protected connection.
pub(super) struct Protected(tokio_rustls::client::TlsStream<Socket>);

// === impl Connector ===

impl Connector {
    pub(super) fn new(tls: &Tls) -> Result<Self, SettingError> {
        let Tls::Required { authorities } = tls else { return Ok(Self(None)) };
        let refuse = |text: String| SettingError {
            key: "tls-authorities",
            text,
            remedy: "name a PEM file with the certificates of the authorities that issued the server's certificate",
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|error| refuse(format!("cannot be read: {error:?}")))?;
            roots.add(certificate).map_err(|error| refuse(format!("holds an unusable certificate: {error}")))?;
        }
        if roots.is_empty() {
            return Err(refuse("holds no certificate".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| refuse(format!("cannot be used: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Some(Arc::new(config))))
    }

    pub(super) const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Protected;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, io::Error> {
        Ok(Handshake { config: self.0.clone(), host: host.to_owned() })
    }
}

// === impl Handshake ===

impl TlsConnect<Socket> for Handshake {
    type Stream = Protected;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Protected, io::Error>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let config = self.config.ok_or_else(|| io::Error::other("TLS is not configured"))?;
            let host = ServerName::try_from(self.host).map_err(io::Error::other)?;
            TlsConnector::from(config).connect(host, stream).await.map(Protected)
        })
    }
}

// === impl Protected ===

impl TlsStream for Protected {
    /// The certificate was checked against host and authority, which binds the password exchange to the server already.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Protected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Protected {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
