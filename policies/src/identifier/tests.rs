use super::*;

#[test]
fn thumbprint_has_exactly_128_lower_case_digits() {
    assert!("a".repeat(128).parse::<Thumbprint>().is_ok());
    for wrong in ["", &"a".repeat(127), &"a".repeat(129), &"A".repeat(128), &"g".repeat(128), &"ä".repeat(64)] {
        assert_eq!(wrong.parse::<Thumbprint>(), Err(InvalidIdentifier::Thumbprint), "{wrong}");
    }
}

#[test]
fn resource_id_refuses_what_could_be_a_path() {
    assert!("0a-B.9".parse::<ResourceId>().is_ok());
    for wrong in ["", ".", "..", "a..b", "a/b", "a_b", "a%62", " a", &"a".repeat(65)] {
        assert!(wrong.parse::<ResourceId>().is_err(), "{wrong}");
    }
}

#[test]
fn version_has_one_spelling() {
    assert_eq!("12".parse::<VersionId>().unwrap().get(), 12);
    for wrong in ["", "01", "+1", "-1", "1 ", "1.0", "18446744073709551616"] {
        assert!(wrong.parse::<VersionId>().is_err(), "{wrong}");
    }
}

#[test]
fn role_has_exactly_one_separator() {
    let role: Role = "http://x|DIC".parse().unwrap();
    assert_eq!((role.system(), role.code()), ("http://x", "DIC"));
    for wrong in ["DIC", "a|b|c", "|DIC", "http://x|", "a | b"] {
        assert!(wrong.parse::<Role>().is_err(), "{wrong}");
    }
}

#[test]
fn deserialised_identifiers_are_parsed_again() {
    assert!(serde_json::from_str::<Thumbprint>("\"abc\"").is_err());
    assert!(serde_json::from_str::<OrganizationIdentifier>("\" dic.example\"").is_err());
    let text = serde_json::to_string(&"dic.example".parse::<OrganizationIdentifier>().unwrap()).unwrap();
    assert_eq!(text, "\"dic.example\"");
}
