//! The allow-list between organisations: publishing the own one, downloading that of a partner.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list publish /srv/schleuse\n\nPrints the address of the Bundle, which partners download. Publishing what has not changed makes no new version."
)]
pub(crate) struct AllowListPublish {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list download https://dsf.ttp.example/fhir/Bundle/0b1f... --directory /srv/schleuse\n\nExit code 0: the list is in force, says nothing new, or waits for approval; 1: it was refused, and nothing of it was brought in."
)]
pub(crate) struct AllowListDownload {
    /// Address of the Bundle, as the distributing organisation gives it; with /_history/N a certain version
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
