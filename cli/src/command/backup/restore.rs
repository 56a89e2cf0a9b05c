//! Restoring.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::super::fail;
use super::{BackupError, FORMAT, Hashing, MANIFEST, MANIFEST_BYTES, Manifest, SAVED, Saved};
use crate::arguments::{Format, Restore};
use crate::output::answer;

pub(in crate::command) fn run(arguments: &Restore, format: Format) -> u8 {
    match restore(&arguments.file, &arguments.directory) {
        Ok(manifest) => {
            let directory = arguments.directory.display();
            let text = || {
                format!(
                    "{directory}: {} of {}, {} files, all verified.\nNever run two copies of one node: both would send what waits. Then: schleuse check {directory}\n",
                    manifest.organization_identifier,
                    manifest.created,
                    manifest.files.len()
                )
            };
            answer(format, text, || json!({ "directory": arguments.directory, "manifest": manifest }));
            0
        }
        Err(error) => fail(&error, 1),
    }
}

fn restore(file: &Path, directory: &Path) -> Result<Manifest, BackupError> {
    if directory.join("node.toml").symlink_metadata().is_ok() {
        return Err(BackupError::Node(directory.display().to_string()));
    }
    std::fs::create_dir_all(directory).map_err(BackupError::file(directory))?;
    let staging = tempfile::Builder::new().prefix(".restore-").tempdir_in(directory);
    let staging = staging.map_err(BackupError::file(directory))?;
    let archive = File::open(file).map_err(BackupError::file(file))?;
    let manifest = unpack(archive, staging.path())?;
    for name in SAVED {
        // Empty folders of the package make room; anything else is somebody's.
        let to = directory.join(name);
        let is_free = match std::fs::read_dir(&to) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(BackupError::Node(to.display().to_string()));
        }
    }
    // node.toml last: without it there is no node.
    for name in SAVED.iter().rev() {
        let from = staging.path().join(name);
        if from.symlink_metadata().is_ok() {
            let to = directory.join(name);
            if to.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                std::fs::remove_dir(&to).map_err(BackupError::file(&to))?;
            }
            std::fs::rename(&from, &to).map_err(BackupError::file(&to))?;
        }
    }
    File::open(directory).and_then(|folder| folder.sync_all()).map_err(BackupError::file(directory))?;
    Ok(manifest)
}

/// Unpacks below `root` and compares everything with the manifest.
fn unpack(archive: File, root: &Path) -> Result<Manifest, BackupError> {
    let damaged = |error: &dyn std::fmt::Display| BackupError::Damaged(error.to_string());
    let mut archive = tar::Archive::new(archive);
    let mut found: BTreeMap<String, Saved> = BTreeMap::new();
    let mut manifest = None;
    let mut owners = Vec::new();
    for entry in archive.entries().map_err(|error| damaged(&error))? {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        if manifest.is_some() {
            return Err(damaged(&"something follows the list of its files"));
        }
        let name = entry.path().map_err(|error| damaged(&error))?.into_owned();
        if name == Path::new(MANIFEST) {
            let mut text = Vec::new();
            entry.by_ref().take(MANIFEST_BYTES).read_to_end(&mut text).map_err(|error| damaged(&error))?;
            let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
            // What a later format holds is not known here.
            let format =
                value.get("format").and_then(serde_json::Value::as_u64).and_then(|format| u32::try_from(format).ok());
            match format {
                Some(FORMAT) => {}
                Some(other) => return Err(BackupError::Format(other)),
                None => return Err(damaged(&"the list of its files names no format")),
            }
            manifest = Some(serde_json::from_value::<Manifest>(value).map_err(|error| damaged(&error))?);
            continue;
        }
        let path = place(root, &name)?;
        let mode = entry.header().mode().map_err(|error| damaged(&error))? & 0o1777;
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                // Open for this program until everything below is written.
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&path)
                    .map_err(BackupError::file(&path))?;
            }
            tar::EntryType::Regular => {
                let text = name.to_str().ok_or_else(|| damaged(&"a name is no text"))?.to_owned();
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let file = file.as_mut().map_err(|error| damaged(&format!("{}: {error}", path.display())))?;
                let mut content = Hashing::new(&mut entry);
                std::io::copy(&mut content, file).map_err(|error| damaged(&error))?;
                file.sync_all().map_err(BackupError::file(&path))?;
                found.insert(text.clone(), content.saved(&text));
            }
            other => return Err(damaged(&format!("{} is of kind {other:?}", name.display()))),
        }
        let owner = (entry.header().uid().ok(), entry.header().gid().ok());
        owners.push((path, mode, owner));
    }
    let manifest = manifest.ok_or_else(|| damaged(&"the list of its files is missing"))?;
    if manifest.files.len() != found.len() {
        return Err(damaged(&format!("it holds {} files and lists {}", found.len(), manifest.files.len())));
    }
    for listed in &manifest.files {
        if found.get(&listed.path) != Some(listed) {
            return Err(damaged(&format!("{} is missing or not what was saved", listed.path)));
        }
    }
    // The deepest first, because a folder may be closed to this program afterwards.
    for (path, mode, owner) in owners.iter().rev() {
        settle(path, *mode, *owner)?;
    }
    Ok(manifest)
}

/// Where an entry goes: below one of the known names, by plain parts.
fn place(root: &Path, name: &Path) -> Result<PathBuf, BackupError> {
    let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    let is_known = name.components().next().is_some_and(|first| SAVED.iter().any(|known| first.as_os_str() == *known));
    if is_plain && is_known {
        Ok(root.join(name))
    } else {
        Err(BackupError::Damaged(format!("it names {}", name.display())))
    }
}

/// Gives mode and, as root, the owner back.
fn settle(path: &Path, mode: u32, (uid, gid): (Option<u64>, Option<u64>)) -> Result<(), BackupError> {
    if rustix::process::geteuid().is_root() {
        let number = |id: Option<u64>| id.and_then(|id| u32::try_from(id).ok());
        std::os::unix::fs::lchown(path, number(uid), number(gid)).map_err(BackupError::file(path))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(BackupError::file(path))
}
