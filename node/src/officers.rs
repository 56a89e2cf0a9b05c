//! Security officers: whose signatures count, and how many of them are needed.
//!
//! They stand in `node.toml`, the administrator's file, and never in the policy that they sign; so a policy cannot make its
//! own officers. A [`Seal`] is the signature of one officer over one content; everything readable in it is part of what is
//! signed, so that no letter of it can be changed. Whether the certificate of an officer is still valid is asked when
//! something is activated or approved; what was signed in time stays signed.
//!
//! An officer is a person and not a certificate: while a certificate is replaced, the old one stays listed for what it has
//! signed, and certificates with equal subject or equal key are of the same officer, who counts once.

mod office;

use std::collections::BTreeSet;
use std::path::Path;

use certs::{Certificate, Credentials, Signature, SignatureError, SignedPurpose};
use serde::{Deserialize, Serialize};
use settings::Finding;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::NODE_TOML;
use crate::settings::OfficersSettings;

pub use office::Office;

/// Most signatures under one content.
pub const SEALS: usize = 100;
/// Longest name in a seal.
const NAME_CHARACTERS: usize = 500;

/// The officers of a node.
#[derive(Clone, Debug, Default)]
pub struct Officers {
    required: usize,
    all: Vec<Officer>,
}

/// One certificate of an officer.
#[derive(Clone, Debug)]
struct Officer {
    /// Equal for all certificates of a person.
    person: usize,
    certificate: Certificate,
}

/// One officer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Seal {
    /// SHA-256 of the officer's certificate.
    pub officer: String,
    /// Its subject, for people.
    pub name: String,
    /// When, by the clock of the machine that signed.
    pub signed_at: String,
    /// The signature.
    pub signature: String,
}

/// Why a seal does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealProblem {
    /// Nobody of `[officers]`.
    #[error("is of nobody in [officers] of node.toml")]
    Stranger,
    /// The same officer has signed before.
    #[error("is the second one of the same officer")]
    Twice,
    /// A text in it cannot be part of what is signed.
    #[error("has a field that is not readable")]
    Form,
    /// The signature is wrong.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// More than [`SEALS`].
    #[error("is one of more than {SEALS}")]
    TooMany,
}

// === impl Officers ===

impl Officers {
    /// Reads the certificates that `node.toml` names.
    pub fn load(settings: &OfficersSettings) -> Result<Self, Vec<Finding>> {
        let (mut certificates, mut findings) = (Vec::new(), Vec::new());
        for path in &settings.certificates {
            match read_certificate(path) {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => findings.push(Finding::in_file(
                    NODE_TOML,
                    format!("officers.certificates: {error}"),
                    "name the PEM file with the certificate of one officer",
                )),
            }
        }
        let mut prints: Vec<&str> = certificates.iter().map(Certificate::sha256).collect();
        prints.sort_unstable();
        if prints.windows(2).any(|pair| pair.first() == pair.last()) {
            let remedy = "name each officer once";
            findings.push(Finding::in_file(NODE_TOML, "officers.certificates: one certificate stands twice", remedy));
        }
        let officers = Self::of(settings.required, certificates);
        let persons = officers.persons();
        if findings.is_empty() && persons < settings.required {
            findings.push(Finding::in_file(
                NODE_TOML,
                format!(
                    "officers.required: {} must sign, but the certificates are of {persons} (equal subject or key is the \
                     same officer)",
                    settings.required
                ),
                "name more officers, or require fewer signatures",
            ));
        }
        if findings.is_empty() { Ok(officers) } else { Err(findings) }
    }

    fn of(required: usize, certificates: Vec<Certificate>) -> Self {
        Self { required, all: by_person(certificates) }
    }

    /// Whether they are the same certificates, of which as many must sign.
    #[must_use]
    pub fn are_same(&self, other: &Self) -> bool {
        let prints = |officers: &Self| {
            officers.all.iter().map(|one| one.certificate.sha256().to_owned()).collect::<BTreeSet<_>>()
        };
        self.required == other.required && prints(self) == prints(other)
    }

    /// Their subjects.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(|officer| officer.certificate.subject().to_string()).collect()
    }

    /// How many must sign.
    #[must_use]
    pub const fn required(&self) -> usize {
        self.required
    }

    /// How many people they are.
    #[must_use]
    pub fn persons(&self) -> usize {
        self.all.iter().map(|officer| officer.person).collect::<BTreeSet<_>>().len()
    }

    /// The certificate of an officer with this SHA-256.
    #[must_use]
    pub fn find(&self, sha256: &str) -> Option<&Certificate> {
        self.officer(sha256).map(|officer| &officer.certificate)
    }

    fn officer(&self, sha256: &str) -> Option<&Officer> {
        self.all.iter().find(|known| known.certificate.sha256() == sha256)
    }

    /// Verifies every seal; one that does not count is an error with its place, even if there are enough others.
    pub fn verify<'o>(
        &'o self,
        purpose: SignedPurpose,
        content: &str,
        seals: &[Seal],
    ) -> Result<Vec<&'o Certificate>, (usize, SealProblem)> {
        if let Some(index) = seals.iter().position(|seal| self.officer(&seal.officer).is_none()) {
            return Err((index, SealProblem::Stranger));
        }
        self.verify_own(purpose, content, seals)
    }

    /// The same, but for the seals of others, which somebody else must answer for.
    pub(crate) fn verify_own<'o>(
        &'o self,
        purpose: SignedPurpose,
        content: &str,
        seals: &[Seal],
    ) -> Result<Vec<&'o Certificate>, (usize, SealProblem)> {
        let mut signers: Vec<&Officer> = Vec::new();
        for (index, seal) in seals.iter().enumerate() {
            if index >= SEALS {
                return Err((index, SealProblem::TooMany));
            }
            let Some(officer) = self.officer(&seal.officer) else { continue };
            seal.verify(&officer.certificate, purpose, content).map_err(|problem| (index, problem))?;
            if signers.iter().any(|known| known.person == officer.person) {
                return Err((index, SealProblem::Twice));
            }
            signers.push(officer);
        }
        Ok(signers.into_iter().map(|officer| &officer.certificate).collect())
    }
}

// === impl Seal ===

impl Seal {
    /// Signs `content` as the officer with these credentials.
    pub fn make(
        credentials: &Credentials,
        purpose: SignedPurpose,
        content: &str,
        now: OffsetDateTime,
    ) -> Result<Self, SealProblem> {
        let subject = credentials.certificate().subject().to_string();
        let mut seal = Self {
            officer: credentials.certificate().sha256().to_owned(),
            name: subject.chars().filter(|character| !character.is_control()).take(NAME_CHARACTERS).collect(),
            signed_at: now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).map_err(|_| SealProblem::Form)?,
            signature: String::new(),
        };
        seal.signature = Signature::sign(credentials.key(), purpose, seal.content(content)?.as_bytes())?.to_string();
        Ok(seal)
    }

    fn verify(&self, officer: &Certificate, purpose: SignedPurpose, content: &str) -> Result<(), SealProblem> {
        let signature: Signature = self.signature.parse()?;
        Ok(signature.verify(officer, purpose, self.content(content)?.as_bytes())?)
    }

    /// What is signed: the content and every field of the seal.
    fn content(&self, content: &str) -> Result<String, SealProblem> {
        let fields = [&self.officer, &self.name, &self.signed_at];
        if fields.iter().any(|field| field.chars().any(char::is_control) || field.chars().count() > NAME_CHARACTERS) {
            return Err(SealProblem::Form);
        }
        let Self { officer, name, signed_at, .. } = self;
        Ok(format!("{content}officer: {officer}\nname: {name}\nsigned-at: {signed_at}\n"))
    }
}

/// What an officer signs to approve a change of the allow-list: a digest, not a name.
#[must_use]
pub fn list_change_content(organization: &str, digest: &str) -> String {
    format!("organization: {organization}\nchange: {digest}\n")
}

/// Whether two certificates show that they are of one officer: the same key, or the same name in whatever letters.
fn is_same_person(one: &Certificate, other: &Certificate) -> bool {
    one.public_key_info() == other.public_key_info() || name_of(one) == name_of(other)
}

/// The attributes of the subject as RFC 5280 (7.1) compares them: letters of either case, runs of spaces as one.
fn name_of(certificate: &Certificate) -> Vec<(&str, String)> {
    let plain = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let attributes = certificate.subject().attributes().iter();
    attributes.map(|attribute| (attribute.kind.as_str(), plain(&attribute.value))).collect()
}

/// Puts each certificate to its person. What shares a person with a third one is of one person too: a certificate with the
/// old name and another with the old key.
fn by_person(certificates: Vec<Certificate>) -> Vec<Officer> {
    let mut officers: Vec<Officer> = Vec::new();
    for (person, certificate) in certificates.into_iter().enumerate() {
        let same: Vec<usize> = officers
            .iter()
            .filter(|known| is_same_person(&known.certificate, &certificate))
            .map(|known| known.person)
            .collect();
        for known in officers.iter_mut().filter(|known| same.contains(&known.person)) {
            known.person = person;
        }
        officers.push(Officer { person, certificate });
    }
    officers
}

/// The first certificate of a file.
fn read_certificate(path: &Path) -> Result<Certificate, certs::CertError> {
    let name = path.display().to_string();
    let certificates = certs::read_certificates(&certs::pem::read_file(path)?, &name)?;
    let nothing =
        || certs::CertError { file: name, problem: certs::Problem::NoCertificate { found: "nothing".to_owned() } };
    certificates.into_iter().next().ok_or_else(nothing)
}
