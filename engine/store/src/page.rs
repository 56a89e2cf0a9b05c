//! How much a page may hold: what a client can ask for in one request must fit in memory, whatever others have stored.

use crate::{StoreError, limits};

/// Bytes that a page has left.
#[derive(Debug)]
pub(crate) struct PageSpace {
    left: usize,
    is_empty: bool,
}

impl PageSpace {
    pub(crate) const fn new() -> Self {
        Self { left: limits::PAGE_BYTES, is_empty: true }
    }

    /// Takes the space of one resource, before it is read. The first one always fits.
    pub(crate) fn take(&mut self, content: &str) -> Result<(), StoreError> {
        match self.left.checked_sub(content.len()) {
            Some(left) => self.left = left,
            None if self.is_empty => self.left = 0,
            None => return Err(StoreError::PageTooLarge { limit: limits::PAGE_BYTES }),
        }
        self.is_empty = false;
        Ok(())
    }
}
