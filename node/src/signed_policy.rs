//! Signed policies: the tree that officers signed, its number, and the refusal of everything else.
//!
//! With `[officers]` in `node.toml` the folder `policies/` is a draft on which nothing depends. `schleuse policy sign` puts
//! `signatures.json` beside it, `schleuse policy activate` copies both into `signed-policies/NUMBER/`, and the folder with
//! the highest number is the policy in force. Numbers only grow: each process remembers what it had in force
//! ([`PolicyMemory`]) and refuses a lower number, and the same number with another content. What was changed after it was
//! signed is named: the file, or the signature.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use certs::SignedPurpose;
use policies::policy::tree_digest;
use serde::{Deserialize, Serialize};
use settings::Finding;
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::officers::{Office, Officers, Seal, SealProblem};
use crate::policy_files::{read_policy_files, read_policy_folder};
use crate::{Directory, NODE_TOML, Settings};

/// Manifest and signatures, beside the files that they are about.
pub const SIGNATURES: &str = "signatures.json";
/// The officers at the time of the activation, beside the files.
const OFFICE: &str = "officers.json";
/// Largest `signatures.json`: a thousand files and a hundred signatures.
const SIGNATURES_BYTES: u64 = 1 << 20;

/// Files of a policy, each a name and its text.
pub type PolicyTree = Vec<(String, String)>;

/// What officers sign, and their signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignedPolicy {
    /// The node's organisation: a policy is for one node.
    pub organization: String,
    /// Grows with every policy that is activated.
    pub number: u64,
    /// Digest of the tree, as it stands in audit records.
    pub digest: String,
    /// SHA-256 of each file, so that a change can be told by its place.
    pub files: BTreeMap<String, String>,
    /// Who comes into office with it, if the officers change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officers: Option<Office>,
    /// Who was in office before, then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessors: Option<Office>,
    /// The signatures.
    pub signatures: Vec<Seal>,
}

/// A policy of which enough officers have signed every byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: String,
    /// Subjects of the officers.
    pub officers: Vec<String>,
}

/// The policy that a node obeys.
#[derive(Clone, Debug)]
pub struct PolicyInForce {
    /// Its files.
    pub files: PolicyTree,
    /// Who signed it; none if the node has no officers.
    pub signed: Option<SignedBy>,
    /// Who is in office with it.
    pub officers: Option<Officers>,
}

/// Why a signed policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedPolicyError {
    /// The file cannot be read.
    #[error("{SIGNATURES}: cannot be read: {0}")]
    Unreadable(String),
    /// Not the form in which it is written.
    #[error("{SIGNATURES}: {0}")]
    Form(String),
    /// For another node.
    #[error("{SIGNATURES}: organization is {found}, but this node is {own}")]
    Organization {
        /// In the file.
        found: String,
        /// In `node.toml`.
        own: String,
    },
    /// A file is not as it was signed.
    #[error("{file}: {what} after it was signed")]
    File {
        /// Which.
        file: String,
        /// `was changed`, `was added`, `was removed`.
        what: &'static str,
    },
    /// The digest is not that of the tree.
    #[error("{SIGNATURES}: digest is not that of the files")]
    Digest,
    /// A signature does not count.
    #[error("{SIGNATURES}: signature {position} ({name}) {problem}")]
    Seal {
        /// Counted from 1.
        position: usize,
        /// As it stands there.
        name: String,
        /// Why.
        problem: SealProblem,
    },
    /// The officers in it cannot be read.
    #[error("{SIGNATURES}: officers: {0}")]
    Office(String),
    /// A change of officers, but of others than those of this node.
    #[error("{SIGNATURES}: changes officers who are not those of the node, neither before nor after")]
    OtherOfficers,
    /// Not enough signatures.
    #[error("{SIGNATURES}: {found} of {required} signatures")]
    TooFew {
        /// How many count.
        found: usize,
        /// How many are needed.
        required: usize,
    },
}

// === impl SignedPolicy ===

impl SignedPolicy {
    /// A manifest that nobody has signed yet.
    #[must_use]
    pub fn new(organization: &str, number: u64, tree: &PolicyTree) -> Self {
        Self {
            organization: organization.to_owned(),
            number,
            digest: tree_digest(tree),
            files: tree.iter().map(|(name, text)| (name.clone(), hex(&Sha256::digest(text.as_bytes())))).collect(),
            officers: None,
            predecessors: None,
            signatures: Vec::new(),
        }
    }

    /// Reads `signatures.json`.
    pub fn read(path: &Path) -> Result<Self, SignedPolicyError> {
        use std::io::Read as _;
        let unreadable = |error: std::io::Error| SignedPolicyError::Unreadable(error.to_string());
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(SIGNATURES_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text)
    }

    /// Reads its text: exactly the form that [`SignedPolicy::print`] gives.
    pub fn parse(text: &str) -> Result<Self, SignedPolicyError> {
        let parsed: Self = serde_json::from_str(text).map_err(|error| SignedPolicyError::Form(error.to_string()))?;
        if parsed.print() != text {
            return Err(SignedPolicyError::Form("is not in the form in which it was written".to_owned()));
        }
        Ok(parsed)
    }

    /// The text of `signatures.json`.
    #[must_use]
    pub fn print(&self) -> String {
        // Strings and numbers always become JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What an officer signs.
    #[must_use]
    pub fn content(&self) -> String {
        let Self { organization, number, digest, files, .. } = self;
        let mut text = format!("organization: {organization}\nnumber: {number}\ndigest: {digest}\n");
        for (name, sha256) in files {
            text.push_str(&format!("file: {sha256} {name}\n"));
        }
        for (word, office) in [("officers", &self.officers), ("predecessors", &self.predecessors)] {
            text.push_str(&office.as_ref().map_or_else(String::new, |office| office.content(word)));
        }
        text
    }

    /// Whether it is about exactly this tree of this node.
    pub fn check_tree(&self, organization: &str, tree: &PolicyTree) -> Result<(), SignedPolicyError> {
        if self.organization != organization {
            let (found, own) = (self.organization.clone(), organization.to_owned());
            return Err(SignedPolicyError::Organization { found, own });
        }
        let now = Self::new(organization, self.number, tree);
        let changed = |file: &str, what| Err(SignedPolicyError::File { file: file.to_owned(), what });
        for (name, sha256) in &now.files {
            match self.files.get(name) {
                None => return changed(name, "was added"),
                Some(signed) if signed != sha256 => return changed(name, "was changed"),
                Some(_) => {}
            }
        }
        if let Some(gone) = self.files.keys().find(|name| !now.files.contains_key(*name)) {
            return changed(gone, "was removed");
        }
        if self.digest == now.digest { Ok(()) } else { Err(SignedPolicyError::Digest) }
    }

    /// Of whom enough must have signed: the officers of the node, and if it changes them, those before and those after.
    fn offices(&self, current: &Officers) -> Result<Vec<Officers>, SignedPolicyError> {
        let Some(before) = &self.predecessors else { return Ok(vec![current.clone()]) };
        let read = |office: &Office| office.officers().map_err(SignedPolicyError::Office);
        let after = self.officers.as_ref().ok_or_else(|| SignedPolicyError::Office("are missing".to_owned()))?;
        let offices = vec![read(before)?, read(after)?];
        // The change is to come, or was made before.
        if offices.iter().any(|office| office.are_same(current)) {
            Ok(offices)
        } else {
            Err(SignedPolicyError::OtherOfficers)
        }
    }

    /// The officers who signed it. Every signature must count.
    pub fn signers(&self, current: &Officers) -> Result<Vec<certs::Certificate>, SignedPolicyError> {
        self.signers_of(&self.offices(current)?)
    }

    fn signers_of(&self, offices: &[Officers]) -> Result<Vec<certs::Certificate>, SignedPolicyError> {
        let wrong = |(index, problem): (usize, SealProblem)| {
            let name = self.signatures.get(index).map(|seal| seal.name.clone()).unwrap_or_default();
            SignedPolicyError::Seal { position: index + 1, name, problem }
        };
        let is_strange = |seal: &Seal| offices.iter().all(|office| office.find(&seal.officer).is_none());
        if let Some(index) = self.signatures.iter().position(is_strange) {
            return Err(wrong((index, SealProblem::Stranger)));
        }
        let mut signers: Vec<certs::Certificate> = Vec::new();
        for office in offices {
            let own = office.verify_own(SignedPurpose::Policy, &self.content(), &self.signatures).map_err(wrong)?;
            let known = |signers: &[certs::Certificate], one: &certs::Certificate| {
                signers.iter().any(|signer| signer.sha256() == one.sha256())
            };
            for signer in own {
                if !known(&signers, signer) {
                    signers.push(signer.clone());
                }
            }
        }
        Ok(signers)
    }

    /// Everything at once: tree, node, signatures, number of officers. `current` is who is in office.
    pub fn verify(
        &self,
        organization: &str,
        tree: &PolicyTree,
        current: &Officers,
    ) -> Result<SignedBy, SignedPolicyError> {
        let offices = self.offices(current)?;
        // The manifest first: only what was signed can say which file was changed.
        let signers = self.signers_of(&offices)?;
        self.check_tree(organization, tree)?;
        for office in &offices {
            let found = signers.iter().filter(|signer| office.find(signer.sha256()).is_some()).count();
            if found < office.required() {
                return Err(SignedPolicyError::TooFew { found, required: office.required() });
            }
        }
        let officers = signers.iter().map(|signer| signer.subject().to_string()).collect();
        Ok(SignedBy { number: self.number, digest: self.digest.clone(), officers })
    }

    /// Who is in office once it is in force.
    pub fn officers_after(&self, current: &Officers) -> Result<Officers, SignedPolicyError> {
        self.offices(current)?.pop().ok_or_else(|| SignedPolicyError::Office("are missing".to_owned()))
    }
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {} signed by {}", self.number, self.officers.join("; "))
    }
}

// === the folder ===

/// Numbers and folders of the policies that were activated, the newest last.
pub fn activated(directory: &Directory) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(directory.signed_policies()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            found.extend(name.parse::<u64>().ok().map(|number| (number, path.clone())));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads one folder with a tree and its signatures.
pub fn read_signed(folder: &Path) -> Result<(PolicyTree, SignedPolicy), Vec<Finding>> {
    let tree = read_policy_folder(folder)?;
    let signed = SignedPolicy::read(&folder.join(SIGNATURES)).map_err(|error| vec![finding(folder, &error)])?;
    Ok((tree, signed))
}

/// The policy that the node obeys: `policies/`, or with officers the newest that was activated, verified.
pub fn read_policy(settings: &Settings) -> Result<PolicyInForce, Vec<Finding>> {
    match &settings.officers {
        Some(officers) => read_policy_by(settings, &Officers::load(officers)?),
        None => Ok(PolicyInForce { files: read_policy_files(&settings.directory)?, signed: None, officers: None }),
    }
}

/// The same for a process that runs, by the officers who are in office: `node.toml` may name others meanwhile.
pub fn read_policy_by(settings: &Settings, officers: &Officers) -> Result<PolicyInForce, Vec<Finding>> {
    let directory = &settings.directory;
    let folder = directory.signed_policies();
    let all = activated(directory).map_err(|error| {
        let text = format!("{} cannot be read: {error}", folder.display());
        vec![Finding::in_file(NODE_TOML, text, "make the folder readable for the users of the node")]
    })?;
    let Some((number, newest)) = all.last() else {
        let text = "officers are named, but no signed policy was activated";
        let remedy = "sign policies/ with `schleuse policy sign`, then run `schleuse policy activate`";
        return Err(vec![Finding::in_file(NODE_TOML, text, remedy)]);
    };
    let (files, signed) = read_signed(newest)?;
    let verified = signed.verify(settings.organization_identifier.as_str(), &files, officers);
    let by = verified.map_err(|error| vec![finding(newest, &error)])?;
    if by.number != *number {
        let error = SignedPolicyError::Form(format!("number is {}, but the folder is {number}", by.number));
        return Err(vec![finding(newest, &error)]);
    }
    let officers = signed.officers_after(officers).map_err(|error| vec![finding(newest, &error)])?;
    Ok(PolicyInForce { files, signed: Some(by), officers: Some(officers) })
}

/// Copies a tree and its signatures into `signed-policies/NUMBER/`, all at once. `office` is kept beside them, so that who
/// signs the next one knows who is in office; the processes know it by themselves and do not read it.
pub fn store(
    directory: &Directory,
    tree: &PolicyTree,
    signed: &SignedPolicy,
    office: &Office,
) -> std::io::Result<PathBuf> {
    let folder = directory.signed_policies();
    std::fs::create_dir_all(&folder)?;
    let (temporary, target) = (folder.join(".new"), folder.join(format!("{:06}", signed.number)));
    if temporary.try_exists()? {
        std::fs::remove_dir_all(&temporary)?;
    }
    write_tree(&temporary, tree, signed)?;
    write_new(&temporary.join(OFFICE), &serde_json::to_string_pretty(office).map_err(std::io::Error::other)?)?;
    std::fs::rename(&temporary, &target)?;
    std::fs::File::open(&folder)?.sync_all()?;
    Ok(target)
}

/// Writes a tree and its signatures into a folder that does not exist yet.
pub fn write_tree(folder: &Path, tree: &PolicyTree, signed: &SignedPolicy) -> std::io::Result<()> {
    std::fs::create_dir(folder)?;
    for (name, text) in tree {
        write_new(&folder.join(name), text)?;
    }
    write_new(&folder.join(SIGNATURES), &signed.print())?;
    std::fs::File::open(folder)?.sync_all()
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Who came into office or stayed there when the policy in the folder was activated; none if nobody noted it.
pub fn read_office(folder: &Path) -> Result<Option<Office>, SignedPolicyError> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| SignedPolicyError::Office(error.to_string());
    let file = match std::fs::File::open(folder.join(OFFICE)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    file.take(SIGNATURES_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    serde_json::from_str(&text).map(Some).map_err(|error| SignedPolicyError::Office(error.to_string()))
}

fn finding(folder: &Path, error: &SignedPolicyError) -> Finding {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let remedy = "activate a policy that enough officers of node.toml have signed; restore the folder from a backup if it was \
                  damaged";
    Finding::in_file(&format!("signed-policies/{name}"), error.to_string(), remedy)
}

// === what was in force ===

/// The number of the last signed policy that a process had in force.
#[derive(Clone, Debug)]
pub struct PolicyMemory {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Remembered {
    number: u64,
    digest: String,
}

// === impl PolicyMemory ===

impl PolicyMemory {
    /// That of a process of the node.
    #[must_use]
    pub fn of(directory: &Directory, process: &str) -> Self {
        // Each process has one folder that it may write to.
        let folder = if process == "gateway" { directory.gateway() } else { directory.data() };
        Self { path: folder.join("policy.json") }
    }

    /// The highest number that was in force; 0 if there was none.
    pub fn highest(&self) -> Result<u64, Finding> {
        Ok(self.read()?.map_or(0, |known| known.number))
    }

    /// Refuses what is older than what was in force.
    pub fn admit(&self, signed: Option<&SignedBy>) -> Result<(), Finding> {
        let Some(known) = self.read()? else { return Ok(()) };
        let refused = |text: String, remedy: &str| Err(Finding::in_file("signed-policies", text, remedy));
        match signed {
            None => refused(
                format!("policy {} was signed, and now node.toml names no officers", known.number),
                "restore [officers]; to do without signatures for good, see the operations manual",
            ),
            Some(signed) if signed.number < known.number => refused(
                format!("policy {} is older than {}, which was in force", signed.number, known.number),
                "restore the folder of the newer one; an older policy comes back with `schleuse policy rollback`",
            ),
            Some(signed) if signed.number == known.number && signed.digest != known.digest => refused(
                format!("policy {} is not the one of that number that was in force", signed.number),
                "sign the tree again with the next number",
            ),
            Some(_) => Ok(()),
        }
    }

    /// Refuses what is older, and remembers what is newer.
    pub fn remember(&self, signed: Option<&SignedBy>) -> Result<(), Finding> {
        self.admit(signed)?;
        let Some(signed) = signed else { return Ok(()) };
        if self.read()?.is_some_and(|known| known.number == signed.number) {
            return Ok(());
        }
        let remembered = Remembered { number: signed.number, digest: signed.digest.clone() };
        self.write(&remembered).map_err(|error| self.unusable(&error))
    }

    fn read(&self) -> Result<Option<Remembered>, Finding> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| self.unusable(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    fn write(&self, remembered: &Remembered) -> std::io::Result<()> {
        let temporary = self.path.with_extension("json.new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(remembered).map_err(std::io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }

    fn unusable(&self, error: &dyn fmt::Display) -> Finding {
        let remedy = "restore it from a backup; without it an older policy cannot be told from a newer one";
        Finding::in_file(&self.path.display().to_string(), format!("cannot be used: {error}"), remedy)
    }
}

#[cfg(test)]
mod tests;
