//! Sizes and slowness: what is too large or too slow ends, and nobody else notices.

use std::time::{Duration, Instant};

use tests::client::JSON;
use tests::wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{fields, remote};

#[tokio::test]
async fn attack_a08_a09_what_is_too_large_is_refused_early() {
    let client = remote();
    let host = fields(&client);
    let get = "GET /fhir/metadata HTTP/1.1\r\n";
    let heads: Vec<(&str, String, &[u16])> = vec![
        ("40 KiB field", format!("{get}{host}X-Large: {}\r\n\r\n", "a".repeat(40 * 1024)), &[431]),
        ("1 MiB field", format!("{get}{host}X-Large: {}\r\n\r\n", "a".repeat(1 << 20)), &[431]),
        ("101 fields", format!("{get}{host}{}\r\n", "X: a\r\n".repeat(101)), &[431]),
        ("9000 bytes of target", format!("GET /fhir/Task?a={} HTTP/1.1\r\n{host}\r\n", "a".repeat(9000)), &[414, 431]),
        ("1 MiB of query", format!("GET /fhir/Task?a={} HTTP/1.1\r\n{host}\r\n", "a".repeat(1 << 20)), &[414, 431]),
    ];
    for (what, raw, statuses) in heads {
        let answer = client.send_raw(raw).await.unwrap_or_else(|| panic!("no answer: {what}"));
        assert!(statuses.contains(&answer.status), "{what}: {}", answer.status);
    }
    // A length that is too large is refused before the body is sent.
    let post = format!("POST /fhir/Task HTTP/1.1\r\n{host}Content-Type: {JSON}\r\n");
    let limit = 4 << 20;
    let announced = client.send_raw(format!("{post}Content-Length: {}\r\n\r\n", limit + 1)).await.expect("an answer");
    assert_eq!(announced.status, 413);
    let enormous =
        client.send_raw(format!("{post}Content-Length: 999999999999999999\r\n\r\n")).await.expect("an answer");
    assert_eq!(enormous.status, 413);
    // Without a length it is refused when it becomes too large; the answer may be lost with the reset.
    let mut stream = client.connect().await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let sent = async {
        stream.write_all(format!("{post}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
        for _ in 0..(limit / 0x10000 + 8) {
            stream.write_all(chunk.as_bytes()).await?;
        }
        stream.flush().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(60), sent).await.expect("the sender is not held up");
    let answer = tokio::time::timeout(Duration::from_secs(60), wire::read_answer(&mut stream)).await.expect("an end");
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 413), "{answer:?}");
    // Compressed content is not unpacked.
    let packed = client.send("POST", "/Task", &[("content-type", JSON), ("content-encoding", "gzip")], "x").await;
    assert_eq!(packed.status, 415);
    client.get("/metadata").await.expect(200);
}

#[tokio::test]
async fn attack_a32_slow_heads_are_closed_and_nobody_else_notices() {
    let client = remote();
    let head = format!("GET /fhir/metadata HTTP/1.1\r\n{}X-Slow: ", fields(&client));
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, head) = (client.clone(), head.clone());
        running.spawn(async move {
            let mut stream = client.connect().await.unwrap();
            let drip = async {
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(b"a").await?;
                    stream.flush().await?;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if started.elapsed() > Duration::from_secs(40) {
                        return Ok::<_, std::io::Error>(());
                    }
                    // The answer may be there before writing fails.
                    let mut answer = [0; 4096];
                    match tokio::time::timeout(Duration::from_millis(1), stream.read(&mut answer)).await {
                        Ok(Ok(0) | Err(_)) => return Err(std::io::ErrorKind::ConnectionReset.into()),
                        Ok(Ok(_)) => {
                            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer))
                        }
                        Err(_) => {}
                    }
                }
            };
            assert!(drip.await.is_err(), "after {:?} the connection is still open", started.elapsed());
        });
    }
    // Meanwhile others are served.
    for _ in 0..10 {
        client.get("/metadata").await.expect(200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(35), "limits.timeouts.header of the shipped policy is 10 s");
}

#[tokio::test]
async fn silence_before_and_after_the_handshake_ends() {
    let client = remote();
    let started = Instant::now();
    let mut tcp = TcpStream::connect(("localhost", client.port())).await.unwrap();
    let mut tls = client.connect().await.unwrap();
    let (mut first, mut second) = ([0; 1], [0; 1]);
    let (tcp_ended, tls_ended) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(60), tcp.read(&mut first)),
        tokio::time::timeout(Duration::from_secs(60), tls.read(&mut second)),
    );
    assert!(tcp_ended.is_ok() && tls_ended.is_ok(), "a silent connection is still open after {:?}", started.elapsed());
}
