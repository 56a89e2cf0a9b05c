//! Content of Binaries, which may be larger than memory: in ([`upload`]), out ([`download`]), and what is left over
//! ([`keeper`]).
//!
//! ```text
//! request body ─▶ upload: chunk after chunk in short transactions ─▶ Brought ─▶ transaction that stores the version
//! stored version ─▶ stand-in for `data` in the tree ─▶ printed text ─▶ pieces ─▶ download: text and chunks as they are taken
//! ```
//!
//! Invariants: no transaction is open while a client sends or receives; an upload that no version adopts is given up
//! when it is dropped, at the next start, or when nobody has touched it for a while; whoever is too slow is cut.

pub(crate) mod download;
pub(crate) mod keeper;
mod pace;
pub(crate) mod slots;
pub(crate) mod upload;

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fhir::Resource;
use store::binary::Content as Stored;
use store::{StoreError, StoredResource, Transaction};

use crate::limits;
use crate::refusal::{Code, Refusal};
use download::Piece;
use upload::Brought;

/// The stored contents that the answer to a request shows. While an answer is a tree, and then a text, a stand-in holds
/// their place; it begins with what nobody outside can know, so nothing that is stored can be taken for one.
#[derive(Debug)]
pub(crate) struct Contents {
    marker: String,
    found: Mutex<Vec<Stored>>,
}

/// Ends a stand-in.
const END: char = 'x';

impl Contents {
    pub(crate) fn new() -> Self {
        Self { marker: uuid::Uuid::new_v4().simple().to_string(), found: Mutex::new(Vec::new()) }
    }

    /// The text that stands for the content.
    pub(crate) fn stand_in(&self, content: Stored) -> String {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push(content);
        format!("{}{}{END}", self.marker, found.len() - 1)
    }

    /// Takes a printed answer apart into texts and contents.
    pub(crate) fn pieces(&self, text: String) -> Vec<Piece> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let text = Bytes::from(text);
        if found.is_empty() {
            return vec![Piece::Text(text)];
        }
        let printed = std::str::from_utf8(&text).unwrap_or_default();
        let mut pieces = Vec::new();
        let mut from = 0;
        for (at, _) in printed.match_indices(&self.marker) {
            let behind = printed.get(at + self.marker.len()..).unwrap_or_default();
            let Some((number, _)) = behind.split_once(END) else { continue };
            let Some(content) = number.parse().ok().and_then(|index: usize| found.get(index)) else { continue };
            pieces.push(Piece::Text(text.slice(from..at)));
            pieces.push(Piece::Base64(content.clone()));
            from = at + self.marker.len() + number.len() + END.len_utf8();
        }
        pieces.push(Piece::Text(text.slice(from..)));
        pieces
    }
}

/// Takes the content out of a Binary that came inside a Bundle or from the engine itself. What is no base64 is left for
/// the validation to refuse.
pub(crate) fn take_inline(binary: &mut Resource) -> Brought {
    let Some(data) = binary.str("data") else { return Brought::Nothing };
    let Some(content) = decode(data) else { return Brought::Nothing };
    binary.remove("data");
    Brought::of(content)
}

/// Content that stands in a resource.
pub(crate) fn decode(data: &str) -> Option<Vec<u8>> {
    if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let data: String = data.split_ascii_whitespace().collect();
        return STANDARD.decode(data.as_bytes()).ok();
    }
    STANDARD.decode(data.as_bytes()).ok()
}

/// Gives a version that was just stored its content.
pub(crate) fn keep(tx: &mut Transaction<'_>, stored: &StoredResource, content: &Brought) -> Result<(), StoreError> {
    match content {
        Brought::Nothing => Ok(()),
        Brought::Uploaded(upload) => tx.adopt_upload(upload.id(), &stored.id, stored.version),
        Brought::Whole(content) => {
            let upload = store::new_id();
            tx.start_upload(&upload)?;
            for chunk in content.chunks(store::limits::CHUNK_BYTES) {
                tx.append_chunk(&upload, chunk)?;
            }
            tx.adopt_upload(&upload, &stored.id, stored.version)
        }
    }
}

/// The whole content as base64, for the engine's own requests, which are answered with trees.
pub(crate) fn whole(tx: &mut Transaction<'_>, content: &Stored) -> Result<String, Refusal> {
    if content.size > limits::BODY_BYTES as u64 {
        return Err(Refusal::empty(http::StatusCode::PAYLOAD_TOO_LARGE, Code::AnswerTooLarge));
    }
    let mut bytes = Vec::new();
    for position in 0..content.size.div_ceil(store::limits::CHUNK_BYTES as u64) {
        let chunk = tx.read_chunk(&content.upload, position)?;
        bytes.extend(chunk.ok_or_else(|| Refusal::store("a chunk of a Binary is missing"))?);
    }
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests;
