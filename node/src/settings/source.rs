//! `[source]`: the records of a data integration centre. A node without the section has none and answers no question.

use std::path::PathBuf;

use settings::{Reader, Section};

use crate::Directory;

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Folder with `.ndjson` files and `.json` Bundles.
    pub folder: PathBuf,
    /// Folder of the index.
    pub index: PathBuf,
    /// File with code trees, in the form of the public mapping archive.
    pub code_tree: Option<PathBuf>,
    /// Whether counts that leave the site are suppressed, noisy and rounded.
    pub obfuscate: bool,
    /// Questions of one partner that are answered in an hour.
    pub requests_per_hour: u64,
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<Source> {
    if !section.is_present() {
        return None;
    }
    let folder = section.required_string(reader, "folder", "name the folder with the .ndjson and .json files");
    let index = section.string(reader, "index");
    let code_tree = section.string(reader, "code-tree");
    let obfuscate = section.boolean(reader, "obfuscate");
    let requests = section.integer(reader, "requests-per-hour", 1..1_000_001);
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(reader);
    let below = |name: String| directory.root().join(name);
    let source = Source {
        folder: below(folder?.value),
        index: index.map_or_else(|| directory.data().join("source"), |item| below(item.value)),
        code_tree: code_tree.map(|item| below(item.value)),
        obfuscate: obfuscate.is_none_or(|item| item.value),
        // The reference's default.
        requests_per_hour: requests.and_then(|item| u64::try_from(item.value).ok()).unwrap_or(999),
    };
    if source.index.starts_with(&source.folder) {
        let remedy = "write another folder as index, such as \"data/source\"";
        reader.error(&span, &path, "has its index inside the folder with the records", remedy);
        return None;
    }
    Some(source)
}
