use super::{Internal, conditional, internal, make_urls_absolute};
use fhir::{Object, Resource, ResourceType, Value};

const BASE: &str = "https://dic.example/fhir";

#[test]
fn only_paths_into_this_server_are_internal() {
    let patient = |version| Some(Internal { resource_type: ResourceType::Patient, id: "a".to_owned(), version });
    let table = [
        ("Patient/a", patient(None)),
        ("Patient/a/_history/2", patient(Some(2))),
        ("https://dic.example/fhir/Patient/a", patient(None)),
        ("https://dic.example/fhirPatient/a", None),
        ("https://other.example/fhir/Patient/a", None),
        ("Patient", None),
        ("Patient/", None),
        ("Patient/a/_history/x", None),
        ("Patient/a/b", None),
        ("Unknown/a", None),
        ("urn:uuid:a", None),
        ("#contained", None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(internal(text, BASE), expected, "{text}");
    }
    assert_eq!(conditional("Patient?identifier=a"), Some((ResourceType::Patient, "identifier=a")));
    assert_eq!(conditional("Patient/a"), None);
}

#[test]
fn fhir_072_urls_of_related_artifacts_into_this_server_become_absolute() {
    let mut study = Resource::new("ResearchStudy");
    let artifact = |url: &str| Value::Object(Object::new().with("type", "citation").with("url", url));
    study.set("relatedArtifact", vec![artifact("Binary/a"), artifact("https://foo.bar")]);
    study.set("url", "Binary/not-a-place");
    let study = make_urls_absolute(study, BASE);
    let urls: Vec<_> = study.list("relatedArtifact").iter().filter_map(|artifact| artifact.str("url")).collect();
    assert_eq!(urls, ["https://dic.example/fhir/Binary/a", "https://foo.bar"]);
    assert_eq!(study.str("url"), Some("Binary/not-a-place"));
}
