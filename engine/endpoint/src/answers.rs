//! Answers to reads by id that were given before, and can be given again.
//!
//! ```text
//! read ─▶ kept?  ─▶ fresh?  ─▶ may this caller read it now?  ─▶ record ─▶ the bytes of before
//!           └──no────┴──no──────┴──no── the ordinary way, which keeps its answer
//! ```
//!
//! Kept is what does not depend on who asks: the printed current state of a small resource, with the grants of its
//! version. Who asks is judged for each request, by the allow-list and the policy of that moment, before anything is told.
//!
//! Invariants:
//! - An answer is given again only while the store says that no commit has begun which may have changed the resource
//!   ([`store::Store::is_fresh`]); a database that others write to says so of nothing.
//! - Only a plain 200 is kept. Whatever is not simply permitted (a refusal, a precondition, a deleted resource) is left to
//!   the ordinary way, which alone knows how to say no.
//! - Binaries are not kept: their readers change with other resources, and their content is not in memory.

use std::sync::Arc;

use bytes::Bytes;
use fhir::ResourceType;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use moka::sync::Cache;
use policies::interaction::Interaction;
use policies::{CanonicalRequest, DsfOperation};
use store::{Grant, ReadFilter, Stamp};
use time::OffsetDateTime;

use crate::admit::Caller;
use crate::content::download::Piece;
use crate::limits;
use crate::negotiate::{Negotiated, Summary};
use crate::precondition::{Preconditions, Verdict};
use crate::reply::Printed;
use crate::session::policy_permits;
use crate::shared::Shared;

/// Kept answers, the least used of which go first.
pub(crate) struct Answers {
    kept: Cache<Key, Arc<Answer>>,
}

/// What is asked for, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    resource_type: ResourceType,
    id: uuid::Uuid,
    media_type: &'static str,
}

/// The answer to a read of the current state.
#[derive(Debug)]
pub(crate) struct Answer {
    stamp: Stamp,
    version: u64,
    last_updated: OffsetDateTime,
    grants: Vec<Grant>,
    headers: HeaderMap,
    body: Bytes,
}

/// What an answer must be kept with; noted on the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    key: Key,
    stamp: Stamp,
    /// Version, time and readers, once they were read.
    found: Option<(u64, OffsetDateTime, Vec<Grant>)>,
}

// === impl Answers ===

impl Answers {
    pub(crate) fn new() -> Self {
        let weigh = |_: &Key, answer: &Arc<Answer>| answer.weight();
        Self { kept: Cache::builder().max_capacity(limits::KEPT_ANSWERS_BYTES).weigher(weigh).build() }
    }

    /// The answer if it is still what the store holds.
    fn fresh(&self, shared: &Shared, key: &Key) -> Option<Arc<Answer>> {
        self.kept.get(key).filter(|answer| shared.store.is_fresh(answer.stamp))
    }

    /// Keeps what was just answered, if it is small enough.
    pub(crate) fn keep(&self, keep: Keep, printed: &Printed) {
        let (Some((version, last_updated, grants)), [Piece::Text(body)]) = (keep.found, printed.pieces.as_slice())
        else {
            return;
        };
        if printed.status != http::StatusCode::OK || body.len() > limits::KEPT_ANSWER_BYTES {
            return;
        }
        let mut headers = printed.headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let answer = Answer { stamp: keep.stamp, version, last_updated, grants, headers, body: body.clone() };
        self.kept.insert(keep.key, Arc::new(answer));
    }
}

impl Answer {
    /// Bytes, about.
    fn weight(&self) -> u32 {
        let grants: usize = self.grants.iter().map(|grant| grant.as_str().len() + 24).sum();
        u32::try_from(self.body.len() + grants + 1024).unwrap_or(u32::MAX)
    }

    /// Whether one of its grants is held.
    fn is_readable(&self, resource_type: ResourceType, filter: &ReadFilter) -> bool {
        filter.includes_type(resource_type)
            && filter.grants().is_none_or(|held| self.grants.iter().any(|grant| held.contains(grant)))
    }

    /// Head and body as they were.
    pub(crate) fn parts(&self) -> (HeaderMap, Bytes) {
        (self.headers.clone(), self.body.clone())
    }
}

impl Keep {
    /// With what was read of the version.
    pub(crate) fn of(self, version: u64, last_updated: OffsetDateTime, grants: Vec<Grant>) -> Self {
        Self { found: Some((version, last_updated, grants)), ..self }
    }
}

/// The key of an answer that may be kept: a plain read of the current state of anything but a Binary.
fn key(request: &CanonicalRequest, how: &Negotiated) -> Option<Key> {
    let is_read = matches!(request.interaction(), Interaction::Read | Interaction::Head);
    if !is_read || request.version().is_some() || how.pretty || how.summary != Summary::False {
        return None;
    }
    let resource_type = request.resource_type().filter(|resource_type| *resource_type != ResourceType::Binary)?;
    let id = request.id()?.as_str();
    let parsed = uuid::Uuid::try_parse(id).ok()?;
    // Other spellings of an id are other ids.
    let mut buffer = uuid::Uuid::encode_buffer();
    let is_canonical = &*parsed.hyphenated().encode_lower(&mut buffer) == id;
    is_canonical.then_some(Key { resource_type, id: parsed, media_type: how.media_type })
}

/// To be called before the snapshot of a read begins: what its answer is to be kept with.
pub(crate) fn note(shared: &Shared, request: &CanonicalRequest, how: &Negotiated) -> Option<Keep> {
    let key = key(request, how)?;
    let stamp = shared.store.stamp(key.resource_type, request.id()?.as_str())?;
    Some(Keep { key, stamp, found: None })
}

/// The kept answer to a request, if the caller may have it now.
pub(crate) fn kept(
    shared: &Shared,
    caller: &Caller,
    request: &CanonicalRequest,
    headers: &HeaderMap,
    how: &Negotiated,
) -> Option<Arc<Answer>> {
    let key = key(request, how)?;
    // Noted before the state of the resource is, as by every read: it may be older by a moment, never newer.
    let allow_list = shared.allow_list.get(shared.allow_list.generation())?;
    let standing = caller.standing(&allow_list)?;
    if !standing.identity.has_dsf_role(DsfOperation::Read, Some(key.resource_type)) {
        return None;
    }
    let now = shared.store.now();
    policy_permits(caller, &standing.identity, &allow_list, request, None, now).ok()?;
    let answer = shared.answers.fresh(shared, &key)?;
    if !answer.is_readable(key.resource_type, &standing.filter) {
        return None;
    }
    let verdict = Preconditions::of(headers).judge(answer.version, answer.last_updated);
    (verdict == Verdict::Proceed).then_some(answer)
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
