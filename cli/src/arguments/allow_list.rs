//! The allow-list: what a list changes, applying it, approving what is pending.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AllowListDownload, AllowListPublish, OfficerKey};

#[derive(Debug, Subcommand)]
pub(crate) enum AllowList {
    /// Say who gains and loses what by a Bundle, which certificates change, and which running Tasks are affected
    Diff(AllowListDiff),
    /// Bring a Bundle into the running node, keeping the way back
    ///
    /// Refuses what is no allow-list: other types, other methods, an entry that is not what its URL names, a certificate that
    /// two organisations would have, and everything about the own organisation.
    Apply(AllowListApply),
    /// Take the last applied Bundle back
    Rollback(AllowListRollback),
    /// Show changes that wait for approval; with --digest everything that one of them stores
    ///
    /// With `approval` in the section allow-list of the policy every change of an Organization, an Endpoint or an
    /// OrganizationAffiliation waits here, whoever sent it and however.
    Pending(AllowListPending),
    /// Approve a change as one of the officers of node.toml; the last approval that is needed brings it into force
    Approve(AllowListApprove),
    /// Drop a change that waits
    Reject(AllowListReject),
    /// Publish the allow-list of this node as a Bundle that partners can download
    ///
    /// For the organisation that keeps the list of a network: every active organisation with its endpoints and affiliations.
    Publish(AllowListPublish),
    /// Download the allow-list that a partner publishes, check it, and bring it in
    ///
    /// Only from the sources of the section allow-list of the policy, if it names some. The own organisation, its endpoint and
    /// its certificates are never changed by a list; with `approval`, or if the change is larger than max-delta permits, the
    /// list waits until officers approve it.
    Download(AllowListDownload),
}

#[derive(Debug, Args)]
pub(crate) struct AllowListPending {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Beginning of the digest of one change
    #[arg(long)]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list approve 3f2a --certificate me.pem --private-key me.key --directory /srv/schleuse"
)]
pub(crate) struct AllowListApprove {
    /// Beginning of the digest, as `schleuse allow-list pending` shows it
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: String,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListReject {
    /// Beginning of the digest
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: String,
    /// Why; stands in the audit log
    #[arg(long)]
    pub(crate) reason: String,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list diff bundle.xml --directory /srv/schleuse\n\nExit code 0: nothing changes; 1: something does, or the Bundle is refused."
)]
pub(crate) struct AllowListDiff {
    /// The Bundle, JSON or XML
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListApply {
    /// The Bundle, JSON or XML
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Bring it in although it changes more than [allow-list.max-delta] permits
    #[arg(long)]
    pub(crate) accept_large_change: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListRollback {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
