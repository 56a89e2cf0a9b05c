//! What the gateway needs of the machine: its policy and who signs it, its key and the trusted authorities to
//! read, what the refresher tells, its audit chain and its copy of the allow-list to write, sockets that were opened before. No data, no way out, no other program.

use std::path::{Path, PathBuf};

use confine::{Access, Attempt, Network, Profile};
use node::Settings;

/// The profile of a node's gateway.
pub(crate) fn profile(settings: &Settings) -> Profile {
    let directory = &settings.directory;
    let root = directory.root();
    let client_key: &Path = &settings.client_certificate.private_key;
    let server = &settings.server_certificate;
    let mut profile = Profile::new(Network::Inherited)
        .with(directory.policies(), Access::Read)
        .with(directory.signed_policies(), Access::Read)
        .with(directory.blocks().parent().unwrap_or(root), Access::Read)
        .with(directory.refresh(), Access::Read)
        .with(directory.gateway(), Access::Write)
        .with(directory.audit(), Access::Write);
    for file in [&server.certificate, &server.private_key].into_iter().chain(&settings.trust_stores.client) {
        profile = profile.with_file(root, file, &[client_key]);
    }
    for officer in settings.officers.iter().flat_map(|officers| &officers.certificates) {
        profile = profile.with_file(root, officer, &[client_key]);
    }
    for list in &settings.revocation.lists {
        profile = profile.with(list, Access::Read);
    }
    profile
}

/// What it must not do, for [`daemon::prove`].
pub(crate) fn attempts(settings: &Settings) -> Vec<Attempt> {
    let directory = &settings.directory;
    let mut attempts = vec![
        Attempt::Read(settings.client_certificate.private_key.clone()),
        Attempt::List(directory.data()),
        Attempt::Create(directory.data()),
        Attempt::Change(directory.node_toml()),
        Attempt::Create(directory.policies()),
        Attempt::Create(directory.run()),
        Attempt::Create(directory.refresh()),
        Attempt::Read(PathBuf::from("/etc/passwd")),
        Attempt::List(PathBuf::from("/")),
        Attempt::Create(std::env::temp_dir()),
        Attempt::Connect,
        Attempt::Listen,
        Attempt::Datagram,
        Attempt::Execute,
        Attempt::Signal,
    ];
    if let node::StoreUrl::Sqlite(file) = &settings.store {
        attempts.push(Attempt::Read(file.clone()));
    }
    attempts
}
