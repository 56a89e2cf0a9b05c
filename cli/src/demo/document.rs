//! `demo.json`, the contract with tools and tests: everything about the running network that one needs to use it from
//! outside, and nothing else. Paths are relative to the network's directory.

use std::path::Path;

use serde_json::{Value, json};

use super::certificates::PERSONS;
use super::files;
use super::network::{Network, Site};
use crate::supervise::Pids;

/// Replaces `demo.json` atomically.
pub(crate) fn write(root: &Path, network: &Network, pids: &[Pids]) -> std::io::Result<()> {
    let document = json!({
        "authority": "authority/ca.pem",
        "stranger": { "certificate": "stranger/stranger.pem", "private_key": "stranger/stranger.key" },
        "nodes": network.sites.iter().zip(pids).map(|(site, pids)| node(site, *pids)).collect::<Vec<_>>(),
    });
    files::write(&root.join("demo.json"), format!("{document:#}\n").as_bytes(), 0o644)
}

fn node(site: &Site, pids: Pids) -> Value {
    let folder = site.folder();
    let pair = |name: &str| {
        json!({
            "certificate": format!("{folder}/certificates/{name}.pem"),
            "private_key": format!("{folder}/certificates/{name}.key"),
        })
    };
    let mut node = json!({
        "name": site.name,
        "role": site.role,
        "organization_identifier": site.organization_identifier(),
        "base_url": site.base_url(),
        "management_url": site.management_url(),
        "directory": folder,
        "gateway_pid": pids.gateway,
        "engine_pid": pids.engine,
        "organization": pair("client"),
    });
    if let Some(members) = node.as_object_mut() {
        members.extend(PERSONS.iter().map(|person| ((*person).to_owned(), pair(person))));
    }
    node
}
