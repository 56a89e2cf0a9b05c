//! HTTP/1.1 byte by byte, for what no client library would send.

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::client::Answer;

/// Longest answer that is read.
const ANSWER_BYTES: usize = 64 << 20;

/// Sends bytes and reads one answer; none when the connection ends without one.
pub async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: impl AsRef<[u8]>) -> Option<Answer> {
    // The peer may answer and close before it has read everything; its answer counts.
    let _ = stream.write_all(request.as_ref()).await;
    let _ = stream.flush().await;
    read_answer(stream).await
}

/// Reads one answer.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
    let mut received = Vec::new();
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, &mut received).await?;
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut body = received.split_off(end);
    let mut lines = head.lines();
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        body = read_chunks(stream, body).await?;
    } else if let Some(length) = length {
        while body.len() < length {
            read_more(stream, &mut body).await?;
        }
        body.truncate(length);
    }
    Some(Answer { status, headers, body: body.into() })
}

/// Whether nothing but the end of the connection comes.
pub async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let end = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read(&mut [0; 64])).await;
    matches!(end, Ok(Ok(0) | Err(_)))
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
    received.extend_from_slice(&buffer[..count]);
    (received.len() <= ANSWER_BYTES).then_some(())
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), mut received: Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match received.windows(2).position(|window| window == b"\r\n") {
                Some(line) => break line,
                None => read_more(stream, &mut received).await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&received[..line]).ok()?.trim(), 16).ok()?;
        let end = line + 2 + size + 2;
        while received.len() < end {
            read_more(stream, &mut received).await?;
        }
        body.extend_from_slice(&received[line + 2..line + 2 + size]);
        received.drain(..end);
        if size == 0 {
            return Some(body);
        }
    }
}
