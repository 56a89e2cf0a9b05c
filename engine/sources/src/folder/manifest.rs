//! What an index consists of: the file that is replaced last, in one step.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::scan::SourceFile;
use crate::error::{IndexError, ReadError};

/// Name of the file.
const NAME: &str = "manifest.json";

/// Format of the index. Another one is built anew.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// The folder that was indexed.
    pub(crate) folder: PathBuf,
    /// Column file that joins the segments.
    pub(crate) generation: String,
    pub(crate) segments: Vec<SegmentFile>,
    /// Files that were there but hold no resources.
    pub(crate) empty: Vec<SourceFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SegmentFile {
    /// Column file.
    pub(crate) name: String,
    /// Input that it covers; rows name them by their place here.
    pub(crate) files: Vec<SourceFile>,
    /// File of the index with copies of what came in Bundles.
    pub(crate) copies: Option<String>,
}

impl Manifest {
    /// Reads the manifest of an index; `None` if there is none or it has another format.
    pub(crate) fn read(index: &Path) -> Result<Option<Self>, ReadError> {
        let path = index.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::File { path, source }),
        };
        let format = serde_json::from_slice::<Format>(&bytes);
        match format {
            Ok(Format { format: FORMAT }) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(ReadError::Damaged { path, reason: error.to_string() }),
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| ReadError::Damaged { path, reason: error.to_string() })
    }

    /// Puts the manifest in force.
    pub(crate) fn write(&self, index: &Path) -> Result<(), IndexError> {
        let (path, new) = (index.join(NAME), index.join("manifest.json.new"));
        let write = || {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            std::fs::File::open(index)?.sync_all()
        };
        write().map_err(|source| IndexError::File { path: path.clone(), source })
    }

    /// Files of the source that it knows.
    pub(crate) fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.segments.iter().flat_map(|segment| &segment.files).chain(&self.empty)
    }

    /// Files of the index that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let segments = self
            .segments
            .iter()
            .flat_map(|segment| std::iter::once(segment.name.as_str()).chain(segment.copies.as_deref()));
        segments.chain([self.generation.as_str(), NAME])
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}
