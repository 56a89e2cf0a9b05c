//! The request in a form that can be judged: raw head, parsed header fields, body.

mod body;
mod fields;
mod head;

pub use body::{Body, BodyRefusal, read_body};
pub(crate) use body::{Pace, read_piece};
pub use fields::{FieldRefusal, check_fields, wants_websocket};
pub use head::{HeadLimits, HeadRefusal, HeadScanner, Progress};
