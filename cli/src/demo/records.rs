//! The records of the data integration centres: generated persons with a known truth, as files that each site indexes.
//!
//! Each site has a folder `records` and names it as its source; the truth about the network stands in `truth.json`. A
//! network that is started again keeps what it has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::Directory;
use sources::ccdl::Definition;
use sources::folder::{self, Index};
use sources::mapping::Mapping;
use synthetic::sharing::SharedTruth;
use synthetic::{Network as Persons, Truth, questions};

use super::files;
use super::network::{Network, Site};

/// Patients of each site; about 8 KB of records each.
const PATIENTS: u32 = 500;
/// Of these, known at another site too.
const SHARED: u32 = 100;
/// Everything follows from it.
const SEED: u64 = 20_261_122;

/// Why there are no records.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Index(#[from] sources::IndexError),
    #[error(transparent)]
    Read(#[from] sources::ReadError),
    #[error(transparent)]
    Query(#[from] sources::QueryError),
    #[error(transparent)]
    Mapping(#[from] sources::mapping::MappingError),
}

/// What a site counts, beside the truth.
pub(crate) struct Count {
    pub(crate) site: String,
    pub(crate) organization_identifier: String,
    pub(crate) question: &'static str,
    pub(crate) counted: u64,
    pub(crate) truth: u64,
}

impl Count {
    pub(crate) const fn is_true(&self) -> bool {
        self.counted == self.truth
    }
}

/// The section of `node.toml` of a site with records.
pub(crate) const SECTION: &str = "\n[source]\nfolder = \"records\"\nindex = \"data/source\"\n";

fn persons(network: &Network) -> Persons {
    let sites = network.sites.iter().filter(|site| site.has_records()).count();
    Persons { seed: SEED, sites: u32::try_from(sites).unwrap_or(0), patients: PATIENTS, shared: SHARED }
}

/// What is true of a data set of all sites.
pub(crate) fn shared_truth(network: &Network) -> SharedTruth {
    let persons = persons(network);
    let sites: Vec<u32> = (0..persons.sites).collect();
    SharedTruth::of(&persons, &sites, time::OffsetDateTime::now_utc().date())
}

/// Writes the records that are missing, and the truth about all.
pub(crate) fn write_all(root: &Path, network: &Network) -> Result<(), RecordsError> {
    let persons = persons(network);
    for (number, site) in (0..).zip(network.sites.iter().filter(|site| site.has_records())) {
        let folder = site.directory(root).root().join("records");
        if !folder.is_dir() {
            let fail = |source| RecordsError::File { path: folder.clone(), source };
            // Records that are there are complete.
            let new = folder.with_extension("new");
            synthetic::write_site(&persons, number, &new).map_err(fail)?;
            std::fs::rename(&new, &folder).map_err(fail)?;
        }
    }
    let path = root.join("truth.json");
    let truth = Truth::of(&persons, time::OffsetDateTime::now_utc().date());
    let text = serde_json::to_vec_pretty(&truth).map_err(std::io::Error::other);
    text.and_then(|text| files::write(&path, &text, 0o644)).map_err(|source| RecordsError::File { path, source })
}

/// Lets every site index its records and count, and puts the truth beside it. Nodes are watched meanwhile.
pub(crate) async fn count_all(root: &Path, network: &Network) -> Result<Vec<Count>, RecordsError> {
    let persons = persons(network);
    let sites = network.sites.iter().filter(|site| site.has_records());
    let facts = |site: &Site| (site.name.clone(), site.organization_identifier(), site.directory(root));
    let sites: Vec<(String, String, Directory)> = sites.map(facts).collect();
    let counting = tokio::task::spawn_blocking(move || count(&sites, &persons));
    let ended = |error| RecordsError::File { path: root.to_owned(), source: std::io::Error::other(error) };
    counting.await.map_err(ended)?
}

fn count(sites: &[(String, String, Directory)], persons: &Persons) -> Result<Vec<Count>, RecordsError> {
    let today = time::OffsetDateTime::now_utc().date();
    let truth = Truth::of(persons, today);
    let mapping = Arc::new(Mapping::native()?);
    let mut counts = Vec::new();
    for ((name, organization_identifier, node), truth) in sites.iter().zip(&truth.sites) {
        let index = node.data().join("source");
        folder::build(&node.root().join("records"), &index, &mut |_| {})?;
        let index = Index::open(&index, Arc::clone(&mapping))?;
        for question in questions() {
            let plan = mapping.plan(&Definition::parse(question.definition.as_bytes())?, today)?;
            counts.push(Count {
                site: name.clone(),
                organization_identifier: organization_identifier.clone(),
                question: question.text,
                counted: index.evaluate(&plan)?.len(),
                truth: truth.counts.get(question.name).copied().unwrap_or_default(),
            });
        }
    }
    Ok(counts)
}
