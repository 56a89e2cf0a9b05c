//! From Task to instance: cases that need no particular process.

use fhir::Resource;
use time::Duration;

use super::models;
use super::support::{Fault, Network, error_of, new_task};
use crate::{task, terms};

fn for_test(process: &str, message: &str, business_key: Option<&str>, correlation_key: Option<&str>) -> Resource {
    new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), message, business_key, correlation_key)
}

async fn network() -> Network {
    Network::with_plugins(&["a", "b"], models::plugins).await
}

/// Starts the process and lets it run; the Task at the end.
async fn run(network: &Network, process: &str) -> Resource {
    let node = &network.nodes[0];
    let id = node.create(for_test(process, "m", None, None)).await;
    network.settle().await;
    node.task(&id).await
}

fn notes(task: &Resource) -> Vec<String> {
    let notes = task.list("output").iter().filter(|output| {
        output
            .get("type")
            .is_some_and(|kind| kind.list("coding").iter().any(|coding| coding.str("code") == Some("note")))
    });
    notes.filter_map(|note| note.str("valueString")).map(str::to_owned).collect()
}

#[tokio::test]
async fn bpmn_001_and_002_a_task_runs_its_process_and_keeps_or_gets_a_business_key() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(for_test("hello", "m", None, None)).await;
    assert_eq!(node.history(&id).await, ["requested", "in-progress", "completed"]);
    let stored = node.task(&id).await;
    assert!(uuid::Uuid::parse_str(task::message_input(&stored, terms::BUSINESS_KEY).unwrap()).is_ok());
    assert_eq!(notes(&stored), ["/"]);
    let id = node.create(for_test("hello", "m", Some("A"), None)).await;
    let stored = node.task(&id).await;
    assert_eq!((task::message_input(&stored, terms::BUSINESS_KEY), stored.list("input").len()), (Some("A"), 2));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_003_a_draft_starts_nothing() {
    let network = network().await;
    let mut draft = for_test("hello", "m", None, None);
    draft.set("status", "draft");
    let id = network.nodes[0].create(draft).await;
    network.settle().await;
    assert_eq!(network.nodes[0].history(&id).await, ["draft"]);
}

#[tokio::test]
async fn bpmn_004_to_007_a_task_that_no_process_takes_fails_with_the_reason() {
    let network = network().await;
    let node = &network.nodes[0];
    let mut unnamed = for_test("hello", "m", None, None);
    unnamed.remove("input");
    let long = "k".repeat(crate::limits::KEY_BYTES + 1);
    let cases = [
        (new_task("http://test.org/bpe/Process/hello|9.9", "m", None, None), "Process not found"),
        (new_task("http://test.org/bpe/Process/hello", "m", None, None), "does not match"),
        (for_test("hello", "unknown", None, None), "Process with start message-name 'unknown' not found"),
        (unnamed, "messageName"),
        (for_test("hello", "m", Some(&long), None), "business-key is longer"),
    ];
    for (task, expected) in cases {
        let id = node.create(task).await;
        assert_eq!(node.history(&id).await, ["requested", "failed"]);
        let error = error_of(&node.task(&id).await).unwrap();
        assert!(error.contains(expected), "{error}");
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_task_that_is_given_twice_starts_one_instance() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(for_test("waits", "m", Some("A"), None)).await;
    let (runtime, taken) = (node.runtime(), node.task(&id).await);
    let again = node.store().write(move |tx| runtime.accept(tx, &taken)).await.unwrap();
    assert_eq!(again, None);
    assert_eq!(node.instances(false).await.len(), 1);
}

#[tokio::test]
async fn bpmn_077_a_start_that_cannot_be_followed_fails_its_task_and_is_not_refused() {
    let network = network().await;
    for process in ["broken", "late"] {
        let ended = run(&network, process).await;
        assert_eq!(ended.str("status"), Some("failed"));
        assert!(error_of(&ended).unwrap().contains("missing"), "{process}");
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_step_that_fails_fails_the_task_and_keeps_its_outputs() {
    let network = network().await;
    let ended = run(&network, "fails").await;
    assert_eq!(ended.str("status"), Some("failed"));
    let error = error_of(&ended).unwrap();
    assert_eq!(error, "Process testorg_fails|1.0 has fatal error in step do, reason: the disk is on fire");
    assert_eq!(notes(&ended), ["before"]);
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_059_a_failing_branch_ends_the_whole_instance() {
    let network = network().await;
    let ended = run(&network, "branches").await;
    assert!(error_of(&ended).unwrap().contains("the disk is on fire"));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_056_and_058_a_caught_error_goes_its_way() {
    let network = network().await;
    let ended = run(&network, "caught").await;
    assert_eq!((ended.str("status"), notes(&ended)), (Some("completed"), vec!["X/m".to_owned()]));
    let ended = run(&network, "any").await;
    assert_eq!((ended.str("status"), notes(&ended)), (Some("completed"), vec!["X/".to_owned()]));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_057_an_uncaught_error_ends_its_token_and_leaves_no_task() {
    let network = network().await;
    let ended = run(&network, "uncaught").await;
    assert_eq!(ended.str("status"), Some("completed"));
    network.assert_quiet().await;
}

#[tokio::test]
async fn an_instance_that_waits_for_nothing_fails_and_says_where() {
    let network = network().await;
    let ended = run(&network, "stuck").await;
    let error = error_of(&ended).unwrap();
    assert!(error.contains("stuck") && error.contains("join"), "{error}");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_process_that_goes_round_for_ever_is_stopped() {
    let network = network().await;
    let ended = run(&network, "endless").await;
    assert!(error_of(&ended).unwrap().contains("without end"));
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_054_and_055_a_message_that_cannot_be_sent_fails_its_task() {
    let network = network().await;
    for process in ["throw", "last"] {
        network.post.plan("b", &[Fault::Unreachable]);
        let ended = run(&network, process).await;
        let key = task::message_input(&ended, terms::BUSINESS_KEY).unwrap();
        assert_eq!(
            error_of(&ended).unwrap(),
            format!(
                "Task http://test.org/bpe/Process/hello|1.0 send failed [recipient: b, endpoint: b-endpoint, \
                 businessKey: {key}, message: m, error: connection refused]"
            )
        );
        assert!(notes(&ended).is_empty(), "nothing runs behind it");
    }
    network.assert_quiet().await;
    assert!(network.nodes[1].tasks().await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_sent_completes_and_starts_its_process() {
    let network = network().await;
    for process in ["throw", "last"] {
        let ended = run(&network, process).await;
        assert_eq!(ended.str("status"), Some("completed"));
    }
    network.assert_quiet().await;
    assert_eq!(network.nodes[1].tasks().await.len(), 2);
}

#[tokio::test]
async fn bpmn_063_and_078_a_timer_takes_its_way_and_a_late_message_fails() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = node.create(for_test("waits", "m", Some("A"), None)).await;
    network.clock.advance(Duration::seconds(29));
    network.settle().await;
    assert_eq!(node.status(&id).await, "in-progress");
    network.clock.advance(Duration::seconds(2));
    network.settle().await;
    assert_eq!(notes(&node.task(&id).await).len(), 1);
    let late = node.create(for_test("waits", "go", Some("A"), None)).await;
    assert_eq!(error_of(&node.task(&late).await).unwrap(), "Process with start message-name 'go' not found");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_message_ends_the_wait_and_cancels_the_timer() {
    let network = network().await;
    let node = &network.nodes[0];
    let start = node.create(for_test("waits", "m", Some("A"), None)).await;
    let go = node.create(for_test("waits", "go", Some("A"), None)).await;
    assert_eq!((node.status(&start).await, node.status(&go).await), ("completed".to_owned(), "completed".to_owned()));
    network.assert_quiet().await;
}

#[tokio::test]
async fn of_two_messages_for_one_wait_the_second_is_kept_and_fails_when_nobody_can_take_it() {
    let network = network().await;
    let node = &network.nodes[0];
    node.create(for_test("keys", "m", Some("A"), None)).await;
    let first = node.create(for_test("keys", "go", Some("A"), Some("one"))).await;
    let second = node.create(for_test("keys", "go", Some("A"), Some("one"))).await;
    assert_eq!(node.status(&second).await, "in-progress", "somebody may still wait for it");
    for key in ["two", "three"] {
        node.create(for_test("keys", "go", Some("A"), Some(key))).await;
    }
    assert_eq!(node.status(&first).await, "completed");
    assert_eq!(error_of(&node.task(&second).await).unwrap(), "Unable to correlate Task");
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_064_messages_find_their_receivers_in_any_order() {
    for order in [["three", "one", "two"], ["two", "three", "one"]] {
        let network = network().await;
        let node = &network.nodes[0];
        let start = node.create(for_test("keys", "m", Some("A"), None)).await;
        for key in order {
            assert_eq!(node.status(&start).await, "in-progress");
            let id = node.create(for_test("keys", "go", Some("A"), Some(key))).await;
            assert_ne!(node.status(&id).await, "failed");
        }
        assert_eq!(node.status(&start).await, "completed");
        network.assert_quiet().await;
    }
}

#[tokio::test]
async fn bpmn_076_a_message_that_fits_two_instances_fails_and_touches_neither() {
    let network = network().await;
    let node = &network.nodes[0];
    for _ in 0..2 {
        node.create(for_test("waits", "m", Some("A"), None)).await;
    }
    let go = node.create(for_test("waits", "go", Some("A"), None)).await;
    assert_eq!(error_of(&node.task(&go).await).unwrap(), "Unable to correlate Task");
    assert_eq!(node.instances(false).await.len(), 2);
    network.clock.advance(Duration::seconds(31));
    network.settle().await;
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_074_and_075_a_reply_may_use_the_alternative_business_key() {
    let network = network().await;
    let node = &network.nodes[0];
    let start = node.create(for_test("alternative", "m", Some("A"), None)).await;
    let unknown = node.create(for_test("alternative", "go", Some("new-key"), None)).await;
    assert_eq!(node.status(&unknown).await, "failed");
    let reply = node.create(for_test("alternative", "go", Some("other-key"), None)).await;
    assert_eq!(
        (node.status(&start).await, node.status(&reply).await),
        ("completed".to_owned(), "completed".to_owned())
    );
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_message_that_nobody_takes_fails_after_its_time() {
    let network = network().await;
    let node = &network.nodes[0];
    node.create(for_test("alternative", "m", Some("A"), None)).await;
    let stray = node.create(for_test("alternative", "go", Some("A"), Some("nobody"))).await;
    network.clock.advance(crate::limits::INBOX_TIME - Duration::seconds(1));
    network.settle().await;
    assert_eq!(node.status(&stray).await, "in-progress");
    network.clock.advance(Duration::seconds(2));
    network.settle().await;
    assert_eq!(error_of(&node.task(&stray).await).unwrap(), "Unable to correlate Task");
}

#[tokio::test]
async fn one_business_key_cannot_fill_the_inbox() {
    let network = network().await;
    let node = &network.nodes[0];
    node.create(for_test("alternative", "m", Some("A"), None)).await;
    let (store, runtime) = (node.store(), node.runtime());
    let statuses = store.write(move |tx| {
        let mut statuses = Vec::new();
        for _ in 0..crate::limits::INBOX_PER_KEY + 1 {
            let created =
                tx.create(for_test("alternative", "go", Some("A"), Some("nobody")), &uuid::Uuid::new_v4().to_string())?;
            let taken = runtime.accept(tx, &created.resource)?;
            statuses.push(taken.and_then(|task| task.str("status").map(str::to_owned)).unwrap_or_default());
        }
        Ok::<_, crate::ProcessError>(statuses)
    });
    let statuses = statuses.await.unwrap();
    assert_eq!((statuses[0].as_str(), statuses.last().map(String::as_str)), ("in-progress", Some("failed")));
}

#[tokio::test]
async fn ended_instances_are_removed_after_their_time_and_waiting_ones_never() {
    let network = network().await;
    let node = &network.nodes[0];
    for process in ["hello", "brief", "alternative"] {
        node.create(for_test(process, "m", None, None)).await;
    }
    let runtime = node.runtime();
    assert_eq!(crate::retention::remove_old(&runtime).await.unwrap(), 0);
    network.clock.advance(Duration::days(3));
    assert_eq!(crate::retention::remove_old(&runtime).await.unwrap(), 1, "brief has P2D");
    network.clock.advance(Duration::days(28));
    assert_eq!(crate::retention::remove_old(&runtime).await.unwrap(), 1);
    assert_eq!((node.instances(true).await.len(), node.instances(false).await.len()), (0, 1));
    assert_eq!(node.tasks().await.len(), 3, "Tasks stay");
    // Unless the node says for how long; what has not ended stays whatever it says.
    let kept = |days: u64| Some(std::time::Duration::from_secs(days * 86_400));
    assert_eq!(crate::retention::remove_old_tasks(&runtime, None).await.unwrap(), 0);
    assert_eq!(crate::retention::remove_old_tasks(&runtime, kept(32)).await.unwrap(), 0);
    assert_eq!(crate::retention::remove_old_tasks(&runtime, kept(30)).await.unwrap(), 2);
    let left = node.tasks().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].str("status"), Some("in-progress"));
    // The same for what was replaced, by whoever runs after a restart.
    let id = left[0].id().unwrap().to_owned();
    assert_eq!(node.history(&id).await, ["requested", "in-progress"]);
    drop(runtime);
    node.restart().await;
    let runtime = node.runtime();
    assert_eq!(crate::retention::remove_old_versions(&runtime, None).await.unwrap(), 0);
    assert_eq!(crate::retention::remove_old_versions(&runtime, kept(32)).await.unwrap(), 0);
    assert!(crate::retention::remove_old_versions(&runtime, kept(30)).await.unwrap() > 0);
    assert_eq!(node.status(&id).await, "in-progress", "what is current stays");
    let first = node.write(move |tx| tx.read_version(fhir::ResourceType::Task, &id, 1)).await;
    assert!(first.current().is_none());
}
