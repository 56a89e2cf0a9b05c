//! The processes that distribute the allow-list, with the wire identity of DSF's version 1.0 (`process-engine.md` 6.3): one
//! organisation publishes its list as a Bundle that everybody may read, the others fetch it, judge it and bring it in.
//!
//! Canonicals, profiles, message names and codes are DSF's, so that either side can be a node of the reference. Ours is what
//! happens between fetching and bringing in: the whole list is published and not its first page, what is fetched is judged
//! against policy and present list before anything is stored, and what is brought in is exactly what was judged, because it
//! is named by its version and digest. Nothing of the list is kept in between.

mod download;
mod publish;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::{Implementations, Plugin};
use crate::step::{BoxFuture, WorkError};

/// Coding system of inputs and outputs.
pub const ALLOW_LIST: &str = "http://dsf.dev/fhir/CodeSystem/allow-list";
/// Their one code, which is also the identifier of the published Bundle.
pub const ALLOW_LIST_CODE: &str = "allow_list";
/// Our own output of a download: what came of it. The reference says nothing.
pub const OUTCOME: &str = "http://schleuse.example/fhir/CodeSystem/allow-list-outcome";

/// A Bundle at a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Base URL of the partner's endpoint.
    pub base_url: String,
    /// Id of the Bundle.
    pub id: String,
    /// A certain version; none: the current one.
    pub version: Option<String>,
}

/// A list that was fetched and judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Where it is, with its version if the partner has told it.
    pub source: Source,
    /// SHA-256 of its content.
    pub digest: String,
    /// Why it must not be brought in; empty if it may.
    pub objections: Vec<String>,
}

/// What came of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in force.
    Applied {
        /// What it changed, for people.
        summary: String,
    },
    /// It says what is known already, and nobody has to approve that.
    Unchanged,
    /// It waits for approval.
    Waiting {
        /// Digest of the change.
        change: String,
        /// Why, and what it would change, for people.
        summary: String,
    },
}

/// The way to lists of partners, and into the own one.
pub trait Lists: Send + Sync {
    /// Fetches a list and judges it; nothing is changed.
    fn judge(&self, source: Source) -> BoxFuture<'_, Result<Judged, WorkError>>;

    /// Brings in what was judged, or leaves it for approval. Doing so twice does no harm.
    fn bring_in(&self, judged: Judged) -> BoxFuture<'_, Result<Outcome, WorkError>>;
}

// === impl Source ===

impl Source {
    /// Reads `BASE/Bundle/ID` or `BASE/Bundle/ID/_history/VERSION`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (base_url, rest) = url.rsplit_once("/Bundle/")?;
        let (id, version) = match rest.split_once("/_history/") {
            Some((id, version)) => (id, Some(version)),
            None => (rest, None),
        };
        let is_usable =
            base_url.contains("://") && fhir::reference::is_id(id) && version.is_none_or(fhir::reference::is_id);
        is_usable.then(|| Self {
            base_url: base_url.to_owned(),
            id: id.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// Without its version: what a policy names.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/Bundle/{}", self.base_url, self.id)
    }
}

macro_rules! resource {
    ($path:literal) => {
        ($path, include_str!(concat!("../resources/allow-list/", $path)))
    };
}

/// The plug-in.
#[must_use]
pub fn plugin(lists: &Arc<dyn Lists>) -> Plugin {
    Plugin {
        name: "allow-list",
        version: "1.0",
        date: "2023-09-14",
        models: vec![
            include_str!("../resources/allow-list/bpmn/update-allow-list.bpmn"),
            include_str!("../resources/allow-list/bpmn/download-allow-list.bpmn"),
        ],
        // Terminology before profiles, profiles before what they validate.
        resources: vec![
            resource!("CodeSystem/allow-list.xml"),
            resource!("ValueSet/allow-list.xml"),
            resource!("StructureDefinition/task-update-allow-list.xml"),
            resource!("StructureDefinition/task-download-allow-list.xml"),
            resource!("ActivityDefinition/update-allow-list.xml"),
            resource!("ActivityDefinition/download-allow-list.xml"),
            resource!("Task/task-update-allow-list.xml"),
            resource!("Task/task-download-allow-list.xml"),
        ],
        implementations: Implementations::default()
            .with_service("dev.dsf.bpe.service.UpdateAllowList", publish::UpdateAllowList)
            .with_work("dev.dsf.bpe.service.DownloadAllowList", download::DownloadAllowList(Arc::clone(lists)))
            .with_service("dev.dsf.bpe.service.CheckAllowList", download::CheckAllowList)
            .with_work("dev.dsf.bpe.service.InsertAllowList", download::InsertAllowList(Arc::clone(lists))),
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn a_source_is_a_bundle_of_an_endpoint() {
        let current = Source::parse("https://a.example/fhir/Bundle/1-a").unwrap();
        assert_eq!((current.base_url.as_str(), current.id.as_str()), ("https://a.example/fhir", "1-a"));
        assert_eq!((current.version.as_deref(), current.url().as_str()), (None, "https://a.example/fhir/Bundle/1-a"));
        let second = Source::parse("https://a.example/fhir/Bundle/1/_history/2").unwrap();
        assert_eq!((second.version.as_deref(), second.url().as_str()), (Some("2"), "https://a.example/fhir/Bundle/1"));
        for other in [
            "",
            "Bundle/1",
            "/Bundle/1",
            "https://a.example/fhir/Bundle/",
            "https://a.example/fhir/Task/1",
            "https://a.example/fhir/Bundle/1?x=y",
            "https://a.example/fhir/Bundle/1/_history/",
            "https://a.example/fhir/Bundle/1/_history/2/3",
            "https://a.example/fhir/Bundle/../Task/1",
        ] {
            assert_eq!(Source::parse(other), None, "{other}");
        }
    }
}
