//! Landlock: which files, which TCP ports.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope, make_bitflags,
};

use crate::{Access, ConfineError, Layer, Network, Profile};

/// Newest rights that are asked for; they were tested on a kernel that has them.
const RIGHTS: ABI = ABI::V6;
/// Oldest interface with rights for files that are worth the name.
const FILES: ABI = ABI::V2;
/// First interface with ports and signals.
const PORTS: ABI = ABI::V6;

/// Restricts the calling thread; tells how much of files and of ports is in force.
pub(crate) fn restrict(profile: &Profile) -> Result<(Layer, Layer), ConfineError> {
    let kernel = |error: landlock::RulesetError| ConfineError::Kernel(error.to_string());
    let mut net: BitFlags<AccessNet> = AccessNet::BindTcp.into();
    if profile.network == Network::Inherited || profile.connect.is_some() {
        net |= AccessNet::ConnectTcp;
    }
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))
        .and_then(|ruleset| ruleset.handle_access(net))
        .and_then(|ruleset| ruleset.scope(scope()))
        .and_then(Ruleset::create)
        .map_err(kernel)?;
    for (path, access) in &profile.grants {
        let Some(descriptor) = open(path, *access)? else { continue };
        let is_file = path.metadata().is_ok_and(|metadata| !metadata.is_dir());
        let rights = if is_file { rights(*access) & AccessFs::from_file(RIGHTS) } else { rights(*access) };
        ruleset = ruleset.add_rule(PathBeneath::new(descriptor, rights)).map_err(kernel)?;
    }
    for port in profile.connect.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(kernel)?;
    }
    let status = ruleset.restrict_self().map_err(kernel)?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => {
            (Layer::Missing, Layer::Missing)
        }
        (RulesetStatus::FullyEnforced, _) => (Layer::Enforced, Layer::Enforced),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            let files = if effective_abi >= FILES { Layer::Partial } else { Layer::Missing };
            let ports = if effective_abi >= PORTS { Layer::Enforced } else { Layer::Missing };
            (files, ports)
        }
    })
}

/// No signal to a process outside, and no abstract socket, unless the service manager listens on one.
fn scope() -> BitFlags<Scope> {
    let is_abstract =
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|address| address.as_encoded_bytes().starts_with(b"@"));
    if is_abstract { Scope::Signal.into() } else { Scope::from_all(RIGHTS) }
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write =
        read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer});
    match access {
        Access::Read => read,
        Access::Write => write,
        Access::Sockets => write | AccessFs::MakeSock,
    }
}

/// What is only read may be missing; without what is written the service could not work.
fn open(path: &std::path::Path, access: Access) -> Result<Option<PathFd>, ConfineError> {
    match (PathFd::new(path), access) {
        (Ok(descriptor), _) => Ok(Some(descriptor)),
        (Err(_), Access::Read) => Ok(None),
        (Err(error), _) => Err(ConfineError::Path { path: path.display().to_string(), reason: error.to_string() }),
    }
}
