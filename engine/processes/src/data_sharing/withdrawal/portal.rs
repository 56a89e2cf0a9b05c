//! The portal's side: the data set without who has withdrawn takes the place of the one before.

use serde_json::{Value, json};

use super::super::kept::{self, Kept};
use super::super::parties::{failed, organization_of};
use super::super::release::REVISION;
use super::super::request::{receive, take_over};
use super::super::{Parts, failure, inputs};
use super::asker;
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

pub(in super::super) struct CheckRevised;

impl ServiceStep for CheckRevised {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(record) = Kept::Portal.read(context)? else {
            return failed("this node has not asked for the data set of this run");
        };
        let dms = record.get("dms").cloned().unwrap_or_default();
        let (asker, key) = asker(context)?;
        if asker != organization_of(&dms) {
            return failed("the data set of this run is provided by another organisation");
        }
        context.set("asker", kept::with(dms, "correlationKey", key));
        Ok(())
    }
}

pub(in super::super) struct ReceiveRevision(pub(in super::super) Parts);

impl WorkStep for ReceiveRevision {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let record = Kept::Portal.read(context)?.unwrap_or_default();
        Ok(json!({
            "project": record.get("project"),
            "run": context.business_key(),
            "dms": record.get("dms"),
            "delivery": inputs::text(context.start_task()?, "delivery"),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let received = receive(&self.0, input, "dataSetRevised", &context).await;
            failure::settle(&context, failure::FAILED, received)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let told = context.start_task()?.clone();
        let revision = inputs::count(&told, REVISION).unwrap_or_default();
        take_over(context, &done, revision)?;
        for count in [REVISION, "persons", "resources"] {
            if let Some(number) = inputs::count(&told, count) {
                context.add_output(inputs::unsigned(count, number));
            }
        }
        tracing::info!(revision, "a data set without persons who have withdrawn has taken the place of the one before");
        Ok(())
    }
}

pub(in super::super) struct ConcludeRevised;

impl ServiceStep for ConcludeRevised {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        failure::conclude(context, Vec::new())
    }
}
