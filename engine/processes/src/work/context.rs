//! What work can see and do while it runs outside of transactions: read the store, keep content of any size, say how far
//! it is, and learn that nobody wants it any more.

use std::sync::Arc;

use store::processes::WorkItem;
use store::{Store, StoreError, Transaction};
use tokio::sync::watch;

use crate::limits;
use crate::runtime::{LocalNode, Runtime};
use crate::step::WorkError;

/// The surroundings of one attempt.
#[derive(Clone)]
pub struct WorkContext {
    store: Store,
    node: Arc<LocalNode>,
    owner: String,
    id: String,
    attempt: u32,
    cancelled: watch::Receiver<bool>,
}

/// Writes content of any size. [`crate::StepContext::create_binary`] makes it a Binary; what nobody does that with is
/// removed after an hour.
pub struct ContentWriter {
    store: Store,
    upload: String,
    buffer: Vec<u8>,
    size: u64,
}

/// Reads the content of a Binary, piece by piece.
pub struct ContentReader {
    store: Store,
    upload: String,
    size: u64,
    position: u64,
}

// === impl WorkContext ===

impl WorkContext {
    pub(super) fn new(runtime: &Runtime, item: &WorkItem, cancelled: watch::Receiver<bool>) -> Self {
        Self {
            store: runtime.store.clone(),
            node: Arc::clone(&runtime.node),
            owner: runtime.owner.clone(),
            id: item.id.clone(),
            attempt: item.attempts,
            cancelled,
        }
    }

    /// The id of the work, the same in every attempt: what a partner or server can recognise a repetition by.
    #[must_use]
    pub fn work_id(&self) -> &str {
        &self.id
    }

    /// A fresh UUID.
    #[must_use]
    pub fn new_id(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// How often the work was begun, this time included.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The node that runs the process.
    #[must_use]
    pub fn node(&self) -> &LocalNode {
        &self.node
    }

    /// Reads a consistent snapshot of what is committed.
    pub async fn read<R, E>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.store.read(work).await
    }

    /// Whether nobody waits for the result any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Resolves when nobody waits for the result any more.
    pub async fn cancelled(&mut self) {
        if self.cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // Nobody can cancel it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Says how far the work is, for people who look at the instance. Losing it does no harm.
    pub async fn progress(&self, text: &str) {
        let (id, owner) = (self.id.clone(), self.owner.clone());
        let text: String = text.chars().take(limits::PROGRESS_TEXT).collect();
        let noted = self.store.write(move |tx| tx.note_work_progress(&id, &owner, &text)).await;
        if let Err(error) = noted {
            tracing::debug!(work = self.id, %error, "progress could not be noted");
        }
    }

    /// Begins to write content.
    pub async fn write_content(&self) -> Result<ContentWriter, WorkError> {
        let upload = store::new_id();
        let id = upload.clone();
        self.store.write(move |tx| tx.start_upload(&id)).await?;
        Ok(ContentWriter { store: self.store.clone(), upload, buffer: Vec::new(), size: 0 })
    }

    /// The content of the current version of a Binary; none if there is no such Binary, or its content is in the resource.
    pub async fn read_content(&self, binary: &str) -> Result<Option<ContentReader>, WorkError> {
        let id = binary.to_owned();
        let content = self.store.read(move |tx| {
            let Some(stored) = tx.read(fhir::ResourceType::Binary, &id)?.current() else { return Ok(None) };
            tx.content(&id, stored.version)
        });
        let content: Result<Option<store::binary::Content>, StoreError> = content.await;
        let store = self.store.clone();
        Ok(content?.map(|content| ContentReader { store, upload: content.upload, size: content.size, position: 0 }))
    }
}

// === impl ContentWriter ===

impl ContentWriter {
    /// Writes some bytes.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), WorkError> {
        while !bytes.is_empty() {
            let room = limits::CONTENT_CHUNK.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == limits::CONTENT_CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Ends the content; gives the name under which the step makes it a Binary, and its size.
    pub async fn finish(mut self) -> Result<(String, u64), WorkError> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        Ok((self.upload, self.size))
    }

    async fn flush(&mut self) -> Result<(), WorkError> {
        self.store.check_room_for_content()?;
        let (upload, bytes) = (self.upload.clone(), std::mem::take(&mut self.buffer));
        self.size = self.store.write(move |tx| tx.append_chunk(&upload, &bytes)).await?;
        Ok(())
    }
}

// === impl ContentReader ===

impl ContentReader {
    /// Bytes of the whole content.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, WorkError> {
        let chunks = self.size.div_ceil(limits::CONTENT_CHUNK as u64);
        if self.position >= chunks {
            return Ok(None);
        }
        let (upload, position) = (self.upload.clone(), self.position);
        let chunk = self.store.read(move |tx| tx.read_chunk(&upload, position)).await?;
        let chunk = chunk.ok_or_else(|| WorkError::failed("a chunk of a Binary is missing"))?;
        self.position += 1;
        Ok(Some(chunk))
    }
}
