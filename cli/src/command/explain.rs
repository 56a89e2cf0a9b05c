//! `schleuse explain`: the whole derivation of a decision, for the officer.
//!
//! From the correlation id that a refused caller was given, from a certificate with method and URL, or from a file. The
//! recorded decision is told as it was; the derivation is that of the policy and the allow-list of now, and says so when
//! they are not those of the record.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use fhir::{Format as FhirFormat, Resource};
use policies::explain::{Considered, LeftOut, considered, left_out};
use policies::matrix::{Cell, Side};
use policies::{CanonicalRequest, Context, Decision, Identity, Origin, Thumbprint, canonicalize, decide};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fail;
use crate::arguments::{self, Format};
use crate::local::{Local, LocalError, audit_files};
use crate::output::{answer, printable};
use crate::record::Line;

#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{error}\n  remedy: {}", .error.remedy())]
    Certificate { error: certs::CertError },
    #[error("{0} cannot be read: {1}")]
    File(String, String),
    #[error("name a correlation id, or --certificate (or --thumbprint) with --url, or --request FILE")]
    Nothing,
    #[error("no record has the correlation id {0}; `schleuse audit verify` shows how far back the log goes")]
    NoRecord(String),
    #[error("the request has no canonical form: {0}; it is refused before any rule is asked")]
    Request(#[from] policies::RequestError),
    #[error("{0}")]
    Usage(String),
}

/// A request in a file, `schleuse explain --request FILE`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Asked {
    thumbprint: Option<String>,
    certificate: Option<std::path::PathBuf>,
    email: Option<String>,
    method: Option<String>,
    url: String,
    address: Option<String>,
    time: Option<String>,
    body: Option<Value>,
}

pub(super) fn run(arguments: &arguments::Explain, format: Format) -> u8 {
    match explain(arguments) {
        Ok((lines, value)) => {
            answer(format, || lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"), || value);
            0
        }
        Err(error) => {
            let code = match &error {
                ExplainError::Local(error) => error.code(),
                ExplainError::Nothing | ExplainError::Usage(_) => 2,
                _ => 1,
            };
            fail(&error, code)
        }
    }
}

fn explain(arguments: &arguments::Explain) -> Result<(Vec<String>, Value), ExplainError> {
    let local = Local::load(&arguments.directory)?;
    if let Some(id) = &arguments.correlation_id {
        return from_record(&local, id);
    }
    let asked = match &arguments.request {
        Some(path) => read_asked(path)?,
        None => Asked {
            thumbprint: arguments.thumbprint.clone(),
            certificate: arguments.certificate.clone(),
            method: Some(arguments.method.clone()),
            url: arguments.url.clone().ok_or(ExplainError::Nothing)?,
            address: arguments.address.clone(),
            time: arguments.time.clone(),
            body: match &arguments.body {
                Some(path) => Some(read_body(path)?),
                None => None,
            },
            email: None,
        },
    };
    from_request(&local, &asked)
}

fn read_asked(path: &Path) -> Result<Asked, ExplainError> {
    let broken = |reason: String| ExplainError::File(path.display().to_string(), reason);
    let text = std::fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| broken(error.to_string()))
}

fn read_body(path: &Path) -> Result<Value, ExplainError> {
    let broken = |reason: String| ExplainError::File(path.display().to_string(), reason);
    let bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    let is_xml = bytes.trim_ascii_start().starts_with(b"<");
    let kind = if is_xml { FhirFormat::Xml } else { FhirFormat::Json };
    let resource = fhir::parse(kind, &bytes, &fhir::Limits::default()).map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&fhir::print(FhirFormat::Json, &resource, false)).map_err(|error| broken(error.to_string()))
}

fn from_request(local: &Local, asked: &Asked) -> Result<(Vec<String>, Value), ExplainError> {
    let list = local.allow_list()?;
    let usage = |text: &str| ExplainError::Usage(text.to_owned());
    let (thumbprint, email, verdict) = certificate_of(local, asked)?;
    let identity = list.identify(&thumbprint, email.as_deref(), &local.policy);
    let base = local.settings.base_url.path();
    let target = asked
        .url
        .strip_prefix(local.settings.base_url.as_str())
        .map_or_else(|| asked.url.clone(), |below| format!("{base}{below}"));
    let request = canonicalize(asked.method.as_deref().unwrap_or("GET"), &target, base)?;
    let (body, size) = match &asked.body {
        Some(value) => {
            let text = value.to_string();
            let parsed = fhir::parse(FhirFormat::Json, text.as_bytes(), &fhir::Limits::default());
            let resource = parsed.map_err(|error| ExplainError::File("the body".to_owned(), error.to_string()))?;
            (Some(resource), Some(text.len() as u64))
        }
        None => (None, None),
    };
    let now = match &asked.time {
        Some(text) => {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| usage("write --time as 2026-01-31T18:00:00Z"))?
        }
        None => OffsetDateTime::now_utc(),
    };
    let address = asked.address.as_deref().unwrap_or("127.0.0.1");
    let address = address.parse().map_err(|_| usage("write --address as an IP address"))?;
    let context = Context { now, origin: Origin::Address(address), body_bytes: size };
    let (mut lines, value) = derivation(local, &identity, &request, body.as_ref(), &context)?;
    if let Some(verdict) = verdict {
        lines.insert(0, verdict);
    }
    Ok((lines, value))
}

type Certificate = (Thumbprint, Option<String>, Option<String>);

fn certificate_of(local: &Local, asked: &Asked) -> Result<Certificate, ExplainError> {
    if let Some(text) = &asked.thumbprint {
        let thumbprint =
            text.parse().map_err(|_| ExplainError::Usage(format!("{} is no thumbprint", printable(text))))?;
        return Ok((thumbprint, asked.email.clone(), None));
    }
    let path = asked.certificate.as_deref().ok_or(ExplainError::Nothing)?;
    let file = |error| ExplainError::Certificate { error };
    let all =
        certs::pem::read_file(path).and_then(|bytes| certs::read_certificates(&bytes, &path.display().to_string()));
    let mut all = all.map_err(file)?;
    let certificate = all.remove(0);
    let trust = node::client_trust(&local.settings, &local.policy);
    let verdict = trust.ok().and_then(|trust| {
        let rules = node::certificate_rules(local.policy.trust());
        certs::verdict::judge_client(&certificate, &all, &trust, &rules, OffsetDateTime::now_utc()).ok()
    });
    let said = verdict.map(|verdict| match verdict.steps.iter().find(|step| !step.holds) {
        Some(step) => format!("handshake: refused at {}: {}", step.step, step.text),
        None => "handshake: the certificate is accepted".to_owned(),
    });
    let thumbprint = certificate
        .thumbprint()
        .parse()
        .map_err(|_| ExplainError::Usage("the certificate has no thumbprint".to_owned()))?;
    Ok((thumbprint, certificate.emails().first().cloned(), said))
}

fn derivation(
    local: &Local,
    identity: &Identity,
    request: &CanonicalRequest,
    body: Option<&Resource>,
    context: &Context,
) -> Result<(Vec<String>, Value), ExplainError> {
    let list = local.allow_list()?;
    let side = Side { policy: &local.policy, allow_list: list };
    let cell = Cell { interaction: request.interaction(), resource_type: request.resource_type() };
    let rules = considered(side, identity, cell, body.map(Resource::tree), context);
    let decision = decide(&local.policy, list, identity, request, body, context);
    let (word, rule, code, text) = match &decision {
        Decision::Permit(permit) => ("permit", Some(permit.rule().to_string()), None, String::new()),
        Decision::Deny(denial) => {
            ("deny", denial.rule.as_ref().map(ToString::to_string), Some(denial.code), denial.text.clone())
        }
    };
    let mut lines =
        vec![format!("identity: {} {}", identity.kind(), identity.name()), format!("request: {} {request}", cell)];
    lines.extend(rule_lines(&rules));
    lines.push(match (&rule, code) {
        (Some(rule), None) => format!("decision: permitted by rule {rule}"),
        (rule, Some(code)) => {
            let by = rule.as_ref().map_or(String::new(), |rule| format!(" by rule {rule}"));
            format!("decision: refused{by} with {code}: {text}\n  cause: {}\n  remedy: {}", code.cause(), code.remedy())
        }
        (None, None) => "decision: permitted".to_owned(),
    });
    let hidden = match decision {
        Decision::Permit(_) => left_out(side, identity, cell.interaction, context),
        Decision::Deny(_) => Vec::new(),
    };
    lines.extend(hidden.iter().map(hidden_line));
    lines.push(
        "the engine decides again on what is stored: tags, process authorisation, old versions, counts".to_owned(),
    );
    let value = json!({
        "identity": { "kind": identity.kind(), "name": identity.name() },
        "request": request.to_string(),
        "rules": rules,
        "left-out": hidden,
        "decision": word,
        "rule": rule,
        "code": code.map(|code| code.as_str()),
        "text": text,
        "policy-version": local.policy.version(),
    });
    Ok((lines.iter().flat_map(|line| line.lines().map(str::to_owned)).collect(), value))
}

fn rule_lines(rules: &[Considered]) -> Vec<String> {
    let line = |rule: &Considered| {
        let word = if rule.applies { "applies" } else { "does not apply" };
        format!("rule {} ({}): {word}: {}", rule.rule, rule.effect, rule.because)
    };
    if rules.is_empty() { vec!["no rule is about this".to_owned()] } else { rules.iter().map(line).collect() }
}

/// Types that stand in no answer, in words.
fn hidden_line(hidden: &LeftOut) -> String {
    const SHOWN: usize = 8;
    let mut types = hidden.types.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
    if hidden.types.len() > SHOWN {
        types.push_str(&format!(" and {} more types", hidden.types.len() - SHOWN));
    }
    format!("left out of the answer: {types}: {} ({})", hidden.because, hidden.code)
}

fn from_record(local: &Local, id: &str) -> Result<(Vec<String>, Value), ExplainError> {
    let mut lines = Vec::new();
    let mut records: Vec<Value> = Vec::new();
    let mut recorded = None;
    for process in ["gateway", "engine"] {
        let io = |error: std::io::Error| ExplainError::File("the audit log".to_owned(), error.to_string());
        for path in audit_files(&local.directory, process).map_err(io)? {
            let reader = BufReader::with_capacity(1 << 20, std::fs::File::open(path).map_err(io)?);
            for text in reader.lines() {
                let text = text.map_err(io)?;
                if !text.contains(id) {
                    continue;
                }
                let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
                let record = value.get("record").cloned().unwrap_or_default();
                if record.get("correlation-id").and_then(Value::as_str) != Some(id) {
                    continue;
                }
                let time = value.get("time").and_then(Value::as_str).unwrap_or_default();
                lines.push(format!("{process} {time}: {}", sentence(&record)));
                if process == "gateway" && recorded.is_none() {
                    recorded = Line::read(&text).and_then(|line| line.recorded());
                }
                records.push(json!({ "process": process, "time": time, "record": record }));
            }
        }
    }
    if records.is_empty() {
        return Err(ExplainError::NoRecord(printable(id)));
    }
    let (mut rules, mut hidden) = (Vec::new(), Vec::new());
    if let (Some(recorded), Some(list)) = (&recorded, &local.allow_list) {
        let side = Side { policy: &local.policy, allow_list: list };
        let identity = list.identify(&recorded.thumbprint, recorded.email.as_deref(), &local.policy);
        let cell = Cell { interaction: recorded.interaction, resource_type: recorded.resource_type };
        let task = recorded.task.as_ref().map(policies::replay::TaskFacts::to_task);
        rules = considered(side, &identity, cell, task.as_ref(), &recorded.context);
        let decided_by = |record: &Value| record.get("policy-version")?.as_str().map(str::to_owned);
        let then = records.iter().find_map(|entry| decided_by(entry.get("record")?));
        if then.is_some_and(|then| then != local.policy.version()) {
            lines.push("the policy has changed since; by the one of now:".to_owned());
        }
        lines.push(format!("identity: {} {}", identity.kind(), identity.name()));
        lines.extend(rule_lines(&rules));
        if records.iter().any(|entry| entry.pointer("/record/event").and_then(Value::as_str) == Some("permit")) {
            hidden = left_out(side, &identity, cell.interaction, &recorded.context);
            lines.extend(hidden.iter().map(hidden_line));
        }
    }
    Ok((
        lines,
        json!({ "records": records, "rules": rules, "left-out": hidden, "policy-version": local.policy.version() }),
    ))
}

/// A record as a sentence, with its remedy.
fn sentence(record: &Value) -> String {
    let word =
        |name: &str| record.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let mut text = word("event").unwrap_or_default();
    for name in ["name", "method", "target", "rule", "code", "reason", "status", "error"] {
        if let Some(value) = word(name) {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    let code = word("code").and_then(|code| policies::DenyCode::ALL.iter().find(|known| known.as_str() == code));
    if let Some(code) = code {
        text.push_str(&format!("; {}; remedy: {}", code.cause(), code.remedy()));
    }
    text
}
