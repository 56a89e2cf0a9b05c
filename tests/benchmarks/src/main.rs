//! `benchmarks NAME...`: measures the product against its figures.
//!
//! Each benchmark starts what it needs on loopback in temporary folders, measures, stops everything, prints a table and
//! writes the same as JSON to `target/benchmarks/NAME.json`. A verdict is given only when the machine was idle before the
//! run; figures are otherwise for comparison inside one run. Nothing here is asserted by a test, and no product code
//! knows of it. How to run and read it: `README.md` beside this crate.

mod answers;
mod audit_log;
mod binary;
mod bpmn_engine;
mod data_set;
mod decision;
mod endpoint_run;
mod error;
mod formats;
mod gateway_run;
mod limits;
mod linkage_run;
mod load;
mod machine;
mod node_directory;
mod own_node;
mod peers;
mod ping;
mod pki;
mod process;
mod processors;
mod report;
mod scale;
mod site_records;
mod start;
mod statistics;
mod upstream;
mod what_if;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use error::{During as _, Outcome};
use machine::Machine;
use processors::Side;
use report::Report;

/// Measures the product against its figures. Build with `--profile dist` for figures that mean something.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// What to measure, in this order
    #[arg(required = true, value_enum)]
    names: Vec<Name>,
    /// Fewer and shorter rounds: shows that everything works, and rough figures
    #[arg(long)]
    quick: bool,
    /// Wait up to this many seconds before each benchmark until the machine is idle, so that verdicts can be given
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=7200))]
    wait: u64,
    /// `gateway`: only these tests, without the other measurements; for profiling
    #[arg(long, value_enum, value_name = "TEST")]
    test: Vec<gateway_run::Test>,
    /// `gateway`: only servers whose name begins so; for profiling
    #[arg(long, value_name = "NAME")]
    server: Vec<String>,
    /// `endpoint`: only these cases, without the other measurements; for profiling
    #[arg(long, value_enum, value_name = "CASE")]
    case: Vec<endpoint_run::Case>,
    /// `bpmn`: only these parts; for profiling
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<bpmn_engine::Part>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

/// Parts that run as processes of their own.
#[derive(Debug, Subcommand)]
enum Helper {
    /// The engine's place behind the gateway and the other servers (started by `gateway`)
    #[command(hide = true)]
    Upstream(upstream::Arguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The gateway beside nginx, haproxy and Apache httpd
    Gateway,
    /// Identity, canonical request and decision of the policy
    Decision,
    /// Appending to the audit log
    Audit,
    /// Start of a node to readiness, and its memory
    Start,
    /// A ping from one node to another and back
    Ping,
    /// Content of Binaries in and out, and the memory that it takes
    Binary,
    /// Reading, printing and validating resources
    Formats,
    /// Durable creates and reads, beside bare INSERTs and a FHIR server in memory
    Endpoint,
    /// The process engine in memory beside SpiffWorkflow and bpmn-engine, and in stores beside pgbench
    Bpmn,
    /// Searches and histories in a store with very many Tasks
    Scale,
    /// Record linkage: quality on FEBRL and on generated families, and its speed
    Linkage,
    /// Indexing the records of a site, and counting cohorts in them
    Sources,
    /// From the request to the provided data set of three sites: time, and memory of every engine
    DataSet,
    /// A portal's question to three sites with indexed records
    Feasibility,
    /// Decisions as the rules grow; what another allow-list would have changed in the past
    WhatIf,
}

/// How a benchmark is to run.
#[derive(Clone, Debug)]
struct Run {
    /// Fewer and shorter rounds.
    quick: bool,
    /// Folder of the product's programs: the one of this program.
    programs: PathBuf,
    /// Where results and what is expensive to make are kept.
    results: PathBuf,
    /// Tests to restrict `gateway` to; empty: everything.
    tests: Vec<gateway_run::Test>,
    /// Beginnings of names of servers to restrict `gateway` to; empty: all.
    servers: Vec<String>,
    /// Cases to restrict `endpoint` to; empty: everything.
    cases: Vec<endpoint_run::Case>,
    /// Parts to restrict `bpmn` to; empty: everything.
    parts: Vec<bpmn_engine::Part>,
}

// === impl Name ===

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Decision => "decision",
            Self::Audit => "audit",
            Self::Start => "start",
            Self::Ping => "ping",
            Self::Binary => "binary",
            Self::Formats => "formats",
            Self::Endpoint => "endpoint",
            Self::Bpmn => "bpmn",
            Self::Scale => "scale",
            Self::Linkage => "linkage",
            Self::Sources => "sources",
            Self::DataSet => "data-set",
            Self::Feasibility => "feasibility",
            Self::WhatIf => "what-if",
        }
    }
}

// === impl Run ===

impl Run {
    fn new(arguments: &Arguments) -> Outcome<Self> {
        let own = std::env::current_exe().during("finding this program")?;
        let programs = own.parent().map(PathBuf::from).unwrap_or_default();
        // target/PROFILE/benchmarks -> target/benchmarks
        let results = programs.parent().map(PathBuf::from).unwrap_or_default().join("benchmarks");
        std::fs::create_dir_all(&results).during(format!("creating {}", results.display()))?;
        let (tests, servers, cases) = (arguments.test.clone(), arguments.server.clone(), arguments.case.clone());
        let parts = arguments.part.clone();
        Ok(Self { quick: arguments.quick, programs, results, tests, servers, cases, parts })
    }

    /// Whether only a part of `gateway` is asked for.
    fn is_partial(&self) -> bool {
        !self.tests.is_empty() || !self.servers.is_empty()
    }

    fn wants_server(&self, label: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|start| label.starts_with(start.as_str()))
    }

    fn wants_case(&self, case: endpoint_run::Case) -> bool {
        self.cases.is_empty() || self.cases.contains(&case)
    }

    fn wants_part(&self, part: bpmn_engine::Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// A program of the product.
    fn program(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.programs.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let profile = self.programs.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let profile = if profile == "debug" { "dev".to_owned() } else { profile };
        Err(error::Failure::new(format!(
            "{} is missing; build it with `cargo build --profile {profile} --bins`",
            path.display()
        )))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    certs::install_provider();
    let outcome = match &arguments.helper {
        Some(Helper::Upstream(upstream)) => upstream::run(upstream),
        None => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("benchmarks: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let run = Run::new(arguments)?;
    for name in &arguments.names {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        // Servers are started on the other side.
        let turn = (*name == Name::Gateway).then(processors::part);
        if turn.is_some() {
            runtime.worker_threads(processors::count(Side::Load));
        }
        let runtime = runtime.enable_all().build().during("starting threads")?;
        // Everything that was started is owned by this future and ends with it, on Ctrl-C too.
        runtime.block_on(async {
            tokio::select! {
                outcome = measure_one(*name, &run, Duration::from_secs(arguments.wait)) => outcome,
                () = interrupted() => Err(error::Failure::new("interrupted")),
            }
        })?;
        processors::join(turn);
    }
    Ok(())
}

async fn measure_one(name: Name, run: &Run, patience: Duration) -> Outcome<()> {
    machine::wait_until_idle(patience).await;
    let mut report = Report::new(name.as_str(), run.quick, Machine::examine()?);
    match name {
        Name::Gateway => gateway_run::run(run, &mut report).await,
        Name::Decision => decision::run(run, &mut report),
        Name::Audit => audit_log::run(run, &mut report).await,
        Name::Start => start::run(run, &mut report).await,
        Name::Ping => ping::run(run, &mut report).await,
        Name::Binary => binary::run(run, &mut report).await,
        Name::Endpoint => endpoint_run::run(run, &mut report).await,
        Name::Formats => formats::run(run, &mut report),
        Name::Bpmn => bpmn_engine::run(run, &mut report).await,
        Name::Scale => scale::run(run, &mut report).await,
        Name::Linkage => linkage_run::run(run, &mut report),
        Name::Sources => site_records::run(run, &mut report),
        Name::DataSet => data_set::run(run, &mut report),
        Name::Feasibility => answers::run(run, &mut report).await,
        Name::WhatIf => what_if::run(run, &mut report).await,
    }?;
    report.finish(&run.results)
}

/// Status of a plain GET on loopback, such as a management listener answers; none if nothing does.
async fn http_status(port: u16, path: &str) -> Option<u16> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Some(load::Exchange::new(stream).outline(request.as_bytes()).await.ok()?.status)
}

async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
