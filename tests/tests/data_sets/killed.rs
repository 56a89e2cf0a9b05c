//! Nodes that are killed in the middle of a run.

use std::time::Duration;

use tests::network::Process;
use tests::{Network, until};

use super::run::{DataSet, Run};
use super::{ALONE, STEP_TIME, indexed};

#[tokio::test]
async fn share_c10_whoever_is_killed_at_any_step_the_data_set_is_the_same() {
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(2));
    let kill = async |node: &str| network.kill(node, Process::Engine).await;
    let first = Run::request(&network, "again", &[], &[]);
    first.approve("dic-1").await;
    first.approve("dic-2").await;
    first.release().await;
    first.ended("portal").await;
    let first = first.fetch();

    let run = Run::request(&network, "again", &[], &[]);
    kill("portal").await;
    run.waits_for("dic-1", "approve-extraction").await;
    kill("dic-1").await;
    run.approve("dic-1").await;
    kill("dic-1").await;
    kill("ttp").await;
    run.approve("dic-2").await;
    // The last approval begins linking, sending and merging; everybody goes down meanwhile.
    for node in ["dic-2", "ttp", "dms", "dic-1", "ttp", "dms"] {
        kill(node).await;
    }
    run.waits_for("dms", "release-data-set").await;
    kill("dms").await;
    run.release().await;
    kill("portal").await;
    kill("dms").await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let second = run.fetch();
    first.assert_is_again(&second);
    for site in ["dic-1", "dic-2", "ttp"] {
        let done = run.done(site).await;
        assert_ne!(done["status"], "failed", "{site}: {done:#}");
    }
}

/// Every node is killed at every step of a run.
#[tokio::test]
async fn share_c10_each_node_is_killed_at_each_step() {
    if std::env::var_os("SCHLEUSE_SLOW").is_none() {
        println!("left out: SCHLEUSE_SLOW=1 kills five nodes at thirteen steps each, for some ten minutes");
        return;
    }
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(2));
    let mut expected: Option<DataSet> = None;
    for node in ["portal", "dic-1", "dic-2", "ttp", "dms"] {
        for step in 0..13_u32 {
            let at = async |here: u32| {
                if here == step {
                    network.kill(node, Process::Engine).await;
                }
            };
            let run = Run::request(&network, "each", &[], &[]);
            at(0).await;
            run.waits_for("dic-1", "approve-extraction").await;
            at(1).await;
            run.approve("dic-1").await;
            at(2).await;
            run.approve("dic-2").await;
            // Filters, comparison, shifts, sealing, sending and merging follow within some seconds.
            for moment in 3..10 {
                if moment == step {
                    tokio::time::sleep(Duration::from_millis(u64::from(moment - 3) * 250)).await;
                    network.kill(node, Process::Engine).await;
                }
            }
            run.waits_for("dms", "release-data-set").await;
            at(10).await;
            run.release().await;
            at(11).await;
            let ended = run.ended("portal").await;
            assert_eq!(ended["status"], "completed", "{node} at {step}: {ended:#}");
            at(12).await;
            let data =
                until("the files", STEP_TIME, async || run.status("portal").is_some().then(|| run.fetch())).await;
            println!("{node} at step {step}: compared");
            match &expected {
                Some(expected) => expected.assert_is_again(&data),
                None => expected = Some(data),
            }
        }
    }
}
