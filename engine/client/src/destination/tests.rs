use super::*;
use crate::Method;

fn policy(mode: OutboundMode) -> OutboundPolicy {
    OutboundPolicy {
        mode,
        endpoints: Arc::new(|url| url == "https://dsf.partner.example/fhir"),
        extra: vec![
            "http://fhir.intern:8080/fhir".to_owned(),
            "https://store.example/a/*".to_owned(),
            "https://open.example*".to_owned(),
        ],
        deny_private_addresses: true,
        private_hosts: vec!["LOCALHOST".to_owned(), "10.1.2.3".to_owned(), "[fd00::1]".to_owned()],
        partner_methods: vec![Method::Get, Method::Post],
    }
}

fn denial(mode: OutboundMode, url: &str) -> Option<Denial> {
    Destinations::new(policy(mode)).unwrap().permit(url, Method::Get).err()
}

#[test]
fn only_the_exact_address_of_an_active_endpoint_is_a_destination() {
    let partner = "https://dsf.partner.example/fhir";
    assert_eq!(denial(OutboundMode::AllowListEndpoints, partner), None);
    assert_eq!(denial(OutboundMode::List, partner), Some(Denial::NotListed));
    assert_eq!(denial(OutboundMode::Any, "https://anything.example/x"), None);
    for other in [
        "https://dsf.partner.example/fhir/x",
        "https://dsf.partner.example/fhi",
        "https://dsf.partner.example/FHIR",
        "https://dsf.partner.example:8443/fhir",
        "https://dsf.partner.example.evil.example/fhir",
        "https://dsf.partner.example",
    ] {
        assert_eq!(denial(OutboundMode::AllowListEndpoints, other), Some(Denial::NotListed), "{other}");
    }
}

#[test]
fn extra_entries_compare_the_host_whole() {
    for permitted in [
        "http://fhir.intern:8080/fhir",
        "http://fhir.intern:8080/fhir/",
        "https://store.example/a/b",
        "https://open.example/any",
        "https://open.example:443",
    ] {
        assert_eq!(denial(OutboundMode::List, permitted), None, "{permitted}");
    }
    for refused in [
        "https://store.example/ab",
        "https://open.example.evil.example/",
        "https://store.example:444/a/b",
        "https://fhir.intern:8080/fhir",
    ] {
        assert_eq!(denial(OutboundMode::List, refused), Some(Denial::NotListed), "{refused}");
    }
}

#[test]
fn urls_that_two_readers_could_understand_differently_are_refused() {
    for url in [
        "http://anything.example/fhir",
        "ftp://a.example/",
        "https://user@a.example/",
        "https://@a.example/",
        "https://a.example/fhir?x=1",
        "https://a.example/fhir#x",
        "https://a.example/a/../b",
        "https://a.example/%2E%2e/b",
        "https://a.example\\@b.example/",
        "https://a.example/ b",
        "https://a.example/\r\nHost: b",
        "https:///fhir",
        "https:a.example/fhir",
        "fhir",
        "",
    ] {
        assert!(matches!(denial(OutboundMode::Any, url), Some(Denial::InvalidUrl { .. })), "{url:?}");
    }
    let long = format!("https://a.example/{}", "x".repeat(limits::URL_BYTES));
    assert!(matches!(denial(OutboundMode::Any, &long), Some(Denial::InvalidUrl { .. })));
}

#[test]
fn other_methods_are_refused_for_partners_and_not_for_own_servers() {
    let destinations = Destinations::new(policy(OutboundMode::AllowListEndpoints)).unwrap();
    let refused = destinations.permit("https://dsf.partner.example/fhir", Method::Delete).err();
    assert_eq!(refused, Some(Denial::Method { method: "DELETE".to_owned() }));
    assert!(destinations.permit("http://fhir.intern:8080/fhir", Method::Delete).is_ok());
}

#[test]
fn a_path_stays_below_its_base() {
    let destinations = Destinations::new(policy(OutboundMode::Any)).unwrap();
    let destination = destinations.permit("https://a.example:8443/fhir/", Method::Get).unwrap();
    let cases = [
        ("Task/1", Some("https://a.example:8443/fhir/Task/1")),
        ("", Some("https://a.example:8443/fhir")),
        ("?_format=json", Some("https://a.example:8443/fhir?_format=json")),
        ("Task?identifier=a%7Cb", Some("https://a.example:8443/fhir/Task?identifier=a%7Cb")),
        ("Task/../Task/1", Some("https://a.example:8443/fhir/Task/1")),
        ("../admin", None),
        ("%2e%2e/admin", None),
        ("Task/../../admin", None),
        ("..\\admin", None),
        ("Task 1", None),
        ("Task\r\nX: y", None),
        ("Task#x", None),
    ];
    for (path, expected) in cases {
        assert_eq!(destination.join(path).ok().as_ref().map(Url::as_str), expected, "{path:?}");
    }
}

#[test]
fn private_addresses_pass_only_by_name_or_address() {
    let destinations = Destinations::new(policy(OutboundMode::Any)).unwrap();
    let permits = |host: &str, address: &str| destinations.permits_address(host, address.parse().unwrap());
    assert!(permits("partner.example", "8.8.8.8"));
    assert!(!permits("partner.example", "10.0.0.1"));
    assert!(!permits("partner.example", "::ffff:10.0.0.1"));
    assert!(permits("localhost", "127.0.0.1") && permits("LocalHost", "::1"));
    assert!(
        permits("x.example", "10.1.2.3") && permits("x.example", "::ffff:10.1.2.3") && permits("x.example", "fd00::1")
    );
    let open =
        Destinations::new(OutboundPolicy { deny_private_addresses: false, ..policy(OutboundMode::Any) }).unwrap();
    assert!(open.permits_address("partner.example", "10.0.0.1".parse().unwrap()));
}

#[test]
fn a_wrong_entry_is_named() {
    for entry in ["store.example", "https://user:secret@store.example/", "https://a.example/*/b?x"] {
        let extra = vec![entry.to_owned()];
        let error = Destinations::new(OutboundPolicy { extra, ..policy(OutboundMode::List) }).err().unwrap();
        assert!(matches!(error, SettingsError::Destination { .. }), "{entry}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_leaves_its_base(path in "[a-zA-Z0-9./%\\\\?@:#&=-]{0,40}") {
        let destinations = Destinations::new(policy(OutboundMode::Any)).unwrap();
        let destination = destinations.permit("https://a.example/fhir", Method::Get).unwrap();
        if let Ok(url) = destination.join(&path) {
            proptest::prop_assert_eq!(url.host_str(), Some("a.example"));
            proptest::prop_assert!(url.path() == "/fhir" || url.path().starts_with("/fhir/"), "{}", url);
        }
    }
}
