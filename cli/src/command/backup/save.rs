//! Saving.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use node::{Directory, Settings, StoreUrl};
use serde_json::json;

use super::super::fail;
use super::{BackupError, FORMAT, Hashing, MANIFEST, Manifest, SAVED};
use crate::arguments::{Backup, Format};
use crate::local::LocalError;
use crate::output::answer;

/// How a SQLite file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

pub(in crate::command) fn run(arguments: &Backup, format: Format) -> u8 {
    match save(arguments) {
        Ok((manifest, has_store)) => {
            let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
            let store = if has_store {
                ""
            } else {
                "The store is a PostgreSQL database and is not in the file: save it with pg_dump at the same time.\n"
            };
            let text = || {
                format!(
                    "{}: {} files, {} MiB. It holds the node's keys: keep it like them.\n{store}",
                    arguments.file.display(),
                    manifest.files.len(),
                    bytes >> 20
                )
            };
            answer(format, text, || json!({ "file": arguments.file, "store": has_store, "manifest": manifest }));
            0
        }
        Err(error @ BackupError::Local(_)) => fail(&error, 78),
        Err(error) => fail(&error, 1),
    }
}

fn save(arguments: &Backup) -> Result<(Manifest, bool), BackupError> {
    // A node whose policy is broken is saved all the same.
    let (settings, _) = node::load(&Directory::new(&arguments.directory)).map_err(LocalError::Findings)?;
    if let StoreUrl::Sqlite(file) = &settings.store
        && !file.starts_with(settings.directory.data())
    {
        return Err(BackupError::Elsewhere(file.display().to_string()));
    }
    let target = &arguments.file;
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    // Beside the target: whole or not at all, and nothing that stands there is ever replaced.
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(".schleuse-").suffix(".unfinished").tempfile_in(folder);
    let unfinished = unfinished.map_err(BackupError::file(folder))?;
    let done = write(&settings, unfinished.as_file(), target, folder)?;
    unfinished.persist_noclobber(target).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::Exists(target.display().to_string()),
        _ => BackupError::file(target)(error.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(BackupError::file(folder))?;
    Ok(done)
}

/// Writes the archive into `file`, which will be `target`; copies of databases pass through `folder`, where there must
/// be room for one more.
fn write(settings: &Settings, file: &File, target: &Path, folder: &Path) -> Result<(Manifest, bool), BackupError> {
    let root = settings.directory.root();
    let chains = audit_files(settings)?;
    let copies = tempfile::tempdir_in(folder).map_err(BackupError::file(folder))?;
    let mut archive = tar::Builder::new(file);
    let mut files = Vec::new();
    for name in SAVED {
        let path = root.join(name);
        if path.symlink_metadata().is_err() {
            continue;
        }
        let mut waiting = vec![PathBuf::from(name)];
        while let Some(relative) = waiting.pop() {
            let path = root.join(&relative);
            let metadata = path.symlink_metadata().map_err(BackupError::file(&path))?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                let entries = std::fs::read_dir(&path).map_err(BackupError::file(&path))?;
                for entry in entries {
                    waiting.push(relative.join(entry.map_err(BackupError::file(&path))?.file_name()));
                }
                archive.append_dir(&relative, &path).map_err(BackupError::file(&path))?;
            } else if kind.is_file() && !is_passing(&relative) {
                let name =
                    relative.to_str().ok_or_else(|| BackupError::Damaged(format!("{} is no text", path.display())))?;
                files.push(append(&mut archive, copies.path(), &path, name, &metadata)?);
            } else if !kind.is_socket() && !is_passing(&relative) {
                let source = std::io::Error::other("is neither a file nor a folder; put the file itself there");
                return Err(BackupError::File { path: path.display().to_string(), source });
            }
        }
    }
    if audit_files(settings)? != chains {
        return Err(BackupError::Changed);
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        organization_identifier: settings.organization_identifier.to_string(),
        created: time::OffsetDateTime::now_utc(),
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, MANIFEST, text.as_slice()).map_err(BackupError::file(target))?;
    archive.finish().map_err(BackupError::file(target))?;
    drop(archive);
    file.sync_all().map_err(BackupError::file(target))?;
    Ok((manifest, matches!(settings.store, StoreUrl::Sqlite(_))))
}

/// The files of the chains; a file that is closed and renamed while others are read would be missing in the archive.
fn audit_files(settings: &Settings) -> Result<Vec<std::ffi::OsString>, BackupError> {
    let folder = settings.directory.audit();
    let entries = std::fs::read_dir(&folder).map_err(BackupError::file(&folder))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(BackupError::file(&folder))?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Locks, and what belongs to a database at work; the copy of the database has it all.
fn is_passing(relative: &Path) -> bool {
    let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    [".lock", "-wal", "-shm", "-journal", ".new"].iter().any(|end| name.ends_with(end))
}

fn append(
    archive: &mut tar::Builder<&File>,
    copies: &Path,
    path: &Path,
    name: &str,
    metadata: &std::fs::Metadata,
) -> Result<super::Saved, BackupError> {
    let failed = |source| BackupError::File { path: path.display().to_string(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0; SQLITE.len()];
    let is_database = file.read_exact(&mut head).is_ok() && head == SQLITE;
    let bytes = if is_database {
        let copy = copies.join("copy.db");
        let _ = std::fs::remove_file(&copy);
        copy_database(path, &copy)?;
        file = File::open(&copy).map_err(failed)?;
        file.metadata().map_err(failed)?.len()
    } else {
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        whole_lines(&mut file, name, file_length(path)?).map_err(failed)?
    };
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header.set_size(bytes);
    let mut content = Hashing::new(file.take(bytes));
    archive.append_data(&mut header, name, &mut content).map_err(failed)?;
    if content.bytes != bytes {
        return Err(failed(std::io::Error::other("became shorter while it was read; save again")));
    }
    Ok(content.saved(name))
}

fn file_length(path: &Path) -> Result<u64, BackupError> {
    Ok(path.metadata().map_err(BackupError::file(path))?.len())
}

/// How much of a file to take: an audit chain that grows ends with its last whole line.
fn whole_lines(file: &mut File, name: &str, length: u64) -> std::io::Result<u64> {
    const WINDOW: u64 = 1 << 20;
    if !name.starts_with("audit/") {
        return Ok(length);
    }
    let begin = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(begin))?;
    let mut end = Vec::new();
    file.by_ref().take(length - begin).read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let last = end.iter().rposition(|byte| *byte == b'\n');
    Ok(last.map_or(begin, |position| begin + position as u64 + 1))
}

/// One state of one moment, while others write.
fn copy_database(path: &Path, copy: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Database { path: path.display().to_string(), source };
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(failed)?;
    connection.execute_batch("PRAGMA query_only = OFF; PRAGMA temp_store = MEMORY;").map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [copy.display().to_string()]).map_err(failed)?;
    Ok(())
}
