//! What a policy is worth where it is to hold: against the trusted authorities, the node's certificates and the allow-list.
//!
//! The programs check what they need to start. Here stands what only shows when files are laid beside each other: an issuer
//! that nobody trusts, a rule about nobody, an organisation that the list has lost. Everything that needs the node's data is
//! read from the last allow-list that the gateway kept; if there is none, that is said, and nothing passes unseen. Each
//! finding ends with the name of its check (`access-and-edge` 8.3).

mod list;
mod trust;

use std::path::Path;

use certs::{Certificate, TrustStore};
use node::Settings;
use policies::matrix::{self, Side};
use policies::policy::Review;
use policies::{AllowList, Finding, Policy};
use settings::Severity;
use time::{Date, OffsetDateTime};

use super::super::matrix::{grouped, names};
use crate::local::{Local, changed};

/// Differences to the shipped policy that are told one by one; `schleuse diff` tells all.
const DIFFERENCES: usize = 20;
/// Age after which a policy wants to be looked at again.
const REVIEW: time::Duration = time::Duration::days(365);

/// What is laid beside each other.
pub(super) struct Surroundings<'a> {
    pub(super) policy: &'a Policy,
    /// None if its files cannot be read, which the gateway reports.
    pub(super) authorities: Option<&'a TrustStore>,
    /// The organisation's certificate; none if it cannot be read, which the engine reports.
    pub(super) client: Option<&'a Certificate>,
    /// The chain of the server certificate.
    pub(super) server: &'a [Certificate],
    /// Whether the organisation's certificate was put there after the last allow-list: the node has not taken it yet.
    pub(super) client_is_newer: bool,
    /// The last allow-list; none if the node never ran.
    pub(super) list: Option<&'a AllowList>,
    /// The last allow-list, or one with this node alone.
    pub(super) known: &'a AllowList,
    pub(super) now: OffsetDateTime,
}

/// Everything that is found.
pub(super) fn findings(local: &Local) -> Vec<Finding> {
    let settings = &local.settings;
    let authorities = TrustStore::load(&settings.trust_stores.client).ok();
    let (client, server) =
        (chain(&settings.client_certificate.certificate), chain(&settings.server_certificate.certificate));
    let known = local.allow_list_or_own();
    let surroundings = Surroundings {
        policy: &local.policy,
        authorities: authorities.as_ref(),
        client: client.first(),
        client_is_newer: changed(&settings.client_certificate.certificate)
            .is_some_and(|renewed| local.allow_list_kept.is_some_and(|kept| renewed > kept)),
        server: &server,
        list: local.allow_list.as_ref(),
        known: &known,
        now: OffsetDateTime::now_utc(),
    };
    let mut findings = surroundings.all();
    findings.extend(reviewed(&local.policy, |file| looked_at(settings, file), surroundings.now));
    findings
}

fn chain(path: &Path) -> Vec<Certificate> {
    let name = path.display().to_string();
    certs::pem::read_file(path).and_then(|bytes| certs::read_certificates(&bytes, &name)).unwrap_or_default()
}

impl Surroundings<'_> {
    fn all(&self) -> Vec<Finding> {
        let mut findings = trust::findings(self);
        findings.extend(list::findings(self));
        findings.extend(self.relaxed());
        findings.extend(self.differences());
        findings
    }

    /// W04: protection that is switched off.
    fn relaxed(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (trust, rate) = (self.policy.trust(), &self.policy.limits().rate);
        if trust.revocation.mode == policies::policy::RevocationMode::Off {
            let remedy = "write mode = \"soft\" or \"hard\", and name lists under [revocation] in node.toml";
            findings.push(warning("trust.revocation.mode: revoked certificates are accepted [W04]", remedy));
        }
        for (name, value) in [("per-identity", rate.per_identity), ("handshakes-per-ip", rate.handshakes_per_ip)] {
            if value == 0 {
                let text = format!("limits.rate.{name}: no rate is limited [W04]");
                findings.push(warning(text, "write a rate such as \"50/s\""));
            }
        }
        findings
    }

    /// W08: where a partner gets another answer than from DSF.
    fn differences(&self) -> Vec<Finding> {
        let shipped = Policy::shipped();
        let side = |policy| Side { policy, allow_list: self.known };
        let changes = matrix::diff(side(&shipped), side(self.policy));
        let is_of_partner = |name: &&String| !name.starts_with("person:") && *name != "person";
        let mut findings = Vec::new();
        for change in &changes {
            let callers: Vec<String> = change.callers.iter().filter(is_of_partner).cloned().collect();
            if callers.is_empty() {
                continue;
            }
            let (who, what) = (names(&callers), grouped(&change.cells));
            let text = format!("{who}: {what}: {}; DSF: {} [W08]", change.after, change.before);
            findings.push(warning(text, "nothing, if it is meant so; the partners concerned should know"));
        }
        let more = findings.len().saturating_sub(DIFFERENCES);
        findings.truncate(DIFFERENCES);
        if more > 0 {
            let text = format!("{more} more decisions differ from those of DSF [W08]");
            findings.push(warning(text, "see `schleuse diff` against the shipped policy"));
        }
        findings
    }
}

/// When somebody looked at a file last that has no stamp: a signature is a look at everything, and without officers a
/// change is one.
fn looked_at(settings: &Settings, file: &str) -> Option<OffsetDateTime> {
    if settings.officers.is_some() {
        signed_at(settings)
    } else {
        changed(&settings.directory.policies().join(file)).map(OffsetDateTime::from)
    }
}

/// W07: what nobody has looked at for a year, by the stamp `reviewed` of the file or the rule, else by `looked_at`.
fn reviewed(policy: &Policy, looked_at: impl Fn(&str) -> Option<OffsetDateTime>, now: OffsetDateTime) -> Vec<Finding> {
    const REMEDY: &str = "go through it and write the day as reviewed = \"YYYY-MM-DD\"; with officers, sign it";
    let is_old = |date: Date| now.date() - date > REVIEW;
    let stamp = |file: &str| policy.reviews().iter().find(|known| known.rule.is_none() && known.file == file);
    let mut findings = Vec::new();
    for file in policy.files() {
        let (date, how) = match stamp(file) {
            Some(review) => (Some(review.date), "reviewed"),
            None => (looked_at(file).map(OffsetDateTime::date), "signed or changed, and never reviewed,"),
        };
        if let Some(date) = date.filter(|date| is_old(*date)) {
            findings.push(warning(format!("{file} was {how} last on {date} [W07]"), REMEDY));
        }
    }
    for review in policy.reviews() {
        let Review { file, rule, date } = review;
        let what = rule.as_ref().map_or_else(|| file.clone(), |rule| format!("the rule {rule} in {file}"));
        if *date > now.date() {
            findings
                .push(warning(format!("{what} says that it was reviewed on {date}, which is to come [W07]"), REMEDY));
        } else if rule.is_some() && is_old(*date) && stamp(file).is_none_or(|of_file| of_file.date < *date) {
            findings.push(warning(format!("{what} was reviewed last on {date} [W07]"), REMEDY));
        }
    }
    findings
}

/// When the policy in force was signed.
fn signed_at(settings: &Settings) -> Option<OffsetDateTime> {
    let (_, newest) = node::signed_policy::activated(&settings.directory).ok()?.pop()?;
    let (_, signed) = node::signed_policy::read_signed(&newest).ok()?;
    let format = time::format_description::well_known::Rfc3339;
    signed.signatures.iter().filter_map(|seal| OffsetDateTime::parse(&seal.signed_at, &format).ok()).max()
}

fn error(text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::in_file("policies", text, remedy)
}

fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, ..error(text, remedy) }
}

#[cfg(test)]
mod tests;
