//! Certificate revocation lists (RFC 5280 section 5): read from files, verified, and asked about every link of a path.
//!
//! [`RevocationList`] is one file; [`Revocation`] is what a verifier asks: all lists of a node, each verified against the
//! authority that issued it, with the answer for the authorities of the trust store worked out once. A certificate is
//! refused if any link of its path is revoked: the leaf, an intermediate that the client sent, or an authority of the
//! trust store below its root. Whether an unknown status refuses too is the officer's choice ([`RevocationMode`]).
//!
//! Lists say less than they seem to: a list may cover only users or only authorities, or one distribution point. Such a
//! list can prove that a certificate is revoked, but it makes a status known only for what it covers. Lists of a form that
//! is not understood (delta, indirect, unknown critical extensions) are errors, never "nothing revoked".

mod list;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use time::OffsetDateTime;

use crate::certificate::{Certificate, KeyUsage};
use crate::error::{CertError, Problem};
use crate::trust::TrustStore;
use crate::{limits, pem};

pub(crate) use list::serial_bytes;
pub use list::{RevocationList, Revoked};

/// What an unknown status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// A certificate whose status is not known is accepted.
    Soft,
    /// It is refused.
    Hard,
}

/// The revocation lists of a node, verified.
#[derive(Clone, Debug)]
pub struct Revocation {
    mode: RevocationMode,
    max_age: Duration,
    lists: Vec<Verified>,
    /// Standing of each authority of the trust store and of those above it, by SHA-256.
    authorities: HashMap<String, Standing>,
}

#[derive(Clone, Debug)]
struct Verified {
    list: RevocationList,
    /// Public keys of known authorities that made the signature. Empty: no authority of that name is known yet, and the
    /// list counts only below an intermediate whose key verifies it.
    keys: Vec<Vec<u8>>,
}

/// What is known about one certificate and everything above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Some list names it.
    Revoked(Revoked),
    /// Lists cover it and do not name it; they are fresh until then.
    Good {
        /// The end of the first list to become stale.
        until: OffsetDateTime,
    },
    /// No list covers it.
    Unknown {
        /// The authority whose list is missing.
        issuer: String,
    },
}

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationRefusal {
    /// Revoked.
    #[error("{} was revoked on {} ({}) by {}", .0.subject, .0.since, .0.reason, .0.issuer)]
    Revoked(Revoked),
    /// There is no list of the issuer.
    #[error("no revocation list of {issuer} is here, and the policy demands one")]
    Unknown {
        /// The authority whose list is missing.
        issuer: String,
    },
    /// The list is too old.
    #[error("the revocation status was known until {until} only, and the policy demands fresh lists")]
    Stale {
        /// When it was fresh last.
        until: OffsetDateTime,
    },
}

/// The lists in force, replaced while verifiers hold on to it.
#[derive(Debug)]
pub struct LiveRevocation(RwLock<Arc<Revocation>>);

/// A list that was in force and must not be replaced by nothing or by an older one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Regression {
    /// The list is gone.
    #[error("the revocation list of {issuer} is gone")]
    Missing {
        /// Its issuer.
        issuer: String,
    },
    /// The list is older than the one in force.
    #[error("the revocation list of {issuer} of {offered} is older than the one in force, of {in_force}")]
    Older {
        /// Its issuer.
        issuer: String,
        /// `thisUpdate` of the list in force.
        in_force: OffsetDateTime,
        /// `thisUpdate` of the list in the file.
        offered: OffsetDateTime,
    },
}

// === impl Standing ===

impl Standing {
    /// The worse of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked(revoked), _) | (_, Self::Revoked(revoked)) => Self::Revoked(revoked),
            (Self::Unknown { issuer }, _) | (_, Self::Unknown { issuer }) => Self::Unknown { issuer },
            (Self::Good { until: left }, Self::Good { until: right }) => Self::Good { until: left.min(right) },
        }
    }
}

// === impl Revocation ===

impl Revocation {
    /// Reads files and folders (their `.crl`, `.pem` and `.der` files) and verifies every list against `store`.
    pub fn load<P: AsRef<Path>>(
        paths: &[P],
        store: &TrustStore,
        mode: RevocationMode,
        max_age: Duration,
    ) -> Result<Self, Vec<CertError>> {
        let mut lists = Vec::new();
        let mut problems = Vec::new();
        for path in paths {
            match files(path.as_ref()) {
                Ok(found) => {
                    for file in found {
                        match read_list(&file) {
                            Ok(list) => lists.push(list),
                            Err(problem) => problems.push(problem),
                        }
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Self::new(lists, store, mode, max_age)
    }

    /// Verifies lists that are already read.
    pub fn new(
        lists: Vec<RevocationList>,
        store: &TrustStore,
        mode: RevocationMode,
        max_age: Duration,
    ) -> Result<Self, Vec<CertError>> {
        let mut problems = Vec::new();
        let mut verified = Vec::with_capacity(lists.len());
        for list in lists {
            match signers(&list, store) {
                Ok(keys) => verified.push(Verified { list, keys }),
                Err(problem) => problems.push(CertError::new(list.file(), problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut revocation = Self { mode, max_age, lists: verified, authorities: HashMap::new() };
        revocation.authorities = store
            .certificates()
            .map(|authority| (authority.sha256().to_owned(), revocation.standing_of_authority(authority, store)))
            .collect();
        Ok(revocation)
    }

    /// What an unknown status means.
    #[must_use]
    pub const fn mode(&self) -> RevocationMode {
        self.mode
    }

    /// Every list.
    pub fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter().map(|known| &known.list)
    }

    /// Until when the list counts as fresh.
    #[must_use]
    pub fn fresh_until(&self, list: &RevocationList) -> OffsetDateTime {
        list.fresh_until(self.max_age)
    }

    /// The authorities of the store that issue and of which no fresh list is here.
    pub fn uncovered<'s>(&self, store: &'s TrustStore, now: OffsetDateTime) -> Vec<&'s Certificate> {
        let covered = |authority: &Certificate| {
            self.lists.iter().any(|known| {
                known.keys.iter().any(|key| key == authority.public_key_info())
                    && known.list.issuer().der() == authority.subject().der()
                    && self.fresh_until(&known.list) >= now
            })
        };
        store.issuing_authorities().filter(|authority| !covered(authority)).collect()
    }

    /// The next moment at which a list becomes stale; a path that was good before may be refused then.
    #[must_use]
    pub fn next_change(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.lists().map(|list| self.fresh_until(list)).filter(|until| *until > now).min()
    }

    /// What a set of lists that is to follow this one has lost; lists of authorities that left the store may go too.
    #[must_use]
    pub fn regressions(&self, next: &Self, store: &TrustStore) -> Vec<Regression> {
        let mut found = Vec::new();
        for list in self.lists() {
            let mut offered = next.lists().filter(|other| other.continues(list));
            let newest = offered.next().map(|first| offered.fold(first.this_update(), |a, b| a.max(b.this_update())));
            let issuer = list.issuer().to_string();
            match newest {
                None if !store.certificates().any(|known| known.subject().der() == list.issuer().der()) => {}
                None => found.push(Regression::Missing { issuer }),
                Some(offered) if offered < list.this_update() => {
                    found.push(Regression::Older { issuer, in_force: list.this_update(), offered });
                }
                Some(_) => {}
            }
        }
        found
    }

    /// Judges a path: the leaf, then the intermediates that lead to `anchor`, which is of the trust store.
    pub fn check(
        &self,
        path: &[Certificate],
        anchor: &Certificate,
        now: OffsetDateTime,
    ) -> Result<Standing, RevocationRefusal> {
        let mut standing = self.authorities.get(anchor.sha256()).cloned().unwrap_or_else(|| unknown(anchor));
        let mut issuer = anchor;
        for certificate in path.iter().rev() {
            standing = self.standing(certificate, issuer).and(standing);
            issuer = certificate;
        }
        match (&standing, self.mode) {
            (Standing::Revoked(revoked), _) => Err(RevocationRefusal::Revoked(revoked.clone())),
            (Standing::Unknown { issuer }, RevocationMode::Hard) => {
                Err(RevocationRefusal::Unknown { issuer: issuer.clone() })
            }
            (Standing::Good { until }, RevocationMode::Hard) if *until < now => {
                Err(RevocationRefusal::Stale { until: *until })
            }
            _ => Ok(standing),
        }
    }

    /// One link: the certificate below an issuer that signed it.
    fn standing(&self, certificate: &Certificate, issuer: &Certificate) -> Standing {
        let mut until: Option<OffsetDateTime> = None;
        for known in &self.lists {
            if known.list.issuer().der() != certificate.issuer().der() || !known.is_signed_by(issuer) {
                continue;
            }
            if let Some(revoked) = known.list.find(certificate) {
                return Standing::Revoked(revoked);
            }
            if known.list.covers(certificate) {
                let fresh = self.fresh_until(&known.list);
                until = Some(until.map_or(fresh, |other| other.max(fresh)));
            }
        }
        until.map_or_else(|| unknown(issuer), |until| Standing::Good { until })
    }

    /// An authority of the store and those above it, as far as the store reaches. A root answers for itself: it is
    /// withdrawn by taking it out of the store.
    fn standing_of_authority(&self, authority: &Certificate, store: &TrustStore) -> Standing {
        let mut standing = Standing::Good { until: LATEST };
        let mut current = authority;
        for _ in 0..limits::CHAIN_DEPTH {
            if current.is_self_issued() {
                break;
            }
            let above = store.certificates().find(|above| {
                above.subject().der() == current.issuer().der() && crate::chain::is_signed_by(current, above).is_ok()
            });
            // The officer trusts this authority itself; who is above it is not known here.
            let Some(above) = above else { break };
            standing = self.standing(current, above).and(standing);
            current = above;
        }
        standing
    }
}

// === impl LiveRevocation ===

impl LiveRevocation {
    /// Puts lists in force.
    #[must_use]
    pub fn new(revocation: Revocation) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(revocation))))
    }

    /// The lists in force.
    #[must_use]
    pub fn current(&self) -> Arc<Revocation> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other lists in force; what was judged by the old ones must be judged again by the caller.
    pub fn replace(&self, next: Revocation) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

/// The end of time in RFC 5280.
const LATEST: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);

fn unknown(issuer: &Certificate) -> Standing {
    Standing::Unknown { issuer: issuer.subject().to_string() }
}

// === impl Verified ===

impl Verified {
    fn is_signed_by(&self, issuer: &Certificate) -> bool {
        if self.keys.iter().any(|key| key == issuer.public_key_info()) {
            return true;
        }
        self.keys.is_empty() && may_sign(issuer) && self.list.is_signed_by(issuer).is_ok()
    }
}

/// RFC 5280 4.2.1.3: a key usage that is there must name cRLSign.
fn may_sign(authority: &Certificate) -> bool {
    authority.key_usage().is_none_or(|usage| usage.contains(&KeyUsage::CrlSign))
}

/// The keys of the known authorities that signed the list; none if nobody of that name is known.
fn signers(list: &RevocationList, store: &TrustStore) -> Result<Vec<Vec<u8>>, Problem> {
    let mut keys = Vec::new();
    let mut named = false;
    for authority in store.certificates().filter(|known| known.subject().der() == list.issuer().der()) {
        named = true;
        if may_sign(authority) && list.is_signed_by(authority).is_ok() {
            keys.push(authority.public_key_info().to_vec());
        }
    }
    if named && keys.is_empty() {
        return Err(Problem::ListSignature { issuer: list.issuer().to_string() });
    }
    Ok(keys)
}

/// Reads one list with the time of its file as the time at which it was fetched.
pub fn read_list(path: &Path) -> Result<RevocationList, CertError> {
    let name = path.display().to_string();
    let bytes = pem::read_file_of(path, limits::LIST_BYTES)?;
    let fetched = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok().map(OffsetDateTime::from);
    RevocationList::read(&bytes, &name, fetched)
}

/// The list files that a path stands for.
fn files(path: &Path) -> Result<Vec<PathBuf>, CertError> {
    crate::trust::files_with(path, &["crl", "pem", "der"])
}

#[cfg(test)]
mod tests;
