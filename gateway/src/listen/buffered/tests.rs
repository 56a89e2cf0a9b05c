use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn pair() -> (Buffered<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Buffered::new(listener.accept().await.unwrap().0), client)
}

#[tokio::test]
async fn nothing_leaves_before_the_flush_and_then_everything_in_one_piece() {
    let (mut stream, mut client) = pair().await;
    stream.write_all(b"head").await.unwrap();
    stream.write_all(b"body").await.unwrap();
    let mut buffer = [0; 16];
    assert!(client.try_read(&mut buffer).is_err());
    stream.flush().await.unwrap();
    assert_eq!(client.read(&mut buffer).await.unwrap(), 8);
    assert_eq!(&buffer[..8], b"headbody");
}

#[tokio::test]
async fn more_than_the_buffer_arrives_in_order_and_the_memory_is_given_back() {
    let (mut stream, mut client) = pair().await;
    let sent: Vec<u8> = (0..200_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let expected = sent.clone();
    let reader = tokio::spawn(async move {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        received
    });
    // Parts that fit, parts that do not, and both behind one another.
    let (small, large) = sent.split_at(90_000);
    for part in small.chunks(7_001).chain(large.chunks(40_000)) {
        stream.write_all(part).await.unwrap();
    }
    stream.flush().await.unwrap();
    assert!(stream.waiting.capacity() <= IDLE_WRITE_BUFFER_BYTES);
    stream.shutdown().await.unwrap();
    assert_eq!(reader.await.unwrap(), expected);
}
