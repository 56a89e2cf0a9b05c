//! Rows that need OpenID Connect, which this version refuses to be configured: they state what is demanded of the version
//! that has it, against a node with `client-auth = "optional"` and `[oidc]`, and fail today.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tests::client::JSON;
use tests::{Answer, Client, shared};

use super::remote;

/// Nobody's certificate.
fn browser() -> Client {
    shared().client(&shared().node("portal"), None)
}

fn token(header: &str, claims: &str, signature: &str) -> String {
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

/// A token that some provider might have made, good until 2100 unless the claims say otherwise.
fn bearer(header: &str, audience: &str, expires: u64) -> String {
    token(header, &format!(r#"{{"iss":"https://idp.example","sub":"s","aud":"{audience}","exp":{expires}}}"#), "x")
}

const GOOD_HEADER: &str = r#"{"alg":"ES256","kid":"1"}"#;
const YEAR_2100: u64 = 4_102_444_800;

async fn with_token(client: &Client, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    client.get_with("/metadata", &[("authorization", &authorization), ("accept", JSON)]).await
}

#[tokio::test]
#[ignore = "needs OpenID Connect: without a certificate there is no connection yet"]
async fn edge_t23_a_certificate_in_a_field_is_none() {
    let local = std::fs::read_to_string(&shared().node("portal").organization.certificate).unwrap();
    let apache = local.trim().replace('\n', " ");
    let nginx = local.trim().replace('\n', "%0A").replace(' ', "%20") + "%0A";
    for (name, value) in [("X-ClientCert", &apache), ("X-ClientCert", &nginx), ("x-clientcert", &apache)] {
        for fields in [vec![(name, value.as_str())], vec![(name, value.as_str()), (name, value.as_str())]] {
            let answer = browser().get_with("/Task", &fields).await;
            assert!([401, 403].contains(&answer.status), "{name}: {}", answer.status);
        }
    }
}

#[tokio::test]
#[ignore = "needs OpenID Connect: there are no cookies yet"]
async fn edge_t72_attack_a25_a_foreign_page_uses_no_cookie() {
    let cookie = ("cookie", "session=0123456789abcdef");
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "https://evil.example"),
        cookie,
    ];
    assert_eq!(browser().get_with("/ws", &upgrade).await.status, 403);
    let fields = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), cookie];
    let answer = browser().write_with("POST", "/Task", &fields, &serde_json::json!({ "resourceType": "Task" })).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
#[ignore = "needs OpenID Connect: tokens are not read yet"]
async fn edge_t73_attack_a24_tokens_are_judged_by_signature_issuer_audience_and_time() {
    let expired = with_token(&browser(), &bearer(GOOD_HEADER, "dsf-fhir", 1_000_000_000)).await;
    assert_eq!(expired.status, 401);
    assert!(expired.field("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    let refused = [
        ("a bad signature", bearer(GOOD_HEADER, "dsf-fhir", YEAR_2100)),
        ("another audience", bearer(GOOD_HEADER, "other", YEAR_2100)),
        ("no algorithm", bearer(r#"{"alg":"none"}"#, "dsf-fhir", YEAR_2100)),
        ("a symmetric key", bearer(r#"{"alg":"HS256","kid":"1"}"#, "dsf-fhir", YEAR_2100)),
        ("a key that is a path", bearer(r#"{"alg":"ES256","kid":"../../etc/passwd"}"#, "dsf-fhir", YEAR_2100)),
        ("no end", token(GOOD_HEADER, r#"{"iss":"https://idp.example","sub":"s","aud":["dsf-fhir","other"]}"#, "x")),
    ];
    for (what, token) in refused {
        assert_eq!(with_token(&browser(), &token).await.status, 400, "{what}");
    }
    // Beside a certificate.
    assert_eq!(with_token(&remote(), &bearer(GOOD_HEADER, "dsf-fhir", YEAR_2100)).await.status, 400);
}

#[tokio::test]
#[ignore = "needs OpenID Connect: there is no route for logouts yet"]
async fn edge_t74_attack_a26_logouts_need_a_fresh_token_of_the_provider() {
    let post = async |body: String| {
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        browser().send("POST", "/back-channel-logout", &fields, body).await.status
    };
    assert_eq!(post(String::new()).await, 403);
    let old = bearer(r#"{"alg":"ES256","kid":"1","typ":"logout+jwt"}"#, "dsf-fhir", YEAR_2100);
    assert_eq!(post(format!("logout_token={old}")).await, 400);
    assert_eq!(post(format!("logout_token={}", "a".repeat(65 << 10))).await, 413);
}
