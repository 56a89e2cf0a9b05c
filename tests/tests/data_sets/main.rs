//! Data sets of several sites, from the request to the files at the portal, between real nodes and through the command line
//! alone. Names `share_cNN` are the cases of `data-sharing-processes.md` section 17.3.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

mod decisions;
mod filters;
mod killed;
mod merging;
mod run;
mod stores;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use synthetic::Network as Persons;
use tests::command::Output;
use tests::{Network, Schleuse};

/// A step of a run on a busy machine, repetitions after a kill included.
const STEP_TIME: Duration = Duration::from_secs(240);
/// The persons that the demonstration network generates (`schleuse demo`).
const PERSONS: Persons = Persons { seed: 20_261_122, sites: 3, patients: 500, shared: 100 };
/// Those of a network with two sites.
const PERSONS_OF_TWO: Persons = Persons { sites: 2, ..PERSONS };

/// Networks of their own start one after the other: each is a dozen processes.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Three data integration centres with indexed records, for all tests that break nothing for the others.
fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| indexed(Network::start(3)))
}

fn indexed(network: Network) -> Network {
    for node in network.nodes().iter().filter(|node| node.role == "DIC") {
        command(&["source", "index", &path(&node.directory)]).expect(0);
    }
    network
}

fn command(arguments: &[&str]) -> Output {
    Schleuse::run(&arguments.iter().map(OsStr::new).collect::<Vec<_>>())
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn today() -> time::Date {
    time::OffsetDateTime::now_utc().date()
}
