//! Downloads that are measured: a partner's Binary, read and forgotten.

use client::{ClientError, Method, Phase, Request};
use hyper::header::ACCEPT;
use link::CorrelationId;
use processes::ping_pong::measured::Downloads;
use processes::step::BoxFuture;

use crate::messenger::Outgoing;

impl Downloads for Outgoing {
    fn download<'a>(&'a self, base_url: &'a str, id: &'a str) -> BoxFuture<'a, Result<u64, &'static str>> {
        Box::pin(async move {
            let correlation = CorrelationId::random().to_string();
            let path = format!("Binary/{id}");
            let request = Request::new(Method::Get, base_url, &path, &correlation)
                .with_header(ACCEPT, "application/octet-stream");
            let answer = self.client.request(request).await.map_err(|error| {
                tracing::warn!(%error, "download of a ping");
                code(&error)
            })?;
            Ok(answer.body.len() as u64)
        })
    }
}

/// The end of the reference's error code.
const fn code(error: &ClientError) -> &'static str {
    match error {
        ClientError::ConnectTimeout { phase: Phase::Resolve | Phase::Connect | Phase::Tls, .. } => "timeout-connect",
        ClientError::ReadTimeout { .. } => "timeout-read",
        ClientError::ConnectionRefused { .. } | ClientError::UnknownHost { .. } | ClientError::Proxy { .. } => {
            "http-host-connect"
        }
        ClientError::Http { status, .. } => match status {
            401 => "http-401",
            403 => "http-403",
            407 => "http-407",
            500 => "http-500",
            502 => "http-502",
            503 => "http-503",
            504 => "http-504",
            _ => "http-unexpected",
        },
        ClientError::NotAllowed { .. }
        | ClientError::InvalidRequest { .. }
        | ClientError::Tls { .. }
        | ClientError::ConnectionLost { .. }
        | ClientError::InvalidAnswer { .. } => "io-error",
    }
}
