//! What is read: files, folders, standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use fhir::{Format, Limits, ParseError, Resource};

/// Folders inside folders.
const DEPTH: usize = 32;

/// Files of one call; a folder that was not meant ends here instead of going on for hours.
const FILES: usize = 100_000;

/// Bytes of one file. The endpoint takes less; here somebody looks at his own files.
const BYTES: usize = 1 << 30;

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{path}: {source}; name files or folders that can be read, or - for standard input")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {reason}")]
    TooMuch { path: String, reason: String },
    #[error("{0}: no file in it ends in .xml or .json")]
    Empty(String),
}

/// A file, or standard input.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// As it was named, with the way through the folder.
    pub(super) name: String,
    /// None: standard input.
    path: Option<PathBuf>,
    /// The way from the named folder, or the name of the file.
    pub(super) relative: PathBuf,
}

/// Everything that was named, in the order of names within folders.
pub(super) fn find(named: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
    let mut found = Vec::new();
    if named.is_empty() {
        return Ok(vec![standard_input()]);
    }
    for path in named {
        if path.as_os_str() == "-" {
            found.push(standard_input());
            continue;
        }
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if metadata.is_dir() {
            let before = found.len();
            walk(path, path, 0, &mut found)?;
            if found.len() == before {
                return Err(SourceError::Empty(path.display().to_string()));
            }
        } else {
            let relative = path.file_name().map(PathBuf::from).unwrap_or_default();
            found.push(Source { name: path.display().to_string(), path: Some(path.clone()), relative });
        }
    }
    Ok(found)
}

fn standard_input() -> Source {
    Source { name: "standard input".to_owned(), path: None, relative: PathBuf::from("resource") }
}

fn unreadable(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Unreadable { path: path.display().to_string(), source }
}

fn walk(root: &Path, folder: &Path, depth: usize, found: &mut Vec<Source>) -> Result<(), SourceError> {
    let too_much = |reason: String| SourceError::TooMuch { path: root.display().to_string(), reason };
    if depth > DEPTH {
        return Err(too_much(format!("folders are nested more than {DEPTH} deep")));
    }
    let entries = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|source| unreadable(folder, source))?.path());
    }
    paths.sort();
    for path in paths {
        if std::fs::metadata(&path).map_err(|source| unreadable(&path, source))?.is_dir() {
            walk(root, &path, depth + 1, found)?;
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("xml" | "json")) {
            continue;
        }
        if found.len() >= FILES {
            return Err(too_much(format!("there are more than {FILES} files")));
        }
        let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
        found.push(Source { name: path.display().to_string(), path: Some(path), relative });
    }
    Ok(())
}

impl Source {
    /// The bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, SourceError> {
        let limit = BYTES as u64 + 1;
        let mut bytes = Vec::new();
        let read = match &self.path {
            Some(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
            None => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        };
        read.map_err(|source| SourceError::Unreadable { path: self.name.clone(), source })?;
        if bytes.len() > BYTES {
            let reason = format!("is larger than {} MiB", BYTES >> 20);
            return Err(SourceError::TooMuch { path: self.name.clone(), reason });
        }
        Ok(bytes)
    }
}

/// Reads XML or JSON, whichever it is.
pub(super) fn parse(bytes: &[u8]) -> Result<(Format, Resource), ParseError> {
    let limits = Limits { bytes: BYTES, string_bytes: BYTES, members: 50_000_000, ..Limits::default() };
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let format = if first == Some(&b'<') { Format::Xml } else { Format::Json };
    fhir::parse(format, bytes, &limits).map(|resource| (format, resource))
}
