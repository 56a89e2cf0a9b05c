//! Base64 that comes in pieces, with blanks anywhere, as FHIR allows.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Bits beyond the last byte are ignored, as every other implementation does; padding must be there.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const NOT_BASE64: &str = "data is no base64";

/// Decodes whole groups of four characters as soon as they are there.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    waiting: Vec<u8>,
    /// Padding was seen: nothing but padding can follow.
    padded: bool,
}

impl Decoder {
    /// Takes the characters of the alphabet that `bytes` begin with; returns how many they are.
    pub(super) fn take_run(&mut self, bytes: &[u8]) -> usize {
        if self.padded {
            return 0;
        }
        let is_of_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let end = bytes.iter().position(|byte| !is_of_alphabet(*byte)).unwrap_or(bytes.len());
        self.waiting.extend_from_slice(bytes.get(..end).unwrap_or_default());
        end
    }

    /// Takes one character that is not taken by [`Self::take_run`]: a blank or padding.
    pub(super) fn take(&mut self, byte: u8) -> Result<(), &'static str> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => Ok(()),
            b'=' => {
                self.padded = true;
                self.waiting.push(byte);
                // At most two characters of padding; more make a group that is none.
                if self.waiting.len() % 4 == 1 { Err(NOT_BASE64) } else { Ok(()) }
            }
            _ if self.take_run(&[byte]) == 1 => Ok(()),
            _ => Err(NOT_BASE64),
        }
    }

    /// Takes a whole text.
    pub(super) fn take_all(&mut self, text: &[u8]) -> Result<(), &'static str> {
        text.iter().try_for_each(|byte| self.take(*byte))
    }

    /// Appends what is complete. What may be the last group waits, so that its padding is seen with it.
    pub(super) fn drain_to(&mut self, content: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.padded || self.waiting.len() < 8 {
            return Ok(());
        }
        let whole = self.waiting.len() / 4 * 4 - 4;
        ENGINE.decode_vec(self.waiting.get(..whole).unwrap_or_default(), content).map_err(|_| NOT_BASE64)?;
        self.waiting.drain(..whole);
        Ok(())
    }

    /// Appends the end.
    pub(super) fn finish(self, content: &mut Vec<u8>) -> Result<(), &'static str> {
        ENGINE.decode_vec(&self.waiting, content).map_err(|_| NOT_BASE64)
    }
}
