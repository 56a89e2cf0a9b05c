//! Reads the files of a ZIP archive (a DSF plug-in jar) into memory, within bounds.
//!
//! An entry that is encrypted, packed in an unusual way, or not what its size and checksum say is an error of the whole
//! archive. Names that would lead out of a folder are refused, although nothing is ever unpacked, and so is a name that is
//! there twice: programs differ in which of the two they read, so what was examined need not be what runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::limits;

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no ZIP archive, or is cut off.
    #[error("is no complete ZIP archive: {0}")]
    Form(String),
    /// An entry is not what the directory says, or is not read.
    #[error("entry {name}: {reason}")]
    Entry {
        /// Name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// It is larger than permitted.
    #[error("has more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are permitted.
        limit: usize,
    },
}

/// Every file whose name `wanted` accepts, with its content.
pub(super) fn read(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let form = |error: ZipError| ArchiveError::Form(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(form)?;
    if archive.len() > limits::PLUGIN_FILES {
        return Err(ArchiveError::TooLarge { what: "entries", limit: limits::PLUGIN_FILES });
    }
    check_directory(bytes, archive.central_directory_start(), archive.len())?;
    let names: Vec<String> =
        archive.file_names().map(|name| name.map(Cow::into_owned).map_err(form)).collect::<Result<_, _>>()?;
    if let Some(name) = names.iter().find(|name| !is_safe(name)) {
        let reason = "its name leads out of a folder".to_owned();
        return Err(ArchiveError::Entry { name: name.clone(), reason });
    }
    let mut files = BTreeMap::new();
    let mut room = limits::PLUGIN_BYTES;
    for name in names.into_iter().filter(|name| !name.ends_with('/') && wanted(name)) {
        let content = content(&mut archive, &name)?;
        room = room
            .checked_sub(content.len())
            .ok_or(ArchiveError::TooLarge { what: "bytes of files", limit: limits::PLUGIN_BYTES })?;
        files.insert(name, content);
    }
    Ok(files)
}

/// Counts the entries of the directory: the library keeps the last of those with the same name and says nothing.
fn check_directory(bytes: &[u8], start: u64, known: usize) -> Result<(), ArchiveError> {
    const SIGNATURE: &[u8] = b"PK\x01\x02";
    /// Bytes of an entry before its name, and where the lengths of name, extra field and comment stand in them.
    const HEAD: usize = 46;
    const LENGTHS: [usize; 3] = [28, 30, 32];
    let mut rest = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let mut counted = 0_usize;
    while let Some(head) = rest.get(..HEAD).filter(|head| head.starts_with(SIGNATURE)) {
        counted += 1;
        let lengths = LENGTHS
            .iter()
            .filter_map(|at| Some(usize::from(u16::from_le_bytes(head.get(*at..at + 2)?.try_into().ok()?))));
        rest = rest.get(HEAD + lengths.sum::<usize>()..).unwrap_or_default();
    }
    match counted == known {
        true => Ok(()),
        false => Err(ArchiveError::Form(format!("its directory has {counted} entries under {known} names"))),
    }
}

fn content(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, ArchiveError> {
    let bad = |reason: String| ArchiveError::Entry { name: name.to_owned(), reason };
    let entry = archive.by_name(name).map_err(|error| bad(error.to_string()))?;
    let size = entry.size();
    let mut content = Vec::new();
    // One byte more than permitted shows a bomb without unpacking it; what is announced is not believed.
    let read = entry.take(limits::PLUGIN_FILE_BYTES as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| bad(error.to_string()))?;
    if content.len() > limits::PLUGIN_FILE_BYTES {
        return Err(ArchiveError::TooLarge { what: "bytes in one file", limit: limits::PLUGIN_FILE_BYTES });
    }
    if content.len() as u64 != size {
        return Err(bad(format!("it has {} bytes where {size} are announced", content.len())));
    }
    Ok(content)
}

fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('/')
        && !name.contains(['\\', '\0', ':'])
        && !name.split('/').any(|part| part == "..")
}
