//! The audit log: one hash chain per process, kept as JSON lines.
//!
//! Gateway and engine each own one [`Log`]; the records of one request are joined by its correlation id. A record is
//! written (to the file, in the page cache) before the act that it describes goes on, and [`Log::durable`] waits until
//! it is on disk; many waiting records share one `fdatasync`.
//!
//! Every line carries the SHA-256 of itself and, through the `previous` field, of everything before it, over rotated
//! files too. [`verify()`] reads the files again and names the first line that was changed, removed or inserted. What a
//! chain alone cannot show is a cut at the very end: compare [`Report::last_hash`] with a copy kept elsewhere. A chain that
//! was made anew is told by its signed checkpoints ([`checkpoint`]).

mod chain;
pub mod checkpoint;
mod follow;
pub mod limits;
mod log;
pub mod retention;
mod verify;

pub use chain::{GENESIS, Hash, LineError, Time};
pub use follow::{FollowError, Followed, Follower, Mark};
pub use log::{Log, LogError, Options, Position};
pub use verify::{Report, VerifyError, verify};
