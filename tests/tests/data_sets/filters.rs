//! Filters that no site would send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::decisions::announced_key;
use super::network;
use super::run::Run;

/// C11: what is no filter is refused, and the other site takes part.
#[tokio::test]
async fn share_c11_filters_of_a_wrong_length_are_refused_and_the_others_go_on() {
    let network = network();
    let run = Run::request(network, "length", &["dic-1", "dic-2"], &[]);
    run.waits_for("dic-1", "approve-extraction").await;
    let (site, ttp) = (network.node("dic-1"), network.node("ttp"));
    let client = network.organization("dic-1", "dic-1");
    let orders = tests::search::all(&client, "Task", "").await;
    let value = |task: &Value, code: &str| tests::tasks::value(task, "input", code);
    let is_order = |task: &&Value| {
        value(task, "business-key").as_deref() == Some(&run.id)
            && value(task, "message-name").as_deref() == Some("extractPseudonymised")
    };
    let key = value(orders.iter().find(is_order).unwrap(), "correlation-key").unwrap();

    // The site itself, with its own keys, but with filters that are none.
    let announced = STANDARD.decode(announced_key(network, "ttp").await.as_str().unwrap()).unwrap();
    let announced = sealing::PublicKey::new(&announced).unwrap();
    let binding = sealing::Binding {
        sender: &site.organization_identifier,
        recipient: &ttp.organization_identifier,
        project: "length",
        purpose: "submitLinkage",
        run: &run.id,
    };
    let sealed = |bytes: &[u8]| {
        let mut sealer = sealing::Sealer::new(Vec::new(), &announced, &binding).unwrap();
        sealer.write(bytes).unwrap();
        sealer.finish().unwrap()
    };
    let store = async |bytes: &[u8]| {
        let binary = json!({
            "resourceType": "Binary",
            "meta": { "tag": readers(&ttp.organization_identifier) },
            "contentType": "application/octet-stream",
            "data": STANDARD.encode(sealed(bytes)),
        });
        client.post("/Binary", &binary).await.expect(201).created_id()
    };
    let rows = "{\"id\":\"00000000000000000\",\"filter\":\"AAAA\"}\n";
    let file = store(rows.as_bytes()).await;
    let manifest = sealing::Manifest {
        sender: site.organization_identifier.clone(),
        recipient: ttp.organization_identifier.clone(),
        project: "length".to_owned(),
        run: run.id.clone(),
        created: tests::tasks::now(),
        revision: None,
        parts: vec![sealing::Part::of(&format!("{file}/filters-0001.ndjson"), rows.as_bytes(), 1)],
    };
    let credentials = certs::Credentials::load(&site.organization.certificate, &site.organization.private_key).unwrap();
    let signer = sealing::Signer::new(&credentials.key_der(), &credentials.chain_der()[0]).unwrap();
    let manifest = store(&signer.sign(&manifest).unwrap().to_json().unwrap()).await;
    let mut task = tests::tasks::task(
        "http://schleuse.example/bpe/Process/linkAndPseudonymise|1.0",
        "http://schleuse.example/fhir/StructureDefinition/task-submit-linkage|1.0",
        "submitLinkage",
        &site.organization_identifier,
        &ttp.organization_identifier,
    );
    let delivery = json!({
        "type": { "coding": [{ "system": "http://schleuse.example/fhir/CodeSystem/data-sharing", "code": "delivery" }] },
        "valueUrl": format!("{}/Binary/{manifest}", site.base_url),
    });
    let inputs = task["input"].as_array_mut().unwrap();
    inputs.push(tests::tasks::message_input("business-key", &run.id));
    inputs.push(tests::tasks::message_input("correlation-key", &key));
    inputs.push(delivery);
    network.organization("dic-1", "ttp").post("/Task", &task).await.expect(201);

    run.approve("dic-2").await;
    run.release().await;
    let ended = run.ended("portal").await;
    let outcomes = Run::outcomes(&ended);
    assert_eq!(outcomes[&site.organization_identifier], "filters-refused", "{ended:#}");
    assert_eq!(outcomes[&network.node("dic-2").organization_identifier], "merged", "{ended:#}");
    run.at("dic-1", "approve", &["--refuse"]).expect(0);
}

fn readers(organization: &str) -> Value {
    let system = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
    json!([
        { "system": system, "code": "LOCAL" },
        {
            "extension": [{
                "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization",
                "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": organization },
            }],
            "system": system,
            "code": "ORGANIZATION",
        },
    ])
}
