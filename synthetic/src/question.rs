//! Questions whose answers follow from the facts.

use time::Date;

use crate::identity::Sex;
use crate::patient::Patient;

/// A question.
pub struct Question {
    /// Short name.
    pub name: &'static str,
    /// In words.
    pub text: &'static str,
    /// As a cohort definition (CCDL).
    pub definition: &'static str,
    /// Whether a patient belongs to the answer on a day.
    pub holds: fn(&Patient, Date) -> bool,
}

/// The questions of the demonstration.
#[must_use]
pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "diabetes",
            text: "women and men of 50 or older with diabetes mellitus type 2 and an HbA1c of 6.5 % or more, no lung cancer",
            definition: DIABETES,
            holds: |patient, today| {
                patient.age(today) >= 50
                    && patient.diagnoses.iter().any(|diagnosis| diagnosis.code.starts_with("E11"))
                    && patient.laboratory.iter().any(|result| result.code == "4548-4" && result.tenths >= 65)
                    && !patient.diagnoses.iter().any(|diagnosis| diagnosis.code.starts_with("C34"))
            },
        },
        Question {
            name: "pressure",
            text: "women with a systolic pressure of 140 mm Hg or more who take ramipril",
            definition: PRESSURE,
            holds: |patient, _| {
                patient.identity.sex == Sex::Female
                    && patient.pressure.is_some_and(|(_, systolic, _)| systolic >= 140)
                    && patient.substances().any(|code| code == "C09AA05")
            },
        },
        Question {
            name: "rare",
            text: "men with a carcinoma of the breast",
            definition: RARE,
            holds: |patient, _| {
                patient.identity.sex == Sex::Male
                    && patient.diagnoses.iter().any(|diagnosis| diagnosis.code.starts_with("C50"))
            },
        },
    ]
}

const DIABETES: &str = r#"{"version":"2","display":"diabetes","inclusionCriteria":[
[{"context":{"system":"fdpg.mii.cds","code":"Patient","display":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"424144002","display":"age"}],"valueFilter":{"type":"quantity-comparator","comparator":"ge","value":50,"unit":{"code":"a","display":"a"}}}],
[{"context":{"system":"fdpg.mii.cds","code":"Diagnose","display":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"E11","display":"E11"}]}],
[{"context":{"system":"fdpg.mii.cds","code":"Laboruntersuchung","display":"Laboruntersuchung"},"termCodes":[{"system":"http://loinc.org","code":"4548-4","display":"HbA1c"}],"valueFilter":{"type":"quantity-comparator","comparator":"ge","value":6.5,"unit":{"code":"%","display":"%"}}}]],
"exclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Diagnose","display":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"C34","display":"C34"}]}]]}"#;

const PRESSURE: &str = r#"{"version":"2","display":"pressure","inclusionCriteria":[
[{"context":{"system":"fdpg.mii.cds","code":"Patient","display":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"263495000","display":"sex"}],"valueFilter":{"type":"concept","selectedConcepts":[{"system":"http://hl7.org/fhir/administrative-gender","code":"female","display":"female"}]}}],
[{"context":{"system":"fdpg.mii.cds","code":"Laboruntersuchung","display":"Laboruntersuchung"},"termCodes":[{"system":"http://loinc.org","code":"85354-9","display":"blood pressure"}],"attributeFilters":[{"type":"quantity-comparator","attributeCode":{"system":"http://loinc.org","code":"8480-6","display":"systolic"},"comparator":"ge","value":140,"unit":{"code":"mm[Hg]","display":"mm[Hg]"}}]}],
[{"context":{"system":"fdpg.mii.cds","code":"Medikationsaussage","display":"Medikationsaussage"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/atc","code":"C09AA05","display":"ramipril"}]}]]}"#;

const RARE: &str = r#"{"version":"2","display":"rare","inclusionCriteria":[
[{"context":{"system":"fdpg.mii.cds","code":"Patient","display":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"263495000","display":"sex"}],"valueFilter":{"type":"concept","selectedConcepts":[{"system":"http://hl7.org/fhir/administrative-gender","code":"male","display":"male"}]}}],
[{"context":{"system":"fdpg.mii.cds","code":"Diagnose","display":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"C50","display":"C50"}]}]]}"#;
