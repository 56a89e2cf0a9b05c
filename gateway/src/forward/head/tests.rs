use super::*;
use proptest::prelude::*;

fn build(client: &[(String, String)], content: Content<'_>) -> EngineHead {
    let request = policies::canonicalize("GET", "/fhir/Task?status=requested&a=%2Fx", "/fhir").unwrap();
    let mut fields = HeaderMap::new();
    for (name, value) in client {
        fields.append(HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::try_from(value.as_str()).unwrap());
    }
    let authority = HeaderValue::from_static("localhost:8443");
    let correlation = HeaderValue::from_static("id");
    EngineHead::build(&request, "/fhir", &authority, &fields, content, "permit".to_owned(), &correlation).unwrap()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn spoofed_fields_have_no_way_in() {
    let spoofed = [
        "x-clientcert",
        "X-ClientCert",
        "x_clientcert",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "proxy",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-proxied-https",
        "cookie",
        "authorization",
        "te",
        "trailer",
        "connection",
        "keep-alive",
        "user-agent",
        "x-security-context",
        "x-schleuse-permit",
        "x-correlation-id",
        "host",
        "content-length",
        "transfer-encoding",
        "expect",
    ];
    let client: Vec<_> = spoofed.iter().map(|name| ((*name).to_owned(), "evil".to_owned())).collect();
    let head = build(&client, Content::None);
    assert!(head.fields.values().all(|value| value != "evil"), "{:?}", head.fields);
    assert_eq!(head.fields.get(PERMIT_HEADER).unwrap(), "permit");
    assert_eq!(head.fields.get_all(PERMIT_HEADER).iter().count(), 1);
}

#[test]
fn listed_fields_pass_with_every_value() {
    let head = build(
        &pairs(&[("accept", "a"), ("accept", "b"), ("prefer", "return=minimal"), ("range", "bytes=0-1")]),
        Content::None,
    );
    assert_eq!(head.fields.get_all("accept").iter().count(), 2);
    assert_eq!(head.fields.get("prefer").unwrap(), "return=minimal");
    assert_eq!(head.fields.get("range").unwrap(), "bytes=0-1");
}

#[test]
fn upgrade_is_written_only_for_a_websocket() {
    let client = pairs(&[("sec-websocket-key", "k"), ("connection", "close, x-clientcert"), ("upgrade", "h2c")]);
    assert!(build(&client, Content::None).fields.get("upgrade").is_none());
    let head = build(&client, Content::Upgrade);
    assert_eq!(head.fields.get("upgrade").unwrap(), "websocket");
    assert_eq!(head.fields.get_all("connection").iter().count(), 1);
}

proptest! {
    #[test]
    fn target_is_what_was_judged_and_unknown_fields_never_pass(name in "[a-z][a-z-]{0,20}", value in "[!-~]{1,20}") {
        let head = build(&[(name.clone(), value)], Content::None);
        prop_assert_eq!(policies::canonicalize(head.method, &head.target, "/fhir").unwrap().target("/fhir"), head.target.clone());
        let ours = ["host", PERMIT_HEADER, link::CORRELATION_HEADER];
        let listed = |known: &HeaderName| PASSED.contains(known) || ours.contains(&known.as_str());
        prop_assert!(head.fields.keys().all(listed));
    }
}
