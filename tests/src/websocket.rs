//! WebSockets of a node (`/fhir/ws`).

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::Client;

/// An open WebSocket.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens a WebSocket; the status when it is refused.
///
/// # Panics
/// When the connection fails below HTTP.
pub async fn open(client: &Client) -> Result<Socket, u16> {
    let stream = client.connect().await.unwrap_or_else(|error| panic!("{error}"));
    let url = format!("wss://{}/fhir/ws", client.authority());
    match tokio_tungstenite::client_async(url, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("WebSocket: {error}"),
    }
}

/// Sends text.
///
/// # Panics
/// When the socket is closed.
pub async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("an open WebSocket");
}

/// The next text; none when the socket ends.
pub async fn hear(socket: &mut Socket) -> Option<String> {
    loop {
        let message = tokio::time::timeout(std::time::Duration::from_secs(60), socket.next()).await.ok()??.ok()?;
        match message {
            Message::Text(text) => return Some(text.to_string()),
            Message::Close(_) => return None,
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}
