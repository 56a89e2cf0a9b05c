//! Ping-pong 2.0 between nodes: when what is offered goes.

use std::sync::Arc;

use fhir::ResourceType;
use store::ReadFilter;
use time::Duration;

use super::support::{Fault, Network, Node, new_task, results_of};
use crate::ping_pong::measured::{Downloads, plugin};
use crate::step::BoxFuture;
use crate::{task, terms};

/// Every download succeeds: what is tested is what happens around it.
struct Nothing;

impl Downloads for Nothing {
    fn download<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<u64, &'static str>> {
        Box::pin(async { Ok(1_000) })
    }
}

async fn network(names: &[&'static str]) -> Network {
    let downloads: Arc<dyn Downloads> = Arc::new(Nothing);
    Network::with_plugins(names, move || vec![plugin(&downloads)]).await
}

async fn binaries(node: &Node) -> usize {
    let query = fhir::search::parse_query(ResourceType::Binary, "");
    node.write(move |tx| tx.search(&query, &ReadFilter::everything())).await.matches.len()
}

fn cleanup(from: &str, business_key: &str) -> fhir::Resource {
    let mut cleanup = new_task("pong|2.0", "cleanupPong", Some(business_key), None);
    cleanup.set("requester", task::organization_reference(from));
    cleanup
}

/// Lets the first node ping, with pongs that are on their way for a long time; gives the business key.
async fn pinged_without_answer(network: &Network) -> String {
    network.post.plan("a", &[Fault::Swallowed, Fault::Swallowed]);
    network.nodes[0].create(new_task("ping|2.0", "startPing", None, None)).await;
    network.settle().await;
    let ping = network.post.sent_to("b", "ping").pop().unwrap();
    task::message_input(&ping, terms::BUSINESS_KEY).unwrap().to_owned()
}

#[tokio::test]
async fn another_target_of_a_ping_cannot_remove_what_is_still_to_be_downloaded() {
    let network = network(&["a", "b", "c"]).await;
    let b = &network.nodes[1];
    let business_key = pinged_without_answer(&network).await;
    assert_eq!(binaries(b).await, 1);

    b.create(cleanup("c", &business_key)).await;
    network.settle().await;
    assert_eq!((binaries(b).await, b.instances(false).await.len()), (1, 1), "c has nothing to say here");
    b.create(cleanup("a", &business_key)).await;
    network.settle().await;
    assert_eq!((binaries(b).await, b.instances(false).await.len()), (0, 0));
    network.pass(Duration::seconds(60)).await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn messages_that_do_not_count_do_not_make_the_wait_longer() {
    let network = network(&["a", "b", "c"]).await;
    let b = &network.nodes[1];
    let business_key = pinged_without_answer(&network).await;
    for _ in 0..3 {
        network.clock.advance(Duration::seconds(9));
        network.settle().await;
        if !b.instances(false).await.is_empty() {
            b.create(cleanup("c", &business_key)).await;
            network.settle().await;
        }
    }
    assert_eq!((binaries(b).await, b.instances(false).await.len()), (0, 0));
    let first = b.tasks().await.into_iter().find(|task| task::message_input(task, terms::MESSAGE_NAME) == Some("ping"));
    assert_eq!(results_of(&first.unwrap(), "pong-status").len(), 1);
    network.pass(Duration::seconds(60)).await;
    network.assert_quiet().await;
}
