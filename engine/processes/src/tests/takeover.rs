//! What an earlier time left is taken over at the start.

use std::sync::Arc;

use time::Duration;
use tokio::sync::watch;

use super::models;
use super::support::{Network, Node, error_of, new_task, results_of, start_ping};
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
async fn bpmn_070_tasks_that_come_while_the_engine_starts_are_handled_once() {
    let network = network().await;
    let node = &network.nodes[0];
    let hello = |key: String| new_task("http://test.org/bpe/Process/hello|1.0", "m", Some(&key), None);
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(node.store_only(hello(format!("before-{number}"))).await);
    }
    // Open, but its workers have not begun: nobody listens yet.
    node.restart().await;
    ids.push(node.create(hello("between".to_owned())).await);
    // While what was left is taken over, other Tasks come, some of which another engine of the database has stored.
    let come = async {
        let mut come = Vec::new();
        for number in 0..10 {
            come.push(node.create(hello(format!("beside-{number}"))).await);
            come.push(node.store_only(hello(format!("stored-{number}"))).await);
        }
        come
    };
    let ((), come) = tokio::join!(start(node), come);
    ids.extend(come);
    start(node).await;
    for id in &ids {
        assert_eq!(node.history(id).await, ["requested", "in-progress", "completed"]);
    }
    assert_eq!(node.instances(true).await.len(), ids.len(), "each once");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_079_a_task_whose_status_cannot_be_written_starts_nothing_and_is_tried_again() {
    let network = network().await;
    let (a, b) = (&network.nodes[0], &network.nodes[1]);
    // A Task that was there, when the engine starts.
    let left = a.store_only(new_task("http://test.org/bpe/Process/hello|1.0", "m", None, None)).await;
    a.fuse.set(Some(0));
    let (_stop, stopping) = watch::channel(false);
    take_over(&a.runtime(), &stopping).await.unwrap_err();
    assert!(a.fuse.is_burnt());
    a.restart().await;
    assert_eq!((a.status(&left).await.as_str(), a.instances(false).await.len()), ("requested", 0));
    start(a).await;
    assert_eq!(a.history(&left).await, ["requested", "in-progress", "completed"]);
    // One that a partner sends: its node is told, and sends it again.
    let ping = a.create(start_ping()).await;
    while a.run_jobs().await {}
    b.fuse.set(Some(0));
    while network.post.sent_to("b", "ping").is_empty() {
        assert!(a.send().await || a.run_jobs().await);
    }
    assert!(b.fuse.is_burnt());
    b.restart().await;
    assert_eq!((b.tasks().await.len(), b.instances(false).await.len()), (0, 0));
    network.pass(Duration::seconds(10)).await;
    assert_eq!(network.post.sent_to("b", "ping").len(), 2, "it was sent again");
    assert_eq!(b.tasks().await.len(), 1);
    assert_eq!(a.history(&ping).await, ["requested", "in-progress", "completed"]);
    assert_eq!(results_of(&a.task(&ping).await, "ping-status")[0].1, "pong-received");
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
