//! The demonstration as a newcomer runs it, after every kind of end, and what a ping says about sites that do not answer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tests::binaries::{binary, is_slow};
use tests::guard::Guard;
use tests::network::{Process, folder};
use tests::tasks::Reply;
use tests::{Network, Output, Schleuse, search, tasks, until};

/// Longest run of a demonstration, on a machine that compiles at the same time.
const DEMO_TIME: Duration = Duration::from_secs(240);

fn demo_once(directory: &Path, more: &[&str]) -> Output {
    let mut arguments = vec![OsStr::new("demo"), OsStr::new("--once"), OsStr::new("--port"), OsStr::new("0")];
    arguments.extend([OsStr::new("--directory"), directory.as_os_str()]);
    arguments.extend(more.iter().map(OsStr::new));
    Schleuse::run_within(DEMO_TIME, &arguments)
}

/// Demands that the run succeeded and that every site is in the table as answered.
fn all_answered(output: &Output, sites: &[&str]) {
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    let lines: Vec<&str> = output.out.lines().filter(|line| !line.trim().is_empty()).collect();
    for column in ["site", "reachable", "status", "round trip", "certificate days left"] {
        assert!(lines[0].contains(column), "{}", output.out);
    }
    let (lines, cohorts) = lines.split_at(sites.len() + 1);
    for column in ["told", "counted", "truth"] {
        assert!(cohorts[0].contains(column), "{}", output.out);
    }
    let centres = sites.iter().filter(|site| site.starts_with("dic-")).count();
    // The head, three questions to each, and what to think of the numbers; then the merged data set in the same way.
    let (cohorts, merged) = cohorts.split_at(2 + 3 * centres);
    assert!(merged[0].starts_with("merged data set") && merged.len() == 7, "{}", output.out);
    for line in &merged[1..6] {
        assert!(line.ends_with("fits"), "{line}");
    }
    for line in &cohorts[1..=3 * centres] {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((cells[2], cells[4]), (cells[3], "fits"), "{line}");
        assert_eq!(cells[1].parse::<u64>().unwrap() % 10, 0, "{line}");
    }
    for (line, site) in lines[1..].iter().zip(sites) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((cells[0], cells[2], cells[3]), (*site, "yes", "pong-received"), "{}", output.out);
        let days: i64 = cells.last().unwrap().parse().unwrap_or_else(|_| panic!("days left: {line}"));
        assert!((300..=366).contains(&days), "{line}");
    }
}

#[test]
fn demonstration_succeeds_twice_in_the_same_directory() {
    let place = folder();
    let directory = place.path().join("net");
    let sites = ["dic-1", "dic-2", "dic-3", "dms", "ttp"];
    all_answered(&demo_once(&directory, &[]), &sites);
    all_answered(&demo_once(&directory, &[]), &sites);
    let json = demo_once(&directory, &["--format", "json"]).expect(0).json();
    let rows = json["ping"].as_array().unwrap();
    assert_eq!(rows.len(), sites.len());
    let cohorts = json["feasibility"].as_array().unwrap();
    assert_eq!(cohorts.len(), 9, "{json:#}");
    assert!(cohorts.iter().all(|count| count["counted"] == count["truth"] && count["told"].is_u64()), "{json:#}");
    assert!(cohorts.iter().any(|count| count["counted"].as_u64() > Some(5)), "{json:#}");
    assert!(rows.iter().all(|row| row["reachable"] == true && row["certificate-days-left"].is_i64()), "{json:#}");
    for name in ["portal", "dic-1", "dic-2", "dic-3", "dms", "ttp"] {
        let run = directory.join("nodes").join(name);
        Schleuse::run(&[OsStr::new("audit"), OsStr::new("verify"), run.as_os_str()]).expect(0);
    }
}

#[test]
fn demonstration_without_a_directory_leaves_nothing_behind() {
    let place = folder();
    let arguments = ["demo", "--once", "--sites", "1", "--port", "0"];
    let mut command = std::process::Command::new(binary("schleuse"));
    let output = command.args(arguments).env("TMPDIR", place.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn demonstration_succeeds_after_a_run_that_was_killed_at_any_moment() {
    let place = folder();
    let directory = place.path().join("net");
    // From the first file to the table; spread by the clock, so that runs differ.
    let spread =
        u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_millis() % 50);
    let moments: Vec<u64> =
        if is_slow() { (0..40).map(|index| index * 60 + spread).collect() } else { vec![40, 250, 450, 700, 1200] };
    for (run, moment) in moments.into_iter().enumerate() {
        let notes = place.path().join(format!("notes-{run}"));
        std::fs::create_dir(&notes).unwrap();
        let program = binary("schleuse");
        let command = [
            program.as_os_str(),
            OsStr::new("demo"),
            OsStr::new("--port"),
            OsStr::new("0"),
            OsStr::new("--sites"),
            OsStr::new("1"),
            OsStr::new("--directory"),
            directory.as_os_str(),
        ];
        let guard = Guard::start(&notes, None, &command);
        std::thread::sleep(Duration::from_millis(moment + spread));
        // Sometimes only the program, whose children must then leave by themselves; sometimes all of it at once.
        let children = children_of(guard.pid().as_raw_nonzero().get());
        guard.signal(Signal::KILL);
        if run % 2 == 1 {
            for child in children {
                let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(child).unwrap(), Signal::KILL);
            }
        }
        drop(guard);
        all_answered(&demo_once(&directory, &["--sites", "1"]), &["dic-1", "dms", "ttp"]);
    }
}

/// Process ids whose parent is `parent`.
fn children_of(parent: i32) -> Vec<i32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default().to_owned();
        after_name.split_whitespace().nth(1).and_then(|text| text.parse::<i32>().ok()) == Some(parent)
    };
    processes.filter(is_child).collect()
}

#[test]
fn demonstration_refuses_a_directory_in_use_and_another_size() {
    let place = folder();
    let directory = place.path().join("net");
    let network = Network::start_in(&directory, place.path(), 1).unwrap();
    let second = demo_once(&directory, &["--sites", "1"]).expect(1);
    assert!(second.err.contains("in use"), "{}", second.err);
    drop(network);
    let other = demo_once(&directory, &["--sites", "2"]).expect(1);
    assert!(other.err.contains("--sites"), "{}", other.err);
}

#[tokio::test]
async fn ping_says_why_a_site_does_not_answer_and_the_others_still_do() {
    let network = Network::start(4);
    let portal = network.organization("portal", "portal");
    let first = tasks::run_ping(&portal, "portal.example").await;
    assert_eq!(first.len(), 6);
    assert!(first.iter().all(|reply| reply.status == "pong-received" && reply.error.is_none()), "{first:#?}");

    // dic-1 listens elsewhere: nobody listens where partners look.
    let elsewhere = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let dic_1 = network.node("dic-1");
    let port = network.organization("dic-1", "dic-1").port();
    dic_1.edit("node.toml", |text| {
        text.replace(&format!("\"127.0.0.1:{port}\""), &format!("\"127.0.0.1:{elsewhere}\""))
    });
    network.kill("dic-1", Process::Gateway).await;
    // dic-2 is alive for the kernel and answers nothing.
    let dic_2 = network.node("dic-2");
    dic_2.signal(Process::Gateway, Signal::STOP);
    // dic-3 shows a certificate of an authority that nobody trusts.
    let dic_3 = network.node("dic-3");
    foreign_server_certificate(&dic_3);
    network.kill("dic-3", Process::Gateway).await;
    // dms no longer lists the portal.
    let at_dms = network.organization("dms", "dms");
    let mut organization =
        search::all(&at_dms, "Organization", "identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example")
            .await
            .remove(0);
    organization["active"] = json!(false);
    let target = format!("/Organization/{}", organization["id"].as_str().unwrap());
    let removed = at_dms.put(&target, &organization).await.expect(200);
    // ttp takes the ping and may not send the pong.
    let ttp = network.node("ttp");
    let reloaded = "schleuse_reload_last_success{process=\"engine\"}";
    let before = ttp.metric(reloaded).await.unwrap_or(0.0);
    ttp.edit("policies/outbound.toml", |text| text.replace("private-hosts = [\"localhost\"]", "private-hosts = []"));
    ttp.signal(Process::Engine, Signal::HUP);
    ttp.signal(Process::Gateway, Signal::HUP);
    until("the reload of ttp", Duration::from_secs(30), async || {
        ttp.metric(reloaded).await.filter(|time| *time > before)
    })
    .await;

    let started = Instant::now();
    let replies = tasks::run_ping(&portal, "portal.example").await;
    let took = started.elapsed();
    dic_2.signal(Process::Gateway, Signal::CONT);
    let of = |site: &str| {
        let found: Vec<&Reply> =
            replies.iter().filter(|reply| reply.organization == format!("{site}.example")).collect();
        assert_eq!(found.len(), 1, "{site}: {replies:#?}");
        (found[0].status.as_str(), found[0].error.as_deref().unwrap_or_default().to_lowercase())
    };
    assert_eq!(replies.len(), 6, "{replies:#?}");
    assert_eq!(of("dic-4"), ("pong-received", String::new()), "{replies:#?}");
    for (site, status, reason) in [
        ("dic-1", "not-reachable", "refused"),
        ("dic-2", "not-reachable", "timed out"),
        ("dic-3", "not-reachable", "tls"),
        ("dms", "not-allowed", "403"),
        ("ttp", "pong-missing", ""),
    ] {
        let (found, error) = of(site);
        assert_eq!(found, status, "{site}: {error}");
        assert!(error.contains(reason), "{site}: {error}");
    }
    assert!(took < Duration::from_secs(30), "a ping waits 20 s for pongs, this one took {took:?}");

    // What stood in the way goes away, and all is well without a restart of the portal.
    dic_1.edit("node.toml", |text| {
        text.replace(&format!("\"127.0.0.1:{elsewhere}\""), &format!("\"127.0.0.1:{port}\""))
    });
    network.kill_and_await_restart("dic-1", Process::Gateway).await;
    let mut organization = removed.json();
    organization["active"] = json!(true);
    at_dms.put(&target, &organization).await.expect(200);
    let before = ttp.metric(reloaded).await.unwrap_or(0.0);
    ttp.edit("policies/outbound.toml", |text| text.replace("private-hosts = []", "private-hosts = [\"localhost\"]"));
    ttp.signal(Process::Engine, Signal::HUP);
    ttp.signal(Process::Gateway, Signal::HUP);
    until("the reload of ttp", Duration::from_secs(30), async || {
        ttp.metric(reloaded).await.filter(|time| *time > before)
    })
    .await;
    let again = tasks::run_ping(&portal, "portal.example").await;
    for reply in again {
        let expected = if reply.organization == "dic-3.example" { "not-reachable" } else { "pong-received" };
        assert_eq!(reply.status, expected, "{reply:?}");
    }
}

fn foreign_server_certificate(node: &tests::Node) {
    use certs::development::{Authority, KeyType, Subject, Validity};
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
    let authority = Authority::root(&Subject::german("Foreign", "Foreign CA"), KeyType::EcdsaP256, validity).unwrap();
    let issued = authority
        .issue_server(&Subject::german("dic-3.example", "localhost"), &["localhost"], KeyType::EcdsaP256, validity)
        .unwrap();
    std::fs::write(node.path("certificates/server.key"), issued.private_key_pem()).unwrap();
    std::fs::write(node.path("certificates/server.pem"), issued.chain_pem()).unwrap();
}

#[test]
fn table_shows_the_true_reason() {
    let place = folder();
    let directory = place.path().join("net");
    all_answered(&demo_once(&directory, &["--sites", "1"]), &["dic-1", "dms", "ttp"]);
    // The security officer of dic-1 refuses Tasks of the portal.
    let rules = directory.join("nodes/dic-1/policies/rules.toml");
    let text = std::fs::read_to_string(&rules).unwrap();
    let denied = "\n[[rule]]\nid = \"no-portal\"\ndescription = \"Not from the portal.\"\neffect = \"deny\"\nsubject = \"org:portal.example\"\nmatch = { operations = [\"create\"], types = [\"Task\"] }\n";
    let place_of_rule = text.find("\n[[rule]]").unwrap();
    std::fs::write(&rules, format!("{}{denied}{}", &text[..place_of_rule], &text[place_of_rule..])).unwrap();
    let output = demo_once(&directory, &["--sites", "1"]).expect(1);
    let line =
        |site: &str| output.out.lines().find(|line| line.starts_with(site)).unwrap_or_else(|| panic!("{}", output.out));
    let cells: Vec<&str> = line("dic-1").split_whitespace().collect();
    assert_eq!((cells[2], cells[3]), ("no", "not-allowed"), "{}", output.out);
    assert!(line("dic-1").contains("403"), "{}", output.out);
    for site in ["dms", "ttp"] {
        assert!(line(site).contains("pong-received"), "{}", output.out);
    }
    // Nobody waits for what cannot come.
    assert!(output.out.contains("no merged data set: none was asked for, because dic-1"), "{}", output.out);
}
