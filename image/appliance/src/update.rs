//! A newer system, brought on the configuration disk: folder `update` with `manifest.toml` (version, size, SHA-256), its
//! signature, and `system.efi`. Part of `provision`, before the node starts, so that nothing is interrupted. It is taken over
//! only if the manifest is signed with the key that the running system was built with, is newer than every version that
//! became ready here, and the file is the one that the manifest names; then it stands beside the running version
//! ([`system_disk`](crate::system_disk)), and the machine starts again. Whatever is wrong is shown, and the node starts as
//! it is.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use certs::{Certificate, Signature, SignedPurpose};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::limits::{COPY_BYTES, MANIFEST_BYTES, SYSTEM_BYTES};
use crate::system_disk::Versions;
use crate::version::Version;

/// Folder of the configuration disk.
pub(crate) const FOLDER: &str = "update";
const SYSTEM: &str = "system.efi";
const MANIFEST: &str = "manifest.toml";
const SIGNATURE: &str = "manifest.sig";
/// Certificate of the key that updates must be signed with; part of the signed system.
const CERTIFICATE: &str = "/usr/lib/schleuse/update.crt";
/// The newest version that became ready on this data disk.
const FLOOR: &str = "/var/lib/schleuse-appliance/newest-version";

/// What a signed manifest says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    version: String,
    size: u64,
    sha256: String,
}

/// Why an update is not taken over, or this system is not one to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("update/{name} of the configuration disk cannot be read: {source}")]
    Read {
        name: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("update/{0} is longer than such a file can be")]
    TooLong(&'static str),
    #[error("the update is not signed by who built this system: {0}")]
    Signature(String),
    #[error("update/{MANIFEST} is refused: {0}")]
    Manifest(String),
    #[error("update/{SYSTEM} is not the file that the manifest names: it is damaged or another one")]
    Content,
    #[error("the update to {new} is refused: {newest} has already run here")]
    Older { new: Version, newest: Version },
    #[error("the update to {0} was tried and did not become ready; the node runs as before")]
    Failed(Version),
    #[error(
        "this machine was not started from a system disk with this version on it, so there is nothing to go back to"
    )]
    NoDisk,
    #[error("the system disk cannot be used: {0}")]
    Disk(#[source] io::Error),
    #[error("this system is {running}, and {newest} has already run with this data disk")]
    RunsOlder { running: Version, newest: Version },
    #[error("this system does not say which version it is")]
    NoVersion,
    #[error("{FLOOR}: {0}")]
    Floor(String),
}

impl UpdateError {
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::TooLong(_) | Self::Content | Self::Manifest(_) => {
                "copy the folder update anew from where the image was built; nothing of it was taken over"
            }
            Self::Signature(_) => {
                "take an update that was built with the signing key of this image (--keys); nothing of it was taken over"
            }
            Self::Older { .. } => "take the folder update off the configuration disk, or bring a newer version",
            Self::Failed(_) => {
                "take the folder update off the configuration disk; bring a version with a higher number when it is mended"
            }
            Self::NoDisk => "replace the image from outside",
            Self::Disk(_) => "look at the system disk; write the image anew if it is damaged",
            Self::RunsOlder { .. } => {
                "start the newer image; to go back for good, restore a backup into an empty data disk with this one"
            }
            Self::NoVersion => "write the image anew",
            Self::Floor(_) => "look whether the data disk is full or damaged",
        }
    }
}

/// The newest version that became ready with this data disk.
fn floor(path: &Path) -> Result<Option<Version>, UpdateError> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| UpdateError::Floor(format!("{error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(UpdateError::Floor(error.to_string())),
    }
}

/// Notes that a version became ready.
pub(crate) fn raise_floor(running: Version) -> Result<(), UpdateError> {
    raise(Path::new(FLOOR), running)
}

fn raise(path: &Path, running: Version) -> Result<(), UpdateError> {
    if floor(path)?.is_some_and(|newest| newest >= running) {
        return Ok(());
    }
    crate::provision::write(path, format!("{running}\n").as_bytes(), 0o644)
        .map_err(|error| UpdateError::Floor(error.to_string()))
}

/// Refuses to run a system that is older than one that has run here: its holes may be known.
pub(crate) fn refuse_older() -> Result<(), UpdateError> {
    let running = Version::running().ok_or(UpdateError::NoVersion)?;
    match floor(Path::new(FLOOR))? {
        Some(newest) if newest > running => Err(UpdateError::RunsOlder { running, newest }),
        _ => Ok(()),
    }
}

/// Takes the update of a configuration disk over; gives its version if the machine must be started again for it.
pub(crate) fn bring_in(configuration: Option<&Path>) -> Result<Option<Version>, UpdateError> {
    let folder = configuration.map(|configuration| configuration.join(FOLDER));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else { return told_of_failure() };
    let certificate =
        fs::read(CERTIFICATE).map_err(|error| UpdateError::Signature(format!("{CERTIFICATE}: {error}")))?;
    let manifest = manifest(&folder, &certificate)?;
    let running = Version::running().ok_or(UpdateError::NoVersion)?;
    let Some(new) = is_wanted(&manifest, running, floor(Path::new(FLOOR))?)? else { return Ok(None) };
    let versions = Versions::open().map_err(UpdateError::Disk)?.ok_or(UpdateError::NoDisk)?;
    install(&folder, &versions, &manifest, new, running).map(|installed| installed.then_some(new))
}

/// Without an update at hand: whether the last one failed is still worth saying.
fn told_of_failure() -> Result<Option<Version>, UpdateError> {
    let Some(versions) = Versions::look().map_err(UpdateError::Disk)? else { return Ok(None) };
    let all = versions.all().map_err(UpdateError::Disk)?;
    match all.into_iter().find(super::system_disk::Entry::is_bad) {
        Some(bad) => Err(UpdateError::Failed(bad.version)),
        None => Ok(None),
    }
}

/// The manifest, once its signature is verified.
fn manifest(folder: &Path, certificate: &[u8]) -> Result<Manifest, UpdateError> {
    let text = read(folder, MANIFEST)?;
    let signature = read(folder, SIGNATURE)?;
    let wrong = |error: &dyn std::fmt::Display| UpdateError::Signature(error.to_string());
    let signature: Signature = String::from_utf8_lossy(&signature).trim().parse().map_err(|error| wrong(&error))?;
    let chain = certs::read_certificates(certificate, CERTIFICATE).map_err(|error| wrong(&error))?;
    let certificate: &Certificate = chain.first().ok_or_else(|| wrong(&"there is no certificate"))?;
    signature.verify(certificate, SignedPurpose::ApplianceUpdate, &text).map_err(|error| wrong(&error))?;
    let refused = |error: &dyn std::fmt::Display| UpdateError::Manifest(error.to_string());
    let text = String::from_utf8(text).map_err(|error| refused(&error))?;
    toml::from_str(&text).map_err(|error| refused(&error))
}

/// The version of the manifest, if it is to be taken over.
fn is_wanted(manifest: &Manifest, running: Version, newest: Option<Version>) -> Result<Option<Version>, UpdateError> {
    let new: Version =
        manifest.version.parse().map_err(|error| UpdateError::Manifest(format!("{} {error}", manifest.version)))?;
    if manifest.size == 0 || manifest.size > SYSTEM_BYTES {
        return Err(UpdateError::Manifest(format!("size {}", manifest.size)));
    }
    if new == running {
        return Ok(None);
    }
    let newest = newest.unwrap_or(running).max(running);
    if new <= newest {
        return Err(UpdateError::Older { new, newest });
    }
    Ok(Some(new))
}

/// Puts the new version beside the running one; says whether the machine must be started again.
fn install(
    folder: &Path,
    versions: &Versions,
    manifest: &Manifest,
    new: Version,
    running: Version,
) -> Result<bool, UpdateError> {
    let there = versions.all().map_err(UpdateError::Disk)?;
    if !there.iter().any(|entry| entry.version == running) {
        return Err(UpdateError::NoDisk);
    }
    match there.iter().find(|entry| entry.version == new) {
        Some(entry) if entry.is_bad() => return Err(UpdateError::Failed(new)),
        // The machine was stopped between taking over and starting.
        Some(_) => return Ok(true),
        None => {}
    }
    versions.keep_only(running).map_err(UpdateError::Disk)?;
    let unfinished = versions.unfinished(new);
    let copied = copy(&folder.join(SYSTEM), &unfinished, manifest);
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied?;
    versions.finish(new).map_err(UpdateError::Disk)?;
    Ok(true)
}

/// Copies the system; what is on disk at the end is what the manifest names.
fn copy(from: &Path, to: &PathBuf, manifest: &Manifest) -> Result<(), UpdateError> {
    let unreadable = |source| UpdateError::Read { name: SYSTEM, source };
    let mut source = fs::File::open(from).map_err(unreadable)?.take(SYSTEM_BYTES + 1);
    let mut target = fs::File::create(to).map_err(UpdateError::Disk)?;
    let (mut digest, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; COPY_BYTES]);
    loop {
        let count = source.read(&mut piece).map_err(unreadable)?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
        digest.update(read);
        size += read.len() as u64;
        if size > manifest.size {
            return Err(UpdateError::Content);
        }
        target.write_all(read).map_err(UpdateError::Disk)?;
    }
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if size != manifest.size || found != manifest.sha256 {
        return Err(UpdateError::Content);
    }
    target.sync_all().map_err(UpdateError::Disk)
}

fn read(folder: &Path, name: &'static str) -> Result<Vec<u8>, UpdateError> {
    let unreadable = |source| UpdateError::Read { name, source };
    let mut content = Vec::new();
    let file = fs::File::open(folder.join(name)).map_err(unreadable)?;
    file.take(MANIFEST_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MANIFEST_BYTES { Err(UpdateError::TooLong(name)) } else { Ok(content) }
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
