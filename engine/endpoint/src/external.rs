//! References to other servers: their existence is asked for before the transaction begins (`fhir-api` 4.1).
//!
//! Only servers of the network are asked, that is those whose address is that of an active Endpoint of the allow-list; a
//! sender can therefore not make this node call anybody else. References to any other server are not checked.

use std::sync::Arc;

use fhir::Resource;
use fhir::reference::{Reference, collect};
use policies::AllowList;

use crate::hooks::Boxed;
use crate::limits;
use crate::refusal::Refusal;

/// Asks other servers of the network whether a resource exists there.
pub trait RemoteReferences: Send + Sync + 'static {
    /// `HEAD` on the absolute URL, with the node's own certificate and short time-outs.
    fn exists(&self, url: String) -> Boxed<'_, RemoteAnswer>;
}

/// What another server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAnswer {
    /// 200.
    Exists,
    /// 404.
    Missing,
    /// Anything else, or no answer.
    Failed,
}

/// Asks nobody: every reference to a server of the network is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRemoteReferences;

impl RemoteReferences for NoRemoteReferences {
    fn exists(&self, _: String) -> Boxed<'_, RemoteAnswer> {
        Box::pin(std::future::ready(RemoteAnswer::Failed))
    }
}

/// A reference to another server that has to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    path: String,
}

/// The references of a resource to other servers of the network, each server's resource once.
pub(crate) fn targets(
    resource: &Resource,
    is_update: bool,
    allow_list: &AllowList,
    found: &mut Vec<Target>,
) -> Result<(), Refusal> {
    let status = resource.str("status").filter(|_| is_update && resource.type_name() == "Task");
    if status == Some("failed") {
        return Ok(());
    }
    for reference in collect(resource) {
        // A Task may complete although what it was started with is gone meanwhile.
        if status == Some("completed") && reference.path.starts_with("Task.input") {
            continue;
        }
        let Reference::Absolute(url) = reference.reference.relative_to(allow_list.base_url()) else { continue };
        let is_of_network = allow_list.endpoints().iter().any(|endpoint| {
            endpoint.active
                && url.strip_prefix(endpoint.address.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        });
        let is_reference = reference.place == fhir::reference::Place::Reference;
        if !is_of_network || !is_reference || found.iter().any(|known| known.url == url) {
            continue;
        }
        // A sender must not make this node hammer a third one.
        if found.len() >= limits::REMOTE_REFERENCES {
            let text = format!("More than {} references to other servers", limits::REMOTE_REFERENCES);
            return Err(Refusal::reference(text));
        }
        found.push(Target { url, path: reference.path });
    }
    Ok(())
}

/// Asks the other servers.
pub(crate) async fn ask(targets: Vec<Target>, remote: &Arc<dyn RemoteReferences>) -> Result<(), Refusal> {
    let failed =
        |path: &str| Refusal::reference(format!("Reference target at {path} cannot be resolved (reason hidden)"));
    let deadline = tokio::time::Instant::now() + limits::REMOTE_TIME;
    for Target { url, path } in targets {
        match tokio::time::timeout_at(deadline, remote.exists(url)).await {
            Ok(RemoteAnswer::Exists) => {}
            Ok(RemoteAnswer::Missing) => {
                return Err(Refusal::reference(format!("Reference target at {path} not found on server")));
            }
            Ok(RemoteAnswer::Failed) | Err(_) => return Err(failed(&path)),
        }
    }
    Ok(())
}
