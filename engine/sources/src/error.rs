//! What goes wrong with a source, in words that an administrator can act on.

use std::path::PathBuf;

/// A folder cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Lines that are no resources; the list is cut.
    #[error("the folder has content that cannot be indexed, so the index before stays in force:\n{}", problems.join("\n"))]
    Content {
        /// File, line and what is wrong.
        problems: Vec<String>,
    },
    /// The folder has no resource at all.
    #[error("{0} holds no resource; put .ndjson files (one resource a line) or .json Bundles there")]
    Empty(PathBuf),
    /// More than the format of the index can hold.
    #[error("{what} exceeds {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// Bound.
        limit: u64,
    },
    /// Somebody else writes the index.
    #[error("{0} is being written by another process; wait for it, or stop it")]
    InUse(PathBuf),
}

/// An index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("{0} holds no index; run `schleuse source index`")]
    NoIndex(PathBuf),
    /// A file of it cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of it is not what it should be.
    #[error("{path} is damaged ({reason}); remove the folder of the index and run `schleuse source index`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the source changed after it was indexed.
    #[error("{0} has changed since it was indexed; run `schleuse source index`")]
    Changed(PathBuf),
    /// A stored resource cannot be read.
    #[error("{origin}: {reason}")]
    Resource {
        /// File and position.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// The definition cannot be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A server does not give the records.
    #[error(transparent)]
    Server(Box<SourceError>),
}

/// A cohort definition that cannot be answered by this source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not a definition.
    #[error("the cohort definition cannot be read: {0}")]
    Unreadable(String),
    /// More than a source evaluates.
    #[error("the cohort definition has more than {limit} {what}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Bound.
        limit: usize,
    },
    /// No mapping from the criterion to resources.
    #[error("there is no mapping for the code {code} of {system} in context {context}")]
    NoMapping {
        /// Context.
        context: String,
        /// Code system.
        system: String,
        /// Code.
        code: String,
    },
    /// The code system has no such code.
    #[error("the code {code} is unknown in {system}")]
    UnknownCode {
        /// Code system.
        system: String,
        /// Code.
        code: String,
    },
    /// The criterion asks for something that its resources do not have.
    #[error("the criterion {criterion} has {what}, which its mapping does not know")]
    Unsupported {
        /// Code of the criterion.
        criterion: String,
        /// Filter.
        what: String,
    },
}

/// A source gives no count.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The node has none.
    #[error("this node has no records: node.toml has no [source]")]
    NoSource,
    /// The question lacks the language of the source.
    #[error("the question has no cohort definition (application/json)")]
    NoDefinition,
    /// The question lacks the language of the source.
    #[error("the question has no CQL library (text/cql)")]
    NoCql,
    /// The question cannot be evaluated.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The folder cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A request to a server of the hospital failed.
    #[error("source {name}: {error}")]
    Server {
        /// Name of the source.
        name: String,
        /// What happened.
        error: client::ClientError,
    },
    /// A server answered, but no count.
    #[error("source {name}: {reason}")]
    Answer {
        /// Name of the source.
        name: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The file of a secret cannot be used.
    #[error("source {name}: {path}: {reason}")]
    Secret {
        /// Name of the source.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A server took too long.
    #[error("source {name}: no count within {seconds} s")]
    Slow {
        /// Name of the source.
        name: String,
        /// Bound.
        seconds: u64,
    },
    /// The source has no way to give records.
    #[error("source {name} can only count: no data set can be extracted from it")]
    CountsOnly {
        /// Name of the source.
        name: String,
    },
    /// Which of several sources a data set comes from is not said.
    #[error("several sources have records, and a data set comes from one: {names}")]
    Several {
        /// Their names.
        names: String,
    },
    /// The evaluation ended abnormally.
    #[error("counting ended abnormally")]
    Aborted,
    /// More persons than there can be.
    #[error("the counts of the sources exceed what a number holds")]
    TooMany,
}

// === impl ReadError ===

impl ReadError {
    /// Whether reading may succeed later without anybody changing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoIndex(_) | Self::Damaged { .. } | Self::Changed(_) => false,
            Self::Server(error) => error.may_pass(),
            _ => true,
        }
    }
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Read(error) => error,
            SourceError::Query(error) => Self::Query(error),
            other => Self::Server(Box::new(other)),
        }
    }
}

// === impl SourceError ===

impl SourceError {
    /// Whether the same question may be answered later without anybody changing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Server { error, .. } => matches!(error.retry(), client::Retry::After(_)),
            Self::Slow { .. } | Self::Aborted => true,
            Self::Read(error) => error.may_pass(),
            _ => false,
        }
    }

    /// What the administrator can do, where the text does not say it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Server { error: client::ClientError::Http { status: 401 | 403, .. }, .. } => {
                Some("the server refused who we are: compare user, token or client with what it expects".to_owned())
            }
            Self::Server { error, .. } => Some(error.remedy()),
            Self::Answer { .. } => {
                Some("compare kind and url of the server in [[source.server]] with what runs there".to_owned())
            }
            Self::Secret { .. } => Some("write the secret into the file, alone in its only line".to_owned()),
            Self::CountsOnly { .. } => {
                Some("name a folder with records, or a server of kind \"fhir\", in [source] of node.toml".to_owned())
            }
            Self::Several { .. } => {
                Some("name the folder or the one server of kind \"fhir\" that has the records of data sets".to_owned())
            }
            Self::Read(ReadError::Server(error)) => error.remedy(),
            Self::Slow { .. } => Some("raise timeout of the server in [[source.server]], or ask for less".to_owned()),
            _ => None,
        }
    }
}
