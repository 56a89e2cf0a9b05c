//! HTTPS to a node, as an organisation: what any FHIR client with a client certificate can do, through the gateway.

use std::path::Path;
use std::time::Duration;

use fhir::{Format, Resource};
use reqwest::{Method, StatusCode, header};

/// A client with one certificate.
pub(crate) struct Partner {
    http: reqwest::Client,
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
        let credentials =
            certs::Credentials::load(certificate, private_key).map_err(|error| unusable(&error))?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(credentials.chain_der(), credentials.key_der())
            .map_err(|error| unusable(&error))?;
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .tls_info(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| unusable(&error))?;
        Ok(Self { http })
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer, PartnerError> {
        self.send(Method::GET, url, None).await
    }

    pub(crate) async fn post(&self, url: &str, resource: &Resource) -> Result<Answer, PartnerError> {
        self.send(Method::POST, url, Some(resource)).await
    }

    async fn send(&self, method: Method, url: &str, resource: Option<&Resource>) -> Result<Answer, PartnerError> {
        let no_answer = |error: reqwest::Error| PartnerError::NoAnswer { url: url.to_owned(), reason: root_cause(&error) };
        let mut request = self.http.request(method, url).header(header::ACCEPT, "application/fhir+json");
        if let Some(resource) = resource {
            let body = fhir::print(Format::Json, resource, false);
            request = request.header(header::CONTENT_TYPE, "application/fhir+json").body(body);
        }
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let location =
            answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let server_certificate = answer
            .extensions()
            .get::<reqwest::tls::TlsInfo>()
            .and_then(reqwest::tls::TlsInfo::peer_certificate)
            .and_then(|der| certs::Certificate::from_der(der).ok());
        let body = answer.bytes().await.map_err(no_answer)?;
        if !status.is_success() {
            let text = refusal_text(&body);
            return Err(PartnerError::Refused { url: url.to_owned(), status, text });
        }
        let resource = (!body.is_empty())
            .then(|| fhir::parse(Format::Json, &body, &fhir::Limits::default()))
            .transpose()
            .map_err(|error| PartnerError::Unreadable { url: url.to_owned(), reason: error.to_string() })?;
        Ok(Answer { resource, location, server_certificate })
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

/// The innermost error says what happened; the outer ones say only that something did.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
