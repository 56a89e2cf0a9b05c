//! What the feasibility processes need from this node: the way to partners, and the records of the site.
//!
//! The exact count stays in [`SiteCounts`]; what leaves is suppressed, noisy and rounded, unless `[source] obfuscate` is
//! switched off. The key of the noise is made at the first start and is kept beside the data: a new one would give
//! repeated questions new answers.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use client::{ClientError, Retry, Search};
use fhir::Resource;
use link::CorrelationId;
use processes::WorkError;
use processes::feasibility::{Counts, Partners, Told};
use processes::step::BoxFuture;
use sources::configured::Sources;
use sources::privacy::{Fingerprint, NoiseKey, Obfuscation};
use sources::{Language, Question, Records, SourceError};

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
    site: Option<Site>,
}

struct Site {
    sources: Sources,
    obfuscation: Option<(Obfuscation, NoiseKey)>,
}

// === impl SiteCounts ===

impl SiteCounts {
    /// Opens sources and key; a node without a source answers no question.
    pub(crate) fn open(settings: &node::Settings, policy: &policies::Policy) -> std::io::Result<Self> {
        let Some(source) = &settings.source else { return Ok(Self { site: None }) };
        let sources = Sources::open(settings, source, policy.outbound()).map_err(std::io::Error::other)?;
        let key = noise_key(&settings.directory.data().join("obfuscation.key"))?;
        let obfuscation = source.obfuscate.then(|| (Obfuscation::default(), key));
        Ok(Self { site: Some(Site { sources, obfuscation }) })
    }

    /// The records, for reading.
    pub(crate) fn records(&self) -> Result<Arc<dyn Records>, WorkError> {
        let site = self.site.as_ref().ok_or_else(|| count_failed(&SourceError::NoSource))?;
        site.sources.records().map_err(|error| count_failed(&error))
    }
}

impl Counts for SiteCounts {
    fn tell(&self, question: Question) -> BoxFuture<'_, Result<Told, WorkError>> {
        Box::pin(async move {
            let site = self.site.as_ref().ok_or(SourceError::NoSource);
            let told = async { site?.tell(&question).await };
            told.await.map_err(|error| count_failed(&error))
        })
    }
}

impl Site {
    /// What is asked, however it is written; away from the threads that serve, because a definition may be long.
    async fn name(&self, question: &Question) -> Result<Fingerprint, SourceError> {
        let languages: Vec<Language> = self.sources.all.iter().map(|source| source.language()).collect();
        let (question, mapping) = (question.clone(), Arc::clone(&self.sources.mapping));
        let naming = tokio::task::spawn_blocking(move || question.fingerprint(&languages, &mapping));
        naming.await.unwrap_or(Err(SourceError::Aborted))
    }

    async fn tell(&self, question: &Question) -> Result<Told, SourceError> {
        let asked = self.name(question).await?;
        let begun = std::time::Instant::now();
        let count = sources::count_all(&self.sources.all, question).await?;
        tracing::info!(milliseconds = begun.elapsed().as_secs_f64() * 1e3, "a cohort was counted");
        let count = match &self.obfuscation {
            Some((obfuscation, key)) => obfuscation.tell(key, asked, count),
            None => count,
        };
        Ok(Told { count, question: asked.to_string() })
    }
}

/// What the partner reads names no path, no server and no content of the site; the log has the whole.
fn count_failed(error: &SourceError) -> WorkError {
    match error {
        SourceError::NoSource | SourceError::NoDefinition | SourceError::NoCql | SourceError::Query(_) => {
            return WorkError::failed(error.to_string());
        }
        SourceError::CountsOnly { .. } | SourceError::Several { .. } => {
            tracing::error!(%error, remedy = error.remedy(), "there are no records to extract a data set from");
            return WorkError::failed("this site counts, and has no one source of records to extract a data set from");
        }
        _ => tracing::error!(%error, remedy = error.remedy(), "the records of the site cannot be counted"),
    }
    if error.may_pass() {
        WorkError::retry("the records of this site cannot be read")
    } else {
        WorkError::failed("the records of this site are not ready")
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
