//! Where the CPU of one create goes: the parts of the engine's own code, one after the other in this process, on the
//! store that the node has filled.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use fhir::validate::ProfileRegistry;
use fhir::{Format, Limits, Resource, ResourceType};
use policies::identity::OrganizationIdentity;
use policies::{AllowList, Context, Decision, Identity, Origin, Policy};
use store::{IndexContext, Store, StoreError, StoreOptions};

use super::task::start_task;
use crate::error::{During as _, Failure, Outcome};
use crate::own_node::ORGANIZATION;
use crate::process::cpu_seconds_of;

const BASE_URL: &str = "https://localhost/fhir";

/// Tasks on the way at one time, as with the connections of the load test.
const LANES: u64 = 32;

/// Microseconds of each part of one create.
pub(super) struct Stages {
    pub(super) parts: Vec<(&'static str, f64)>,
    /// Tasks per commit when [`LANES`] create at one time.
    pub(super) group: f64,
}

/// What the parts need, from the store.
struct Bench {
    registry: ProfileRegistry,
    allow_list: AllowList,
    policy: Policy,
    identity: Identity,
    text: String,
}

/// Measures every part.
pub(super) async fn measure(database: &Path, time: Duration) -> Outcome<Stages> {
    let context = IndexContext { base: Some(BASE_URL.to_owned()), ..IndexContext::default() };
    let options = StoreOptions { context: context.clone(), ..StoreOptions::default() };
    let store = Store::open_sqlite(database, options).await.during("opening the store")?;
    let bench = Bench::load(&store).await?;
    let mut parts = bench.parts(&context, time)?;
    let before = (store.statistics(), cpu_seconds_of(&[std::process::id()]));
    let created = create_for(&store, time).await.during("storing Tasks")?;
    let after = (store.statistics(), cpu_seconds_of(&[std::process::id()]));
    let each = (after.1 - before.1) * 1e6 / (created as f64);
    // What the store does itself again: indexing and printing are in it.
    parts.push(("store: rows, indexes and commit (CPU)", each));
    let commits = (after.0.commits - before.0.commits).max(1);
    let waited = (after.0.commit_micros - before.0.commit_micros) as f64;
    parts.push(("of that in COMMIT, disk included (time)", waited / (created as f64)));
    store.close().await;
    Ok(Stages { parts, group: (created as f64) / (commits as f64) })
}

// === impl Bench ===

impl Bench {
    async fn load(store: &Store) -> Outcome<Self> {
        let (registry, sources) = store
            .read(|tx| -> Result<_, StoreError> {
                let mut registry = ProfileRegistry::new();
                for resource_type in [
                    ResourceType::StructureDefinition,
                    ResourceType::ValueSet,
                    ResourceType::CodeSystem,
                    ResourceType::NamingSystem,
                ] {
                    for stored in tx.all(resource_type)? {
                        registry.add(stored.resource);
                    }
                }
                let mut sources = Vec::new();
                for resource_type in [
                    ResourceType::Organization,
                    ResourceType::Endpoint,
                    ResourceType::OrganizationAffiliation,
                    ResourceType::ActivityDefinition,
                ] {
                    sources.extend(tx.all(resource_type)?.into_iter().map(|stored| stored.resource));
                }
                Ok((registry, sources))
            })
            .await
            .during("reading the store")?;
        let local = ORGANIZATION.parse().during("an identifier")?;
        let allow_list = AllowList::from_resources(sources.iter().map(AsRef::as_ref), local, BASE_URL);
        let own = allow_list.organization(allow_list.local()).during("the node's own organisation")?;
        let identity = Identity::Local(OrganizationIdentity {
            identifier: own.identifier.clone(),
            endpoint: allow_list.local_endpoint().cloned(),
            thumbprint: own.thumbprints.first().during("a thumbprint")?.clone(),
        });
        Ok(Self { registry, allow_list, policy: Policy::shipped(), identity, text: start_task(1).to_string() })
    }

    fn parts(&self, context: &IndexContext, time: Duration) -> Outcome<Vec<(&'static str, f64)>> {
        let task = parse(&self.text)?;
        let issues = fhir::validate::validate(&task, &self.registry);
        if fhir::validate::has_errors(&issues) {
            return Err(Failure::new(format!("the Task of the benchmark is not valid: {issues:?}")));
        }
        let request = policies::canonicalize("POST", "/fhir/Task", "/fhir").during("a request")?;
        let now = Context { now: time::OffsetDateTime::now_utc(), origin: Origin::Engine, body_bytes: None };
        let decide = || policies::decide(&self.policy, &self.allow_list, &self.identity, &request, Some(&task), &now);
        if let Decision::Deny(denial) = decide() {
            return Err(Failure::new(format!("the Task of the benchmark is denied: {}", denial.text)));
        }
        let authorise = || {
            black_box(matches!(decide(), Decision::Permit(_)));
            black_box(policies::task::check_create(task.tree(), &self.identity, &self.allow_list).is_ok());
        };
        Ok(vec![
            ("parse", each(time, || drop(black_box(parse(&self.text))))),
            ("validate", each(time, || drop(black_box(fhir::validate::validate(&task, &self.registry))))),
            ("authorise (policy and rules)", each(time, authorise)),
            ("index entries", each(time, || drop(black_box(fhir::search::extract_in(&context.as_context(), &task))))),
            ("print", each(time, || drop(black_box(fhir::json::print(&task, false))))),
        ])
    }
}

fn parse(text: &str) -> Outcome<Resource> {
    fhir::parse(Format::Json, text.as_bytes(), &Limits::default()).during("reading a Task")
}

/// Microseconds of one call.
fn each(time: Duration, mut work: impl FnMut()) -> f64 {
    let end = Instant::now() + time / 4;
    let mut count = 0_u64;
    let started = Instant::now();
    while Instant::now() < end {
        for _ in 0..32 {
            work();
        }
        count += 32;
    }
    started.elapsed().as_secs_f64() * 1e6 / (count as f64)
}

async fn create_for(store: &Store, time: Duration) -> Result<u64, StoreError> {
    let end = Instant::now() + time;
    let task = parse(&start_task(1).to_string()).map_err(|error| StoreError::BadRow(error.to_string()))?;
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        let (store, task) = (store.clone(), task.clone());
        lanes.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                let id = store::new_id();
                let mut task = task.clone();
                task.set("identifier", Vec::new());
                let identifier = fhir::Object::new().with("system", "urn:ietf:rfc:3986").with("value", id.as_str());
                task.push("identifier", identifier);
                store.write(move |tx| tx.create(task, &id).map(drop)).await?;
                count += 1;
            }
            Ok::<_, StoreError>(count)
        });
    }
    let mut created = 0;
    while let Some(lane) = lanes.join_next().await {
        created += lane.map_err(|error| StoreError::Panicked(error.to_string()))??;
    }
    Ok(created)
}
