//! The records of a site as NDJSON.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use time::Date;

use crate::identity::Sex;
use crate::patient::{Consent, Patient};
use crate::{Network, tables};

/// Patients of one file.
const PATIENTS_PER_FILE: u32 = 5_000;

/// Policies of the MII's consent that permit or deny research with the data, by the last part of their OID.
const POLICIES: &[&str] = &["6", "7", "8"];
/// Of these, what concerns identifying data.
const IDENTITY_POLICIES: &[&str] = &["2", "3"];
const POLICY_ROOT: &str = "2.16.840.1.113883.3.1937.777.24.5.3";

/// Writes the records of a site into a folder; gives the bytes.
pub fn write_site(network: &Network, site: u32, folder: &Path) -> std::io::Result<u64> {
    std::fs::create_dir_all(folder)?;
    let mut bytes = 0;
    let mut text = medications();
    let mut out = BufWriter::new(File::create(folder.join("medications.ndjson"))?);
    out.write_all(text.as_bytes())?;
    out.flush()?;
    bytes += text.len() as u64;
    for (place, patient) in (0..).zip(network.patients_of(site)) {
        if place % PATIENTS_PER_FILE == 0 {
            out.flush()?;
            let name = format!("patients-{:04}.ndjson", place / PATIENTS_PER_FILE + 1);
            out = BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?);
        }
        text.clear();
        write_patient(&mut text, &patient);
        out.write_all(text.as_bytes())?;
        bytes += text.len() as u64;
    }
    out.flush()?;
    Ok(bytes)
}

fn medications() -> String {
    let mut out = String::new();
    for (code, text, _) in tables::MEDICATION {
        let _ = writeln!(
            out,
            r#"{{"resourceType":"Medication","id":"med-{code}","meta":{{"profile":["https://www.medizininformatik-initiative.de/fhir/core/modul-medikation/StructureDefinition/Medication"]}},"code":{{"coding":[{{"system":"http://fhir.de/CodeSystem/bfarm/atc","code":"{code}","display":"{text}"}}]}},"status":"active"}}"#
        );
    }
    out
}

/// All resources of a patient, one a line. No text in the tables needs an escape.
pub(crate) fn write_patient(out: &mut String, patient: &Patient) {
    write_person(out, patient);
    write_consent(out, patient);
    let id = &patient.id;
    for (number, diagnosis) in patient.diagnoses.iter().enumerate() {
        let _ = writeln!(
            out,
            r#"{{"resourceType":"Condition","id":"{id}-c{number}","meta":{{"profile":["https://www.medizininformatik-initiative.de/fhir/core/modul-diagnose/StructureDefinition/Diagnose"]}},"text":{{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">{}</div>"}},"clinicalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}}]}},"code":{{"coding":[{{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","version":"2026","code":"{}","display":"{}"}}]}},"subject":{{"reference":"Patient/{id}"}},"encounter":{{"reference":"Encounter/{id}-e0"}},"onsetDateTime":"{}","recordedDate":"{}"}}"#,
            diagnosis.text, diagnosis.code, diagnosis.text, diagnosis.on, diagnosis.on
        );
    }
    for (number, result) in patient.laboratory.iter().enumerate() {
        let (whole, tenth) = (result.tenths / 10, result.tenths % 10);
        let _ = writeln!(
            out,
            r#"{{"resourceType":"Observation","id":"{id}-o{number}","meta":{{"profile":["https://www.medizininformatik-initiative.de/fhir/core/modul-labor/StructureDefinition/ObservationLab"]}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{}","display":"{}"}}]}},"subject":{{"reference":"Patient/{id}"}},"effectiveDateTime":"{}T08:30:00+01:00","valueQuantity":{{"value":{whole}.{tenth},"unit":"{}","system":"http://unitsofmeasure.org","code":"{}"}}}}"#,
            result.code, result.text, result.on, result.unit, result.unit
        );
    }
    if let Some((on, systolic, diastolic)) = patient.pressure {
        let component = |code: &str, value: u32| {
            format!(
                r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"valueQuantity":{{"value":{value},"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}}}"#
            )
        };
        let _ = writeln!(
            out,
            r#"{{"resourceType":"Observation","id":"{id}-bp","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel"}}]}},"subject":{{"reference":"Patient/{id}"}},"effectiveDateTime":"{on}","component":[{},{}]}}"#,
            component("8480-6", systolic),
            component("8462-4", diastolic)
        );
    }
    write_encounter(out, patient);
    for (number, (index, on)) in patient.medication.iter().enumerate() {
        let code = tables::MEDICATION.get(*index).map_or("", |(code, ..)| *code);
        let _ = writeln!(
            out,
            r#"{{"resourceType":"MedicationStatement","id":"{id}-m{number}","status":"active","medicationReference":{{"reference":"Medication/med-{code}"}},"subject":{{"reference":"Patient/{id}"}},"effectivePeriod":{{"start":"{on}"}}}}"#
        );
    }
    for (number, (index, on)) in patient.procedures.iter().enumerate() {
        let (code, text) = tables::PROCEDURES.get(*index).map_or(("", ""), |(code, text, _)| (*code, *text));
        let _ = writeln!(
            out,
            r#"{{"resourceType":"Procedure","id":"{id}-p{number}","status":"completed","code":{{"coding":[{{"system":"http://fhir.de/CodeSystem/bfarm/ops","version":"2026","code":"{code}","display":"{text}"}}]}},"subject":{{"reference":"Patient/{id}"}},"performedDateTime":"{on}"}}"#
        );
    }
}

fn write_person(out: &mut String, patient: &Patient) {
    let (id, person) = (&patient.id, &patient.identity);
    let insurance = person.insurance.as_ref().map_or_else(String::new, |number| {
        format!(
            r#",{{"use":"official","type":{{"coding":[{{"system":"http://fhir.de/CodeSystem/identifier-type-de-basis","code":"KVZ10"}}]}},"system":"http://fhir.de/sid/gkv/kvid-10","value":"{number}"}}"#
        )
    });
    let sex = match person.sex {
        Sex::Female => "female",
        Sex::Male => "male",
        Sex::Other => "other",
    };
    let _ = writeln!(
        out,
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"profile":["https://www.medizininformatik-initiative.de/fhir/core/modul-person/StructureDefinition/Patient"]}},"identifier":[{{"use":"usual","system":"https://site-{site}.example/sid/patient","value":"{id}"}}{insurance}],"name":[{{"use":"official","family":"{family}","given":["{given}"]}}],"gender":"{sex}","birthDate":"{birth}","address":[{{"type":"both","line":["{street}"],"city":"{city}","postalCode":"{postcode}","country":"DE"}}]}}"#,
        site = patient.site + 1,
        family = person.family,
        given = person.given,
        birth = person.birth,
        street = person.street,
        city = person.city,
        postcode = person.postcode,
    );
}

fn write_encounter(out: &mut String, patient: &Patient) {
    let days = patient.diagnoses.iter().map(|diagnosis| diagnosis.on);
    let Some(on) = days.chain(patient.laboratory.iter().map(|result| result.on)).min() else { return };
    let id = &patient.id;
    let _ = writeln!(
        out,
        r#"{{"resourceType":"Encounter","id":"{id}-e0","status":"finished","class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP"}},"subject":{{"reference":"Patient/{id}"}},"period":{{"start":"{on}","end":"{on}"}}}}"#
    );
}

fn write_consent(out: &mut String, patient: &Patient) {
    let (status, kind, start, end) = match patient.consent {
        Consent::None => return,
        Consent::Permitted { from, .. } => ("active", "permit", from, years_after(from, 30)),
        Consent::Expired { from, until } => ("active", "permit", from, until),
        Consent::Withdrawn { on } => ("active", "deny", on, years_after(on, 30)),
    };
    let retrospective = matches!(patient.consent, Consent::Permitted { retrospective: true, .. });
    let more: &[&str] = if retrospective { &["45", "46"] } else { &[] };
    let codes = POLICIES.iter().chain(IDENTITY_POLICIES).chain(more);
    let provisions: Vec<String> = codes
        .map(|code| {
            format!(
                r#"{{"type":"{kind}","period":{{"start":"{start}","end":"{end}"}},"code":[{{"coding":[{{"system":"urn:oid:{POLICY_ROOT}","code":"{POLICY_ROOT}.{code}"}}]}}]}}"#
            )
        })
        .collect();
    let id = &patient.id;
    let _ = writeln!(
        out,
        r#"{{"resourceType":"Consent","id":"{id}-consent","meta":{{"profile":["https://www.medizininformatik-initiative.de/fhir/modul-consent/StructureDefinition/mii-pr-consent-einwilligung"]}},"status":"{status}","scope":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"research"}}]}},"category":[{{"coding":[{{"system":"http://loinc.org","code":"57016-8"}}]}}],"patient":{{"reference":"Patient/{id}"}},"dateTime":"{start}","policy":[{{"uri":"urn:oid:{POLICY_ROOT}.1790"}}],"provision":{{"type":"deny","period":{{"start":"{start}","end":"{end}"}},"provision":[{}]}}}}"#,
        provisions.join(",")
    );
}

fn years_after(date: Date, years: i32) -> Date {
    date.replace_year(date.year() + years)
        .or_else(|_| date.replace_day(28).and_then(|date| date.replace_year(date.year() + years)))
        .unwrap_or(Date::MAX)
}
