//! How much the answer to a Bundle may hold. Each entry may ask for a page of megabytes, and a Bundle has thousands of
//! entries: what a client can ask for in one request must fit in memory.

use fhir::{Object, Value};
use http::StatusCode;

use crate::limits;
use crate::refusal::{Code, Refusal};
use crate::reply::{Content, Reply};

/// Bytes that the resources read by the entries of one Bundle may still take.
#[derive(Debug)]
pub(crate) struct AnswerSpace {
    left: usize,
}

impl AnswerSpace {
    pub(crate) const fn new() -> Self {
        Self { left: limits::BUNDLE_ANSWER_BYTES }
    }

    /// Refuses what would read more when there is no space left.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.left == 0 { Err(too_large()) } else { Ok(()) }
    }

    /// Takes the space of what was read; refused if it does not fit, and then nothing more does.
    pub(crate) fn take(&mut self, reply: &Reply) -> Result<(), Refusal> {
        let Content::Resource(resource) = &reply.content else { return Ok(()) };
        let bytes = bytes_of_members(resource.tree());
        self.left = self.left.saturating_sub(bytes);
        self.check()
    }
}

fn too_large() -> Refusal {
    let text = format!(
        "The entries together read more than {} MiB, ask in several Bundles",
        limits::BUNDLE_ANSWER_BYTES >> 20
    );
    Refusal::with_outcome(StatusCode::BAD_REQUEST, Code::AnswerTooLarge, fhir::outcome::IssueCode::TooCostly, text)
}

/// About as many as the printed form has.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 4,
        Value::Array(values) => values.iter().map(|value| bytes_of(value) + 1).sum(),
        Value::Object(object) => bytes_of_members(object),
    }
}

fn bytes_of_members(object: &Object) -> usize {
    object.iter().map(|(name, value)| name.len() + 4 + bytes_of(value)).sum()
}
