use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use endpoint::AllowListPublisher as _;
use link::BUILD;
use link::frame::{self, FromEngine, FromGateway};
use policies::AllowList;
use store::StoreOptions;
use tokio::net::UnixStream;

use super::Snapshots;

fn list(base_url: &str) -> Arc<AllowList> {
    Arc::new(AllowList::empty("test.example".parse().unwrap(), base_url))
}

async fn snapshots(directory: &tempfile::TempDir) -> Arc<Snapshots> {
    let store = store_testing::open(&directory.path().join("engine.db"), StoreOptions::default()).await.unwrap();
    Snapshots::new(store, Arc::new(ArcSwap::new(list("https://test.example/fhir"))))
}

async fn gateway(snapshots: &Arc<Snapshots>) -> UnixStream {
    let (mut own, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(Arc::clone(snapshots).connection(theirs));
    frame::write(&mut own, &FromGateway::Hello { build: BUILD.to_owned() }).await.unwrap();
    own
}

async fn next_version(gateway: &mut UnixStream) -> u64 {
    match frame::read::<FromEngine>(gateway).await.unwrap() {
        Some(FromEngine::Snapshot(snapshot)) => snapshot.version(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn versions_grow_over_restarts_and_an_equal_list_is_no_new_version() {
    let directory = tempfile::tempdir().unwrap();
    let first = snapshots(&directory).await;
    assert_eq!(first.publish(list("https://a.example/fhir")).await.unwrap(), 1);
    assert_eq!(first.publish(list("https://a.example/fhir")).await.unwrap(), 1);
    assert_eq!(first.publish(list("https://b.example/fhir")).await.unwrap(), 2);
    first.store.close().await;
    drop(first);
    let second = snapshots(&directory).await;
    assert_eq!(second.publish(list("https://b.example/fhir")).await.unwrap(), 3);
}

#[tokio::test]
async fn a_change_is_acknowledged_when_every_connected_gateway_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = snapshots(&directory).await;
    snapshots.publish(list("https://a.example/fhir")).await.unwrap();
    let (mut one, mut two) = (gateway(&snapshots).await, gateway(&snapshots).await);
    assert_eq!((next_version(&mut one).await, next_version(&mut two).await), (1, 1));
    frame::write(&mut one, &FromGateway::Acknowledged { version: 1 }).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), snapshots.acknowledged(1)).await;
    assert!(early.is_err(), "the second gateway has not acknowledged");
    frame::write(&mut two, &FromGateway::Acknowledged { version: 1 }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), snapshots.acknowledged(1)).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_does_not_acknowledge_is_disconnected_and_waited_for_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots = snapshots(&directory).await;
    snapshots.publish(list("https://a.example/fhir")).await.unwrap();
    let mut silent = gateway(&snapshots).await;
    assert_eq!(next_version(&mut silent).await, 1);
    tokio::time::pause();
    tokio::time::timeout(Duration::from_secs(60), snapshots.acknowledged(1)).await.unwrap();
    assert_eq!(snapshots.gateways(), 0);
    assert!(frame::read::<FromEngine>(&mut silent).await.unwrap().is_none());
}
