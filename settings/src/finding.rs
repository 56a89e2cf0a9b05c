//! What is wrong or doubtful in a file, in a form that a person can act on.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Works, but deserves a look.
    Warning,
    /// The file is refused.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// Line, counted from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// Dotted key, empty when the finding is about the whole file.
    pub key: String,
    /// What is wrong, in one sentence without a full stop.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// An error about a whole file.
    #[must_use]
    pub fn in_file(file: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether the file is refused because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        let severity = if self.is_error() { "error" } else { "warning" };
        write!(f, ": {severity}: ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
