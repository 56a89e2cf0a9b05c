//! Any FHIR R4 server: searches by POST (so that codes stand in no log of addresses), pages, and the same decision about
//! each resource as for the folder.
//!
//! The server selects what it can; what counts is decided here. The persons are those whose Patient the server has.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use ::client::{Answer, Method};
use bytes::Bytes;
use http::HeaderName;
use http::header::{ACCEPT, CONTENT_TYPE};
use time::Date;
use url::form_urlencoded;
use uuid::Uuid;

use super::Connection;
use super::matching::{Check, Codes, Targets};
use super::narrowing::{self, Search};
use super::records::FhirRecords;
use crate::ccdl::Definition;
use crate::error::SourceError;
use crate::folder::extract::{Extracted, extract};
use crate::folder::key;
use crate::json::{self, Node};
use crate::limits;
use crate::mapping::Mapping;
use crate::plan::{Plan, Rows, Test};
use crate::records::Records;
use crate::source::{BoxFuture, Language, Question, Source};

pub(super) const FHIR_JSON: &str = "application/fhir+json";
const PREFER: HeaderName = HeaderName::from_static("prefer");

pub(super) type Persons = HashSet<String>;

/// A FHIR server. Cheap to clone.
#[derive(Clone)]
pub struct FhirServer {
    connection: Arc<Connection>,
    mapping: Arc<Mapping>,
}

/// What one page of a search's answer holds.
pub(super) struct Page {
    /// Matches.
    pub(super) count: usize,
    /// Matches of the whole search, if the server says.
    pub(super) total: Option<u64>,
    /// Where the next page is.
    pub(super) next: Option<String>,
}

/// One question under way.
pub(super) struct Asked<'s> {
    pub(super) connection: &'s Connection,
    pub(super) correlation: String,
}

// === impl FhirServer ===

impl FhirServer {
    pub(super) fn new(connection: Connection, mapping: Arc<Mapping>) -> Self {
        Self { connection: Arc::new(connection), mapping }
    }

    /// The persons that belong to the cohort on a day.
    pub(super) async fn cohort(&self, definition: &Definition, today: Date) -> Result<Persons, SourceError> {
        let plan = self.mapping.plan(definition, today)?;
        self.within_time(self.asked().cohort(&plan)).await
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { connection: &self.connection, correlation: Uuid::new_v4().to_string() }
    }

    /// The result, if it comes in time.
    pub(super) async fn within_time<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let seconds = limits::SERVER_TIME.as_secs();
        let done = tokio::time::timeout(limits::SERVER_TIME, work).await;
        done.map_err(|_| SourceError::Slow { name: self.name().to_owned(), seconds })?
    }
}

impl Source for FhirServer {
    fn name(&self) -> &str {
        self.connection.name()
    }

    fn language(&self) -> Language {
        Language::Ccdl
    }

    fn count<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<u64, SourceError>> {
        let today = time::OffsetDateTime::now_utc().date();
        Box::pin(async move { Ok(self.cohort(&question.definition()?, today).await?.len() as u64) })
    }

    fn records(&self) -> Result<Arc<dyn Records>, SourceError> {
        Ok(Arc::new(FhirRecords::new(self.clone())?))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(async {
            let server = capability(&self.connection).await?;
            let correlation = Uuid::new_v4().to_string();
            let request = self.connection.request(Method::Get, "Patient?_summary=count", &correlation);
            let answer = self.connection.send(request).await?;
            let bundle = parse(&self.connection, &answer)?;
            let total =
                total(&bundle).ok_or_else(|| self.connection.wrong("it does not say how many Patients it has"))?;
            Ok(format!("{server}; {total} patients"))
        })
    }
}

/// What the server says it is; another version of FHIR is refused.
pub(super) async fn capability(connection: &Connection) -> Result<String, SourceError> {
    let correlation = Uuid::new_v4().to_string();
    let answer = connection.send(connection.request(Method::Get, "metadata", &correlation)).await?;
    let statement = parse(connection, &answer)?;
    if statement.str("resourceType") != Some("CapabilityStatement") {
        return Err(connection.wrong("its metadata is no CapabilityStatement"));
    }
    let version = statement.str("fhirVersion").unwrap_or("none");
    if !version.starts_with("4.0") {
        return Err(connection.wrong("it speaks another version of FHIR than R4"));
    }
    let software = statement.get("software").and_then(|software| software.str("name")).unwrap_or("server");
    let software: String = software.chars().filter(|character| !character.is_control()).take(60).collect();
    Ok(format!("{software}, FHIR {}", version.chars().take(10).collect::<String>()))
}

fn parse<'a>(connection: &Connection, answer: &'a Answer) -> Result<Node<'a>, SourceError> {
    json::parse(&answer.body).map_err(|_| connection.wrong("its answer is no JSON"))
}

fn total(bundle: &Node<'_>) -> Option<u64> {
    match bundle.get("total")? {
        Node::Number(number) if *number >= 0.0 && number.fract() == 0.0 => Some(*number as u64),
        _ => None,
    }
}

impl Asked<'_> {
    /// (All of the inclusion, each any) and not (any of the exclusion, each all).
    async fn cohort(&self, plan: &Plan) -> Result<Persons, SourceError> {
        let mut cohort: Option<Persons> = None;
        for group in &plan.inclusion {
            let mut any = Persons::new();
            for rows in group {
                any.extend(self.persons(rows).await?);
            }
            if let Some(before) = &cohort {
                any.retain(|person| before.contains(person));
            }
            cohort = Some(any);
        }
        let mut cohort = cohort.unwrap_or_default();
        for group in &plan.exclusion {
            let mut all: Option<Persons> = None;
            for rows in group {
                let mut found = self.persons(rows).await?;
                if let Some(before) = &all {
                    found.retain(|person| before.contains(person));
                }
                all = Some(found);
            }
            let all = all.unwrap_or_default();
            cohort.retain(|person| !all.contains(person));
        }
        self.known(cohort).await
    }

    /// Those who have a Patient resource.
    async fn known(&self, cohort: Persons) -> Result<Persons, SourceError> {
        let mut known = Persons::new();
        let searches = if cohort.len() <= limits::SEARCH_REFERENCES {
            let mut ids: Vec<String> = cohort.iter().cloned().collect();
            ids.sort_unstable();
            narrowing::chunks("_id", &ids)
        } else {
            vec![Search { parameter: None }]
        };
        for search in &searches {
            self.search("Patient", search, Some("gender"), &mut |patient| {
                if cohort.contains(&patient.id) {
                    known.insert(patient.id);
                }
            })
            .await?;
        }
        Ok(known)
    }

    async fn persons(&self, rows: &Rows) -> Result<Persons, SourceError> {
        let mut persons = Persons::new();
        self.matching(rows, &mut |resource| persons.extend(resource.person)).await?;
        Ok(persons)
    }

    async fn targets(&self, rows: &Rows) -> Result<Targets, SourceError> {
        let mut targets = Targets::default();
        self.matching(rows, &mut |resource| {
            let reference = format!("{}/{}", resource.resource_type, resource.id);
            if targets.keys.insert(key::resource(&reference)) {
                targets.references.push(reference);
            }
        })
        .await?;
        Ok(targets)
    }

    /// The resources that pass the tests.
    async fn matching(&self, rows: &Rows, found: &mut (dyn FnMut(Extracted) + Send)) -> Result<(), SourceError> {
        let checks = self.checks(&rows.tests).await?;
        let elements = narrowing::elements(&rows.resource_type, &checks);
        for search in &narrowing::searches(&checks) {
            let mut take = |resource: Extracted| {
                if checks.iter().all(|check| check.holds(&resource)) {
                    found(resource);
                }
            };
            self.search(&rows.resource_type, search, elements.as_deref(), &mut take).await?;
        }
        Ok(())
    }

    /// The tests with the resources that they refer to.
    fn checks<'a>(&'a self, tests: &'a [Test]) -> BoxFuture<'a, Result<Vec<Check>, SourceError>> {
        Box::pin(async move {
            let mut checks = Vec::with_capacity(tests.len());
            for test in tests {
                checks.push(match test {
                    Test::Code { element, codes } => Check::Code { element: element.clone(), codes: Codes::new(codes) },
                    Test::CodeOf { element, group, codes } => {
                        Check::CodeOf { element: element.clone(), group: Codes::new(group), codes: Codes::new(codes) }
                    }
                    Test::Quantity { element, group, unit, bounds } => Check::Quantity {
                        element: element.clone(),
                        group: (!group.is_empty()).then(|| Codes::new(group)),
                        unit: unit.clone(),
                        bounds: *bounds,
                    },
                    Test::Time { elements, days } => Check::Time { elements: elements.clone(), days: *days },
                    Test::Linked { element, rows } => {
                        Check::Linked { element: element.clone(), targets: self.targets(rows).await? }
                    }
                    Test::AnyOf(tests) => Check::AnyOf(self.checks(tests).await?),
                });
            }
            Ok(checks)
        })
    }

    /// Every resource of a search, over all pages.
    async fn search(
        &self,
        resource_type: &str,
        search: &Search,
        elements: Option<&str>,
        found: &mut (dyn FnMut(Extracted) + Send),
    ) -> Result<(), SourceError> {
        let mut read = |answer: &Answer| {
            let bundle = parse(self.connection, answer)?;
            let next = next_page(&bundle).map(str::to_owned);
            Ok(Page { total: total(&bundle), count: self.page(resource_type, &bundle, found)?, next })
        };
        self.pages(resource_type, form(search, elements), "handling=lenient", &mut read).await
    }

    /// Every page of a search. Who gives fewer resources than promised is refused.
    pub(super) async fn pages(
        &self,
        resource_type: &str,
        form: String,
        prefer: &'static str,
        read: &mut (dyn FnMut(&Answer) -> Result<Page, SourceError> + Send),
    ) -> Result<(), SourceError> {
        let path = format!("{resource_type}/_search");
        let mut request = self
            .connection
            .request(Method::Post, &path, &self.correlation)
            .with_header(ACCEPT, FHIR_JSON)
            .with_header(PREFER, prefer)
            .with_header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body = Bytes::from(form);
        let mut answer = self.connection.send(request).await?;
        let (mut count, mut promised) = (0_usize, None);
        for _ in 0..limits::SERVER_PAGES {
            let page = read(&answer)?;
            promised = promised.or(page.total);
            count = count.saturating_add(page.count);
            if count > limits::SERVER_RESOURCES {
                let reason =
                    format!("it has more than {} {resource_type}s for one criterion", limits::SERVER_RESOURCES);
                return Err(self.connection.wrong(reason));
            }
            let Some(next) = page.next else {
                return match promised {
                    Some(promised) if (count as u64) < promised => {
                        Err(self.connection.wrong(format!("it gave {count} of {promised} {resource_type}s")))
                    }
                    _ => Ok(()),
                };
            };
            let next = self.connection.below(&next)?;
            let request = self.connection.request(Method::Get, next, &self.correlation);
            answer = self.connection.send(request.with_header(ACCEPT, FHIR_JSON)).await?;
        }
        Err(self.connection.wrong(format!("a search has more than {} pages", limits::SERVER_PAGES)))
    }

    /// The matches on one page.
    fn page(
        &self,
        resource_type: &str,
        bundle: &Node<'_>,
        found: &mut (dyn FnMut(Extracted) + Send),
    ) -> Result<usize, SourceError> {
        if bundle.str("resourceType") != Some("Bundle") || bundle.str("type") != Some("searchset") {
            return Err(self.connection.wrong("its answer to a search is no searchset"));
        }
        let mut count = 0;
        for entry in bundle.items("entry") {
            let mode = entry.get("search").and_then(|search| search.str("mode")).unwrap_or("match");
            if mode != "match" {
                continue;
            }
            let resource = entry.get("resource").ok_or_else(|| self.connection.wrong("a match without resource"))?;
            let resource = extract(resource).map_err(|reason| self.connection.wrong(format!("a match: {reason}")))?;
            if resource.resource_type != resource_type {
                return Err(self.connection.wrong(format!("its {resource_type}s have one of another type among them")));
            }
            count += 1;
            found(resource);
        }
        Ok(count)
    }
}

/// The parameters of a search.
pub(super) fn form(search: &Search, elements: Option<&str>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    if let Some((parameter, values)) = &search.parameter {
        form.append_pair(parameter, &values.join(","));
    }
    form.append_pair("_count", &limits::SERVER_PAGE.to_string());
    if let Some(elements) = elements {
        form.append_pair("_elements", elements);
    }
    form.finish()
}

fn next_page<'b>(bundle: &'b Node<'_>) -> Option<&'b str> {
    bundle.items("link").iter().find(|link| link.str("relation") == Some("next"))?.str("url")
}
