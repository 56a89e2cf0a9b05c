//! From records to a data set: what the data management site gets.

use std::collections::BTreeMap;

use fhir::Resource;
use pseudonyms::{DateShift, Deidentifier, Pseudonyms, Rules};
use serde_json::{Value, json};
use sources::{PersonId, Records};

use super::delivery::{self, Letter, NDJSON, PartWriter};
use super::extract::{Taker, extract};
use super::parties::{self, address_of, organization_of};
use super::rows::{self, IdRow, ShiftRow};
use super::site::{DELIVERY, delivery_inputs, demand_cohort, order, store_for, text_of};
use super::{Parts, announcement, failure, inputs, kept};
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Extracts, pseudonymises and seals the data for the data management site.
pub(super) struct Deliver(pub(super) Parts);

impl WorkStep for Deliver {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let answer = context.latest_task().filter(|_| parties::is_from(context, "ttp"));
        let code = answer.map_or(Some(failure::FAILED), |answer| inputs::text(answer, "failure")).map(failure::known);
        let shifts = answer.and_then(|answer| inputs::text(answer, "delivery")).map(str::to_owned);
        match (code, shifts) {
            (None, Some(shifts)) => {
                let definition = context.variable("definitionText").unwrap_or_default();
                Ok(kept::with(kept::with(order(context)?, "definition", definition), "shifts", shifts))
            }
            (code, _) => {
                let text = "the trusted third party has linked no persons of this site";
                failure::set(context, code.unwrap_or(failure::FAILED), text);
                Ok(Value::Null)
            }
        }
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            failure::settle(&context, failure::FAILED, deliver(&self.0, input, &context).await)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let dms = context.variable("dms").unwrap_or_default();
        store_for(context, done.get("sealed").unwrap_or(&Value::Null), organization_of(&dms), DELIVERY)?;
        let sent = done.get("sent").map(delivery::uploads).unwrap_or_default();
        if let Some(id) = delivery::create(context, &sent, NDJSON, None)?.pop() {
            context.set(SENT, id);
        }
        for count in ["persons", "resources"] {
            let number = done.get(count).and_then(Value::as_u64).unwrap_or_default();
            context.add_output(inputs::unsigned(count, number));
        }
        Ok(())
    }
}

/// Variable with the id of the Binary in which it stands who was sent: for withdrawals later.
pub(super) const SENT: &str = "sent";

/// Writes what may leave of every person who has a date shift, and counts.
struct Sending {
    pseudonyms: Pseudonyms,
    rules: Rules,
    shifts: BTreeMap<String, DateShift>,
    writer: Option<PartWriter>,
    sent: Vec<IdRow>,
    resources: u64,
    refused: u64,
}

impl Taker for Sending {
    fn take(&mut self, _: &dyn Records, id: &PersonId, resources: Vec<Resource>) -> Result<(), String> {
        let deidentifier = Deidentifier::new(&self.rules, &self.pseudonyms);
        // Somebody who has consented since the filters were made has no shift, and comes with the next run.
        let id = deidentifier.transfer_id("Patient", id.as_str());
        let Some(shift) = self.shifts.get(&id) else { return Ok(()) };
        let writer = self.writer.as_mut().ok_or("the data were ended already")?;
        self.sent.push(IdRow { id });
        for resource in &resources {
            match deidentifier.deidentify(resource, *shift) {
                Ok(outcome) => {
                    self.resources += 1;
                    writer.line(&fhir::json::print(&outcome.resource, false))?;
                }
                Err(_) => self.refused += 1,
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.writer.take().map_or(Ok(()), PartWriter::finish)
    }
}

async fn deliver(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let own = context.node().organization_identifier.clone();
    let (ttp, dms) = (input.get("ttp").cloned().unwrap_or_default(), input.get("dms").cloned().unwrap_or_default());
    let from_ttp = Letter::of(input, organization_of(&ttp), &own, "linkageDone");
    let shifts = delivery::open(parts, address_of(&ttp), text_of(input, "shifts"), from_ttp).await?;
    let shifts: Vec<ShiftRow> = shifts.all_rows().await?;
    let shifts: Result<BTreeMap<String, DateShift>, _> =
        shifts.into_iter().map(|row| DateShift::from_days(row.days).map(|shift| (row.id, shift))).collect();
    let shifts = shifts.map_err(|error| WorkError::failed(error.to_string()))?;
    let announced = announcement::fetch(parts, organization_of(&dms), address_of(&dms)).await?;
    let (writer, mut files) = PartWriter::new("data");
    let sending = Sending {
        pseudonyms: Pseudonyms::new(&parts.vault.secret()?, text_of(input, "project")),
        rules: Rules::default(),
        shifts,
        writer: Some(writer),
        sent: Vec::new(),
        resources: 0,
        refused: 0,
    };
    let to_dms = Letter::of(input, &own, organization_of(&dms), "submitDataSet");
    let extracting = extract(parts, text_of(input, "definition"), sending);
    let sealing = delivery::seal(parts, context, &announced, &to_dms, &mut files);
    let ((_, sent), sealed) = tokio::try_join!(extracting, sealing)?;
    demand_cohort(input, sent.sent.len())?;
    if sent.refused > 0 {
        tracing::warn!(
            refused = sent.refused,
            "resources were not shared, because they cannot be without changing what they say"
        );
    }
    let list = rows::print_all(&sent.sent)?;
    let list = delivery::upload(context, store::new_id(), list.as_bytes()).await?;
    Ok(json!({ "sealed": sealed, "persons": sent.sent.len(), "resources": sent.resources, "sent": [list] }))
}

pub(super) struct SendSubmitDataSet;

impl SendStep for SendSubmitDataSet {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let dms = context.variable("dms").unwrap_or_default();
        parties::message(context, "dms", parties::key_of(&dms).map(str::to_owned), delivery_inputs(context, DELIVERY))
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        failure::unless_delivered(context, result);
        Ok(())
    }
}
