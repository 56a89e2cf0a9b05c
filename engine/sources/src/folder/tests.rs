mod content;
mod naive;
mod published;
mod random;
mod updates;

use std::path::Path;
use std::sync::Arc;

use crate::folder::{Built, Index, build};
use crate::mapping::Mapping;

/// A folder and its index.
pub(super) struct Folder {
    folder: tempfile::TempDir,
    index: tempfile::TempDir,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), index: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    pub(super) fn build(&self) -> Result<Built, crate::IndexError> {
        build(self.path(), self.index.path(), &mut |_| {})
    }

    pub(super) fn open(&self) -> Index {
        Index::open(self.index.path(), Arc::new(Mapping::native().unwrap())).unwrap()
    }

    pub(super) fn index(&self) -> Index {
        self.build().unwrap();
        self.open()
    }
}
