//! The demonstration's question: the portal asks all data integration centres how many patients belong to a cohort, in the
//! form in which the national portal asks (one transaction with Task, Measure and Library), and reads their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use fhir::{Object, Resource, Value};
use synthetic::Question;
use tokio::time::Instant;

use super::network::{Network, Site};
use super::partner::{Partner, PartnerError};

const BASE: &str = "http://medizininformatik-initiative.de";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const LONGEST_RUN: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What a site told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A count, after suppression, noise and rounding.
    Count(u64),
    /// Nothing, and why.
    Nothing(String),
}

/// Why the question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeasibilityError {
    #[error(transparent)]
    Partner(#[from] PartnerError),
    #[error("the portal did not say where it put the request")]
    NoLocation,
    #[error("the feasibility request ended as {status}: {reason}")]
    Failed { status: String, reason: String },
    #[error("the feasibility request was still {status} after {seconds} s", seconds = LONGEST_RUN.as_secs())]
    Unfinished { status: String },
}

impl Told {
    /// Whether the number can come of this count: told as 0 below five, else rounded to tens with noise that exceeds 25 in
    /// one of 270 000 cases.
    pub(crate) const fn fits(&self, truth: u64) -> bool {
        match self {
            Self::Count(0) if truth < 5 => true,
            Self::Count(told) => truth >= 5 && told.abs_diff(truth) <= 30 && *told % 10 == 0,
            Self::Nothing(_) => false,
        }
    }
}

/// Asks and waits; answers by organisation identifier.
pub(crate) async fn run(
    partner: &Partner,
    network: &Network,
    question: &Question,
) -> Result<BTreeMap<String, Told>, FeasibilityError> {
    let Some(portal) = network.sites.first() else { return Ok(BTreeMap::new()) };
    let answer = partner.post(portal, "", &transaction(portal, question)).await?;
    let entries = answer.resource.as_ref().map_or(&[][..], |bundle| bundle.list("entry"));
    let location = entries.first().and_then(|entry| entry.get("response")?.str("location"));
    let location = location.ok_or(FeasibilityError::NoLocation)?;
    let url = location.split_once("/_history/").map_or(location, |(url, _)| url);
    let path = url.strip_prefix(portal.base_url().as_str()).unwrap_or(url);
    let path = format!("/{}", path.trim_start_matches('/'));
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        let task = partner.get(portal, &path).await?.resource;
        let status = task.as_ref().and_then(|task| task.str("status")).unwrap_or_default().to_owned();
        match (&task, status.as_str()) {
            (Some(task), "completed") => return answers(partner, portal, task).await,
            (Some(task), "failed") => {
                let reasons: Vec<&str> =
                    task.list("output").iter().filter_map(|output| output.str("valueString")).collect();
                return Err(FeasibilityError::Failed { status, reason: reasons.join("; ") });
            }
            _ if Instant::now() > deadline => return Err(FeasibilityError::Unfinished { status }),
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

async fn answers(
    partner: &Partner,
    portal: &Site,
    task: &Resource,
) -> Result<BTreeMap<String, Told>, FeasibilityError> {
    let mut told = BTreeMap::new();
    for output in task.list("output") {
        let dic =
            output.list("extension").first().and_then(|dic| dic.get("valueReference")?.get("identifier")?.str("value"));
        let Some(site) = dic else { continue };
        let report = output.get("valueReference").and_then(|reference| reference.str("reference"));
        let answer = match report.and_then(|report| report.strip_prefix(portal.base_url().as_str())) {
            Some(path) => {
                let report = partner.get(portal, path).await?.resource;
                let count = report.as_ref().and_then(count_of);
                count.map_or_else(|| Told::Nothing("the MeasureReport has no count".to_owned()), Told::Count)
            }
            None => Told::Nothing(output.str("valueString").unwrap_or("no reason given").to_owned()),
        };
        told.insert(site.to_owned(), answer);
    }
    Ok(told)
}

fn count_of(report: &Resource) -> Option<u64> {
    match report.list("group").first()?.list("population").first()?.get("count")? {
        Value::Number(count) => u64::try_from(count.as_i64()?).ok(),
        _ => None,
    }
}

/// The shape of the national portal: references between the entries by `urn:uuid`, both languages of the question.
fn transaction(portal: &Site, question: &Question) -> Resource {
    let ids: [String; 3] = std::array::from_fn(|_| uuid::Uuid::new_v4().to_string());
    let [_, measure, library] = &ids;
    let entries = [task(portal, measure), measure_of(portal, measure, library), library_of(library, question)];
    let entries = entries.into_iter().zip(&ids).map(|(resource, id)| {
        let request = Object::new().with("method", "POST").with("url", resource.type_name());
        let entry = Object::new().with("fullUrl", format!("urn:uuid:{id}")).with("resource", resource.into_tree());
        Value::from(entry.with("request", request))
    });
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", "transaction");
    bundle.set("entry", entries.collect::<Vec<_>>());
    bundle
}

fn profiled(resource_type: &str, profile: &str, is_public: bool) -> Resource {
    let mut resource = Resource::new(resource_type);
    let profile = format!("{BASE}/fhir/StructureDefinition/{profile}|1.0");
    let mut meta = Object::new().with("profile", vec![Value::from(profile)]);
    if is_public {
        let tag = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "ALL");
        meta.set("tag", vec![Value::from(tag)]);
    }
    resource.set("meta", meta);
    resource
}

fn task(portal: &Site, measure: &str) -> Resource {
    let identifier =
        Object::new().with("system", ORGANIZATION_IDENTIFIER).with("value", portal.organization_identifier());
    let organization = Object::new().with("type", "Organization").with("identifier", identifier);
    let input = |system: &str, code: &str| {
        let coding = Object::new().with("system", system).with("code", code);
        Object::new().with("type", Object::new().with("coding", vec![coding.into()]))
    };
    let mut task = profiled("Task", "feasibility-task-request", false);
    task.set("instantiatesCanonical", format!("{BASE}/bpe/Process/feasibilityRequest|1.0"));
    task.set("status", "requested");
    task.set("intent", "order");
    task.set("authoredOn", fhir::date::format_instant(time::OffsetDateTime::now_utc()));
    task.set("requester", organization.clone());
    task.set("restriction", Object::new().with("recipient", vec![organization.into()]));
    task.push("input", input(BPMN_MESSAGE, "message-name").with("valueString", "feasibilityRequestMessage"));
    task.push("input", input(BPMN_MESSAGE, "business-key").with("valueString", uuid::Uuid::new_v4().to_string()));
    let reference = Object::new().with("reference", format!("urn:uuid:{measure}"));
    let system = format!("{BASE}/fhir/CodeSystem/feasibility");
    task.push("input", input(&system, "measure-reference").with("valueReference", reference));
    task
}

fn concept(system: &str, code: &str) -> Object {
    Object::new().with("coding", vec![Object::new().with("system", system).with("code", code).into()])
}

fn measure_of(portal: &Site, id: &str, library: &str) -> Resource {
    let mut measure = profiled("Measure", "feasibility-measure", true);
    measure.set("url", format!("{}/Measure/{id}", portal.base_url().trim_end_matches("/fhir")));
    measure.set("status", "active");
    measure.push("library", format!("urn:uuid:{library}"));
    measure.set("scoring", concept("http://terminology.hl7.org/CodeSystem/measure-scoring", "cohort"));
    let criteria = Object::new().with("language", "text/cql").with("expression", "InInitialPopulation");
    let code = concept("http://terminology.hl7.org/CodeSystem/measure-population", "initial-population");
    let population = Object::new().with("code", code).with("criteria", criteria);
    measure.push("group", Object::new().with("population", vec![population.into()]));
    measure
}

fn library_of(id: &str, question: &Question) -> Resource {
    let attachment = |content_type: &str, text: &str| {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        Object::new().with("contentType", content_type).with("data", data)
    };
    let mut library = profiled("Library", "feasibility-library", true);
    library.set("url", format!("urn:uuid:{id}"));
    library.set("version", "1.0.0");
    library.set("name", "Retrieve");
    library.set("status", "active");
    library.set("type", concept("http://terminology.hl7.org/CodeSystem/library-type", "logic-library"));
    // Sites of this network count by the cohort definition; the other language is what the profile asks for.
    library.push("content", attachment("text/cql", "library Retrieve version '1.0.0'"));
    library.push("content", attachment("application/json", question.definition));
    library
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn what_is_told_fits_the_truth_or_does_not() {
        for (told, truth) in [(0, 0), (0, 4), (10, 7), (0, 5), (40, 37), (30, 55)] {
            assert!(Told::Count(told).fits(truth), "{told} {truth}");
        }
        for (told, truth) in [(10, 3), (7, 7), (100, 40), (0, 80)] {
            assert!(!Told::Count(told).fits(truth), "{told} {truth}");
        }
        assert!(!Told::Nothing("away".to_owned()).fits(0));
    }
}
