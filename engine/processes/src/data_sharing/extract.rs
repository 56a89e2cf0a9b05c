//! Going through the records of the site: cohort, consent, selection, beside the runtime's threads.

use std::sync::Arc;

use extraction::{ConsentPolicy, Definition, ExtractError, Extraction, Report};
use fhir::Resource;
use sources::{PersonId, ReadError, Records};

use super::{Parts, failure};
use crate::step::WorkError;

/// Who takes the resources of persons.
pub(super) trait Taker: Send + 'static {
    fn take(&mut self, source: &dyn Records, person: &PersonId, resources: Vec<Resource>) -> Result<(), String>;

    /// After the last person.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Goes through the records beside the runtime's threads; gives the taker back.
pub(super) async fn extract<T: Taker>(parts: &Parts, definition: &str, mut taker: T) -> Result<(Report, T), WorkError> {
    let definition = Definition::parse(definition.as_bytes())
        .map_err(|error| failure::refused(failure::DEFINITION_REFUSED, error.to_string()))?;
    let records = Arc::clone(&parts.records);
    let run = move || {
        let source = records.open()?;
        let extraction = Extraction {
            source: source.as_ref(),
            definition: &definition,
            policy: &ConsentPolicy::default(),
            today: time::OffsetDateTime::now_utc().date(),
        };
        let begun = std::time::Instant::now();
        let report = extraction.run(&mut |person, resources| taker.take(source.as_ref(), person, resources));
        let report = report.map_err(extraction_failed)?;
        taker.end().map_err(WorkError::failed)?;
        tracing::info!(milliseconds = begun.elapsed().as_secs_f64() * 1e3, "the records were gone through");
        Ok((report, taker))
    };
    let ended = tokio::task::spawn_blocking(run).await;
    ended.unwrap_or_else(|error| Err(WorkError::retry(format!("the extraction ended abnormally: {error}"))))
}

/// Counts only.
pub(super) struct Nobody;

impl Taker for Nobody {
    fn take(&mut self, _: &dyn Records, _: &PersonId, _: Vec<Resource>) -> Result<(), String> {
        Ok(())
    }
}

/// Whoever has asked reads what stands in the Task: where records lie and what is wrong with one is for the log alone.
fn extraction_failed(error: ExtractError) -> WorkError {
    const NOT_READY: &str = "the records of this site are not ready; its log says why";
    match error {
        ExtractError::Cohort(error) => failure::refused(failure::DEFINITION_REFUSED, error.to_string()),
        ExtractError::Read(ReadError::Query(error)) => failure::refused(failure::DEFINITION_REFUSED, error.to_string()),
        ExtractError::Read(error) => {
            let remedy = match &error {
                ReadError::Server(error) => error.remedy(),
                _ => None,
            };
            tracing::error!(%error, remedy, "the records of this site cannot be read for a data set");
            if error.may_pass() {
                WorkError::retry(NOT_READY)
            } else {
                failure::refused(failure::RECORDS_NOT_READY, NOT_READY)
            }
        }
        ExtractError::Taker(error) => WorkError::failed(error),
    }
}
