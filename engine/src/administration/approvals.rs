//! Commands about changes of the allow-list that wait for approval.
//!
//! An approval is the [`Seal`] of an officer in office over the organisation and the digest of the change. The seals are
//! verified again, all of them, each time one comes in and before the change is carried out; what enough officers have
//! approved is carried out by the endpoint in one transaction.

use std::sync::Arc;

use certs::SignedPurpose;
use endpoint::{ApplyError, Judgement, PendingChange};
use node::officers::{self, Officers, Seal};
use policies::policy::Approval;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Administration, CommandError};

/// `POST /allow-list/approve`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    digest: String,
    seal: Seal,
}

/// `POST /allow-list/reject`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    digest: String,
    reason: String,
}

/// Longest reason in the audit log.
const REASON_CHARACTERS: usize = 200;

impl Administration {
    /// What waits, without its content.
    pub(super) async fn pending_changes(&self) -> Result<Value, CommandError> {
        let waiting = self.endpoint.pending_changes().await?;
        let required = self.required_approvals();
        let list: Vec<Value> = waiting
            .iter()
            .map(|pending| {
                json!({
                    "digest": pending.digest,
                    "by": pending.by,
                    "since": pending.since,
                    "resources": pending.steps.len(),
                    "approved-by": names(&pending.approvals),
                })
            })
            .collect();
        Ok(json!({ "required": required, "pending": list }))
    }

    /// One change with everything that it stores.
    pub(super) async fn pending_change(&self, digest: &str) -> Result<Value, CommandError> {
        let pending = self.find_pending(digest).await?;
        serde_json::to_value(&pending).map_err(|error| CommandError::Refused(error.to_string()))
    }

    /// Adds an approval, and carries the change out if it was the last that is needed.
    pub(super) async fn approve_change(&self, body: &[u8], uid: u32) -> Result<Value, CommandError> {
        let Approve { digest, seal } =
            serde_json::from_slice(body).map_err(|error| CommandError::Usage(error.to_string()))?;
        let officers = self.officers()?;
        let organization = self.identity.organization().map(ToString::to_string).unwrap_or_default();
        let required = self.required_approvals();
        // Asked twice: now for the record, which comes first, and in the transaction together with what was approved
        // meanwhile.
        let waiting = self.find_pending(&digest).await?;
        let before = judge(&officers, &organization, required, &waiting, seal.clone())?;
        let names = names(&before.approvals).join("; ");
        self.records.administration(&format!("approval of {digest} by {names}"), uid).await?;
        let judge = move |pending: &PendingChange| judge(&officers, &organization, required, pending, seal);
        let after = self.endpoint.approve_pending::<CommandError>(self.identity.clone(), &digest, judge).await?;
        if after.carry_out {
            let officers = self::names(&after.approvals).join("; ");
            tracing::info!(digest, officers, "approved change of the allow-list carried out");
        }
        let (approvals, applied) = (after.approvals.len(), after.carry_out);
        Ok(json!({ "digest": digest, "approvals": approvals, "required": required, "applied": applied }))
    }

    /// Drops a change.
    pub(super) async fn reject_change(&self, body: &[u8], uid: u32) -> Result<Value, CommandError> {
        let command: Reject = serde_json::from_slice(body).map_err(|error| CommandError::Usage(error.to_string()))?;
        let reason: String =
            command.reason.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS).collect();
        let digest = self.find_pending(&command.digest).await?.digest;
        self.records.administration(&format!("rejection of {digest}: {reason}"), uid).await?;
        self.endpoint.drop_pending(&digest).await?;
        Ok(json!({ "digest": digest, "rejected": true }))
    }

    async fn find_pending(&self, digest: &str) -> Result<PendingChange, CommandError> {
        let waiting = self.endpoint.pending_changes().await?;
        let unknown = || CommandError::Usage("no change with this digest waits".to_owned());
        waiting.into_iter().find(|pending| pending.digest == digest).ok_or_else(unknown)
    }

    /// Those in office. Whom `node.toml` names meanwhile comes into office by a signed policy.
    fn officers(&self) -> Result<Arc<Officers>, CommandError> {
        self.officers.load_full().ok_or_else(|| CommandError::Refused("the node has no officers in office".to_owned()))
    }

    /// What is left over from a policy with approval needs one person still.
    fn required_approvals(&self) -> usize {
        match self.policies.active().allow_list().approval {
            Approval::None | Approval::OnePerson => 1,
            Approval::TwoPerson => 2,
        }
    }
}

/// What becomes of a change with one more seal. All of them are verified again.
fn judge(
    officers: &Officers,
    organization: &str,
    required: usize,
    pending: &PendingChange,
    seal: Seal,
) -> Result<Judgement, CommandError> {
    if pending.digest_now() != pending.digest {
        return Err(ApplyError::Damaged.into());
    }
    let mut seals =
        pending.approvals.iter().map(|text| read_seal(text)).collect::<Result<Vec<Seal>, CommandError>>()?;
    seals.push(seal);
    let content = officers::list_change_content(organization, &pending.digest);
    let signers = officers
        .verify(SignedPurpose::AllowListChange, &content, &seals)
        .map_err(|(index, problem)| CommandError::Refused(format!("signature {} {problem}", index + 1)))?;
    let now = time::OffsetDateTime::now_utc();
    if let Some(late) = signers.iter().find(|signer| !signer.is_valid_at(now)) {
        return Err(CommandError::Refused(format!("the certificate of {} is not valid now", late.subject())));
    }
    let texts: Result<Vec<String>, serde_json::Error> = seals.iter().map(serde_json::to_string).collect();
    let approvals = texts.map_err(|error| CommandError::Refused(error.to_string()))?;
    Ok(Judgement { approvals, carry_out: signers.len() >= required })
}

fn read_seal(text: &str) -> Result<Seal, CommandError> {
    serde_json::from_str(text).map_err(|error| CommandError::Refused(format!("a stored approval is damaged: {error}")))
}

fn names(approvals: &[String]) -> Vec<String> {
    approvals.iter().filter_map(|text| read_seal(text).ok()).map(|seal| seal.name).collect()
}

impl From<ApplyError> for CommandError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}
