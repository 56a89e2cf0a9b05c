//! Random pseudonyms that are kept in a table: for a third party that must be able to forget a person, which deletes the
//! row, and to answer an approved re-identification, which reads it.

use std::error::Error;

use secrets::KeyError;

use crate::limits;
use crate::pseudonym::Pseudonym;

/// Where pseudonyms are kept. `find` and `reserve` of one person run in one transaction of the implementation.
pub trait PseudonymTable {
    /// Why the table cannot be used.
    type Error: Error;

    /// The pseudonym of the original, if it has one.
    fn find(&mut self, domain: &str, original: &str) -> Result<Option<Pseudonym>, Self::Error>;

    /// Stores the pseudonym for the original, unless another original of the domain has it.
    fn reserve(&mut self, domain: &str, original: &str, pseudonym: &Pseudonym) -> Result<Reserved, Self::Error>;

    /// The original of a pseudonym.
    fn original(&mut self, domain: &str, pseudonym: &Pseudonym) -> Result<Option<String>, Self::Error>;

    /// Forgets the original; says whether it was there.
    fn forget(&mut self, domain: &str, original: &str) -> Result<bool, Self::Error>;
}

/// Whether a pseudonym was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is now the pseudonym of the original.
    Stored,
    /// Another original has it.
    Taken,
}

/// Why there is no pseudonym.
#[derive(Debug, thiserror::Error)]
pub enum TableError<E: Error> {
    /// The table failed.
    #[error("the table of pseudonyms cannot be used: {0}")]
    Table(#[source] E),
    /// The system gives no random numbers.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// [`limits::ATTEMPTS`] pseudonyms in a row were taken.
    #[error(
        "{} random pseudonyms in a row were taken: the table or the source of random numbers is damaged",
        limits::ATTEMPTS
    )]
    Taken,
}

/// Pseudonyms from a table.
pub struct TablePseudonyms<T> {
    table: T,
}

// === impl TablePseudonyms ===

impl<T: PseudonymTable> TablePseudonyms<T> {
    /// Uses the table.
    pub const fn new(table: T) -> Self {
        Self { table }
    }

    /// The pseudonym that the original has or now gets.
    pub fn of(&mut self, domain: &str, original: &str) -> Result<Pseudonym, TableError<T::Error>> {
        if let Some(pseudonym) = self.table.find(domain, original).map_err(TableError::Table)? {
            return Ok(pseudonym);
        }
        for _ in 0..limits::ATTEMPTS {
            let pseudonym = Pseudonym::random()?;
            match self.table.reserve(domain, original, &pseudonym).map_err(TableError::Table)? {
                Reserved::Stored => return Ok(pseudonym),
                Reserved::Taken => {}
            }
        }
        Err(TableError::Taken)
    }

    /// The original of a pseudonym; asking is for who has the approvals.
    pub fn original(&mut self, domain: &str, pseudonym: &Pseudonym) -> Result<Option<String>, TableError<T::Error>> {
        self.table.original(domain, pseudonym).map_err(TableError::Table)
    }

    /// Forgets a person; says whether there was one.
    pub fn forget(&mut self, domain: &str, original: &str) -> Result<bool, TableError<T::Error>> {
        self.table.forget(domain, original).map_err(TableError::Table)
    }
}
