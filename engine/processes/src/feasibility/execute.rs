//! The site's side: counting and answering.

use std::sync::Arc;

use base64::Engine as _;
use fhir::{Number, Object, Resource, ResourceType, Value as Tree};
use serde_json::{Value, json};
use sources::{Cql, Question};
use store::ReadFilter;

use super::budget;
use super::members::members;
use super::request::target;
use super::{
    Counts, FEASIBILITY, MEASURE_REFERENCE, MEASURE_REPORT_REFERENCE, Partners, RateLimit, id_at, reference_input,
    requester,
};
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;
use crate::{task, terms};

const ASKER: &str = "asker";
const WITHIN_LIMIT: &str = "request-rate-below-limit";
const QUESTION: &str = "question";
const COUNT: &str = "told-count";
const REPORT: &str = "report-id";
/// Tasks that are looked at on one page.
const PAGE: u32 = 200;

fn failed(reason: &str) -> StepError {
    StepError::Failed(reason.to_owned())
}

/// Only a portal of a network to which this site belongs as a data integration centre is answered.
pub(super) struct SetupEvaluationSettings;

impl ServiceStep for SetupEvaluationSettings {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let asker = requester(context.start_task()?).unwrap_or_default().to_owned();
        let own = context.node().organization_identifier.clone();
        let members = members(context)?;
        let is_site = |parent: &str| {
            members.iter().any(|member| member.parent == parent && member.organization == own && member.role == "DIC")
        };
        let portal = members
            .iter()
            .find(|member| member.organization == asker && member.role == "HRP" && is_site(&member.parent))
            .ok_or_else(|| failed("the requester has the role HRP in no network to which this site belongs"))?;
        let asker = json!({
            "organizationIdentifierValue": portal.organization,
            "endpointIdentifierValue": portal.endpoint,
            "endpointUrl": portal.address,
        });
        context.set(ASKER, asker);
        Ok(())
    }
}

/// Counts the requests of the portal that were accepted within the interval. They are Tasks of this node, so restarts
/// forget none, and requests that were refused do not prolong the refusal.
pub(super) struct EvaluateRequestRate(pub(super) RateLimit);

impl ServiceStep for EvaluateRequestRate {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let request = context.start_task()?.clone();
        let since = fhir::date::format_instant(context.now() - self.0.interval);
        let asker = format!("{}|{}", terms::ORGANIZATION_IDENTIFIER, requester(&request).unwrap_or_default());
        let mut accepted = 0;
        for status in ["in-progress", "completed"] {
            let parameters = [("_lastUpdated", format!("ge{since}")), ("requester:identifier", asker.clone())];
            accepted += self.count(context, &request, status, &parameters)?;
        }
        context.set(WITHIN_LIMIT, accepted < self.0.count);
        Ok(())
    }
}

impl EvaluateRequestRate {
    /// Other requests of the same process; at most as many as the limit are looked for.
    fn count(
        &self,
        context: &mut StepContext<'_, '_>,
        request: &Resource,
        status: &str,
        parameters: &[(&str, String)],
    ) -> Result<u64, StepError> {
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let mut text = format!("status={status}");
        for (name, value) in parameters {
            text.push_str(&format!("&{name}={}", encoded(value)));
        }
        let mut query = fhir::search::parse_query(ResourceType::Task, &text);
        if let Some(errors) = query.diagnostics() {
            return Err(failed(&format!("requests cannot be counted: {errors}")));
        }
        query.count = PAGE;
        let mut count = 0;
        for page in 1.. {
            query.page = page;
            let found = context.transaction().search(&query, &ReadFilter::everything())?;
            let is_same = |other: &Resource| {
                // Every version of the process counts.
                let process = |task: &Resource| {
                    task.str("instantiatesCanonical").map(|name| name.split('|').next().unwrap_or(name).to_owned())
                };
                process(other) == process(request) && other.id() != request.id()
            };
            count += found.matches.iter().filter(|task| is_same(&task.resource)).count() as u64;
            if query.offset() + u64::from(PAGE) >= found.total || count >= self.0.count {
                break;
            }
        }
        Ok(count)
    }
}

/// The Task fails with the reference's text, and nothing is sent.
pub(super) struct RejectTask;

impl ServiceStep for RejectTask {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let id = context.start_task()?.id().unwrap_or_default().to_owned();
        if let Some(mut request) = task::read(context.transaction(), &id)? {
            request.set("status", "failed");
            request.set("statusReason", Object::new().with("text", "The request rate limit has been exceeded."));
            task::write(context.transaction(), request)?;
        }
        Ok(())
    }
}

/// Fetches Measure and Library from the portal, and from nowhere else.
pub(super) struct Download(pub(super) Arc<dyn Partners>);

impl WorkStep for Download {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let asker = context.variable(ASKER).unwrap_or_default();
        let base_url = asker.get("endpointUrl").and_then(Value::as_str).unwrap_or_default();
        let reference = reference_input(context.start_task()?, MEASURE_REFERENCE).unwrap_or_default();
        let id = id_at(reference, base_url, "Measure")
            .ok_or_else(|| failed("the request refers to no Measure at the endpoint of its requester"))?;
        Ok(json!({ "base": base_url, "id": id }))
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
            let parameters = [("_id", text("id")), ("_include", "Measure:depends-on")];
            let found = self.0.search(text("base"), "Measure", &parameters).await?;
            let is = |resource: &&Resource, name: &str| resource.type_name() == name;
            let (measure, library) = match found.as_slice() {
                [measure, library] if is(&measure, "Measure") && is(&library, "Library") => (measure, library),
                _ => return Err(WorkError::failed("the requester gave not one Measure with its Library")),
            };
            let content = |media_type: &str| {
                let content = library.list("content").iter();
                let mut content = content.filter(|content| content.str("contentType") == Some(media_type));
                content.next().and_then(|content| content.str("data"))
            };
            Ok(json!({
                "definition": content("application/json"),
                "cql": content("text/cql"),
                "expression": expression(measure),
            }))
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        context.set(QUESTION, output);
        Ok(())
    }
}

/// The name of the one expression that the Measure counts by.
fn expression(measure: &Resource) -> Option<&str> {
    let [group] = measure.list("group") else { return None };
    let [population] = group.list("population") else { return None };
    population.get("criteria")?.str("expression")
}

/// The question that was fetched. Which of its languages is needed is up to the sources of the site.
fn question(fetched: &Value) -> Result<Question, WorkError> {
    let content = |name: &str| {
        let data = fetched.get(name).and_then(Value::as_str);
        let decoded = data.map(|data| base64::engine::general_purpose::STANDARD.decode(data)).transpose();
        decoded.map_err(|_| WorkError::failed("the content of the Library is no base64"))
    };
    let text = content("cql")?.map(String::from_utf8).transpose();
    let text = text.map_err(|_| WorkError::failed("the CQL of the Library is no text"))?;
    let expression = fetched.get("expression").and_then(Value::as_str);
    let cql = text.zip(expression).map(|(text, expression)| Cql { text, expression: expression.to_owned() });
    Ok(Question { definition: content("definition")?, cql })
}

/// Counts, and tells the process only what the requester's budget of questions still covers.
pub(super) struct Evaluate(pub(super) Arc<dyn Counts>, pub(super) Option<u32>);

impl WorkStep for Evaluate {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        Ok(context.variable(QUESTION).unwrap_or_default())
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let told = self.0.tell(question(input)?).await?;
            Ok(json!({ "count": told.count, "question": told.question }))
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let question = output.get("question").and_then(Value::as_str).unwrap_or_default();
        if let Some(most) = self.1 {
            let asker = requester(context.start_task()?).unwrap_or_default().to_owned();
            budget::charge(context, &asker, question, most)?;
        }
        context.set(COUNT, output.get("count").cloned().unwrap_or_default());
        Ok(())
    }
}

/// The answer, which the portal alone may read beside this organisation.
pub(super) struct StoreMeasureReport;

impl ServiceStep for StoreMeasureReport {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let count =
            context.variable(COUNT).and_then(|count| count.as_u64()).ok_or_else(|| failed("there is no count"))?;
        let asker = requester(context.start_task()?).unwrap_or_default().to_owned();
        let measure = reference_input(context.start_task()?, MEASURE_REFERENCE).unwrap_or_default().to_owned();
        let report = measure_report(count, &measure, &asker, &fhir::date::format_instant(context.now()))?;
        let id = context.new_id();
        context.transaction().create(report, &id)?;
        let url = format!("{}/MeasureReport/{id}", context.node().base_url);
        let reference = Object::new().with("reference", url.as_str()).with("type", "MeasureReport");
        context.add_output(task::parameter(FEASIBILITY, MEASURE_REPORT_REFERENCE).with("valueReference", reference));
        context.set(REPORT, url);
        Ok(())
    }
}

fn measure_report(count: u64, measure: &str, asker: &str, now: &str) -> Result<Resource, StepError> {
    const READ_ACCESS: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
    let organization = Object::new()
        .with("url", "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization")
        .with("valueIdentifier", Object::new().with("system", terms::ORGANIZATION_IDENTIFIER).with("value", asker));
    let local = Object::new().with("system", READ_ACCESS).with("code", "LOCAL");
    let portal = Object::new()
        .with("extension", vec![organization.into()])
        .with("system", READ_ACCESS)
        .with("code", "ORGANIZATION");
    let mut report = Resource::new("MeasureReport");
    report.set("meta", Object::new().with("tag", vec![local.into(), portal.into()]));
    report.set("status", "complete");
    report.set("type", "summary");
    report.set("measure", measure);
    report.set("date", now);
    report.set("period", Object::new().with("start", "1900-01-01").with("end", "2100-01-01"));
    let population = Object::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/measure-population")
        .with("code", "initial-population");
    let number = Number::parse(&count.to_string()).ok_or_else(|| failed("the count is no number"))?;
    let population = Object::new()
        .with("code", Object::new().with("coding", vec![population.into()]))
        .with("count", Tree::Number(number));
    report.push("group", Object::new().with("population", vec![population.into()]));
    Ok(report)
}

pub(super) struct SelectResponseTarget;

impl ServiceStep for SelectResponseTarget {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = task::message_input(context.start_task()?, terms::CORRELATION_KEY).map(str::to_owned);
        let mut target = context.variable(ASKER).unwrap_or_default();
        if let Some(members) = target.as_object_mut() {
            members.insert("correlationKey".to_owned(), key.into());
        }
        context.set("target", target);
        Ok(())
    }
}

pub(super) struct SendDicResponse;

impl SendStep for SendDicResponse {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let report = context.string(REPORT).unwrap_or_default();
        let reference = Object::new().with("reference", report).with("type", "MeasureReport");
        Ok(Message {
            organization_identifier: target(context, "organizationIdentifierValue")?,
            endpoint_identifier: target(context, "endpointIdentifierValue")?,
            endpoint_url: target(context, "endpointUrl")?,
            correlation_key: Some(target(context, "correlationKey")?),
            inputs: vec![task::parameter(FEASIBILITY, MEASURE_REPORT_REFERENCE).with("valueReference", reference)],
        })
    }
}
