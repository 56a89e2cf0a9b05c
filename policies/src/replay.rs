//! What another policy or another allow-list would have decided about requests of the past.
//!
//! The audit log keeps what rules look at: who, from where, when, what, and of a Task its status, process, message,
//! profiles and size. [`Replay::judge`] asks the rules again with these facts. Counted limits and rates are played in the
//! order of the records, from the first one on. What depends on the content of a body beyond that (process authorisation
//! of the Task, entries of a Bundle) is not in the log and is not judged again.

use std::collections::HashMap;

use fhir::{Object, ResourceType, Value};
use time::OffsetDateTime;

use crate::decision::{Charge, ChargeLimit, Context, decide_by_rules};
use crate::identifier::{RuleId, Thumbprint};
use crate::identity::Identity;
use crate::interaction::Interaction;
use crate::matrix::Side;

/// A request of the past as the audit log tells it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The certificate.
    pub thumbprint: Thumbprint,
    /// The first e-mail address of the certificate, if it was recorded.
    pub email: Option<String>,
    /// What was asked.
    pub interaction: Interaction,
    /// Of which type.
    pub resource_type: Option<ResourceType>,
    /// What rules look at in a Task.
    pub task: Option<TaskFacts>,
    /// Time, address, size.
    pub context: Context,
}

/// What rules look at in a Task.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TaskFacts {
    /// `status`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `instantiatesCanonical`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The message name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_name: Option<String>,
    /// `meta.profile`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

/// The answer of today to a request of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The rules permit it.
    Permitted(RuleId),
    /// They refuse it, with the code and the rule.
    Refused(&'static str, Option<RuleId>),
}

/// Plays records in their order.
pub struct Replay<'a> {
    side: Side<'a>,
    identities: HashMap<Thumbprint, Identity>,
    counts: HashMap<(RuleId, String, OffsetDateTime), u64>,
    buckets: HashMap<(RuleId, String), (f64, OffsetDateTime)>,
}

// === impl TaskFacts ===

impl TaskFacts {
    /// Longest text that is kept of a Task.
    const CHARACTERS: usize = 256;

    /// The facts of a Task.
    #[must_use]
    pub fn of(task: &Object) -> Self {
        let view = crate::task::TaskView::of(task);
        let cut =
            |text: &str| text.chars().filter(|character| !character.is_control()).take(Self::CHARACTERS).collect();
        Self {
            status: view.status().map(cut),
            process: view.canonical_text().map(cut),
            message_name: view.message_name().map(cut),
            profiles: view.profiles().take(8).map(cut).collect(),
        }
    }

    /// A Task with these facts and nothing else.
    #[must_use]
    pub fn to_task(&self) -> Object {
        let mut task = Object::new().with("resourceType", "Task");
        if let Some(status) = &self.status {
            task = task.with("status", status.as_str());
        }
        if let Some(process) = &self.process {
            task = task.with("instantiatesCanonical", process.as_str());
        }
        if !self.profiles.is_empty() {
            let profiles: Vec<Value> = self.profiles.iter().map(|profile| Value::from(profile.as_str())).collect();
            task = task.with("meta", Object::new().with("profile", profiles));
        }
        if let Some(name) = &self.message_name {
            let coding = Object::new().with("system", crate::task::BPMN_MESSAGE).with("code", "message-name");
            let kind = Object::new().with("coding", vec![Value::from(coding)]);
            let input = Object::new().with("type", kind).with("valueString", name.as_str());
            task = task.with("input", vec![Value::from(input)]);
        }
        task
    }
}

// === impl Replay ===

impl<'a> Replay<'a> {
    /// Plays against a policy and an allow-list.
    #[must_use]
    pub fn new(side: Side<'a>) -> Self {
        Self { side, identities: HashMap::new(), counts: HashMap::new(), buckets: HashMap::new() }
    }

    /// What would be decided about the record.
    pub fn judge(&mut self, recorded: &Recorded) -> Replayed {
        let Side { policy, allow_list } = self.side;
        let identity = self
            .identities
            .entry(recorded.thumbprint.clone())
            .or_insert_with(|| allow_list.identify(&recorded.thumbprint, recorded.email.as_deref(), policy));
        let task = recorded.task.as_ref().map(TaskFacts::to_task);
        let decided = decide_by_rules(
            policy,
            allow_list,
            identity,
            recorded.interaction,
            recorded.resource_type,
            task.as_ref(),
            &recorded.context,
        );
        match decided {
            Err(denial) => Replayed::Refused(denial.code.as_str(), denial.rule),
            Ok((rule, charges)) => match charges.iter().find(|charge| !self.take(charge, recorded.context.now)) {
                Some(charge) => {
                    let code = match charge.limit {
                        ChargeLimit::Rate { .. } => "GW-RATE-003",
                        ChargeLimit::Count { .. } => "EN-FHIR-026",
                    };
                    Replayed::Refused(code, Some(charge.rule.clone()))
                }
                None => Replayed::Permitted(rule),
            },
        }
    }

    fn take(&mut self, charge: &Charge, now: OffsetDateTime) -> bool {
        match charge.limit {
            ChargeLimit::Count { most, start, .. } => {
                let used = self.counts.entry((charge.rule.clone(), charge.caller.clone(), start)).or_insert(0);
                if *used >= most {
                    return false;
                }
                *used += 1;
                true
            }
            ChargeLimit::Rate { most, span } => {
                let most = f64::from(most);
                let bucket = self.buckets.entry((charge.rule.clone(), charge.caller.clone())).or_insert((most, now));
                let passed = (now - bucket.1).as_seconds_f64().max(0.0);
                let left = (most / span.as_secs_f64().max(1e-3)).mul_add(passed, bucket.0).min(most);
                let allowed = left >= 1.0;
                *bucket = (if allowed { left - 1.0 } else { left }, now);
                allowed
            }
        }
    }
}

#[cfg(test)]
mod tests;
