//! Subscriptions over WebSocket (case 95).

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use link::PERMIT_HEADER;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::support::{Node, Who, activity_definition, party, patient, policy, tag_all, tag_local, task};

type Socket = WebSocketStream<UnixStream>;

async fn connect(node: &Node, who: Who) -> Result<Socket, Box<Error>> {
    let stream = UnixStream::connect(node.socket()).await.unwrap();
    let mut request = "ws://engine/fhir/ws".into_client_request().unwrap();
    let permit = node.permit(who, "websocket").encode().unwrap();
    request.headers_mut().insert(PERMIT_HEADER, permit.parse().unwrap());
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(Box::new(error)),
    }
}

async fn next(socket: &mut Socket) -> Message {
    tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("no frame").unwrap().unwrap()
}

async fn bind(socket: &mut Socket, id: &str) {
    socket.send(Message::text(format!("bind {id}"))).await.unwrap();
    assert_eq!(next(socket).await, Message::text(format!("bound {id}")));
}

async fn closed_with(socket: &mut Socket) -> (CloseCode, String) {
    match next(socket).await {
        Message::Close(Some(frame)) => (frame.code, frame.reason.to_string()),
        other => panic!("not closed: {other:?}"),
    }
}

async fn process(node: &Node) {
    let all = [party("LOCAL_ALL", None), party("REMOTE_ALL", None)];
    let body = activity_definition("1.0", &all, &party("LOCAL_ALL", None));
    node.post(Who::Loc, "/ActivityDefinition", &body).await.expect(201);
}

async fn subscribe(node: &Node, criteria: &str, payload: Option<&str>) -> String {
    let mut body = json!({
        "resourceType": "Subscription",
        "meta": { "tag": [tag_local()] },
        "status": "active",
        "reason": "test",
        "criteria": criteria,
        "channel": { "type": "websocket" },
    });
    if let Some(payload) = payload {
        body["channel"]["payload"] = json!(payload);
    }
    node.post(Who::Loc, "/Subscription", &body).await.expect(201).id()
}

#[tokio::test]
async fn fhir_095_a_bound_client_is_told_about_matching_resources() {
    let node = Node::start().await;
    process(&node).await;
    let query =
        "/Subscription?criteria=Task%3Fstatus%3Drequested&status=active&type=websocket&payload=application/fhir%2Bjson";
    let json_id = node.find(query).await;
    let xml_id =
        subscribe(&node, "Task?status=requested&_lastUpdated=gt2020-01-01", Some("application/fhir+xml")).await;
    let mut json_socket = connect(&node, Who::Loc).await.unwrap();
    json_socket.send(Message::text("hello")).await.unwrap();
    bind(&mut json_socket, &json_id).await;
    let mut xml_socket = connect(&node, Who::Loc).await.unwrap();
    bind(&mut xml_socket, &xml_id).await;
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    let id = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.0")).await.expect(201).id();
    let event: Value = serde_json::from_str(next(&mut json_socket).await.to_text().unwrap()).unwrap();
    assert_eq!(event["id"], id);
    assert_eq!(event["requester"].get("reference"), None);
    let event = next(&mut xml_socket).await;
    assert!(event.to_text().unwrap().contains("<Task xmlns"), "{event}");
    let ping_id = subscribe(&node, "Patient?active=true", None).await;
    bind(&mut json_socket, &ping_id).await;
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    assert_eq!(next(&mut json_socket).await, Message::text(format!("ping {ping_id}")));
}

#[tokio::test]
async fn fhir_095_unknown_subscriptions_and_foreign_identities_are_refused() {
    let node = Node::start().await;
    for who in [Who::Ext, Who::Pra, Who::Stranger] {
        let Err(error) = connect(&node, who).await else { panic!("{who:?} is connected") };
        let Error::Http(response) = *error else { panic!("{error}") };
        assert_eq!(response.status(), 403, "{who:?}");
    }
    let mut socket = connect(&node, Who::Loc).await.unwrap();
    let unknown = "11111111-2222-4333-8444-555555555555";
    socket.send(Message::text(format!("bind {unknown}"))).await.unwrap();
    let expected = (CloseCode::Unsupported, format!("Subscription with {unknown} not found"));
    assert_eq!(closed_with(&mut socket).await, expected);
}

#[tokio::test]
async fn a_subscription_that_ends_closes_who_is_bound_to_it() {
    let node = Node::start().await;
    let id = subscribe(&node, "Patient?active=true", None).await;
    let mut socket = connect(&node, Who::Loc).await.unwrap();
    bind(&mut socket, &id).await;
    node.delete(Who::Loc, &format!("/Subscription/{id}")).await.expect(200);
    assert_eq!(closed_with(&mut socket).await.0, CloseCode::Unsupported);
}

#[tokio::test]
async fn a_client_that_is_no_longer_on_the_allow_list_is_told_nothing() {
    let node = Node::start().await;
    let id = subscribe(&node, "Patient?active=true", None).await;
    let mut socket = connect(&node, Who::Loc).await.unwrap();
    bind(&mut socket, &id).await;
    let local = node.find("/Organization?identifier=Test_Organization").await;
    let mut organization = node.get(Who::Loc, &format!("/Organization/{local}")).await.json();
    let mut renewed = organization["extension"][0].clone();
    renewed["valueString"] = json!(Who::Stranger.thumbprint().to_string());
    organization["extension"].as_array_mut().unwrap().push(renewed);
    node.put(Who::Adm, &format!("/Organization/{local}"), &organization).await.expect(200);
    organization["extension"].as_array_mut().unwrap().remove(0);
    node.put(Who::Adm, &format!("/Organization/{local}"), &organization).await.expect(200);
    node.post(Who::Pra, "/Patient", &patient(&[tag_all()])).await.expect(201);
    assert_eq!(closed_with(&mut socket).await, (CloseCode::Policy, "Credentials expired".to_owned()));
}

#[tokio::test]
async fn who_loses_the_role_while_the_socket_is_open_is_told_nothing() {
    let node = Node::start().await;
    let more = format!(
        "[[identity.person]]\nid = \"listener\"\nthumbprint = [\"{}\"]\ndsf-role = [\"WEBSOCKET\"]\n",
        Who::Pra.thumbprint()
    );
    node.policies.activate(Arc::new(policy(&more)));
    let id = subscribe(&node, "Patient?active=true", None).await;
    let mut socket = connect(&node, Who::Pra).await.unwrap();
    bind(&mut socket, &id).await;
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    assert_eq!(next(&mut socket).await, Message::text(format!("ping {id}")));
    node.policies.activate(Arc::new(policy("")));
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    assert_eq!(closed_with(&mut socket).await, (CloseCode::Policy, "Credentials expired".to_owned()));
}

#[tokio::test]
async fn large_frames_close_the_socket() {
    let node = Node::start().await;
    let mut large = connect(&node, Who::Loc).await.unwrap();
    large.send(Message::text("x".repeat(1024 * 1024))).await.ok();
    let end = tokio::time::timeout(Duration::from_secs(10), large.next()).await.expect("still open");
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

/// Whatever has been answered with 101 is told, also when its session has hardly begun.
#[tokio::test]
async fn stopping_says_good_bye_to_every_socket() {
    let mut node = Node::start().await;
    let mut quiet = Vec::new();
    for _ in 0..24 {
        quiet.push(connect(&node, Who::Loc).await.unwrap());
    }
    node.stop();
    for socket in &mut quiet {
        assert_eq!(closed_with(socket).await.0, CloseCode::Away);
    }
}
