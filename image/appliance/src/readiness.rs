//! How the node is doing, as its own management address says; for the console, and for the trial of a new version.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::limits::{READY, READY_BYTES};
use crate::provision::CHECKED;

const MANAGEMENT: &str = "127.0.0.1:9443";

/// How the node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It serves partners.
    Ready,
    /// It was started and does not serve, for these reasons.
    NotReady(String),
    /// It was not started: there is a problem.
    Off,
}

pub(crate) fn readiness() -> Readiness {
    if !fs::exists(CHECKED).unwrap_or(false) {
        return Readiness::Off;
    }
    match ask() {
        Ok(answer) => match answer.split_once("\r\n\r\n") {
            Some((head, _)) if head.starts_with("HTTP/1.1 200") => Readiness::Ready,
            Some((_, body)) => Readiness::NotReady(reasons(body)),
            None => Readiness::NotReady("the gateway gives no answer".to_owned()),
        },
        Err(_) => Readiness::NotReady("starting".to_owned()),
    }
}

/// The reasons in plain words; an answer of another form is shown as it is.
fn reasons(body: &str) -> String {
    let answer: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let listed = answer.as_ref().and_then(|answer| answer.get("reasons")?.as_array());
    let texts: Option<Vec<&str>> = listed.and_then(|listed| listed.iter().map(serde_json::Value::as_str).collect());
    texts.filter(|texts| !texts.is_empty()).map_or_else(|| body.to_owned(), |texts| texts.join("; "))
}

fn ask() -> io::Result<String> {
    let address = MANAGEMENT.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, READY)?;
    stream.set_read_timeout(Some(READY))?;
    stream.set_write_timeout(Some(READY))?;
    stream.write_all(format!("GET /ready HTTP/1.1\r\nHost: {MANAGEMENT}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(READY_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::reasons;

    #[test]
    fn reasons_are_shown_in_plain_words() {
        assert_eq!(
            reasons(r#"{"ready":false,"reasons":["engine is not connected","no allow-list yet"]}"#),
            "engine is not connected; no allow-list yet"
        );
        for body in ["", "none", "{}", r#"{"reasons":[]}"#, r#"{"reasons":[1]}"#, r#"{"reasons":"x"}"#] {
            assert_eq!(reasons(body), body);
        }
    }
}
