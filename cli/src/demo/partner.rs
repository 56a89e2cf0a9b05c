//! HTTPS to a node, as an organisation: what any FHIR client with a client certificate can do, through the gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fhir::{Format, Resource};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::network::Site;
use crate::http::exchange;

/// Longest time until TLS is established.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A client with one certificate.
pub(crate) struct Partner {
    tls: TlsConnector,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartnerError {
    #[error("certificates cannot be used: {0}")]
    Certificates(String),
    #[error("{url} did not answer: {reason}")]
    NoAnswer { url: String, reason: String },
    #[error("{url} answered {status}: {text}")]
    Refused { url: String, status: StatusCode, text: String },
    #[error("{url} gave an answer that is no FHIR resource: {reason}")]
    Unreadable { url: String, reason: String },
}

/// An answer with the certificate of the server that gave it.
pub(crate) struct Answer {
    pub(crate) resource: Option<Resource>,
    pub(crate) location: Option<String>,
    pub(crate) server_certificate: Option<certs::Certificate>,
}

impl Partner {
    /// A client that trusts `authority` and shows `certificate`.
    pub(crate) fn new(authority: &Path, certificate: &Path, private_key: &Path) -> Result<Self, PartnerError> {
        let unusable = |error: &dyn std::fmt::Display| PartnerError::Certificates(error.to_string());
        let mut roots = rustls::RootCertStore::empty();
        for authority in read_certificates(authority)? {
            roots.add(authority.der().to_vec().into()).map_err(|error| unusable(&error))?;
        }
        let credentials = certs::Credentials::load(certificate, private_key).map_err(|error| unusable(&error))?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(credentials.chain_der(), credentials.key_der())
            .map_err(|error| unusable(&error))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// `GET` of a path below the site's base URL.
    pub(crate) async fn get(&self, site: &Site, path: &str) -> Result<Answer, PartnerError> {
        self.send(Method::GET, site, path, None).await
    }

    /// `POST` of a resource; an empty path is the base URL itself.
    pub(crate) async fn post(&self, site: &Site, path: &str, resource: &Resource) -> Result<Answer, PartnerError> {
        self.send(Method::POST, site, path, Some(resource)).await
    }

    async fn send(
        &self,
        method: Method,
        site: &Site,
        path: &str,
        resource: Option<&Resource>,
    ) -> Result<Answer, PartnerError> {
        let url = format!("{}{path}", site.base_url());
        let no_answer = |reason: String| PartnerError::NoAnswer { url: url.clone(), reason };
        let body = resource.map(|resource| fhir::print(Format::Json, resource, false)).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/fhir{path}"))
            .header(header::HOST, format!("localhost:{}", site.port))
            .header(header::ACCEPT, "application/fhir+json");
        if resource.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/fhir+json");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| no_answer(error.to_string()))?;
        let stream = self.connect(site.port).await.map_err(|error| no_answer(error.to_string()))?;
        let server_certificate =
            stream.get_ref().1.peer_certificates().and_then(|chain| certs::Certificate::from_der(chain.first()?).ok());
        let answer = exchange(stream, request).await.map_err(|error| no_answer(error.to_string()))?;
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = answer.into_body();
        if !status.is_success() {
            let text = refusal_text(&body);
            return Err(PartnerError::Refused { url, status, text });
        }
        let resource = (!body.is_empty())
            .then(|| fhir::parse(Format::Json, &body, &fhir::Limits::default()))
            .transpose()
            .map_err(|error| PartnerError::Unreadable { url: url.clone(), reason: error.to_string() })?;
        Ok(Answer { resource, location, server_certificate })
    }

    async fn connect(&self, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let connecting = async { self.tls.connect(name, TcpStream::connect(("127.0.0.1", port)).await?).await };
        tokio::time::timeout(CONNECT_TIME, connecting).await.map_err(std::io::Error::from)?
    }
}

pub(crate) fn read_certificates(path: &Path) -> Result<Vec<certs::Certificate>, PartnerError> {
    certs::pem::read_file(path)
        .and_then(|bytes| certs::read_certificates(&bytes, &path.display().to_string()))
        .map_err(|error| PartnerError::Certificates(error.to_string()))
}

/// The diagnostics of an OperationOutcome, or that there are none.
fn refusal_text(body: &[u8]) -> String {
    let outcome = fhir::parse(Format::Json, body, &fhir::Limits::default()).ok();
    let diagnostics = outcome.as_ref().map(|outcome| {
        outcome.list("issue").iter().filter_map(|issue| issue.str("diagnostics")).collect::<Vec<_>>().join("; ")
    });
    diagnostics.filter(|text| !text.is_empty()).unwrap_or_else(|| "no reason given".to_owned())
}
