//! The process that pings again and again.

use time::Duration;

use super::support::{Network, error_of, new_task, results_of};
use crate::{task, terms};

fn start(interval: &str) -> fhir::Resource {
    let mut start = new_task("pingAutostart|1.0", "startPingAutostart", None, None);
    start.push("input", task::string_parameter("http://dsf.dev/fhir/CodeSystem/ping", "timer-interval", interval));
    start
}

fn stop() -> fhir::Resource {
    new_task("pingAutostart|1.0", "stopPingAutostart", None, None)
}

async fn pings(network: &Network) -> Vec<fhir::Resource> {
    let tasks = network.nodes[0].tasks().await;
    tasks.into_iter().filter(|task| task::message_input(task, terms::MESSAGE_NAME) == Some("startPing")).collect()
}

#[tokio::test]
async fn bpmn_025_pings_start_at_once_and_in_each_interval_until_they_are_stopped() {
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    let started = node.create(start("PT1M")).await;
    network.settle().await;
    assert_eq!(pings(&network).await.len(), 1);
    for expected in [2, 3] {
        network.clock.advance(Duration::seconds(61));
        network.settle().await;
        assert_eq!(pings(&network).await.len(), expected);
    }
    for ping in pings(&network).await {
        assert_eq!(results_of(&ping, "ping-status").len(), 1);
    }
    assert_eq!(node.status(&started).await, "in-progress");
    let stopped = node.create(stop()).await;
    network.settle().await;
    assert_eq!(
        (node.status(&started).await, node.status(&stopped).await),
        ("completed".to_owned(), "completed".to_owned())
    );
    network.clock.advance(Duration::minutes(10));
    network.settle().await;
    assert_eq!(pings(&network).await.len(), 3);
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_026_a_ping_that_still_waits_does_not_stop_the_next_one() {
    let network = Network::new(&["a", "b"]).await;
    network.post.plan("b", &[super::support::Fault::Swallowed; 9]);
    let node = &network.nodes[0];
    node.create(start("PT5S")).await;
    network.settle().await;
    network.clock.advance(Duration::seconds(6));
    network.settle().await;
    // One business key, two instances that wait: each pong finds its own by its correlation key.
    let keys: std::collections::BTreeSet<_> = pings(&network)
        .await
        .iter()
        .map(|ping| task::message_input(ping, terms::BUSINESS_KEY).unwrap().to_owned())
        .collect();
    assert_eq!((keys.len(), pings(&network).await.len()), (1, 2));
    node.create(stop()).await;
    network.pass(Duration::seconds(60)).await;
    for ping in pings(&network).await {
        assert_eq!(results_of(&ping, "ping-status")[0].1, "pong-missing");
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_026a_a_second_start_replaces_the_first_loop() {
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    let first = node.create(start("PT1M")).await;
    network.settle().await;
    let second = node.create(start("PT1M")).await;
    network.settle().await;
    assert_eq!(
        (node.status(&first).await, node.status(&second).await),
        ("completed".to_owned(), "in-progress".to_owned())
    );
    network.clock.advance(Duration::seconds(61));
    network.settle().await;
    assert_eq!(pings(&network).await.len(), 3);
    node.create(stop()).await;
    network.settle().await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_027_the_stop_signal_reaches_every_loop_and_none_is_no_failure() {
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    let alone = node.create(stop()).await;
    assert_eq!(node.status(&alone).await, "completed");
    // Also one that is sending: the second start ends the first before its ping is on its way.
    let first = node.create(start("PT1M")).await;
    let second = node.create(start("PT1M")).await;
    assert_eq!(node.status(&first).await, "completed");
    network.settle().await;
    assert_eq!(pings(&network).await.len(), 1);
    let stopped = node.create(stop()).await;
    network.settle().await;
    for id in [first, second, stopped] {
        assert_eq!(node.status(&id).await, "completed");
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_loop_is_stopped_also_while_its_ping_is_on_its_way() {
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    let started = node.create(start("PT1M")).await;
    network.settle().await;
    network.clock.advance(Duration::seconds(61));
    // The timer has fired, the next ping waits to be sent.
    assert!(node.run_jobs().await);
    let stopped = node.create(stop()).await;
    network.settle().await;
    for id in [started, stopped] {
        assert_eq!(node.status(&id).await, "completed");
    }
    network.clock.advance(Duration::minutes(10));
    network.settle().await;
    assert_eq!(pings(&network).await.len(), 1);
    network.assert_quiet().await;
}

#[tokio::test]
async fn an_interval_that_is_none_fails_the_start() {
    let network = Network::new(&["a", "b"]).await;
    let id = network.nodes[0].create(start("tomorrow")).await;
    network.settle().await;
    assert!(error_of(&network.nodes[0].task(&id).await).is_some());
    network.assert_quiet().await;
}
