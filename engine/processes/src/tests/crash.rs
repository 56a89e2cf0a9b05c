//! A node dies between any two commits, claims and deliveries, and everything still happens once.

use std::sync::Arc;

use time::Duration;

use super::support::{Network, Node, results_of, start_ping};
use crate::{jobs, outbox, task, terms};

/// Counts the points at which a node can die and dies at one of them.
struct Deaths {
    left: usize,
    happened: bool,
}

impl Deaths {
    /// True if the node died here and is back.
    async fn may_happen(&mut self, node: &Node) -> bool {
        if self.happened {
            return false;
        }
        if self.left == 0 {
            self.happened = true;
            node.restart().await;
            return true;
        }
        self.left -= 1;
        false
    }
}

/// One round of the workers of a node; true if there was something to do.
async fn round(node: &Node, post: &super::support::Post, deaths: &mut Deaths) -> bool {
    let runtime = node.runtime();
    let jobs = jobs::claim(&runtime).await.unwrap();
    let mut any = !jobs.is_empty();
    for job in jobs {
        if deaths.may_happen(node).await {
            return true;
        }
        jobs::run(Arc::clone(&runtime), job).await;
    }
    let messages = outbox::claim(&runtime, 10).await.unwrap();
    any |= !messages.is_empty();
    for message in messages {
        if deaths.may_happen(node).await {
            return true;
        }
        let result = outbox::attempt(post, &message).await;
        // The partner has it, this node does not know it.
        if deaths.may_happen(node).await {
            return true;
        }
        outbox::finish(&runtime, message, result).await;
    }
    any |= deaths.may_happen(node).await;
    any
}

/// Runs a ping of `a`, with the death of one node at this point; false if the ping was over before.
async fn ping_with_death(victim: usize, point: usize) -> bool {
    let network = Network::new(&["a", "b", "c"]).await;
    let a = &network.nodes[0];
    let id = a.create(start_ping()).await;
    let mut deaths = Deaths { left: point, happened: false };
    let mut calm = Deaths { left: usize::MAX, happened: false };
    let mut waited = 0;
    loop {
        let mut any = false;
        for (index, node) in network.nodes.iter().enumerate() {
            any |= round(node, &network.post, if index == victim { &mut deaths } else { &mut calm }).await;
        }
        if !any {
            // A database server notices a moment later that an engine has died, and gives back what it had claimed.
            if waited == 250 || a.status(&id).await == "completed" {
                break;
            }
            waited += 1;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert_eq!(a.history(&id).await, ["requested", "in-progress", "completed"], "{victim} died at {point}");
    let results = results_of(&a.task(&id).await, "ping-status");
    let statuses: Vec<_> = results.iter().map(|(endpoint, status, _)| (endpoint.as_str(), status.as_str())).collect();
    assert_eq!(
        statuses,
        [("b-endpoint", "pong-received"), ("c-endpoint", "pong-received")],
        "{victim} died at {point}"
    );
    assert_eq!(a.tasks().await.len(), 3, "no pong twice");
    assert_eq!(a.instances(true).await.len(), 1);
    for partner in &network.nodes[1..] {
        let tasks = partner.tasks().await;
        assert_eq!(tasks.len(), 1, "no ping twice");
        assert_eq!(task::message_input(&tasks[0], terms::MESSAGE_NAME), Some("ping"));
        assert_eq!(results_of(&tasks[0], "pong-status").len(), 1);
        assert_eq!(partner.instances(true).await.len(), 1);
    }
    network.assert_quiet().await;
    deaths.happened
}

#[tokio::test]
async fn bpmn_066_and_067_the_pinging_node_may_die_at_any_point() {
    let mut point = 0;
    while ping_with_death(0, point).await {
        point += 1;
    }
    assert!(point > 10, "there are {point} points");
}

#[tokio::test]
async fn an_answering_node_may_die_at_any_point() {
    let mut point = 0;
    while ping_with_death(1, point).await {
        point += 1;
    }
    assert!(point >= 4, "there are {point} points");
}

#[tokio::test]
async fn a_timer_that_was_due_while_the_node_was_dead_fires_at_the_start() {
    let network = Network::new(&["a", "b"]).await;
    network.post.plan("b", &[super::support::Fault::Swallowed]);
    let a = &network.nodes[0];
    let id = a.create(start_ping()).await;
    network.settle().await;
    a.kill().await;
    network.clock.advance(Duration::minutes(5));
    a.open().await;
    network.settle().await;
    assert_eq!(results_of(&a.task(&id).await, "ping-status")[0].1, "pong-missing");
    network.assert_quiet().await;
}
