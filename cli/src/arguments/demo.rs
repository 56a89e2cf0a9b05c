//! The demonstration network.

use std::path::PathBuf;

use clap::Args;

/// Builds and runs a consortium on loopback: a research portal, data integration centres, a data management site and a
/// trusted third party, each a real gateway and a real engine with its own certificates, policies and store. Applies the
/// allow-list, lets the portal ping every site, lets every data integration centre count cohorts in generated records,
/// prints both tables, the counts beside the truth, and keeps serving until Ctrl-C.
///
/// DIR/demo.json describes the running network for tools: addresses, process ids, certificates.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse demo                            the whole thing in a temporary folder\n  schleuse demo --once                     run, print the table, stop; exit 0 only if every site answered\n  schleuse demo --directory net --no-run   start the network in ./net for your own experiments"
)]
pub(crate) struct Demo {
    /// Run the demonstration, print the table, stop every process; exit 0 only if every step succeeded
    #[arg(long, conflicts_with = "no_run")]
    pub(crate) once: bool,
    /// Start the network and apply the allow-list, run nothing
    #[arg(long)]
    pub(crate) no_run: bool,
    /// Where the nodes live; an existing network is started again with its data [default: a temporary folder, removed at exit]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Number of data integration centres
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) sites: u8,
    /// First port; 0 picks free ports and keeps them in DIR
    #[arg(long, default_value_t = 20443)]
    pub(crate) port: u16,
    /// Where the nodes keep their data: sqlite, or postgres://USER@/DATABASE?host=/run/postgresql, where each node of a new
    /// network gets a schema of its own, which stays
    #[arg(long, default_value = "sqlite", value_parser = demo_store)]
    pub(crate) store: DemoStore,
}

/// Where the nodes of a demonstration keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DemoStore {
    Sqlite,
    /// Schemas of one database of this machine.
    PostgreSql(String),
}

fn demo_store(text: &str) -> Result<DemoStore, &'static str> {
    match text {
        "sqlite" => Ok(DemoStore::Sqlite),
        url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            Ok(DemoStore::PostgreSql(url.to_owned()))
        }
        _ => Err("write sqlite or postgres://USER@HOST:PORT/DATABASE"),
    }
}
