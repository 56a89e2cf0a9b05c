//! The receiver's side: fetching, judging, bringing in.

use std::sync::Arc;

use fhir::Resource;
use serde_json::Value;

use super::{ALLOW_LIST, ALLOW_LIST_CODE, Judged, Lists, OUTCOME, Outcome, Source};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::task;
use crate::work::WorkContext;

/// What was found out about the list, never the list.
const BUNDLE: &str = "bundle";
const BUNDLE_URL: &str = "bundleUrl";

fn failed(reason: impl Into<String>) -> StepError {
    StepError::Failed(reason.into())
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, WorkError> {
    serde_json::to_value(value).map_err(|error| WorkError::failed(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, WorkError> {
    serde_json::from_value(value).map_err(|error| WorkError::failed(format!("the stored work cannot be read: {error}")))
}

/// The one reference of the request.
fn reference(task: &Resource) -> Option<Source> {
    let typed = |input: &&fhir::Value| {
        input.get("type").is_some_and(|kind| {
            kind.list("coding")
                .iter()
                .any(|coding| coding.str("system") == Some(ALLOW_LIST) && coding.str("code") == Some(ALLOW_LIST_CODE))
        })
    };
    let mut references = task.list("input").iter().filter(typed);
    let (Some(input), None) = (references.next(), references.next()) else { return None };
    Source::parse(input.get("valueReference")?.str("reference")?)
}

pub(super) struct DownloadAllowList(pub(super) Arc<dyn Lists>);

impl WorkStep for DownloadAllowList {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let source = reference(context.start_task()?)
            .ok_or_else(|| failed("the request names not one Bundle as https://HOST/fhir/Bundle/ID"))?;
        if source.base_url == context.node().base_url {
            return Err(failed("the Bundle is this node's own; what it says is in force here already"));
        }
        context.set(BUNDLE_URL, source.url());
        to_json(&source).map_err(|error| failed(error.to_string()))
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { to_json(&self.0.judge(from_json(input.clone())?).await?) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        context.set(BUNDLE, output);
        Ok(())
    }
}

/// One error output for each objection, as the reference has it, and the Task fails.
pub(super) struct CheckAllowList;

impl ServiceStep for CheckAllowList {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let judged = judged(context)?;
        if judged.objections.is_empty() {
            return Ok(());
        }
        for objection in &judged.objections {
            context.add_output(task::error_output(objection));
        }
        let url = judged.source.url();
        tracing::warn!(url, objections = judged.objections.join("; "), "an allow-list is refused");
        Err(failed(format!("the allow-list {url} is refused, nothing of it was brought in")))
    }
}

pub(super) struct InsertAllowList(pub(super) Arc<dyn Lists>);

impl WorkStep for InsertAllowList {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        to_json(&judged(context)?).map_err(|error| failed(error.to_string()))
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { to_json(&self.0.bring_in(from_json(input.clone())?).await?) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let outcome: Outcome = from_json(output).map_err(|error| failed(error.to_string()))?;
        let (code, text) = match &outcome {
            Outcome::Applied { summary } => ("applied", summary.clone()),
            Outcome::Unchanged => ("unchanged", "the list says what is known already".to_owned()),
            Outcome::Waiting { change, summary } => ("waiting", format!("{summary}; waits for approval as {change}")),
        };
        tracing::info!(outcome = code, text, "an allow-list was downloaded");
        context.add_output(task::string_parameter(OUTCOME, code, &text));
        Ok(())
    }
}

fn judged(context: &StepContext<'_, '_>) -> Result<Judged, StepError> {
    let found = context.variable(BUNDLE).unwrap_or_default();
    from_json(found).map_err(|error| failed(error.to_string()))
}
