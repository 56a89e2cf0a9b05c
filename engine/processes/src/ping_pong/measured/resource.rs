//! The bytes that a side offers, and the download of those of the other side.

use std::sync::Arc;
use std::time::Instant;

use fhir::{Object, Resource, ResourceType};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::PING;
use super::super::ping::target_member;
use super::transfer::Transfer;
use super::{
    Downloads, LARGEST, REFERENCE, SIZE, SIZE_VARIABLE, correlation_key, decimal_input, integer, of_target, parameter,
};
use crate::data_sharing::delivery::readers;
use crate::feasibility::id_at;
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::task;
use crate::work::WorkContext;

/// Variable with the id of the Binary that this side offers.
const BINARY: &str = "resourceId";
/// Bytes that are written at once.
const PART: usize = 256 * 1024;

/// How many bytes are offered and downloaded: what the Task says, within what this node allows.
pub(super) struct SetSize;

impl ServiceStep for SetSize {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let size = decimal_input(context.start_task()?, SIZE).unwrap_or(LARGEST);
        context.set(SIZE_VARIABLE, size.clamp(-1, LARGEST));
        Ok(())
    }
}

/// Stores random bytes that the targets may read.
pub(super) struct Generate;

impl WorkStep for Generate {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        Ok(json!({ "bytes": integer(context, SIZE_VARIABLE).unwrap_or(0), "seed": context.new_id() }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let seed = input.get("seed").and_then(Value::as_str).unwrap_or_default();
            let mut left = input.get("bytes").and_then(Value::as_u64).unwrap_or(0);
            let mut writer = context.write_content().await?;
            let mut number: u64 = 0;
            while left > 0 {
                let mut part = Vec::with_capacity(PART);
                while part.len() < PART && left > 0 {
                    let block = Sha256::new().chain_update(seed).chain_update(number.to_be_bytes()).finalize();
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                    part.extend(block.iter().take(taken));
                    left -= taken as u64;
                    number += 1;
                }
                writer.write(&part).await?;
            }
            let (upload, _) = writer.finish().await?;
            Ok(Value::String(upload))
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let targets =
            context.variable("targets").or_else(|| context.variable("target").map(|one| json!({ "entries": [one] })));
        let entries = targets.as_ref().and_then(|targets| targets.get("entries")?.as_array());
        let organizations: Vec<&str> = entries
            .into_iter()
            .flatten()
            .filter_map(|target| target.get("organizationIdentifierValue")?.as_str())
            .collect();
        let mut binary = Resource::new("Binary");
        binary.set("meta", Object::new().with("tag", readers(organizations)));
        binary.set("contentType", "application/octet-stream");
        let id = context.create_binary(binary, output.as_str().unwrap_or_default())?;
        context.set(BINARY, id);
        Ok(())
    }
}

/// The input that tells the other side where the bytes are.
pub(super) fn reference(context: &StepContext<'_, '_>) -> Option<Object> {
    let url = format!("{}/Binary/{}", context.node().base_url, context.string(BINARY)?);
    let reference = Object::new().with("reference", url).with("type", "Binary");
    Some(parameter(REFERENCE).with("valueReference", reference))
}

/// Whose bytes are downloaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those that the ping offers.
    Ping,
    /// Those that a pong offers.
    Pong,
}

/// Downloads what the other side offers. Whatever happens is a result.
pub(super) struct Download {
    pub(super) from: Side,
    pub(super) downloads: Arc<dyn Downloads>,
}

/// Variable with a transfer, of one target or of the instance.
pub(super) const DOWNLOADED: &str = "downloaded";
/// Variable with the code of what went wrong with it.
pub(super) const DOWNLOAD_ERROR: &str = "downloadError";

impl Download {
    /// The Task that names the bytes.
    fn offer<'c>(&self, context: &StepContext<'c, '_>) -> Result<&'c Resource, StepError> {
        match self.from {
            Side::Ping => context.start_task(),
            Side::Pong => context.latest_task().ok_or_else(|| StepError::Failed("there is no pong".to_owned())),
        }
    }
}

impl WorkStep for Download {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let base = target_member(context, "endpointUrl")?;
        let reference = task::input(self.offer(context)?, PING, REFERENCE);
        let reference = reference.and_then(|input| input.get("valueReference")?.str("reference"));
        let id = reference.and_then(|reference| id_at(reference, &base, "Binary"));
        Ok(json!({ "base": base, "id": id }))
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let text = |name: &str| input.get(name).and_then(Value::as_str);
            let (Some(base), Some(id)) = (text("base"), text("id")) else {
                return Ok(json!({ "error": "missing-reference" }));
            };
            let begun = Instant::now();
            match self.downloads.download(base, id).await {
                Ok(bytes) => {
                    let milliseconds = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
                    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                    serde_json::to_value(Transfer { bytes, milliseconds })
                        .map_err(|error| WorkError::failed(error.to_string()))
                }
                Err(error) => Ok(json!({ "error": error })),
            }
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let name = |name: &str| match self.from {
            Side::Ping => Ok(name.to_owned()),
            Side::Pong => Ok::<_, StepError>(of_target(name, &correlation_key(context)?)),
        };
        let (downloaded, error) = (name(DOWNLOADED)?, name(DOWNLOAD_ERROR)?);
        match output.get("error").and_then(Value::as_str) {
            Some(code) => {
                tracing::warn!(error = code, "the resource of the other side was not downloaded");
                context.set(error, code);
            }
            None => context.set(downloaded, output),
        }
        Ok(())
    }
}

/// The transfer in a variable.
pub(super) fn transfer(context: &StepContext<'_, '_>, name: &str) -> Option<Transfer> {
    context.variable(name).and_then(|value| serde_json::from_value(value).ok())
}

/// Removes what this side offered.
pub(super) struct Cleanup;

impl ServiceStep for Cleanup {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(id) = context.string(BINARY) else { return Ok(()) };
        // An administrator may have been faster.
        if context.transaction().read(ResourceType::Binary, &id)?.current().is_some() {
            context.transaction().delete(ResourceType::Binary, &id)?;
            context.transaction().delete_permanently(ResourceType::Binary, &id)?;
        }
        Ok(())
    }
}
