//! States of processes (`process-engine.md` 1.8): what an operator has ordered of a process and version, kept in the store,
//! so that it holds over restarts and for every engine of the database.
//!
//! A process without an order is active, or a draft if its package is one. A retired or excluded process begins no
//! instance; those that run go on, and Tasks that continue them are still taken.

use store::{StoreError, Transaction};

/// State of an installed process; the order is that of their priority for resources that several processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessState {
    /// Not in use; its resources are removed.
    Excluded,
    /// Not in use any more; its resources stay, as `retired`.
    Retired,
    /// In use, from a package that is not released; its resources are replaced at every load.
    Draft,
    /// In use.
    Active,
}

// === impl ProcessState ===

impl ProcessState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::Retired => "retired",
            Self::Draft => "draft",
            Self::Active => "active",
        }
    }

    /// Whether new instances may begin.
    #[must_use]
    pub const fn may_start(self) -> bool {
        matches!(self, Self::Draft | Self::Active)
    }
}

/// What an operator has ordered; nothing where the package decides.
pub fn ordered(tx: &mut Transaction<'_>, key: &str, version: &str) -> Result<Option<ProcessState>, StoreError> {
    let stored = tx.setting(&setting(key, version))?;
    Ok(stored.map(|state| match state.as_slice() {
        b"retired" => ProcessState::Retired,
        // What is not known, of a later release, begins nothing either.
        _ => ProcessState::Excluded,
    }))
}

/// Whether an instance of the process may begin.
pub(crate) fn may_start(tx: &mut Transaction<'_>, key: &str, version: &str) -> Result<bool, StoreError> {
    Ok(ordered(tx, key, version)?.is_none_or(ProcessState::may_start))
}

/// Orders a state; active and draft take an order back.
pub fn order(tx: &mut Transaction<'_>, key: &str, version: &str, state: ProcessState) -> Result<(), StoreError> {
    match state.may_start() {
        true => tx.delete_setting(&setting(key, version)),
        false => tx.set_setting(&setting(key, version), state.as_str().as_bytes()),
    }
}

fn setting(key: &str, version: &str) -> String {
    format!("process-state {key}|{version}")
}
