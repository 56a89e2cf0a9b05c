//! What a person does with data sets at a node, over its FHIR interface: ask, decide, look, fetch. The commands and the
//! demonstration use the same functions.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::{Object, Resource, Value as Tree};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::own::{Own, OwnError};

const BASE: &str = "http://schleuse.example";
const SYSTEM: &str = "http://schleuse.example/fhir/CodeSystem/data-sharing";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const VERSION: &str = "1.0";
/// The processes, by the role of the node.
const PROCESSES: [&str; 6] = [
    "researchRequest",
    "extractPseudonymised",
    "linkAndPseudonymise",
    "mergeAndProvide",
    "withdrawConsent",
    "reidentifyPerson",
];
/// The forms of an approval.
pub(crate) const APPROVALS: [&str; 2] = ["approve-extraction", "confirm-extraction"];
/// The form of a re-identification.
pub(crate) const REIDENTIFICATIONS: [&str; 1] = ["approve-reidentification"];
/// The form of a release.
pub(crate) const RELEASES: [&str; 1] = ["release-data-set"];
/// Tasks on a page of the search.
const TASKS: usize = 200;
/// Pages that are looked through; who has more Tasks looks at the newest of them.
const PAGES: usize = 25;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataSetError {
    #[error(transparent)]
    Node(#[from] OwnError),
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {problem}")]
    Definition { path: PathBuf, problem: String },
    #[error("the node takes no part in a run {0}; `schleuse data-set status` shows those that it does")]
    NoRun(String),
    #[error("nothing of run {run} waits for {what} at this node; `schleuse data-set status` says how it stands")]
    NothingWaits { run: String, what: &'static str },
    #[error("nobody was found in run {0}, or it is not kept any more")]
    Nobody(String),
    #[error("the data set of run {run} is not here: the request is {status}{reason}")]
    NoDataSet { run: String, status: String, reason: String },
    #[error("the data set of run {run} was deleted at {time}, when its retention was over")]
    Deleted { run: String, time: String },
    #[error("the file {0} of the data set is not what the signed manifest says; nothing was written")]
    Damaged(String),
}

/// What is asked for.
pub(crate) struct Wanted<'w> {
    pub(crate) project: &'w str,
    pub(crate) definition: &'w [u8],
    pub(crate) data_management_site: &'w str,
    pub(crate) trusted_third_party: &'w str,
    pub(crate) sites: &'w [String],
    pub(crate) decision: Option<&'w str>,
    pub(crate) approval_time: &'w str,
    pub(crate) transfer_time: &'w str,
    pub(crate) retention: &'w str,
    pub(crate) minimum_cohort: u32,
    pub(crate) pseudonyms: &'w str,
}

/// A part that this node has in a run.
pub(crate) struct Part {
    pub(crate) run: String,
    pub(crate) process: String,
    pub(crate) task: Resource,
}

/// The manifest of a data set.
#[derive(Debug, Deserialize)]
struct Manifest {
    parts: Vec<ManifestPart>,
}

#[derive(Debug, Deserialize)]
struct ManifestPart {
    name: String,
    sha256: String,
}

/// A file of a data set.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Asks; gives the run.
pub(crate) async fn request(node: &Own, organization: &str, wanted: &Wanted<'_>) -> Result<String, DataSetError> {
    let run = uuid::Uuid::new_v4().to_string();
    let library = node.post("/Library", &library(&run, wanted)).await?;
    let mut task = task(&run, organization, wanted, library.id().unwrap_or_default());
    task.set("requester", node.author());
    node.post("/Task", &task).await?;
    Ok(run)
}

fn library(run: &str, wanted: &Wanted<'_>) -> Resource {
    let tag = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "LOCAL");
    let mut library = Resource::new("Library");
    library.set("meta", Object::new().with("tag", vec![tag.into()]));
    library.set("url", format!("urn:uuid:{run}"));
    library.set("version", "1.0");
    library.set("name", "ExtractionDefinition");
    library.set("status", "active");
    let kind = Object::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/library-type")
        .with("code", "logic-library");
    library.set("type", Object::new().with("coding", vec![kind.into()]));
    let content =
        Object::new().with("contentType", "application/json").with("data", STANDARD.encode(wanted.definition));
    library.push("content", content);
    library
}

fn task(run: &str, organization: &str, wanted: &Wanted<'_>, library: &str) -> Resource {
    let mut task = start(run, organization, "researchRequest", "task-research-request");
    let string = |code: &str, value: &str| input(SYSTEM, code).with("valueString", value);
    task.push("input", string("project", wanted.project));
    task.push("input", input(SYSTEM, "definition").with("valueUrl", format!("Library/{library}")));
    if let Some(decision) = wanted.decision {
        task.push("input", string("decision", decision));
    }
    for (code, organization) in
        [("data-management-site", wanted.data_management_site), ("trusted-third-party", wanted.trusted_third_party)]
    {
        task.push("input", input(SYSTEM, code).with("valueIdentifier", identifier(organization)));
    }
    for site in wanted.sites {
        task.push("input", input(SYSTEM, "site").with("valueIdentifier", identifier(site)));
    }
    task.push("input", string("approval-time", wanted.approval_time));
    task.push("input", string("transfer-time", wanted.transfer_time));
    task.push("input", string("retention", wanted.retention));
    task.push("input", input(SYSTEM, "minimum-cohort").with("valueUnsignedInt", i64::from(wanted.minimum_cohort)));
    task.push("input", input(SYSTEM, "pseudonyms").with("valueCode", wanted.pseudonyms));
    task
}

/// A Task to this node that starts a process of the same name as its message.
fn start(run: &str, organization: &str, message: &str, profile: &str) -> Resource {
    let mut task = Resource::new("Task");
    let profile = format!("{BASE}/fhir/StructureDefinition/{profile}|{VERSION}");
    task.set("meta", Object::new().with("profile", vec![Tree::from(profile)]));
    task.set("instantiatesCanonical", format!("{BASE}/bpe/Process/{message}|{VERSION}"));
    task.set("status", "requested");
    task.set("intent", "order");
    task.set("authoredOn", fhir::date::format_instant(time::OffsetDateTime::now_utc()));
    let recipient = Object::new().with("type", "Organization").with("identifier", identifier(organization));
    task.set("restriction", Object::new().with("recipient", vec![recipient.into()]));
    task.push("input", input(BPMN_MESSAGE, "message-name").with("valueString", message));
    task.push("input", input(BPMN_MESSAGE, "business-key").with("valueString", run));
    task
}

/// Begins to look for who has withdrawn since the run.
pub(crate) async fn withdraw(node: &Own, organization: &str, run: &str) -> Result<(), DataSetError> {
    part(node, run, "extractPseudonymised").await?;
    let mut task = start(run, organization, "withdrawConsent", "task-withdraw-consent");
    task.set("requester", node.author());
    node.post("/Task", &task).await?;
    Ok(())
}

/// Asks who a person of the run is.
pub(crate) async fn reidentify(
    node: &Own,
    organization: &str,
    run: &str,
    (pseudonym, reason, approval_time): (&str, &str, &str),
) -> Result<(), DataSetError> {
    part(node, run, "researchRequest").await?;
    let mut task = start(run, organization, "reidentifyPerson", "task-reidentify-person");
    task.set("requester", node.author());
    for (code, value) in [("pseudonym", pseudonym), ("reason", reason), ("approval-time", approval_time)] {
        task.push("input", input(SYSTEM, code).with("valueString", value));
    }
    node.post("/Task", &task).await?;
    Ok(())
}

/// Who was found in the run, newest first, as far as it is still kept.
pub(crate) async fn patients(node: &Own, run: &str) -> Result<Vec<String>, DataSetError> {
    #[derive(Deserialize)]
    struct Found {
        patient: String,
    }
    let parts = parts(node).await?.into_iter().filter(|part| part.run == run && part.process == "reidentifyPerson");
    let mut found = Vec::new();
    for url in parts.filter(|part| part.status() != "completed").filter_map(|part| part.output("patient")) {
        let id = url.rsplit('/').next().unwrap_or_default().to_owned();
        let bytes = node.content(&format!("/Binary/{id}")).await?;
        let read: Found = serde_json::from_slice(&bytes).map_err(|_| DataSetError::Damaged("patient".to_owned()))?;
        found.push(read.patient);
    }
    Ok(found)
}

fn input(system: &str, code: &str) -> Object {
    let coding = Object::new().with("system", system).with("code", code);
    Object::new().with("type", Object::new().with("coding", vec![coding.into()]))
}

fn identifier(organization: &str) -> Object {
    Object::new().with("system", ORGANIZATION_IDENTIFIER).with("value", organization)
}

/// The parts that the node has in runs, newest first.
pub(crate) async fn parts(node: &Own) -> Result<Vec<Part>, DataSetError> {
    let mut tasks = Vec::new();
    for page in 1..=PAGES {
        let found = node.get(&format!("/Task?_sort=-_lastUpdated&_count={TASKS}&_page={page}")).await?;
        let entries = found.list("entry");
        tasks.extend(entries.iter().filter_map(|entry| entry.get("resource")?.as_object().cloned()));
        if entries.len() < TASKS {
            break;
        }
    }
    let parts = tasks.into_iter().filter_map(|tree| {
        let task = Resource::from_tree(tree).ok()?;
        let canonical = task.str("instantiatesCanonical")?.strip_prefix(BASE)?.strip_prefix("/bpe/Process/")?;
        let process = canonical.split('|').next()?.to_owned();
        // Messages of a run are Tasks of the same processes; what starts a part is what counts.
        let is_start = starts(&process).contains(&value(&task, BPMN_MESSAGE, "message-name")?.as_str());
        let run = value(&task, BPMN_MESSAGE, "business-key")?;
        (is_start && PROCESSES.contains(&process.as_str())).then_some(Part { run, process, task })
    });
    Ok(parts.collect())
}

fn starts(process: &str) -> &'static [&'static str] {
    match process {
        "extractPseudonymised" => &["extractPseudonymised"],
        "linkAndPseudonymise" => &["linkageSetup"],
        "mergeAndProvide" => &["mergeSetup"],
        "withdrawConsent" => &["withdrawConsent", "withdrawalNotice", "withdrawalOrder", "dataSetRevised"],
        "reidentifyPerson" => &["reidentifyPerson", "reidentificationRequest", "reidentificationOrder"],
        _ => &["researchRequest"],
    }
}

fn value(task: &Resource, system: &str, code: &str) -> Option<String> {
    values(task, "input", system, code).into_iter().next()
}

/// The texts of inputs or outputs with a code.
fn values(task: &Resource, list: &str, system: &str, code: &str) -> Vec<String> {
    of_code(task, list, system, code).filter_map(text_of).collect()
}

fn of_code<'t>(task: &'t Resource, list: &str, system: &'t str, code: &'t str) -> impl Iterator<Item = &'t Tree> {
    task.list(list).iter().filter(move |item| {
        let codings = item.get("type").map_or(&[][..], |kind| kind.list("coding"));
        codings.iter().any(|coding| coding.str("system") == Some(system) && coding.str("code") == Some(code))
    })
}

fn text_of(item: &Tree) -> Option<String> {
    let names = ["valueString", "valueUrl", "valueCode", "valueInstant"];
    names.into_iter().find_map(|name| item.str(name)).map(str::to_owned).or_else(|| {
        match item.get("valueUnsignedInt") {
            Some(Tree::Number(number)) => Some(number.as_str().to_owned()),
            _ => None,
        }
    })
}

impl Part {
    /// Status of the Task.
    pub(crate) fn status(&self) -> &str {
        self.task.str("status").unwrap_or("-")
    }

    pub(crate) fn project(&self) -> String {
        value(&self.task, SYSTEM, "project").unwrap_or_default()
    }

    /// Why it failed, in words for the people of this node.
    pub(crate) fn error(&self) -> Option<String> {
        values(&self.task, "output", BPMN_MESSAGE, "error").into_iter().next()
    }

    /// A count or time of the outputs.
    pub(crate) fn output(&self, code: &str) -> Option<String> {
        values(&self.task, "output", SYSTEM, code).into_iter().next()
    }

    /// Outcomes by site.
    pub(crate) fn outcomes(&self) -> Vec<(String, String)> {
        let outcomes = of_code(&self.task, "output", SYSTEM, "outcome").filter_map(|output| {
            let site = output.list("extension").first()?.get("valueIdentifier")?.str("value")?;
            Some((site.to_owned(), output.str("valueCode")?.to_owned()))
        });
        outcomes.collect()
    }
}

/// The part of this node in a run.
pub(crate) async fn part(node: &Own, run: &str, process: &str) -> Result<Part, DataSetError> {
    let found = parts(node).await?.into_iter().find(|part| part.run == run && part.process == process);
    found.ok_or_else(|| DataSetError::NoRun(run.to_owned()))
}

/// User tasks of data sharing that wait, with their run and form.
pub(crate) async fn waiting(node: &Own) -> Result<Vec<(String, String, Resource)>, DataSetError> {
    let found = node.get(&format!("/QuestionnaireResponse?status=in-progress&_count={TASKS}")).await?;
    let responses = found.list("entry").iter().filter_map(|entry| entry.get("resource")?.as_object().cloned());
    let waiting = responses.filter_map(|tree| {
        let response = Resource::from_tree(tree).ok()?;
        let form = response.str("questionnaire")?.strip_prefix(BASE)?.strip_prefix("/fhir/Questionnaire/")?;
        let form = form.split('|').next()?.to_owned();
        let run = fhir::questionnaire::answer(&response, "business-key")?.str("valueString")?.to_owned();
        Some((run, form, response))
    });
    Ok(waiting.collect())
}

/// Answers a user task with a yes or no.
pub(crate) async fn answer(node: &Own, mut response: Resource, item: &str, yes: bool) -> Result<(), DataSetError> {
    fhir::questionnaire::set_answer(&mut response, item, Some(Object::new().with("valueBoolean", yes)));
    fhir::questionnaire::set_answer(&mut response, "reason", None);
    response.set("status", "completed");
    response.set("author", node.author());
    response.set("authored", fhir::date::format_instant(time::OffsetDateTime::now_utc()));
    let id = response.id().unwrap_or_default().to_owned();
    node.put(&format!("/QuestionnaireResponse/{id}"), &response).await?;
    Ok(())
}

/// Files of a data set that this node has, each compared with the manifest.
pub(crate) async fn download(node: &Own, run: &str) -> Result<Vec<File>, DataSetError> {
    let mut parts = parts(node).await?;
    parts.retain(|part| part.run == run);
    let deleted = parts.iter().filter(|part| part.process == "researchRequest").find_map(|part| part.output("deleted"));
    if let Some(time) = deleted {
        return Err(DataSetError::Deleted { run: run.to_owned(), time });
    }
    // After a withdrawal the newest revision counts; files of the ones before are gone.
    let has = |part: &&Part| part.output("data-set").is_some();
    let revision = |part: &&Part| part.output("revision").and_then(|number| number.parse().ok()).unwrap_or(0_u64);
    let newest = parts.iter().filter(has).max_by_key(revision);
    let part = newest.or_else(|| parts.iter().find(|part| part.process == "researchRequest"));
    let part = part.ok_or_else(|| DataSetError::NoRun(run.to_owned()))?;
    let Some(url) = part.output("data-set") else {
        let reason = part.error().map(|reason| format!(" ({reason})")).unwrap_or_default();
        return Err(DataSetError::NoDataSet { run: run.to_owned(), status: part.status().to_owned(), reason });
    };
    let id = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
    let bytes = node.content(&format!("/Binary/{}", id(&url))).await?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|_| DataSetError::Damaged("manifest".to_owned()))?;
    let mut files = vec![File { name: "manifest.json".to_owned(), bytes: bytes.to_vec() }];
    for part in &manifest.parts {
        let damaged = || DataSetError::Damaged(crate::output::printable(&part.name));
        let (id, name) = part.name.split_once('/').ok_or_else(damaged)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) || !fhir::reference::is_id(id) {
            return Err(damaged());
        }
        let bytes = node.content(&format!("/Binary/{id}")).await?;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if hash != part.sha256 {
            return Err(damaged());
        }
        files.push(File { name: name.to_owned(), bytes: bytes.to_vec() });
    }
    Ok(files)
}

/// Writes files that are new.
pub(crate) fn write(folder: &Path, files: &[File]) -> Result<(), DataSetError> {
    let fail = |path: &Path, source| DataSetError::File { path: path.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|source| fail(folder, source))?;
    for file in files {
        let path = folder.join(&file.name);
        let new = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let written = new.and_then(|mut new| new.write_all(&file.bytes).and_then(|()| new.sync_all()));
        written.map_err(|source| fail(&path, source))?;
    }
    Ok(())
}
