//! Any order of work, repetition, delay, loss and death ends with every Task ended once.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use store::processes::OutboxMessage;
use time::Duration;

use super::support::{Fault, Network, new_task, results_of, start_ping};
use crate::outbox::DeliveryFailure;
use crate::{jobs, outbox, task, terms};

/// What may happen next.
#[derive(Clone, Debug)]
enum Happening {
    Start(usize),
    Jobs(usize),
    /// Sends what is due, but the results are not recorded yet.
    Send(usize),
    /// Records the oldest result, or the newest.
    Record(usize, bool),
    /// Sends a message again whose result is not recorded yet.
    Again(usize),
    Death(usize),
    Time(u16),
    Trouble(usize, Fault),
    /// A pong out of the blue for the newest ping.
    Stray(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let node = || 0..2_usize;
    let fault = prop_oneof![
        Just(Fault::Forbidden),
        Just(Fault::Unreachable),
        Just(Fault::Restarting),
        Just(Fault::AnswerLost),
        Just(Fault::Twice),
        Just(Fault::Swallowed),
    ];
    prop_oneof![
        2 => node().prop_map(Happening::Start),
        6 => node().prop_map(Happening::Jobs),
        6 => node().prop_map(Happening::Send),
        6 => (node(), any::<bool>()).prop_map(|(node, oldest)| Happening::Record(node, oldest)),
        1 => node().prop_map(Happening::Again),
        1 => node().prop_map(Happening::Death),
        2 => (0..9_000_u16).prop_map(Happening::Time),
        1 => (node(), fault).prop_map(|(node, fault)| Happening::Trouble(node, fault)),
        1 => node().prop_map(Happening::Stray),
    ]
}

type Held = Vec<(OutboxMessage, Result<(), DeliveryFailure>)>;

async fn play(happenings: Vec<Happening>) {
    let network = Network::new(&["a", "b"]).await;
    let mut held: [Held; 2] = [Vec::new(), Vec::new()];
    let mut started = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Start(node) => started.push((node, network.nodes[node].create(start_ping()).await)),
            Happening::Jobs(node) => {
                let runtime = network.nodes[node].runtime();
                for job in jobs::claim(&runtime).await.unwrap() {
                    jobs::run(Arc::clone(&runtime), job).await;
                }
            }
            Happening::Send(node) => {
                for message in outbox::claim(&network.nodes[node].runtime(), 3).await.unwrap() {
                    let result = outbox::attempt(network.post.as_ref(), &message).await;
                    held[node].push((message, result));
                }
            }
            Happening::Record(node, oldest) => {
                let waiting = &mut held[node];
                let next = if oldest && !waiting.is_empty() { Some(waiting.remove(0)) } else { waiting.pop() };
                if let Some((message, result)) = next {
                    outbox::finish(&network.nodes[node].runtime(), message, result).await;
                }
            }
            Happening::Again(node) => {
                if let Some((message, _)) = held[node].first() {
                    outbox::attempt(network.post.as_ref(), message).await.ok();
                }
            }
            Happening::Death(node) => {
                held[node].clear();
                network.nodes[node].restart().await;
            }
            Happening::Time(milliseconds) => network.clock.advance(Duration::milliseconds(i64::from(milliseconds))),
            Happening::Trouble(node, fault) => network.post.plan(network.nodes[node].name, &[fault]),
            Happening::Stray(node) => {
                let ping = network.post.sent_to(network.nodes[1 - node].name, "ping").pop();
                let key =
                    ping.as_ref().and_then(|ping| task::message_input(ping, terms::BUSINESS_KEY)).unwrap_or("none");
                network.nodes[node].create(new_task("ping|1.0", "pong", Some(key), Some("stray"))).await;
            }
        }
    }
    for (node, waiting) in held.into_iter().enumerate() {
        for (message, result) in waiting {
            outbox::finish(&network.nodes[node].runtime(), message, result).await;
        }
    }
    network.pass(Duration::seconds(240)).await;
    network.assert_quiet().await;
    for (node, id) in started {
        let history = network.nodes[node].history(&id).await;
        assert_eq!(history, ["requested", "in-progress", "completed"]);
        assert_eq!(results_of(&network.nodes[node].task(&id).await, "ping-status").len(), 1);
    }
    for node in &network.nodes {
        let (mut identifiers, mut named) = (BTreeSet::new(), 0);
        for task in node.tasks().await {
            if let Some(identifier) = task.list("identifier").first() {
                named += 1;
                identifiers.insert(identifier.str("value").unwrap().to_owned());
            }
        }
        assert_eq!(identifiers.len(), named, "a message became two Tasks");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_once_whatever_happens(happenings in prop::collection::vec(happening(), 1..60)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(play(happenings));
    }
}
