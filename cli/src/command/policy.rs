//! `schleuse policy`: officers sign a policy, enough signatures put it in force, and an older one comes back under a new
//! number.
//!
//! Signing needs no node: an officer works on a copy of `policies/` at his own desk and sends `signatures.json` on. What is
//! activated is verified, proven and tried with both programs before the node is told; a policy that they refuse is put
//! aside, so that the one in force stays and the next start finds it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use certs::{CertError, Credentials, SignedPurpose};
use node::officers::{Office, SealProblem};
use node::signed_policy::{self, PolicyTree, SIGNATURES, SignedPolicyError};
use node::{Directory, Officers, PolicyMemory, Seal, Settings, SignedPolicy};
use policies::Policy;
use policies::proof::CounterExample;
use serde_json::{Value, json};
use settings::Finding;
use time::OffsetDateTime;

use super::{block, check, fail};
use crate::admin::{AdminError, Node};
use crate::arguments::{Format, OfficerKey, PolicyActivate, PolicyRollback, PolicySign, PolicyVerify};
use crate::local::{Local, LocalError};
use crate::output::{answer, printable};

/// How long the gateway may take to follow the engine.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error("{}", lines(.0))]
    Findings(Vec<Finding>),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{0}; remedy: {remedy}", remedy = .0.remedy())]
    Key(#[from] CertError),
    #[error(transparent)]
    Signed(#[from] SignedPolicyError),
    #[error("cannot be signed: the signature {0}")]
    Seal(#[from] SealProblem),
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    #[error("node.toml has no [officers]; name their certificates and how many must sign")]
    NoOfficers,
    #[error("the node's organisation is not known here: name it with --organization-identifier, and --number")]
    Organization,
    #[error("{0} is no officer of node.toml")]
    NoOfficer(String),
    #[error("{0} has signed this policy already")]
    Again(String),
    #[error("the certificate of {0} is not valid now")]
    NotValid(String),
    #[error("number {number} is not above {highest}, which was in force; sign the draft again")]
    Downgrade { number: u64, highest: u64 },
    #[error("an invariant of the policy language is broken: {0}")]
    Proof(Box<CounterExample>),
    #[error("the node would refuse it, and the policy in force stays:\n{0}")]
    Refused(String),
    #[error("no policy with number {0} was activated")]
    NoSuch(u64),
    #[error("there is no policy before the one in force")]
    NothingBefore,
    #[error("{0}")]
    Program(String),
    #[error("the policy was activated, but the node keeps the one before: {0}")]
    Node(AdminError),
}

impl PolicyError {
    const fn code(&self) -> u8 {
        match self {
            Self::Findings(_) | Self::NoOfficers => 78,
            Self::Organization => 2,
            Self::Local(error) => error.code(),
            _ => 1,
        }
    }
}

/// What became of a signed policy.
struct Activated {
    number: u64,
    digest: String,
    officers: Vec<String>,
    /// Whether the running node obeys it; none if no node runs.
    in_force: Option<bool>,
}

pub(super) fn sign(arguments: &PolicySign, format: Format) -> u8 {
    match sign_draft(arguments) {
        Ok((signed, officers)) => report_signed(&signed, officers.as_ref(), "schleuse policy activate", format),
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) fn verify(arguments: &PolicyVerify, format: Format) -> u8 {
    let verified = load_settings(&arguments.directory).and_then(|settings| {
        let folder = match &arguments.policies {
            Some(folder) => folder.clone(),
            None => newest(&settings.directory)?.1,
        };
        let (tree, signed) = signed_policy::read_signed(&folder).map_err(PolicyError::Findings)?;
        Ok(signed.verify(settings.organization_identifier.as_str(), &tree, &officers(&settings)?)?)
    });
    match verified {
        Ok(by) => {
            let text = || format!("{by}\ndigest {}\n", by.digest);
            answer(format, text, || json!({ "number": by.number, "digest": by.digest, "officers": by.officers }));
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn activate(arguments: &PolicyActivate, format: Format) -> u8 {
    let activated = async {
        let local = Candidate::load(&arguments.directory)?;
        let folder = local.settings.directory.policies();
        let (tree, mut signed) = signed_policy::read_signed(&folder).map_err(PolicyError::Findings)?;
        for file in &arguments.signatures {
            let more = SignedPolicy::read(file)?;
            let known = |seal: &Seal| signed.signatures.iter().any(|own| own.officer == seal.officer);
            let added: Vec<Seal> = more.signatures.into_iter().filter(|seal| !known(seal)).collect();
            signed.signatures.extend(added);
        }
        local.put_in_force(&tree, &signed).await
    };
    report_activated(activated.await, format)
}

pub(super) async fn rollback(arguments: &PolicyRollback, format: Format) -> u8 {
    let result = async {
        let local = Candidate::load(&arguments.directory)?;
        let (tree, signed) = local.sign_rollback(arguments)?;
        if !is_enough(&signed, &local.officers) {
            return Ok(Err(signed));
        }
        let activated = local.put_in_force(&tree, &signed).await?;
        let folder = rollback_folder(&local.settings.directory);
        std::fs::remove_dir_all(&folder).map_err(|error| PolicyError::File(folder, error))?;
        Ok(Ok(activated))
    };
    match result.await {
        Ok(Ok(activated)) => report_activated(Ok(activated), format),
        Ok(Err(signed)) => {
            let named = load_settings(&arguments.directory).and_then(|settings| officers(&settings)).ok();
            report_signed(&signed, named.as_ref(), "the next officer runs the same command", format)
        }
        Err(error) => report_activated(Err(error), format),
    }
}

// === signing ===

fn sign_draft(arguments: &PolicySign) -> Result<(SignedPolicy, Option<Officers>), PolicyError> {
    let directory = Directory::new(&arguments.directory);
    let folder = arguments.policies.clone().unwrap_or_else(|| directory.policies());
    let tree = node::read_policy_folder(&folder).map_err(PolicyError::Findings)?;
    Policy::load(&tree).map_err(PolicyError::Findings)?;
    // At an officer's desk there is no node.
    let settings = match std::fs::metadata(directory.node_toml()) {
        Ok(_) => Some(load_settings(&arguments.directory)?),
        Err(_) => None,
    };
    let path = folder.join(SIGNATURES);
    let existing = match std::fs::metadata(&path) {
        Ok(_) => Some(SignedPolicy::read(&path)?),
        Err(_) => None,
    };
    let known = settings.as_ref().map(|settings| settings.organization_identifier.as_str().to_owned());
    let known = known.or_else(|| arguments.organization_identifier.clone());
    let organization = known
        .or_else(|| existing.as_ref().map(|signed| signed.organization.clone()))
        .ok_or(PolicyError::Organization)?;
    let highest = highest(&directory)?;
    let officers = settings.as_ref().map(officers).transpose()?;
    let change = match &officers {
        Some(_) if arguments.officers_lost => Some(ChangeOfOfficers::default()),
        Some(officers) => Some(change_of_officers(&directory, officers)?),
        None => None,
    };
    let is_same = |signed: &SignedPolicy| {
        signed.number > highest
            && arguments.number.is_none_or(|number| number == signed.number)
            && signed.check_tree(&organization, &tree).is_ok()
            && change.as_ref().is_none_or(|change| change.is_of(signed))
    };
    let mut signed = match existing.filter(is_same) {
        Some(signed) => signed,
        None if settings.is_none() && arguments.number.is_none() => return Err(PolicyError::Organization),
        None => {
            let fresh = SignedPolicy::new(&organization, arguments.number.unwrap_or(highest + 1), &tree);
            match change {
                Some(change) => change.into(fresh),
                None => fresh,
            }
        }
    };
    if signed.number <= highest {
        return Err(PolicyError::Downgrade { number: signed.number, highest });
    }
    add_seal(&mut signed, officers.as_ref(), &arguments.key)?;
    write_atomically(&path, &signed.print()).map_err(|error| PolicyError::File(path, error))?;
    Ok((signed, officers))
}

fn add_seal(signed: &mut SignedPolicy, officers: Option<&Officers>, key: &OfficerKey) -> Result<(), PolicyError> {
    let credentials = Credentials::load(&key.certificate, &key.private_key)?;
    let (certificate, now) = (credentials.certificate(), OffsetDateTime::now_utc());
    let name = certificate.subject().to_string();
    let before = signed.predecessors.as_ref().and_then(|office| office.officers().ok());
    let is_one = |officers: &Officers| officers.find(certificate.sha256()).is_some();
    if officers.is_some_and(|officers| !is_one(officers)) && !before.as_ref().is_some_and(is_one) {
        return Err(PolicyError::NoOfficer(name));
    }
    if !certificate.is_valid_at(now) {
        return Err(PolicyError::NotValid(name));
    }
    if signed.signatures.iter().any(|seal| seal.officer == certificate.sha256()) {
        return Err(PolicyError::Again(name));
    }
    let seal = Seal::make(&credentials, SignedPurpose::Policy, &signed.content(), now)?;
    signed.signatures.push(seal);
    Ok(())
}

/// What an officer must see before his signature brings others into office.
fn change_text(signed: &SignedPolicy) -> String {
    let (Some(before), Some(after)) = (&signed.predecessors, &signed.officers) else { return String::new() };
    let line = |word: &str, office: &Office| {
        let names: Vec<String> = office.names().iter().map(|name| format!("    {}\n", printable(name))).collect();
        format!("{word}, of whom {} must sign:\n{}", office.required, names.concat())
    };
    format!("the officers change with it\n{}{}", line("before", before), line("after", after))
}

/// Who comes into office with the next policy, and who was before; nothing if `node.toml` names those in office.
#[derive(Clone, Default)]
struct ChangeOfOfficers {
    after: Option<Office>,
    before: Option<Office>,
}

impl ChangeOfOfficers {
    fn is_of(&self, signed: &SignedPolicy) -> bool {
        signed.officers == self.after && signed.predecessors == self.before
    }

    fn into(self, signed: SignedPolicy) -> SignedPolicy {
        SignedPolicy { officers: self.after, predecessors: self.before, ..signed }
    }
}

fn change_of_officers(directory: &Directory, named: &Officers) -> Result<ChangeOfOfficers, PolicyError> {
    let Some((_, folder)) = activated(directory)?.pop() else { return Ok(ChangeOfOfficers::default()) };
    let in_office = signed_policy::read_office(&folder)?;
    let is_other = |office: &Office| !office.officers().is_ok_and(|officers| officers.are_same(named));
    Ok(match in_office.filter(is_other) {
        Some(before) => ChangeOfOfficers { after: Some(Office::of(named)), before: Some(before) },
        None => ChangeOfOfficers::default(),
    })
}

/// Whether enough have signed, of those before as well if the officers change.
fn is_enough(signed: &SignedPolicy, named: &Officers) -> bool {
    let enough = |officers: &Officers| {
        signed.signatures.iter().filter(|seal| officers.find(&seal.officer).is_some()).count() >= officers.required()
    };
    enough(named)
        && signed.predecessors.as_ref().is_none_or(|office| office.officers().is_ok_and(|officers| enough(&officers)))
}

fn report_signed(signed: &SignedPolicy, officers: Option<&Officers>, next: &str, format: Format) -> u8 {
    let (count, required) = (signed.signatures.len(), officers.map(Officers::required));
    let of = required.map_or_else(String::new, |required| format!(" of {required}"));
    let next = match officers {
        Some(officers) if is_enough(signed, officers) => format!("enough: {next}"),
        _ => "further officers sign the same files with this signatures.json beside them".to_owned(),
    };
    answer(
        format,
        || {
            let names: Vec<String> =
                signed.signatures.iter().map(|seal| format!("    {}\n", printable(&seal.name))).collect();
            let (number, digest) = (signed.number, &signed.digest);
            let change = change_text(signed);
            format!("policy {number}, digest {digest}\n{change}{count}{of} signatures:\n{}{next}\n", names.concat())
        },
        || json!({ "number": signed.number, "digest": signed.digest, "signatures": count, "required": required }),
    );
    0
}

// === activation ===

/// The node for which a policy is put in force.
struct Candidate {
    directory: PathBuf,
    settings: Settings,
    officers: Officers,
}

impl Candidate {
    fn load(directory: &Path) -> Result<Self, PolicyError> {
        let settings = load_settings(directory)?;
        let officers = officers(&settings)?;
        Ok(Self { directory: directory.to_owned(), settings, officers })
    }

    /// Verifies, proves, tries and activates; then tells the node and waits for it.
    async fn put_in_force(&self, tree: &PolicyTree, signed: &SignedPolicy) -> Result<Activated, PolicyError> {
        let by = signed.verify(self.settings.organization_identifier.as_str(), tree, &self.officers)?;
        let highest = highest(&self.settings.directory)?;
        if by.number <= highest {
            return Err(PolicyError::Downgrade { number: by.number, highest });
        }
        let now = OffsetDateTime::now_utc();
        if let Some(late) = signed.signers(&self.officers)?.into_iter().find(|signer| !signer.is_valid_at(now)) {
            return Err(PolicyError::NotValid(late.subject().to_string()));
        }
        let policy = Policy::load(tree).map_err(PolicyError::Findings)?;
        let list = Local::allow_list_of(&self.settings)?;
        policies::proof::prove(&policy, &list).map_err(PolicyError::Proof)?;
        let folder = signed_policy::store(&self.settings.directory, tree, signed, &Office::of(&self.officers))
            .map_err(|error| PolicyError::File(self.settings.directory.signed_policies(), error))?;
        if let Err(refused) = self.try_programs().await {
            let aside = folder.with_extension("refused");
            std::fs::rename(&folder, &aside).map_err(|error| PolicyError::File(folder, error))?;
            return Err(refused);
        }
        let in_force = self.tell_node(&by.digest, by.number).await?;
        Ok(Activated { number: by.number, digest: by.digest, officers: by.officers, in_force })
    }

    /// The programs load the node with the new policy, as their start would.
    async fn try_programs(&self) -> Result<(), PolicyError> {
        let found = check::findings(&self.directory).await;
        let found = found.map_err(|error| PolicyError::Program(error.to_string()))?;
        let errors: Vec<String> = found.iter().filter_map(check::Found::error).collect();
        if !errors.is_empty() {
            return Err(PolicyError::Refused(errors.join("\n")));
        }
        Ok(())
    }

    /// Whether the running node obeys the policy; none if it does not run.
    async fn tell_node(&self, digest: &str, number: u64) -> Result<Option<bool>, PolicyError> {
        match Node::at(&self.directory).post::<Value>("/reload", &json!({})).await {
            Ok(_) => {}
            Err(AdminError::NotReachable { .. }) => return Ok(None),
            Err(error) => return Err(PolicyError::Node(error)),
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let ready = block::ready(self.settings.management.address).await;
            // The same files may come under another number. A gateway that knows no officers yet tells none.
            let is_it = |ready: Value| {
                let known = ready.get("policy-number").and_then(Value::as_u64);
                ready.get("policy-version").and_then(Value::as_str) == Some(digest) && known.is_none_or(|n| n == number)
            };
            if ready.is_some_and(is_it) {
                return Ok(Some(true));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(false))
    }

    /// The tree of an older policy under the next number, with one more signature.
    fn sign_rollback(&self, arguments: &PolicyRollback) -> Result<(PolicyTree, SignedPolicy), PolicyError> {
        let directory = &self.settings.directory;
        let all = activated(directory)?;
        let target = match arguments.to {
            Some(wanted) => all.iter().find(|(number, _)| *number == wanted).ok_or(PolicyError::NoSuch(wanted))?,
            None => all.iter().rev().nth(1).ok_or(PolicyError::NothingBefore)?,
        };
        let organization = self.settings.organization_identifier.as_str();
        let (tree, before) = signed_policy::read_signed(&target.1).map_err(PolicyError::Findings)?;
        before.check_tree(organization, &tree)?;
        let (folder, highest) = (rollback_folder(directory), highest(directory)?);
        let begun = std::fs::metadata(&folder).ok().and_then(|_| SignedPolicy::read(&folder.join(SIGNATURES)).ok());
        let change = change_of_officers(directory, &self.officers)?;
        let is_same = |signed: &SignedPolicy| {
            signed.number > highest && signed.check_tree(organization, &tree).is_ok() && change.is_of(signed)
        };
        let fresh = || change.clone().into(SignedPolicy::new(organization, highest + 1, &tree));
        let mut signed = begun.filter(is_same).unwrap_or_else(fresh);
        add_seal(&mut signed, Some(&self.officers), &arguments.key)?;
        let failed = |error| PolicyError::File(folder.clone(), error);
        if folder.try_exists().map_err(failed)? {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        signed_policy::write_tree(&folder, &tree, &signed).map_err(failed)?;
        Ok((tree, signed))
    }
}

fn report_activated(activated: Result<Activated, PolicyError>, format: Format) -> u8 {
    let Activated { number, digest, officers, in_force } = match activated {
        Ok(activated) => activated,
        Err(error) => return fail(&error, error.code()),
    };
    let state = match in_force {
        Some(true) => "in force",
        Some(false) => "activated, but the gateway does not say that it is in force; see its log",
        None => "activated; no node runs, it will be in force when one starts",
    };
    answer(
        format,
        || format!("policy {number}, digest {digest}, signed by {}: {state}\n", printable(&officers.join("; "))),
        || json!({ "number": number, "digest": digest, "officers": officers, "in-force": in_force }),
    );
    u8::from(in_force == Some(false))
}

// === the node's files ===

fn load_settings(directory: &Path) -> Result<Settings, PolicyError> {
    node::load(&Directory::new(directory)).map(|(settings, _)| settings).map_err(PolicyError::Findings)
}

fn officers(settings: &Settings) -> Result<Officers, PolicyError> {
    let named = settings.officers.as_ref().ok_or(PolicyError::NoOfficers)?;
    Officers::load(named).map_err(PolicyError::Findings)
}

fn activated(directory: &Directory) -> Result<Vec<(u64, PathBuf)>, PolicyError> {
    signed_policy::activated(directory).map_err(|error| PolicyError::File(directory.signed_policies(), error))
}

fn newest(directory: &Directory) -> Result<(u64, PathBuf), PolicyError> {
    activated(directory)?.pop().ok_or(PolicyError::NothingBefore)
}

/// The highest number that was activated or in force.
fn highest(directory: &Directory) -> Result<u64, PolicyError> {
    let mut highest = activated(directory)?.last().map_or(0, |(number, _)| *number);
    for process in ["gateway", "engine"] {
        let known = PolicyMemory::of(directory, process).highest();
        highest = highest.max(known.map_err(|finding| PolicyError::Findings(vec![finding]))?);
    }
    Ok(highest)
}

/// Where officers sign a rollback one after the other.
fn rollback_folder(directory: &Directory) -> PathBuf {
    directory.signed_policies().join("rollback")
}

fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    std::fs::write(&temporary, text)?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, path)
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
