//! What searches and history cost in a large store: steps of SQLite's virtual machine, which grow with the rows that are
//! visited and not with the machine, and the plans of all statements. 50,000 Tasks; a million with `SCHLEUSE_SLOW=1`.

use std::path::{Path, PathBuf};

use fhir::ResourceType::Task;
use fhir::search::parse_query;
use time::{Duration, OffsetDateTime};

use super::support::{TestClock, file, resource};
use crate::sqlite::watched::Watched;
use crate::{HistoryQuery, HistoryScope, IndexContext, ReadFilter, Store, StoreError, Transaction};

/// Tasks of one commit, which have the same time.
const TOGETHER: u32 = 100;
/// Between two commits.
const PAUSE: Duration = Duration::minutes(7);

/// A store with Tasks, and their ids in the order of the result.
struct Filled {
    path: PathBuf,
    ids: Vec<String>,
    begin: OffsetDateTime,
    _directory: tempfile::TempDir,
}

/// Of a hundred Tasks one failed and nine are in progress; one in ten is of b.org.
fn task(number: u32) -> String {
    let status = match number % 100 {
        7 => "failed",
        10..19 => "in-progress",
        _ => "completed",
    };
    let requester = if number % 10 == 3 { "b.org" } else { "a.org" };
    format!(
        "{{'resourceType':'Task','status':'{status}','intent':'order','authoredOn':'2026-11-22T13:00:00Z',\
         'identifier':[{{'system':'urn:ietf:rfc:3986','value':'urn:uuid:{number}'}}],\
         'requester':{{'identifier':{{'system':'http://dsf.dev/sid/organization-identifier','value':'{requester}'}}}},\
         'restriction':{{'recipient':[{{'identifier':\
         {{'system':'http://dsf.dev/sid/organization-identifier','value':'own.org'}}}}]}}}}"
    )
}

async fn fill(tasks: u32) -> Filled {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let clock = TestClock::new();
    let begin = clock.now();
    let store = Store::open_sqlite(&path, clock.options()).await.unwrap();
    let mut ids = Vec::new();
    for first in (0..tasks).step_by(TOGETHER as usize) {
        clock.advance(PAUSE);
        let mut created = store
            .write(move |tx| {
                let mut ids = Vec::new();
                for number in first..first + TOGETHER {
                    let id = super::support::new_id();
                    tx.create(resource(&task(number)), &id)?;
                    ids.push(id);
                }
                Ok::<_, StoreError>(ids)
            })
            .await
            .unwrap();
        created.sort();
        ids.extend(created);
    }
    store.close().await;
    Filled { path, ids, begin, _directory: directory }
}

/// A connection that counts, and what is asked on it.
struct Look {
    connection: Watched,
}

impl Look {
    fn at(path: &Path) -> Self {
        Self { connection: Watched::open(path) }
    }

    fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>) -> T {
        let context = IndexContext::default();
        work(&mut Transaction::new(&mut self.connection, &context, OffsetDateTime::UNIX_EPOCH, false)).unwrap()
    }

    fn search(&mut self, query: &str, filter: &ReadFilter) -> (u64, Vec<String>) {
        let query = parse_query(Task, query);
        assert_eq!(query.diagnostics(), None);
        let found = self.run(|tx| tx.search(&query, filter));
        (found.total, found.matches.into_iter().map(|found| found.id).collect())
    }

    fn history(&mut self, scope: HistoryScope, from: Option<OffsetDateTime>, page: u32) -> (u64, Vec<String>) {
        let query = HistoryQuery { scope, from, before: None, page, count: 20 };
        let found = self.run(|tx| tx.history(&query, &own()));
        (found.total, found.entries.into_iter().map(|entry| entry.id).collect())
    }

    /// Steps since the last look; fails if a statement goes through a whole table.
    fn cost(&mut self) -> i64 {
        let (steps, plans) = self.connection.take();
        for plan in &plans {
            for line in plan.lines().take_while(|line| !line.starts_with("of ")) {
                // What was found by an index first may be gone through: at most a page, or a few candidates.
                // The history of everything is its index, from the beginning to the end of the page.
                let is_found_before = [
                    "SCAN few",
                    "SCAN x",
                    "SCAN CONSTANT ROW",
                    "SCAN (subquery",
                    "SCAN v USING INDEX resource_version_by_time",
                ];
                let is_scan = line.starts_with("SCAN") && !is_found_before.iter().any(|start| line.starts_with(start));
                assert!(!is_scan, "{plan}");
            }
        }
        steps
    }
}

fn own() -> ReadFilter {
    ReadFilter::local_organization("own.org", &[])
}

fn partner() -> ReadFilter {
    ReadFilter::remote_organization("b.org", &[])
}

fn stamp(time: OffsetDateTime) -> String {
    fhir::date::format_instant(time)
}

fn large() -> u32 {
    if std::env::var_os("SCHLEUSE_SLOW").is_some() { 1_000_000 } else { 50_000 }
}

/// Every question with its page size of 20: costs in the order of a fixed list.
fn costs(store: &Filled) -> Vec<(String, i64)> {
    let mut look = Look::at(&store.path);
    let tasks = u32::try_from(store.ids.len()).unwrap();
    let middle = store.begin + PAUSE * (tasks / TOGETHER / 2) + Duration::milliseconds(1);
    let late = stamp(store.begin + PAUSE * (tasks / TOGETHER - 2));
    let middle_text = stamp(middle);
    let mut costs = Vec::new();
    let mut note = |name: String, look: &mut Look| costs.push((name, look.cost()));
    for status in ["completed", "in-progress", "failed", "draft"] {
        for sort in ["", "&_sort=-_lastUpdated"] {
            let query = format!("status={status}{sort}");
            let (total, _) = look.search(&query, &own());
            note(query.clone(), &mut look);
            for page in [total / 40, total / 20] {
                look.search(&format!("{query}&_page={}", page.max(1)), &own());
                let place = if page == total / 20 { "last" } else { "middle" };
                note(format!("{query} {place}"), &mut look);
            }
        }
    }
    for query in [
        "identifier=urn:ietf:rfc:3986|urn:uuid:4711".to_owned(),
        "identifier=urn:uuid:4711&status=completed".to_owned(),
        format!("_lastUpdated=gt{middle_text}"),
        format!("_lastUpdated=lt{middle_text}&_sort=-_lastUpdated"),
        format!("_lastUpdated=ge{middle_text}&_lastUpdated=lt{late}"),
        format!("_lastUpdated=gt{late}&status=completed&_sort=_lastUpdated"),
        format!("_lastUpdated=gt{middle_text}&status=completed&_sort=_lastUpdated&_page=40"),
        String::new(),
        format!("_page={}", tasks / 20),
    ] {
        look.search(&query, &own());
        note(
            if query.contains("_page") { "a far page".to_owned() } else { query.split('2').next().unwrap().to_owned() },
            &mut look,
        );
        look.search(&query, &partner());
        note("the same for a partner".to_owned(), &mut look);
    }
    for scope in [HistoryScope::System, HistoryScope::Type(Task), HistoryScope::Instance(Task, store.ids[9].clone())] {
        for (from, page) in [(None, 1), (None, tasks / 40), (Some(middle), 1), (Some(middle), tasks / 50)] {
            look.history(scope.clone(), from, page);
            note(format!("history {scope:.10?} {} {}", from.is_some(), page > 1), &mut look);
        }
    }
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_of_a_page_does_not_grow_with_the_store() {
    let (small, large) = (fill(5_000).await, fill(large()).await);
    for ((name, before), (_, after)) in costs(&small).into_iter().zip(costs(&large)) {
        println!("{name:<70} {before:>8} steps, in the large store {after:>8}");
        // The buckets of the counts grow with the span of time, up to 256 of each level; a walk over all rows of the
        // large store would take ten times as many steps.
        assert!(after < before * 2 + 60_000, "{name}: {before} steps became {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_large_store_follow_one_another_to_the_end() {
    let store = fill(20_000).await;
    let mut look = Look::at(&store.path);
    let mut seen = Vec::new();
    let mut steps = Vec::new();
    for page in 1.. {
        let (total, ids) = look.search(&format!("_count=500&_page={page}"), &own());
        assert_eq!(total, 20_000);
        steps.push(look.cost());
        if ids.is_empty() {
            break;
        }
        seen.extend(ids);
    }
    assert_eq!(seen, store.ids);
    let (first, most) = (steps[0], steps.iter().max().copied().unwrap());
    assert!(most < first * 3, "the first page took {first} steps, another one {most}");
    // Backwards, from the middle of the store, in pages that do not fit the commits.
    let before = stamp(store.begin + PAUSE * 100 + Duration::milliseconds(1));
    let mut seen = Vec::new();
    for page in 1.. {
        let query = format!("_lastUpdated=lt{before}&_sort=-_lastUpdated&_count=333&_page={page}");
        let (total, ids) = look.search(&query, &own());
        assert_eq!(total, 10_000);
        if ids.is_empty() {
            break;
        }
        seen.extend(ids);
    }
    let wanted: Vec<String> =
        store.ids[..10_000].chunks(TOGETHER as usize).rev().flat_map(<[String]>::to_vec).collect();
    assert_eq!(seen, wanted);
    let versions = |look: &mut Look, page| look.history(HistoryScope::Type(Task), None, page).1;
    let pages: Vec<String> = (1..=1_000).step_by(97).flat_map(|page| versions(&mut look, page)).collect();
    let wanted: Vec<String> = store.ids.chunks(20).step_by(97).flat_map(<[String]>::to_vec).collect();
    assert_eq!(pages, wanted);
}
