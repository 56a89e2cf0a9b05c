//! Policies: signing and activating them, and asking what they decide.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse matrix /srv/schleuse                              everybody, told together where the same holds\n  schleuse matrix /srv/schleuse --caller dic-1.example      one organisation\n  schleuse matrix /srv/schleuse --kinds                     one of each kind, without the allow-list\n\nA refusal here is certain. A permit can still be refused by tags, process authorisation and the state of what is stored."
)]
pub(crate) struct Matrix {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only this organisation, or person:ID
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// One caller of each kind instead of those that are known
    #[arg(long)]
    pub(crate) kinds: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse diff /srv/schleuse --candidate new-policies/             the node's policies against a folder\n  schleuse diff . --before policies.2025/ --candidate policies/     two folders, with this node's allow-list\n\nExit code 0: nothing changes; 1: something does."
)]
pub(crate) struct Diff {
    /// Directory of the node whose allow-list, and without --before whose policy, counts
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Folder with policy files, one policy file, or another node
    #[arg(long, value_name = "PATH")]
    pub(crate) candidate: PathBuf,
    /// What to compare with instead of the node's policy
    #[arg(long, value_name = "PATH")]
    pub(crate) before: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse explain 0190a5d2-... --directory /srv/schleuse           the X-Correlation-Id that a partner was given\n  schleuse explain --certificate partner.pem --url /fhir/Task/1      would it be permitted now?\n  schleuse explain --certificate partner.pem --method POST --url /fhir/Task --body task.json --time 2026-01-31T18:00:00Z\n  schleuse explain --request request.json                            {\"thumbprint\": \"...\", \"method\": \"GET\", \"url\": \"/fhir/Task/1\"}"
)]
pub(crate) struct Explain {
    /// Correlation id of a recorded decision
    #[arg(value_name = "ID", conflicts_with_all = ["certificate", "thumbprint", "request"])]
    pub(crate) correlation_id: Option<String>,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Certificate of the caller
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Thumbprint of the caller's certificate
    #[arg(long, conflicts_with = "certificate")]
    pub(crate) thumbprint: Option<String>,
    /// Method
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// URL or path with query
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Resource in the body, JSON or XML
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// Address of the caller
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// Moment instead of now
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// A file with all of this
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "thumbprint"])]
    pub(crate) request: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse replay /srv/schleuse --policy new-policies/\n  schleuse replay /srv/schleuse --allow-list bundle.xml\n  schleuse replay /srv/schleuse --policy new-policies/ --format json\n\nExit code 0: no decision changes; 1: some do."
)]
pub(crate) struct Replay {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Candidate policy: a folder with policy files, one file, or another node
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Option<PathBuf>,
    /// Candidate allow-list: a Bundle as it is distributed
    #[arg(long, value_name = "FILE")]
    pub(crate) allow_list: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Sign the draft in policies/ as one of the officers of node.toml
    ///
    /// Signs the number and every byte of the files, and writes signatures.json beside them. Several officers sign one after
    /// the other; with a copy of the files it works away from the node as well.
    Sign(PolicySign),
    /// Say whether a signed policy holds, and if not which file or signature was changed
    Verify(PolicyVerify),
    /// Put the signed draft in force
    ///
    /// Verifies the signatures, proves the rules and lets both programs try the policy; then the running node is told. A
    /// policy with a number that is not above the one in force is refused.
    Activate(PolicyActivate),
    /// Bring an older policy back, under the next number and signed anew
    ///
    /// With several officers each runs the command once; the last signature that is needed puts the policy in force. The
    /// draft in policies/ is not touched.
    Rollback(PolicyRollback),
}

/// The officer who signs.
#[derive(Debug, Args)]
pub(crate) struct OfficerKey {
    /// PEM file of the officer's certificate, as node.toml names it
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse policy sign /srv/schleuse --certificate me.pem --private-key me.key\n  schleuse policy sign --policies copy/ --organization-identifier hospital.example --number 7 --certificate me.pem --private-key me.key"
)]
pub(crate) struct PolicySign {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Folder with the policy files instead of DIR/policies
    #[arg(long, value_name = "FOLDER")]
    pub(crate) policies: Option<PathBuf>,
    /// Number of the policy [default: one above the highest that was activated]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) number: Option<u64>,
    /// Organisation of the node, where there is no node.toml
    #[arg(long, value_name = "IDENTIFIER")]
    pub(crate) organization_identifier: Option<String>,
    /// Sign without the officers before, who have lost their keys; the node takes it at its next start and not before
    #[arg(long)]
    pub(crate) officers_lost: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyVerify {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Folder with policy files and signatures.json instead of the policy in force
    #[arg(long, value_name = "FOLDER")]
    pub(crate) policies: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyActivate {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Further signatures of officers who signed copies of the same files
    #[arg(long, value_name = "FILE")]
    pub(crate) signatures: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse policy rollback /srv/schleuse --to 6 --certificate me.pem --private-key me.key"
)]
pub(crate) struct PolicyRollback {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Number of the policy that comes back [default: the one before the newest]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) to: Option<u64>,
}
