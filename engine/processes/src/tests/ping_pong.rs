//! The shipped process between nodes.

use time::Duration;

use super::support::{Fault, Network, error_of, new_task, results_of, start_ping};
use crate::{task, terms};

fn statuses(results: &[(String, String, Option<String>)]) -> Vec<(&str, &str)> {
    results.iter().map(|(endpoint, status, _)| (endpoint.as_str(), status.as_str())).collect()
}

#[tokio::test]
async fn bpmn_028_every_site_answers() {
    let network = Network::new(&["a", "c", "b"]).await;
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    network.settle().await;
    assert_eq!(node.history(&id).await, ["requested", "in-progress", "completed"]);
    let results = results_of(&node.task(&id).await, "ping-status");
    assert_eq!(
        statuses(&results),
        [("b-endpoint", "pong-received"), ("c-endpoint", "pong-received")],
        "sorted by endpoint"
    );
    let keys: std::collections::BTreeSet<_> = ["b", "c"]
        .into_iter()
        .flat_map(|name| network.post.sent_to(name, "ping"))
        .map(|ping| task::message_input(&ping, terms::CORRELATION_KEY).unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 2);
    for node in &network.nodes[1..] {
        let tasks = node.tasks().await;
        assert_eq!(statuses(&results_of(&tasks[0], "pong-status")), [("a-endpoint", "pong-send")]);
    }
    assert_eq!(node.tasks().await.len(), 3);
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_029_sites_that_refuse_or_are_away_are_results_and_no_failure() {
    let network = Network::new(&["a", "b", "c", "d"]).await;
    network.post.plan("b", &[Fault::Forbidden]);
    network.nodes[2].kill().await;
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    network.pass(Duration::seconds(8)).await;
    let ended = node.task(&id).await;
    assert_eq!(ended.str("status"), Some("completed"));
    let results = results_of(&ended, "ping-status");
    assert_eq!(
        statuses(&results),
        [("b-endpoint", "not-allowed"), ("c-endpoint", "not-reachable"), ("d-endpoint", "pong-received")]
    );
    assert_eq!(results[0].2.as_deref(), Some("answered 403"));
    assert_eq!(results[1].2.as_deref(), Some("connection refused"));
    assert_eq!(results[2].2, None);
    assert_eq!(network.post.sent_to("c", "ping").len(), 3, "tried again while it may pass");
    network.nodes[2].open().await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_030_a_site_that_does_not_answer_is_missing_after_twenty_seconds() {
    let network = Network::new(&["a", "b"]).await;
    network.post.plan("b", &[Fault::Swallowed]);
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    network.settle().await;
    network.clock.advance(Duration::seconds(19));
    network.settle().await;
    assert_eq!(node.status(&id).await, "in-progress");
    network.clock.advance(Duration::seconds(2));
    network.settle().await;
    assert_eq!(statuses(&results_of(&node.task(&id).await, "ping-status")), [("b-endpoint", "pong-missing")]);
    network.assert_quiet().await;
}

/// A ping of `a` whose only target stays silent, its business key, and the correlation key of the ping.
async fn silent(network: &Network) -> (String, String, String) {
    network.post.plan("b", &[Fault::Swallowed]);
    let id = network.nodes[0].create(start_ping()).await;
    network.settle().await;
    let ping = network.post.sent_to("b", "ping").pop().unwrap();
    let key = |code| task::message_input(&ping, code).unwrap().to_owned();
    (id, key(terms::BUSINESS_KEY), key(terms::CORRELATION_KEY))
}

fn pong(business_key: &str, correlation_key: &str) -> fhir::Resource {
    new_task("ping|1.0", "pong", Some(business_key), Some(correlation_key))
}

#[tokio::test]
async fn bpmn_031_a_pong_of_an_unknown_key_fails_and_changes_nothing() {
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    let (id, business_key, correlation_key) = silent(&network).await;
    let stray = node.create(pong(&business_key, "unknown")).await;
    let right = node.create(pong(&business_key, &correlation_key)).await;
    network.settle().await;
    assert_eq!(statuses(&results_of(&node.task(&id).await, "ping-status")), [("b-endpoint", "pong-received")]);
    assert_eq!(node.status(&right).await, "completed");
    assert_eq!(error_of(&node.task(&stray).await).unwrap(), "Unable to correlate Task");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_032_and_033_a_late_pong_fails_with_the_reason() {
    let network = Network::new(&["a", "b", "c"]).await;
    network.post.plan("b", &[Fault::Swallowed]);
    let node = &network.nodes[0];
    let id = node.create(start_ping()).await;
    network.settle().await;
    let ping = network.post.sent_to("b", "ping").pop().unwrap();
    let key = |code| task::message_input(&ping, code).unwrap().to_owned();
    network.clock.advance(Duration::seconds(21));
    network.settle().await;
    assert_eq!(node.status(&id).await, "completed");
    let late = node.create(pong(&key(terms::BUSINESS_KEY), &key(terms::CORRELATION_KEY))).await;
    assert_eq!(error_of(&node.task(&late).await).unwrap(), "Process with start message-name 'pong' not found");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_034_a_pong_that_comes_before_its_receiver_waits_is_kept() {
    let network = Network::new(&["a", "b"]).await;
    let (a, b) = (&network.nodes[0], &network.nodes[1]);
    let id = a.create(start_ping()).await;
    while a.run_jobs().await {}
    let runtime = a.runtime();
    let message = crate::outbox::claim(&runtime, 1).await.unwrap().pop().unwrap();
    let result = crate::outbox::attempt(network.post.as_ref(), &message).await;
    // The partner answers before the delivery is recorded.
    b.send().await;
    let pong = a
        .tasks()
        .await
        .into_iter()
        .find(|task| task::message_input(task, terms::MESSAGE_NAME) == Some("pong"))
        .unwrap();
    assert_eq!(pong.str("status"), Some("in-progress"));
    crate::outbox::finish(&runtime, message, result).await;
    network.settle().await;
    assert_eq!(statuses(&results_of(&a.task(&id).await, "ping-status")), [("b-endpoint", "pong-received")]);
    assert_eq!(a.status(pong.id().unwrap()).await, "completed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_035_nobody_to_ping_is_no_failure() {
    let network = Network::new(&["a"]).await;
    let id = network.nodes[0].create(start_ping()).await;
    network.settle().await;
    let ended = network.nodes[0].task(&id).await;
    assert_eq!((ended.str("status"), ended.list("output").len()), (Some("completed"), 0));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_036_fifty_sites_answer_and_none_is_lost() {
    let names: Vec<&'static str> =
        (0..51).map(|number| &*Box::leak(format!("site{number:02}").into_boxed_str())).collect();
    let network = Network::new(&["a", "b"]).await;
    let node = &network.nodes[0];
    // Forty-nine sites are only addresses; their pongs come at the same time.
    let partners = names[..49].to_vec();
    node.write(move |tx| partners.iter().try_for_each(|partner| super::support::seed(tx, partner))).await;
    for name in &names[..49] {
        network.post.plan(name, &[Fault::Swallowed]);
    }
    let id = node.create(start_ping()).await;
    network.settle().await;
    let pongs: Vec<_> = names[..49].iter().flat_map(|name| network.post.sent_to(name, "ping")).collect();
    let answers = pongs.into_iter().map(|ping| {
        let key = |code| task::message_input(&ping, code).unwrap().to_owned();
        let (store, runtime, pong) =
            (node.store(), node.runtime(), pong(&key(terms::BUSINESS_KEY), &key(terms::CORRELATION_KEY)));
        tokio::spawn(async move {
            let accept = move |tx: &mut store::Transaction<'_>| {
                let created = tx.create(pong, &uuid::Uuid::new_v4().to_string())?;
                runtime.accept(tx, &created.resource)
            };
            store.write(accept).await.unwrap();
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    network.settle().await;
    let results = results_of(&node.task(&id).await, "ping-status");
    assert_eq!(results.len(), 50);
    assert!(results.iter().all(|(_, status, _)| status == "pong-received"));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_037_a_ping_from_elsewhere_gets_no_pong() {
    let network = Network::new(&["a", "b"]).await;
    let b = &network.nodes[1];
    // The endpoint of `a`, asked for by `x`, and an endpoint that nobody knows.
    for (requester, endpoint) in [("x", "a-endpoint"), ("a", "unknown-endpoint"), ("a", "b-endpoint")] {
        let mut ping = new_task("pong|1.0", "ping", Some("k"), Some("c"));
        ping.set("requester", task::organization_reference(requester));
        let identifier = fhir::Object::new().with("system", terms::ENDPOINT_IDENTIFIER).with("value", endpoint);
        let reference = fhir::Object::new().with("type", "Endpoint").with("identifier", identifier);
        let input = task::parameter("http://dsf.dev/fhir/CodeSystem/ping", "endpoint-identifier");
        ping.push("input", input.with("valueReference", reference));
        let id = b.create(ping).await;
        network.settle().await;
        let ended = b.task(&id).await;
        assert_eq!((ended.str("status"), error_of(&ended)), (Some("completed"), None), "{requester} {endpoint}");
    }
    assert!(network.post.sent.lock().unwrap().is_empty());
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_038_a_pong_that_cannot_be_sent_fails_the_ping_task_with_its_status() {
    for (fault, status) in [(Fault::Forbidden, "not-allowed"), (Fault::Unreachable, "not-reachable")] {
        let network = Network::new(&["a", "b"]).await;
        network.post.plan("a", &[fault]);
        let id = network.nodes[0].create(start_ping()).await;
        network.settle().await;
        let ping = network.nodes[1].tasks().await.pop().unwrap();
        assert_eq!(ping.str("status"), Some("failed"));
        assert_eq!(statuses(&results_of(&ping, "pong-status")), [("a-endpoint", status)]);
        let error = error_of(&ping).unwrap();
        assert!(
            error.starts_with(
                "Task http://dsf.dev/bpe/Process/ping|1.0 send failed [recipient: a, endpoint: a-endpoint"
            ),
            "{error}"
        );
        assert!(error.contains("correlationKey: ") && error.contains("message: pong"), "{error}");
        network.pass(Duration::seconds(25)).await;
        assert_eq!(
            statuses(&results_of(&network.nodes[0].task(&id).await, "ping-status")),
            [("b-endpoint", "pong-missing")]
        );
        network.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_message_that_arrives_twice_or_whose_answer_is_lost_is_one_task() {
    for fault in [Fault::Twice, Fault::AnswerLost] {
        let network = Network::new(&["a", "b"]).await;
        network.post.plan("a", &[fault]);
        network.post.plan("b", &[fault]);
        let id = network.nodes[0].create(start_ping()).await;
        network.pass(Duration::seconds(8)).await;
        let results = results_of(&network.nodes[0].task(&id).await, "ping-status");
        assert_eq!(statuses(&results), [("b-endpoint", "pong-received")]);
        assert_eq!((network.nodes[0].tasks().await.len(), network.nodes[1].tasks().await.len()), (2, 1));
        network.assert_quiet().await;
    }
}

#[tokio::test]
async fn the_search_of_the_task_chooses_the_targets() {
    let network = Network::new(&["a", "b", "c"]).await;
    let node = &network.nodes[0];
    let targets = |search: &str| {
        let mut start = start_ping();
        start.push("input", task::string_parameter("http://dsf.dev/fhir/CodeSystem/ping", "target-endpoints", search));
        start
    };
    let cases: [(&str, &[&str]); 4] = [
        ("Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|c-endpoint", &["c-endpoint"]),
        ("Endpoint?status=off", &[]),
        ("Patient?name=x", &[]),
        ("Endpoint?status=active", &["b-endpoint", "c-endpoint"]),
    ];
    for (search, expected) in cases {
        let id = node.create(targets(search)).await;
        network.settle().await;
        let results = results_of(&node.task(&id).await, "ping-status");
        assert_eq!(results.iter().map(|(endpoint, ..)| endpoint.as_str()).collect::<Vec<_>>(), expected, "{search}");
    }
    let id = node.create(targets("Endpoint?no-such-parameter=x")).await;
    network.settle().await;
    assert!(error_of(&node.task(&id).await).unwrap().contains("target-endpoints"));
    network.assert_quiet().await;
}
