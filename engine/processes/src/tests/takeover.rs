//! What an earlier time left is taken over at the start.

use std::sync::Arc;

use time::Duration;
use tokio::sync::watch;

use super::models;
use super::support::{Network, Node, error_of, new_task, start_ping};
use crate::runtime::take_over;
use crate::{task, terms};

async fn network() -> Network {
    Network::with_plugins(&["a", "b"], models::plugins).await
}

pub(super) async fn start(node: &Node) {
    let (_stop, stopping) = watch::channel(false);
    take_over(&node.runtime(), &stopping).await.unwrap();
}

#[tokio::test]
async fn bpmn_069_requested_tasks_are_taken_over_in_their_order_each_once() {
    let network = network().await;
    let node = &network.nodes[0];
    let mut ids = Vec::new();
    for number in 0..45 {
        let key = format!("key-{number:02}");
        ids.push(node.store_only(new_task("http://test.org/bpe/Process/hello|1.0", "m", Some(&key), None)).await);
    }
    start(node).await;
    start(node).await;
    for id in &ids {
        assert_eq!(node.history(id).await, ["requested", "in-progress", "completed"]);
    }
    let order: Vec<_> = node.instances(true).await.into_iter().map(|instance| instance.business_key).collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!((order.len(), &order), (45, &sorted));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_068_requested_tasks_that_cannot_run_fail_and_drafts_stay() {
    let network = network().await;
    let node = &network.nodes[0];
    let unknown = node.store_only(new_task("http://test.org/bpe/Process/gone|1.0", "m", None, None)).await;
    let broken = node.store_only(new_task("http://test.org/bpe/Process/broken|1.0", "m", None, None)).await;
    let mut draft = start_ping();
    draft.set("status", "draft");
    let draft = node.store_only(draft).await;
    start(node).await;
    assert_eq!(error_of(&node.task(&unknown).await).unwrap(), "Process not found");
    assert_eq!(node.status(&broken).await, "failed");
    assert_eq!(node.status(&draft).await, "draft");
}

#[tokio::test]
async fn tasks_in_progress_that_nobody_continues_fail_and_those_of_instances_and_the_inbox_stay() {
    let network = network().await;
    let node = &network.nodes[0];
    let mut foreign = start_ping();
    foreign.set("status", "in-progress");
    let foreign = node.store_only(foreign).await;
    let waiting = node.create(new_task("http://test.org/bpe/Process/keys|1.0", "m", Some("A"), None)).await;
    let received = node.create(new_task("http://test.org/bpe/Process/keys|1.0", "go", Some("A"), Some("one"))).await;
    let buffered = node.create(new_task("http://test.org/bpe/Process/keys|1.0", "go", Some("A"), Some("later"))).await;
    node.restart().await;
    start(node).await;
    assert!(error_of(&node.task(&foreign).await).unwrap().contains("no process instance"));
    for id in [&waiting, &received, &buffered] {
        assert_eq!(node.status(id).await, "in-progress");
    }
    for key in ["two", "three"] {
        node.create(new_task("http://test.org/bpe/Process/keys|1.0", "go", Some("A"), Some(key))).await;
    }
    assert_eq!(
        (node.status(&waiting).await, node.status(&received).await),
        ("completed".to_owned(), "completed".to_owned())
    );
    network.assert_quiet().await;
}

#[tokio::test]
async fn instances_without_a_definition_end_at_the_start() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(new_task("http://test.org/bpe/Process/alternative|1.0", "m", None, None)).await;
    let instance = node.instances(false).await.pop().unwrap();
    node.write(move |tx| {
        let update = store::processes::InstanceUpdate {
            alternative_business_key: None,
            state: store::processes::InstanceState::Running,
            data: b"{}".to_vec(),
        };
        tx.update_instance(&instance.id, instance.revision, &update)
    })
    .await;
    start(node).await;
    assert_eq!(node.status(&id).await, "failed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn the_workers_take_over_run_and_stop_by_themselves() {
    let network = network().await;
    let (a, b) = (&network.nodes[0], &network.nodes[1]);
    let id = a.store_only(start_ping()).await;
    let (stop, stopping) = watch::channel(false);
    let workers: Vec<_> = [a, b]
        .map(|node| {
            tokio::spawn(node.runtime().work(Arc::clone(&network.post) as Arc<dyn crate::Messenger>, stopping.clone()))
        })
        .into_iter()
        .collect();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while a.status(&id).await != "completed" {
        assert!(std::time::Instant::now() < deadline, "{}", a.status(&id).await);
        network.clock.advance(Duration::milliseconds(5));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    stop.send_replace(true);
    for worker in workers {
        tokio::time::timeout(std::time::Duration::from_secs(5), worker).await.unwrap().unwrap();
    }
    let pong = a.tasks().await.into_iter().find(|task| task::message_input(task, terms::MESSAGE_NAME) == Some("pong"));
    assert_eq!(pong.unwrap().str("status"), Some("completed"));
}
