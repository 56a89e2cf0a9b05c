//! `kill -9` of a process in which two nodes ping each other and one works on long steps, again and again, at random
//! moments.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::support::{Clock, Network, results_of, start_ping};
use super::work;
use crate::{task, terms};

const DIRECTORY: &str = "SCHLEUSE_TEST_KILLED_DIRECTORY";
const PINGS: usize = 200;
const WORKS: usize = 200;
const KILLS: u32 = 15;

fn is_work(task: &fhir::Resource) -> bool {
    task.str("instantiatesCanonical").is_some_and(|process| process.starts_with("http://test.org/"))
}

fn is_ping(task: &fhir::Resource) -> bool {
    task::message_input(task, terms::MESSAGE_NAME) == Some("startPing")
}

/// The process that is killed. It goes on where the one before ended, and ends when all pings have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other test of this file"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let network = Network::open(&directory, &["a", "b"], work::plugins, Clock::of_the_machine()).await;
    let (stop, stopping) = watch::channel(false);
    let workers: Vec<_> = network
        .nodes
        .iter()
        .map(|node| {
            tokio::spawn(node.runtime().work(Arc::clone(&network.post) as Arc<dyn crate::Messenger>, stopping.clone()))
        })
        .collect();
    let a = &network.nodes[0];
    loop {
        let tasks = a.tasks().await;
        let works = tasks.iter().filter(|task| is_work(task)).count();
        if works < WORKS {
            a.create(work::start("done", &works.to_string())).await;
        }
        if tasks.iter().filter(|task| is_ping(task)).count() < PINGS {
            a.create(start_ping()).await;
        } else if works == WORKS
            && a.instances(false).await.is_empty()
            && network.nodes[1].instances(false).await.is_empty()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap();
    }
    for node in &network.nodes {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_task_is_lost_stuck_or_doubled_by_kills_at_random_moments() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::killed::child", "--ignored"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "moments");
    for _ in 0..KILLS {
        let mut child = start();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(40 + (random >> 33) % 260)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let network = Network::open(directory.path(), &["a", "b"], work::plugins, Clock::of_the_machine()).await;
    println!("{} Tasks after {KILLS} kills", network.nodes[0].tasks().await.len());
    for node in &network.nodes {
        node.kill().await;
    }
    let mut child = start();
    let deadline = Instant::now() + Duration::from_secs(90);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("pings do not end");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success());

    let network = Network::open(directory.path(), &["a", "b"], work::plugins, Clock::of_the_machine()).await;
    network.assert_quiet().await;
    let (a, b) = (&network.nodes[0], &network.nodes[1]);
    let pings: Vec<_> = a.tasks().await.into_iter().filter(is_ping).collect();
    assert_eq!(pings.len(), PINGS);
    for ping in &pings {
        assert_eq!(a.history(ping.id().unwrap()).await, ["requested", "in-progress", "completed"]);
        assert_eq!(results_of(ping, "ping-status")[0].1, "pong-received");
    }
    let answered = b.tasks().await;
    let keys: BTreeSet<_> =
        answered.iter().map(|ping| task::message_input(ping, terms::CORRELATION_KEY).unwrap()).collect();
    assert_eq!((answered.len(), keys.len()), (PINGS, PINGS), "one ping for each start");
    let works: Vec<_> = a.tasks().await.into_iter().filter(is_work).collect();
    assert_eq!(works.len(), WORKS);
    for done in &works {
        assert_eq!(a.history(done.id().unwrap()).await, ["requested", "in-progress", "completed"]);
        assert_eq!(work::notes(done), ["done"], "the result is recorded once");
    }
    assert_eq!(a.tasks().await.len(), 2 * PINGS + WORKS, "one pong for each ping");
    assert_eq!((a.instances(true).await.len(), b.instances(true).await.len()), (PINGS + WORKS, PINGS));
}
