//! `decision`: what it costs to know who asks, what is asked, and whether it may be.
//!
//! Measured in this process on the gateway's own code: the identity of a connection (dates, trust and the cached look-up
//! in the allow-list), the canonical request, and the decision of the policy, for the requests that partners send. The
//! policy data is that of a large network.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::Certificate;
use certs::development::KeyType;
use fhir::Resource;
use gateway::decide::{self, Identities};
use gateway::listen::{Connection, Peer};
use gateway::reload::{self, Active};
use link::Snapshot;
use node::Directory;
use policies::CanonicalRequest;

use crate::error::{During as _, Failure, Outcome};
use crate::limits::{CERTIFICATES, RULES};
use crate::node_directory::{self, CLIENT, LOCAL, NodeDirectory, Size};
use crate::pki::Pki;
use crate::report::{Report, Table, Target, number};
use crate::statistics::Values;
use crate::{Run, upstream};

/// Requests that partners send.
const REQUESTS: [(&str, &str, &str); 4] = [
    ("read of an Organization", "GET", upstream::SMALL_TARGET),
    (
        "search of Tasks",
        "GET",
        "/fhir/Task?status=requested&_lastUpdated=gt2026-11-22T10:00:00Z&_sort=_lastUpdated&_count=50",
    ),
    ("read of a Binary", "GET", upstream::LARGE_TARGET),
    ("create of a Task (ping)", "POST", "/fhir/Task"),
];

/// A gateway's state without its sockets.
struct Bench {
    active: Arc<Active>,
    identities: Identities,
    connection: Connection,
    task: Resource,
}

/// Measures and reports.
pub(crate) fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let folder = tempfile::tempdir().during("making a temporary folder")?;
    let pki = Pki::new(KeyType::EcdsaP256)?;
    let directory = node_directory::write(folder.path(), Size::Full, &pki, 8443, 8444)?;
    let bench = Bench::new(&directory, pki.client())?;
    let count = if run.quick { 50_000 } else { 500_000 };
    let mut rows = Vec::new();
    for (name, method, target) in REQUESTS {
        let [identity, canonical, decision, all] = bench.measure(method, target, count)?;
        report.figure(format!("{name}, p50"), all.p50(), "ns", Target::Below(2_000.0));
        report.value(format!("{name}, p99"), all.p99(), "ns");
        let mut row = vec![name.to_owned()];
        for part in [&identity, &canonical, &decision, &all] {
            row.push(format!("{} / {}", number(part.p50()), number(part.p99())));
        }
        rows.push(row);
    }
    let header = ["request", "identity", "canonical request", "decision", "all"];
    report.table(Table::new("Nanoseconds, p50 / p99", &header, rows));
    let fresh = bench.fresh_identity(count / 50)?;
    report.value("identity that is not in the cache yet, p50", fresh.p50(), "ns");
    report.value("reading the clock twice, p50 (part of each value)", clock(count).p50(), "ns");
    report.note(format!("{CERTIFICATES} certificates, {RULES} rules, {count} decisions each, one thread"));
    Ok(())
}

/// Time of identity, canonical request and decision for the small GET of the gateway benchmark, in nanoseconds.
pub(crate) fn time_of_small_get(directory: &NodeDirectory, client: &Certificate) -> Outcome<Values> {
    let [_, _, _, all] = Bench::new(directory, client)?.measure("GET", upstream::SMALL_TARGET, 100_000)?;
    Ok(all)
}

// === impl Bench ===

impl Bench {
    fn new(directory: &NodeDirectory, client: &Certificate) -> Outcome<Self> {
        let (settings, _) = node::load(&Directory::new(&directory.root)).map_err(|findings| findings_of(&findings))?;
        let loaded =
            reload::load(&settings, None, time::OffsetDateTime::now_utc()).during("loading a gateway's state")?;
        let snapshot = read_snapshot(&directory.snapshot)?;
        let active = Active::new(settings.base_url, loaded, Some(snapshot));
        let peer = Peer {
            address: [127, 0, 0, 1].into(),
            thumbprint: client.thumbprint().parse().during("a thumbprint")?,
            certificate: Arc::new(client.clone()),
            intermediates: Vec::new(),
        };
        let generation = active.tls().generation;
        let connection = Connection::new(peer, true, String::new(), generation, Duration::from_secs(60));
        Ok(Self { active, identities: Identities::default(), connection, task: ping_task()? })
    }

    /// Times in nanoseconds of identity, canonical request, decision, and all of them.
    fn measure(&self, method: &str, target: &str, count: usize) -> Outcome<[Values; 4]> {
        let mut parts: [Vec<f64>; 4] = std::array::from_fn(|_| Vec::with_capacity(count));
        for number in 0..count + count / 10 {
            let times = self.once(method, target)?;
            // The first ones fill caches.
            if number >= count / 10 {
                parts.iter_mut().zip(times).for_each(|(part, time)| part.push(time.as_secs_f64() * 1e9));
            }
        }
        Ok(parts.map(Values::new))
    }

    fn once(&self, method: &str, target: &str) -> Outcome<[Duration; 4]> {
        let body = (method == "POST").then_some(&self.task);
        let now = time::OffsetDateTime::now_utc();
        let started = Instant::now();
        let basis = self.active.basis();
        let snapshot = basis.snapshot.as_ref().during("an allow-list")?;
        let identity = self.identities.identify(&self.active, &basis, snapshot, black_box(&self.connection), now);
        let identity = identity.during("identifying")?;
        let identified = Instant::now();
        let request: CanonicalRequest =
            policies::canonicalize(black_box(method), black_box(target), self.active.base().path())
                .during("a request")?;
        let canonical = Instant::now();
        let decision = decide::decide(&basis, &identity.identity, &request, black_box(body), &self.connection, None);
        let end = Instant::now();
        match decision {
            Some(policies::Decision::Permit(permit)) => drop(black_box(permit)),
            other => return Err(Failure::new(format!("{method} {target} is not permitted: {other:?}"))),
        }
        Ok([identified - started, canonical - identified, end - canonical, end - started])
    }

    /// Time of the look-up in the allow-list itself, which the gateway does once per certificate and change of policy.
    fn fresh_identity(&self, count: usize) -> Outcome<Values> {
        let basis = self.active.basis();
        let snapshot = basis.snapshot.as_ref().during("an allow-list")?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Instant::now();
            let identity =
                snapshot.allow_list().identify(black_box(&self.connection.peer.thumbprint), None, &basis.policy);
            times.push(started.elapsed().as_secs_f64() * 1e9);
            black_box(identity);
        }
        Ok(Values::new(times))
    }
}

fn clock(count: usize) -> Values {
    Values::new((0..count).map(|_| Instant::now().elapsed().as_secs_f64() * 1e9).collect())
}

fn read_snapshot(path: &Path) -> Outcome<Snapshot> {
    let json = std::fs::read(path).during(format!("reading {}", path.display()))?;
    Snapshot::from_json(&json).during(format!("reading {}", path.display()))
}

fn findings_of(findings: &[policies::Finding]) -> Failure {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Failure::new(lines.join("\n"))
}

/// A ping as a partner sends it.
pub(crate) fn ping_task() -> Outcome<Resource> {
    let organization = |name: &str| {
        serde_json::json!({
            "type": "Organization",
            "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": name },
        })
    };
    let input = |system: &str, code: &str, value: &str| serde_json::json!({ "type": { "coding": [{ "system": system, "code": code }] }, "valueString": value });
    let bpmn = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
    let endpoint = serde_json::json!({
        "type": { "coding": [{ "system": "http://dsf.dev/fhir/CodeSystem/ping", "code": "endpoint-identifier" }] },
        "valueReference": {
            "type": "Endpoint",
            "identifier": { "system": "http://dsf.dev/sid/endpoint-identifier", "value": format!("dsf.{CLIENT}") },
        },
    });
    let task = serde_json::json!({
        "resourceType": "Task",
        "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/task-ping|1.0"] },
        "instantiatesCanonical": "http://dsf.dev/bpe/Process/pong|1.0",
        "status": "requested",
        "intent": "order",
        "authoredOn": "2026-11-22T12:00:00.000Z",
        "requester": organization(CLIENT),
        "restriction": { "recipient": [organization(LOCAL)] },
        "input": [
            input(bpmn, "message-name", "ping"),
            input(bpmn, "business-key", "5b1cfd20-8d0f-4c0f-8d3e-8f3d8a5d3f10"),
            input(bpmn, "correlation-key", "0a2a7f0e-3c2b-4f43-b7c5-8b9f4b9a6a77"),
            endpoint,
        ],
    });
    fhir::parse(fhir::Format::Json, task.to_string().as_bytes(), &fhir::Limits::default()).during("reading a Task")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_request_is_permitted() {
        certs::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(KeyType::EcdsaP256).unwrap();
        let directory = node_directory::write(folder.path(), Size::Full, &pki, 8443, 8444).unwrap();
        let bench = Bench::new(&directory, pki.client()).unwrap();
        for (_, method, target) in REQUESTS {
            bench.once(method, target).unwrap();
        }
    }
}
