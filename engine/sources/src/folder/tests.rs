mod content;
pub(crate) mod naive;
mod published;
pub(crate) mod random;
mod updates;

use std::path::Path;
use std::sync::Arc;

use crate::folder::{Built, Index, build};
use crate::mapping::Mapping;

/// A folder and its index.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    index: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), index: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn index_path(&self) -> &Path {
        self.index.path()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    pub(crate) fn build(&self) -> Result<Built, crate::IndexError> {
        build(self.path(), self.index.path(), &mut |_| {})
    }

    pub(crate) fn open(&self) -> Index {
        Index::open(self.index.path(), Arc::new(Mapping::native().unwrap())).unwrap()
    }

    pub(crate) fn index(&self) -> Index {
        self.build().unwrap();
        self.open()
    }
}
