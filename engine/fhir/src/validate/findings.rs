//! The findings of one validation, with the place that is looked at.

use crate::outcome::{Issue, IssueCode, Severity};
use crate::validate::limits;

/// Collects findings; equal ones are kept once, and after [`limits::ISSUES`] no further ones.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    issues: Vec<Issue>,
    is_full: bool,
    path: String,
}

impl Findings {
    /// Starts at the root of a resource.
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// What was found.
    pub(crate) fn into_issues(self) -> Vec<Issue> {
        self.issues
    }

    /// Whether nothing of severity error was found.
    pub(crate) fn has_no_error(&self) -> bool {
        !self.issues.iter().any(|issue| issue.severity >= Severity::Error)
    }

    /// Whether there are so many findings that no further ones are kept.
    pub(crate) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// The place that is looked at.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Goes to the element `name`, the `index`th of a list; answers what [`leave`](Self::leave) needs.
    pub(crate) fn enter(&mut self, name: &str, index: Option<usize>) -> usize {
        use std::fmt::Write as _;
        let before = self.path.len();
        self.path.push('.');
        self.path.push_str(name);
        if let Some(index) = index {
            // Writing to a string does not fail.
            let _ = write!(self.path, "[{index}]");
        }
        before
    }

    /// Goes back.
    pub(crate) fn leave(&mut self, before: usize) {
        self.path.truncate(before);
    }

    /// A violation.
    pub(crate) fn error(&mut self, code: IssueCode, text: impl Into<String>) {
        self.push(Severity::Error, code, text.into());
    }

    /// Something that is no violation, or that could not be checked.
    pub(crate) fn warning(&mut self, code: IssueCode, text: impl Into<String>) {
        self.push(Severity::Warning, code, text.into());
    }

    /// Ends the validation: more would have to be looked at than is allowed.
    pub(crate) fn exhausted(&mut self) {
        self.error(IssueCode::TooCostly, "the resource is too large to be validated");
        self.is_full = true;
    }

    /// Takes over the findings of a part that was checked on its own.
    pub(crate) fn append(&mut self, other: Self) {
        for issue in other.issues {
            self.keep(issue);
        }
    }

    fn push(&mut self, severity: Severity, code: IssueCode, text: String) {
        let issue = Issue::new(severity, code, text).at(self.path.as_str());
        self.keep(issue);
    }

    fn keep(&mut self, issue: Issue) {
        if self.is_full || self.issues.contains(&issue) {
            return;
        }
        // Warnings leave room: an error is never lost because of them.
        if self.issues.len() >= limits::ISSUES && issue.severity < Severity::Error {
            return;
        }
        if self.issues.len() >= 2 * limits::ISSUES {
            self.is_full = true;
            let text = "too many findings, further ones are not listed";
            self.issues.push(Issue::new(Severity::Error, IssueCode::TooCostly, text));
            return;
        }
        self.issues.push(issue);
    }
}
