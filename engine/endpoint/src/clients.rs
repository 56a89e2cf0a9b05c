//! Clients of the gateway as they were seen before, and what an allow-list and a policy make of them.
//!
//! The part of a permit that names the client is the same for all of its requests, so it is read once: the same bytes are
//! the same client. What follows from the allow-list ([`Standing`]) is kept with the very values that it was derived from
//! and used for no other ones, so nobody keeps a right that a change of the allow-list or of the policy has taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use link::{PermitError, PermittedClient};
use policies::{AllowList, Identity, Policy};
use store::ReadFilter;

use crate::access::{identify_again, read_filter};
use crate::limits;

/// Clients by the part of their permits that names them.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: RwLock<HashMap<Box<[u8]>, Arc<Client>>>,
}

/// Who asks, as the gateway saw it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) identity: Arc<Identity>,
    pub(crate) policy_version: String,
    pub(crate) snapshot_version: u64,
    judged: Mutex<Option<Judged>>,
}

/// Who a client is by an allow-list and a policy, and what it may read.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) identity: Arc<Identity>,
    pub(crate) filter: Arc<ReadFilter>,
}

/// A standing with what it was derived from. As long as these are held, no other value is at their addresses; their
/// contents are not kept by this.
#[derive(Debug)]
struct Judged {
    allow_list: Weak<AllowList>,
    policy: Weak<Policy>,
    /// `None` if it is nobody any more.
    standing: Option<Standing>,
}

// === impl Clients ===

impl Clients {
    /// The client that this part of a permit names.
    pub(crate) fn of(&self, part: &[u8]) -> Result<Arc<Client>, PermitError> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(part) {
            return Ok(Arc::clone(known));
        }
        let PermittedClient { identity, policy_version, snapshot_version } = PermittedClient::decode(part)?;
        let client =
            Client { identity: Arc::new(identity), policy_version, snapshot_version, judged: Mutex::default() };
        let client = Arc::new(client);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Parts of earlier policies and allow-lists never come again.
        if known.len() >= limits::CLIENTS {
            known.clear();
        }
        known.insert(part.into(), Arc::clone(&client));
        Ok(client)
    }
}

// === impl Client ===

impl Client {
    /// Who it is by this allow-list and policy; `None` if nobody, or somebody else.
    pub(crate) fn standing(&self, allow_list: &Arc<AllowList>, policy: &Arc<Policy>) -> Option<Standing> {
        let is_of = |judged: &&Judged| {
            std::ptr::eq(judged.allow_list.as_ptr(), Arc::as_ptr(allow_list))
                && std::ptr::eq(judged.policy.as_ptr(), Arc::as_ptr(policy))
        };
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judged) = judged.as_ref().filter(is_of) {
            return judged.standing.clone();
        }
        let standing = identify_again(&self.identity, allow_list, policy).map(|identity| {
            let filter = Arc::new(read_filter(&identity, allow_list));
            Standing { identity: Arc::new(identity), filter }
        });
        let (list, policy) = (Arc::downgrade(allow_list), Arc::downgrade(policy));
        *judged = Some(Judged { allow_list: list, policy, standing: standing.clone() });
        standing
    }
}
