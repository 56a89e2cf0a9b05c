//! Finding out who a person of a data set is, because a finding concerns their health: the portal asks, a person of the
//! trusted third party approves, a person of the site approves, and the site alone learns it.
//!
//! ```text
//! portal ─ pseudonym, reason ─▶ trusted third party [approval] ─ transfer id ─▶ each site of the person [approval]
//!   ◀───────────── found or not, by site ─────────────┘   ◀─ found or not ──┘        └▶ the patient, for some days
//! ```
//!
//! Invariants: neither can do it alone. The site does not know which of its persons has a pseudonym until the third party
//! has opened its table, and the third party cannot tell whose transfer id it has; what it tells is sealed to the site and
//! stays unopened there until the approval. The portal learns whether, never who.

pub(super) mod portal;
pub(super) mod site;
pub(super) mod third_party;

use fhir::Resource;

use super::site::fill_text;
use super::{inputs, limits};
use crate::step::{StepContext, StepError};
use crate::user_task::UserTaskListener;

/// Variable with the organisation that wants to know.
const PORTAL: &str = "portal";
/// Variable with the project.
const PROJECT: &str = "project";

/// Shows to who decides who asks, and why.
pub(super) struct ShowReidentification;

impl UserTaskListener for ShowReidentification {
    fn before_create(&self, context: &mut StepContext<'_, '_>, response: &mut Resource) -> Result<(), StepError> {
        let start = context.start_task()?;
        let portal = context.variable(PORTAL).unwrap_or_default();
        fill_text(response, "project", &context.string(PROJECT).unwrap_or_default());
        fill_text(response, "requester", super::parties::organization_of(&portal));
        // A site is not told the pseudonym.
        fill_text(response, "pseudonym", inputs::text(start, "pseudonym").unwrap_or_default());
        fill_text(response, "purpose", inputs::text(start, "reason").unwrap_or_default());
        Ok(())
    }
}

/// The reason and time of an order, checked.
fn terms(context: &StepContext<'_, '_>) -> Result<(String, time::OffsetDateTime), StepError> {
    let start = context.start_task()?;
    let reason = inputs::text(start, "reason").unwrap_or_default();
    if reason.is_empty() || reason.chars().count() > limits::TEXT {
        return super::parties::failed(format!("a reason of at most {} characters is needed", limits::TEXT));
    }
    let approval = inputs::text(start, "approval-time").unwrap_or_default();
    let end = super::time_limits::after(context.now(), "the approval time", approval)?;
    Ok((reason.to_owned(), end))
}
