//! Extract, link, pseudonymise, merge, provide: a data set of several sites for one project (`data-sharing-processes.md`
//! 15.1). Four processes of our own:
//!
//! ```text
//!            researchRequest (HRP)
//!   linkageSetup │     │ extractPseudonymised      │ mergeSetup
//!                ▼     ▼                           ▼
//!     linkAndPseudonymise ◀─ filters ─ extractPseudonymised ─ data set ─▶ mergeAndProvide
//!          (TTP)          ─ date shifts ▶  (each DIC)  ◀─ receipt ─          (DMS)
//!            └──────────────────── pseudonyms ──────────────────────────────▶ │
//!            ◀──────────────────── merged ───────────────────────────────────┘└─ data set provided ─▶ HRP
//! ```
//!
//! Tasks carry references, codes and counts; everything else is a `delivery`: Binaries that are sealed to the one
//! organisation that may read them, and a signed manifest with their hashes. They are deleted after receipt or deadline.
//!
//! Invariants: the TTP gets filters and nothing else; the DMS gets neither filters nor ids, dates or keys of a site; a site
//! learns neither the pseudonyms nor the persons of others; the portal makes the key of the filters and never sees one.
//! What goes wrong at a site is a `failure` code that travels to the portal; the others go on. Every long step may be
//! done again and gives the same result: pseudonyms, shifts and temporary ids follow from keys of the nodes.

pub mod announcement;
mod deliver;
pub(crate) mod delivery;
mod encode;
mod extract;
mod failure;
mod inputs;
mod kept;
mod limits;
mod link;
mod merge;
mod parties;
mod person;
mod reidentification;
mod release;
mod request;
mod rows;
mod site;
mod time_limits;
mod withdrawal;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sealing::{Keyring, Signer};
use secrets::Key;
use sources::Records;

use crate::feasibility::Partners;
use crate::plugin::{Implementations, Plugin};
use crate::step::{BoxFuture, WorkError};

/// Base of the canonicals of these processes.
pub const BASE: &str = "http://schleuse.example";
/// Coding system of inputs and outputs.
pub const SYSTEM: &str = "http://schleuse.example/fhir/CodeSystem/data-sharing";
/// Version of the processes.
pub const VERSION: &str = "1.0";

/// What this set of processes needs of the way to partners beyond reading resources.
pub trait Contents: Partners {
    /// The content of a Binary at a partner's endpoint.
    fn content<'a>(&'a self, base_url: &'a str, id: &'a str) -> BoxFuture<'a, Result<Vec<u8>, WorkError>>;
}

/// The keys of this node.
pub trait Vault: Send + Sync {
    /// What opens what is sealed to this node.
    fn keyring(&self) -> Result<Arc<Keyring>, WorkError>;

    /// Signs with the key of the organisation's certificate.
    fn signer(&self) -> Result<Signer, WorkError>;

    /// The secret from which pseudonyms and date shifts follow.
    fn secret(&self) -> Result<Key, WorkError>;

    /// Whether a certificate (DER) is one of the organisation, by the allow-list.
    fn is_certificate_of(&self, organization: &str, certificate: &[u8]) -> bool;
}

/// The records of this site.
pub trait SiteRecords: Send + Sync {
    /// The records as they are now; an error if the node has none.
    fn open(&self) -> Result<Arc<dyn Records>, WorkError>;
}

/// What the site has decided for every project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteRules {
    /// Whether a second person must confirm an approval.
    pub four_eyes: bool,
    /// Persons below which the site does not take part, whatever is asked.
    pub minimum_cohort: u64,
}

/// What the steps share.
#[derive(Clone)]
pub struct Parts {
    /// The way to partners.
    pub contents: Arc<dyn Contents>,
    /// The keys.
    pub vault: Arc<dyn Vault>,
    /// The records.
    pub records: Arc<dyn SiteRecords>,
    /// The site's decisions.
    pub rules: SiteRules,
}

macro_rules! resource {
    ($path:literal) => {
        ($path, include_str!(concat!("../resources/data-sharing/", $path)))
    };
}

macro_rules! model {
    ($name:literal) => {
        include_str!(concat!("../resources/data-sharing/bpmn/", $name, ".bpmn"))
    };
}

macro_rules! class {
    ($name:literal) => {
        concat!("example.schleuse.datasharing.", $name)
    };
}

/// The plug-in.
#[must_use]
pub fn plugin(parts: &Parts) -> Plugin {
    Plugin {
        name: "data-sharing",
        version: VERSION,
        date: "2026-11-23",
        models: vec![
            model!("research-request"),
            model!("extract-pseudonymised"),
            model!("link-and-pseudonymise"),
            model!("merge-and-provide"),
            model!("withdraw-consent"),
            model!("reidentify-person"),
        ],
        // Terminology before profiles, profiles before what they validate.
        resources: vec![
            resource!("CodeSystem/data-sharing.xml"),
            resource!("ValueSet/data-sharing.xml"),
            resource!("StructureDefinition/extension-correlation-key.xml"),
            resource!("StructureDefinition/extension-outcome-site.xml"),
            resource!("StructureDefinition/task-research-request.xml"),
            resource!("StructureDefinition/task-linkage-setup.xml"),
            resource!("StructureDefinition/task-merge-setup.xml"),
            resource!("StructureDefinition/task-extract-pseudonymised.xml"),
            resource!("StructureDefinition/task-submit-linkage.xml"),
            resource!("StructureDefinition/task-linkage-done.xml"),
            resource!("StructureDefinition/task-pseudonym-map.xml"),
            resource!("StructureDefinition/task-submit-data-set.xml"),
            resource!("StructureDefinition/task-data-set-received.xml"),
            resource!("StructureDefinition/task-merge-done.xml"),
            resource!("StructureDefinition/task-data-set-provided.xml"),
            resource!("StructureDefinition/task-withdraw-consent.xml"),
            resource!("StructureDefinition/task-withdrawal-notice.xml"),
            resource!("StructureDefinition/task-withdrawal-order.xml"),
            resource!("StructureDefinition/task-withdrawal-done.xml"),
            resource!("StructureDefinition/task-data-set-revised.xml"),
            resource!("StructureDefinition/task-reidentify-person.xml"),
            resource!("StructureDefinition/task-reidentification-request.xml"),
            resource!("StructureDefinition/task-reidentification-order.xml"),
            resource!("StructureDefinition/task-reidentification-answer.xml"),
            resource!("Questionnaire/approve-extraction.xml"),
            resource!("Questionnaire/confirm-extraction.xml"),
            resource!("Questionnaire/release-data-set.xml"),
            resource!("Questionnaire/approve-reidentification.xml"),
            resource!("ActivityDefinition/research-request.xml"),
            resource!("ActivityDefinition/extract-pseudonymised.xml"),
            resource!("ActivityDefinition/link-and-pseudonymise.xml"),
            resource!("ActivityDefinition/merge-and-provide.xml"),
            resource!("ActivityDefinition/withdraw-consent.xml"),
            resource!("ActivityDefinition/reidentify-person.xml"),
        ],
        implementations: implementations(parts),
    }
}

fn implementations(parts: &Parts) -> Implementations {
    let all = of_portal(Implementations::default(), parts);
    let all = of_site(all, parts);
    let all = of_third_party(all, parts);
    let all = of_data_management(all, parts);
    let all = of_withdrawal(all, parts);
    of_reidentification(all, parts)
}

fn of_portal(all: Implementations, parts: &Parts) -> Implementations {
    all.with_service(class!("CheckRequest"), request::CheckRequest)
        .with_work(class!("PrepareKeys"), request::PrepareKeys(parts.clone()))
        .with_send(class!("SendLinkageSetup"), request::SendLinkageSetup)
        .with_send(class!("SendMergeSetup"), request::SendMergeSetup)
        .with_send(class!("SendExtractPseudonymised"), request::SendExtractPseudonymised)
        .with_work(class!("ReceiveDataSet"), request::ReceiveDataSet(parts.clone()))
        .with_service(class!("NoteNoAnswer"), failure::Note(failure::NO_ANSWER))
        .with_service(class!("CheckAsked"), request::CheckAsked)
        .with_service(class!("ConcludeRequest"), request::ConcludeRequest)
        .with_service(class!("ForgetDataSet"), request::ForgetDataSet)
}

fn of_site(all: Implementations, parts: &Parts) -> Implementations {
    all.with_service(class!("CheckOrder"), site::CheckOrder(parts.rules))
        .with_work(class!("Preview"), site::Preview(parts.clone()))
        .with_user_task(class!("ShowExtraction"), site::ShowExtraction)
        .with_service(class!("ReadApproval"), site::ReadApproval)
        .with_service(class!("NoteRefusal"), failure::Note(failure::DECLINED))
        .with_service(class!("NoteNoApproval"), failure::Note(failure::NO_APPROVAL))
        .with_work(class!("Encode"), encode::Encode(parts.clone()))
        .with_send(class!("SendSubmitLinkage"), encode::SendSubmitLinkage)
        .with_service(class!("NoteNoLinkage"), failure::Note(failure::NO_LINKAGE))
        .with_work(class!("Deliver"), deliver::Deliver(parts.clone()))
        .with_send(class!("SendSubmitDataSet"), deliver::SendSubmitDataSet)
        .with_service(class!("NoteReceipt"), site::NoteReceipt)
        .with_service(class!("NoteNoReceipt"), failure::Note(failure::NO_RECEIPT))
        .with_service(class!("ConcludeExtraction"), site::ConcludeExtraction)
        .with_service(class!("ForgetSent"), site::ForgetSent)
}

fn of_third_party(all: Implementations, parts: &Parts) -> Implementations {
    all.with_listener(class!("SetCorrelationKey"), parties::SetCorrelationKey)
        .with_service(class!("CheckLinkageSetup"), link::CheckLinkageSetup)
        .with_service(class!("NoteFilters"), parties::NoteSubmission)
        .with_service(class!("NoteNoFilters"), parties::NoteNoSubmission(failure::NO_FILTERS))
        .with_work(class!("Link"), link::Link(parts.clone()))
        .with_send(class!("SendPseudonymMap"), link::SendPseudonymMap)
        .with_send(class!("SendLinkageDone"), link::SendLinkageDone)
        .with_service(class!("ConcludeLinkage"), link::ConcludeLinkage)
        .with_service(class!("ForgetTable"), link::ForgetTable)
}

fn of_data_management(all: Implementations, parts: &Parts) -> Implementations {
    all.with_service(class!("CheckMergeSetup"), merge::CheckMergeSetup)
        .with_service(class!("NoteMap"), merge::NoteMap)
        .with_service(class!("NoteNoMap"), failure::Note(failure::NO_LINKAGE))
        .with_service(class!("NoteDataSet"), parties::NoteSubmission)
        .with_service(class!("NoteNoDataSet"), parties::NoteNoSubmission(failure::NO_DATA_SET))
        .with_work(class!("Merge"), merge::Merge(parts.clone()))
        .with_send(class!("SendDataSetReceived"), merge::SendDataSetReceived)
        .with_send(class!("SendMergeDone"), merge::SendMergeDone)
        .with_user_task(class!("ShowDataSet"), release::ShowDataSet)
        .with_service(class!("ReadRelease"), release::ReadRelease)
        .with_service(class!("NoteNotReleased"), failure::Note(failure::NOT_RELEASED))
        .with_work(class!("Seal"), release::Seal(parts.clone()))
        .with_send(class!("SendDataSetProvided"), release::SendDataSetProvided)
        .with_service(class!("ConcludeMerge"), release::ConcludeMerge)
}

fn of_withdrawal(all: Implementations, parts: &Parts) -> Implementations {
    use withdrawal::{NoteDone, SendDelivery, SendDone, management, portal, site, third_party};
    all.with_service(class!("CheckWithdrawal"), site::CheckWithdrawal)
        .with_work(class!("FindWithdrawn"), site::FindWithdrawn(parts.clone()))
        .with_send(class!("SendWithdrawalNotice"), SendDelivery(self::site::DELIVERY))
        .with_service(class!("NoteWithdrawalDone"), NoteDone)
        .with_service(class!("ConcludeWithdrawal"), site::ConcludeWithdrawal)
        .with_service(class!("CheckNotice"), third_party::CheckNotice)
        .with_work(class!("FindPseudonyms"), third_party::FindPseudonyms(parts.clone()))
        .with_send(class!("SendWithdrawalOrder"), SendDelivery(self::site::DELIVERY))
        .with_work(class!("ForgetPersons"), third_party::ForgetPersons)
        .with_send(class!("SendWithdrawalDone"), SendDone)
        .with_service(class!("ConcludeNotice"), third_party::ConcludeNotice)
        .with_service(class!("CheckRevision"), management::CheckRevision)
        .with_work(class!("Revise"), management::Revise(parts.clone()))
        .with_send(class!("SendDataSetRevised"), management::SendDataSetRevised)
        .with_service(class!("NoteTaken"), management::NoteTaken)
        .with_service(class!("ConcludeRevision"), management::ConcludeRevision)
        .with_service(class!("CheckRevised"), portal::CheckRevised)
        .with_work(class!("ReceiveRevision"), portal::ReceiveRevision(parts.clone()))
        .with_service(class!("ConcludeRevised"), portal::ConcludeRevised)
}

fn of_reidentification(all: Implementations, parts: &Parts) -> Implementations {
    use reidentification::{ShowReidentification, portal, site, third_party};
    all.with_service(class!("CheckReidentification"), portal::CheckReidentification)
        .with_send(class!("SendReidentificationRequest"), portal::SendReidentificationRequest)
        .with_service(class!("NoteAnswer"), portal::NoteAnswer)
        .with_service(class!("ConcludeReidentification"), portal::ConcludeReidentification)
        .with_user_task(class!("ShowReidentification"), ShowReidentification)
        .with_service(class!("CheckPseudonym"), third_party::CheckPseudonym)
        .with_work(class!("FindSites"), third_party::FindSites(parts.clone()))
        .with_send(class!("SendReidentificationOrder"), third_party::SendReidentificationOrder)
        .with_service(class!("NoteSite"), third_party::NoteSite)
        .with_service(class!("NoteNoSite"), third_party::NoteNoSite)
        .with_send(class!("SendReidentificationAnswer"), third_party::SendReidentificationAnswer)
        .with_service(class!("ConcludeResolution"), third_party::ConcludeResolution)
        .with_service(class!("CheckReidentificationOrder"), site::CheckReidentificationOrder)
        .with_work(class!("FindPatient"), site::FindPatient(parts.clone()))
        .with_send(class!("SendSiteAnswer"), site::SendSiteAnswer)
        .with_service(class!("ConcludeIdentity"), site::ConcludeIdentity)
}
