//! Sites whose counts come from servers of the hospital, and what happens to a question when nodes, sites and servers fail.
//! Names `share_aNN` are the cases of `data-sharing-processes.md` section 17.1.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::feasibility::{BASE, Lab, TIME, answers, business_key, question, transaction};
use tests::hospital::Hospital;
use tests::network::Process;
use tests::{Schleuse, tasks, until};

/// `[[source.server]]` tables.
fn server(name: &str, kind: &str, url: &str) -> String {
    format!("[[source.server]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n")
}

/// Puts a portal's transaction, changed, and waits for the order that it makes at the site to end.
async fn order_of(lab: &Lab, site: &str, change: impl FnOnce(&mut Value)) -> Value {
    let portal = lab.node("portal");
    let key = uuid::Uuid::new_v4().to_string();
    let mut bundle = transaction(&portal, &key, question("diabetes").definition);
    change(&mut bundle);
    lab.network.organization("portal", "portal").post("", &bundle).await.expect(200);
    until("the site has done its part", TIME, async || {
        let orders = lab.orders(site).await;
        let order = orders.into_iter().find(|order| business_key(order).as_ref() == Some(&key))?;
        matches!(order["status"].as_str(), Some("completed" | "failed")).then_some(order)
    })
    .await
}

/// Leaves one kind of content out of the Library, which then claims no profile: the MII's demands both.
fn without(media_type: &str) -> impl FnOnce(&mut Value) {
    move |bundle| {
        bundle["entry"][1]["resource"]["meta"].as_object_mut().unwrap().remove("profile");
        let content = bundle["entry"][1]["resource"]["content"].as_array_mut().unwrap();
        content.retain(|content| content["contentType"] != media_type);
    }
}

/// What the request at the portal came to.
async fn finished(lab: &Lab, id: &str) -> Value {
    tasks::ended(&lab.network.organization("portal", "portal"), id, TIME).await;
    let directory = lab.node("portal").directory.display().to_string();
    Schleuse::run(&["--format", "json", "feasibility", "show", id, "--directory", &directory]).json()
}

#[tokio::test]
async fn share_a11_to_a19_servers_of_the_hospital_and_nodes_that_fail() {
    let lab = Lab::start();
    let hospital = Hospital::start();
    hospital.with(|state| (state.flare, state.cql) = (Some(1000), Some(7)));
    let site = lab.node("dic-1");
    let directory = site.directory.display().to_string();
    let flare = server("feasibility", "flare", &hospital.url("/flare"));
    site.edit("node.toml", |text| format!("{text}obfuscate = false\n{flare}"));

    // Where the officer lists every destination and not this one, nothing is sent.
    let mode = ["mode = \"allow-list-endpoints\"", "mode = \"list\""];
    site.edit("policies/outbound.toml", |text| text.replace(mode[0], mode[1]));
    let refused = Schleuse::run(&["source", "check", &directory]).expect(78).err;
    assert!(refused.contains("[outbound]"), "{refused}");
    assert!(Schleuse::run(&["check", &directory]).expect(78).out.contains("[outbound]"));
    site.edit("policies/outbound.toml", |text| text.replace(mode[1], mode[0]));
    let checked = Schleuse::run(&["--format", "json", "source", "check", &directory]).expect(0).json();
    assert_eq!(checked["servers"], json!([{ "name": "feasibility", "ready": true, "found": "FLARE answers" }]));
    assert_eq!(checked["data-sets"], json!({ "possible": true, "reason": null }));
    lab.network.kill_and_await_restart("dic-1", Process::Engine).await;

    // The count is the sum over folder and servers, at the command line and at the portal.
    let diabetes = question("diabetes");
    let truth = lab.truth_of("diabetes")[0];
    let file = lab.network.root().join("diabetes.json");
    std::fs::write(&file, diabetes.definition).unwrap();
    let file = file.display().to_string();
    let counted = ["--format", "json", "source", "count", &file, "--directory", &directory];
    assert_eq!(Schleuse::run(&counted).expect(0).json()["count"], truth + 1000);
    let told = lab.ask("portal", diabetes.definition, &[]).expect(0).json();
    assert_eq!(answers(&told)["dic-1.example"].1, Some(truth + 1000));

    // A15: one source fails, and nothing is told; the partner does not learn which.
    hospital.with(|state| state.flare = None);
    let failed = order_of(&lab, "dic-1", |_| ()).await;
    assert_eq!(failed["status"], "failed");
    let text = failed["output"].to_string();
    assert!(text.contains("the records of this site are not ready") && !text.contains("localhost"), "{text}");
    let checked = Schleuse::run(&["source", "count", &file, "--directory", &directory]).expect(1).err;
    assert!(checked.contains("source feasibility") && checked.contains("403"), "{checked}");
    hospital.with(|state| state.flare = Some(1000));

    // A12 and A13: what a source of the site needs and the question lacks ends it with the reason.
    let lacking = order_of(&lab, "dic-1", without("application/json")).await;
    assert_eq!(lacking["status"], "failed");
    assert!(lacking["output"].to_string().contains("application/json"), "{lacking}");
    assert_eq!(order_of(&lab, "dic-1", without("text/cql")).await["status"], "completed");
    let cql = server("measures", "cql", &hospital.url("/fhir"));
    lab.configure("dic-1", |text| format!("{text}{cql}")).await;
    let lacking = order_of(&lab, "dic-1", without("text/cql")).await;
    assert_eq!(lacking["status"], "failed");
    assert!(lacking["output"].to_string().contains("text/cql"), "{lacking}");
    let both = order_of(&lab, "dic-1", |bundle| {
        use base64::Engine as _;
        let text = "library Retrieve version '1.0.0'\ndefine InInitialPopulation: true\n";
        let content = &mut bundle["entry"][1]["resource"]["content"][1];
        content["data"] = json!(base64::engine::general_purpose::STANDARD.encode(text));
    })
    .await;
    assert_eq!(both["status"], "completed", "{both}");
    let outputs = both["output"].as_array().unwrap();
    let report = outputs.iter().find_map(|output| output["valueReference"]["reference"].as_str()).unwrap();
    let report = report.strip_prefix(&site.base_url).unwrap().to_owned();
    let report = lab.network.organization("dic-1", "dic-1").get(&report).await.expect(200).json();
    assert_eq!(report["group"][0]["population"][0]["count"], truth + 1007);
    let library = hospital.with(|state| state.library.clone());
    assert!(library.ends_with("\ndefine InInitialPopulation: true\n") && !library.contains("Retrieve"), "{library}");
    lab.configure("dic-1", |text| text.replace(&cql, "")).await;

    // A11: a question that lies elsewhere than with who asks is not fetched.
    let order = lab.orders("dic-1").await.remove(0);
    let mut elsewhere = tasks::task(
        &format!("{BASE}/bpe/Process/feasibilityExecute|1.0"),
        &format!("{BASE}/fhir/StructureDefinition/feasibility-task-execute|1.0"),
        "feasibilityExecuteMessage",
        "portal.example",
        "dic-1.example",
    );
    let inputs = elsewhere["input"].as_array_mut().unwrap();
    inputs.push(tasks::message_input("business-key", &uuid::Uuid::new_v4().to_string()));
    inputs.push(tasks::message_input("correlation-key", &uuid::Uuid::new_v4().to_string()));
    let mut measure = order["input"].as_array().unwrap().last().unwrap().clone();
    let third = format!("{}/Measure/{}", lab.node("dic-2").base_url, uuid::Uuid::new_v4());
    measure["valueReference"]["reference"] = json!(third);
    inputs.push(measure);
    let answer = lab.network.organization("portal", "dic-1").post("/Task", &elsewhere).await;
    let asked = hospital.with(|state| state.asked);
    match answer.status {
        201 => {
            let ended = tasks::ended(&lab.network.organization("dic-1", "dic-1"), &answer.created_id(), TIME).await;
            assert_eq!(ended["status"], "failed");
            assert!(ended["output"].to_string().contains("no Measure at the endpoint of its requester"), "{ended}");
        }
        status => assert_eq!(status, 403, "{}", answer.text()),
    }
    assert_eq!(hospital.with(|state| state.asked), asked, "nothing was counted");

    // A17: the portal's engine dies while a site counts; the answer finds its request.
    hospital.with(|state| state.is_held = true);
    let asked = hospital.with(|state| state.asked);
    let open = lab.ask("portal", diabetes.definition, &["--no-wait"]).expect(0).json();
    let open = open["task"].as_str().unwrap().to_owned();
    until("the hospital is asked", TIME, async || hospital.with(|state| (state.asked > asked).then_some(()))).await;
    lab.network.kill_and_await_restart("portal", Process::Engine).await;
    hospital.with(|state| state.is_held = false);
    assert_eq!(answers(&finished(&lab, &open).await)["dic-1.example"].1, Some(truth + 1000));

    // A18: the site's engine dies after it has counted and before its answer arrived; one answer arrives.
    hospital.with(|state| state.is_held = true);
    let asked = hospital.with(|state| state.asked);
    let own = lab.network.organization("dic-1", "dic-1");
    let reports = async || own.get("/MeasureReport?_count=0").await.expect(200).json()["total"].as_u64().unwrap();
    let before = reports().await;
    let open = lab.ask("portal", diabetes.definition, &["--no-wait"]).expect(0).json();
    let open = open["task"].as_str().unwrap().to_owned();
    until("the hospital is asked", TIME, async || hospital.with(|state| (state.asked > asked).then_some(()))).await;
    lab.node("portal").signal(Process::Gateway, Signal::STOP);
    hospital.with(|state| state.is_held = false);
    until("the count is stored", TIME, async || (reports().await > before).then_some(())).await;
    site.signal(Process::Engine, Signal::KILL);
    lab.node("portal").signal(Process::Gateway, Signal::CONT);
    let told = finished(&lab, &open).await;
    assert_eq!(answers(&told)["dic-1.example"].1, Some(truth + 1000));
    assert_eq!(reports().await, before + 1);

    // A19: the same answer again, as a Task of its own: it finds nobody who waits, and what was told stands.
    let client = lab.network.organization("portal", "portal");
    let found = client.get("/Task?_sort=-_lastUpdated&_count=50&status=completed").await.expect(200).json();
    let profile = format!("{BASE}/fhir/StructureDefinition/feasibility-task-single-dic-result|1.0");
    let results = found["entry"].as_array().unwrap().iter().map(|entry| entry["resource"].clone());
    let result = results
        .into_iter()
        .find(|task| {
            task["meta"]["profile"][0] == json!(profile) && task["requester"]["identifier"]["value"] == "dic-1.example"
        })
        .unwrap();
    let mut again = tasks::task(
        &format!("{BASE}/bpe/Process/feasibilityRequest|1.0"),
        &profile,
        "feasibilitySingleDicResultMessage",
        "dic-1.example",
        "portal.example",
    );
    again["input"] = result["input"].clone();
    let second = lab.network.organization("dic-1", "portal").post("/Task", &again).await;
    if second.status == 201 {
        assert_eq!(tasks::ended(&client, &second.created_id(), TIME).await["status"], "failed");
    }
    assert_eq!(finished(&lab, &open).await, told);
}
