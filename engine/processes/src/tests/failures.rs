//! What cannot be read, stored or repeated ends with a reason, and what may pass is tried again.

use store::processes::{InstanceState, InstanceUpdate, NewJob, NewOutboxMessage};
use time::Duration;

use super::models;
use super::support::{Fault, Network, Node, error_of, new_task, results_of, start_ping};

async fn network() -> Network {
    Network::with_plugins(&["a", "b"], models::plugins).await
}

/// Starts the process that waits for `go` or thirty seconds.
async fn waiting(node: &Node) -> String {
    node.create(new_task("http://test.org/bpe/Process/waits|1.0", "m", Some("A"), None)).await
}

/// Makes the state of every living instance unreadable.
pub(super) async fn damage(node: &Node) {
    for instance in node.instances(false).await {
        let update =
            InstanceUpdate { alternative_business_key: None, state: InstanceState::Running, data: b"damaged".to_vec() };
        node.write(move |tx| tx.update_instance(&instance.id, instance.revision, &update)).await;
    }
}

#[tokio::test]
async fn a_timer_of_an_unreadable_instance_ends_it_once_and_for_all() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = waiting(node).await;
    damage(node).await;
    network.clock.advance(Duration::seconds(31));
    assert!(node.run_jobs().await);
    assert!(!node.run_jobs().await, "it is not tried again");
    assert!(error_of(&node.task(&id).await).unwrap().contains("cannot be read"));
    network.assert_quiet().await;
    let ended = node.instances(true).await.pop().unwrap();
    assert_eq!((ended.state, ended.data.as_slice()), (InstanceState::Failed, &b"damaged"[..]), "the evidence is kept");
}

#[tokio::test]
async fn a_message_to_an_unreadable_instance_ends_both() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = waiting(node).await;
    damage(node).await;
    let go = node.create(new_task("http://test.org/bpe/Process/waits|1.0", "go", Some("A"), None)).await;
    assert_eq!((node.status(&id).await, node.status(&go).await), ("failed".to_owned(), "failed".to_owned()));
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_delivery_for_an_unreadable_instance_ends_it() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(new_task("http://test.org/bpe/Process/throw|1.0", "m", None, None)).await;
    damage(node).await;
    network.settle().await;
    assert_eq!(node.status(&id).await, "failed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_signal_reaches_its_receivers_although_one_of_them_is_unreadable() {
    let network = network().await;
    let node = &network.nodes[0];
    let start = || new_task("pingAutostart|1.0", "startPingAutostart", None, None);
    let broken = node.create(start()).await;
    damage(node).await;
    let stop = node.create(new_task("pingAutostart|1.0", "stopPingAutostart", None, None)).await;
    network.settle().await;
    assert_eq!((node.status(&broken).await, node.status(&stop).await), ("failed".to_owned(), "completed".to_owned()));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_073_without_its_plug_in_an_instance_ends_at_its_next_step() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = waiting(node).await;
    let old = node.with_same_store(Vec::new);
    node.kill().await;
    old.open().await;
    let go = old.create(new_task("http://test.org/bpe/Process/waits|1.0", "go", Some("A"), None)).await;
    assert_eq!(error_of(&old.task(&go).await).unwrap(), "Process not found");
    network.clock.advance(Duration::seconds(31));
    old.run_jobs().await;
    assert_eq!(error_of(&old.task(&id).await).unwrap(), "Plugin for process not found, unable to continue execution");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_071_a_changed_model_leaves_running_instances_reachable() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = waiting(node).await;
    fn changed() -> Vec<crate::Plugin> {
        let body = models::body_of("waits").replace("PT30S", "PT40S");
        vec![models::plugin(vec![models::bpmn("waits", "1.0", &body)])]
    }
    let new = node.with_same_store(changed);
    node.kill().await;
    new.open().await;
    let go = new.create(new_task("http://test.org/bpe/Process/waits|1.0", "go", Some("A"), None)).await;
    assert_eq!((new.status(&id).await, new.status(&go).await), ("completed".to_owned(), "completed".to_owned()));
    let started = waiting(&new).await;
    network.clock.advance(Duration::seconds(31));
    new.run_jobs().await;
    assert_eq!(new.status(&started).await, "in-progress", "new instances run the new model");
    network.clock.advance(Duration::seconds(10));
    new.run_jobs().await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_stored_model_that_is_not_understood_does_not_stop_the_node() {
    let network = network().await;
    let node = &network.nodes[0];
    node.write(|tx| tx.insert_definition("digest", "testorg_old", "1.0", b"<not-bpmn/>")).await;
    node.restart().await;
    let id = node.create(start_ping()).await;
    network.settle().await;
    assert_eq!(node.status(&id).await, "completed");
}

#[tokio::test]
async fn a_passing_failure_of_a_partner_is_tried_again_and_leaves_no_trace() {
    let network = network().await;
    network.post.plan("b", &[Fault::Restarting, Fault::Restarting]);
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    network.pass(Duration::seconds(4)).await;
    assert_eq!(results_of(&node.task(&id).await, "ping-status")[0].1, "pong-received");
    let sent = network.post.sent_to("b", "ping");
    assert_eq!(sent.len(), 3);
    let identifiers: std::collections::BTreeSet<_> =
        sent.iter().map(|ping| ping.list("identifier")[0].str("value").unwrap().to_owned()).collect();
    assert_eq!(identifiers.len(), 1, "the partner recognises the repetition");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_given_up() {
    let network = network().await;
    let node = &network.nodes[0];
    node.write(|tx| {
        let next_attempt = tx.now();
        tx.insert_outbox(&NewOutboxMessage {
            id: "x".to_owned(),
            instance: Some("gone".to_owned()),
            step: "x".to_owned(),
            target_url: super::support::base_url("b"),
            target_organization: "b".to_owned(),
            body: b"damaged".to_vec(),
            next_attempt,
        })
    })
    .await;
    network.settle().await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_job_that_belongs_to_nothing_is_removed() {
    let network = network().await;
    let node = &network.nodes[0];
    waiting(node).await;
    let instance = node.instances(false).await.pop().unwrap().id;
    node.write(move |tx| {
        let due = tx.now();
        let job = |id: &str, instance| NewJob {
            id: id.to_owned(),
            instance,
            kind: "instance".to_owned(),
            exclusive: true,
            due,
            retries: 3,
            payload: Vec::new(),
        };
        tx.insert_job(&job("x", None))?;
        tx.insert_job(&job("y", Some(instance)))
    })
    .await;
    assert!(node.run_jobs().await);
    assert!(!node.run_jobs().await);
    assert_eq!(node.instances(false).await.len(), 1, "the instance still waits");
}

#[tokio::test]
async fn a_task_that_was_deleted_ends_its_instance() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    let copy = id.clone();
    node.write(move |tx| tx.delete(fhir::ResourceType::Task, &copy)).await;
    network.settle().await;
    assert!(node.instances(false).await.is_empty());
}
