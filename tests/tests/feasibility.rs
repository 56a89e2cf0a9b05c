//! Feasibility between real nodes: a portal as its own software does it, and by the command line. Names `share_aNN` are the
//! cases of `data-sharing-processes.md` section 17.1.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::feasibility::{BASE, Lab, TAG, TIME, answered, answers, business_key, question, transaction};
use tests::network::Process;
use tests::{Client, Schleuse, tasks, until, websocket};

const UNKNOWN: &str = r#"{"version":"2","inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Diagnose","display":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"ZZZ","display":"ZZZ"}]}]]}"#;

/// What may be told of a count: noise beyond 25 has a probability of four in a million.
fn is_told_of(told: u64, truth: u64) -> bool {
    if truth < 5 { told == 0 } else { told.is_multiple_of(10) && told.abs_diff(truth) <= 30 }
}

/// The portal's subscription, made unless it is there.
async fn subscription(client: &Client) -> String {
    let search = "/Subscription?criteria=Task%3Fstatus%3Dcompleted&status=active&type=websocket&payload=application%2Ffhir%2Bjson";
    for _ in 0..2 {
        let found = client.get_with(search, &[("prefer", "handling=strict")]).await.expect(200).json();
        match found["total"].as_u64().unwrap() {
            0 => {
                let subscription = json!({
                    "resourceType": "Subscription", "meta": { "tag": [{ "system": TAG, "code": "ALL" }] },
                    "status": "active", "reason": "results", "criteria": "Task?status=completed",
                    "channel": { "type": "websocket", "payload": "application/fhir+json" },
                });
                client.post("/Subscription", &subscription).await.expect(201);
            }
            1 => return found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned(),
            more => panic!("{more} subscriptions"),
        }
    }
    panic!("the subscription that was made is not found");
}

/// Follows the contract of the national portal step by step; counts by site.
async fn ask_as_portal(lab: &Lab, definition: &str) -> BTreeMap<String, u64> {
    let portal = lab.node("portal");
    let client = lab.network.organization("portal", "portal");
    let id = subscription(&client).await;
    let mut socket = websocket::open(&client).await.unwrap();
    websocket::say(&mut socket, &format!("bind {id}")).await;
    assert_eq!(websocket::hear(&mut socket).await.unwrap(), format!("bound {id}"));
    let key = uuid::Uuid::new_v4().to_string();
    client.post("", &transaction(&portal, &key, definition)).await.expect(200);
    let mut counts = BTreeMap::new();
    while counts.len() < 2 {
        let task: Value = serde_json::from_str(&websocket::hear(&mut socket).await.unwrap()).unwrap();
        let profile = format!("{BASE}/fhir/StructureDefinition/feasibility-task-single-dic-result|1.0");
        if task["meta"]["profile"][0] != json!(profile) {
            continue;
        }
        assert_eq!((task["status"].as_str(), business_key(&task)), (Some("completed"), Some(key.clone())));
        let site = task["requester"]["identifier"]["value"].as_str().unwrap().to_owned();
        let reference = task["output"][0]["valueReference"]["reference"].as_str().unwrap();
        let path =
            reference.strip_prefix(&portal.base_url).unwrap_or_else(|| panic!("{reference} is not the portal's own"));
        let report = client.get(path).await.expect(200).json();
        assert_eq!(report["meta"]["tag"][0]["code"], "LOCAL", "{report}");
        assert_eq!(report["group"].as_array().unwrap().len(), 1);
        counts.insert(site, report["group"][0]["population"][0]["count"].as_u64().unwrap());
        // No partner sees the portal's copy; the portal deletes it for good.
        assert_eq!(lab.network.organization("dic-1", "portal").get(path).await.status, 403);
        client.delete(path).await.expect(200);
        client
            .send("POST", &format!("{path}/$permanent-delete"), &[("accept", tests::client::JSON)], "")
            .await
            .expect(200);
        client.get(path).await.expect(404);
    }
    counts
}

#[tokio::test]
async fn share_a01_to_a04_and_a21_the_portal_s_contract_step_by_step() {
    let lab = Lab::start();
    // A1 and A21: both sites answer, by the contract.
    let diabetes = question("diabetes");
    let truth = lab.truth_of("diabetes");
    let told = ask_as_portal(&lab, diabetes.definition).await;
    assert_eq!(told.len(), 2);
    for (number, truth) in truth.iter().enumerate() {
        let told = told[&format!("dic-{}.example", number + 1)];
        assert!(is_told_of(told, *truth), "told {told}, true {truth}");
    }
    // A3: the command line is told the same, before and after a restart of the sites.
    let first = lab.ask("portal", diabetes.definition, &[]).expect(0).json();
    let sorted: Vec<u64> = told.values().copied().collect();
    assert_eq!(answers(&first), answered(&sorted));
    assert_eq!((&first["answered"], first["total"].as_u64()), (&json!(2), Some(sorted.iter().sum())));
    for site in ["dic-1", "dic-2"] {
        lab.network.kill_and_await_restart(site, Process::Engine).await;
    }
    for _ in 0..3 {
        assert_eq!(answers(&lab.ask("portal", diabetes.definition, &[]).expect(0).json()), answers(&first));
    }
    // A4: a small count is told as none.
    let rare = lab.ask("portal", question("rare").definition, &[]).expect(0).json();
    for ((_, told), truth) in answers(&rare).values().zip(lab.truth_of("rare")) {
        assert!(is_told_of(told.unwrap(), truth), "told {told:?}, true {truth}");
    }
    // A2: without obfuscation the truth is told.
    for site in ["dic-1", "dic-2"] {
        lab.configure(site, |text| format!("{text}obfuscate = false\n")).await;
    }
    for name in ["diabetes", "pressure", "rare"] {
        let told = lab.ask("portal", question(name).definition, &[]).expect(0).json();
        assert_eq!(answers(&told), answered(&lab.truth_of(name)), "{name}");
        // What was answered can be looked at later.
        let directory = lab.node("portal").directory.display().to_string();
        let id = told["task"].as_str().unwrap();
        let shown = Schleuse::run(&["--format", "json", "feasibility", "show", id, "--directory", &directory]);
        assert_eq!(shown.expect(0).json(), told);
    }
    many_questions_at_one_time(&lab).await;
    // A16: version 1.1 beside 1.0, where it is installed.
    let refused = lab.ask("portal", diabetes.definition, &["--process-version", "1.1"]).expect(78).err;
    assert!(refused.contains("[feasibility]"), "{refused}");
    for node in ["portal", "dic-1", "dic-2"] {
        lab.configure(node, |text| format!("{text}\n[feasibility]\nversions = [\"1.0\", \"1.1\"]\n")).await;
    }
    for version in ["1.1", "1.0"] {
        let told = lab.ask("portal", diabetes.definition, &["--process-version", version]).expect(0).json();
        assert_eq!(answers(&told), answered(&truth), "{version}");
    }
}

/// A20: fifty questions at one time are all answered, each with its own counts.
async fn many_questions_at_one_time(lab: &Lab) {
    const QUESTIONS: usize = 50;
    let (portal, client) = (lab.node("portal"), lab.network.organization("portal", "portal"));
    let names = ["diabetes", "pressure", "rare"];
    let ask = |number: usize| {
        let name = names[number % names.len()];
        let key = uuid::Uuid::new_v4().to_string();
        let bundle = transaction(&portal, &key, question(name).definition);
        let client = &client;
        async move {
            let begun = Instant::now();
            let stored = client.post("", &bundle).await.expect(200).json();
            let location = stored["entry"][0]["response"]["location"].as_str().unwrap().to_owned();
            let id = location.split_once("Task/").unwrap().1.split('/').next().unwrap().to_owned();
            (id, key, name, begun)
        }
    };
    // A portal has some connections; the questions are open at one time all the same, because the sites are slower.
    let asked = futures_util::stream::iter(0..QUESTIONS).map(ask).buffer_unordered(5);
    let asked: Vec<(String, String, &str, Instant)> = asked.collect().await;
    let of_key: BTreeMap<&String, &str> = asked.iter().map(|(_, key, name, _)| (key, *name)).collect();
    let mut ended: BTreeMap<&String, Duration> = BTreeMap::new();
    until("the end of all questions", TIME * 3, async || {
        let every = tests::search::all(&client, "Task", "status=completed").await;
        for task in every {
            let found = asked.iter().find(|(id, ..)| task["id"] == json!(id));
            if let Some((id, key, _, begun)) = found {
                assert_eq!(business_key(&task).as_ref(), Some(key), "{task}");
                ended.entry(id).or_insert_with(|| begun.elapsed());
            }
        }
        (ended.len() == QUESTIONS).then_some(())
    })
    .await;
    let mut times: Vec<Duration> = ended.into_values().collect();
    times.sort();
    println!("{QUESTIONS} questions at one time: p95 {:?}", times[QUESTIONS * 95 / 100]);
    let every = tests::search::all(&client, "Task", "").await;
    let profile = format!("{BASE}/fhir/StructureDefinition/feasibility-task-single-dic-result|1.0");
    let mut told = BTreeMap::new();
    for result in every.iter().filter(|task| task["meta"]["profile"][0] == json!(profile)) {
        let Some(name) = business_key(result).and_then(|key| of_key.get(&key).copied()) else { continue };
        let site = result["requester"]["identifier"]["value"].as_str().unwrap();
        let number: usize = site.strip_prefix("dic-").unwrap().split('.').next().unwrap().parse().unwrap();
        let reference = result["output"][0]["valueReference"]["reference"].as_str().unwrap();
        let report = client.get(reference.strip_prefix(&portal.base_url).unwrap()).await.expect(200).json();
        let count = report["group"][0]["population"][0]["count"].as_u64().unwrap();
        assert_eq!(count, lab.truth_of(name)[number - 1], "{name} at {site}");
        assert!(told.insert((business_key(result).unwrap(), number), ()).is_none(), "a site answers once");
    }
    assert_eq!(told.len(), QUESTIONS * 2);
}

#[tokio::test]
async fn share_a05_to_a14_who_does_not_answer_and_why() {
    let lab = Lab::start();
    let diabetes = question("diabetes").definition;
    lab.configure("portal", |text| format!("{text}\n[feasibility]\nanswer-time = \"6s\"\n")).await;
    lab.configure("dic-1", |text| format!("{text}requests-per-hour = 2\n\n[feasibility]\nquestions-per-month = 2\n"))
        .await;

    // A14: a code that nobody knows is an error at the sites and no zero.
    let unknown = lab.ask("portal", UNKNOWN, &[]).expect(1).json();
    assert!(answers(&unknown).values().all(|answer| *answer == ("no-answer".to_owned(), None)), "{unknown}");
    assert!(lab.orders("dic-1").await[0].to_string().contains("ZZZ"));
    // A definition that is none is not sent.
    let broken = lab.ask("portal", "{\"inclusionCriteria\": 1}", &[]).expect(1);
    assert!(broken.out.is_empty() && !broken.err.is_empty());

    // A budget of two questions and a rate of two; what was not answered counts for neither.
    for name in ["diabetes", "pressure"] {
        lab.ask("portal", question(name).definition, &[]).expect(0);
    }
    // A5: the third within the hour is refused with the reference's text, and the other site answers.
    let beyond = lab.ask("portal", question("rare").definition, &[]).expect(1).json();
    assert_eq!(answers(&beyond)["dic-1.example"].0, "no-answer");
    assert_eq!(answers(&beyond)["dic-2.example"].0, "answered");
    let refused = lab.orders("dic-1").await.remove(0);
    assert_eq!(refused["status"], "failed");
    assert_eq!(refused["statusReason"]["text"], "The request rate limit has been exceeded.");
    lab.configure("dic-1", |text| text.replace("requests-per-hour = 2", "requests-per-hour = 99")).await;
    let spent = lab.ask("portal", question("rare").definition, &[]).expect(1).json();
    assert_eq!(answers(&spent)["dic-1.example"].0, "no-answer");
    assert!(lab.orders("dic-1").await[0].to_string().contains("2 different questions in thirty days"));
    lab.ask("portal", diabetes, &[]).expect(0);

    // A7: a site that takes the question and never answers costs the time that the node says, no more.
    lab.configure("dic-2", |text| text.replace("processes = \"installed\"", "processes = \"none\"")).await;
    let begun = Instant::now();
    let silent = lab.ask("portal", diabetes, &[]).expect(1).json();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(answers(&silent)["dic-2.example"].0, "no-answer");
    assert_eq!(answers(&silent)["dic-1.example"].0, "answered");
    // A6: one that is away is told at once, with the reason.
    lab.node("dic-2").signal(Process::Gateway, Signal::STOP);
    let away = lab.ask("portal", diabetes, &[]).expect(1).json();
    lab.node("dic-2").signal(Process::Gateway, Signal::CONT);
    let site = away["sites"].as_array().unwrap().iter().find(|site| site["site"] == "dic-2.example").unwrap();
    assert_eq!(site["outcome"], "not-sent", "{away}");
    assert!(!site["reason"].as_str().unwrap().is_empty());

    // A9 and A10: who is no portal asks in vain, at its own node and at others.
    let vain = lab.ask("dic-2", diabetes, &["--no-wait"]);
    assert_eq!(vain.code, Some(0), "the node takes the request: {vain:?}");
    let at_dic = lab.network.organization("dms", "dic-1");
    let mut order = tasks::task(
        &format!("{BASE}/bpe/Process/feasibilityExecute|1.0"),
        &format!("{BASE}/fhir/StructureDefinition/feasibility-task-execute|1.0"),
        "feasibilityExecuteMessage",
        "dms.example",
        "dic-1.example",
    );
    let measure = lab.orders("dic-1").await[0]["input"].as_array().unwrap().last().unwrap().clone();
    let inputs = order["input"].as_array_mut().unwrap();
    inputs.push(tasks::message_input("business-key", &uuid::Uuid::new_v4().to_string()));
    inputs.push(tasks::message_input("correlation-key", &uuid::Uuid::new_v4().to_string()));
    inputs.push(measure);
    let id = at_dic.post("/Task", &order).await.expect(201).created_id();
    let ended = tasks::ended(&lab.network.organization("dic-1", "dic-1"), &id, TIME).await;
    assert_eq!(ended["status"], "failed");
    assert!(ended["output"].to_string().contains("role HRP in no network"), "{ended}");

    // Too few sites are not asked at all.
    lab.configure("portal", |text| text.replace("answer-time = \"6s\"", "answer-time = \"6s\"\nminimum-sites = 3"))
        .await;
    let few = lab.ask("portal", diabetes, &[]).expect(1).json();
    assert!(few["error"].as_str().unwrap().contains("fewer than the 3"), "{few}");
    until("nothing is left in progress", TIME, async || {
        let client = lab.network.organization("portal", "portal");
        let open = client.get("/Task?status=in-progress&_count=0").await.expect(200).json();
        (open["total"] == 0).then_some(())
    })
    .await;
}
