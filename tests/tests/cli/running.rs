//! Commands that ask a running node.

use tests::{shared, tasks};

use super::{PING, run, text};

#[tokio::test]
async fn status_tasks_and_processes_of_a_running_node() {
    let network = shared();
    let portal = network.node("portal");
    let directory = text(&portal.directory);
    let status = run(&["status", directory]).expect(0);
    for words in ["portal.example", &portal.base_url, "allow-list version", "policy version", "days left"] {
        assert!(status.out.contains(words), "{words}: {}", status.out);
    }
    let status = run(&["status", directory, "--format", "json"]).expect(0).json();
    assert_eq!(status["organization-identifier"], "portal.example");
    assert_eq!(status["gateways-connected"], 1);
    assert_eq!(status["resources"]["Organization"], 5);
    assert!(status["client-certificate-days-left"].as_i64() > Some(300), "{status:#}");

    let processes = run(&["process", "list", directory]).expect(0);
    for words in
        [PING, "http://dsf.dev/bpe/Process/pong|1.0", "http://dsf.dev/bpe/Process/pingAutostart|1.0", "startPing"]
    {
        assert!(processes.out.contains(words), "{words}: {}", processes.out);
    }
    let processes = run(&["process", "list", directory, "--format", "json"]).expect(0).json();
    // Six of ping-pong, two of the allow-list, two of feasibility, six of data sharing.
    assert_eq!(processes["processes"].as_array().unwrap().len(), 16);

    let started = run(&["task", "start", directory, PING, "startPing", "--wait"]).expect(0);
    assert!(started.out.contains("completed") && started.out.contains(PING), "{}", started.out);
    let target = "http://dsf.dev/fhir/CodeSystem/ping|target-endpoints=Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|dsf.ttp.example";
    let started =
        run(&["--format", "json", "task", "start", directory, PING, "startPing", "--input", target, "--wait"])
            .expect(0)
            .json();
    let replies = tasks::replies(&started["resource"]);
    assert_eq!(replies.len(), 1, "{started:#}");
    assert_eq!((replies[0].organization.as_str(), replies[0].status.as_str()), ("ttp.example", "pong-received"));

    let listed = run(&["task", "list", directory]).expect(0);
    assert!(
        listed.out.contains("completed") && listed.out.contains("startPing") && listed.out.contains("of "),
        "{}",
        listed.out
    );
    let listed =
        run(&["--format", "json", "task", "list", directory, "--status", "completed", "--count", "2"]).expect(0).json();
    let list = listed["tasks"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert!(listed["total"].as_u64() > Some(2), "{listed:#}");
    assert!(list.iter().all(|task| task["status"] == "completed"), "{listed:#}");
    assert!(list[0]["last-updated"].as_str() >= list[1]["last-updated"].as_str(), "newest first");
}

#[tokio::test]
async fn refused_commands_say_what_would_be_right() {
    let network = shared();
    let directory = network.node("portal").directory;
    let directory = text(&directory);
    let unknown = run(&["task", "start", directory, "http://dsf.dev/bpe/Process/unknown|1.0", "startPing"]).expect(1);
    assert!(unknown.err.contains("schleuse process list"), "{}", unknown.err);
    let message = run(&["task", "start", directory, PING, "nonsense"]).expect(1);
    assert!(message.err.contains("startPing"), "{}", message.err);
    let interval = "http://dsf.dev/fhir/CodeSystem/ping|timer-interval=often";
    let process = "http://dsf.dev/bpe/Process/pingAutostart|1.0";
    let profile = run(&["task", "start", directory, process, "startPingAutostart", "--input", interval]).expect(1);
    assert!(profile.err.contains("timer-interval"), "{}", profile.err);
}
