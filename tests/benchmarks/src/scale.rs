//! `scale`: searches and histories in a large store beside the same in a small one, in this process on the engine's own
//! store. A page and its total must cost about the same in both; that they do is asserted by a test of the store, which
//! counts steps instead of time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fhir::ResourceType::Task;
use fhir::search::parse_query;
use store::{HistoryQuery, HistoryScope, ReadFilter, Store, StoreError, StoreOptions};

use crate::Run;
use crate::error::{During as _, Outcome};
use crate::limits::{SMALL_STORE, large_store};
use crate::process::memory_of;
use crate::report::{Report, Table, number};
use crate::statistics::Values;

/// Tasks of one commit.
const TOGETHER: u64 = 200;

/// A search or history with the number of the page that is asked for.
enum Question {
    Search(String),
    History(HistoryScope, u32),
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let tasks = large_store();
    let rounds = if run.quick { 10 } else { 50 };
    let mut columns = Vec::new();
    for tasks in [SMALL_STORE, tasks] {
        let path = filled(run, tasks).await?;
        let store = Store::open_sqlite(&path, StoreOptions::default()).await.during("opening the store")?;
        columns.push(times(&store, tasks, rounds).await.during("searching")?);
        store.close().await;
    }
    let [small, large] = columns.as_slice() else { return Ok(()) };
    let rows = small.iter().zip(large).map(|((name, before), (_, after))| {
        let cells = [before.p50(), after.p50(), after.p99(), after.p50() / before.p50()].map(number);
        std::iter::once(name.clone()).chain(cells).collect()
    });
    let header = [
        "question",
        &format!("p50 us, {SMALL_STORE}"),
        &format!("p50 us, {tasks}"),
        &format!("p99 us, {tasks}"),
        "growth",
    ];
    report.table(Table::new("A page of 20 with its exact total, by the number of Tasks", &header, rows.collect()));
    let worst = small.iter().zip(large).map(|((_, before), (_, after))| after.p50() / before.p50());
    report.value("largest growth", worst.fold(0.0, f64::max), "x");
    report.value("RSS of this process with the large store", memory_of(&[std::process::id()]).rss as f64 / 1e6, "MB");
    report.note(format!("Tasks are stored {TOGETHER} in a commit; files are in the page cache; SCHLEUSE_SLOW=1 makes the large store one of a million"));
    Ok(())
}

fn questions(tasks: u64, middle: &str) -> Vec<(&'static str, Question)> {
    let search = |text: String| Question::Search(text);
    let pages = tasks / 20;
    let page = |number: u64| u32::try_from(number.max(1)).unwrap_or(u32::MAX);
    vec![
        ("all, first page", search(String::new())),
        ("all, last page", search(format!("_page={pages}"))),
        ("all, page 5000", search("_page=5000".to_owned())),
        ("status=completed", search("status=completed".to_owned())),
        ("status=completed, a middle page", search(format!("status=completed&_page={}", pages / 3))),
        ("status=failed, newest first", search("status=failed&_sort=-_lastUpdated".to_owned())),
        ("identifier", search("identifier=urn:ietf:rfc:3986|urn:uuid:00000000-0000-4000-8000-000000000777".to_owned())),
        ("_lastUpdated=gt, half of all", search(format!("_lastUpdated=gt{middle}"))),
        (
            "_lastUpdated=gt and status, a far page",
            search(format!("_lastUpdated=gt{middle}&status=completed&_page={}", pages / 5)),
        ),
        (
            "two conditions that match much",
            search("status=completed&requester:identifier=http://dsf.dev/sid/organization-identifier|a.org".to_owned()),
        ),
        ("history of the type, first page", Question::History(HistoryScope::Type(Task), 1)),
        ("history of the type, a middle page", Question::History(HistoryScope::Type(Task), page(pages / 2))),
        ("history of everything, last page", Question::History(HistoryScope::System, page(pages))),
    ]
}

async fn times(store: &Store, tasks: u64, rounds: usize) -> Result<Vec<(String, Values)>, StoreError> {
    // The time of the Task in the middle.
    let query = parse_query(Task, &format!("_count=1&_page={}", tasks / 2));
    let found = store.read(move |tx| tx.search(&query, &ReadFilter::everything())).await?;
    let middle = found.matches.first().map(|task| fhir::date::format_instant(task.last_updated)).unwrap_or_default();
    let mut all = Vec::new();
    for (name, question) in questions(tasks, &middle) {
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            ask(store, &question).await?;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        all.push((name.to_owned(), Values::new(times)));
    }
    Ok(all)
}

async fn ask(store: &Store, question: &Question) -> Result<u64, StoreError> {
    let filter = ReadFilter::local_organization("own.org", &[]);
    match question {
        Question::Search(raw) => {
            let query = parse_query(Task, raw);
            store.read(move |tx| tx.search(&query, &filter)).await.map(|found| found.total)
        }
        Question::History(scope, page) => {
            let query = HistoryQuery { scope: scope.clone(), from: None, before: None, page: *page, count: 20 };
            store.read(move |tx| tx.history(&query, &filter)).await.map(|found| found.total)
        }
    }
}

/// The store with so many Tasks; made once and kept beside the results, for the schema that this program has.
async fn filled(run: &Run, tasks: u64) -> Outcome<PathBuf> {
    let folder = run.results.join(format!("store-with-{tasks}-tasks"));
    let (path, mark) = (folder.join("engine.db"), folder.join("complete"));
    if mark.is_file() {
        return Ok(path);
    }
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder).during(format!("removing {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).during(format!("creating {}", folder.display()))?;
    eprintln!("scale: storing {tasks} Tasks (once; kept in {})", folder.display());
    fill(&path, tasks).await.during("storing Tasks")?;
    std::fs::write(&mark, "").during("writing a file")?;
    Ok(path)
}

async fn fill(path: &Path, tasks: u64) -> Result<(), StoreError> {
    let store = Store::open_sqlite(path, StoreOptions::default()).await?;
    for first in (0..tasks).step_by(TOGETHER as usize) {
        store
            .write(move |tx| {
                for number in first..first + TOGETHER {
                    tx.create(task(number)?, &store::new_id())?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    store.close().await;
    Ok(())
}

/// Of a hundred Tasks one failed and nine are in progress.
fn task(number: u64) -> Result<fhir::Resource, StoreError> {
    let status = match number % 100 {
        7 => "failed",
        10..19 => "in-progress",
        _ => "completed",
    };
    let organization = |identifier: &str| {
        serde_json::json!({
            "type": "Organization",
            "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": identifier },
        })
    };
    let task = serde_json::json!({
        "resourceType": "Task",
        "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0"] },
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:00000000-0000-4000-8000-{number:012}") }],
        "instantiatesCanonical": "http://dsf.dev/bpe/Process/ping|1.0",
        "status": status,
        "intent": "order",
        "authoredOn": "2026-11-22T12:00:00.000Z",
        "requester": organization(if number % 10 == 3 { "b.org" } else { "a.org" }),
        "restriction": { "recipient": [organization("own.org")] },
    });
    fhir::parse(fhir::Format::Json, task.to_string().as_bytes(), &fhir::Limits::default())
        .map_err(|error| StoreError::BadRow(error.to_string()))
}
