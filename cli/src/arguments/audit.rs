//! The audit log: verifying, searching, exporting.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recompute the hash chains and verify the signed checkpoints; names the record that was altered, cut or reordered
    Verify(AuditVerify),
    /// Find records of both processes, newest last
    Search(AuditSearch),
    /// Write records as JSON lines or as FHIR AuditEvents, one a line
    Export(AuditExport),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Directory of a node, or one audit file
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,
    /// Certificates that the node had before, whose checkpoints count too
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Vec<PathBuf>,
    /// So many records at the front were moved away by hand; more that the node has not removed itself are a finding
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) moved_away: u64,
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct AuditFilter {
    /// Records of one request: the X-Correlation-Id that the caller was given
    #[arg(long, value_name = "ID")]
    pub(crate) correlation_id: Option<String>,
    /// Records about this organisation, or organisation/person
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Records about a certificate, by the beginning of its thumbprint
    #[arg(long)]
    pub(crate) thumbprint: Option<String>,
    /// permit, deny, refuse, answered, failed, begun, ended, administration, reloaded, blocks, ...
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Records with this code of a refusal, such as GW-POL-012
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Decisions of this rule
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// Requests about this resource type
    #[arg(long, value_name = "TYPE")]
    pub(crate) resource_type: Option<String>,
    /// From this moment on, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse audit search /srv/schleuse --correlation-id 0190a5d2-...       everything about one request\n  schleuse audit search /srv/schleuse --event deny --since 2026-01-31T00:00:00Z\n\nExit code 0: something was found; 1: nothing."
)]
pub(crate) struct AuditSearch {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// At most this many, the newest
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// The lines of the log, with the name of their chain
    JsonLines,
    /// FHIR R4 AuditEvent
    Fhir,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse audit export /srv/schleuse --form fhir --since 2026-01-01T00:00:00Z --output january.ndjson"
)]
pub(crate) struct AuditExport {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = ExportForm::JsonLines)]
    pub(crate) form: ExportForm,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// File to write to instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
