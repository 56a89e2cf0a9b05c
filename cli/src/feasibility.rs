//! The question of a portal and its answers, as FHIR has them: one transaction with Task, Measure and Library, in the form of
//! the national portal, and the outputs of the Task when it has ended.

use base64::Engine as _;
use fhir::{Object, Resource, Value};

const BASE: &str = "http://medizininformatik-initiative.de";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const OUTCOME: &str = "http://schleuse.example/fhir/CodeSystem/feasibility-outcome";

/// A question.
pub(crate) struct Asked<'q> {
    /// Organisation of the portal.
    pub(crate) organization: &'q str,
    /// Base URL of the portal's node.
    pub(crate) base_url: &'q str,
    /// Version of the process.
    pub(crate) version: &'q str,
    /// Cohort definition (CCDL).
    pub(crate) definition: &'q str,
}

/// What came of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Organisation identifier.
    pub(crate) site: String,
    /// `answered`, `not-sent`, `no-answer` or `unusable`.
    pub(crate) code: String,
    /// Path of the report below the base URL.
    pub(crate) report: Option<String>,
    /// Why there is none.
    pub(crate) reason: Option<String>,
}

impl Asked<'_> {
    /// The transaction: references between the entries by `urn:uuid`, both languages of the question.
    pub(crate) fn transaction(&self) -> Resource {
        let ids: [String; 3] = std::array::from_fn(|_| uuid::Uuid::new_v4().to_string());
        let [_, measure, library] = &ids;
        let entries = [self.task(measure), self.measure(measure, library), self.library(library)];
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

    fn profiled(&self, resource_type: &str, profile: &str, is_public: bool) -> Resource {
        let mut resource = Resource::new(resource_type);
        let profile = format!("{BASE}/fhir/StructureDefinition/{profile}|{}", self.version);
        let mut meta = Object::new().with("profile", vec![Value::from(profile)]);
        if is_public {
            let tag =
                Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "ALL");
            meta.set("tag", vec![Value::from(tag)]);
        }
        resource.set("meta", meta);
        resource
    }

    fn task(&self, measure: &str) -> Resource {
        let identifier = Object::new().with("system", ORGANIZATION_IDENTIFIER).with("value", self.organization);
        let organization = Object::new().with("type", "Organization").with("identifier", identifier);
        let input = |system: &str, code: &str| Object::new().with("type", concept(system, code));
        let mut task = self.profiled("Task", "feasibility-task-request", false);
        task.set("instantiatesCanonical", format!("{BASE}/bpe/Process/feasibilityRequest|{}", self.version));
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

    fn measure(&self, id: &str, library: &str) -> Resource {
        let mut measure = self.profiled("Measure", "feasibility-measure", true);
        measure.set("url", format!("{}/Measure/{id}", self.base_url.trim_end_matches("/fhir")));
        measure.set("status", "active");
        measure.push("library", format!("urn:uuid:{library}"));
        measure.set("scoring", concept("http://terminology.hl7.org/CodeSystem/measure-scoring", "cohort"));
        let criteria = Object::new().with("language", "text/cql").with("expression", "InInitialPopulation");
        let code = concept("http://terminology.hl7.org/CodeSystem/measure-population", "initial-population");
        let population = Object::new().with("code", code).with("criteria", criteria);
        measure.push("group", Object::new().with("population", vec![population.into()]));
        measure
    }

    fn library(&self, id: &str) -> Resource {
        let attachment = |content_type: &str, text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            Object::new().with("contentType", content_type).with("data", data)
        };
        let mut library = self.profiled("Library", "feasibility-library", true);
        library.set("url", format!("urn:uuid:{id}"));
        library.set("version", "1.0.0");
        library.set("name", "Retrieve");
        library.set("status", "active");
        library.set("type", concept("http://terminology.hl7.org/CodeSystem/library-type", "logic-library"));
        // Sites count by the cohort definition; the other language is what the profile asks for.
        library.push("content", attachment("text/cql", "library Retrieve version '1.0.0'"));
        library.push("content", attachment("application/json", self.definition));
        library
    }
}

fn concept(system: &str, code: &str) -> Object {
    Object::new().with("coding", vec![Object::new().with("system", system).with("code", code).into()])
}

/// Path of the request below the base URL, from the answer to the transaction.
pub(crate) fn request_path(answer: &Resource, base_url: &str) -> Option<String> {
    let location = answer.list("entry").first()?.get("response")?.str("location")?;
    let url = location.split_once("/_history/").map_or(location, |(url, _)| url);
    let path = url.strip_prefix(base_url).unwrap_or(url);
    Some(format!("/{}", path.trim_start_matches('/')))
}

/// What came of each site, in the order of their identifiers.
pub(crate) fn outcomes(task: &Resource, base_url: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> =
        task.list("output").iter().filter_map(|output| outcome(output, base_url)).collect();
    outcomes.sort_by(|one, other| one.site.cmp(&other.site));
    outcomes
}

fn outcome(output: &Value, base_url: &str) -> Option<Outcome> {
    let coding = output.get("type")?.list("coding").first()?;
    if coding.str("system") != Some(OUTCOME) {
        return None;
    }
    let site = output.list("extension").first()?.get("valueReference")?.get("identifier")?.str("value")?;
    let report = output.get("valueReference").and_then(|reference| reference.str("reference"));
    Some(Outcome {
        site: site.to_owned(),
        code: coding.str("code")?.to_owned(),
        report: report.and_then(|report| report.strip_prefix(base_url)).map(str::to_owned),
        reason: output.str("valueString").map(str::to_owned),
    })
}

/// Why a request failed.
pub(crate) fn failure(task: &Resource) -> String {
    let reasons: Vec<&str> = task.list("output").iter().filter_map(|output| output.str("valueString")).collect();
    if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") }
}

/// The count of a report.
pub(crate) fn count_of(report: &Resource) -> Option<u64> {
    match report.list("group").first()?.list("population").first()?.get("count")? {
        Value::Number(count) => u64::try_from(count.as_i64()?).ok(),
        _ => None,
    }
}
