//! The node itself: configuration, confinement, what runs, certificates.

use std::path::Path;

use certs::Credentials;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::super::{block, check};
use super::{Seen, Verdict};
use crate::admin::Node;
use crate::local::Local;
use crate::own::{Own, OwnError};
use crate::supervise::Program;

/// Days before the end of a certificate at which it must be renewed now.
const SOON: i64 = 30;

/// What `--prove-confinement` prints.
#[derive(Deserialize)]
struct Proof {
    holds: bool,
    attempts: Vec<Tried>,
}

#[derive(Deserialize)]
struct Tried {
    attempt: String,
    after: String,
}

/// What `schleuse check` says.
pub(super) async fn configuration(directory: &Path) -> Vec<Seen> {
    match check::findings(directory).await {
        Ok(found) if found.is_empty() => vec![Seen::good("configuration", "nothing is wrong")],
        Ok(found) => found
            .into_iter()
            .map(|found| {
                let verdict = if found.severity == "error" { Verdict::Problem } else { Verdict::Warning };
                let place = if found.line > 0 { format!("{}:{}: ", found.file, found.line) } else { String::new() };
                let key = if found.key.is_empty() { String::new() } else { format!("{}: ", found.key) };
                Seen::other("configuration", verdict, format!("{place}{key}{}", found.text), found.remedy)
            })
            .collect(),
        Err(error) => {
            let remedy = "install all programs of one release in the same folder";
            vec![Seen::other("configuration", Verdict::Problem, error.to_string(), remedy)]
        }
    }
}

/// Lets each program show that the kernel holds it.
pub(super) async fn confinement(directory: &Path) -> Vec<Seen> {
    let mut all = Vec::new();
    for program in [Program::Gateway, Program::Engine, Program::Refresh] {
        all.push(match prove(program, directory).await {
            Ok(proof) if proof.holds => {
                let text = format!("{} was refused {} forbidden acts", program.file_name(), proof.attempts.len());
                Seen::good("confinement", text)
            }
            Ok(proof) => {
                let allowed = proof.attempts.iter().filter(|tried| tried.after == "allowed");
                let allowed: Vec<&str> = allowed.map(|tried| tried.attempt.as_str()).collect();
                let text = format!("{} could: {}", program.file_name(), allowed.join("; "));
                Seen::other("confinement", Verdict::Warning, text, "use Linux 6.12 or newer with Landlock and seccomp")
            }
            Err(reason) => {
                let text = format!("{} did not show its confinement: {reason}", program.file_name());
                Seen::other("confinement", Verdict::Unknown, text, "repair what it names, and run the command again")
            }
        });
    }
    all
}

async fn prove(program: Program, directory: &Path) -> Result<Proof, String> {
    let path = program.path().map_err(|error| error.to_string())?;
    let mut command = tokio::process::Command::new(path);
    command.arg("--directory").arg(directory).args(["--build", link::BUILD, "--prove-confinement"]);
    let output = command.output().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The sinks of the audit log, as the gateway knows them.
fn sinks(ready: &Value) -> Vec<Seen> {
    let reports = ready.get("audit-sinks").and_then(Value::as_array).into_iter().flatten();
    let seen = reports.map(|report| {
        let word = |name: &str| report.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (sink, records) = (word("sink"), number("records"));
        if report.get("alive") != Some(&Value::Bool(true)) {
            let remedy = "repair the receiver, or see the log of schleuse-refresh; records wait in audit/ until then";
            return Seen::other("audit sink", Verdict::Problem, format!("{sink}: {}", word("error")), remedy);
        }
        match number("missing") {
            0 => Seen::good("audit sink", format!("{sink} has taken {records} records")),
            missing => {
                let text = format!("{sink} misses {missing} records that were removed before it could take them");
                Seen::other("audit sink", Verdict::Warning, text, "move audit files away only when they were sent")
            }
        }
    });
    seen.collect()
}

/// Engine, gateway and the way through both.
pub(super) async fn running(directory: &Path, local: &Local) -> Vec<Seen> {
    let mut all = Vec::new();
    let start = format!("schleuse run {}, or systemctl start schleuse.target; see the log", directory.display());
    all.push(match Node::at(directory).get::<Value>("/status").await {
        Ok(status) => {
            let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or(0);
            let text = format!(
                "runs since {} s, {} messages wait to be sent",
                number("uptime-seconds"),
                number("messages-waiting")
            );
            Seen::good("engine", text)
        }
        Err(error) => Seen::other("engine", Verdict::Problem, error.to_string(), &start),
    });
    let management = local.settings.management.address;
    let ready = block::ready(management).await;
    all.extend(ready.iter().flat_map(sinks));
    if ready.as_ref().and_then(|ready| ready.get("settings-changed")) == Some(&Value::Bool(true)) {
        let remedy = "start the gateway again: systemctl restart schleuse-gateway, or schleuse run";
        let text = "node.toml was changed after the gateway had read it; [listen], [management], [certificates] and [trust-stores] hold for it as they were";
        all.push(Seen::other("gateway", Verdict::Warning, text, remedy));
    }
    all.push(match ready {
        Some(ready) if ready.get("ready") == Some(&Value::Bool(true)) => Seen::good("gateway", "is ready"),
        Some(ready) => {
            let reasons = ready.get("reasons").and_then(Value::as_array).into_iter().flatten();
            let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
            Seen::other("gateway", Verdict::Problem, format!("is not ready: {}", reasons.join(", ")), &start)
        }
        None => Seen::other("gateway", Verdict::Problem, format!("nothing answers on {management}"), &start),
    });
    all.push(match own(local).await {
        Ok(()) => Seen::good("port", format!("{} serves the own organisation", local.settings.listen)),
        Err(error) => Seen::other("port", Verdict::Problem, error.to_string(), &start),
    });
    all.push(match &local.allow_list {
        Some(list) => {
            let organizations = list.organizations().len();
            let text = format!("{organizations} organisations, {} endpoints", list.endpoints().len());
            if organizations > 1 {
                Seen::good("allow-list", text)
            } else {
                let remedy = "load the network's list: schleuse allow-list apply";
                Seen::other("allow-list", Verdict::Warning, format!("{text}: no partner is known"), remedy)
            }
        }
        None => Seen::other("allow-list", Verdict::Warning, "the node never had one", "start the node once"),
    });
    all
}

async fn own(local: &Local) -> Result<(), OwnError> {
    Own::new(&local.settings)?.get("/metadata").await.map(drop)
}

/// Days left.
pub(super) fn certificates(local: &Local) -> Vec<Seen> {
    let pairs = [("server", &local.settings.server_certificate), ("client", &local.settings.client_certificate)];
    let now = OffsetDateTime::now_utc();
    let seen = |(name, pair): (&str, &node::KeyPair)| match Credentials::load(&pair.certificate, &pair.private_key) {
        Ok(credentials) => {
            let days = credentials.certificate().days_left(now);
            let text = format!("{name}: {days} days left");
            let remedy = "renew it: see `Renew a certificate` in docs/operations.md";
            match days {
                ..=0 => Seen::other("certificates", Verdict::Problem, text, remedy),
                1..=SOON => Seen::other("certificates", Verdict::Warning, text, remedy),
                _ => Seen::good("certificates", text),
            }
        }
        Err(error) => Seen::other("certificates", Verdict::Problem, format!("{name}: {error}"), error.remedy()),
    };
    pairs.into_iter().map(seen).collect()
}
