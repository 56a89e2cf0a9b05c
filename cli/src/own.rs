//! HTTPS to a node through its gateway: to the own one as its own organisation, or to any as a person. What any client with
//! that certificate can do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fhir::{Format, Object, Resource};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use node::{Address, Settings};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::exchange;

/// Longest time until TLS is established.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The node, and who asks.
pub(crate) struct Own {
    tls: TlsConnector,
    /// Host and port to connect to.
    target: (String, u16),
    base: Address,
    author: (&'static str, &'static str, String),
}

/// Why the node did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    #[error("{0} is no URL of a node, such as https://dsf.example.org/fhir")]
    Url(String),
    #[error("the certificate or the trusted authorities cannot be used: {0}")]
    Certificates(String),
    #[error("the node does not answer at {address}: {reason}; start it with `schleuse run`")]
    NotReachable { address: String, reason: String },
    #[error("the node refused {what} with {status}: {text}")]
    Refused { what: String, status: StatusCode, text: String },
}

impl OwnError {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::NotReachable { .. } => 69,
            Self::Url(_) => 2,
            Self::Certificates(_) | Self::Refused { .. } => 1,
        }
    }
}

impl Own {
    /// The own node, as its organisation.
    pub(crate) fn new(settings: &Settings) -> Result<Self, OwnError> {
        let pair = &settings.client_certificate;
        let (tls, _) = connector(&settings.trust_stores.server, &pair.certificate, &pair.private_key)?;
        // A listener on every interface is reached on loopback.
        let mut listen = settings.listen;
        if listen.ip().is_unspecified() {
            listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let author = (
            "Organization",
            policies::identifier::ORGANIZATION_IDENTIFIER,
            settings.organization_identifier.to_string(),
        );
        let target = (listen.ip().to_string(), listen.port());
        Ok(Self { tls, target, base: settings.base_url.clone(), author })
    }

    /// A partner's node, as the own organisation.
    pub(crate) fn at_partner(settings: &Settings, base: Address) -> Result<Self, OwnError> {
        let own = Self::new(settings)?;
        Ok(Self { target: (base.host().to_owned(), base.port()), base, ..own })
    }

    /// The node at a URL, as the person with a certificate.
    pub(crate) fn as_person(
        url: &str,
        certificate: &Path,
        private_key: &Path,
        authority: &Path,
    ) -> Result<Self, OwnError> {
        let base = Address::parse(url).ok_or_else(|| OwnError::Url(url.to_owned()))?;
        let (tls, credentials) = connector(&[authority.to_owned()], certificate, private_key)?;
        let own = credentials.certificate();
        let thumbprint = own.thumbprint().parse().map_err(|error| OwnError::Certificates(format!("{error}")))?;
        let person = policies::practitioner_identifier(&thumbprint, own.emails().first().map(String::as_str))
            .ok_or_else(|| OwnError::Certificates("it names no person".to_owned()))?;
        let author = ("Practitioner", policies::identifier::PRACTITIONER_IDENTIFIER, person.to_string());
        let target = (base.host().to_owned(), base.port());
        Ok(Self { tls, target, base, author })
    }

    /// Reference to who asks, as FHIR has it.
    pub(crate) fn author(&self) -> Object {
        let (kind, system, value) = &self.author;
        let identifier = Object::new().with("system", *system).with("value", value.as_str());
        Object::new().with("type", *kind).with("identifier", identifier)
    }

    /// `GET` of a path below the base URL.
    pub(crate) async fn get(&self, path: &str) -> Result<Resource, OwnError> {
        let bytes = self.send(Method::GET, path, None).await?;
        self.read(path, &bytes)
    }

    /// `GET` of the content of a Binary.
    pub(crate) async fn content(&self, path: &str) -> Result<Bytes, OwnError> {
        self.send_accepting(Method::GET, path, None, "application/octet-stream, application/fhir+ndjson").await
    }

    /// `POST` of a resource.
    pub(crate) async fn post(&self, path: &str, resource: &Resource) -> Result<Resource, OwnError> {
        let bytes = self.send(Method::POST, path, Some(resource)).await?;
        self.read(path, &bytes)
    }

    /// `PUT` of a resource.
    pub(crate) async fn put(&self, path: &str, resource: &Resource) -> Result<Resource, OwnError> {
        let bytes = self.send(Method::PUT, path, Some(resource)).await?;
        self.read(path, &bytes)
    }

    fn address(&self) -> String {
        format!("{}:{}", self.target.0, self.target.1)
    }

    fn read(&self, path: &str, bytes: &[u8]) -> Result<Resource, OwnError> {
        fhir::parse(Format::Json, bytes, &fhir::Limits::default()).map_err(|error| OwnError::NotReachable {
            address: self.address(),
            reason: format!("the answer to {path} is no resource: {error}"),
        })
    }

    async fn send(&self, method: Method, path: &str, resource: Option<&Resource>) -> Result<Bytes, OwnError> {
        self.send_accepting(method, path, resource, "application/fhir+json").await
    }

    async fn send_accepting(
        &self,
        method: Method,
        path: &str,
        resource: Option<&Resource>,
        accepted: &str,
    ) -> Result<Bytes, OwnError> {
        let gone = |reason: String| OwnError::NotReachable { address: self.address(), reason };
        let body = resource.map(|resource| fhir::print(Format::Json, resource, false)).unwrap_or_default();
        let target = format!("{}{path}", self.base.path()).replace('|', "%7C").replace(' ', "%20");
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&target)
            .header(header::HOST, format!("{}:{}", self.base.host(), self.base.port()))
            .header(header::ACCEPT, accepted);
        if resource.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/fhir+json");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| gone(error.to_string()))?;
        let name = ServerName::try_from(self.base.host().to_owned()).map_err(|error| gone(error.to_string()))?;
        let connecting =
            async { self.tls.connect(name, TcpStream::connect((self.target.0.as_str(), self.target.1)).await?).await };
        let stream = tokio::time::timeout(CONNECT_TIME, connecting)
            .await
            .map_err(|_| gone("no answer in time".to_owned()))?
            .map_err(|error| gone(error.to_string()))?;
        let answer = exchange(stream, request).await.map_err(|error| gone(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let outcome = fhir::parse(Format::Json, answer.body(), &fhir::Limits::default()).ok();
        let text = outcome.map_or_else(String::new, |outcome| {
            outcome.list("issue").iter().filter_map(|issue| issue.str("diagnostics")).collect::<Vec<_>>().join("; ")
        });
        Err(OwnError::Refused { what: format!("{method} {target}"), status, text })
    }
}

/// A TLS client that trusts the authorities and shows the certificate.
fn connector(
    authorities: &[PathBuf],
    certificate: &Path,
    private_key: &Path,
) -> Result<(TlsConnector, certs::Credentials), OwnError> {
    let unusable = |error: &dyn std::fmt::Display| OwnError::Certificates(error.to_string());
    let store = certs::TrustStore::load(authorities).map_err(|errors| {
        OwnError::Certificates(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let verifier = certs::server_verifier(&store, certs::provider()).map_err(|error| unusable(&error))?;
    let credentials = certs::Credentials::load(certificate, private_key).map_err(|error| unusable(&error))?;
    let tls = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(credentials.chain_der(), credentials.key_der())
        .map_err(|error| unusable(&error))?;
    Ok((TlsConnector::from(Arc::new(tls)), credentials))
}
