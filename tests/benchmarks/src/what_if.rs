//! `what-if`: a decision in a large network with ever more rules, and what the security officer asks before a change: the
//! difference of an allow-list, and the past played again.
//!
//! Decisions are made in this process, by the function that gateway and engine call, on 1,000 organisations; the rules are
//! once about single organisations, once all about the same callers with other processes. Difference and replay are the
//! commands `schleuse allow-list diff` and `schleuse replay`, from their start to their end, on a node's directory with
//! a log that the audit crate has written.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use audit::{Log, Options};
use certs::development::KeyType;
use fhir::{Object, Value};
use link::Snapshot;
use node::Directory;
use policies::{AllowList, Context, Identity, Origin, Policy};
use serde_json::json;
use time::OffsetDateTime;

use crate::Run;
use crate::decision::ping_task;
use crate::error::{During as _, Failure, Outcome};
use crate::node_directory::{
    self, CLIENT, ENDPOINT_IDENTIFIER, ORGANIZATION_IDENTIFIER, PARENT, Size, allow_list_of, member, organization,
};
use crate::pki::Pki;
use crate::report::{Report, Table, Target, number};
use crate::statistics::Values;

/// Members of the network for decisions.
const ORGANIZATIONS: usize = 1_000;
/// Organisations of the Bundle.
const BUNDLE: usize = 40;
/// Rules beside the shipped ones.
const RULES: [usize; 3] = [0, 50, 495];
/// Requests that are decided.
const REQUESTS: [(&str, &str, &str); 3] = [
    ("read of an Organization", "GET", "/fhir/Organization/1"),
    ("search of Tasks", "GET", "/fhir/Task?status=requested&_count=50"),
    ("create of a Task (ping)", "POST", "/fhir/Task"),
];

/// Whom and what the rules are about.
#[derive(Clone, Copy)]
enum Shape {
    Organizations,
    Processes,
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    decisions(run, report)?;
    past(run, report).await
}

// === decisions ===

fn decisions(run: &Run, report: &mut Report) -> Outcome<()> {
    let pki = Pki::new(KeyType::EcdsaP256)?;
    let list = allow_list_of(ORGANIZATIONS - 2, "https://local.example/fhir", pki.client())?;
    let thumbprint = pki.client().thumbprint().parse().during("a thumbprint")?;
    let count = if run.quick { 20_000 } else { 200_000 };
    let mut rows = Vec::new();
    for (shape, text) in [(Shape::Organizations, "organisations"), (Shape::Processes, "processes")] {
        for rules in RULES {
            let policy = policy(shape, rules)?;
            let identity = list.identify(&thumbprint, None, &policy);
            let mut row = vec![format!("{} rules, about {text}", policy.rules().all().len())];
            for (name, method, target) in REQUESTS {
                let times = decide(&policy, &list, &identity, method, target, count)?;
                if Some(&rules) == RULES.last() {
                    let figure = format!("{name}, {} rules about {text}, p50", policy.rules().all().len());
                    report.figure(figure, times.p50(), "ns", Target::Below(1_000.0));
                }
                row.push(format!("{} / {}", number(times.p50()), number(times.p99())));
            }
            rows.push(row);
        }
    }
    let header: Vec<&str> = std::iter::once("policy").chain(REQUESTS.iter().map(|(name, ..)| *name)).collect();
    report.table(Table::new("Nanoseconds of a decision, p50 / p99", &header, rows));
    report.note(format!("{ORGANIZATIONS} organisations, {count} decisions each, one thread"));
    Ok(())
}

fn policy(shape: Shape, rules: usize) -> Outcome<Policy> {
    let mut text = "schema = 1\n".to_owned();
    for number in 0..rules {
        let rest = match (shape, number % 2) {
            (Shape::Organizations, 0) => format!(
                "effect = \"deny\"\nsubject = \"org:{}\"\nmatch = {{ operations = [\"read\", \"search\", \"create\"], types = [\"*\"] }}",
                organization(number)
            ),
            (Shape::Organizations, _) => format!(
                "effect = \"restrict\"\nsubject = \"org:{}\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nonly.count = {{ most = 50, per = \"day\" }}",
                organization(number)
            ),
            (Shape::Processes, 0) => format!(
                "effect = \"deny\"\nsubject = \"remote-organization\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nwhen.task = {{ process = [\"http://example.org/bpe/Process/process{number}|*\"] }}"
            ),
            (Shape::Processes, _) => format!(
                "effect = \"restrict\"\nsubject = \"role:{PARENT}/DIC\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nwhen.task = {{ process = [\"http://example.org/bpe/Process/process{number}|1.0\"], message-name = [\"start\"] }}\nonly.size = \"64KiB\""
            ),
        };
        text.push_str(&format!("\n[[rule]]\nid = \"benchmark-{number:03}\"\n{rest}\n"));
    }
    let mut files = policies::default_files().to_vec();
    files.push(("benchmark.toml", &text));
    Policy::load(&files).map_err(|findings| Failure::new(format!("the policy is refused: {findings:?}")))
}

fn decide(
    policy: &Policy,
    list: &AllowList,
    identity: &Identity,
    method: &str,
    target: &str,
    count: usize,
) -> Outcome<Values> {
    let request = policies::canonicalize(method, target, "/fhir").during("a request")?;
    let task = ping_task()?;
    let body = (method == "POST").then_some(&task);
    let origin = Origin::Address([127, 0, 0, 1].into());
    let context = Context { now: OffsetDateTime::now_utc(), origin, body_bytes: body.map(|_| 2_000) };
    let mut times = Vec::with_capacity(count);
    for number in 0..count + count / 10 {
        let started = Instant::now();
        let decision = policies::decide(policy, list, black_box(identity), black_box(&request), body, &context);
        let took = started.elapsed();
        if !black_box(decision).is_permit() {
            return Err(Failure::new(format!("{method} {target} is not permitted")));
        }
        // The first ones fill caches.
        if number >= count / 10 {
            times.push(took.as_secs_f64() * 1e9);
        }
    }
    Ok(Values::new(times))
}

// === the past ===

async fn past(run: &Run, report: &mut Report) -> Outcome<()> {
    let folder = tempfile::tempdir().during("making a temporary folder")?;
    let pki = Pki::new(KeyType::EcdsaP256)?;
    let written = node_directory::write(folder.path(), Size::Small, &pki, 8443, 8444)?;
    let directory = Directory::new(&written.root);
    let list = allow_list_of(BUNDLE, "https://localhost:8443/fhir", pki.client())?;
    let snapshot = Snapshot::new(1, list).during("an allow-list")?.to_json().during("an allow-list")?;
    let bundle = folder.path().join("bundle.json");
    let records = if run.quick { 10_000 } else { 100_000 };
    std::fs::create_dir_all(directory.gateway()).during("making a folder")?;
    std::fs::write(directory.snapshot_copy(), snapshot).during("writing an allow-list")?;
    std::fs::write(&bundle, candidate()?).during("writing a Bundle")?;
    let log = directory.audit().join("gateway.log");
    record(&log, records, pki.client().thumbprint()).await?;

    let (mut diffs, mut replays) = (Vec::new(), Vec::new());
    let root = written.root.as_os_str();
    for _ in 0..if run.quick { 3 } else { 11 } {
        diffs.push(command(
            run,
            &["allow-list".as_ref(), "diff".as_ref(), bundle.as_os_str(), "--directory".as_ref(), root],
        )?);
        replays.push(command(run, &["replay".as_ref(), root, "--allow-list".as_ref(), bundle.as_os_str()])?);
    }
    let (diffs, replays) = (Values::new(diffs), Values::new(replays));
    report.value(format!("difference of {BUNDLE} organisations, p50"), diffs.p50(), "ms");
    report.value(format!("replay of {records} decisions, p50"), replays.p50(), "ms");
    let both = diffs.p50() + replays.p50();
    report.figure("difference and replay, p50", both, "ms", Target::Below(1_000.0));
    Ok(())
}

/// Every second organisation gets another certificate.
fn candidate() -> Outcome<Vec<u8>> {
    let mut entries = Vec::new();
    for index in 0..BUNDLE {
        let name = organization(index);
        let certificate = certs::thumbprint(format!("{name} {}", index % 2).as_bytes());
        let thumbprint = if index % 2 == 0 { certs::thumbprint(name.as_bytes()) } else { certificate };
        let [organization, endpoint, affiliation] = member(&name, &thumbprint, &format!("https://dsf.{name}/fhir"));
        let identifier = |system: &str, value: &str| format!("{system}|{value}");
        let (own, parent) = (identifier(ORGANIZATION_IDENTIFIER, &name), identifier(ORGANIZATION_IDENTIFIER, PARENT));
        let at = identifier(ENDPOINT_IDENTIFIER, &format!("dsf.{name}"));
        let of = format!(
            "OrganizationAffiliation?primary-organization:identifier={parent}&participating-organization:identifier={own}"
        );
        let urn = |kind: &str| format!("urn:uuid:{kind}-{index}");
        let reference = |kind: &str| -> Value { Object::new().with("reference", urn(kind)).into() };
        let (mut organization, mut endpoint, mut affiliation) = (organization, endpoint, affiliation);
        organization.set("endpoint", vec![reference("endpoint")]);
        endpoint.set("managingOrganization", reference("organization"));
        let parent = Object::new().with("system", ORGANIZATION_IDENTIFIER).with("value", PARENT);
        affiliation.set("organization", Object::new().with("identifier", parent));
        affiliation.set("participatingOrganization", reference("organization"));
        affiliation.set("endpoint", vec![reference("endpoint")]);
        for (kind, url, resource) in [
            ("organization", format!("Organization?identifier={own}"), organization),
            ("endpoint", format!("Endpoint?identifier={at}"), endpoint),
            ("affiliation", of, affiliation),
        ] {
            let text = fhir::print(fhir::Format::Json, &resource, false);
            let resource: serde_json::Value = serde_json::from_str(&text).during("a resource")?;
            let request = json!({ "method": "PUT", "url": url });
            entries.push(json!({ "fullUrl": urn(kind), "resource": resource, "request": request }));
        }
    }
    serde_json::to_vec(&json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })).during("a Bundle")
}

/// A log as the gateway writes it: reads, searches and Tasks of all members.
async fn record(path: &Path, count: usize, client: &str) -> Outcome<()> {
    let log = Log::open(path, Options::default()).during("opening an audit log")?;
    for index in 0..count {
        let (name, thumbprint) = match index % (BUNDLE + 1) {
            0 => (CLIENT.to_owned(), client.to_owned()),
            other => {
                let name = organization(other - 1);
                let thumbprint = certs::thumbprint(name.as_bytes());
                (name, thumbprint)
            }
        };
        let (interaction, kind, rule) = match index % 3 {
            0 => ("read", "Organization", "remote-read"),
            1 => ("search", "Task", "remote-read"),
            _ => ("create", "Task", "remote-task-create"),
        };
        let task = (interaction == "create").then(|| {
            json!({ "status": "requested", "process": "http://dsf.dev/bpe/Process/pong|1.0", "message-name": "ping",
                "profiles": ["http://dsf.dev/fhir/StructureDefinition/task-ping|1.0"] })
        });
        let record = json!({
            "event": "permit", "correlation-id": uuid::Uuid::new_v4(), "address": "127.0.0.1",
            "tls": "TLSv1_3 TLS13_AES_128_GCM_SHA256", "thumbprint": thumbprint, "subject": format!("CN={name}"),
            "identity": "remote-organization", "name": name, "method": "GET", "target": "/fhir", "interaction": interaction,
            "resource-type": kind, "rule": rule, "task": task, "policy-version": "0".repeat(64), "snapshot-version": 1,
        });
        log.append(OffsetDateTime::now_utc(), &record).during("appending")?;
    }
    log.durable(log.newest()).await.during("syncing")
}

/// Milliseconds of a command that finds differences, from its start to its end.
fn command(run: &Run, arguments: &[&std::ffi::OsStr]) -> Outcome<f64> {
    let started = Instant::now();
    let output = std::process::Command::new(run.program("schleuse")?)
        .args(arguments)
        .output()
        .during("starting the command schleuse")?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    match output.status.code() {
        Some(1) if !output.stdout.is_empty() => Ok(took),
        code => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Failure::new(format!("the command ended with {code:?}: {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_request_is_permitted_and_the_bundle_changes_the_list() {
        certs::install_provider();
        let pki = Pki::new(KeyType::EcdsaP256).unwrap();
        let list = allow_list_of(BUNDLE, "https://localhost:8443/fhir", pki.client()).unwrap();
        for shape in [Shape::Organizations, Shape::Processes] {
            let policy = policy(shape, 100).unwrap();
            let identity = list.identify(&pki.client().thumbprint().parse().unwrap(), None, &policy);
            for (_, method, target) in REQUESTS {
                decide(&policy, &list, &identity, method, target, 10).unwrap();
            }
        }
        let bundle = fhir::parse(fhir::Format::Json, &candidate().unwrap(), &fhir::Limits::default()).unwrap();
        let next = policies::change::apply(&list, &bundle).unwrap();
        assert!(!policies::change::difference(&list, &next).is_empty());
    }
}
