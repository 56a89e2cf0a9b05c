//! The MII's feasibility processes with their wire identity (`data-sharing-processes.md` 2): a portal asks every data
//! integration centre how many patients belong to a cohort, each counts in its own records and answers with a
//! MeasureReport, and the portal keeps a copy of every answer.
//!
//! Canonicals, profiles, message names and the names of inputs are the MII's. Ours are the checks: only a member with role
//! HRP of a common parent organisation is answered, the question is fetched from the endpoint of that member alone, an
//! answer counts only if it comes from the site that was asked, and the outcome of every site stands in the Task of the
//! request. The exact count never leaves [`Counts`]: what a process sees is what may be told.

mod budget;
mod execute;
mod members;
mod request;
mod result;

use std::sync::Arc;

use fhir::Resource;
use sources::Question;

pub(crate) use members::{Member, members};

use crate::plugin::{Implementations, Plugin};
use crate::sender::SetCorrelationKey;
use crate::step::{BoxFuture, WorkError};

/// Coding system of inputs and outputs.
const FEASIBILITY: &str = "http://medizininformatik-initiative.de/fhir/CodeSystem/feasibility";
const MEASURE_REFERENCE: &str = "measure-reference";
const MEASURE_REPORT_REFERENCE: &str = "measure-report-reference";
/// Extension that names the site of an output.
const DIC_EXTENSION: &str = "http://medizininformatik-initiative.de/fhir/StructureDefinition/dic";
/// Our own outputs: what came of each site. The reference leaves no trace of sites that do not answer.
const OUTCOME: &str = "http://schleuse.example/fhir/CodeSystem/feasibility-outcome";

/// The way to FHIR endpoints of partners.
pub trait Partners: Send + Sync {
    /// Searches with strict handling; matches stand before what they include.
    fn search<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        parameters: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Vec<Resource>, WorkError>>;

    /// Reads one resource.
    fn read<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Resource, WorkError>>;
}

/// The records of this site.
pub trait Counts: Send + Sync {
    /// What may be told of the number of patients that belong to a cohort.
    fn tell(&self, question: Question) -> BoxFuture<'_, Result<Told, WorkError>>;
}

/// What may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number.
    pub count: u64,
    /// The question, however it was written down: the same text for the same question.
    pub question: String,
}

/// How this node asks and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How often a partner may ask.
    pub limit: RateLimit,
    /// Different questions of a partner that are answered in thirty days; none: any number.
    pub questions: Option<u32>,
    /// How long the answer of a site is waited for.
    pub answer_time: std::time::Duration,
    /// Sites that must be there before anybody is asked.
    pub minimum_sites: usize,
}

/// How often a partner may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So often,
    pub count: u64,
    /// in this time.
    pub interval: time::Duration,
}

macro_rules! resource {
    ($path:literal) => {
        ($path, include_str!(concat!("../resources/feasibility/", $path)))
    };
}

/// The plug-in in one of its wire versions, `1.0` or `1.1`.
#[must_use]
pub fn plugin(version: &'static str, partners: &Arc<dyn Partners>, counts: &Arc<dyn Counts>, rules: Rules) -> Plugin {
    Plugin {
        name: "feasibility",
        version,
        date: "2022-06-07",
        models: vec![
            include_str!("../resources/feasibility/bpmn/feasibility-request.bpmn"),
            include_str!("../resources/feasibility/bpmn/feasibility-execute.bpmn"),
        ],
        // Terminology before profiles, profiles before what they validate.
        resources: vec![
            resource!("CodeSystem/feasibility.xml"),
            resource!("ValueSet/feasibility.xml"),
            resource!("StructureDefinition/extension-dic.xml"),
            resource!("StructureDefinition/feasibility-library.xml"),
            resource!("StructureDefinition/feasibility-measure.xml"),
            resource!("StructureDefinition/feasibility-measure-report.xml"),
            resource!("StructureDefinition/feasibility-task-request.xml"),
            resource!("StructureDefinition/feasibility-task-execute.xml"),
            resource!("StructureDefinition/feasibility-task-single-dic-result.xml"),
            resource!("ActivityDefinition/feasibility-request.xml"),
            resource!("ActivityDefinition/feasibility-execute.xml"),
        ],
        implementations: implementations(partners, counts, rules),
    }
}

macro_rules! class {
    ($name:literal) => {
        concat!("de.medizininformatik_initiative.process.feasibility.", $name)
    };
}

fn implementations(partners: &Arc<dyn Partners>, counts: &Arc<dyn Counts>, rules: Rules) -> Implementations {
    Implementations::default()
        .with_service(class!("service.SelectRequestTargets"), request::SelectRequestTargets(rules))
        .with_send(class!("message.SendDicRequest"), request::SendDicRequest)
        .with_listener(class!("listener.SetCorrelationKeyListener"), SetCorrelationKey)
        .with_work(class!("service.DownloadMeasureReport"), result::DownloadMeasureReport(Arc::clone(partners)))
        .with_service(class!("service.StoreLiveResult"), result::StoreLiveResult)
        .with_service(class!("service.LogReceiveTimeout"), result::LogReceiveTimeout)
        .with_service(class!("service.SetupEvaluationSettings"), execute::SetupEvaluationSettings)
        .with_service(class!("service.EvaluateRequestRate"), execute::EvaluateRequestRate(rules.limit))
        .with_service(class!("service.RateLimitExceededTaskRejecter"), execute::RejectTask)
        .with_work(class!("service.DownloadFeasibilityResources"), execute::Download(Arc::clone(partners)))
        .with_work(class!("service.EvaluateCCDLMeasure"), execute::Evaluate(Arc::clone(counts), rules.questions))
        .with_service(class!("service.StoreMeasureReport"), execute::StoreMeasureReport)
        .with_service(class!("service.SelectResponseTarget"), execute::SelectResponseTarget)
        .with_send(class!("message.SendDicResponse"), execute::SendDicResponse)
}

/// `valueReference.reference` of an input.
fn reference_input<'t>(task: &'t Resource, code: &str) -> Option<&'t str> {
    crate::task::input(task, FEASIBILITY, code)?.get("valueReference")?.str("reference")
}

/// The id in `BASE/Type/id`, also with a version. A reference to anywhere else has none.
pub(crate) fn id_at<'r>(reference: &'r str, base_url: &str, resource_type: &str) -> Option<&'r str> {
    let rest = reference.strip_prefix(base_url)?.strip_prefix('/')?;
    let id = rest.strip_prefix(resource_type)?.strip_prefix('/')?;
    let id = id.split_once("/_history/").map_or(id, |(id, _)| id);
    fhir::reference::is_id(id).then_some(id)
}

/// Who sent a Task, as the endpoint has checked.
pub(crate) fn requester(task: &Resource) -> Option<&str> {
    task.get("requester")?.get("identifier")?.str("value")
}
