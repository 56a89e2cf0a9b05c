//! Frames on the snapshot socket: a length (32 bit, big endian) and that many bytes of JSON.
//!
//! The gateway connects and says [`FromGateway::Hello`]; the engine refuses another build, then sends the newest
//! snapshot and each later one; the gateway answers every snapshot with [`FromGateway::Acknowledged`] once its requests
//! are decided by it. Either side closes on a frame that it cannot read: the gateway then keeps its last good snapshot
//! and reports that the link is down.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{Snapshot, limits};

/// What the gateway says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromGateway {
    /// First frame of a connection.
    Hello {
        /// [`crate::BUILD`] of the gateway.
        build: String,
    },
    /// The snapshot of this version is in force.
    Acknowledged {
        /// Version of the snapshot.
        version: u64,
    },
}

/// What the engine says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromEngine {
    /// The gateway is of another build; the connection is closed after this.
    Refused {
        /// [`crate::BUILD`] of the engine.
        build: String,
    },
    /// A snapshot that replaces all earlier ones.
    Snapshot(Box<Snapshot>),
    /// The engine has read its files again and put them in force; the gateway shall do the same.
    Reload,
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed or ended in the middle of a frame.
    #[error("connection failed")]
    Io(#[from] std::io::Error),
    /// Larger than [`limits::FRAME_BYTES`].
    #[error("frame of {0} bytes is larger than the limit")]
    TooLarge(usize),
    /// Not a message of this build.
    #[error("frame is not readable")]
    Content(#[from] serde_json::Error),
}

/// Reads one frame; `None` when the other side closed between frames.
pub async fn read<M: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<M>, FrameError> {
    let mut length = [0; 4];
    match stream.read(&mut length[..1]).await? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut length[1..]).await?,
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > limits::FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    // Grows with what arrives, so that a length without content costs no memory.
    let mut content = Vec::new();
    if stream.take(length as u64).read_to_end(&mut content).await? != length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(serde_json::from_slice(&content)?))
}

/// Writes one frame.
pub async fn write<M: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &M) -> Result<(), FrameError> {
    let content = serde_json::to_vec(message)?;
    let length = u32::try_from(content.len())
        .ok()
        .filter(|length| *length as usize <= limits::FRAME_BYTES)
        .ok_or(FrameError::TooLarge(content.len()))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&content).await?;
    stream.flush().await?;
    Ok(())
}
