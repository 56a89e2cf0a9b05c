//! A node on disk: its directory and `node.toml`, the settings of the administrator.
//!
//! `schleuse init` writes the directory, `schleuse check` and both processes read it with the same functions, so that a
//! configuration which passes the check is the one that starts. Everything that a security officer decides lives in
//! `policies/` and in the crate of that name; here are addresses, files and sizes. Secrets are paths, never values.

pub mod blocks;
mod checkpoints;
mod directory;
mod init;
pub mod officers;
mod policy_files;
mod settings;
pub mod signed_policy;
pub mod sinks;
mod trust;

pub use checkpoints::{KnownCertificates, ProcessKey};
pub use directory::{Directory, NODE_TOML};
pub use init::{Template, node_toml};
pub use officers::{Officers, Seal};
pub use policy_files::{read_policy_files, read_policy_folder};
pub use settings::{
    Address, DataSharing, Engine, ExternalWorkers, Feasibility, GatewayUser, KeyPair, Management, OfficersSettings,
    OnFailure, Outgoing, PostgreSqlStore, Processes, Proxy, RecordFolder, Retention, Revocation, Sandbox,
    ServerAuthentication, ServerKind, Settings, Source, SourceServer, StoreUrl, Syslog, TrustStores, WorkerCredential,
    WorkerProof, Workers, load,
};
pub use signed_policy::{PolicyInForce, PolicyMemory, SignedBy, SignedPolicy, read_policy, read_policy_by};
pub use sinks::{SinkState, SinkStateError, TakenBySinks};
pub use trust::{TrustError, certificate_rules, client_trust, read_revocation};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
