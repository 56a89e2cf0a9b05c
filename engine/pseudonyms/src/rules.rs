//! What a project may see: lists of what stays. What is on no list goes.

/// The lists of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Resource types.
    pub resource_types: Vec<String>,
    /// Beginnings of URLs of code systems and profiles. Codes of other systems, which a hospital makes for itself, may say
    /// anything.
    pub namespaces: Vec<String>,
    /// URLs of extensions.
    pub extensions: Vec<String>,
    /// Units that are kept where a quantity has no code.
    pub units: Vec<String>,
}

/// Clinical resources. Persons other than the patient, organisations and documents are not among them.
const RESOURCE_TYPES: [&str; 20] = [
    "AdverseEvent",
    "AllergyIntolerance",
    "BodyStructure",
    "CarePlan",
    "ClinicalImpression",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "FamilyMemberHistory",
    "ImagingStudy",
    "Immunization",
    "Medication",
    "MedicationAdministration",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Patient",
    "Procedure",
    "ServiceRequest",
    "Specimen",
];

/// Terminologies and profiles that are published.
const NAMESPACES: [&str; 16] = [
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://unitsofmeasure.org",
    "http://terminology.hl7.org/",
    "http://hl7.org/fhir/",
    "http://fhir.de/CodeSystem/",
    "http://fhir.de/StructureDefinition/",
    "https://www.medizininformatik-initiative.de/fhir/",
    "https://gematik.de/fhir/",
    "http://www.whocc.no/atc",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://www.orpha.net",
    "http://www.genenames.org",
    "http://human-phenotype-ontology.org",
    "urn:oid:1.2.276.0.76.5.",
    "urn:oid:2.16.840.1.113883.6.",
];

const EXTENSIONS: [&str; 1] = [DATA_ABSENT_REASON];

const UNITS: [&str; 40] = [
    "%", "/min", "1/min", "/nL", "/pL", "Cel", "°C", "IU/L", "U/L", "L", "L/min", "cm", "d", "dL", "fL", "g", "g/L",
    "g/dL", "h", "kg", "kg/m2", "kPa", "m", "m2", "mL", "mL/min", "mg", "mg/L", "mg/dL", "min", "mm", "mm[Hg]", "mmHg",
    "mmol/L", "ng/mL", "pg", "s", "ug/L", "umol/L", "years",
];

/// Says why an element that must be there has no value.
pub const DATA_ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// What stays of a Patient. `active` and `deceased` change the meaning of the rest.
pub(crate) const PATIENT: [&str; 8] =
    ["resourceType", "id", "meta", "active", "gender", "birthDate", "deceasedBoolean", "deceasedDateTime"];

// === impl Rules ===

impl Default for Rules {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            resource_types: texts(&RESOURCE_TYPES),
            namespaces: texts(&NAMESPACES),
            extensions: texts(&EXTENSIONS),
            units: texts(&UNITS),
        }
    }
}

impl Rules {
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.resource_types.iter().any(|known| known == name)
    }

    pub(crate) fn has_extension(&self, url: &str) -> bool {
        self.extensions.iter().any(|known| known == url)
    }

    pub(crate) fn has_unit(&self, unit: &str) -> bool {
        self.units.iter().any(|known| known == unit)
    }

    /// Whether a URL begins with one of the namespaces and goes on like a URL, not like a sentence.
    pub(crate) fn has_namespace(&self, url: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/|".contains(&byte);
        url.len() <= crate::limits::URL_CHARACTERS
            && url.bytes().all(is_plain)
            && self.namespaces.iter().any(|start| url.starts_with(start.as_str()))
    }
}
