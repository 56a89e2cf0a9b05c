//! The site's side: what is asked is counted and shown, a person decides, and what leaves is sealed.
//!
//! The records are gone through three times: for the numbers that are approved, for the filters, for the data. Consent
//! counts each time, so a withdrawal in between holds.

use std::collections::BTreeMap;

use extraction::{Definition, Report};
use fhir::questionnaire::set_answer;
use fhir::{Object, Resource};
use linkage::ParameterSet;
use serde_json::{Value, json};

use super::deliver::SENT;
use super::delivery::{self, SEALED};
use super::extract::{Nobody, extract};
use super::kept::{self, Kept};
use super::parties::{self, Network, address_of, failed};
use super::{Parts, SiteRules, failure, inputs, limits, request, time_limits};
use crate::feasibility::{id_at, requester};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::user_task::{ANSWER, UserTaskListener};
use crate::work::WorkContext;
use crate::{task, terms};

/// Checks who asks and with whom.
pub(super) struct CheckOrder(pub(super) SiteRules);

impl ServiceStep for CheckOrder {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let order = context.start_task()?;
        let asker = requester(order).unwrap_or_default();
        let network = Network::of(context, "DIC", asker, "HRP")?;
        let key = task::message_input(order, terms::CORRELATION_KEY);
        let portal = parties::target(network.member(asker, "HRP")?, None);
        let organization = |code: &str| inputs::organization(order, code).unwrap_or_default();
        let (third_party, management) = (organization("trusted-third-party"), organization("data-management-site"));
        if third_party == management
            || [third_party, management].contains(&context.node().organization_identifier.as_str())
        {
            return failed("trusted third party, data management site and this site must be different organisations");
        }
        let ttp = parties::target(network.member(third_party, "TTP")?, key);
        let dms = parties::target(network.member(management, "DMS")?, key);
        let parameters = inputs::text(order, "linkage-parameters").unwrap_or_default();
        if ParameterSet::named(parameters).is_none() {
            return failed("the linkage parameters are not known here");
        }
        let deadline = time_limits::deadline(context, inputs::text(order, "deadline").unwrap_or_default())?;
        let transfer = inputs::text(order, "transfer-time").unwrap_or_default();
        let linkage_end = time_limits::after(deadline, "the transfer time", transfer)?;
        let receipt_end = time_limits::after(linkage_end, "the transfer time", transfer)?;
        let minimum = inputs::count(order, "minimum-cohort").unwrap_or(u64::MAX).max(self.0.minimum_cohort);
        context.set("portal", portal);
        context.set("ttp", ttp);
        context.set("dms", dms);
        context.set("minimumCohort", minimum);
        context.set("four-eyes", self.0.four_eyes);
        time_limits::set(context, "deadline", deadline);
        time_limits::set(context, "linkageEnd", linkage_end);
        time_limits::set(context, "receiptEnd", receipt_end);
        Ok(())
    }
}

/// What every long step of a site needs to know.
pub(super) fn order(context: &StepContext<'_, '_>) -> Result<Value, StepError> {
    let order = context.start_task()?;
    Ok(json!({
        "project": inputs::text(order, "project"),
        "run": context.business_key(),
        "portal": context.variable("portal"),
        "ttp": context.variable("ttp"),
        "dms": context.variable("dms"),
        "minimumCohort": context.variable("minimumCohort"),
    }))
}

/// Refuses what is of fewer persons than the site gives out: some may have withdrawn since somebody approved.
pub(super) fn demand_cohort(order: &Value, persons: usize) -> Result<(), WorkError> {
    let minimum = order.get("minimumCohort").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if persons as u64 >= minimum {
        return Ok(());
    }
    Err(failure::refused(failure::COHORT_TOO_SMALL, too_few(minimum)))
}

fn too_few(minimum: u64) -> String {
    format!("fewer than {minimum} persons of the cohort permit the use")
}

pub(super) fn text_of<'v>(input: &'v Value, name: &str) -> &'v str {
    input.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Fetches the definition and counts what it would give out.
pub(super) struct Preview(pub(super) Parts);

impl WorkStep for Preview {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let url = inputs::text(context.start_task()?, "definition").unwrap_or_default();
        Ok(kept::with(order(context)?, "definition", url))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, preview(&self.0, input).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let persons = done.pointer("/report/persons").and_then(Value::as_u64).unwrap_or_default();
        let minimum = context.variable("minimumCohort").and_then(|minimum| minimum.as_u64()).unwrap_or(u64::MAX);
        if persons < minimum {
            failure::set(context, failure::COHORT_TOO_SMALL, &too_few(minimum));
        }
        // What is approved is what is sent, whatever becomes of the Library.
        context.set("definitionText", done.get("definition").cloned().unwrap_or_default());
        context.set("report", done.get("report").cloned().unwrap_or_default());
        Ok(())
    }
}

async fn preview(parts: &Parts, input: &Value) -> Result<Value, WorkError> {
    let portal = input.get("portal").cloned().unwrap_or_default();
    let base_url = address_of(&portal);
    let refused = |text: &str| failure::refused(failure::DEFINITION_REFUSED, text);
    let id = id_at(text_of(input, "definition"), base_url, "Library")
        .ok_or_else(|| refused("the definition is no Library at the endpoint of the portal"))?;
    let library = parts.contents.read(base_url, "Library", id).await?;
    let text = request::definition_of(&library)?;
    let (report, _) = extract(parts, &text, Nobody).await?;
    let definition = Definition::parse(text.as_bytes()).map_err(|error| refused(&error.to_string()))?;
    Ok(json!({ "definition": text, "report": shown(&report, &definition) }))
}

/// The numbers for who approves.
fn shown(report: &Report, definition: &Definition) -> Value {
    let excluded = report.consent.excluded.iter();
    let excluded: BTreeMap<String, u64> = excluded.map(|(reason, count)| (reason.to_string(), *count)).collect();
    let groups = definition.groups.iter().map(|group| {
        let paths: Vec<String> = group.attributes.iter().map(|attribute| attribute.path.join(".")).collect();
        format!("{}: {}", group.resource_type, paths.join(", "))
    });
    let attributes: String = groups.collect::<Vec<_>>().join("; ").chars().take(limits::SHOWN).collect();
    json!({
        "cohort": report.cohort,
        "persons": report.persons,
        "permitted": report.consent.permitted,
        "excluded": excluded,
        "incomplete": report.incomplete,
        "not-permitted": report.not_permitted,
        "resources": report.resources,
        "attributes": attributes,
    })
}

/// `3 Condition, 5 Observation`.
pub(super) fn listed(counts: Option<&Value>) -> String {
    let counts = counts.and_then(Value::as_object).into_iter().flatten();
    counts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// Fills in an answer of a user task.
pub(super) fn fill(response: &mut Resource, link: &str, name: &str, value: impl Into<fhir::Value>) {
    set_answer(response, link, Some(Object::new().with(name, value)));
}

/// Fills in a text; none is no answer.
pub(super) fn fill_text(response: &mut Resource, link: &str, text: &str) {
    match text {
        "" => drop(set_answer(response, link, None)),
        text => fill(response, link, "valueString", text),
    }
}

fn signed(count: Option<&Value>) -> i64 {
    count.and_then(Value::as_i64).unwrap_or_default()
}

/// Shows what would be sent to who decides about it.
pub(super) struct ShowExtraction;

impl UserTaskListener for ShowExtraction {
    fn before_create(&self, context: &mut StepContext<'_, '_>, response: &mut Resource) -> Result<(), StepError> {
        let order = context.start_task()?;
        let report = context.variable("report").unwrap_or_default();
        fill_text(response, "project", inputs::text(order, "project").unwrap_or_default());
        fill_text(response, "requester", requester(order).unwrap_or_default());
        fill_text(response, "decision", inputs::text(order, "decision").unwrap_or_default());
        fill(response, "cohort", "valueInteger", signed(report.get("cohort")));
        fill(response, "persons", "valueInteger", signed(report.get("persons")));
        let excluded = listed(report.get("excluded"));
        let permitted = signed(report.get("permitted"));
        fill_text(response, "consent", format!("{permitted} permitted, {excluded}").trim_end_matches(", "));
        fill_text(response, "resources", &listed(report.get("resources")));
        let left_out = format!(
            "{} persons without what must be there, {} resources outside of the permitted time",
            signed(report.get("incomplete")),
            signed(report.get("not-permitted"))
        );
        fill_text(response, "left-out", &left_out);
        fill_text(response, "attributes", text_of(&report, "attributes"));
        Ok(())
    }
}

/// The boolean answer to an item of the latest user task; none is a no.
pub(super) fn is_answered_with_yes(context: &StepContext<'_, '_>, link: &str) -> bool {
    let answer = context.variable(ANSWER).unwrap_or_default();
    let items = answer.get("item").and_then(Value::as_array).into_iter().flatten();
    let mut items = items.filter(|item| item.get("linkId").and_then(Value::as_str) == Some(link));
    items.next().and_then(|item| item.pointer("/answer/0/valueBoolean")).and_then(Value::as_bool) == Some(true)
}

pub(super) struct ReadApproval;

impl ServiceStep for ReadApproval {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        if !is_answered_with_yes(context, "approve") {
            failure::set(context, failure::DECLINED, "");
        }
        Ok(())
    }
}

/// The variable of a delivery, whose URL goes into the next message.
pub(super) const DELIVERY: &str = "delivery";

/// Stores what work has sealed for a partner, and notes its URL.
pub(super) fn store_for(
    context: &mut StepContext<'_, '_>,
    output: &Value,
    recipient: &str,
    variable: &str,
) -> Result<(), StepError> {
    let uploads = delivery::uploads(output);
    delivery::store(context, &uploads, SEALED, Some(recipient))?;
    if let Some(manifest) = uploads.first() {
        let url = delivery::url(context, &manifest.id);
        context.set(variable.to_owned(), url);
    }
    Ok(())
}

/// The inputs of a message that brings a delivery or says why there is none.
pub(super) fn delivery_inputs(context: &StepContext<'_, '_>, variable: &str) -> Vec<Object> {
    match (failure::code_of(context), context.string(variable)) {
        (None, Some(url)) => vec![inputs::url("delivery", &url)],
        (code, _) => vec![inputs::code("failure", code.as_deref().unwrap_or(failure::FAILED))],
    }
}

pub(super) struct NoteReceipt;

impl ServiceStep for NoteReceipt {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let answer = context.latest_task().filter(|_| parties::is_from(context, "dms"));
        let code = answer.map_or(Some(failure::FAILED), |answer| inputs::text(answer, "failure")).map(failure::known);
        if let Some(code) = code {
            failure::set(context, code, "the data management site has not taken the data over");
        }
        Ok(())
    }
}

/// Nothing that was sealed stays. A site that does not take part by decision has done what it should.
pub(super) struct ConcludeExtraction;

impl ServiceStep for ConcludeExtraction {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        delivery::delete_all(context)?;
        keep_sent(context)?;
        match failure::code_of(context) {
            None => {
                let own = context.node().organization_identifier.clone();
                context.add_output(inputs::outcome(&own, failure::MERGED));
                Ok(())
            }
            Some(code) if failure::is_decision(&code) => {
                let own = context.node().organization_identifier.clone();
                context.add_output(inputs::outcome(&own, &code));
                Ok(())
            }
            Some(_) => failure::conclude(context, Vec::new()),
        }
    }
}

/// Keeps the list of who was sent as long as the data set may be there; without a receipt it may be there too.
fn keep_sent(context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
    let Some(sent) = context.string(SENT) else { return Ok(()) };
    let retention = inputs::text(context.start_task()?, "retention").map(str::to_owned);
    let is_there = failure::code_of(context).is_none_or(|code| code == failure::NO_RECEIPT);
    let (Some(retention), true) = (retention, is_there) else {
        kept::delete(context, &[sent])?;
        return Ok(());
    };
    let end = time_limits::after(context.now(), "the retention", &retention)?;
    let order = context.start_task()?;
    let project = inputs::text(order, "project").unwrap_or_default();
    let partner = |name: &'static str| (name, context.variable(name).unwrap_or_default());
    let record = kept::record(project, &[partner("portal"), partner("ttp"), partner("dms")]);
    let record = kept::with(kept::with(record, SENT, sent.clone()), kept::BINARIES, vec![sent]);
    Kept::Site.write(context, &record)?;
    time_limits::set(context, "retentionEnd", end);
    Ok(())
}

/// The retention is over: what this site kept of the run goes.
pub(super) struct ForgetSent;

impl ServiceStep for ForgetSent {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        forget(context, Kept::Site)
    }
}

/// Removes what was kept of the run, and says when.
pub(super) fn forget(context: &mut StepContext<'_, '_>, kept: Kept) -> Result<(), StepError> {
    kept.forget(context)?;
    let now = fhir::date::format_instant(context.now());
    context.add_output(inputs::instant("deleted", &now));
    tracing::info!("what was kept of a data-sharing run was deleted after its retention");
    Ok(())
}
