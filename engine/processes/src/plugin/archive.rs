//! Reads the files of a ZIP archive (a DSF plug-in jar) into memory, within bounds.
//!
//! Only what jars use: stored and deflated entries, no encryption, no ZIP64. The central directory decides what there is;
//! an entry whose content does not match its size and checksum there is an error of the whole archive. Names that would
//! lead out of a folder are refused, although nothing is ever unpacked.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::limits;

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no ZIP archive, or is cut off.
    #[error("is no complete ZIP archive: {0}")]
    Form(&'static str),
    /// It uses what is not read.
    #[error("entry {name} {what}, which is not read")]
    Entry {
        /// Name.
        name: String,
        /// What it uses.
        what: &'static str,
    },
    /// An entry is not what the directory says.
    #[error("entry {0} is damaged")]
    Damaged(String),
    /// It is larger than permitted.
    #[error("has more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are permitted.
        limit: usize,
    },
}

const END: &[u8; 4] = b"PK\x05\x06";
const DIRECTORY_ENTRY: &[u8; 4] = b"PK\x01\x02";
const LOCAL_ENTRY: &[u8; 4] = b"PK\x03\x04";
/// Bytes of the record at the end without its comment, and the longest comment.
const END_BYTES: usize = 22;
const COMMENT_BYTES: usize = 65_535;
/// Bytes of the fixed parts.
const DIRECTORY_ENTRY_BYTES: usize = 46;
const LOCAL_ENTRY_BYTES: usize = 30;

/// Every file whose name `wanted` accepts, with its content.
pub(super) fn read(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let mut files = BTreeMap::new();
    let mut total = 0;
    for entry in directory(bytes)? {
        if entry.name.ends_with('/') || !wanted(&entry.name) {
            continue;
        }
        total += entry.size;
        if total > limits::PLUGIN_BYTES {
            return Err(ArchiveError::TooLarge { what: "bytes of files", limit: limits::PLUGIN_BYTES });
        }
        let content = content(bytes, &entry)?;
        if files.insert(entry.name.clone(), content).is_some() {
            return Err(ArchiveError::Entry { name: entry.name, what: "is there twice" });
        }
    }
    Ok(files)
}

struct Entry {
    name: String,
    method: u16,
    checksum: u32,
    packed: usize,
    size: usize,
    offset: usize,
}

fn directory(bytes: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let from = bytes.len().saturating_sub(END_BYTES + COMMENT_BYTES);
    let tail = bytes.get(from..).unwrap_or_default();
    let end = tail.windows(END.len()).rposition(|window| window == END).map(|at| from + at);
    let end = end.ok_or(ArchiveError::Form("it has no end"))?;
    let cut = || ArchiveError::Form("it is cut off");
    let count = usize::from(u16_at(bytes, end + 10).ok_or_else(cut)?);
    if count > limits::PLUGIN_FILES {
        return Err(ArchiveError::TooLarge { what: "entries", limit: limits::PLUGIN_FILES });
    }
    let mut at = size_at(bytes, end + 16).ok_or_else(cut)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        if bytes.get(at..at.saturating_add(4)) != Some(DIRECTORY_ENTRY) {
            return Err(ArchiveError::Form("its directory is damaged"));
        }
        let short = |offset: usize| u16_at(bytes, at + offset).ok_or_else(cut);
        let size = |offset: usize| size_at(bytes, at + offset).ok_or_else(cut);
        let (flags, method) = (short(8)?, short(10)?);
        let (name_bytes, extra, comment) = (usize::from(short(28)?), usize::from(short(30)?), usize::from(short(32)?));
        let name_at = at + DIRECTORY_ENTRY_BYTES;
        let name = bytes.get(name_at..name_at.saturating_add(name_bytes)).ok_or_else(cut)?;
        let name = std::str::from_utf8(name).map_err(|_| ArchiveError::Form("a name is not UTF-8"))?.to_owned();
        if !is_safe(&name) {
            return Err(ArchiveError::Entry { name, what: "has a name that leads out of a folder" });
        }
        if flags & 1 != 0 {
            return Err(ArchiveError::Entry { name, what: "is encrypted" });
        }
        let checksum = u32_at(bytes, at + 16).ok_or_else(cut)?;
        let entry = Entry { name, method, checksum, packed: size(20)?, size: size(24)?, offset: size(42)? };
        if entry.size > limits::PLUGIN_FILE_BYTES {
            return Err(ArchiveError::TooLarge { what: "bytes in one file", limit: limits::PLUGIN_FILE_BYTES });
        }
        entries.push(entry);
        at = name_at + name_bytes + extra + comment;
    }
    Ok(entries)
}

fn content(bytes: &[u8], entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
    let damaged = || ArchiveError::Damaged(entry.name.clone());
    let at = entry.offset;
    if bytes.get(at..at.saturating_add(4)) != Some(LOCAL_ENTRY) {
        return Err(damaged());
    }
    let name = usize::from(u16_at(bytes, at + 26).ok_or_else(damaged)?);
    let extra = usize::from(u16_at(bytes, at + 28).ok_or_else(damaged)?);
    let from = at + LOCAL_ENTRY_BYTES + name + extra;
    let packed = bytes.get(from..from.saturating_add(entry.packed)).ok_or_else(damaged)?;
    let mut content = Vec::new();
    match entry.method {
        0 => content.extend_from_slice(packed),
        8 => {
            // One byte more than announced shows a bomb without unpacking it.
            let most = entry.size as u64 + 1;
            DeflateDecoder::new(packed).take(most).read_to_end(&mut content).map_err(|_| damaged())?;
        }
        _ => return Err(ArchiveError::Entry { name: entry.name.clone(), what: "is packed in another way" }),
    }
    let mut crc = Crc::new();
    crc.update(&content);
    if content.len() != entry.size || crc.sum() != entry.checksum {
        return Err(damaged());
    }
    Ok(content)
}

fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('/')
        && !name.contains(['\\', '\0', ':'])
        && !name.split('/').any(|part| part == "..")
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

/// A size or place; the mark of ZIP64 is larger than any archive that is read.
fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}
