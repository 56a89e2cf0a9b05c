//! Refusals: why an interaction is not carried out, and the one place where that becomes an answer.
//!
//! Two audiences, two texts. The client gets a status, an OperationOutcome with a stable code (or an empty body where
//! `fhir-api` 1.11 says so) and nothing about the inside; the log gets [`Refusal::evidence`]. Refusals travel as `Err`
//! through the interactions so that the store rolls the transaction back.

use std::sync::Arc;

use fhir::Resource;
use fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};
use http::StatusCode;
use http::header::{ALLOW, CACHE_CONTROL, HeaderName, HeaderValue};
use store::StoreError;
use time::OffsetDateTime;

use crate::approval::{Pending, PendingChange};
use crate::limits;

/// System of the stable codes in `issue.details.coding`.
pub const CODE_SYSTEM: &str = "http://schleuse.example/fhir/CodeSystem/refusal";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Stable codes of refusals; a code never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as clients, logs and metrics see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A request without exactly one readable permit.
    Permit = "EN-FHIR-001",
    /// A permit of a policy or snapshot that the engine does not have.
    PolicyUnknown = "EN-FHIR-002",
    /// The request is not the one that was permitted.
    PermitMismatch = "EN-FHIR-003",
    /// The caller is not, or no longer, on the allow-list.
    IdentityUnknown = "EN-FHIR-004",
    /// A rule of the second decision denies.
    Forbidden = "EN-FHIR-005",
    /// The body is no resource.
    Structure = "EN-FHIR-006",
    /// The body is hostile: document type, depth, size, duplicate members.
    Hostile = "EN-FHIR-007",
    /// The resource does not conform to its profiles.
    Profile = "EN-FHIR-008",
    /// A reference does not lead anywhere.
    Reference = "EN-FHIR-009",
    /// Another resource has the same key.
    Duplicate = "EN-FHIR-010",
    /// Nothing with this id.
    NotFound = "EN-FHIR-011",
    /// Deleted.
    Gone = "EN-FHIR-012",
    /// Update as create.
    UpdateAsCreate = "EN-FHIR-013",
    /// The request contradicts itself or cannot be understood.
    BadRequest = "EN-FHIR-014",
    /// The version is not the newest.
    VersionConflict = "EN-FHIR-015",
    /// Several resources match.
    MultipleMatches = "EN-FHIR-016",
    /// A media type that is not read or written.
    MediaType = "EN-FHIR-017",
    /// No such route.
    NotRouted = "EN-FHIR-018",
    /// Larger than a limit.
    TooLarge = "EN-FHIR-019",
    /// Store or another part of the engine failed.
    Internal = "EN-FHIR-020",
    /// The audit log cannot be written; nothing is done unrecorded.
    Audit = "EN-FHIR-021",
    /// A precondition of a read does not hold.
    Precondition = "EN-FHIR-022",
    /// The change would leave the node without its own organisation, endpoint or certificate.
    OwnOrganization = "EN-FHIR-023",
    /// The answer would be larger than a limit.
    AnswerTooLarge = "EN-FHIR-024",
    /// The disk has no room for content.
    NoRoom = "EN-FHIR-025",
    /// A counted limit of the policy is reached.
    LimitReached = "EN-FHIR-026",
    /// A StructureDefinition from which no snapshot can be made.
    Snapshot = "EN-FHIR-027",
    /// The change of the allow-list waits for approval.
    Approval = "EN-FHIR-028",
    /// The search takes too long.
    TooCostly = "EN-FHIR-029",
}

/// Why an interaction is not carried out.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    /// Empty: an answer without a body.
    pub(crate) issues: Vec<Issue>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    pub(crate) evidence: Option<String>,
    /// What was to be written and waits for approval.
    pub(crate) pending: Option<Pending>,
    /// Which entry of a transaction it is about.
    pub(crate) entry: Option<usize>,
}

/// The OperationOutcome of these issues; none if there are none.
pub(crate) fn operation_outcome(issues: &[Issue]) -> Option<Resource> {
    OperationOutcome::of(issues.iter().take(limits::OUTCOME_ISSUES).cloned()).map(OperationOutcome::into_resource)
}

/// An information, as an OperationOutcome.
pub(crate) fn information(code: IssueCode, text: impl Into<String>) -> Resource {
    OperationOutcome::information(code, cut(text)).into_resource()
}

/// A warning.
pub(crate) fn warning(code: IssueCode, text: impl Into<String>) -> Issue {
    Issue::new(Severity::Warning, code, cut(text))
}

fn cut(text: impl Into<String>) -> String {
    let text = text.into();
    if text.len() <= limits::DIAGNOSTICS_CHARS { text } else { text.chars().take(limits::DIAGNOSTICS_CHARS).collect() }
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with an OperationOutcome of one error.
    pub(crate) fn with_outcome(
        status: StatusCode,
        code: Code,
        issue_type: IssueCode,
        diagnostics: impl Into<String>,
    ) -> Self {
        let mut issue = Issue::new(Severity::Error, issue_type, cut(diagnostics));
        issue.details = Some((CODE_SYSTEM.to_owned(), code.as_str().to_owned()));
        Self { status, code, issues: vec![issue], headers: Vec::new(), evidence: None, pending: None, entry: None }
    }

    /// A refusal with an empty body.
    pub(crate) const fn empty(status: StatusCode, code: Code) -> Self {
        Self { status, code, issues: Vec::new(), headers: Vec::new(), evidence: None, pending: None, entry: None }
    }

    /// Adds what the log should say beside the code.
    pub(crate) fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// Says which entry of a transaction it is about.
    pub(crate) const fn of_entry(mut self, index: usize) -> Self {
        self.entry = Some(index);
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// No snapshot can be made, for these reasons: 500 if the definition is asked about, 400 if it was to be stored.
    pub(crate) fn snapshot(status: StatusCode, mut issues: Vec<Issue>) -> Self {
        for issue in &mut issues {
            issue.details = Some((CODE_SYSTEM.to_owned(), Code::Snapshot.as_str().to_owned()));
        }
        Self { status, code: Code::Snapshot, issues, headers: Vec::new(), evidence: None, pending: None, entry: None }
    }

    /// 403, a rule denies.
    pub(crate) fn forbidden(operation: &str, reason: impl Into<String>) -> Self {
        let text = format!("Operation {operation} forbidden");
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Forbidden, IssueCode::Forbidden, text).because(reason)
    }

    /// 403, the process does not take the answer. Who gives it is local and may know why.
    pub(crate) fn answer_refused(reason: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Forbidden, IssueCode::Forbidden, reason)
    }

    /// 403, as often as the policy permits in this period.
    pub(crate) fn limit_reached(rule: &policies::RuleId, most: u64, per: policies::clock::Period) -> Self {
        let text = format!("Rule {rule} permits {most} in a {}, and they are used up", per.as_str());
        Self::with_outcome(StatusCode::FORBIDDEN, Code::LimitReached, IssueCode::Forbidden, text)
    }

    /// 403, the node would lock itself out. The one who asks is local and must know why.
    pub(crate) fn own_organization(problem: &str) -> Self {
        let text = format!("Own organization is protected: {problem}");
        Self::with_outcome(StatusCode::FORBIDDEN, Code::OwnOrganization, IssueCode::Forbidden, text)
    }

    /// 403, kept until enough people have approved it. The one who asks is local and must know under which name.
    pub(crate) fn approval(pending: PendingChange) -> Self {
        let text = format!("Changes of the allow-list need approval; this one waits as {}", pending.digest);
        let pending = Some(Arc::new(pending));
        Self { pending, ..Self::with_outcome(StatusCode::FORBIDDEN, Code::Approval, IssueCode::Forbidden, text) }
    }

    /// 403, what waits for approval must be alone in its transaction.
    pub(crate) fn approval_alone() -> Self {
        let text = "Changes of the allow-list need approval; send them without other resources";
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Approval, IssueCode::Forbidden, text)
    }

    /// 403, too much waits.
    pub(crate) fn approval_full() -> Self {
        let text = "Changes of the allow-list need approval, and too many wait for it; approve or reject them first";
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Approval, IssueCode::Forbidden, text)
    }

    /// 403, the body is no resource.
    pub(crate) fn structure(reason: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Structure, IssueCode::Structure, "Unable to parse resource")
            .because(reason)
    }

    /// 400, the body is hostile.
    pub(crate) fn hostile(reason: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::BAD_REQUEST, Code::Hostile, IssueCode::Structure, "Unable to parse resource")
            .because(reason)
    }

    /// 403, the resource does not conform.
    pub(crate) fn profile(issues: Vec<Issue>) -> Self {
        let evidence = issues.iter().find(|issue| matches!(issue.severity, Severity::Error | Severity::Fatal));
        // Element and kind only: texts of issues can quote the resource.
        let evidence =
            evidence.map(|issue| format!("{} at {}", issue.code, issue.expression.as_deref().unwrap_or("?")));
        Self {
            status: StatusCode::FORBIDDEN,
            code: Code::Profile,
            issues,
            headers: Vec::new(),
            evidence,
            pending: None,
            entry: None,
        }
    }

    /// 403, a reference leads nowhere.
    pub(crate) fn reference(diagnostics: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Reference, IssueCode::Processing, diagnostics)
    }

    /// 403, another resource has the same key.
    pub(crate) fn duplicate(type_name: &str) -> Self {
        let text = format!("Duplicate {type_name} resources exist");
        Self::with_outcome(StatusCode::FORBIDDEN, Code::Duplicate, IssueCode::Duplicate, text)
    }

    /// 404 without a body, as the reference answers reads.
    pub(crate) const fn not_found() -> Self {
        Self::empty(StatusCode::NOT_FOUND, Code::NotFound)
    }

    /// 404 with an OperationOutcome.
    pub(crate) fn not_found_with(diagnostics: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::NOT_FOUND, Code::NotFound, IssueCode::NotFound, diagnostics)
    }

    /// 404, the id is no UUID.
    pub(crate) fn not_a_uuid(type_name: &str, id: &str) -> Self {
        Self::not_found_with(format!("{type_name} with id {id} (not a UUID) not found"))
    }

    /// 410 with the version and the time of the deletion.
    pub(crate) fn gone(type_name: &str, id: &str, version: u64, deleted: OffsetDateTime, base_url: &str) -> Self {
        let text = format!("{type_name} with id {id} is marked as deleted");
        Self::with_outcome(StatusCode::GONE, Code::Gone, IssueCode::Deleted, text)
            .header(http::header::ETAG, &crate::precondition::etag(version))
            .header(http::header::LAST_MODIFIED, &crate::http_date::format(deleted))
            .header(http::header::LOCATION, &format!("{base_url}/{type_name}/{id}/_history/{version}"))
    }

    /// 405, the client may not choose ids.
    pub(crate) fn update_as_create() -> Self {
        Self::with_outcome(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::UpdateAsCreate,
            IssueCode::Forbidden,
            "Update as create not allowed",
        )
    }

    /// 405 for `GET /`.
    pub(crate) fn root_read() -> Self {
        Self::with_outcome(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::NotRouted,
            IssueCode::NotSupported,
            "Method not allowed, post a batch or transaction Bundle",
        )
        .header(ALLOW, "POST")
        .header(CACHE_CONTROL, "no-store, no-transform")
    }

    /// 400.
    pub(crate) fn bad_request(diagnostics: impl Into<String>) -> Self {
        Self::with_outcome(StatusCode::BAD_REQUEST, Code::BadRequest, IssueCode::Processing, diagnostics)
    }

    /// 412, the update expected another version.
    pub(crate) fn version_conflict(expected: u64, latest: u64) -> Self {
        let text = format!("Expected version {expected} is not the latest version {latest}");
        Self::with_outcome(StatusCode::PRECONDITION_FAILED, Code::VersionConflict, IssueCode::Conflict, text)
    }

    /// 412, the condition is not selective enough.
    pub(crate) fn multiple_matches(type_name: &str) -> Self {
        let text = format!("Multiple {type_name} resources match the condition");
        Self::with_outcome(StatusCode::PRECONDITION_FAILED, Code::MultipleMatches, IssueCode::MultipleMatches, text)
    }

    /// 415 without a body.
    pub(crate) const fn media_type() -> Self {
        Self::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::MediaType)
    }

    /// 507, the disk has no room for content.
    pub(crate) fn no_room(evidence: impl Into<String>) -> Self {
        let text = "No room for the content";
        Self::with_outcome(StatusCode::INSUFFICIENT_STORAGE, Code::NoRoom, IssueCode::NoStore, text).because(evidence)
    }

    /// Adds a header to the answer.
    pub(crate) fn with_header(self, name: HeaderName, value: &str) -> Self {
        self.header(name, value)
    }

    /// 500 with the text of the reference for a failing store.
    pub(crate) fn store(evidence: impl Into<String>) -> Self {
        Self::with_outcome(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
            IssueCode::Exception,
            "Error while accessing DB",
        )
        .because(evidence)
    }

    /// The OperationOutcome for the body, if there is one.
    pub(crate) fn outcome(&self) -> Option<Resource> {
        operation_outcome(&self.issues)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} status={}", self.code.as_str(), self.status.as_u16())?;
        match &self.evidence {
            Some(evidence) => write!(f, " {evidence}"),
            None => Ok(()),
        }
    }
}

/// What the store refuses, as the client sees it.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Duplicate { kind, resource_type, .. } => {
                Self::duplicate(resource_type).because(format!("key {kind} is taken"))
            }
            StoreError::VersionConflict { expected, actual, .. } => Self::version_conflict(*expected, *actual),
            StoreError::TooLarge { .. } => {
                Self::empty(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge).because(error.to_string())
            }
            StoreError::PageTooLarge { limit } => Self::with_outcome(
                StatusCode::BAD_REQUEST,
                Code::AnswerTooLarge,
                IssueCode::TooCostly,
                format!("The page is larger than {} MiB, ask for fewer entries with _count", limit >> 20),
            ),
            StoreError::TooCostly { limit } => Self::with_outcome(
                StatusCode::BAD_REQUEST,
                Code::TooCostly,
                IssueCode::TooCostly,
                format!("The search takes longer than {} s, add a condition that matches less", limit.as_secs()),
            ),
            // The database is away, busy or has ended the transaction: nothing is known to be wrong with the request.
            StoreError::Unavailable(_)
            | StoreError::CommitUnknown(_)
            | StoreError::RolledBack(_)
            | StoreError::TooSlow(_)
            | StoreError::Locked(_) => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::store(error.to_string()) }
            }
            StoreError::Unsearchable(_) => Self::bad_request("Search cannot be run").because(error.to_string()),
            _ => Self::store(error.to_string()),
        }
    }
}
