//! `schleuse feasibility run|show`: a question of the node's own organisation to the sites of its network, through the gateway
//! like the portal's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fhir::Resource;
use node::{Directory, Settings};
use serde_json::{Value, json};
use sources::ccdl::Definition;
use tokio::time::Instant;

use super::fail;
use crate::arguments::{FeasibilityRun, FeasibilityShow, Format};
use crate::feasibility::{Asked, Outcome, count_of, failure, outcomes, request_path};
use crate::output::{Table, answer, printable};
use crate::own::{Own, OwnError};

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// What a request needs besides the time in which sites may answer: sending, with its repetitions, and fetching.
const BEYOND_ANSWERS: Duration = Duration::from_secs(60);
/// Largest definition; a portal's has some kilobytes.
const DEFINITION_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error("node.toml is refused; `schleuse check {0}` says why")]
    Settings(PathBuf),
    #[error("{0}: {1}")]
    Definition(PathBuf, String),
    #[error(
        "process version {0} is not installed; add it to versions in [feasibility] of node.toml and restart the node"
    )]
    Version(String),
    #[error("{0} is no id of a request")]
    Id(String),
    #[error(transparent)]
    Node(#[from] OwnError),
    #[error("the node did not say where it put the request")]
    NoLocation,
}

impl QuestionError {
    const fn code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Version(_) => 78,
            Self::Id(_) => 2,
            Self::Node(error) => error.code(),
            Self::Definition(..) | Self::NoLocation => 1,
        }
    }
}

/// A site's outcome with its count.
struct Answer {
    outcome: Outcome,
    count: Option<u64>,
}

pub(super) async fn run(arguments: &FeasibilityRun, format: Format) -> u8 {
    match ask(arguments).await {
        Ok((settings, path)) if arguments.no_wait => {
            let id = path.trim_start_matches("/Task/");
            let directory = settings.directory.root().display();
            answer(
                format,
                || {
                    format!(
                        "asked as {id}; `schleuse feasibility show {id} --directory {directory}` shows the answers\n"
                    )
                },
                || json!({ "task": id }),
            );
            0
        }
        Ok((settings, path)) => {
            let longest = settings.feasibility.answer_time + BEYOND_ANSWERS;
            shown(follow(&settings, &path, longest).await, &settings, format)
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn show(arguments: &FeasibilityShow, format: Format) -> u8 {
    let loaded = load(&arguments.directory).and_then(|settings| {
        let is_id = fhir::reference::is_id(&arguments.task);
        if is_id { Ok(settings) } else { Err(QuestionError::Id(printable(&arguments.task))) }
    });
    match loaded {
        Ok(settings) => {
            let path = format!("/Task/{}", arguments.task);
            shown(follow(&settings, &path, Duration::ZERO).await, &settings, format)
        }
        Err(error) => fail(&error, error.code()),
    }
}

fn load(directory: &Path) -> Result<Settings, QuestionError> {
    let loaded = node::load(&Directory::new(directory));
    loaded.map(|(settings, _)| settings).map_err(|_| QuestionError::Settings(directory.to_owned()))
}

/// Sends the question; the settings and where the request is.
async fn ask(arguments: &FeasibilityRun) -> Result<(Settings, String), QuestionError> {
    let settings = load(&arguments.directory)?;
    if !settings.feasibility.versions.contains(&arguments.process_version.as_str()) {
        return Err(QuestionError::Version(arguments.process_version.clone()));
    }
    let definition = read(&arguments.definition)?;
    let asked = Asked {
        organization: settings.organization_identifier.as_str(),
        base_url: settings.base_url.as_str(),
        version: &arguments.process_version,
        definition: &definition,
    };
    let answer = Own::new(&settings)?.post("", &asked.transaction()).await?;
    let path = request_path(&answer, settings.base_url.as_str()).ok_or(QuestionError::NoLocation)?;
    Ok((settings, path))
}

/// A definition that no site could read is not sent.
fn read(path: &Path) -> Result<String, QuestionError> {
    let broken = |reason: String| QuestionError::Definition(path.to_owned(), reason);
    let size = std::fs::metadata(path).map_err(|error| broken(error.to_string()))?.len();
    if size > DEFINITION_BYTES {
        return Err(broken(format!("is larger than {DEFINITION_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
    Definition::parse(text.as_bytes()).map_err(|error| broken(error.to_string()))?;
    Ok(text)
}

/// Waits for the end of the request, no longer than `longest`, and reads what was answered.
async fn follow(settings: &Settings, path: &str, longest: Duration) -> Result<(Resource, Vec<Answer>), QuestionError> {
    let own = Own::new(settings)?;
    let deadline = Instant::now() + longest;
    let task = loop {
        let task = own.get(path).await?;
        let has_ended = matches!(task.str("status"), Some("completed" | "failed"));
        if has_ended || Instant::now() >= deadline {
            break task;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let mut answers = Vec::new();
    for outcome in outcomes(&task, settings.base_url.as_str()) {
        let count = match &outcome.report {
            // The portal may have deleted its copy.
            Some(report) => own.get(report).await.ok().as_ref().and_then(count_of),
            None => None,
        };
        answers.push(Answer { outcome, count });
    }
    Ok((task, answers))
}

fn shown(result: Result<(Resource, Vec<Answer>), QuestionError>, settings: &Settings, format: Format) -> u8 {
    let (task, answers) = match result {
        Ok(followed) => followed,
        Err(error) => return fail(&error, error.code()),
    };
    let status = task.str("status").unwrap_or("unknown").to_owned();
    let has_answered = |answer: &&Answer| answer.outcome.code == "answered";
    let answered = answers.iter().filter(has_answered).count();
    let minimum = settings.feasibility.minimum_sites;
    // Fewer sites than the node's own rule wants are not told apart.
    let is_told = answered >= minimum;
    let error = (status == "failed").then(|| failure(&task));
    answer(
        format,
        || text(&status, error.as_deref(), &answers, answered, minimum),
        || {
            let site = |answer: &Answer| {
                json!({
                    "site": answer.outcome.site,
                    "outcome": answer.outcome.code,
                    "count": answer.count.filter(|_| is_told),
                    "reason": answer.outcome.reason,
                })
            };
            json!({
                "task": task.id(),
                "status": status,
                "error": error,
                "sites": answers.iter().map(site).collect::<Vec<Value>>(),
                "answered": answered,
                "minimum-sites": minimum,
                "total": is_told.then(|| total(&answers)),
            })
        },
    );
    u8::from(status != "completed" || answered < answers.len() || !is_told)
}

fn total(answers: &[Answer]) -> u64 {
    answers.iter().filter_map(|answer| answer.count).sum()
}

fn text(status: &str, error: Option<&str>, answers: &[Answer], answered: usize, minimum: usize) -> String {
    if let Some(error) = error {
        return format!("{status}: {}\n", printable(error));
    }
    let mut table = Table::new(&["site", "outcome", "told", "reason"]);
    for Answer { outcome, count } in answers {
        let told = match count {
            Some(count) if answered >= minimum => count.to_string(),
            _ => "-".to_owned(),
        };
        table.row([
            outcome.site.clone(),
            outcome.code.clone(),
            told,
            outcome.reason.as_deref().map(printable).unwrap_or_default(),
        ]);
    }
    let sum = if answered >= minimum {
        format!("together {}", total(answers))
    } else {
        format!("fewer than the {minimum} that [feasibility] minimum-sites wants, so nothing is told")
    };
    format!("{table}{status}: {answered} of {} sites answered, {sum}\n", answers.len())
}
