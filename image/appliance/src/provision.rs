//! Brings the configuration in: network, node, certificates, trust, policies. At the first boot it makes the node and the
//! keys that were not brought along, and puts signing requests where the administrator can take them out. Each later boot
//! with configuration attached brings changes in; without, what is there goes on. The node starts only after its own check.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, PAIRS};
use crate::configuration::{self, APPLIANCE_TOML, Configuration};
use crate::console::show;
use crate::disk::{OPENED, RECOVERY_KEY};
use crate::network;
use crate::problem::{self, STATE};
use crate::program::{self, ProgramError};
use crate::restart::restart;
use crate::source::{self, ConfigurationDisk, SourceError};
use crate::update;

const NODE: &str = "/var/lib/schleuse";
/// The configuration that is in force, for boots without the disk.
const SAVED: &str = "/var/lib/schleuse-appliance/appliance.toml";
/// Its presence lets the units of the node start.
pub(crate) const CHECKED: &str = "/run/schleuse-appliance/checked";
const SCHLEUSE: &str = "/usr/lib/schleuse/schleuse";

/// What keeps the node from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    #[error("this appliance has no configuration yet")]
    Missing,
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("{APPLIANCE_TOML} is no text")]
    Text,
    #[error("the configuration is refused:\n{0}")]
    Refused(String),
    #[error("this node is {0}; the configuration calls it {1}")]
    Other(String, String),
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("certificates/{0}.pem does not belong to the key of this node")]
    Pair(&'static str),
    #[error("{0}")]
    Certificate(#[from] certs::CertError),
    #[error("a key cannot be made: {0}")]
    Request(#[from] certs::RequestError),
    #[error("the node cannot be made: {0}")]
    Init(#[source] ProgramError),
    #[error("certificates are missing: {0}")]
    Certificates(String),
    #[error("the node would not start:\n{0}")]
    Check(#[source] ProgramError),
}

impl ProvisionError {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => {
                "attach a disk or an ISO file with the label SCHLEUSE and a file appliance.toml, and start the machine again (docs/appliance.md)"
            }
            Self::Source(_) | Self::Text | Self::Refused(_) | Self::Certificate(_) => {
                "correct the configuration disk and start the machine again; nothing of it was taken over"
            }
            Self::Other(..) => {
                "restore [node] of appliance.toml: organisation and address stay for good; another node needs a data disk of its own"
            }
            Self::File { .. } | Self::Init(_) | Self::Request(_) => {
                "look whether the data disk is full or damaged, and restore the node from a backup if it is"
            }
            Self::Pair(_) => {
                "let the authority sign the latest request of this node, or put certificate and key on the configuration disk"
            }
            Self::Certificates(_) => {
                "let your authority sign the requests (from-appliance/*.csr on the configuration disk, or above), put the certificates into certificates/ of that disk and start the machine again"
            }
            Self::Check(_) => "correct what is named on the configuration disk and start the machine again",
        }
    }
}

/// The folders of one appliance; tests use others.
struct Places<'p> {
    node: &'p Path,
    saved: &'p Path,
    run: &'p Path,
    state: &'p Path,
}

pub(crate) fn run() {
    if !fs::exists(OPENED).unwrap_or(false) {
        return;
    }
    if updated() {
        return;
    }
    let places =
        Places { node: Path::new(NODE), saved: Path::new(SAVED), run: Path::new("/run"), state: Path::new(STATE) };
    if let Err(error) = bring_in(&places).and_then(|()| check(&places)) {
        problem::report("2-configuration", &error.to_string(), error.remedy());
    }
}

/// Looks for a newer system first. If there is one, the machine starts again and the node does not start before.
fn updated() -> bool {
    if let Err(error) = update::refuse_older() {
        problem::report("0-version", &error.to_string(), error.remedy());
        return true;
    }
    let brought = match ConfigurationDisk::open() {
        Ok(disk) => update::bring_in(disk.as_ref().map(ConfigurationDisk::folder)),
        // `bring_in` below says it.
        Err(_) => return false,
    };
    match brought {
        Ok(None) => false,
        Ok(Some(version)) => {
            show(&format!("\nVersion {version} is put beside the running one. The machine starts again to try it.\n"));
            restart();
            true
        }
        Err(error) => {
            problem::report("3-update", &error.to_string(), error.remedy());
            false
        }
    }
}

fn bring_in(places: &Places<'_>) -> Result<(), ProvisionError> {
    let disk = ConfigurationDisk::open()?;
    let bundle = match &disk {
        Some(disk) => disk.read()?,
        None => source::from_credentials()?,
    };
    hand_out_recovery_key(places, disk.as_ref())?;
    let (text, configuration) = configuration_of(places, &bundle)?;
    network::write(places.run, &configuration).map_err(file(places.run))?;
    let made = make_node(places, &configuration)?;
    let missing = install(places, &bundle, &configuration, disk.as_ref())?;
    if made || fs::read_to_string(places.saved).ok().as_deref() != Some(&text) {
        write(places.saved, text.as_bytes(), 0o644)?;
    }
    if missing.is_empty() { Ok(()) } else { Err(ProvisionError::Certificates(missing.join(", "))) }
}

/// The configuration of the bundle, or the one that is in force.
fn configuration_of(places: &Places<'_>, bundle: &Bundle) -> Result<(String, Configuration), ProvisionError> {
    let saved = fs::read_to_string(places.saved).ok();
    let text = match bundle.get(APPLIANCE_TOML) {
        Some(bytes) => String::from_utf8(bytes.to_vec()).map_err(|_| ProvisionError::Text)?,
        None => saved.clone().ok_or(ProvisionError::Missing)?,
    };
    let configuration = configuration::parse(&text).map_err(|findings| {
        ProvisionError::Refused(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    if let Some(before) = saved.and_then(|saved| configuration::parse(&saved).ok()) {
        let name = |of: &Configuration| format!("{} at {}", of.organization, of.base_url);
        if name(&before) != name(&configuration) {
            return Err(ProvisionError::Other(name(&before), name(&configuration)));
        }
    }
    Ok((text, configuration))
}

/// Makes the node at the first boot; says whether it did.
fn make_node(places: &Places<'_>, configuration: &Configuration) -> Result<bool, ProvisionError> {
    if places.node.join("node.toml").is_file() {
        return Ok(false);
    }
    let node = places.node.to_string_lossy();
    let (organization, base_url) = (configuration.organization.as_str(), configuration.base_url.as_str());
    let arguments = [
        "init",
        &node,
        "--service",
        "--organization-identifier",
        organization,
        "--base-url",
        base_url,
        "--listen",
        "0.0.0.0:443",
    ];
    program::run(SCHLEUSE, &arguments).map_err(ProvisionError::Init)?;
    Ok(true)
}

/// Puts the files of the bundle where the node reads them; gives the certificates that are still missing.
fn install(
    places: &Places<'_>,
    bundle: &Bundle,
    configuration: &Configuration,
    disk: Option<&ConfigurationDisk>,
) -> Result<Vec<&'static str>, ProvisionError> {
    if let Some(text) = bundle.get("node.toml") {
        write(&places.node.join("node.toml"), text, 0o644)?;
    }
    for (name, content) in bundle.folder("trust") {
        write(&places.node.join("trust").join(name), content, 0o644)?;
    }
    replace_policies(places, bundle)?;
    let mut missing = Vec::new();
    for pair in PAIRS {
        if !install_pair(places, bundle, pair)? {
            missing.push(pair);
            request(places, configuration, pair, disk)?;
        }
    }
    Ok(missing)
}

/// A folder of policies is the whole set: what is not in it is not in force.
fn replace_policies(places: &Places<'_>, bundle: &Bundle) -> Result<(), ProvisionError> {
    if bundle.folder("policies").next().is_none() {
        return Ok(());
    }
    let folder = places.node.join("policies");
    for (name, content) in bundle.folder("policies") {
        write(&folder.join(name), content, 0o644)?;
    }
    for entry in fs::read_dir(&folder).map_err(file(&folder))?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_none_or(|name| bundle.get(&format!("policies/{name}")).is_none()) {
            fs::remove_file(entry.path()).map_err(file(&entry.path()))?;
        }
    }
    Ok(())
}

/// Certificate and key of one purpose; both are written only if they belong together. Says whether both are there.
fn install_pair(places: &Places<'_>, bundle: &Bundle, pair: &'static str) -> Result<bool, ProvisionError> {
    let folder = places.node.join("certificates");
    let (certificate, key) = (format!("{pair}.pem"), format!("{pair}.key"));
    let new_key = bundle.get(&format!("certificates/{key}"));
    let old_key = fs::read(folder.join(&key)).ok();
    if let Some(chain) = bundle.get(&format!("certificates/{certificate}")) {
        let key_bytes = new_key.or(old_key.as_deref()).ok_or(ProvisionError::Pair(pair))?;
        let leaf = certs::read_certificates(chain, &certificate)?;
        let private_key = certs::pem::read_private_key(key_bytes, &key)?;
        if !leaf.first().is_some_and(|leaf| certs::matches(leaf, &private_key)) {
            return Err(ProvisionError::Pair(pair));
        }
        if let Some(key_bytes) = new_key {
            write(&folder.join(&key), key_bytes, 0o600)?;
        }
        write(&folder.join(&certificate), chain, 0o644)?;
    }
    Ok(folder.join(&certificate).is_file() && folder.join(&key).is_file())
}

/// A signing request for the key of this node, which is made if there is none and never leaves the data disk.
fn request(
    places: &Places<'_>,
    configuration: &Configuration,
    pair: &'static str,
    disk: Option<&ConfigurationDisk>,
) -> Result<(), ProvisionError> {
    let path = places.node.join("certificates").join(format!("{pair}.key"));
    let key = match fs::read_to_string(&path) {
        Ok(key) => key,
        Err(_) => {
            let key = certs::new_private_key()?;
            write(&path, key.as_bytes(), 0o600)?;
            key
        }
    };
    let purpose = if pair == "server" { certs::Purpose::Server } else { certs::Purpose::Client };
    let request = certs::signing_request(&key, &configuration.organization, &configuration.host, purpose)?;
    let name = format!("{pair}.csr");
    take_out(places, disk, &name, request.as_bytes())
}

/// Gives a file to the administrator: on the configuration disk, or else on the console.
fn take_out(
    places: &Places<'_>,
    disk: Option<&ConfigurationDisk>,
    name: &str,
    content: &[u8],
) -> Result<(), ProvisionError> {
    if let Some(disk) = disk
        && disk.put(name, content).unwrap_or_else(|error| {
            eprintln!("{name} cannot be written to the configuration disk: {error}");
            false
        })
    {
        return Ok(());
    }
    write(&places.state.join("for-console").join(name), content, 0o600)
}

fn hand_out_recovery_key(places: &Places<'_>, disk: Option<&ConfigurationDisk>) -> Result<(), ProvisionError> {
    let Ok(key) = fs::read_to_string(RECOVERY_KEY) else { return Ok(()) };
    let text = format!("Recovery key of the data disk, shown once. Keep it where you keep such things:\n{key}\n");
    take_out(places, disk, "recovery-key.txt", text.as_bytes())?;
    fs::remove_file(RECOVERY_KEY).map_err(file(Path::new(RECOVERY_KEY)))
}

/// The node's own check, by the programs that would start.
fn check(places: &Places<'_>) -> Result<(), ProvisionError> {
    program::run(SCHLEUSE, &["check", &places.node.to_string_lossy()]).map_err(ProvisionError::Check)?;
    write(Path::new(CHECKED), b"", 0o644)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ProvisionError + use<> {
    let path = path.to_owned();
    move |source| ProvisionError::File { path, source }
}

/// Replaces a file; it is on disk before it is seen, and the folder is made if need be.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), ProvisionError> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let replace = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(temporary)?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(temporary, path)
    };
    replace().map_err(file(path))
}

#[cfg(test)]
#[path = "provision_tests.rs"]
mod tests;
