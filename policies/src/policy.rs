//! The policy of the security officer: typed, validated as a whole, immutable.
//!
//! `policies/*.toml` are read together. A key may stand in one file only, unknown keys are errors, every finding is
//! reported at once with file, line and remedy, and a tree with one error is refused as a whole: callers keep the policy
//! that they have. What no key says has the documented default, which is DSF's behaviour; what no rule allows is denied.

mod draft;
mod identity;
mod review;
pub(crate) mod rules;
mod sections;
mod sink;
mod unenforced;

use std::fmt::Write as _;

use settings::Finding;
use sha2::{Digest, Sha256};

use crate::clock::Zone;

pub use identity::{IdentitySection, Person};
pub use review::Review;
pub use rules::{Count, Demands, Effect, Rate, Rule, RuleSet, Subject, TaskCondition};
pub use sections::{
    AbsentEku, AllowListSection, Approval, Audit, AuditFormat, BodyLimits, BundleSection, Delta, HeadLimits,
    JsonLimits, KeyLimits, Limits, Outbound, OutboundMode, QueryLimits, RateLimits, Revocation, RevocationMode, Search,
    Tickets, Timeouts, Tls, TlsProfile, Trust, UnknownParameters, XmlLimits,
};
pub use sink::{AuditSink, DeadSink};

/// The time zone of a policy that names none.
const TIME_ZONE: &str = "Europe/Berlin";

/// A validated policy.
#[derive(Clone, Debug)]
pub struct Policy {
    version: String,
    zone: Zone,
    trust: Trust,
    tls: Tls,
    limits: Limits,
    identity: IdentitySection,
    rules: RuleSet,
    search: Search,
    bundle: BundleSection,
    allow_list: AllowListSection,
    outbound: Outbound,
    audit: Audit,
    files: Vec<String>,
    reviews: Vec<Review>,
    warnings: Vec<Finding>,
}

// === impl Policy ===

impl Policy {
    /// Reads a policy tree from its files, each a name (for findings) and its text.
    ///
    /// Fails with every finding, errors and warnings, if one of them is an error.
    pub fn load<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, Vec<Finding>> {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
        draft::load(&files)
    }

    /// The policy as shipped, which behaves like DSF ([`crate::default_files`]).
    ///
    /// # Panics
    /// Never: the files are part of the program, and a test loads them.
    #[must_use]
    pub fn shipped() -> Self {
        Self::load(crate::default_files()).unwrap_or_else(|findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            panic!("the shipped policy is broken: {}", lines.join("\n"))
        })
    }

    /// SHA-256 over the tree (names and texts of all files in order of their names) in hexadecimal digits.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What deserves a look but is no error.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Names of the files.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// When files and rules were reviewed, as their stamps say.
    #[must_use]
    pub fn reviews(&self) -> &[Review] {
        &self.reviews
    }

    /// `time-zone`, which governs time windows; an IANA name.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        self.zone.name()
    }

    /// The time zone itself.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// `[trust]`
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// `[tls]`
    #[must_use]
    pub const fn tls(&self) -> &Tls {
        &self.tls
    }

    /// `[limits]`
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// `[identity]`
    #[must_use]
    pub const fn identity(&self) -> &IdentitySection {
        &self.identity
    }

    /// `[[rule]]`
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// `[search]`
    #[must_use]
    pub const fn search(&self) -> &Search {
        &self.search
    }

    /// `[bundle]`
    #[must_use]
    pub const fn bundle(&self) -> &BundleSection {
        &self.bundle
    }

    /// `[allow-list]`
    #[must_use]
    pub const fn allow_list(&self) -> &AllowListSection {
        &self.allow_list
    }

    /// `[outbound]`
    #[must_use]
    pub const fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Settings beside the rules in which another policy differs, one line each: `section key: was -> is`.
    #[must_use]
    pub fn settings_diff(&self, other: &Self) -> Vec<String> {
        let sections = |policy: &Self| {
            [
                ("time-zone", format!("{:#?}", policy.zone)),
                ("[trust]", format!("{:#?}", policy.trust)),
                ("[tls]", format!("{:#?}", policy.tls)),
                ("[limits]", format!("{:#?}", policy.limits)),
                ("[identity]", format!("{:#?}", policy.identity)),
                ("[search]", format!("{:#?}", policy.search)),
                ("[bundle]", format!("{:#?}", policy.bundle)),
                ("[allow-list]", format!("{:#?}", policy.allow_list)),
                ("[outbound]", format!("{:#?}", policy.outbound)),
                ("[audit]", format!("{:#?}", policy.audit)),
            ]
        };
        let mut lines = Vec::new();
        for ((name, before), (_, after)) in sections(self).into_iter().zip(sections(other)) {
            let words =
                |text: &str| text.lines().map(|line| line.trim().trim_end_matches(',').to_owned()).collect::<Vec<_>>();
            let (before, after) = (words(&before), words(&after));
            lines.extend(before.iter().filter(|line| !after.contains(line)).map(|line| format!("{name} was {line}")));
            lines.extend(after.iter().filter(|line| !before.contains(line)).map(|line| format!("{name} is {line}")));
        }
        lines
    }

    /// `[audit]`
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }
}

/// The digest of a tree, which is the version of the policy that it gives.
#[must_use]
pub fn tree_digest<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> String {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
    digest(&files)
}

/// The digest of a tree. Names and texts are framed by their lengths, so that no two trees share an input.
fn digest(files: &[(&str, &str)]) -> String {
    let mut sorted = files.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for (name, text) in sorted {
        for part in [name, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
