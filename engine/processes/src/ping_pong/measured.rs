//! Ping-pong 2.0 (`process-engine.md` 6.2), which also measures transfer: each side stores random bytes for the other,
//! downloads those of the other, and tells how long that took. Runs beside 1.0; only the version tells them apart.
//!
//! ```text
//! ping                                      pong
//! targets, Binary for them ── ping ───────▶ download, Binary for who asked
//! download ◀───────────────── pong ──────── (bytes and duration of its download)
//! speeds of both ways ─────── cleanupPong ▶ speeds of both ways; both delete their Binary
//! ```
//!
//! A negative size asks for a ping without transfer. What goes wrong in between is an error of the result, never a failure
//! of the process. Ours: a Binary is readable by the targets alone, and is fetched only from the endpoint of who named it.

mod ping;
mod pong;
mod resource;
mod transfer;

use std::sync::Arc;

use fhir::{Number, Object, Resource, Value};
use serde_json::Value as Json;

use super::{PING, autostart, ping as first, targets};
use crate::plugin::{Implementations, Plugin};
use crate::sender::SetCorrelationKey;
use crate::step::{BoxFuture, StepContext, StepError};
use crate::task;

const VERSION: &str = "2.0";
/// Bytes that a side offers and downloads at most (the reference's default).
const LARGEST: i64 = 10_000_000;

const SIZE: &str = "download-resource-size-bytes";
const REFERENCE: &str = "download-resource-reference";
const DOWNLOADED_BYTES: &str = "downloaded-bytes";
const DOWNLOADED_DURATION: &str = "downloaded-duration";
const TIMEOUT: &str = "pong-timeout-duration";

/// Variable with the bytes to be offered and downloaded; negative: none.
const SIZE_VARIABLE: &str = "downloadResourceSizeBytes";
/// Variable of a branch or instance with the status of a message that was not sent.
const STATUS: &str = "statusCode";

/// Downloading from partners.
pub trait Downloads: Send + Sync {
    /// Reads a Binary at a partner's endpoint and forgets it; gives the number of bytes, or the end of the error code that
    /// the reference has for what happened (`http-403`, `timeout-read`).
    fn download<'a>(&'a self, base_url: &'a str, id: &'a str) -> BoxFuture<'a, Result<u64, &'static str>>;
}

macro_rules! resource {
    (same $path:literal) => {
        ($path, include_str!(concat!("../../resources/ping-pong/", $path)))
    };
    ($path:literal) => {
        ($path, include_str!(concat!("../../resources/ping-pong-2/", $path)))
    };
}

macro_rules! class {
    ($name:literal) => {
        concat!("dev.dsf.bpe.", $name)
    };
}

/// The plug-in.
#[must_use]
pub fn plugin(downloads: &Arc<dyn Downloads>) -> Plugin {
    Plugin {
        name: "ping-pong",
        version: VERSION,
        date: "2025-10-21",
        models: vec![
            include_str!("../../resources/ping-pong-2/bpmn/ping-autostart.bpmn"),
            include_str!("../../resources/ping-pong-2/bpmn/ping.bpmn"),
            include_str!("../../resources/ping-pong-2/bpmn/pong.bpmn"),
        ],
        // Terminology before profiles, profiles before what they validate. What did not change is 1.0's.
        resources: vec![
            resource!("CodeSystem/ping.xml"),
            resource!(same "CodeSystem/ping-status.xml"),
            resource!("CodeSystem/ping-error.xml"),
            resource!(same "ValueSet/ping.xml"),
            resource!(same "ValueSet/ping-status.xml"),
            resource!(same "ValueSet/pong-status.xml"),
            resource!("ValueSet/ping-units.xml"),
            resource!("StructureDefinition/extension-error.xml"),
            resource!("StructureDefinition/extension-ping-status.xml"),
            resource!("StructureDefinition/task-start-ping-autostart.xml"),
            resource!(same "StructureDefinition/task-stop-ping-autostart.xml"),
            resource!("StructureDefinition/task-start-ping.xml"),
            resource!("StructureDefinition/task-ping.xml"),
            resource!("StructureDefinition/task-pong.xml"),
            resource!("StructureDefinition/task-cleanup-pong.xml"),
            resource!(same "ActivityDefinition/ping-autostart.xml"),
            resource!(same "ActivityDefinition/ping.xml"),
            resource!("ActivityDefinition/pong.xml"),
            resource!("Task/task-start-ping-autostart.xml"),
            resource!(same "Task/task-stop-ping-autostart.xml"),
            resource!("Task/task-start-ping.xml"),
        ],
        implementations: implementations(downloads),
    }
}

fn implementations(downloads: &Arc<dyn Downloads>) -> Implementations {
    Implementations::default()
        .with_service(class!("service.SetTargetAndConfigureTimer"), autostart::SetTargetAndConfigureTimer)
        .with_send(class!("message.SendStartPingMessage"), ping::SendStartPing)
        .with_service(class!("service.ping.SetPongTimeoutDuration"), ping::SetPongTimeout)
        .with_service(class!("service.SetDownloadResourceSize"), resource::SetSize)
        .with_service(class!("service.ping.SelectPingTargets"), targets::SelectPingTargets)
        .with_work(class!("service.GenerateAndStoreResource"), resource::Generate)
        .with_send(class!("message.SendPingMessage"), ping::SendPing)
        .with_service(class!("service.ping.LogAndSaveSendError"), first::LogSendError)
        .with_listener(class!("listener.SetCorrelationKeyListener"), SetCorrelationKey)
        .with_service(class!("service.ping.LogNoResponse"), first::LogNoResponse)
        .with_service(class!("service.ping.SavePong"), ping::SavePong)
        .with_work(
            class!("service.ping.DownloadResourceAndMeasureSpeedInSubProcess"),
            resource::Download { from: resource::Side::Pong, downloads: Arc::clone(downloads) },
        )
        .with_send(class!("message.CleanupPongMessage"), ping::SendCleanup)
        .with_service(class!("service.Cleanup"), resource::Cleanup)
        .with_service(class!("service.ping.StoreResults"), ping::StoreResults)
        .with_service(class!("service.pong.LogPing"), super::pong::LogPing)
        .with_service(class!("service.pong.SelectPongTarget"), super::pong::SelectPongTarget)
        .with_work(
            class!("service.pong.DownloadResourceAndMeasureSpeed"),
            resource::Download { from: resource::Side::Ping, downloads: Arc::clone(downloads) },
        )
        .with_service(class!("service.pong.EstimateCleanupTimerDuration"), pong::EstimateCleanupTimer)
        .with_send(class!("message.SendPongMessage"), pong::SendPong)
        .with_service(class!("service.pong.StoreUploadSpeed"), pong::StoreUploadSpeed)
        .with_service(class!("service.pong.SaveTimeoutError"), pong::SaveTimeoutError)
        .with_service(class!("service.pong.StoreErrors"), pong::StoreResults)
}

/// An input or output of these processes, whose codings have a version.
fn parameter(code: &str) -> Object {
    let coding = Object::new().with("system", PING).with("version", VERSION).with("code", code);
    Object::new().with("type", Object::new().with("coding", vec![coding.into()]))
}

fn decimal(code: &str, number: i64) -> Object {
    match Number::parse(&number.to_string()) {
        Some(number) => parameter(code).with("valueDecimal", Value::Number(number)),
        None => parameter(code),
    }
}

/// A whole number in a decimal input.
fn decimal_input(task: &Resource, code: &str) -> Option<i64> {
    match task::input(task, PING, code)?.get("valueDecimal")? {
        // Decimals of other nodes may have a fraction or an exponent.
        Value::Number(number) => {
            number.as_str().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number as i64)
        }
        _ => None,
    }
}

/// An integer variable.
fn integer(context: &StepContext<'_, '_>, name: &str) -> Option<i64> {
    context.variable(name).as_ref().and_then(Json::as_i64)
}

/// Name of a variable of the instance that belongs to one target.
fn of_target(name: &str, correlation_key: &str) -> String {
    format!("{name}_{correlation_key}")
}

fn correlation_key(context: &StepContext<'_, '_>) -> Result<String, StepError> {
    first::target_member(context, "correlationKey")
}
