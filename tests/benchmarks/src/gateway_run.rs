//! `gateway`: the real gateway beside nginx, haproxy and Apache httpd (`gateway-findings.md` 5.1 and 8).
//!
//! All servers are up at once and idle but for the one that is measured. In each round every test goes to every server in
//! turn; rates and CPU seconds are compared inside a round, and the median over the rounds is reported. Our gateway runs
//! with the policy and the allow-list of a large network and writes its audit log; the others check issuer and country.

pub(crate) mod lab;
mod rounds;

use std::time::Duration;

use certs::development::KeyType;

use crate::error::Outcome;
use crate::limits::{IDLE_CONNECTIONS, RULES};
use crate::load::{Idle, KeepAlive, SlowClient, time_to_close};
use crate::peers::{self, Peer};
use crate::report::{Report, Table, Target, number};
use crate::statistics::{Values, median};
use crate::{Run, decision, processors};

use lab::{HTTPD, Lab, NGINX, OURS, SMALL, SMALL_QUESTION};
pub(crate) use rounds::Test;
use rounds::{Measure, Rounds};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Rounds and their lengths.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    time: Duration,
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let plan = match run.quick {
        true => Plan { rounds: 3, time: Duration::from_millis(1_500) },
        false => Plan { rounds: 5, time: Duration::from_millis(2_500) },
    };
    peers::install_missing()?;
    for peer in Peer::ALL {
        report.version(peer.label(), peer.version()?);
    }
    report.note(
        "TLS 1.3, X25519, AES-128-GCM; req/s: median; ratios: median of the ratios of each round; CPU: user and system of all processes of the server",
    );
    report.note(match processors::are_apart() {
        true => "the server that is measured has one processor to itself, load generator and upstream have the others",
        false => "server, load generator and upstream share one processor: rates are those of all of them together",
    });
    let mut rounds = Rounds::default();
    if run.is_partial() {
        for (key, tests) in [(KeyType::EcdsaP256, Test::with_p256(run)), (KeyType::Rsa2048, Test::with_rsa(run))] {
            if !tests.is_empty() {
                all_rounds(&mut rounds, &mut Lab::start(run, key).await?, &tests, plan).await?;
            }
        }
    } else {
        everything(run, report, &mut rounds, plan).await?;
    }
    for test in Test::ALL {
        report.tables(rounds.table(test));
    }
    report.samples(rounds.samples());
    Ok(())
}

async fn everything(run: &Run, report: &mut Report, rounds: &mut Rounds, plan: Plan) -> Outcome<()> {
    say("starting servers with P-256 certificates");
    let mut lab = Lab::start(run, KeyType::EcdsaP256).await?;
    let start_rss = lab.server(SMALL)?.process.memory().rss;
    say("memory of idle connections");
    let per_connection = idle_memory(&lab, report).await?;
    all_rounds(rounds, &mut lab, &Test::with_p256(run), plan).await?;
    say("an active client beside idle ones");
    let beside_idle = beside_idle(&lab, plan).await?;
    say("slow clients");
    slow_clients(&lab, report).await?;
    let decision = decision::time_of_small_get(&lab.directory, &lab.client_certificate)?;
    drop(lab);
    say("starting servers with RSA-2048 certificates");
    all_rounds(rounds, &mut Lab::start(run, KeyType::Rsa2048).await?, &Test::with_rsa(run), plan).await?;

    ratios(report, rounds);
    report.figure("PSS per idle mTLS connection", per_connection / KIB, "KiB", Target::AtMost(60.0));
    report.figure("RSS after start, without policy data", (start_rss as f64) / MIB, "MiB", Target::AtMost(25.0));
    report.figure("answers other than expected", rounds.unexpected() as f64, "", Target::Equals(0.0));
    let share = decision.mean() / 1e3 / rounds.typical(Test::Small, OURS, Measure::Cpu) * 100.0;
    report.figure("policy decision, share of small-GET CPU", share, "%", Target::Below(5.0));
    let growth = rounds.ratio(Test::Small, Measure::Cpu, OURS, SMALL);
    report.value("CPU per small GET, full policy data / shipped policy", growth, "x");
    report.figure("p99 beside 1,000 idle connections / without", beside_idle, "x", Target::AtMost(1.5));
    report.note(format!(
        "policy data: {} certificates, {RULES} rules; the decision's share is its time in this process over the gateway's CPU time per request",
        crate::limits::CERTIFICATES
    ));
    Ok(())
}

async fn all_rounds(rounds: &mut Rounds, lab: &mut Lab, tests: &[Test], plan: Plan) -> Outcome<()> {
    for round in 0..plan.rounds {
        say(&format!("round {} of {}", round + 1, plan.rounds));
        for test in tests {
            rounds.run(*test, lab, round, plan.time).await?;
        }
    }
    Ok(())
}

fn ratios(report: &mut Report, rounds: &Rounds) {
    use Measure::{Cpu, Rate};
    let rows = [
        ("CPU per full handshake + GET (P-256)", Test::Full, Cpu, NGINX, Target::AtMost(0.40)),
        ("CPU per full handshake + GET (P-256)", Test::Full, Cpu, HTTPD, Target::AtMost(0.40)),
        ("CPU per full handshake + GET (RSA-2048)", Test::FullRsa, Cpu, NGINX, Target::AtMost(0.50)),
        ("full handshakes/s (P-256)", Test::Full, Rate, NGINX, Target::AtLeast(2.5)),
        ("full handshakes/s (P-256)", Test::Full, Rate, HTTPD, Target::AtLeast(2.0)),
        ("resumed handshakes/s", Test::Resumed, Rate, NGINX, Target::AtLeast(3.0)),
        ("small GET h1 req/s", Test::Small, Rate, NGINX, Target::AtLeast(0.8)),
        ("small GET h1 req/s", Test::Small, Rate, HTTPD, Target::AtLeast(1.0)),
        ("CPU per small GET h1", Test::Small, Cpu, NGINX, Target::AtMost(1.7)),
        ("CPU per small GET h1", Test::Small, Cpu, HTTPD, Target::AtMost(0.6)),
        ("small GET h2 req/s", Test::Http2, Rate, NGINX, Target::AtLeast(0.9)),
        ("small GET h2 req/s", Test::Http2, Rate, HTTPD, Target::AtLeast(2.0)),
        ("CPU per 64 KiB GET", Test::Large, Cpu, NGINX, Target::AtMost(1.1)),
    ];
    for (name, test, measure, other, target) in rows {
        report.figure(format!("{name} / {other}"), rounds.ratio(test, measure, OURS, other), "x", target);
    }
    report.figure(
        "resumed handshakes that were resumed",
        rounds.resumed_share(OURS) * 100.0,
        "%",
        Target::AtLeast(100.0),
    );
}

/// Growth of the memory of each server by idle connections; gives that of our gateway, per connection in bytes.
async fn idle_memory(lab: &Lab, report: &mut Report) -> Outcome<f64> {
    let mut rows = Vec::new();
    let mut ours = f64::NAN;
    for server in &lab.servers {
        // One answer first: what the first request allocates is not the connections' share.
        KeepAlive::open(&server.endpoint, SMALL_QUESTION, 1).await?;
        let before = server.process.memory();
        let idle = Idle::open(&server.endpoint, SMALL_QUESTION, IDLE_CONNECTIONS).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let with = server.process.memory();
        idle.must_be_open()?;
        let each = (with.pss as f64 - before.pss as f64) / (IDLE_CONNECTIONS as f64);
        if server.label == OURS {
            ours = each;
        }
        let mib = |bytes: u64| number((bytes as f64) / MIB);
        rows.push(vec![server.label.to_owned(), mib(before.rss), mib(before.pss), mib(with.pss), number(each / KIB)]);
    }
    let header = ["server", "RSS before, MiB", "PSS before, MiB", "PSS with 1,000, MiB", "KiB per connection"];
    report.table(Table::new("Memory of 1,000 idle mTLS connections", &header, rows));
    Ok(ours)
}

/// How much worse the p99 of one active client is while many connections are idle.
async fn beside_idle(lab: &Lab, plan: Plan) -> Outcome<f64> {
    let endpoint = &lab.server(OURS)?.endpoint;
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        let alone = KeepAlive::open(endpoint, SMALL_QUESTION, 1).await?.run(plan.time).await;
        let idle = Idle::open(endpoint, SMALL_QUESTION, IDLE_CONNECTIONS).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let beside = KeepAlive::open(endpoint, SMALL_QUESTION, 1).await?.run(plan.time).await;
        idle.must_be_open()?;
        drop(idle);
        tokio::time::sleep(Duration::from_millis(300)).await;
        ratios.push(Values::new(beside.latencies).p99() / Values::new(alone.latencies).p99());
    }
    Ok(median(ratios))
}

/// Time until each server closes on slow clients, all at once.
async fn slow_clients(lab: &Lab, report: &mut Report) -> Outcome<()> {
    const CLIENTS: [(SlowClient, &str, f64); 3] = [
        (SlowClient::HeaderDrip, "header drip closed after", 10.0),
        (SlowClient::SilentTcp, "silent TCP closed after", 10.0),
        (SlowClient::SilentTls, "silent TLS closed after", 15.0),
    ];
    let mut running = Vec::new();
    for server in &lab.servers {
        for (client, ..) in CLIENTS {
            let endpoint = server.endpoint.clone();
            running.push(tokio::spawn(async move { time_to_close(&endpoint, client).await }));
        }
    }
    let mut times = Vec::new();
    for task in running {
        let time = task.await.map_err(|error| crate::error::Failure::new(error.to_string()))??;
        times.push(time.map_or(f64::INFINITY, |time| time.as_secs_f64()));
    }
    let mut rows = Vec::new();
    for (server, times) in lab.servers.iter().zip(times.chunks(CLIENTS.len())) {
        let open = format!("open after {} s", crate::limits::SLOW_CLIENT.as_secs());
        let cells = times.iter().map(|time| if time.is_finite() { number(*time) } else { open.clone() });
        rows.push(std::iter::once(server.label.to_owned()).chain(cells).collect());
        if server.label == OURS {
            for ((_, name, limit), time) in CLIENTS.iter().zip(times) {
                // A timer may fire a moment after its time.
                report.figure(*name, (time * 10.0).floor() / 10.0, "s", Target::AtMost(*limit));
            }
        }
    }
    let header = ["server", "header drip, s", "silent TCP, s", "silent TLS, s"];
    report.table(Table::new("Time until the server closes on a slow client", &header, rows));
    Ok(())
}

fn say(what: &str) {
    eprintln!("gateway: {what}");
}
