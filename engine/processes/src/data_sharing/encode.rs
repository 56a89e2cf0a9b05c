//! From records to filters: what the trusted third party gets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::Resource;
use linkage::{Encoder, ParameterSet};
use pseudonyms::{Deidentifier, Pseudonyms, Rules};
use secrets::Key;
use serde_json::{Value, json};
use sources::{PersonId, Records, Selection};

use super::delivery::{self, Letter, PartWriter};
use super::extract::{Taker, extract};
use super::parties::{self, address_of, organization_of};
use super::rows::{self, FilterRow};
use super::site::{DELIVERY, delivery_inputs, demand_cohort, order, store_for, text_of};
use super::{Parts, announcement, failure, inputs, kept, person, request};
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Makes the filters for the trusted third party.
pub(super) struct Encode(pub(super) Parts);

impl WorkStep for Encode {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let start = context.start_task()?;
        let key = inputs::text(start, "linkage-key").unwrap_or_default();
        let parameters = inputs::text(start, "linkage-parameters").unwrap_or_default();
        let definition = context.variable("definitionText").unwrap_or_default();
        let input = kept::with(order(context)?, "definition", definition);
        Ok(kept::with(kept::with(input, "key", key), "parameters", parameters))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, encode(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let ttp = context.variable("ttp").unwrap_or_default();
        store_for(context, &done, organization_of(&ttp), DELIVERY)
    }
}

/// Collects a filter of every person.
struct Filters {
    pseudonyms: Pseudonyms,
    encoder: Encoder,
    rows: Vec<FilterRow>,
}

impl Taker for Filters {
    fn take(&mut self, source: &dyn Records, id: &PersonId, _: Vec<Resource>) -> Result<(), String> {
        let patients = source.resources_of(id, &Selection::of_type("Patient")).map_err(|error| error.to_string())?;
        let patient = patients.first().map(|record| person::person(&record.resource)).unwrap_or_default();
        let filter = self.encoder.encode(&patient).ok().map(|filter| filter.to_base64());
        let id = Deidentifier::new(&Rules::default(), &self.pseudonyms).transfer_id("Patient", id.as_str());
        self.rows.push(FilterRow { id, filter });
        Ok(())
    }
}

async fn encode(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let own = context.node().organization_identifier.clone();
    let (portal, ttp) =
        (input.get("portal").cloned().unwrap_or_default(), input.get("ttp").cloned().unwrap_or_default());
    let letter = |sender: &str, recipient: &str, purpose: &str| Letter::of(input, sender, recipient, purpose);
    let key = open_key(parts, text_of(input, "key"), &letter(organization_of(&portal), &own, request::KEY_PURPOSE))?;
    let announced = announcement::fetch(parts, organization_of(&ttp), address_of(&ttp)).await?;
    let parameters = ParameterSet::named(text_of(input, "parameters"))
        .ok_or_else(|| WorkError::failed("the linkage parameters are not known here"))?;
    let filters = Filters {
        pseudonyms: Pseudonyms::new(&parts.vault.secret()?, text_of(input, "project")),
        encoder: Encoder::new(parameters, &key),
        rows: Vec::new(),
    };
    let (_, filters) = extract(parts, text_of(input, "definition"), filters).await?;
    let mut rows = filters.rows;
    demand_cohort(input, rows.len())?;
    // The order of the records says nothing about the order at the hospital.
    rows.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let letter = letter(&own, organization_of(&ttp), "submitLinkage");
    seal_rows(parts, context, &announced, &letter, "filters", rows).await
}

fn open_key(parts: &Parts, sealed: &str, letter: &Letter) -> Result<Key, WorkError> {
    let refused = |_| WorkError::failed("the linkage key cannot be opened");
    let sealed = STANDARD.decode(sealed).map_err(|_| WorkError::failed("the linkage key is no base64"))?;
    let keyring = parts.vault.keyring()?;
    let mut opener = sealing::Opener::new(sealed.as_slice(), &keyring, &letter.binding()).map_err(refused)?;
    let bytes = opener.next_chunk().map_err(refused)?.unwrap_or_default();
    Key::new(&bytes).map_err(|error| WorkError::failed(error.to_string()))
}

/// Seals a list of rows as a delivery.
pub(super) async fn seal_rows<R: serde::Serialize + Send + 'static>(
    parts: &Parts,
    context: &WorkContext,
    announced: &sealing::PublicKey,
    letter: &Letter,
    name: &'static str,
    rows: Vec<R>,
) -> Result<Value, WorkError> {
    let (mut writer, mut files) = PartWriter::new(name);
    let writing = tokio::task::spawn_blocking(move || {
        for row in &rows {
            writer.line(&rows::print(row)?)?;
        }
        writer.finish()
    });
    let sealed = delivery::seal(parts, context, announced, letter, &mut files).await?;
    let written = writing.await.map_err(|error| WorkError::retry(error.to_string()))?;
    written.map_err(WorkError::failed)?;
    Ok(json!(sealed))
}

pub(super) struct SendSubmitLinkage;

impl SendStep for SendSubmitLinkage {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let ttp = context.variable("ttp").unwrap_or_default();
        parties::message(context, "ttp", parties::key_of(&ttp).map(str::to_owned), delivery_inputs(context, DELIVERY))
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
