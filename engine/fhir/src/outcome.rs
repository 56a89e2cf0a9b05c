//! OperationOutcome: what a client is told when something was refused, or done.

use std::fmt;

use crate::{Object, Resource, Value};

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something to know.
    Information,
    /// Done, but suspicious.
    Warning,
    /// Refused.
    Error,
    /// Refused, and nothing further was looked at.
    Fatal,
}

macro_rules! issue_codes {
    ($($name:ident $text:literal)*) => {
        /// The codes of `http://hl7.org/fhir/issue-type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum IssueCode {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl IssueCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

issue_codes! {
    Invalid "invalid" Structure "structure" Required "required" Value "value" Invariant "invariant"
    Security "security" Login "login" Unknown "unknown" Expired "expired" Forbidden "forbidden" Suppressed "suppressed"
    Processing "processing" NotSupported "not-supported" Duplicate "duplicate" MultipleMatches "multiple-matches"
    NotFound "not-found" Deleted "deleted" TooLong "too-long" CodeInvalid "code-invalid" Extension "extension"
    TooCostly "too-costly" BusinessRule "business-rule" Conflict "conflict"
    Transient "transient" LockError "lock-error" NoStore "no-store" Exception "exception" Timeout "timeout"
    Incomplete "incomplete" Throttled "throttled" Informational "informational"
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: IssueCode,
    /// Text for people.
    pub diagnostics: String,
    /// System and code that a program may rely on.
    pub details: Option<(String, String)>,
    /// FHIRPath of the element, `Task.input[0].value`.
    pub expression: Option<String>,
}

/// Findings on the way to becoming a resource; holds at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationOutcome {
    first: Issue,
    more: Vec<Issue>,
}

// === impl Severity ===

impl Severity {
    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for IssueCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Issue ===

impl Issue {
    /// An issue without details and expression.
    #[must_use]
    pub fn new(severity: Severity, code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity, code, diagnostics: diagnostics.into(), details: None, expression: None }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.expression = Some(expression.into());
        self
    }

    fn to_tree(&self) -> Object {
        let mut issue = Object::new().with("severity", self.severity.as_str()).with("code", self.code.as_str());
        if let Some((system, code)) = &self.details {
            let coding = Object::new().with("system", system.as_str()).with("code", code.as_str());
            issue.set("details", Object::new().with("coding", vec![Value::Object(coding)]));
        }
        if !self.diagnostics.is_empty() {
            issue.set("diagnostics", self.diagnostics.as_str());
        }
        if let Some(expression) = &self.expression {
            issue.push("expression", expression.as_str());
        }
        issue
    }
}

// === impl OperationOutcome ===

impl OperationOutcome {
    /// Starts with one issue.
    #[must_use]
    pub fn new(severity: Severity, code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { first: Issue::new(severity, code, diagnostics), more: Vec::new() }
    }

    /// A refusal.
    #[must_use]
    pub fn error(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, diagnostics)
    }

    /// Something done in spite of a doubt.
    #[must_use]
    pub fn warning(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, diagnostics)
    }

    /// Something done.
    #[must_use]
    pub fn information(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self::new(Severity::Information, code, diagnostics)
    }

    /// All issues as one outcome; `None` if there are none.
    #[must_use]
    pub fn of(issues: impl IntoIterator<Item = Issue>) -> Option<Self> {
        let mut issues = issues.into_iter();
        issues.next().map(|first| Self { first, more: issues.collect() })
    }

    /// Gives the issue that was added last a code that programs may rely on.
    #[must_use]
    pub fn with_details(mut self, system: impl Into<String>, code: impl Into<String>) -> Self {
        self.last().details = Some((system.into(), code.into()));
        self
    }

    /// Says where the issue that was added last is.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        self.last().expression = Some(expression.into());
        self
    }

    /// Adds an issue.
    #[must_use]
    pub fn and(mut self, issue: Issue) -> Self {
        self.more.push(issue);
        self
    }

    /// The issues in their order.
    pub fn issues(&self) -> impl Iterator<Item = &Issue> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The resource.
    #[must_use]
    pub fn into_resource(self) -> Resource {
        let mut resource = Resource::new("OperationOutcome");
        for issue in self.issues() {
            resource.push("issue", issue.to_tree());
        }
        resource
    }

    fn last(&mut self) -> &mut Issue {
        self.more.last_mut().unwrap_or(&mut self.first)
    }
}

impl From<OperationOutcome> for Resource {
    fn from(outcome: OperationOutcome) -> Self {
        outcome.into_resource()
    }
}

#[cfg(test)]
mod tests;
