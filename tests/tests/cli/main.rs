//! The command line: help that teaches, errors that name the remedy, exit codes, text for people and JSON for programs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

mod backup;
mod certificates;
mod configuration;
mod doctor;
mod fhir;
mod findings;
mod process;
mod running;
mod source;
mod usage;

use std::path::Path;

use tests::{Output, Schleuse};

const PING: &str = "http://dsf.dev/bpe/Process/ping|1.0";

fn run(arguments: &[&str]) -> Output {
    Schleuse::run(arguments)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn init(directory: &Path) -> Output {
    run(&[
        "init",
        text(directory),
        "--organization-identifier",
        "new.example",
        "--base-url",
        "https://localhost:23443/fhir",
        "--listen",
        "127.0.0.1:23443",
        "--management",
        "127.0.0.1:23480",
        "--development-certificates",
    ])
}
