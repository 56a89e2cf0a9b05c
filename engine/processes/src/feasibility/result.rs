//! The portal's side: receiving.

use std::sync::Arc;

use fhir::{Limits, Object, Resource, Value as Tree};
use serde_json::{Value, json};

use super::request::target;
use super::{
    DIC_EXTENSION, FEASIBILITY, MEASURE_REPORT_REFERENCE, OUTCOME, Partners, id_at, reference_input, requester,
};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;
use crate::{task, terms};

/// Variable with the report or what is wrong with it.
const ANSWER: &str = "answer";
const REPORT: &str = "measure-report";
const ERROR: &str = "error";
/// So often a report is asked for, as the model's retry cycle says.
const ATTEMPTS: u32 = 3;

/// Fetches the answer from the site that was asked, and from nowhere else. What is wrong with the answer of one site is an
/// outcome: it ends neither the request nor the answers of the others.
pub(super) struct DownloadMeasureReport(pub(super) Arc<dyn Partners>);

impl WorkStep for DownloadMeasureReport {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let site = target(context, "organizationIdentifierValue")?;
        let base_url = target(context, "endpointUrl")?;
        let result = context.latest_task().ok_or_else(|| StepError::Failed("there is no result".to_owned()))?;
        if requester(result) != Some(site.as_str()) {
            return Ok(json!({ ERROR: "the result was not sent by the site that was asked" }));
        }
        let reference = reference_input(result, MEASURE_REPORT_REFERENCE).unwrap_or_default();
        Ok(match id_at(reference, &base_url, "MeasureReport") {
            Some(id) => json!({ "base": base_url, "id": id }),
            None => json!({ ERROR: "the result refers to no MeasureReport at the endpoint of its site" }),
        })
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.get(ERROR).is_some() {
                return Ok(input.clone());
            }
            let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
            match self.0.read(text("base"), "MeasureReport", text("id")).await {
                Ok(report) if count_of(&report).is_some() => Ok(json!({ REPORT: fhir::json::print(&report, false) })),
                Ok(_) => Ok(json!({ ERROR: "the MeasureReport has no count of one population" })),
                Err(error @ WorkError::Retry { .. }) if context.attempt() < ATTEMPTS => Err(error),
                Err(error) => Ok(json!({ ERROR: format!("the MeasureReport cannot be read: {error}") })),
            }
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        context.set_local(ANSWER, output);
        Ok(())
    }
}

/// The count of a report with one group and one population.
fn count_of(report: &Resource) -> Option<i64> {
    let [group] = report.list("group") else { return None };
    let [population] = group.list("population") else { return None };
    match population.get("count") {
        Some(Tree::Number(count)) => count.as_i64().filter(|count| *count >= 0),
        _ => None,
    }
}

/// Keeps a copy that only this organisation reads, and names it in the result Task, which completes with that. The Task of
/// an answer that is of no use fails.
pub(super) struct StoreLiveResult;

impl ServiceStep for StoreLiveResult {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let site = target(context, "organizationIdentifierValue")?;
        let answer = context.variable(ANSWER).unwrap_or_default();
        let member = |name: &str| answer.get(name).and_then(Value::as_str);
        let Some(text) = member(REPORT) else {
            let reason = member(ERROR).unwrap_or("there is no answer");
            tracing::warn!(site, reason, "a feasibility result is of no use");
            with_result_task(context, |result| {
                result.set("status", "failed");
                result.push("output", task::string_parameter(terms::BPMN_MESSAGE, terms::ERROR, reason));
            })?;
            context.add_output(outcome("unusable", &site, Some(reason), None));
            return Ok(());
        };
        let mut report = fhir::json::parse(text.as_bytes(), &Limits::default())
            .map_err(|error| StepError::Failed(format!("the MeasureReport cannot be read: {error}")))?;
        let local =
            Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "LOCAL");
        report.set("meta", Object::new().with("tag", vec![local.into()]));
        let id = context.new_id();
        context.transaction().create(report, &id)?;
        let local = format!("{}/MeasureReport/{id}", context.node().base_url);
        let reference = Object::new().with("reference", local.as_str()).with("type", "MeasureReport");
        let output = task::parameter(FEASIBILITY, MEASURE_REPORT_REFERENCE).with("valueReference", reference);
        with_result_task(context, |result| result.push("output", output))?;
        tracing::info!(site, "a feasibility result was received");
        context.add_output(outcome("answered", &site, None, Some(&local)));
        Ok(())
    }
}

/// Changes the Task that brought the result.
fn with_result_task(context: &mut StepContext<'_, '_>, change: impl FnOnce(&mut Resource)) -> Result<(), StepError> {
    let Some(id) = context.latest_task().and_then(Resource::id).map(str::to_owned) else { return Ok(()) };
    if let Some(mut result) = task::read(context.transaction(), &id)? {
        change(&mut result);
        task::write(context.transaction(), result)?;
    }
    Ok(())
}

pub(super) struct LogReceiveTimeout;

impl ServiceStep for LogReceiveTimeout {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let site = target(context, "organizationIdentifierValue")?;
        tracing::warn!(site, "a feasibility result is missing");
        context.add_output(outcome("no-answer", &site, Some("no answer within the time"), None));
        Ok(())
    }
}

/// What came of a site: our own output of the request, which the portal passes over.
pub(super) fn outcome(code: &str, site: &str, reason: Option<&str>, report: Option<&str>) -> Object {
    let dic = Object::new().with("url", DIC_EXTENSION).with("valueReference", task::organization_reference(site));
    let mut output = Object::new().with("extension", vec![dic.into()]);
    for (name, value) in task::parameter(OUTCOME, code).iter() {
        output.set(name, value.clone());
    }
    match report {
        Some(report) => {
            output.with("valueReference", Object::new().with("reference", report).with("type", "MeasureReport"))
        }
        None => output.with("valueString", reason.unwrap_or(code)),
    }
}
