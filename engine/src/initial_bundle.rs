//! `[engine] initial-bundle`: what an administrator wants stored before the node serves, such as the partners of a small
//! network or the resources of processes that an attached engine runs.
//!
//! The Bundle goes through the endpoint's rules and validation in the name of the own organisation. It is carried out
//! when its digest differs from that of the one carried out last: a restart repeats nothing and so undoes nothing that
//! an allow-list has changed meanwhile. A Bundle that is refused keeps the node from starting, with the reason.

use std::path::{Path, PathBuf};

use endpoint::{Endpoint, LocalAnswer, LocalError};
use fhir::{Format, Limits, ParseError, Resource};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};

use crate::bootstrap::own_identity;
use crate::configuration::Configuration;

/// Key of the digest in the store.
const SETTING: &str = "initial-bundle";

/// Largest file. The allow-list of a national network has a few megabytes.
const FILE_BYTES: u64 = 64 << 20;

/// Why the initial Bundle cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum InitialBundleError {
    /// The file is not there or is no Bundle.
    #[error("{path}: {problem}")]
    File {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// The endpoint refused it.
    #[error("the initial bundle {path} was refused; correct it and start again")]
    Refused {
        /// As configured.
        path: PathBuf,
        /// Cause.
        #[source]
        source: RefusedBundle,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is larger than what a node reads at start.
    #[error("is larger than {} MiB", FILE_BYTES >> 20)]
    TooLarge,
    /// It is no resource.
    #[error("is no FHIR resource: {0}")]
    Syntax(#[from] ParseError),
    /// It is another resource.
    #[error("is a {0}")]
    NoBundle(String),
    /// It is a Bundle that nobody carries out.
    #[error("is a Bundle of type {0}")]
    OtherType(String),
    /// It is a template of the reference, whose placeholders nobody has filled in.
    #[error("has the placeholder {0}")]
    Placeholder(String),
}

/// Why the endpoint refused the Bundle or an entry of it.
#[derive(Debug, thiserror::Error)]
pub enum RefusedBundle {
    /// As a whole.
    #[error(transparent)]
    Whole(#[from] LocalError),
    /// One entry of a batch; those before it are stored.
    #[error("entry {number} of the batch was answered with {status}: {diagnostics}")]
    Entry {
        /// Counted from 1.
        number: usize,
        /// `response.status`
        status: String,
        /// Texts of the OperationOutcome.
        diagnostics: String,
    },
}

// === impl InitialBundleError ===

impl InitialBundleError {
    /// What to do about it.
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::File { problem: FileProblem::Unreadable(_), .. } => {
                "name a file that the engine can read, relative to the node's directory, or remove the key"
            }
            Self::File { problem: FileProblem::Placeholder(_), .. } => "write the value itself; nothing is filled in",
            Self::File { .. } | Self::Refused { .. } | Self::Store(_) => {
                "write a Bundle of type transaction or batch in XML or JSON"
            }
        }
    }
}

/// Reads the file and its digest.
pub(crate) fn read(path: &Path) -> Result<(Resource, Vec<u8>), InitialBundleError> {
    read_file(path).map_err(|problem| InitialBundleError::File { path: path.to_owned(), problem })
}

fn read_file(path: &Path) -> Result<(Resource, Vec<u8>), FileProblem> {
    if std::fs::metadata(path)?.len() > FILE_BYTES {
        return Err(FileProblem::TooLarge);
    }
    let bytes = std::fs::read(path)?;
    if let Some(placeholder) = placeholder(&bytes) {
        return Err(FileProblem::Placeholder(placeholder));
    }
    let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let format = if first == Some(b'{') { Format::Json } else { Format::Xml };
    let bundle = fhir::parse(format, &bytes, &Limits::default())?;
    if bundle.type_name() != "Bundle" {
        return Err(FileProblem::NoBundle(bundle.type_name().to_owned()));
    }
    match bundle.str("type") {
        Some("transaction" | "batch") => Ok((bundle, Sha256::digest(&bytes).to_vec())),
        other => Err(FileProblem::OtherType(other.unwrap_or_default().to_owned())),
    }
}

/// `${name}` as in the reference's `bundle.xml`.
fn placeholder(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_name = |name: &&str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        (1..=100).contains(&name.len()) && name.bytes().all(is_part)
    };
    let mut starts = text.split("${").skip(1);
    let name = starts.find_map(|rest| rest.split_once('}').map(|(name, _)| name).filter(is_name))?;
    Some(format!("${{{name}}}"))
}

/// Carries the Bundle out if it is configured and was not carried out before.
pub(crate) async fn apply(
    configuration: &Configuration,
    endpoint: &Endpoint,
    store: &Store,
) -> Result<(), InitialBundleError> {
    let Some(path) = &configuration.settings.engine.initial_bundle else { return Ok(()) };
    let (bundle, digest) = read(path)?;
    if store.read(|tx| tx.setting(SETTING)).await?.as_deref() == Some(digest.as_slice()) {
        return Ok(());
    }
    let refused = |source| InitialBundleError::Refused { path: path.clone(), source };
    match endpoint.execute_local(own_identity(configuration), bundle).await {
        // It is kept, and comes into force when it is approved; sending it again at each start would change nothing.
        Err(error) if error.code == endpoint::Code::Approval.as_str() => {
            tracing::warn!(path = %path.display(), reason = error.diagnostics, "initial bundle waits for approval");
        }
        Err(error) => return Err(refused(RefusedBundle::Whole(error))),
        Ok(answer) => {
            if let Some(entry) = first_failure(&answer) {
                return Err(refused(entry));
            }
        }
    }
    store.write(move |tx| tx.set_setting(SETTING, &digest)).await?;
    tracing::info!(path = %path.display(), "initial bundle carried out");
    Ok(())
}

fn first_failure(answer: &LocalAnswer) -> Option<RefusedBundle> {
    let entries = answer.resource.as_ref()?.list("entry");
    entries.iter().enumerate().find_map(|(index, entry)| {
        let response = entry.get("response")?;
        let status = response.str("status")?;
        if status.starts_with('2') {
            return None;
        }
        let issues = response.get("outcome").map(|outcome| outcome.list("issue")).unwrap_or_default();
        let texts: Vec<&str> = issues.iter().filter_map(|issue| issue.str("diagnostics")).collect();
        Some(RefusedBundle::Entry { number: index + 1, status: status.to_owned(), diagnostics: texts.join("; ") })
    })
}

#[cfg(test)]
mod tests {
    use super::{FileProblem, InitialBundleError, read};

    fn problem(content: &str) -> FileProblem {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        std::fs::write(&path, content).unwrap();
        match read(&path) {
            Err(InitialBundleError::File { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_bundle_that_can_be_carried_out_is_read() {
        assert!(matches!(problem("{\"resourceType\":\"Patient\"}"), FileProblem::NoBundle(name) if name == "Patient"));
        let history = "<Bundle xmlns=\"http://hl7.org/fhir\"><type value=\"history\"/></Bundle>";
        assert!(matches!(problem(history), FileProblem::OtherType(kind) if kind == "history"));
        assert!(matches!(problem("{"), FileProblem::Syntax(_)));
        let template = "<Bundle xmlns=\"http://hl7.org/fhir\"><id value=\"${dev.dsf.fhir.server.x}\"/></Bundle>";
        assert!(matches!(problem(template), FileProblem::Placeholder(name) if name == "${dev.dsf.fhir.server.x}"));
        let missing = read(std::path::Path::new("/does/not/exist"));
        assert!(matches!(missing, Err(InitialBundleError::File { problem: FileProblem::Unreadable(_), .. })));
    }

    #[test]
    fn both_formats_are_read() {
        for content in [
            "\n{\"resourceType\":\"Bundle\",\"type\":\"batch\"}",
            "<!-- partners -->\n<Bundle xmlns=\"http://hl7.org/fhir\"><type value=\"transaction\"/></Bundle>",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bundle");
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap().0.type_name(), "Bundle");
        }
    }
}
