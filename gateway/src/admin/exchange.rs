//! One exchange of the management listener, in bounded time whatever the client does.
//!
//! The listener has few slots, so nobody may hold one by being slow: not with its request, not with reading the answer, not
//! by silence after it. A connection carries one exchange and each phase of it has an absolute end.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Time for the head of a request, from the connection to its last byte.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time for making the answer; longer than the engine may take for its metrics.
const WORK_TIME: Duration = Duration::from_secs(10);
/// Time for the client to read the answer.
const SEND_TIME: Duration = Duration::from_secs(10);

/// Serves one request and ends the connection.
pub(super) async fn serve<F>(stream: TcpStream, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let (end, mut ends) = watch::channel(Instant::now() + HEAD_TIME);
    let end = &end;
    let service = service_fn(|request| {
        end.send_replace(Instant::now() + WORK_TIME);
        let answering = answer(request);
        async move {
            let response = answering.await;
            end.send_replace(Instant::now() + SEND_TIME);
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(16 * 1024).keep_alive(false);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    loop {
        let at = *ends.borrow_and_update();
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "management connection ended");
                }
                return;
            }
            _ = ends.changed() => {}
            () = tokio::time::sleep_until(at) => {
                metrics::counter!("schleuse_management_slow_closed_total").increment(1);
                tracing::debug!("slow client of the management listener was cut off");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves one connection with an answer that no socket buffer takes; tells how long it was held.
    async fn held_by(client: impl AsyncFn(&mut TcpStream)) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let begun = Instant::now();
            serve(stream, async |_| Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20])))).await;
            begun.elapsed()
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        client(&mut stream).await;
        serving.await.unwrap()
    }

    #[tokio::test]
    async fn whoever_does_not_read_the_answer_is_cut_off() {
        let held = held_by(async |stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap());
        let held = held.await;
        assert!(held >= SEND_TIME && held < SEND_TIME + Duration::from_secs(5), "{held:?}");
    }

    #[tokio::test]
    async fn whoever_reads_a_little_now_and_then_is_cut_off_too() {
        let held = held_by(async |stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut some = [0; 1024];
            for _ in 0..60 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if stream.read(&mut some).await.is_err() {
                    return;
                }
            }
        });
        let held = held.await;
        assert!(held < SEND_TIME + Duration::from_secs(5), "{held:?}");
    }

    #[tokio::test]
    async fn whoever_sends_a_head_byte_by_byte_is_cut_off() {
        let held = held_by(async |stream| {
            for byte in b"GET /metrics HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let held = held.await;
        assert!(held < HEAD_TIME + Duration::from_secs(5), "{held:?}");
    }

    #[tokio::test]
    async fn silence_after_an_answer_holds_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, async |_| Response::new(Full::new(Bytes::from_static(b"up")))).await;
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("up"), "{answer}");
        serving.await.unwrap();
    }
}
