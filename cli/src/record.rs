//! Decisions in the gateway's audit log, as `explain` and `replay` read them.

use std::borrow::Cow;
use std::net::IpAddr;

use policies::replay::{Recorded, TaskFacts};
use policies::{Context, Interaction, Origin};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One line of the log.
#[derive(Debug, Deserialize)]
pub(crate) struct Line<'l> {
    #[serde(borrow)]
    pub(crate) time: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) record: Decided<'l>,
}

/// The record of a decision; other records have no interaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Decided<'l> {
    #[serde(borrow, default)]
    pub(crate) event: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) correlation_id: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) address: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) thumbprint: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) name: Option<Cow<'l, str>>,
    #[serde(borrow)]
    pub(crate) email: Option<Cow<'l, str>>,
    #[serde(borrow)]
    pub(crate) interaction: Option<Cow<'l, str>>,
    #[serde(borrow)]
    pub(crate) resource_type: Option<Cow<'l, str>>,
    #[serde(borrow)]
    pub(crate) code: Option<Cow<'l, str>>,
    #[serde(borrow)]
    pub(crate) rule: Option<Cow<'l, str>>,
    pub(crate) task: Option<TaskFacts>,
    pub(crate) body_bytes: Option<u64>,
}

// === impl Line ===

impl<'l> Line<'l> {
    /// Reads a line; none if it is no record of the log's form.
    pub(crate) fn read(line: &'l str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// The request, if the line is about one whose interaction was known.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        let record = &self.record;
        let interaction = record.interaction.as_deref()?;
        let interaction = Interaction::ALL.iter().copied().find(|known| known.as_str() == interaction)?;
        let resource_type = match record.resource_type.as_deref() {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let now = OffsetDateTime::parse(&self.time, &Rfc3339).ok()?;
        let address: IpAddr = record.address.parse().ok()?;
        let context = Context { now, origin: Origin::Address(address), body_bytes: record.body_bytes };
        Some(Recorded {
            thumbprint: record.thumbprint.parse().ok()?,
            email: record.email.as_deref().map(str::to_owned),
            interaction,
            resource_type,
            task: record.task.clone(),
            context,
        })
    }

    /// Whether the rules of policy and allow-list decided, and nothing that a replay does not judge.
    pub(crate) fn is_by_rules(&self) -> bool {
        match self.record.event.as_ref() {
            "permit" => true,
            "deny" | "refuse" => matches!(
                self.record.code.as_deref(),
                Some(
                    "GW-IDENT-003"
                        | "GW-IDENT-004"
                        | "GW-POL-011"
                        | "GW-POL-012"
                        | "GW-POL-013"
                        | "GW-POL-014"
                        | "GW-RATE-003"
                )
            ),
            _ => false,
        }
    }
}
