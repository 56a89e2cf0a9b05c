//! One revocation list as it stands in a file.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::extensions::{DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use crate::certificate::Certificate;
use crate::chain::{self, SignatureProblem};
use crate::der::Shape;
use crate::error::{CertError, Problem};
use crate::name::Name;
use crate::{limits, pem};

/// One revocation list. Its signature is not verified by reading it.
#[derive(Clone)]
pub struct RevocationList {
    file: String,
    issuer: Name,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
    fetched: Option<OffsetDateTime>,
    scope: Scope,
    /// Sorted by serial number.
    entries: Vec<Entry>,
    der: Vec<u8>,
}

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Revoked {
    /// Whose certificate.
    pub subject: String,
    /// Whose list.
    pub issuer: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why, in the words of RFC 5280.
    pub reason: &'static str,
}

#[derive(Clone, Debug)]
struct Entry {
    serial: Box<[u8]>,
    since: OffsetDateTime,
    reason: &'static str,
}

/// What a list makes known (RFC 5280 5.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    only_users: bool,
    only_authorities: bool,
    /// Only certificates that name one of these distribution points; empty: all.
    points: Vec<String>,
    /// Only some reasons, or only attribute certificates: covers nothing on its own.
    partial: bool,
}

// === impl RevocationList ===

impl RevocationList {
    /// Reads a list, PEM or DER. `fetched` is when the file came, if that is known.
    pub fn read(bytes: &[u8], file: &str, fetched: Option<OffsetDateTime>) -> Result<Self, CertError> {
        let problem = |problem| CertError::new(file, problem);
        let der = pem::only_block(bytes, "X509 CRL", Shape::RevocationList, limits::LIST_BYTES).map_err(problem)?;
        Self::from_der(der, file, fetched).map_err(problem)
    }

    fn from_der(der: Vec<u8>, file: &str, fetched: Option<OffsetDateTime>) -> Result<Self, Problem> {
        let broken = |reason: String| Problem::NotAList { reason };
        let (rest, parsed) =
            CertificateRevocationList::from_der(&der).map_err(|_| broken("its structure is damaged".to_owned()))?;
        if !rest.is_empty() {
            return Err(broken(format!("{} bytes follow its end", rest.len())));
        }
        let scope = scope(&parsed).map_err(broken)?;
        let mut entries = Vec::new();
        for revoked in parsed.iter_revoked_certificates() {
            if entries.len() >= limits::LIST_ENTRIES {
                return Err(broken(format!("it has more than {} entries", limits::LIST_ENTRIES)));
            }
            entries.push(entry(revoked).map_err(broken)?);
        }
        entries.sort_by(|left, right| left.serial.cmp(&right.serial));
        let (issuer, this_update) = (Name::read(parsed.issuer()), parsed.last_update().to_datetime());
        let next_update = parsed.next_update().map(|time| time.to_datetime());
        Ok(Self { file: file.to_owned(), issuer, this_update, next_update, fetched, scope, entries, der })
    }

    /// The file that it came from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Who issued it.
    #[must_use]
    pub const fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// When it was issued.
    #[must_use]
    pub const fn this_update(&self) -> OffsetDateTime {
        self.this_update
    }

    /// When the next one is due at the latest.
    #[must_use]
    pub const fn next_update(&self) -> Option<OffsetDateTime> {
        self.next_update
    }

    /// How many certificates it names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it names no certificate.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Until when the list counts as fresh: until its next update, and at most `max_age` after it was fetched or issued,
    /// whichever is later. An authority that issues a list twice a year is fresh as long as somebody looks.
    #[must_use]
    pub fn fresh_until(&self, max_age: Duration) -> OffsetDateTime {
        let seen = self.fetched.map_or(self.this_update, |fetched| fetched.max(self.this_update));
        let by_age = seen.checked_add(time::Duration::try_from(max_age).unwrap_or(time::Duration::MAX));
        let by_age = by_age.unwrap_or(seen);
        self.next_update.map_or(by_age, |next| next.min(by_age))
    }

    /// Whether the key of `authority` made the signature.
    pub fn is_signed_by(&self, authority: &Certificate) -> Result<(), SignatureProblem> {
        let (_, parsed) = CertificateRevocationList::from_der(&self.der).map_err(|_| SignatureProblem::Unsupported)?;
        let message = parsed.tbs_cert_list.as_ref();
        chain::verify_signed(&self.der, message, parsed.signature_value.data.as_ref(), authority)
    }

    /// The entry of the certificate, whatever the scope of the list is.
    pub(super) fn find(&self, certificate: &Certificate) -> Option<Revoked> {
        let serial = serial_bytes(certificate);
        let position = self.entries.binary_search_by(|entry| entry.serial.as_ref().cmp(serial.as_slice())).ok()?;
        let entry = self.entries.get(position)?;
        Some(Revoked {
            subject: certificate.subject().to_string(),
            issuer: self.issuer.to_string(),
            since: entry.since,
            reason: entry.reason,
        })
    }

    /// Whether the list would name the certificate if it were revoked.
    pub(super) fn covers(&self, certificate: &Certificate) -> bool {
        let scope = &self.scope;
        let of_kind = if certificate.is_authority() { !scope.only_users } else { !scope.only_authorities };
        let at_point = scope.points.is_empty()
            || certificate.crl_distribution_points().iter().any(|point| scope.points.contains(point));
        of_kind && at_point && !scope.partial
    }

    /// Whether this list is of the same issuer and scope.
    pub(super) fn continues(&self, other: &Self) -> bool {
        self.issuer.der() == other.issuer.der() && self.scope == other.scope
    }
}

impl std::fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevocationList")
            .field("issuer", &self.issuer.as_str())
            .field("this_update", &self.this_update)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

// === reading ===

fn scope(list: &CertificateRevocationList<'_>) -> Result<Scope, String> {
    let mut scope = Scope::default();
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => scope = point_scope(point)?,
            ParsedExtension::AuthorityKeyIdentifier(_) | ParsedExtension::CRLNumber(_) => {}
            _ if extension.oid.to_id_string() == "2.5.29.27" => {
                return Err("it is a delta list, which names changes only; fetch the complete list".to_owned());
            }
            _ if extension.critical => {
                return Err(format!("it has the critical extension {}, which is not known", extension.oid));
            }
            _ => {}
        }
    }
    Ok(scope)
}

fn point_scope(point: &IssuingDistributionPoint<'_>) -> Result<Scope, String> {
    if point.indirect_crl {
        return Err("it is an indirect list, which speaks for other authorities".to_owned());
    }
    let mut points = Vec::new();
    match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => {
            for name in names.iter().take(limits::NAMES) {
                if let GeneralName::URI(uri) = name {
                    points.push((*uri).to_owned());
                }
            }
            if points.is_empty() {
                return Err("its distribution point has no address".to_owned());
            }
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => {
            return Err("its distribution point is relative to the issuer".to_owned());
        }
        None => {}
    }
    Ok(Scope {
        only_users: point.only_contains_user_certs,
        only_authorities: point.only_contains_ca_certs,
        points,
        partial: point.only_some_reasons.is_some() || point.only_contains_attribute_certs,
    })
}

fn entry(revoked: &RevokedCertificate<'_>) -> Result<Entry, String> {
    for extension in revoked.extensions() {
        // A certificate issuer makes the list indirect, whatever it says of itself.
        if extension.critical && !matches!(extension.parsed_extension(), ParsedExtension::ReasonCode(_)) {
            return Err(format!("an entry has the critical extension {}, which is not known", extension.oid));
        }
    }
    let reason = match revoked.reason_code().map_or(0, |(_, code)| code.0) {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown reason",
    };
    let serial = normalized(revoked.raw_serial()).into_boxed_slice();
    Ok(Entry { serial, since: revoked.revocation_date.to_datetime(), reason })
}

/// Without the zero that keeps a number positive.
fn normalized(serial: &[u8]) -> Vec<u8> {
    let first = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial.get(first..).unwrap_or_default().to_vec()
}

/// The serial number of a certificate as it stands in lists, without a leading zero.
pub(crate) fn serial_bytes(certificate: &Certificate) -> Vec<u8> {
    normalized(&unhex(certificate.serial()))
}

fn unhex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
    digits.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | value(*digit))).collect()
}
