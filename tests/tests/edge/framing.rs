//! Where a request ends and the next begins: nobody may see it differently.

use tests::client::JSON;
use tests::{search, shared, tasks, wire};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::{fields, never_reached_the_engine, remote};

#[tokio::test]
async fn attack_a07_smuggling_is_refused_and_the_connection_closed() {
    let network = shared();
    let client = remote();
    let host = fields(&client);
    let marker = Uuid::new_v4().to_string();
    let inner = format!("DELETE /fhir/Organization/{marker} HTTP/1.1\r\n{host}\r\n");
    let post = format!("POST /fhir/Task HTTP/1.1\r\n{host}Content-Type: {JSON}\r\n");
    let get = "GET /fhir/metadata HTTP/1.1\r\n";
    let length = inner.len();
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("CL and TE", format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"), &[400]),
        (
            "TE and CL",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{inner}"),
            &[400],
        ),
        ("two equal CL", format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde{inner}"), &[400]),
        ("two CL", format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"), &[400]),
        ("list CL", format!("{post}Content-Length: 0, {length}\r\n\r\n{inner}"), &[400]),
        ("plus CL", format!("{post}Content-Length: +5\r\n\r\nabcde{inner}"), &[400]),
        ("hex CL", format!("{post}Content-Length: 0x5\r\n\r\nabcde{inner}"), &[400]),
        ("huge CL", format!("{post}Content-Length: 99999999999999999999\r\n\r\n{inner}"), &[400, 413]),
        ("TE xchunked", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        ("TE list", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        (
            "TE twice",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
            &[400, 501],
        ),
        ("TE gzip", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        ("TE space", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"), &[400]),
        ("TE vertical tab", format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        (
            "TE in 1.0",
            format!("POST /fhir/Task HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
            &[400],
        ),
        ("bare LF", format!("GET /fhir/metadata HTTP/1.1\n{}\n", host.replace("\r\n", "\n")), &[400]),
        ("bare CR", format!("{get}{host}X: a\rX-ClientCert: b\r\n\r\n"), &[400]),
        ("folded line", format!("{get}{host}X: a\r\n b\r\n\r\n"), &[400]),
        ("NUL", format!("{get}{host}X: a\0b\r\n\r\n"), &[400]),
        ("no colon", format!("{get}{host}X\r\n\r\n"), &[400]),
        ("empty name", format!("{get}{host}: x\r\n\r\n"), &[400]),
        ("space in target", format!("GET /fhir/meta data HTTP/1.1\r\n{host}\r\n"), &[400]),
        ("tab in request line", format!("GET\t/fhir/metadata\tHTTP/1.1\r\n{host}\r\n"), &[400]),
        ("non-ASCII target", format!("GET /fhir/m\u{e9}tadata HTTP/1.1\r\n{host}\r\n"), &[400]),
        ("HTTP/2.0", format!("GET /fhir/metadata HTTP/2.0\r\n{host}\r\n"), &[400, 505]),
        ("HTTP/0.9", "GET /fhir/metadata\r\n\r\n".to_owned(), &[400, 505]),
        ("leading empty line", format!("\r\n{get}{host}\r\n"), &[400]),
    ];
    for (what, raw, statuses) in &cases {
        let mut stream = client.connect().await.unwrap();
        let answer = wire::exchange(&mut stream, raw).await.unwrap_or_else(|| panic!("no answer: {what}"));
        assert!(statuses.contains(&answer.status), "{what}: {}", answer.status);
        assert!(wire::is_closed(&mut stream).await, "{what}: the connection stays open");
    }
    never_reached_the_engine(&network.node("portal"), &marker);
}

#[tokio::test]
async fn attack_a07_broken_chunks_and_cut_bodies_leave_no_task() {
    let client = remote();
    let network = shared();
    let task = tasks::ping(&network.node("dic-1"), &network.node("portal"));
    let key = tasks::value(&task, "input", "correlation-key").unwrap();
    let text = task.to_string();
    let head = format!("POST /fhir/Task HTTP/1.1\r\n{}Content-Type: {JSON}\r\n", fields(&client));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let size = format!("{:x}", text.len());
    let cases = [
        ("bare LF in framing", format!("{chunked}{size}\n{text}\n0\n\n")),
        ("no size", format!("{chunked}\r\n{text}\r\n0\r\n\r\n")),
        ("negative size", format!("{chunked}-{size}\r\n{text}\r\n0\r\n\r\n")),
        ("overflow", format!("{chunked}ffffffffffffffff1\r\n{text}\r\n0\r\n\r\n")),
        ("short chunk", format!("{chunked}{:x}\r\n{text}\r\n0\r\n\r\n", text.len() - 3)),
        ("garbage size", format!("{chunked}{size}zz\r\n{text}\r\n0\r\n\r\n")),
    ];
    for (what, raw) in cases {
        let answer = client.send_raw(raw).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{what}: {answer:?}");
    }
    // A body that ends before its length, and chunks without an end.
    for raw in
        [format!("{head}Content-Length: {}\r\n\r\n{text}", text.len() + 10), format!("{chunked}{size}\r\n{text}\r\n")]
    {
        let mut stream = client.connect().await.unwrap();
        stream.write_all(raw.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = wire::read_answer(&mut stream).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{answer:?}");
    }
    let every = search::all(&network.organization("portal", "portal"), "Task", "").await;
    assert!(every.iter().all(|task| tasks::value(task, "input", "correlation-key").as_deref() != Some(&key)));
    // The same Task in good chunks is taken, so that the cases above are not refused for another reason. A trailer is not a field.
    let (first, second) = text.split_at(100);
    let good = format!("{chunked}64\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nX-ClientCert: evil\r\n\r\n", second.len());
    assert_eq!(client.send_raw(good).await.expect("an answer").status, 201);
}

#[tokio::test]
async fn attack_a38_pipelined_and_interleaved_requests_do_not_mix_identities() {
    let network = shared();
    let (remote, local) = (remote(), network.organization("portal", "portal"));
    let mut running = tokio::task::JoinSet::new();
    for (client, sees_all) in [(remote.clone(), false), (local.clone(), true), (remote.clone(), false), (local, true)] {
        running.spawn(async move {
            let get = format!("GET /fhir/Subscription?_count=0 HTTP/1.1\r\n{}\r\n", fields(&client));
            let mut stream = client.connect().await.unwrap();
            for _ in 0..100 {
                let answer = wire::exchange(&mut stream, &get).await.unwrap().expect(200);
                assert_eq!(answer.json()["total"].as_u64().unwrap() > 0, sees_all);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    // What follows a request on the wire is never answered as part of it.
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&remote));
    let evil = format!("PUT /fhir/Organization/1 HTTP/1.1\r\n{}Content-Length: 2\r\n\r\n{{}}", fields(&remote));
    let mut stream = remote.connect().await.unwrap();
    assert_eq!(wire::exchange(&mut stream, format!("{get}{evil}")).await.unwrap().status, 200);
    let second = wire::read_answer(&mut stream).await;
    assert!(second.as_ref().is_none_or(|answer| answer.status == 403), "{second:?}");
}
