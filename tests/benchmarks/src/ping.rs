//! `ping`: the time of one ping from a node to another and back, as the one who started it sees it.
//!
//! A demonstration network runs with its own stores, so every step is durable before it is answered: the start Task, the
//! ping Task at the other node, its pong Task here, and the output. The clock runs from the answer to the start Task until
//! a read shows the Task completed with the pong in its outputs.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::limits::{PING, PINGS, READY};
use crate::load::{Endpoint, Exchange, Protocol};
use crate::pki::ClientSide;
use crate::process::{Lifeline, Process};
use crate::report::{Report, Table, Target, number};
use crate::statistics::Values;

/// Pause between two reads of the Task.
const LOOK: Duration = Duration::from_millis(1);
/// Pings before the measured ones.
const WARM_UP: usize = 5;
/// The endpoint that is pinged; the process would otherwise ping every site.
const TARGET: &str = "Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|dsf.dic-1.example";

/// What is needed of `demo.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Network {
    authority: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    organization_identifier: String,
    base_url: String,
    organization: Pair,
}

#[derive(Debug, Deserialize)]
struct Pair {
    certificate: String,
    private_key: String,
}

/// A connection to the portal as its own organisation.
struct Portal {
    exchange: Exchange<TlsStream<TcpStream>>,
    host: String,
    organization: String,
}

/// Times of one ping in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From sending the start Task to its answer.
    accepted: f64,
    /// From that answer until the output was seen.
    answered: f64,
    /// Between the times that the store gave to the first and the last version of the Task.
    stored: f64,
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let count = if run.quick { 50 } else { 200 };
    let folder = tempfile::Builder::new().prefix("benchmark-").tempdir().during("making a temporary folder")?;
    let directory = folder.path().join("network");
    eprintln!("ping: starting a network");
    let (_network, description) = start(run, folder.path(), &directory, 1).await?;
    let mut portal = Portal::connect(&directory, &description).await?;
    eprintln!("ping: {count} pings");
    let end = Instant::now() + PINGS;
    let mut times = Vec::new();
    for number in 0..count + WARM_UP {
        if Instant::now() > end {
            return Err(Failure::new(format!("only {number} pings in {} s", PINGS.as_secs())));
        }
        let time = portal.ping().await?;
        if number >= WARM_UP {
            times.push(time);
        }
    }
    let values = |of: fn(&Times) -> f64| Values::new(times.iter().map(of).collect());
    let answered = values(|times| times.answered);
    let rows = [
        ("start Task sent until accepted", values(|times| times.accepted)),
        ("accepted until output stored", answered.clone()),
        ("the same by the times in the store", values(|times| times.stored)),
        ("start Task sent until output stored", values(|times| times.accepted + times.answered)),
    ]
    .map(|(name, values)| {
        let cells = [values.p50(), values.p95(), values.p99(), values.percentile(100.0)].map(number);
        std::iter::once(name.to_owned()).chain(cells).collect()
    });
    report.table(Table::new("Ping, ms", &["part", "p50", "p95", "p99", "most"], rows.into()));
    report.figure("accepted until output stored, p50", answered.p50(), "ms", Target::Below(25.0));
    report.value("accepted until output stored, p95", answered.p95(), "ms");
    report.value("accepted until output stored, p99", answered.p99(), "ms");
    report.note(format!("{count} pings one after the other from the portal to dic-1, each looked after every millisecond; durable commits"));
    Ok(())
}

/// Starts a network and waits until it has described itself.
pub(crate) async fn start(run: &Run, folder: &Path, directory: &Path, sites: u32) -> Outcome<(Process, Network)> {
    let (root, sites) = (directory.display().to_string(), sites.to_string());
    let arguments = ["demo", "--directory", &root, "--no-run", "--sites", &sites, "--port", "0"];
    let program = run.program("schleuse")?;
    let mut process =
        Process::start("schleuse demo", &program, &arguments, &folder.join("demo.log"), Lifeline::Signal)?;
    let end = Instant::now() + READY * 2;
    loop {
        process.must_run()?;
        if let Ok(text) = std::fs::read_to_string(directory.join("demo.json")) {
            return Ok((process, serde_json::from_str(&text).during("reading demo.json")?));
        }
        if Instant::now() > end {
            return Err(process.failure("did not describe its network"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// === impl Portal ===

impl Portal {
    async fn connect(root: &Path, network: &Network) -> Outcome<Self> {
        let node = network.nodes.iter().find(|node| node.name == "portal").during("looking for the portal")?;
        let read = |path: &str| std::fs::read(root.join(path)).during(format!("reading {path}"));
        let client = ClientSide::from_pem(
            &read(&node.organization.certificate)?,
            &read(&node.organization.private_key)?,
            &read(&network.authority)?,
        )?;
        let authority = node.base_url.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/fhir"));
        let host = authority.during("reading the base URL of the portal")?.to_owned();
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let address = ([127, 0, 0, 1], port.during("reading the base URL of the portal")?).into();
        let endpoint = Endpoint { address, client };
        let tls = endpoint.tls(Protocol::Http1, false)?;
        let stream = endpoint.connect(&tls, None).await.during("connecting to the portal")?;
        Ok(Self { exchange: Exchange::new(stream), host, organization: node.organization_identifier.clone() })
    }

    async fn ping(&mut self) -> Outcome<Times> {
        let body = self.start_task().to_string();
        let request = format!(
            "POST /fhir/Task HTTP/1.1\r\nHost: {}\r\nAccept: application/fhir+json\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        let sent = Instant::now();
        let created = self.exchange.answer(request.as_bytes()).await.during("starting a ping")?;
        let accepted = Instant::now();
        if created.status != 201 {
            return Err(Failure::new(format!(
                "starting a ping: {} {}",
                created.status,
                String::from_utf8_lossy(&created.body)
            )));
        }
        let first: Value = serde_json::from_slice(&created.body).during("reading the start Task")?;
        let id = first.get("id").and_then(Value::as_str).during("reading the id of the start Task")?.to_owned();
        loop {
            let task = self.read(&id).await?;
            match task.get("status").and_then(Value::as_str) {
                Some("completed") if is_answered(&task) => {
                    let milliseconds = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
                    let now = Instant::now();
                    return Ok(Times {
                        accepted: milliseconds(sent, accepted),
                        answered: milliseconds(accepted, now),
                        stored: (last_updated(&task)? - last_updated(&first)?).as_seconds_f64() * 1e3,
                    });
                }
                Some("completed" | "failed") => return Err(Failure::new(format!("the ping was not answered: {task}"))),
                _ if accepted.elapsed() > PING => {
                    return Err(Failure::new(format!("no answer to a ping after {} s: {task}", PING.as_secs())));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn read(&mut self, id: &str) -> Outcome<Value> {
        let request =
            format!("GET /fhir/Task/{id} HTTP/1.1\r\nHost: {}\r\nAccept: application/fhir+json\r\n\r\n", self.host);
        let answer = self.exchange.answer(request.as_bytes()).await.during("reading the start Task")?;
        if answer.status != 200 {
            return Err(Failure::new(format!("reading the start Task: {}", answer.head)));
        }
        serde_json::from_slice(&answer.body).during("reading the start Task")
    }

    fn start_task(&self) -> Value {
        let organization = json!({
            "type": "Organization",
            "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": self.organization },
        });
        let input = |system: &str, code: &str, value: &str| {
            let system = format!("http://dsf.dev/fhir/CodeSystem/{system}");
            json!({ "type": { "coding": [{ "system": system, "code": code }] }, "valueString": value })
        };
        json!({
            "resourceType": "Task",
            "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0"] },
            "instantiatesCanonical": "http://dsf.dev/bpe/Process/ping|1.0",
            "status": "requested",
            "intent": "order",
            "authoredOn": time::OffsetDateTime::now_utc()
                .format(&time::format_description::well_known::Rfc3339)
                .unwrap_or_default(),
            "requester": organization,
            "restriction": { "recipient": [organization] },
            "input": [
                input("bpmn-message", "message-name", "startPing"),
                input("ping", "target-endpoints", TARGET),
            ],
        })
    }
}

/// Whether the Task has exactly one output with a received pong.
fn is_answered(task: &Value) -> bool {
    let outputs = task.get("output").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let status = |output: &Value| output.pointer("/valueCoding/code").and_then(Value::as_str).map(str::to_owned);
    let statuses: Vec<String> = outputs.iter().filter_map(status).collect();
    statuses == ["pong-received"]
}

fn last_updated(task: &Value) -> Outcome<time::OffsetDateTime> {
    let text = task.pointer("/meta/lastUpdated").and_then(Value::as_str).during("reading meta.lastUpdated")?;
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).during("reading meta.lastUpdated")
}
