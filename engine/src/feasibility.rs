//! What the feasibility processes need from this node: the way to partners, and the records of the site.
//!
//! The exact count stays in [`SiteCounts`]; what leaves is suppressed, noisy and rounded, unless `[source] obfuscate` is
//! switched off. The key of the noise is made at the first start and is kept beside the data: a new one would give
//! repeated questions new answers.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use client::{ClientError, Retry, Search};
use fhir::Resource;
use link::CorrelationId;
use processes::WorkError;
use processes::feasibility::{Counts, Partners, Told};
use processes::step::BoxFuture;
use sources::ccdl::Definition;
use sources::folder::Index;
use sources::mapping::{self, Mapping};
use sources::privacy::{NoiseKey, Obfuscation};
use sources::{QueryError, ReadError};

use crate::messenger::Outgoing;

/// Resources of one answer: a Measure and its Library, and room to tell that there are more.
const FOUND: usize = 16;

impl Partners for Outgoing {
    fn search<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        parameters: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Vec<Resource>, WorkError>> {
        Box::pin(async move {
            let search = Search { resource_type, parameters, maximum: FOUND };
            let id = CorrelationId::random().to_string();
            let found = self.client.search(base_url, search, &id).await.map_err(|error| failed(&error))?;
            let (matches, included): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.is_match);
            Ok(matches.into_iter().chain(included).map(|found| found.resource).collect())
        })
    }

    fn read<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Resource, WorkError>> {
        Box::pin(async move {
            let correlation = CorrelationId::random().to_string();
            self.client.read(base_url, resource_type, id, &correlation).await.map_err(|error| failed(&error))
        })
    }
}

pub(crate) fn failed(error: &ClientError) -> WorkError {
    match error.retry() {
        Retry::After(_) => WorkError::retry(error.to_string()),
        Retry::Never => WorkError::failed(error.to_string()),
    }
}

/// The records of this site.
pub(crate) struct SiteCounts {
    site: Option<Arc<Site>>,
}

struct Site {
    index: PathBuf,
    mapping: Arc<Mapping>,
    obfuscation: Option<(Obfuscation, NoiseKey)>,
    /// The index that was opened last, and when its manifest was written.
    opened: Mutex<Option<(SystemTime, Arc<Index>)>>,
}

// === impl SiteCounts ===

impl SiteCounts {
    /// Reads mapping and key; a node without a source answers no question.
    pub(crate) fn open(settings: &node::Settings) -> std::io::Result<Self> {
        let Some(source) = &settings.source else { return Ok(Self { site: None }) };
        let mapping = mapping::load(source.code_tree.as_deref()).map_err(std::io::Error::other)?;
        let key = noise_key(&settings.directory.data().join("obfuscation.key"))?;
        let obfuscation = source.obfuscate.then(|| (Obfuscation::default(), key));
        let index = source.index.clone();
        let mapping = Arc::new(mapping);
        Ok(Self { site: Some(Arc::new(Site { index, mapping, obfuscation, opened: Mutex::default() })) })
    }

    /// The records for reading.
    pub(crate) fn index(&self) -> Result<Arc<Index>, WorkError> {
        let site = self.site.as_ref().ok_or_else(no_records)?;
        site.current().map_err(|error| read_failed(&error))
    }
}

fn no_records() -> WorkError {
    WorkError::failed("this node has no records: node.toml has no [source]")
}

impl Counts for SiteCounts {
    fn tell(&self, definition: Vec<u8>) -> BoxFuture<'_, Result<Told, WorkError>> {
        let site = self.site.clone();
        Box::pin(async move {
            let site = site.ok_or_else(no_records)?;
            let counting = tokio::task::spawn_blocking(move || site.tell(&definition));
            counting.await.unwrap_or_else(|error| Err(WorkError::retry(format!("counting ended abnormally: {error}"))))
        })
    }
}

impl Site {
    fn tell(&self, definition: &[u8]) -> Result<Told, WorkError> {
        let query = |error: QueryError| WorkError::failed(error.to_string());
        let definition = Definition::parse(definition).map_err(query)?;
        let plan = self.mapping.plan(&definition, time::OffsetDateTime::now_utc().date()).map_err(query)?;
        let index = self.current().map_err(|error| read_failed(&error))?;
        let begun = std::time::Instant::now();
        let count = index.evaluate(&plan).map_err(|error| read_failed(&error))?.len();
        tracing::info!(milliseconds = begun.elapsed().as_secs_f64() * 1e3, "a cohort was counted");
        let question = definition.fingerprint();
        let count = match &self.obfuscation {
            Some((obfuscation, key)) => obfuscation.tell(key, question, count),
            None => count,
        };
        Ok(Told { count, question: question.to_string() })
    }

    /// The index, opened anew after it was made anew.
    fn current(&self) -> Result<Arc<Index>, ReadError> {
        let manifest = self.index.join("manifest.json");
        let written = std::fs::metadata(&manifest).and_then(|metadata| metadata.modified());
        let written = written.map_err(|_| ReadError::NoIndex(self.index.clone()))?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some((then, index)) if *then == written => Ok(Arc::clone(index)),
            _ => {
                let index = Arc::new(Index::open(&self.index, Arc::clone(&self.mapping))?);
                *opened = Some((written, Arc::clone(&index)));
                Ok(index)
            }
        }
    }
}

/// What the partner reads names no path and no content of the site; the log has the whole.
fn read_failed(error: &ReadError) -> WorkError {
    tracing::error!(%error, "the records of the site cannot be counted");
    match error {
        ReadError::NoIndex(_) | ReadError::Damaged { .. } | ReadError::Changed(_) => {
            WorkError::failed("the records of this site are not ready")
        }
        _ => WorkError::retry("the records of this site cannot be read"),
    }
}

/// The key in the file, made if there is none.
fn noise_key(path: &Path) -> std::io::Result<NoiseKey> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let wrong = |_| std::io::Error::other(format!("{} is no key of 32 bytes", path.display()));
            Ok(NoiseKey::new(bytes.as_slice().try_into().map_err(wrong)?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            let (first, last) = bytes.split_at_mut(16);
            first.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
            last.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
            let new = path.with_extension("new");
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            Ok(NoiseKey::new(bytes))
        }
        Err(error) => Err(error),
    }
}
