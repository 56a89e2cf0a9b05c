//! The published MII test data, where it is at hand: the figures of the specification.

use std::collections::BTreeMap;
use std::path::Path;

use fhir::{Format, Limits, Resource};

use super::TODAY;
use crate::consent::Statistics;
use crate::{ConsentPolicy, Excluded};

#[test]
fn nine_of_ten_persons_of_the_published_test_data_pass_the_gate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/mii-testdata");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut consents: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
    for file in files {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_wanted = (name.starts_with("Consent-") || name.starts_with("Patient-")) && name.ends_with(".json");
        if !is_wanted {
            continue;
        }
        let resource = fhir::parse(Format::Json, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
        let patient = match resource.type_name() {
            "Patient" => format!("Patient/{}", resource.id().unwrap()),
            _ => resource.get("patient").and_then(|patient| patient.str("reference")).unwrap().to_owned(),
        };
        let of_patient = consents.entry(patient).or_default();
        if resource.type_name() == "Consent" {
            of_patient.push(resource);
        }
    }
    let mut statistics = Statistics::default();
    let mut ended = Vec::new();
    for (patient, consents) in &consents {
        let consents: Vec<&Resource> = consents.iter().collect();
        let judgement = ConsentPolicy::default().judge(&consents, TODAY);
        if judgement == Err(Excluded::NotToday) {
            ended.push(patient.as_str());
        }
        statistics.count(&judgement);
    }
    assert_eq!(consents.len(), 31);
    assert_eq!(statistics.permitted, 9);
    assert_eq!(ended, ["Patient/mii-exa-test-data-patient-8"]);
    let expected = BTreeMap::from([(Excluded::Missing, 21), (Excluded::NotToday, 1)]);
    assert_eq!(statistics.excluded, expected);
}
