//! `schleuse allow-list pending|approve|reject`: changes of the allow-list that wait for officers.
//!
//! What is signed is the digest of the change; this command computes it from the content that it shows, and not from what
//! the node calls it.

use std::path::Path;

use certs::{CertError, Credentials, SignedPurpose};
use node::officers::{self, SealProblem};
use node::{Directory, Seal};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::fail;
use crate::admin::{AdminError, Node};
use crate::arguments::{AllowListApprove, AllowListPending, AllowListReject, Format};
use crate::output::{Table, answer, printable};

#[derive(Debug, thiserror::Error)]
enum ApprovalError {
    #[error(transparent)]
    Node(#[from] AdminError),
    #[error("{0}; remedy: {remedy}", remedy = .0.remedy())]
    Key(#[from] CertError),
    #[error("cannot be signed: the signature {0}")]
    Seal(#[from] SealProblem),
    #[error("{0}")]
    Settings(String),
    #[error("no change that waits begins with {0}, or more than one does")]
    Unknown(String),
    #[error("the content of the change does not give the digest that the node calls it by; reject it")]
    Digest,
}

impl ApprovalError {
    const fn code(&self) -> u8 {
        match self {
            Self::Node(error) => error.exit_code(),
            Self::Settings(_) => 78,
            _ => 1,
        }
    }
}

pub(super) async fn pending(arguments: &AllowListPending, format: Format) -> u8 {
    let node = Node::at(&arguments.directory);
    let shown = match &arguments.digest {
        None => node.get::<Value>("/allow-list/pending").await.map_err(ApprovalError::from),
        Some(digest) => find(&node, digest).await,
    };
    match shown {
        Ok(shown) => {
            let text = || if arguments.digest.is_some() { change_text(&shown) } else { list_text(&shown) };
            answer(format, text, || shown.clone());
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn approve(arguments: &AllowListApprove, format: Format) -> u8 {
    match sign(arguments).await {
        Ok(done) => {
            let text = || {
                let count = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or_default();
                let applied = done.get("applied").and_then(Value::as_bool) == Some(true);
                let state = if applied { "in force" } else { "waits for further officers" };
                format!("{} of {} approvals: {state}\n", count("approvals"), count("required"))
            };
            answer(format, text, || done.clone());
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn reject(arguments: &AllowListReject, format: Format) -> u8 {
    let node = Node::at(&arguments.directory);
    let rejected = async {
        let digest = digest_of(&find(&node, &arguments.digest).await?);
        let command = json!({ "digest": digest, "reason": arguments.reason });
        Ok::<_, ApprovalError>(node.post::<Value>("/allow-list/reject", &command).await?)
    };
    match rejected.await {
        Ok(done) => {
            answer(format, || format!("{} rejected\n", digest_of(&done)), || done.clone());
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

async fn sign(arguments: &AllowListApprove) -> Result<Value, ApprovalError> {
    let node = Node::at(&arguments.directory);
    let change = find(&node, &arguments.digest).await?;
    let digest = digest_of(&change);
    if computed(&change).as_deref() != Some(digest.as_str()) {
        return Err(ApprovalError::Digest);
    }
    let organization = organization(&arguments.directory)?;
    let credentials = Credentials::load(&arguments.key.certificate, &arguments.key.private_key)?;
    let content = officers::list_change_content(&organization, &digest);
    let seal = Seal::make(&credentials, SignedPurpose::AllowListChange, &content, OffsetDateTime::now_utc())?;
    Ok(node.post("/allow-list/approve", &json!({ "digest": digest, "seal": seal })).await?)
}

fn organization(directory: &Path) -> Result<String, ApprovalError> {
    let (settings, _) = node::load(&Directory::new(directory)).map_err(|findings| {
        ApprovalError::Settings(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    Ok(settings.organization_identifier.to_string())
}

/// The one change whose digest begins so, with its content.
async fn find(node: &Node, begin: &str) -> Result<Value, ApprovalError> {
    let unknown = || ApprovalError::Unknown(printable(begin));
    let list: Value = node.get("/allow-list/pending").await?;
    let all = list.get("pending").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut matching = all.iter().map(digest_of).filter(|digest| !begin.is_empty() && digest.starts_with(begin));
    let (Some(digest), None) = (matching.next(), matching.next()) else { return Err(unknown()) };
    Ok(node.get(&format!("/allow-list/pending/{digest}")).await?)
}

fn digest_of(change: &Value) -> String {
    change.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn steps(change: &Value) -> &[Value] {
    change.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The digest over what is shown.
fn computed(change: &Value) -> Option<String> {
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut content = String::new();
    for step in steps(change) {
        let word = |name: &str| step.get(name).and_then(Value::as_str);
        let resource = word("resource").map_or_else(|| "-".to_owned(), |text| hex(text.as_bytes()));
        let version = step.get("version")?.as_u64()?;
        content.push_str(&format!(
            "{} {}/{} {version} {resource}\n",
            word("kind")?,
            word("resource-type")?,
            word("id")?
        ));
    }
    Some(hex(content.as_bytes()))
}

fn list_text(list: &Value) -> String {
    let all = list.get("pending").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "nothing waits for approval\n".to_owned();
    }
    let mut table = Table::new(&["digest", "since", "by", "resources", "approved by"]);
    for pending in all {
        let word = |name: &str| pending.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let names: Vec<&str> = pending
            .get("approved-by")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let count = pending.get("resources").map(ToString::to_string).unwrap_or_default();
        table.row([word("digest"), word("since"), word("by"), count, names.join("; ")]);
    }
    let required = list.get("required").map(ToString::to_string).unwrap_or_default();
    format!("{table}each needs {required} approvals; `schleuse allow-list pending --digest DIGEST` shows the content\n")
}

fn change_text(change: &Value) -> String {
    let mut text = format!("{}\n", digest_of(change));
    for step in steps(change) {
        let word = |name: &str| printable(step.get(name).and_then(Value::as_str).unwrap_or_default());
        text.push_str(&format!("{} {}/{}\n", word("kind"), word("resource-type"), word("id")));
        let pretty =
            step.get("resource").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(resource) = pretty {
            let lines = format!("{resource:#}");
            text.extend(lines.lines().map(|line| format!("    {}\n", printable(line))));
        }
    }
    text
}
