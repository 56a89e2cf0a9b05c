//! Which files a folder has, in an order that does not depend on the file system.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::IndexError;
use crate::limits;

/// The files of a folder.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Files that are indexed, by path below the folder.
    pub files: Vec<SourceFile>,
    /// Files that are not, with the reason.
    pub ignored: Vec<(PathBuf, &'static str)>,
}

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceFile {
    /// Path below the folder.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// Modification time in nanoseconds.
    pub modified: i128,
    /// Device and number: a file that another replaced with the same size and time is another.
    pub inode: (u64, u64),
}

/// Looks at a folder and those below it.
pub fn scan(folder: &Path) -> Result<Scan, IndexError> {
    let mut scan = Scan::default();
    walk(folder, Path::new(""), 0, &mut scan)?;
    scan.files.sort_by(|a, b| a.path.cmp(&b.path));
    scan.ignored.sort();
    Ok(scan)
}

fn walk(root: &Path, below: &Path, depth: usize, scan: &mut Scan) -> Result<(), IndexError> {
    let folder = root.join(below);
    let fail = |source| IndexError::File { path: folder.clone(), source };
    for entry in std::fs::read_dir(&folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = below.join(entry.file_name());
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let full = root.join(&path);
        let metadata = std::fs::metadata(&full).map_err(|source| IndexError::File { path: full.clone(), source })?;
        if metadata.is_dir() && depth < limits::FOLDER_DEPTH {
            walk(root, &path, depth + 1, scan)?;
        } else if metadata.is_dir() {
            scan.ignored.push((path, "too many folders inside each other"));
        } else if !metadata.is_file() {
            scan.ignored.push((path, "not a file"));
        } else if scan.files.len() >= limits::FILES {
            let what = format!("the number of files in {}", root.display());
            return Err(IndexError::TooLarge { what, limit: limits::FILES as u64 });
        } else {
            match unusable(&path) {
                Some(reason) => scan.ignored.push((path, reason)),
                None => scan.files.push(SourceFile::new(path, &metadata)),
            }
        }
    }
    Ok(())
}

fn unusable(path: &Path) -> Option<&'static str> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ndjson" | "json") => None,
        Some("gz" | "zip" | "zst" | "xz" | "bz2") => Some("compressed; unpack it"),
        _ => Some("neither .ndjson nor .json"),
    }
}

// === impl SourceFile ===

impl SourceFile {
    fn new(path: PathBuf, metadata: &std::fs::Metadata) -> Self {
        let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { path, bytes: metadata.len(), modified, inode: (metadata.dev(), metadata.ino()) }
    }

    /// Whether the open file is still the one that was looked at.
    pub(crate) fn is_unchanged(&self, metadata: &std::fs::Metadata) -> bool {
        *self == Self::new(self.path.clone(), metadata)
    }

    /// Whether each line is a resource.
    pub(crate) fn is_lines(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "ndjson")
    }
}
