//! Proof of who asks a server: user and password, a fixed token, or a token of an authorization server (OAuth 2.0 client
//! credentials, RFC 6749 4.4, found by OpenID Connect discovery). A client certificate is part of the connection.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::{Client, Method, Request};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::error::SourceError;
use crate::limits;

/// How the node proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By nothing, or by a client certificate.
    None,
    /// HTTP Basic.
    Basic {
        /// User name.
        user: String,
        /// File with the password.
        password_file: PathBuf,
    },
    /// A fixed bearer token.
    Bearer {
        /// File with the token.
        token_file: PathBuf,
    },
    /// Tokens of an authorization server.
    OAuth(OAuth),
}

/// The client at an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// URL of the issuer, below which its description is.
    pub issuer: String,
    /// Name of the client.
    pub client: String,
    /// File with its secret.
    pub secret_file: PathBuf,
}

/// An access token and when it is renewed.
pub(super) struct Token {
    authorization: String,
    renewed: Instant,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// `Authorization: Basic`.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The secret in the only line of a file.
pub(super) fn secret(name: &str, path: &Path) -> Result<String, SourceError> {
    let wrong = |reason: String| SourceError::Secret { name: name.to_owned(), path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(limits::SECRET_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > limits::SECRET_BYTES {
        return Err(wrong(format!("it has more than {} bytes", limits::SECRET_BYTES)));
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(wrong("it does not hold one line with a secret".to_owned()));
    }
    Ok(text.to_owned())
}

// === impl Token ===

impl Token {
    /// The value of `Authorization`, while it counts.
    pub(super) fn authorization(&self) -> Option<&str> {
        (Instant::now() < self.renewed).then_some(self.authorization.as_str())
    }
}

// === impl OAuth ===

impl OAuth {
    /// Asks the issuer for its token endpoint and that for a token.
    pub(super) async fn token(&self, name: &str, client: &Client, correlation: &str) -> Result<Token, SourceError> {
        let server = |error| SourceError::Server { name: name.to_owned(), error };
        let answer = |reason: &str| SourceError::Answer {
            name: name.to_owned(),
            reason: format!("the authorization server {}: {reason}", self.issuer),
        };
        let issuer = self.issuer.trim_end_matches('/');
        let request = Request::new(Method::Get, issuer, ".well-known/openid-configuration", correlation)
            .with_header(ACCEPT, "application/json");
        let described = client.request(request).await.map_err(server)?;
        let description: Description =
            serde_json::from_slice(&described.body).map_err(|_| answer("its description has no token endpoint"))?;
        if description.issuer.trim_end_matches('/') != issuer {
            return Err(answer("it describes itself as another issuer"));
        }
        let (base, path) = split(issuer, &description.token_endpoint)
            .ok_or_else(|| answer("its token endpoint is at another host, or no plain URL"))?;
        let secret = secret(name, &self.secret_file)?;
        // RFC 6749 2.3.1: both are form-encoded before they become user and password.
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut request = Request::new(Method::Post, &base, &path, correlation)
            .with_header(ACCEPT, "application/json")
            .with_header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .with_header(AUTHORIZATION, basic(&encoded(&self.client), &encoded(&secret)));
        request.body = Bytes::from_static(b"grant_type=client_credentials");
        let issued = client.request(request).await.map_err(server)?;
        let issued: Issued = serde_json::from_slice(&issued.body).map_err(|_| answer("it issued no access token"))?;
        let is_usable =
            !issued.access_token.is_empty() && issued.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if !issued.token_type.eq_ignore_ascii_case("bearer") || !is_usable {
            return Err(answer("its token is no bearer token"));
        }
        let counts = issued.expires_in.map_or(limits::TOKEN_TIME, |seconds| Duration::from_secs(seconds.min(86_400)));
        let renewed = Instant::now() + counts.saturating_sub(limits::TOKEN_MARGIN.min(counts / 2));
        Ok(Token { authorization: format!("Bearer {}", issued.access_token), renewed })
    }
}

/// The token endpoint as base and path, if it is at the issuer's scheme, host and port.
fn split(issuer: &str, endpoint: &str) -> Option<(String, String)> {
    let (issuer, endpoint) = (Url::parse(issuer).ok()?, Url::parse(endpoint).ok()?);
    let is_plain = endpoint.query().is_none() && endpoint.fragment().is_none() && endpoint.username().is_empty();
    let is_same = issuer.origin() == endpoint.origin();
    (is_same && is_plain)
        .then(|| (issuer.origin().ascii_serialization(), endpoint.path().trim_start_matches('/').to_owned()))
}
