//! The records of a FHIR server, for extraction: one person at a time, so memory does not grow with the cohort.
//!
//! The resources of a person are searched for by `patient`, one search for each type, over all pages. What comes back is
//! judged here again: a resource that is not about the person is left out, whatever the server thinks of the parameter, and
//! the selection is that of the folder. Who extracts waits in a thread of its own ([`Records`] is not asynchronous).

use std::future::Future;
use std::sync::mpsc;

use ::client::{Answer, ClientError, Method};
use fhir::{Limits, Resource, Value};
use http::header::ACCEPT;
use tokio::runtime::Handle;

use super::fhir::{Asked, FHIR_JSON, FhirServer, Page, form};
use super::narrowing::{self, Search};
use crate::ccdl::Definition;
use crate::error::{ReadError, SourceError};
use crate::folder::extract::{self, Extracted};
use crate::folder::reading;
use crate::json;
use crate::limits;
use crate::records::{PersonId, Record, Records, Selection};
use crate::source::Source as _;

/// Types that R4 lets search by `patient`.
const OF_PERSONS: &[&str] = &[
    "AllergyIntolerance",
    "CarePlan",
    "ClinicalImpression",
    "Communication",
    "Composition",
    "Condition",
    "Consent",
    "Coverage",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "EpisodeOfCare",
    "FamilyMemberHistory",
    "Goal",
    "ImagingStudy",
    "Immunization",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "NutritionOrder",
    "Observation",
    "Procedure",
    "QuestionnaireResponse",
    "ResearchSubject",
    "RiskAssessment",
    "ServiceRequest",
    "Specimen",
];
/// Types that are of no person; who has them gets them by reference.
const OF_NOBODY: &[&str] = &["Medication", "Organization", "Location", "Practitioner", "PractitionerRole", "Substance"];

/// The records behind one server.
pub(super) struct FhirRecords {
    server: FhirServer,
    runtime: Handle,
}

// === impl FhirRecords ===

impl FhirRecords {
    pub(super) fn new(server: FhirServer) -> Result<Self, SourceError> {
        // Requests are sent by the runtime, whoever waits for them.
        let runtime = Handle::try_current().map_err(|_| SourceError::Aborted)?;
        Ok(Self { server, runtime })
    }

    /// The result of work on the runtime; the calling thread waits.
    fn wait<T, F>(&self, work: impl FnOnce(FhirServer) -> F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SourceError>> + Send + 'static,
    {
        let (send, done) = mpsc::sync_channel(1);
        let work = work(self.server.clone());
        self.runtime.spawn(async move {
            // Nobody waits any more only if the thread is gone.
            let _ = send.send(work.await);
        });
        done.recv().map_err(|_| SourceError::Aborted)?.map_err(ReadError::from)
    }
}

impl Records for FhirRecords {
    fn persons(&self) -> Result<Vec<PersonId>, ReadError> {
        let mut ids = self.wait(|server| async move {
            let mut ids = Vec::new();
            let everybody = Search { parameter: None };
            let mut read = |patient: Record| ids.extend(patient.resource.id().map(PersonId::new));
            server.within_time(server.asked().records("Patient", &everybody, Some("gender"), &mut read)).await?;
            Ok(ids)
        })?;
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn cohort(&self, definition: &Definition, today: time::Date) -> Result<Vec<PersonId>, ReadError> {
        let definition = definition.clone();
        let cohort = self.wait(|server| async move { server.cohort(&definition, today).await })?;
        let mut ids: Vec<PersonId> = cohort.into_iter().map(PersonId::new).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn resources_of(&self, person: &PersonId, selection: &Selection) -> Result<Vec<Record>, ReadError> {
        let name = || self.server.name().to_owned();
        if selection.types.is_empty() {
            let reason = "a server is asked for named resource types only".to_owned();
            return Err(SourceError::Answer { name: name(), reason }.into());
        }
        let mut records = Vec::new();
        for resource_type in &selection.types {
            if OF_NOBODY.contains(&resource_type.as_str()) {
                continue;
            }
            if resource_type != "Patient" && !OF_PERSONS.contains(&resource_type.as_str()) {
                let reason = format!("{resource_type}s cannot be searched for by patient");
                return Err(SourceError::Answer { name: name(), reason }.into());
            }
            let (person, resource_type) = (person.clone(), resource_type.clone());
            let found = self.wait(|server| async move {
                server.within_time(server.asked().records_of(&person, &resource_type)).await
            })?;
            // The same decision as for the folder, by the same entries.
            let is_wanted = |record: &Record| {
                reading::is_selected(fhir::json::print(&record.resource, false).as_bytes(), selection)
            };
            records.extend(found.into_iter().filter(is_wanted));
        }
        Ok(records)
    }

    fn referenced(&self, reference: &str) -> Result<Option<Record>, ReadError> {
        let Some(target) = extract::target(reference).filter(|target| is_plain(target)) else { return Ok(None) };
        self.wait(|server| async move { server.within_time(server.asked().record(&target)).await })
    }
}

impl Asked<'_> {
    /// The resources of one type of a person.
    async fn records_of(&self, person: &PersonId, resource_type: &str) -> Result<Vec<Record>, SourceError> {
        let parameter = if resource_type == "Patient" { "_id" } else { "patient" };
        let mut found = Vec::new();
        for search in narrowing::chunks(parameter, &[::client::escape(person.as_str())]) {
            self.records(resource_type, &search, None, &mut |record| found.push(record)).await?;
        }
        let mut of_person = Vec::with_capacity(found.len());
        for record in found {
            if self.extracted(&record.resource)?.person.as_deref() == Some(person.as_str()) {
                of_person.push(record);
            }
        }
        Ok(of_person)
    }

    /// The matches of a search, whole.
    async fn records(
        &self,
        resource_type: &str,
        search: &Search,
        elements: Option<&str>,
        found: &mut (dyn FnMut(Record) + Send),
    ) -> Result<(), SourceError> {
        let mut number = 0_usize;
        let mut read = |answer: &Answer| {
            let mut bundle = self.resource(&answer.body)?;
            if bundle.type_name() != "Bundle" || bundle.str("type") != Some("searchset") {
                return Err(self.connection.wrong("its answer to a search is no searchset"));
            }
            let next = bundle.list("link").iter().find(|link| link.str("relation") == Some("next"));
            let next = next.and_then(|link| link.str("url")).map(str::to_owned);
            let total = match bundle.get("total") {
                Some(Value::Number(number)) => number.as_str().parse().ok(),
                _ => None,
            };
            let mut count = 0;
            for entry in entries(&mut bundle) {
                let mode = entry.get("search").and_then(|search| search.str("mode")).unwrap_or("match");
                if mode != "match" {
                    continue;
                }
                let mut entry = entry;
                let resource = match entry.remove("resource") {
                    Some(Value::Object(tree)) => Resource::from_tree(tree).ok(),
                    _ => None,
                };
                let resource = resource.filter(|resource| resource.type_name() == resource_type);
                let resource =
                    resource.ok_or_else(|| self.connection.wrong(format!("a match is no {resource_type}")))?;
                count += 1;
                number += 1;
                let origin =
                    format!("source {}, match {number} of a search for {resource_type}s", self.connection.name());
                found(Record { resource, origin });
            }
            Ok(Page { count, total, next })
        };
        // A server that ignores the person would give everybody's records, again for each person.
        self.pages(resource_type, form(search, elements), "handling=strict", &mut read).await
    }

    /// One resource; none if the server has none.
    async fn record(&self, target: &str) -> Result<Option<Record>, SourceError> {
        let request = self.connection.request(Method::Get, target, &self.correlation);
        let answer = match self.connection.send(request.with_header(ACCEPT, FHIR_JSON)).await {
            Err(SourceError::Server { error: ClientError::Http { status: 404 | 410, .. }, .. }) => return Ok(None),
            answer => answer?,
        };
        let resource = self.resource(&answer.body)?;
        if Some(target) != resource.id().map(|id| format!("{}/{id}", resource.type_name())).as_deref() {
            return Err(self.connection.wrong("it gave another resource than the one that was asked for"));
        }
        Ok(Some(Record { resource, origin: format!("source {}", self.connection.name()) }))
    }

    fn resource(&self, body: &[u8]) -> Result<Resource, SourceError> {
        let limits = Limits { bytes: limits::LINE_BYTES, members: 5_000_000, ..Limits::default() };
        fhir::json::parse(body, &limits)
            .map_err(|error| self.connection.wrong(format!("its answer is no FHIR resource: {error}")))
    }

    fn extracted(&self, resource: &Resource) -> Result<Extracted, SourceError> {
        let text = fhir::json::print(resource, false);
        let node = json::parse(text.as_bytes()).map_err(|_| self.connection.wrong("a match is no JSON"))?;
        extract::extract(&node).map_err(|reason| self.connection.wrong(format!("a match: {reason}")))
    }
}

/// The entries of a Bundle, taken out of it.
fn entries(bundle: &mut Resource) -> Vec<fhir::Object> {
    let Some(Value::Array(entries)) = bundle.remove("entry") else { return Vec::new() };
    let object = |entry| match entry {
        Value::Object(object) => Some(object),
        _ => None,
    };
    entries.into_iter().filter_map(object).collect()
}

/// Whether type and id are nothing but that, so that a reference in a record leads to no other path.
fn is_plain(target: &str) -> bool {
    let is_part = |part: &str| {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !part.is_empty()
            && part.len() <= limits::ID_BYTES
            && part.bytes().all(is_id)
            && !part.bytes().all(|b| b == b'.')
    };
    target.split_once('/').is_some_and(|(resource_type, id)| is_part(resource_type) && is_part(id))
}
