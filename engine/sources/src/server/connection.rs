//! The way to one server: its client, and the proof of who asks on every request.

use ::client::{Answer, Client, ClientError, Method, Request, SettingsError};
use http::header::AUTHORIZATION;
use tokio::sync::Mutex;

use super::ServerSettings;
use super::authentication::{Authentication, Token, basic, secret};
use crate::error::SourceError;

/// A connection. Requests of one question carry one id, which joins them in the logs of both sides.
pub(super) struct Connection {
    name: String,
    url: String,
    client: Client,
    authentication: Authentication,
    token: Mutex<Option<Token>>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn open(settings: ServerSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            name: settings.name,
            url: settings.url.trim_end_matches('/').to_owned(),
            client: Client::new(settings.client)?,
            authentication: settings.authentication,
            token: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A request below the base URL.
    pub(super) fn request<'a>(&'a self, method: Method, path: &'a str, correlation: &'a str) -> Request<'a> {
        Request::new(method, &self.url, path, correlation)
    }

    /// Sends it. A token that the server no longer takes is renewed once.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, SourceError> {
        let authorization = self.authorization(request.correlation_id).await?;
        let is_token = matches!(self.authentication, Authentication::OAuth(_));
        let first = self.client.request(with(request.clone(), authorization)).await;
        let answer = match first {
            Err(ClientError::Http { status: 401, .. }) if is_token => {
                *self.token.lock().await = None;
                let authorization = self.authorization(request.correlation_id).await?;
                self.client.request(with(request, authorization)).await
            }
            other => other,
        };
        answer.map_err(|error| SourceError::Server { name: self.name.clone(), error })
    }

    async fn authorization(&self, correlation: &str) -> Result<Option<String>, SourceError> {
        match &self.authentication {
            Authentication::None => Ok(None),
            Authentication::Basic { user, password_file } => Ok(Some(basic(user, &secret(&self.name, password_file)?))),
            Authentication::Bearer { token_file } => Ok(Some(format!("Bearer {}", secret(&self.name, token_file)?))),
            Authentication::OAuth(oauth) => {
                let mut kept = self.token.lock().await;
                if let Some(authorization) = kept.as_ref().and_then(Token::authorization) {
                    return Ok(Some(authorization.to_owned()));
                }
                let token = oauth.token(&self.name, &self.client, correlation).await?;
                let authorization = token.authorization().map(str::to_owned);
                *kept = Some(token);
                Ok(authorization)
            }
        }
    }

    /// The path below the base URL of an address that the server named. Elsewhere is refused, not followed.
    pub(super) fn below<'u>(&self, url: &'u str) -> Result<&'u str, SourceError> {
        let path = url.strip_prefix(self.url.as_str()).and_then(|rest| rest.strip_prefix('/'));
        path.filter(|path| !climbs(path))
            .ok_or_else(|| self.wrong("it leads to an address that is not below its base URL"))
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Answer { name: self.name.clone(), reason: reason.into() }
    }
}

/// Whether a path has dot segments (RFC 3986, 5.2.4), plain or encoded, by which a server may leave the base URL.
fn climbs(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    plain.split(['/', '\\']).any(|segment| segment == "." || segment == "..")
}

fn with<'a>(request: Request<'a>, authorization: Option<String>) -> Request<'a> {
    match authorization {
        Some(value) => request.with_header(AUTHORIZATION, value),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::climbs;

    #[test]
    fn dot_segments_in_any_spelling_climb() {
        for path in
            ["..", "../admin", "a/../b", "a/./b", "%2E%2e/a", "a%2f..%2Fb", "a\\..\\b", "a/.%2e", "./", "..?x=1"]
        {
            assert!(climbs(path), "{path}");
        }
        for path in ["", "Patient?_page=2", "Patient/.../x", "a..b/c", "async/1?next=../x", "Patient#/../"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
