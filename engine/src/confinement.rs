//! What the engine needs of the machine: the node's directory to read, its store, its audit chain and its sockets to write,
//! outgoing connections. No listening port but that of external workers, which is open before; no other program, nothing
//! else of the disk.

use std::path::PathBuf;
use std::sync::OnceLock;

use confine::{Access, Attempt, ConfineError, Confinement, Network, Profile};
use node::{Sandbox, Settings, StoreUrl, WorkerProof};

/// What holds this process; set once, like the confinement itself.
static IN_FORCE: OnceLock<Confinement> = OnceLock::new();

/// Confines this process for good.
pub(crate) fn enter(settings: &Settings) -> Result<(), ConfineError> {
    let confinement = daemon::confine(&profile(settings), is_required(settings))?;
    let _ = IN_FORCE.set(confinement);
    Ok(())
}

/// What is in force, for `schleuse status`.
pub(crate) fn in_force() -> Option<&'static Confinement> {
    IN_FORCE.get()
}

/// Whether the node does not start without.
pub(crate) fn is_required(settings: &Settings) -> bool {
    settings.sandbox == Sandbox::Required
}

/// The profile of a node's engine.
pub(crate) fn profile(settings: &Settings) -> Profile {
    let directory = &settings.directory;
    let root = directory.root();
    let mut profile = Profile::new(Network::Outgoing)
        .with(root, Access::Read)
        .with(directory.data(), Access::Write)
        .with(directory.audit(), Access::Write)
        .with(directory.run(), Access::Sockets)
        .with_name_resolution();
    let client = &settings.client_certificate;
    let proxy = settings.outgoing.proxy.iter().filter_map(|proxy| proxy.password_file.as_ref());
    let mut files: Vec<&PathBuf> = vec![&client.certificate, &client.private_key];
    files.extend(&settings.trust_stores.client);
    files.extend(&settings.trust_stores.server);
    files.extend(proxy);
    files.extend(&settings.engine.initial_bundle);
    if let Some(source) = &settings.source {
        // A reload looks whether the records are there.
        if let Some(records) = &source.records {
            profile = profile.with(&records.folder, Access::Read).with(&records.index, Access::Read);
        }
        files.extend(&source.code_tree);
        for server in &source.servers {
            files.extend(&server.trust);
            files.extend(server.certificate.iter().flat_map(|pair| [&pair.certificate, &pair.private_key]));
            files.extend(server.authentication.file());
            files.extend(server.proxy.iter().filter_map(|proxy| proxy.password_file.as_ref()));
        }
    }
    if let Some(workers) = &settings.workers.external {
        files.extend([&workers.certificate.certificate, &workers.certificate.private_key]);
        files.extend(&workers.client_authorities);
        files.extend(workers.credentials.iter().filter_map(|credential| match &credential.proof {
            WorkerProof::TokenFile(file) => Some(file),
            WorkerProof::Thumbprint(_) => None,
        }));
    }
    if !settings.engine.plugins.starts_with(root) {
        profile = profile.with(settings.engine.plugins.clone(), Access::Read);
    }
    match &settings.store {
        StoreUrl::Sqlite(file) => {
            profile = profile.with(file.parent().unwrap_or(root), Access::Write);
        }
        StoreUrl::PostgreSql(database) => {
            files.extend(&database.password_file);
            files.extend(database.tls_authorities.iter().flatten());
        }
    }
    // Those in the node's directory are granted with it.
    files.iter().fold(
        profile,
        |profile, file| if file.starts_with(root) { profile } else { profile.with_file(root, file, &[]) },
    )
}

/// What it must not do, for [`daemon::prove`].
pub(crate) fn attempts(settings: &Settings) -> Vec<Attempt> {
    let directory = &settings.directory;
    vec![
        Attempt::Change(directory.node_toml()),
        Attempt::Create(directory.policies()),
        Attempt::Create(directory.certificates()),
        Attempt::Create(directory.gateway()),
        Attempt::Read(PathBuf::from("/etc/shadow")),
        Attempt::List(PathBuf::from("/")),
        Attempt::List(PathBuf::from("/root")),
        Attempt::Create(std::env::temp_dir()),
        Attempt::Listen,
        Attempt::Execute,
        Attempt::Signal,
    ]
}
