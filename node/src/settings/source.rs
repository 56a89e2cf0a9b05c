//! `[source]`: the records of a data integration centre, in a folder and on servers of the hospital. A node without the
//! section has none and answers no question.

use std::path::PathBuf;

use settings::{Reader, Section};

use super::source_server::{SourceServer, read_servers};
use crate::Directory;

/// Where the records are, and how counts of them are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Records in files.
    pub records: Option<RecordFolder>,
    /// Servers that count; a count is the sum over the folder and all of them.
    pub servers: Vec<SourceServer>,
    /// File with code trees, in the form of the public mapping archive.
    pub code_tree: Option<PathBuf>,
    /// Whether counts that leave the site are suppressed, noisy and rounded.
    pub obfuscate: bool,
    /// Questions of one partner that are answered in an hour.
    pub requests_per_hour: u64,
}

/// Records in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFolder {
    /// Folder with `.ndjson` files and `.json` Bundles.
    pub folder: PathBuf,
    /// Folder of the index.
    pub index: PathBuf,
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<Source> {
    if !section.is_present() {
        return None;
    }
    let folder = section.string(reader, "folder");
    let index = section.string(reader, "index");
    let servers = read_servers(&mut section, reader, directory);
    let code_tree = section.string(reader, "code-tree");
    let obfuscate = section.boolean(reader, "obfuscate");
    let requests = section.integer(reader, "requests-per-hour", 1..1_000_001);
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(reader);
    let below = |name: String| directory.root().join(name);
    if folder.is_none() && servers.is_empty() {
        let remedy = "name the folder with the .ndjson and .json files, or add [[source.server]]";
        reader.error(&span, &path, "has neither folder nor server", remedy);
        return None;
    }
    if let (None, Some(index)) = (&folder, &index) {
        reader.refuse(index, "is an index of no folder", "add folder, or remove the key");
    }
    let records = folder.map(|folder| RecordFolder {
        folder: below(folder.value),
        index: index.map_or_else(|| directory.data().join("source"), |item| below(item.value)),
    });
    if records.as_ref().is_some_and(|records| records.index.starts_with(&records.folder)) {
        let remedy = "write another folder as index, such as \"data/source\"";
        reader.error(&span, &path, "has its index inside the folder with the records", remedy);
        return None;
    }
    Some(Source {
        records,
        servers,
        code_tree: code_tree.map(|item| below(item.value)),
        obfuscate: obfuscate.is_none_or(|item| item.value),
        // The reference's default.
        requests_per_hour: requests.and_then(|item| u64::try_from(item.value).ok()).unwrap_or(999),
    })
}
