use super::harness::{Node, answer, proxy, serve};
use crate::{Client, ClientError, Denial, ProxyProblem, ProxySettings, Retry};

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n";

async fn through(node: &Node, settings: ProxySettings, base_url: &str) -> Result<(), ClientError> {
    let mut own = node.settings();
    own.proxy = Some(settings);
    own.connect_timeout = std::time::Duration::from_secs(2);
    Client::new(own).unwrap().read(base_url, "Task", "1", "c").await.map(|_| ())
}

fn problem(result: Result<(), ClientError>) -> (ProxyProblem, Retry) {
    let error = result.unwrap_err();
    assert!(!error.remedy().is_empty());
    let retry = error.retry();
    let ClientError::Proxy { problem, .. } = error else { panic!("{error}") };
    (problem, retry)
}

#[tokio::test]
async fn a_call_goes_through_the_proxy_with_credentials_and_names_the_target() {
    let server = serve(|_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let (address, asked) = proxy(ESTABLISHED, Some(server.address)).await;
    let node = Node::new();
    let password_file = node.write("proxy.password", "geheim\n");
    let settings = ProxySettings {
        url: format!("http://{address}"),
        username: Some("schleuse".to_owned()),
        password_file: Some(password_file),
        ..ProxySettings::default()
    };
    through(&node, settings, &server.base_url()).await.unwrap();
    let port = server.address.port();
    let expected = format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\nProxy-Authorization: Basic c2NobGV1c2U6Z2VoZWlt\r\n\r\n"
    );
    assert_eq!(asked.lock().unwrap().as_slice(), [expected]);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn an_exception_is_called_directly() {
    let server = serve(|_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let (address, asked) = proxy("HTTP/1.1 500 no\r\n\r\n", None).await;
    let settings = ProxySettings {
        url: format!("http://{address}"),
        exceptions: vec!["localhost".to_owned()],
        ..ProxySettings::default()
    };
    through(&Node::new(), settings, &server.base_url()).await.unwrap();
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_proxy_resolves_names_that_this_machine_does_not_know() {
    let server = serve(|_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let (address, asked) = proxy(ESTABLISHED, Some(server.address)).await;
    let settings = ProxySettings { url: format!("http://{address}"), ..ProxySettings::default() };
    let error = through(&Node::new(), settings, "https://partner.invalid/fhir").await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Tls { failure, .. } if failure.code() == "wrong-name"),
        "the tunnel leads to another server: {error}"
    );
    assert!(asked.lock().unwrap()[0].starts_with("CONNECT partner.invalid:443 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn every_failure_of_the_proxy_is_told_from_one_of_the_partner() {
    let node = Node::new();
    let password_file = node.write("proxy.password", "x");
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false, ProxyProblem::CredentialsMissing, false),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", true, ProxyProblem::WrongCredentials, false),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            false,
            ProxyProblem::Status { status: 403, target: "partner.invalid:443".to_owned() },
            false,
        ),
        (
            "HTTP/1.1 503 No\r\n\r\n",
            false,
            ProxyProblem::Status { status: 503, target: "partner.invalid:443".to_owned() },
            true,
        ),
        ("SSH-2.0-OpenSSH_9\r\n\r\n", false, ProxyProblem::InvalidAnswer, false),
        ("HTTP/1.1 200 OK\r\n\r\nsmuggled", false, ProxyProblem::InvalidAnswer, false),
    ];
    for (text, with_credentials, expected, is_repeatable) in cases {
        let (address, _) = proxy(text, None).await;
        let credentials = with_credentials.then(|| ("u".to_owned(), password_file.clone()));
        let (username, password_file) = credentials.unzip();
        let settings =
            ProxySettings { url: format!("http://{address}"), username, password_file, ..ProxySettings::default() };
        let (problem, retry) = problem(through(&node, settings, "https://partner.invalid/fhir").await);
        assert_eq!(problem, expected, "{text}");
        assert_eq!(matches!(retry, Retry::After(_)), is_repeatable, "{text}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = ProxySettings { url: format!("http://{closed}"), ..ProxySettings::default() };
    let (problem, retry) = problem(through(&node, settings, "https://partner.invalid/fhir").await);
    assert!(matches!((problem, retry), (ProxyProblem::Refused { .. }, Retry::After(_))));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings =
        ProxySettings { url: format!("http://{}", silent.local_addr().unwrap()), ..ProxySettings::default() };
    let error = through(&node, settings, "https://partner.invalid/fhir").await.unwrap_err();
    assert!(matches!(error, ClientError::Proxy { problem: ProxyProblem::Timeout { .. }, .. }), "{error}");
}

#[tokio::test]
async fn a_private_address_is_not_reached_through_the_proxy_either() {
    let (address, asked) = proxy(ESTABLISHED, None).await;
    let settings = ProxySettings { url: format!("http://{address}"), ..ProxySettings::default() };
    let error = through(&Node::new(), settings, "https://10.0.0.1/fhir").await.unwrap_err();
    assert!(matches!(error, ClientError::NotAllowed { denial: Denial::PrivateAddress { .. }, .. }), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}
