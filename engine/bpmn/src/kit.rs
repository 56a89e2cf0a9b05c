//! A test kit for process developers: processes in memory, with a clock that the test moves.
//!
//! [`Network`] is a host without storage: it keeps instances, correlates messages, broadcasts signals, starts called
//! processes and fires timers. After every command it replays the log of the instance and reads it back from its stored
//! form, so whatever runs in it has also been restarted at every point. [`scenario`] runs readable files on it,
//! [`simulation`] walks through any model with stub steps.

mod inline;
mod network;
pub mod random;
pub mod scenario;
pub mod simulation;
mod words;

pub use network::{Network, Refusal, TaskStatus};
