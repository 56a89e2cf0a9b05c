//! Content on its way in: from the body of a request to chunks in the store.
//!
//! Memory per upload: the chunk that fills and the one that is being written. Up to one chunk stays in memory and is
//! stored with its resource in one transaction.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fhir::binary::BinaryReader;
use fhir::{ParseError, Resource};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use store::limits::CHUNK_BYTES;
use store::{Store, StoreError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::pace::Pace;
use super::slots::Slot;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// Content that a request has brought.
#[derive(Clone, Debug, Default)]
pub(crate) enum Brought {
    /// None.
    #[default]
    Nothing,
    /// All of it, in memory.
    Whole(Bytes),
    /// In the store.
    Uploaded(Arc<Upload>),
}

/// An upload in the store. When it is dropped it is given up, which does nothing to one that a version has adopted.
#[derive(Debug)]
pub(crate) struct Upload {
    id: String,
    store: Leftover,
    handle: Handle,
}

/// The store, in a form that can be shown in logs.
struct Leftover(Store);

/// How the content stands in the body.
pub(crate) enum Form {
    /// As it is.
    Raw,
    /// As `data` of a resource.
    Resource(Box<BinaryReader>),
}

/// What was received.
pub(crate) struct Received {
    /// The resource without content, if it came as one.
    pub(crate) resource: Option<Resource>,
    pub(crate) content: Brought,
}

/// Content that is being received.
struct Receiver {
    store: Store,
    filling: Vec<u8>,
    upload: Option<Arc<Upload>>,
    writing: Option<JoinHandle<Result<(), StoreError>>>,
    size: u64,
    limit: u64,
}

impl Brought {
    pub(crate) fn of(content: Vec<u8>) -> Self {
        if content.is_empty() { Self::Nothing } else { Self::Whole(Bytes::from(content)) }
    }

    pub(crate) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// Receives the body of an upload; at most `limit` bytes of content.
pub(crate) async fn receive(
    store: &Store,
    mut body: Incoming,
    mut form: Form,
    limit: u64,
    slot: Slot,
) -> Result<Received, Refusal> {
    let mut receiver =
        Receiver { store: store.clone(), filling: Vec::new(), upload: None, writing: None, size: 0, limit };
    let mut pace = Pace::new(Instant::now());
    loop {
        let frame = tokio::time::timeout(limits::CONTENT_IDLE, body.frame()).await.map_err(|_| too_slow())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| cut_off(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let before = receiver.filling.len();
        match &mut form {
            Form::Raw => receiver.filling.extend_from_slice(&data),
            Form::Resource(reader) => reader.push(&data, &mut receiver.filling).map_err(|error| unreadable(&error))?,
        }
        receiver.count(before)?;
        if !pace.is_kept(data.len(), Instant::now()) {
            return Err(too_slow());
        }
        receiver.store_whole_chunks().await?;
    }
    let resource = match form {
        Form::Raw => None,
        Form::Resource(reader) => {
            let before = receiver.filling.len();
            let read = reader.finish(&mut receiver.filling).map_err(|error| unreadable(&error))?;
            receiver.count(before)?;
            receiver.store_whole_chunks().await?;
            Some(read.resource)
        }
    };
    let content = receiver.finish().await?;
    drop(slot);
    Ok(Received { resource, content })
}

// === impl Receiver ===

impl Receiver {
    /// Counts what came behind the first `before` bytes of the chunk.
    fn count(&mut self, before: usize) -> Result<(), Refusal> {
        self.size = self.size.saturating_add((self.filling.len() - before) as u64);
        if self.size <= self.limit {
            return Ok(());
        }
        Err(Refusal::with_outcome(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::TooLarge,
            fhir::outcome::IssueCode::TooLong,
            format!("Content is larger than {} bytes", self.limit),
        ))
    }

    async fn store_whole_chunks(&mut self) -> Result<(), Refusal> {
        // One that is exactly full may be all there is; it is stored when more comes.
        while self.filling.len() > CHUNK_BYTES {
            let rest = self.filling.split_off(CHUNK_BYTES);
            let chunk = std::mem::replace(&mut self.filling, rest);
            self.write(chunk).await?;
        }
        Ok(())
    }

    /// Begins to write a chunk as soon as the one before is on disk; the next fills meanwhile.
    async fn write(&mut self, chunk: Vec<u8>) -> Result<(), Refusal> {
        self.written().await?;
        self.store.check_room_for_content().map_err(no_room)?;
        let (upload, is_first) = match &self.upload {
            Some(upload) => (Arc::clone(upload), false),
            None => {
                let id = store::new_id();
                let upload = Upload { id, store: Leftover(self.store.clone()), handle: Handle::current() };
                (Arc::clone(self.upload.insert(Arc::new(upload))), true)
            }
        };
        let store = self.store.clone();
        self.writing = Some(tokio::spawn(async move {
            metrics::counter!("schleuse_endpoint_content_bytes_total", "direction" => "in")
                .increment(chunk.len() as u64);
            store
                .write(move |tx| -> Result<(), StoreError> {
                    if is_first {
                        tx.start_upload(&upload.id)?;
                    }
                    tx.append_chunk(&upload.id, &chunk).map(drop)
                })
                .await
        }));
        Ok(())
    }

    /// Waits until the last chunk is on disk.
    async fn written(&mut self) -> Result<(), Refusal> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let written = writing.await.map_err(|error| Refusal::store(error.to_string()))?;
        written.map_err(no_room)
    }

    async fn finish(mut self) -> Result<Brought, Refusal> {
        if self.upload.is_none() {
            return Ok(Brought::of(self.filling));
        }
        let rest = std::mem::take(&mut self.filling);
        if !rest.is_empty() {
            self.write(rest).await?;
        }
        self.written().await?;
        Ok(self.upload.take().map_or(Brought::Nothing, Brought::Uploaded))
    }
}

/// A parser's error as the answer to a request; kind and place only, since the text of an error can quote the body.
pub(crate) fn unreadable(error: &ParseError) -> Refusal {
    let evidence = format!("at {}", error.position());
    if error.is_hostile() { Refusal::hostile(evidence) } else { Refusal::structure(evidence) }
}

fn too_slow() -> Refusal {
    metrics::counter!("schleuse_endpoint_transfers_cut_total", "direction" => "in").increment(1);
    Refusal::empty(StatusCode::REQUEST_TIMEOUT, Code::BadRequest).because("the content did not come in time")
}

fn cut_off(error: &hyper::Error) -> Refusal {
    Refusal::empty(StatusCode::BAD_REQUEST, Code::BadRequest).because(format!("the body was cut off: {error}"))
}

fn no_room(error: StoreError) -> Refusal {
    match error {
        StoreError::DiskFull(_) => {
            tracing::error!(%error, "content is refused");
            Refusal::no_room(error.to_string())
        }
        other => other.into(),
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (store, id) = (self.store.0.clone(), std::mem::take(&mut self.id));
        // May be dropped by the thread of the store, which has no runtime of its own.
        self.handle.spawn(async move {
            let abandoned = store.write(move |tx| tx.abandon_upload(&id)).await;
            match abandoned {
                Ok(true) => tracing::info!("an upload was given up"),
                Ok(false) | Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "an upload cannot be given up now; it will be when it is old"),
            }
        });
    }
}

impl std::fmt::Debug for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
