//! Opening a payload, chunk by chunk.
//!
//! What comes out before the end may be the beginning of something that was cut off: whoever uses it must be able to throw
//! it away until [`Opener::next_chunk`] has answered `None`.

use std::io::{self, Read};

use rustls::crypto::hpke::{EncapsulatedSecret, HpkeOpener};

use crate::keys::{Keyring, suite};
use crate::limits;
use crate::seal::{Binding, ENCAPSULATED, HEADER, Kind, MAGIC, SUITE, header_of};

/// Why a payload cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The input cannot be read.
    #[error("the sealed payload cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is no sealed payload, or one of a version or suite that is not known here.
    #[error("this is no sealed payload of a known version")]
    Format,
    /// It is sealed with a key that this node does not have or no longer has.
    #[error("the payload is sealed with a key that this node does not have")]
    UnknownKey,
    /// It was changed, cut off, reordered, or is of another sender, recipient, project, purpose or run. Which of these is
    /// not told: who sent it could learn from the difference.
    #[error("the payload cannot be opened")]
    Refused,
}

/// Opens a payload.
pub struct Opener<R> {
    input: R,
    context: Box<dyn HpkeOpener>,
    chunks: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed,
}

// === impl Opener ===

impl<R: Read> Opener<R> {
    /// Reads the header.
    pub fn new(mut input: R, keys: &Keyring, binding: &Binding<'_>) -> Result<Self, OpenError> {
        let mut header = [0; HEADER];
        read_exact(&mut input, &mut header).map_err(|error| error.unwrap_or(OpenError::Format))?;
        let (start, encapsulated) = header.split_at(HEADER - ENCAPSULATED);
        let known = [&MAGIC[..], &SUITE].concat();
        let id = start.strip_prefix(known.as_slice()).ok_or(OpenError::Format)?;
        let id: &[u8; 32] = id.try_into().map_err(|_| OpenError::Format)?;
        let key = keys.find(id).ok_or(OpenError::UnknownKey)?;
        let info = binding.info(&header_of(id));
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let context = suite().setup_opener(&encapsulated, &info, key.to_hpke()).map_err(|_| OpenError::Refused)?;
        Ok(Self { input, context, chunks: 0, state: State::Open })
    }

    /// The next chunk of plaintext; `None` after the last one, when nothing follows it. After an error there is nothing
    /// more to get.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, OpenError> {
        match self.state {
            State::Ended => return Ok(None),
            State::Failed => return Err(OpenError::Refused),
            State::Open => {}
        }
        let chunk = self.read_chunk();
        match &chunk {
            Ok((_, Kind::Last)) => self.state = State::Ended,
            Ok((_, Kind::More)) => {}
            Err(_) => self.state = State::Failed,
        }
        chunk.map(|(plaintext, _)| Some(plaintext))
    }

    fn read_chunk(&mut self) -> Result<(Vec<u8>, Kind), OpenError> {
        self.chunks += 1;
        let mut head = [0; 5];
        read_exact(&mut self.input, &mut head).map_err(|error| error.unwrap_or(OpenError::Refused))?;
        let [kind, length @ ..] = head;
        let kind = match kind {
            0 => Kind::More,
            1 => Kind::Last,
            _ => return Err(OpenError::Refused),
        };
        let length = u32::from_be_bytes(length) as usize;
        let is_plausible = match kind {
            Kind::More => length == limits::CHUNK + limits::TAG,
            Kind::Last => (limits::TAG..=limits::CHUNK + limits::TAG).contains(&length),
        };
        if !is_plausible || self.chunks > limits::CHUNKS {
            return Err(OpenError::Refused);
        }
        let mut sealed = vec![0; length];
        read_exact(&mut self.input, &mut sealed).map_err(|error| error.unwrap_or(OpenError::Refused))?;
        let plaintext = self.context.open(&[kind as u8], &sealed).map_err(|_| OpenError::Refused)?;
        if kind == Kind::Last {
            // Nothing may follow; the error of a byte too many must come with the last chunk, not after it.
            let mut more = [0; 1];
            match read_exact(&mut self.input, &mut more) {
                Err(None) => {}
                Err(Some(error)) => return Err(error),
                Ok(()) => return Err(OpenError::Refused),
            }
        }
        Ok((plaintext, kind))
    }
}

/// `Err(None)` if the input ends before.
fn read_exact(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), Option<OpenError>> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => None,
        _ => Some(OpenError::Read(error)),
    })
}
