//! `on-failure = "incident"`: a step that failed waits for an operator, who retries, resolves or cancels.

use std::sync::Arc;

use bpmn::VariableWrite;
use store::StoreOptions;
use store::processes::{InstanceState, WorkItemList};
use store::{Store, Transaction};

use super::models;
use super::support::{error_of, new_task};
use super::work::notes;
use crate::runtime::{LocalNode, OperateError, ProcessError, Runtime};
use crate::{task, work};

/// One node that keeps incidents, without messages.
struct Keeping {
    store: Store,
    runtime: Arc<Runtime>,
    _directory: tempfile::TempDir,
}

impl Keeping {
    async fn open() -> Self {
        Self::open_with(|runtime| runtime.keeping_incidents(true)).await
    }

    async fn open_with(decide: impl FnOnce(Runtime) -> Runtime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store_testing::open(&directory.path().join("engine.db"), StoreOptions::default()).await.unwrap();
        let node = LocalNode {
            organization_identifier: "a".to_owned(),
            endpoint_identifier: "a-endpoint".to_owned(),
            base_url: "https://a.example/fhir".to_owned(),
        };
        let mut plugins = super::work::plugins();
        let fails = |name| models::bpmn(name, "1.0", models::body_of("fails"));
        plugins.extend([models::plugin(vec![fails("stubborn"), fails("brittle")])]);
        let runtime = Runtime::start(store.clone(), node, &plugins, store.owner()).await.unwrap();
        Self { runtime: Arc::new(decide(runtime)), store, _directory: directory }
    }

    async fn write<R: Send + 'static, E: From<store::StoreError> + std::fmt::Debug + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
    ) -> R {
        self.store.write(work).await.unwrap()
    }

    /// Starts a process; gives the Task and its instance.
    async fn start(&self, process: &str) -> (String, String) {
        let runtime = Arc::clone(&self.runtime);
        let started = new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), "m", Some(process), None);
        let key = process.to_owned();
        self.write(move |tx| {
            let created = tx.create(started, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource)?;
            let instance = tx.instances_by_business_key(&key)?.pop().map(|row| row.id).unwrap();
            Ok::<_, ProcessError>((created.id, instance))
        })
        .await
    }

    async fn work(&self) {
        for item in work::claim(&self.runtime, 10).await.unwrap() {
            work::run(Arc::clone(&self.runtime), item).await;
        }
    }

    async fn task(&self, id: &str) -> fhir::Resource {
        let id = id.to_owned();
        self.write(move |tx| task::read(tx, &id)).await.unwrap()
    }

    async fn state(&self, instance: &str) -> InstanceState {
        let id = instance.to_owned();
        self.write(move |tx| tx.instance(&id)).await.unwrap().state
    }

    async fn incidents(&self) -> Vec<store::processes::WorkItem> {
        let list = WorkItemList { is_exhausted: Some(true), limit: 10, ..WorkItemList::default() };
        self.write(move |tx| tx.work_items(&list)).await
    }
}

#[tokio::test]
async fn a_node_decides_for_single_built_in_processes_and_refuses_the_names_of_others() {
    let decide = |runtime: Runtime| {
        let of = |process: &str| [(process.to_owned(), true)].into();
        runtime.with_incidents_of(of("testorg_stubborn")).unwrap()
    };
    let node = Keeping::open_with(decide).await;
    for (process, expected) in [("stubborn", "in-progress"), ("brittle", "failed")] {
        let runtime = Arc::clone(&node.runtime);
        let started = new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), "m", Some(process), None);
        let task = node.write(move |tx| {
            let created = tx.create(started, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource)?;
            Ok::<_, ProcessError>(task::read(tx, &created.id)?.unwrap())
        });
        assert_eq!(task.await.str("status"), Some(expected), "{process}");
    }
    let refused = Keeping::open_with(|runtime| runtime.keeping_incidents(false)).await.runtime;
    let refused = Arc::into_inner(refused).unwrap().with_incidents_of([("testorg_stuborn".to_owned(), true)].into());
    assert_eq!(refused.err().as_deref(), Some("testorg_stuborn"));
}

#[tokio::test]
async fn a_step_that_fails_in_its_transaction_or_beside_it_waits_with_the_evidence() {
    let node = Keeping::open().await;
    let (task, instance) = node.start("stubborn").await;
    assert_eq!(node.task(&task).await.str("status"), Some("in-progress"));
    assert_eq!(node.state(&instance).await, InstanceState::Incident);
    let incident = node.incidents().await.pop().unwrap();
    assert_eq!((incident.element.as_str(), incident.instance.as_str()), ("do", instance.as_str()));
    assert!(incident.failure.unwrap().ends_with("reason: the disk is on fire"));

    let (task, instance) = node.start("fails").await;
    assert_eq!(node.state(&instance).await, InstanceState::Running, "its work has not begun");
    node.work().await;
    assert_eq!(node.state(&instance).await, InstanceState::Incident);
    assert_eq!(node.task(&task).await.str("status"), Some("in-progress"));
    assert_eq!(node.incidents().await.len(), 2);
}

#[tokio::test]
async fn an_operator_retries_resolves_or_cancels() {
    let node = Keeping::open().await;
    // Tried again it fails again, as often as one asks.
    let (_, stubborn) = node.start("stubborn").await;
    for _ in 0..2 {
        let (runtime, id) = (Arc::clone(&node.runtime), stubborn.clone());
        assert_eq!(node.write(move |tx| runtime.retry_instance(tx, &id)).await, 1);
        assert_eq!(node.state(&stubborn).await, InstanceState::Running);
        node.work().await;
        assert_eq!(node.state(&stubborn).await, InstanceState::Incident);
        assert_eq!(node.incidents().await.len(), 1);
    }
    // Cancelled, it leaves nothing.
    let (runtime, id) = (Arc::clone(&node.runtime), stubborn.clone());
    node.write(move |tx| runtime.cancel_instance(tx, &id, "wrong data")).await;
    assert_eq!(node.state(&stubborn).await, InstanceState::Cancelled);
    assert!(node.incidents().await.is_empty());

    // Resolved, it goes on with what the operator gives.
    let (task, instance) = node.start("fails").await;
    node.work().await;
    let (runtime, id) = (Arc::clone(&node.runtime), instance.clone());
    let writes = vec![VariableWrite::set("by", "hand")];
    assert_eq!(node.write(move |tx| runtime.resolve_instance(tx, &id, &writes)).await, 1);
    assert_eq!(node.state(&instance).await, InstanceState::Completed);
    let task = node.task(&task).await;
    assert_eq!((task.str("status"), notes(&task), error_of(&task)), (Some("completed"), Vec::new(), None));

    let (runtime, id) = (Arc::clone(&node.runtime), instance.clone());
    let late = node.store.write(move |tx| runtime.retry_instance(tx, &id)).await;
    assert!(matches!(late, Err(OperateError::Ended { state: "completed", .. })));
    let runtime = Arc::clone(&node.runtime);
    let unknown = node.store.write(move |tx| runtime.cancel_instance(tx, "no-such", "")).await;
    assert!(matches!(unknown, Err(OperateError::Unknown(_))));
    let (_, instance) = node.start("waits").await;
    let runtime = Arc::clone(&node.runtime);
    let healthy = node.store.write(move |tx| runtime.resolve_instance(tx, &instance, &[])).await;
    assert!(matches!(healthy, Err(OperateError::NoIncident(_))));
}
