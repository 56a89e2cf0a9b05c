//! `endpoint`: durable creates and reads of small Tasks, at the engine's socket and through the gateway, beside bare
//! `INSERT`s, beside the gateway's plain forwarding, and beside a FHIR server in memory (`peers.md` section 4) alone and
//! behind nginx with the TLS settings of DSF's proxy.
//!
//! The node is whole and real: `schleuse init`, `schleuse run`, shipped policy, audit logs, SQLite with every commit on
//! disk. Tasks are left to a foreign engine, so what is measured is the endpoint and not a process.

mod bare_insert;
mod lab;
mod memory_peer;
mod stages;
mod task;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Run;
use crate::error::Outcome;
use crate::gateway_run::lab as forwarding;
use crate::limits::CONNECTIONS;
use crate::load::{KeepAlive, Make, Sample, Way};
use crate::own_node::NodeMemory;
use crate::peers;
use crate::process::cpu_seconds_of;
use crate::report::{Report, Table, Target, number};
use crate::statistics::{Values, median, ratio};
use lab::Lab;

/// What is measured in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Case {
    /// Creates at the engine's socket.
    EngineCreate,
    /// Creates through the gateway.
    GatewayCreate,
    /// Creates in the memory of the peer, at its socket.
    PeerCreate,
    /// The same through nginx.
    ProxiedCreate,
    /// Reads at the engine's socket.
    EngineRead,
    /// Reads through the gateway.
    GatewayRead,
    /// Reads at the peer's socket.
    PeerRead,
    /// The same through nginx.
    ProxiedRead,
    /// Reads that the gateway forwards to something that answers at once.
    Forwarded,
}

/// Values of a case, one per round.
#[derive(Clone, Debug, Default)]
struct Series {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    unexpected: u64,
}

type Rounds = BTreeMap<Case, Series>;

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let (rounds, time) = if run.quick { (2, Duration::from_millis(1_500)) } else { (5, Duration::from_millis(2_500)) };
    peers::install_missing()?;
    say("starting servers");
    let mut lab = Lab::start(run).await?;
    report.version("memory peer", lab.peer_version.clone());
    report.version("nginx", peers::Peer::Nginx.version()?);
    let mut all = Rounds::new();
    let cases: Vec<Case> = Case::ALL.into_iter().filter(|case| run.wants_case(*case)).collect();
    for round in 0..rounds {
        say(&format!("round {} of {rounds}", round + 1));
        for number in 0..cases.len() {
            let Some(case) = cases.get((number + round) % cases.len()) else { continue };
            // What the case before left to do is not this one's work.
            tokio::time::sleep(Duration::from_millis(150)).await;
            let (sample, cpu) = case.measure(&lab, time).await?;
            all.entry(*case).or_default().add(sample, cpu);
        }
    }
    report.table(table(&all));
    let unexpected: u64 = all.values().map(|series| series.unexpected).sum();
    report.figure("answers other than expected", unexpected as f64, "", Target::Equals(0.0));
    if run.cases.is_empty() {
        memory(report, &lab);
        figures(report, &all);
        floor(report, &mut lab, &all, time).await?;
    }
    report.note(format!("{CONNECTIONS} connections; CPU: user and system of all processes of the server; the load generator runs on the same cores"));
    Ok(())
}

// === impl Case ===

impl Case {
    const ALL: [Self; 9] = [
        Self::EngineCreate,
        Self::GatewayCreate,
        Self::PeerCreate,
        Self::ProxiedCreate,
        Self::EngineRead,
        Self::GatewayRead,
        Self::PeerRead,
        Self::ProxiedRead,
        Self::Forwarded,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::EngineCreate => "durable create, engine's socket",
            Self::GatewayCreate => "durable create, through the gateway",
            Self::PeerCreate => "volatile create, memory peer",
            Self::ProxiedCreate => "volatile create, memory peer behind nginx",
            Self::EngineRead => "read, engine's socket",
            Self::GatewayRead => "read, through the gateway",
            Self::PeerRead => "read, memory peer",
            Self::ProxiedRead => "read, memory peer behind nginx",
            Self::Forwarded => "plain forwarding of the gateway",
        }
    }

    /// Runs the case; gives CPU seconds of its servers too.
    async fn measure(self, lab: &Lab<'_>, time: Duration) -> Outcome<(Sample, f64)> {
        let make = &lab.make;
        let (way, request, status): (&Way, &Make, u16) = match self {
            Self::EngineCreate => (&lab.engine, &make.engine_create, 201),
            Self::GatewayCreate => (&lab.gateway, &make.gateway_create, 201),
            Self::PeerCreate => (&lab.memory, &make.peer_create, 201),
            Self::ProxiedCreate => (&lab.proxied, &make.peer_create, 201),
            Self::EngineRead => (&lab.engine, &make.engine_read, 200),
            Self::GatewayRead => (&lab.gateway, &make.gateway_read, 200),
            Self::PeerRead => (&lab.memory, &make.peer_read, 200),
            Self::ProxiedRead => (&lab.proxied, &make.peer_read, 200),
            Self::Forwarded => {
                let server = lab.forwarding.server(forwarding::SMALL)?;
                let mut lanes = KeepAlive::open(&server.endpoint, forwarding::SMALL_QUESTION, CONNECTIONS).await?;
                let before = server.process.cpu_seconds();
                let sample = lanes.run(time).await;
                return Ok((sample, server.process.cpu_seconds() - before));
            }
        };
        let pids = match self {
            Self::EngineCreate | Self::EngineRead => lab.node_process.pids_of("schleuse-engine"),
            Self::GatewayCreate | Self::GatewayRead => lab.node_process.pids(),
            Self::PeerCreate | Self::PeerRead => lab.peer.pids(),
            Self::ProxiedCreate | Self::ProxiedRead | Self::Forwarded => {
                lab.peer.pids().into_iter().chain(lab.nginx.process.pids()).collect()
            }
        };
        let requests = lab.open(way, request, status, CONNECTIONS).await?;
        let before = cpu_seconds_of(&pids);
        let sample = requests.run(time).await;
        Ok((sample, cpu_seconds_of(&pids) - before))
    }
}

// === impl Series ===

impl Series {
    fn add(&mut self, sample: Sample, cpu: f64) {
        self.rates.push(sample.rate());
        self.cpu.push(cpu * 1e6 / (sample.answers.max(1) as f64));
        self.unexpected += sample.unexpected;
        let latencies = Values::new(sample.latencies);
        self.p50.push(latencies.p50());
        self.p99.push(latencies.p99());
    }
}

fn table(all: &Rounds) -> Table {
    let middle = |values: &[f64]| median(values.iter().copied());
    let rows = all.iter().map(|(case, series)| {
        vec![
            case.title().to_owned(),
            number(middle(&series.rates)),
            number(middle(&series.cpu)),
            number(middle(&series.p50) / 1e3),
            number(middle(&series.p99) / 1e3),
            series.unexpected.to_string(),
        ]
    });
    let header = ["case", "per second", "CPU us each", "p50 ms", "p99 ms", "unexpected"];
    Table::new("Small Task, HTTP/1.1 keep-alive", &header, rows.collect())
}

fn figures(report: &mut Report, all: &Rounds) {
    let empty = Series::default();
    let of = |case: Case| all.get(&case).unwrap_or(&empty);
    let rate = |case: Case| median(of(case).rates.iter().copied());
    let rates = |ours: Case, theirs: Case| ratio(&of(ours).rates, &of(theirs).rates);
    report.figure("durable creates/s at the engine's socket", rate(Case::EngineCreate), "/s", Target::AtLeast(6_000.0));
    report.figure("durable creates/s through the gateway", rate(Case::GatewayCreate), "/s", Target::AtLeast(3_000.0));
    report.figure(
        "reads/s through the gateway / its plain forwarding",
        rates(Case::GatewayRead, Case::Forwarded),
        "x",
        Target::AtLeast(0.5),
    );
    report.figure(
        "CPU per read, engine's socket / memory peer",
        ratio(&of(Case::EngineRead).cpu, &of(Case::PeerRead).cpu),
        "x",
        Target::AtMost(0.5),
    );
    report.figure(
        "reads/s, gateway / memory peer behind nginx",
        rates(Case::GatewayRead, Case::ProxiedRead),
        "x",
        Target::AtLeast(1.0),
    );
    report.figure(
        "creates/s, durable through the gateway / volatile behind nginx",
        rates(Case::GatewayCreate, Case::ProxiedCreate),
        "x",
        Target::AtLeast(0.5),
    );
}

/// Resident memory of both sides after the same kind of load.
fn memory(report: &mut Report, lab: &Lab<'_>) {
    let ours = NodeMemory::of(&lab.node_process).both();
    let (peer, nginx) = (lab.peer.memory(), lab.nginx.process.memory());
    let megabytes = |bytes: u64| number((bytes as f64) / 1e6);
    let rows = [
        ("node (engine and gateway)", ours.rss, ours.pss),
        ("memory peer and nginx", peer.rss + nginx.rss, peer.pss + nginx.pss),
    ]
    .map(|(name, rss, pss)| vec![name.to_owned(), megabytes(rss), megabytes(pss)]);
    report.table(Table::new("Memory after the load, MB", &["servers", "RSS", "PSS"], rows.into()));
    let share = (ours.rss as f64) / ((peer.rss + nginx.rss) as f64);
    report.figure("RSS of the node / memory peer and nginx", share, "x", Target::AtMost(1.0 / 3.0));
}

/// Where a create's time goes, and what a database without FHIR does on the same disk.
async fn floor(report: &mut Report, lab: &mut Lab<'_>, all: &Rounds, time: Duration) -> Outcome<()> {
    say("parts of a create");
    let database = lab.stop_node();
    let stages = stages::measure(&database, time).await?;
    let total = all.get(&Case::EngineCreate).map_or(f64::NAN, |series| median(series.cpu.iter().copied()));
    let mut rows: Vec<Vec<String>> =
        stages.parts.iter().map(|(name, micros)| vec![(*name).to_owned(), number(*micros)]).collect();
    rows.push(vec!["whole create in the engine (CPU)".to_owned(), number(total)]);
    report.table(Table::new("Parts of one create, microseconds", &["part", "each"], rows));
    report.value("Tasks per commit with 32 writers", stages.group, "");

    say("bare INSERTs");
    let content = task::start_task(1).to_string();
    let rate = all.get(&Case::EngineCreate).map_or(f64::NAN, |series| median(series.rates.iter().copied()));
    for rows in [1, CONNECTIONS] {
        let bare = bare_insert::rate(lab.folder.path(), &content, rows, time)?;
        report.value(format!("bare INSERTs/s, {rows} in a commit"), bare, "/s");
        report.value(format!("creates/s at the engine's socket / bare INSERTs, {rows} in a commit"), rate / bare, "x");
    }
    Ok(())
}

fn say(what: &str) {
    eprintln!("endpoint: {what}");
}
