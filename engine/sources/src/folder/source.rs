//! The index of a folder as a source that stays open: a new index is used as soon as it is there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::index::Index;
use crate::error::{ReadError, SourceError};
use crate::mapping::Mapping;
use crate::records::Records;
use crate::source::{BoxFuture, Language, Question, Source};

/// An indexed folder. Cheap to clone.
#[derive(Clone)]
pub struct FolderSource {
    inner: Arc<Inner>,
}

struct Inner {
    index: PathBuf,
    mapping: Arc<Mapping>,
    /// The index that was opened last, and when its manifest was written.
    opened: Mutex<Option<(SystemTime, Arc<Index>)>>,
}

// === impl FolderSource ===

impl FolderSource {
    /// The index in this folder; it may be made later.
    #[must_use]
    pub fn new(index: PathBuf, mapping: Arc<Mapping>) -> Self {
        Self { inner: Arc::new(Inner { index, mapping, opened: Mutex::default() }) }
    }

    /// The index, opened anew after it was made anew.
    pub fn current(&self) -> Result<Arc<Index>, ReadError> {
        let inner = &self.inner;
        let manifest = inner.index.join("manifest.json");
        let written = std::fs::metadata(&manifest).and_then(|metadata| metadata.modified());
        let written = written.map_err(|_| ReadError::NoIndex(inner.index.clone()))?;
        let mut opened = inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some((then, index)) if *then == written => Ok(Arc::clone(index)),
            _ => {
                let index = Arc::new(Index::open(&inner.index, Arc::clone(&inner.mapping))?);
                *opened = Some((written, Arc::clone(&index)));
                Ok(index)
            }
        }
    }

    fn evaluate(&self, question: &Question) -> Result<u64, SourceError> {
        let definition = question.definition()?;
        let plan = self.inner.mapping.plan(&definition, time::OffsetDateTime::now_utc().date())?;
        Ok(self.current()?.evaluate(&plan)?.len())
    }
}

impl Source for FolderSource {
    fn name(&self) -> &str {
        "folder"
    }

    fn language(&self) -> Language {
        Language::Ccdl
    }

    fn count<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<u64, SourceError>> {
        let (own, question) = (self.clone(), question.clone());
        Box::pin(async move {
            let counting = tokio::task::spawn_blocking(move || own.evaluate(&question));
            counting.await.unwrap_or(Err(SourceError::Aborted))
        })
    }

    fn records(&self) -> Result<Arc<dyn Records>, SourceError> {
        Ok(self.current()?)
    }

    fn check(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(async { Ok(format!("{} patients are indexed", self.current()?.patients())) })
    }
}
