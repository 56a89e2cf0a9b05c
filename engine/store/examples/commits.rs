//! Measures the store on this machine: latency of a durable commit, creates per second, opening with many Tasks, search.
//!
//! `cargo run -p store --profile dist --example commits -- [TASKS] [DIRECTORY|postgres://...]`; with
//! `scripts/with-postgres --durable` before it, `sh -c '... "$SCHLEUSE_TEST_POSTGRES"'` names a server of its own.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhir::search::parse_query;
use fhir::{Limits, Resource, ResourceType};
use store::{PostgreSql, ReadFilter, Store, StoreError, StoreOptions, Tls};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let tasks: u64 = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let place = arguments.next().unwrap_or_else(|| ".".to_owned());
    let name = format!("store_measurement_{}", std::process::id());
    if place.starts_with("postgres://") {
        let database = PostgreSql::new(&place, None, &Tls::Disabled, &name)?;
        let result = measure(&Place::PostgreSql(database.clone()), tasks).await;
        database.remove().await?;
        return result;
    }
    let directory = PathBuf::from(place).join(name);
    std::fs::create_dir_all(&directory)?;
    println!("fdatasync of 4 KiB            {}", percentiles(flushes(&directory)?));
    let path = directory.join("engine.db");
    let result = measure(&Place::Sqlite(path.clone()), tasks).await;
    println!("size of the file              {} MiB", std::fs::metadata(&path)?.len() >> 20);
    std::fs::remove_dir_all(&directory)?;
    result
}

#[allow(clippy::large_enum_variant, reason = "there is one of it")]
enum Place {
    Sqlite(PathBuf),
    PostgreSql(PostgreSql),
}

impl Place {
    async fn open(&self) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(path) => Store::open_sqlite(path, StoreOptions::default()).await,
            Self::PostgreSql(database) => Store::open_postgresql(database.clone(), StoreOptions::default()).await,
        }
    }
}

async fn measure(place: &Place, tasks: u64) -> Outcome<()> {
    let store = place.open().await?;

    let mut single = Vec::new();
    for _ in 0..300 {
        let started = Instant::now();
        create(&store).await?;
        single.push(started.elapsed());
    }
    println!("one durable create at a time  {}", percentiles(single));

    for lanes in [8, 32, 64] {
        fill(&store, lanes, 3000).await?;
    }
    let missing = tasks.saturating_sub(store.statistics().committed);
    if missing > 0 {
        fill(&store, 64, missing).await?;
    }
    search(&store, "status=requested&_sort=_lastUpdated").await?;
    search(&store, "status=completed&_count=20").await?;
    search(&store, "identifier=urn:ietf:rfc:3986|urn:uuid:17").await?;
    search(&store, "_count=20&_page=40").await?;
    store.close().await;

    let mut opened = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let store = place.open().await?;
        opened.push(started.elapsed());
        store.close().await;
    }
    println!("open with {tasks} Tasks       {}", percentiles(opened));
    Ok(())
}

/// The floor: what a flush costs without a database.
fn flushes(directory: &Path) -> Outcome<Vec<Duration>> {
    let mut file = std::fs::File::create(directory.join("flush"))?;
    let mut all = Vec::new();
    for _ in 0..300 {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        all.push(started.elapsed());
    }
    Ok(all)
}

async fn fill(store: &Store, lanes: u64, tasks: u64) -> Outcome<()> {
    let before = store.statistics();
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..lanes {
        let store = store.clone();
        running.spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..tasks / lanes {
                let started = Instant::now();
                create(&store).await?;
                latencies.push(started.elapsed());
            }
            Ok::<_, StoreError>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(lane) = running.join_next().await {
        latencies.extend(lane??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = store.statistics();
    let (commits, creates) = (after.commits - before.commits, after.committed - before.committed);
    println!(
        "{lanes:>2} writers                    {}  {:>6.0} creates/s, {commits} commits for {creates} creates, {} us per commit",
        percentiles(latencies),
        f64::from(u32::try_from(creates)?) / seconds,
        (after.commit_micros - before.commit_micros) / commits.max(1)
    );
    Ok(())
}

async fn create(store: &Store) -> Result<(), StoreError> {
    let id = store::new_id();
    store.write(move |tx| tx.create(task(&id)?, &id).map(|_| ())).await
}

fn task(id: &str) -> Result<Resource, StoreError> {
    let status = if id.starts_with("00") { "requested" } else { "completed" };
    let text = format!(
        r#"{{"resourceType":"Task","meta":{{"profile":["http://dsf.dev/fhir/StructureDefinition/task-start-ping"]}},
        "identifier":[{{"system":"urn:ietf:rfc:3986","value":"urn:uuid:{id}"}}],
        "instantiatesCanonical":"http://dsf.dev/bpe/Process/ping|1.0","status":"{status}","intent":"order",
        "authoredOn":"2026-11-22T13:00:00.000Z",
        "requester":{{"type":"Organization","identifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"a.org"}}}},
        "restriction":{{"recipient":[{{"type":"Organization","identifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"own.org"}}}}]}},
        "input":[{{"type":{{"coding":[{{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"message-name"}}]}},"valueString":"startPing"}}]}}"#
    );
    fhir::json::parse(text.as_bytes(), &Limits::default()).map_err(|error| StoreError::BadRow(error.to_string()))
}

async fn search(store: &Store, raw: &str) -> Outcome<()> {
    let query = parse_query(ResourceType::Task, raw);
    let filter = ReadFilter::local_organization("own.org", &[]);
    let mut latencies = Vec::new();
    let mut total = 0;
    for _ in 0..20 {
        let (query, filter) = (query.clone(), filter.clone());
        let started = Instant::now();
        total = store.read(move |tx| tx.search(&query, &filter)).await.map_err(|error: StoreError| error)?.total;
        latencies.push(started.elapsed());
    }
    println!("Task?{raw:<50} {}  total {total}", percentiles(latencies));
    Ok(())
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at =
        |part: usize| all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied().unwrap_or_default();
    format!("p50 {:>8.3} ms  p99 {:>8.3} ms", at(50).as_secs_f64() * 1e3, at(99).as_secs_f64() * 1e3)
}
