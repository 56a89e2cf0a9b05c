//! A node's directory as a whole: making, checking, saving and restoring it.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also let the running node compare what its store has beside the resources (versions, indexes, keys, readers,
    /// content of Binaries) with the resources themselves; the node goes on working meanwhile
    #[arg(long)]
    pub(crate) deep: bool,
}

/// Writes a commented node.toml and the default policies. Nothing that exists is overwritten.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse init /srv/schleuse --organization-identifier hospital.example --base-url https://dsf.hospital.example/fhir\n\nThen put the certificates where node.toml names them and run `schleuse check /srv/schleuse`."
)]
pub(crate) struct Init {
    /// Directory to create
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Identifier of your organisation in the consortium, by convention the domain of its home page
    #[arg(long)]
    pub(crate) organization_identifier: String,
    /// Address at which partners reach the node: https, ends in /fhir
    #[arg(long)]
    pub(crate) base_url: String,
    /// Local address of the gateway [default: all interfaces, port of the base URL]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Local address of health, readiness and metrics
    #[arg(long, default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(crate) management: String,
    /// Issue certificates for trials; with the folder of a demonstration network's authority (DIR/authority), they join
    /// that network. Write it after the directory of the node
    #[arg(long, value_name = "AUTHORITY_DIR", num_args = 0..=1, default_missing_value = "")]
    pub(crate) development_certificates: Option<String>,
    /// Write a node for the units of the package: gateway and engine with users of their own. The package has made the
    /// folders of /var/lib/schleuse
    #[arg(long)]
    pub(crate) service: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File of `schleuse backup`
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Directory for the node; new, or as the package made it
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Ask no partner
    #[arg(long)]
    pub(crate) offline: bool,
}
