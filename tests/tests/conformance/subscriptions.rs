//! WebSocket: case 95 and `fhir-api` 5.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::websocket::{Socket, open, say};
use tokio_tungstenite::tungstenite::Message;

use crate::resources::{all, identifier, patient, subscription, unique, unknown_id};
use crate::seed;
use crate::subject::{Subject, shared};

/// Longest wait for a frame.
const FRAME_TIME: Duration = Duration::from_secs(20);

/// The next text or the code of the close frame.
async fn next(socket: &mut Socket) -> Result<String, u16> {
    loop {
        let message = tokio::time::timeout(FRAME_TIME, socket.next()).await.expect("a frame in time");
        match message.expect("an open connection").expect("a frame") {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
        }
    }
}

async fn bound(subject: &Subject, id: &str) -> Socket {
    let mut socket = open(&subject.loc).await.unwrap_or_else(|status| panic!("refused with {status}"));
    say(&mut socket, &format!("bind {id}")).await;
    assert_eq!(next(&mut socket).await, Ok(format!("bound {id}")));
    socket
}

fn marked(mark: &str) -> Value {
    let mut patient = patient(&[all()]);
    patient["identifier"] = json!([identifier("http://test.example/mark", mark)]);
    patient
}

/// A Subscription of the Patients with a mark that nobody else uses.
async fn marked_subscription(subject: &Subject, payload: Option<&str>) -> (String, String) {
    let mark = unique("ws");
    let id = subject.create(&subscription(&format!("Patient?identifier={mark}"), payload)).await;
    (mark, id)
}

#[tokio::test]
async fn fhir_095_a_bound_client_is_sent_what_matches() {
    let subject = shared().await;
    let criteria = "Task%3Fstatus%3Drequested";
    let id = subject.id_of("Subscription", &format!("criteria:exact={criteria}&status=active&type=websocket")).await;
    let mut socket = bound(subject, &id).await;
    let task = subject.ext.post("/Task", &seed::task("ext", 2)).await.expect(201).created_id();
    // Other tests create Tasks too.
    loop {
        let text = next(&mut socket).await.expect("a frame");
        let sent: Value = serde_json::from_str(&text).expect("a resource in JSON");
        assert_eq!(sent["resourceType"], "Task");
        if sent["id"] == task.as_str() {
            assert_eq!(sent["status"], "requested");
            assert!(sent["requester"].get("reference").is_none(), "{sent}");
            break;
        }
    }
}

#[tokio::test]
async fn fhir_095_an_unknown_subscription_closes_with_1003() {
    let subject = shared().await;
    let mut off = subscription(&format!("Patient?identifier={}", unique("off")), None);
    off["status"] = json!("off");
    let off = subject.create(&off).await;
    for id in [unknown_id(), "not-a-uuid".to_owned(), off] {
        let mut socket = open(&subject.loc).await.unwrap();
        say(&mut socket, &format!("bind {id}")).await;
        assert_eq!(next(&mut socket).await, Err(1003), "{id}");
    }
}

#[tokio::test]
async fn fhir_095_who_has_no_right_is_refused() {
    let subject = shared().await;
    for client in [&subject.ext, &subject.pra, &subject.adm, &subject.min] {
        match open(client).await {
            // The gateway refuses before the 101 (architecture section 6).
            Err(status) => assert_eq!(status, 403),
            Ok(mut socket) => assert_eq!(next(&mut socket).await, Err(1008)),
        }
    }
}

#[tokio::test]
async fn fhir_095_a_subscription_without_payload_pings() {
    let subject = shared().await;
    let (mark, id) = marked_subscription(subject, None).await;
    let mut socket = bound(subject, &id).await;
    subject.create(&marked(&mark)).await;
    assert_eq!(next(&mut socket).await, Ok(format!("ping {id}")));
}

#[tokio::test]
async fn fhir_095_a_ping_frame_comes_within_30_seconds() {
    let subject = shared().await;
    let mut socket = open(&subject.loc).await.unwrap();
    let ping = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Message::Ping(bytes) = socket.next().await.expect("an open connection").expect("a frame") {
                return bytes;
            }
        }
    });
    assert_eq!(ping.await.expect("a ping frame").len(), 32);
}

#[tokio::test]
async fn payloads_are_written_as_the_subscription_wants() {
    let subject = shared().await;
    for (payload, begin) in [
        ("application/fhir+json", "{\"resourceType\":\"Patient\""),
        ("application/fhir+xml", "<Patient xmlns=\"http://hl7.org/fhir\">"),
    ] {
        let (mark, id) = marked_subscription(subject, Some(payload)).await;
        let mut socket = bound(subject, &id).await;
        let created = subject.create(&marked(&mark)).await;
        let text = next(&mut socket).await.expect("a frame");
        assert!(text.starts_with(begin) && text.contains(&created), "{text}");
    }
}

#[tokio::test]
async fn creations_and_updates_are_told_in_the_order_of_a_transaction_and_deletions_are_not() {
    let subject = shared().await;
    let (mark, id) = marked_subscription(subject, Some("application/fhir+json")).await;
    let mut socket = bound(subject, &id).await;
    // Texts that are no binds are ignored; one socket binds several.
    say(&mut socket, "hello").await;
    let (other_mark, other) = marked_subscription(subject, None).await;
    say(&mut socket, &format!("bind {other}")).await;
    assert_eq!(next(&mut socket).await, Ok(format!("bound {other}")));
    let number = |number: usize| {
        let mut patient = marked(&mark);
        patient["multipleBirthInteger"] = json!(number);
        crate::resources::post(&patient)
    };
    let entries: Vec<Value> = (0..5).map(number).collect();
    let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(200).json();
    for number in 0..5 {
        let sent: Value = serde_json::from_str(&next(&mut socket).await.unwrap()).unwrap();
        assert_eq!(sent["multipleBirthInteger"], number);
    }
    let first = answer["entry"][0]["resource"].clone();
    let path = format!("/Patient/{}", first["id"].as_str().unwrap());
    subject.loc.put(&path, &first).await.expect(200);
    let sent: Value = serde_json::from_str(&next(&mut socket).await.unwrap()).unwrap();
    assert_eq!(sent["meta"]["versionId"], "2");
    // Neither a deletion, nor a failed transaction, nor what does not match; then what does.
    subject.loc.delete(&path).await.expect(200);
    let failing = [number(9), crate::resources::request("GET", "Patient")];
    subject.bundle(&subject.loc, "transaction", &failing).await.expect(400);
    subject.create(&marked(&unique("other"))).await;
    subject.create(&marked(&other_mark)).await;
    assert_eq!(next(&mut socket).await, Ok(format!("ping {other}")));
}

#[tokio::test]
async fn a_deleted_subscription_closes_its_sockets() {
    let subject = shared().await;
    let (_, id) = marked_subscription(subject, None).await;
    let mut socket = bound(subject, &id).await;
    subject.loc.delete(&format!("/Subscription/{id}")).await.expect(200);
    assert_eq!(next(&mut socket).await, Err(1003));
}

#[tokio::test]
async fn a_client_that_does_not_read_harms_nobody() {
    let subject = shared().await;
    let (mark, id) = marked_subscription(subject, Some("application/fhir+json")).await;
    let deaf = bound(subject, &id).await;
    let mut listening = bound(subject, &id).await;
    let mut large = marked(&mark);
    large["name"] = json!([{ "text": "x".repeat(200_000) }]);
    // Far more than the buffers between this side and the node hold.
    let heard = tokio::spawn(async move {
        let mut heard = 0;
        while heard < 60 {
            next(&mut listening).await.expect("a frame");
            heard += 1;
        }
        heard
    });
    let started = std::time::Instant::now();
    for _ in 0..60 {
        let answer = subject.loc.write_with("POST", "/Patient", &[("prefer", "return=minimal")], &large).await;
        answer.expect(201);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "writers waited: {:?}", started.elapsed());
    assert_eq!(heard.await.unwrap(), 60);
    drop(deaf);
}

#[tokio::test]
async fn who_leaves_without_a_word_is_forgotten() {
    let subject = shared().await;
    let (mark, id) = marked_subscription(subject, None).await;
    for _ in 0..20 {
        drop(bound(subject, &id).await);
    }
    let mut socket = bound(subject, &id).await;
    subject.create(&marked(&mark)).await;
    assert_eq!(next(&mut socket).await, Ok(format!("ping {id}")));
    socket.send(Message::Close(None)).await.unwrap();
}
