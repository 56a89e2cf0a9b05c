//! FLARE: takes a cohort definition as it is and answers with a number in plain text.

use bytes::Bytes;
use client::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use uuid::Uuid;

use super::Connection;
use crate::error::SourceError;
use crate::limits;
use crate::source::{BoxFuture, Language, Question, Source};

const MEDIA_TYPE: &str = "application/sq+json";

/// A FLARE instance.
pub struct FlareServer {
    connection: Connection,
}

// === impl FlareServer ===

impl FlareServer {
    pub(super) const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn execute(&self, question: &Question) -> Result<u64, SourceError> {
        // What is no definition is refused here, so that the server sees none of it.
        question.definition()?;
        let document = question.definition.clone().unwrap_or_default();
        let correlation = Uuid::new_v4().to_string();
        let mut request = self
            .connection
            .request(Method::Post, "query/execute", &correlation)
            .with_header(CONTENT_TYPE, MEDIA_TYPE)
            .with_header(ACCEPT, "text/plain, */*;q=0.1");
        request.body = Bytes::from(document);
        let sent = tokio::time::timeout(limits::SERVER_TIME, self.connection.send(request)).await;
        let seconds = limits::SERVER_TIME.as_secs();
        let answer = sent.map_err(|_| SourceError::Slow { name: self.name().to_owned(), seconds })??;
        number(&answer.body).ok_or_else(|| self.connection.wrong("its answer to a query is no number"))
    }
}

/// Digits and nothing else.
fn number(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.trim_ascii();
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

impl Source for FlareServer {
    fn name(&self) -> &str {
        self.connection.name()
    }

    fn language(&self) -> Language {
        Language::Ccdl
    }

    fn count<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<u64, SourceError>> {
        Box::pin(self.execute(question))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(async {
            let correlation = Uuid::new_v4().to_string();
            let request = self
                .connection
                .request(Method::Get, "cache/stats", &correlation)
                .with_header(ACCEPT, "application/json");
            let answer = self.connection.send(request).await?;
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
            if !is_json {
                return Err(self.connection.wrong("its cache/stats is no JSON, so it is no FLARE"));
            }
            Ok("FLARE answers".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_digits_are_a_count() {
        assert_eq!(number(b"17"), Some(17));
        assert_eq!(number(b"17\n"), Some(17));
        for body in [&b""[..], b"-1", b"1.5", b"+3", b"{\"count\":3}", b"99999999999999999999", b"\xff", b"1 2"] {
            assert_eq!(number(body), None, "{body:?}");
        }
    }
}
