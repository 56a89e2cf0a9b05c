use super::*;

fn proxy(exceptions: &[&str]) -> Proxy {
    let exceptions = exceptions.iter().map(|entry| (*entry).to_owned()).collect();
    Proxy::new(&ProxySettings { url: "http://proxy.example:3128".to_owned(), exceptions, ..ProxySettings::default() })
        .unwrap()
}

#[test]
fn exceptions_are_the_host_and_one_level_below_it() {
    let proxy =
        proxy(&["partner.example", "*.wild.example", "ported.example:8443", "10.0.0.1", "[fd00::1]:443", "fd00::2"]);
    let cases = [
        ("partner.example", 443, false),
        ("PARTNER.example", 443, false),
        ("dsf.partner.example", 443, false),
        ("a.dsf.partner.example", 443, true),
        ("otherpartner.example", 443, true),
        ("x.wild.example", 443, false),
        ("ported.example", 8443, false),
        ("ported.example", 443, true),
        ("10.0.0.1", 443, false),
        ("fd00::1", 443, false),
        ("fd00::1", 444, true),
        ("fd00::2", 1, false),
        ("elsewhere.example", 443, true),
    ];
    for (host, port, expected) in cases {
        assert_eq!(proxy.serves(host, port), expected, "{host}:{port}");
    }
}

#[test]
fn wrong_settings_are_named_without_the_password() {
    let of = |url: &str| Proxy::new(&ProxySettings { url: url.to_owned(), ..ProxySettings::default() }).err().unwrap();
    for url in ["proxy:3128", "https://proxy:3128", "socks5://proxy", "http://", "http://user:secret@proxy:3128"] {
        let error = of(url);
        assert!(matches!(error, SettingsError::ProxyUrl { .. }), "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let with = |text: &str| {
        let path = folder.path().join("password");
        std::fs::write(&path, text).unwrap();
        let settings = ProxySettings {
            url: "http://p:1".to_owned(),
            username: Some("u".to_owned()),
            password_file: Some(path),
            ..ProxySettings::default()
        };
        Proxy::new(&settings)
    };
    assert_eq!(with("secret\r\n").unwrap().authorization.as_deref(), Some("Basic dTpzZWNyZXQ="));
    for text in ["", "\n", "two\nlines"] {
        assert!(matches!(with(text), Err(SettingsError::ProxyPassword { .. })), "{text:?}");
    }
}

#[test]
fn only_http_answers_are_understood() {
    assert_eq!(read_status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
    assert_eq!(read_status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
    for answer in [&b"SSH-2.0-OpenSSH\r\n"[..], b"HTTP/1.1 abc\r\n", b"HTTP/1.1 99\r\n", b"\xff\xfe\r\n", b""] {
        assert_eq!(read_status(answer), None);
    }
}
