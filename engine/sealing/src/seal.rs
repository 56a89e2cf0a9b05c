//! Sealing a payload: header, then chunks.
//!
//! The whole header and the [`Binding`] are the `info` of HPKE, so that no byte of the header can be changed and a payload
//! of one project, sender or purpose is none of another. Each chunk carries whether it is the last in its associated
//! data; its place is in the nonce.

use std::io::{self, Write};

use rustls::crypto::hpke::HpkeSealer;

use crate::keys::{PublicKey, suite};
use crate::limits;

/// First bytes of every sealed payload: name and version of the format.
pub(crate) const MAGIC: [u8; 5] = *b"SLSE\x01";

/// KEM, KDF and AEAD by their numbers in RFC 9180: X25519 with HKDF-SHA256, HKDF-SHA256, AES-256-GCM.
pub(crate) const SUITE: [u8; 6] = [0, 0x20, 0, 1, 0, 2];

/// Bytes of the encapsulated key.
pub(crate) const ENCAPSULATED: usize = 32;

/// Bytes before the first chunk: magic, suite, id of the recipient's key, encapsulated key.
pub(crate) const HEADER: usize = MAGIC.len() + SUITE.len() + 32 + ENCAPSULATED;

/// Between whom and for what a payload is. Both sides know it without being told by the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'b> {
    /// Identifier of the organisation that seals.
    pub sender: &'b str,
    /// Identifier of the organisation that opens.
    pub recipient: &'b str,
    /// Identifier of the project.
    pub project: &'b str,
    /// What it is: the name of the message that carries it.
    pub purpose: &'b str,
    /// Business key of the process, which tells runs of a project apart.
    pub run: &'b str,
}

/// What a chunk says about its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    More = 0,
    Last = 1,
}

/// Why a payload cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The output cannot be written.
    #[error("the sealed payload cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The recipient's key is none.
    #[error("the key of the recipient cannot be used")]
    Key,
    /// More than [`limits::CHUNKS`] chunks.
    #[error("the payload is larger than {} MiB", limits::CHUNKS)]
    TooLarge,
    /// Encryption failed.
    #[error("the payload cannot be encrypted")]
    Encrypt,
}

/// Seals what is written to it. Nothing is whole before [`Sealer::finish`].
pub struct Sealer<W> {
    output: W,
    context: Box<dyn HpkeSealer>,
    buffer: Vec<u8>,
    chunks: u64,
}

// === impl Binding ===

impl Binding<'_> {
    /// `info` of HPKE. Every part has its length before it, so that parts cannot run into each other.
    pub(crate) fn info(&self, header: &[u8]) -> Vec<u8> {
        let mut info = b"schleuse sealed payload 1".to_vec();
        let parts = [self.sender, self.recipient, self.project, self.purpose, self.run].map(str::as_bytes);
        for part in core::iter::once(header).chain(parts) {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part);
        }
        info
    }
}

/// Header up to the encapsulated key, which HPKE binds by itself.
pub(crate) fn header_of(recipient: &[u8; 32]) -> Vec<u8> {
    [&MAGIC[..], &SUITE, recipient].concat()
}

// === impl Sealer ===

impl<W: Write> Sealer<W> {
    /// Writes the header.
    pub fn new(mut output: W, recipient: &PublicKey, binding: &Binding<'_>) -> Result<Self, SealError> {
        let header = header_of(&recipient.id());
        let sealer = suite().setup_sealer(&binding.info(&header), &recipient.to_hpke());
        let (encapsulated, context) = sealer.map_err(|_| SealError::Key)?;
        output.write_all(&header)?;
        output.write_all(&encapsulated.0)?;
        Ok(Self { output, context, buffer: Vec::with_capacity(limits::CHUNK), chunks: 0 })
    }

    /// Adds plaintext.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SealError> {
        while !bytes.is_empty() {
            // A full chunk is written only when more comes: the last one must say that it is.
            if self.buffer.len() == limits::CHUNK {
                self.chunk(Kind::More)?;
            }
            let room = (limits::CHUNK - self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk and gives the output back.
    pub fn finish(mut self) -> Result<W, SealError> {
        self.chunk(Kind::Last)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn chunk(&mut self, kind: Kind) -> Result<(), SealError> {
        self.chunks += 1;
        if self.chunks > limits::CHUNKS {
            return Err(SealError::TooLarge);
        }
        let sealed = self.context.seal(&[kind as u8], &self.buffer).map_err(|_| SealError::Encrypt)?;
        let length = u32::try_from(sealed.len()).map_err(|_| SealError::Encrypt)?;
        self.output.write_all(&[kind as u8])?;
        self.output.write_all(&length.to_be_bytes())?;
        self.output.write_all(&sealed)?;
        self.buffer.clear();
        Ok(())
    }
}
