//! Proof of who asks: each form, as the server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::harness::{Desk, Server, json as answer, reply};
use crate::SourceError;
use crate::mapping::Mapping;
use crate::server::{Authentication, Kind, OAuth, ServerSettings, open};
use crate::source::{Question, Source};

const QUESTION: &str = r#"{"inclusionCriteria":[[{"termCodes":[{"system":"s","code":"c"}]}]]}"#;

async fn flare() -> Server {
    Server::plain(|_| reply(200, "text/plain", "5")).await
}

fn opened(settings: ServerSettings) -> Arc<dyn Source> {
    open(settings, &Arc::new(Mapping::native().unwrap())).unwrap()
}

async fn count(source: &Arc<dyn Source>) -> Result<u64, SourceError> {
    source.count(&Question::ccdl(QUESTION.as_bytes().to_vec())).await
}

#[tokio::test]
async fn user_and_password_are_sent_and_a_changed_password_counts_at_once() {
    let (server, desk) = (flare().await, Desk::new());
    let password_file = desk.write("password", "s3cret\n");
    let mut settings = desk.settings(Kind::Flare, &server.url("/flare"));
    settings.authentication = Authentication::Basic { user: "schleuse".to_owned(), password_file };
    let source = opened(settings);
    assert_eq!(count(&source).await.unwrap(), 5);
    desk.write("password", "other");
    assert_eq!(count(&source).await.unwrap(), 5);
    let sent: Vec<_> =
        server.arrived().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Basic c2NobGV1c2U6czNjcmV0", "Basic c2NobGV1c2U6b3RoZXI="]);
    // A secret that is none is told with its file, and nothing is sent.
    for text in ["", "\n", "two\nlines"] {
        desk.write("password", text);
        let error = count(&source).await.unwrap_err();
        assert!(matches!(error, SourceError::Secret { .. }) && error.remedy().is_some(), "{error}");
    }
    assert_eq!(server.arrived().len(), 2);
}

#[tokio::test]
async fn a_token_is_sent_and_no_message_has_it() {
    let desk = Desk::new();
    let server = Server::plain(|request| {
        assert_eq!(request.header("authorization"), Some("Bearer tok-en"));
        reply(401, "text/plain", "")
    })
    .await;
    let mut settings = desk.settings(Kind::Flare, &server.url("/flare"));
    settings.authentication = Authentication::Bearer { token_file: desk.write("token", "tok-en\n") };
    let error = count(&opened(settings)).await.unwrap_err();
    let told = format!("{error} {error:?} {}", error.remedy().unwrap());
    assert!(!told.contains("tok-en") && told.contains("401") && !error.may_pass(), "{told}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_server_that_demands_one() {
    let desk = Desk::new();
    let server = Server::demanding_a_certificate(|_| reply(200, "text/plain", "5")).await;
    let settings = desk.settings(Kind::Flare, &server.url("/flare"));
    let mut without = settings.clone();
    without.client.identity = None;
    assert_eq!(count(&opened(settings)).await.unwrap(), 5);
    let error = count(&opened(without)).await.unwrap_err();
    assert!(matches!(error, SourceError::Server { .. }), "{error}");
}

/// An authorization server and a FLARE that takes the newest token alone.
async fn authorizing(lifetime: u64, endpoint: &'static str) -> (Server, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let (counter, port) = (Arc::clone(&issued), Arc::new(AtomicUsize::new(0)));
    let known = Arc::clone(&port);
    let server = Server::plain(move |request| {
        let base = format!("http://localhost:{}", known.load(Ordering::SeqCst));
        match request.path.as_str() {
            "/realm/.well-known/openid-configuration" => {
                let endpoint =
                    if endpoint.starts_with('/') { format!("{base}{endpoint}") } else { endpoint.to_owned() };
                answer(&json!({ "issuer": format!("{base}/realm"), "token_endpoint": endpoint }))
            }
            "/realm/token" => {
                assert_eq!(request.body.as_ref(), b"grant_type=client_credentials");
                // "schleuse" and "a b:c", each form-encoded.
                assert_eq!(request.header("authorization"), Some("Basic c2NobGV1c2U6YStiJTNBYw=="));
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                answer(&json!({ "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": lifetime }))
            }
            _ => {
                let newest = format!("Bearer t{}", counter.load(Ordering::SeqCst));
                let is_newest = request.header("authorization") == Some(newest.as_str());
                reply(if is_newest { 200 } else { 401 }, "text/plain", "5")
            }
        }
    })
    .await;
    port.store(server.address.port().into(), Ordering::SeqCst);
    (server, issued)
}

fn oauth(desk: &Desk, server: &Server) -> Arc<dyn Source> {
    let mut settings = desk.settings(Kind::Flare, &server.url("/flare"));
    settings.client.outbound.extra.push(server.url("/*"));
    settings.authentication = Authentication::OAuth(OAuth {
        issuer: server.url("/realm"),
        client: "schleuse".to_owned(),
        secret_file: desk.write("secret", "a b:c\n"),
    });
    opened(settings)
}

#[tokio::test]
async fn a_token_of_the_authorization_server_is_used_while_it_counts() {
    let desk = Desk::new();
    let (server, issued) = authorizing(3600, "/realm/token").await;
    let source = oauth(&desk, &server);
    for _ in 0..3 {
        assert_eq!(count(&source).await.unwrap(), 5);
    }
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    // The server forgets the token before its time: one more is fetched, and the question is answered.
    issued.fetch_add(1, Ordering::SeqCst);
    assert_eq!(count(&source).await.unwrap(), 5);
    assert_eq!(issued.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_token_endpoint_elsewhere_is_not_told_the_secret() {
    let desk = Desk::new();
    for endpoint in ["https://elsewhere.example/token", "/realm/token?x=1", "nonsense"] {
        let (server, issued) = authorizing(3600, endpoint).await;
        let error = count(&oauth(&desk, &server)).await.unwrap_err();
        assert!(matches!(error, SourceError::Answer { .. }), "{error}");
        assert_eq!(issued.load(Ordering::SeqCst), 0);
        assert_eq!(server.arrived().len(), 1, "{endpoint}");
    }
}
