//! The ping-pong process with the wire identity of DSF's version 1.0 (`process-engine.md` 6.1): one node sends a Task to
//! every other, each answers with a Task, and the first node stores who answered.
//!
//! Canonicals, message names, profiles, codes and status values are DSF's, so that a node of the reference and this one
//! can ping each other. Two things are ours: an answer goes only to an endpoint that belongs to the requester (the
//! reference does not check that), and the result of an answered ping carries the round trip in an extension of our own,
//! which the profile's open slicing permits.

mod autostart;
pub mod measured;
mod ping;
mod pong;
mod targets;

use fhir::{Object, Value};

use crate::outbox::{DeliveryFailure, FailureKind};
use crate::plugin::{Implementations, Plugin};
use crate::sender::SetCorrelationKey;
use crate::{task, terms};

/// Coding system of inputs and outputs.
const PING: &str = "http://dsf.dev/fhir/CodeSystem/ping";
/// Coding system of results.
const PING_STATUS: &str = "http://dsf.dev/fhir/CodeSystem/ping-status";
/// Extension with the details of a result.
const PING_STATUS_EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-ping-status";
/// Our own child extension: time from sending the ping to the receipt of the pong.
const ROUND_TRIP_EXTENSION: &str = "http://schleuse.example/fhir/StructureDefinition/extension-ping-round-trip";

/// Result of a ping or pong for one target.
struct PingResult<'r> {
    status: &'r str,
    organization_identifier: &'r str,
    endpoint_identifier: &'r str,
    correlation_key: &'r str,
    error: Option<&'r str>,
    round_trip_milliseconds: Option<i64>,
}

macro_rules! resource {
    ($path:literal) => {
        ($path, include_str!(concat!("../resources/ping-pong/", $path)))
    };
}

/// The plug-in.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin {
        name: "ping-pong",
        version: "1.0",
        date: "2023-09-12",
        models: vec![
            include_str!("../resources/ping-pong/bpmn/ping-autostart.bpmn"),
            include_str!("../resources/ping-pong/bpmn/ping.bpmn"),
            include_str!("../resources/ping-pong/bpmn/pong.bpmn"),
        ],
        // Terminology before profiles, profiles before what they validate.
        resources: vec![
            resource!("CodeSystem/ping.xml"),
            resource!("CodeSystem/ping-status.xml"),
            resource!("ValueSet/ping.xml"),
            resource!("ValueSet/ping-status.xml"),
            resource!("ValueSet/pong-status.xml"),
            resource!("StructureDefinition/extension-ping-status.xml"),
            resource!("StructureDefinition/task-start-ping-autostart.xml"),
            resource!("StructureDefinition/task-stop-ping-autostart.xml"),
            resource!("StructureDefinition/task-start-ping.xml"),
            resource!("StructureDefinition/task-ping.xml"),
            resource!("StructureDefinition/task-pong.xml"),
            resource!("ActivityDefinition/ping-autostart.xml"),
            resource!("ActivityDefinition/ping.xml"),
            resource!("ActivityDefinition/pong.xml"),
            resource!("Task/task-start-ping-autostart.xml"),
            resource!("Task/task-stop-ping-autostart.xml"),
            resource!("Task/task-start-ping.xml"),
        ],
        implementations: implementations(),
    }
}

fn implementations() -> Implementations {
    Implementations::default()
        .with_service("dev.dsf.bpe.service.SetTargetAndConfigureTimer", autostart::SetTargetAndConfigureTimer)
        .with_service("dev.dsf.bpe.service.SelectPingTargets", targets::SelectPingTargets)
        .with_service("dev.dsf.bpe.service.LogSendError", ping::LogSendError)
        .with_service("dev.dsf.bpe.service.LogPong", ping::LogPong)
        .with_service("dev.dsf.bpe.service.LogNoResponse", ping::LogNoResponse)
        .with_service("dev.dsf.bpe.service.SaveResults", ping::SaveResults)
        .with_service("dev.dsf.bpe.service.LogPing", pong::LogPing)
        .with_service("dev.dsf.bpe.service.SelectPongTarget", pong::SelectPongTarget)
        .with_send("dev.dsf.bpe.message.SendStartPing", autostart::SendStartPing)
        .with_send("dev.dsf.bpe.message.SendPing", ping::SendPing)
        .with_send("dev.dsf.bpe.message.SendPong", pong::SendPong)
        .with_listener("dev.dsf.bpe.listener.SetCorrelationKeyListener", SetCorrelationKey)
}

/// The status that DSF gives to a failed delivery.
const fn status_of(failure: &DeliveryFailure) -> &'static str {
    match failure.kind {
        FailureKind::Forbidden => "not-allowed",
        FailureKind::NotReachable => "not-reachable",
    }
}

/// An output of type `ping-status` or `pong-status` (DSF profile `extension-ping-status`; order of children as DSF).
fn result_output(code: &str, result: &PingResult<'_>) -> Object {
    let identifier = |url: &str, system: &str, value: &str| {
        Object::new()
            .with("url", url)
            .with("valueIdentifier", Object::new().with("system", system).with("value", value))
    };
    let mut children: Vec<Value> = vec![
        Object::new().with("url", "correlation-key").with("valueString", result.correlation_key).into(),
        identifier("organization-identifier", terms::ORGANIZATION_IDENTIFIER, result.organization_identifier).into(),
        identifier("endpoint-identifier", terms::ENDPOINT_IDENTIFIER, result.endpoint_identifier).into(),
    ];
    if let Some(error) = result.error {
        children.push(Object::new().with("url", "error-message").with("valueString", error).into());
    }
    if let Some(milliseconds) = result.round_trip_milliseconds {
        let duration = Object::new()
            .with("value", milliseconds)
            .with("unit", "ms")
            .with("system", "http://unitsofmeasure.org")
            .with("code", "ms");
        children.push(Object::new().with("url", ROUND_TRIP_EXTENSION).with("valueDuration", duration).into());
    }
    let details = Object::new().with("url", PING_STATUS_EXTENSION).with("extension", children);
    let status = Object::new().with("system", PING_STATUS).with("code", result.status);
    let mut output = Object::new().with("extension", vec![details.into()]);
    for (name, value) in task::parameter(PING, code).iter() {
        output.set(name, value.clone());
    }
    output.with("valueCoding", status)
}
