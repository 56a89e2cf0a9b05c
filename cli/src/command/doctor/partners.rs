//! The partners: every active Endpoint of the allow-list is asked for its CapabilityStatement, as the own organisation.
//!
//! Asked from here and not by the engine, so that it works while the engine does not; a forward proxy is therefore not
//! used, and where there is one partners are said to be unknown.

use std::sync::Arc;

use node::{Address, Settings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Seen, Verdict};
use crate::local::Local;
use crate::own::{Own, OwnError};

/// Partners that are asked at one time.
const AT_ONCE: usize = 8;

pub(super) async fn all(local: &Local) -> Vec<Seen> {
    let Some(list) = &local.allow_list else { return Vec::new() };
    let own = local.settings.base_url.as_str();
    let addresses = list.endpoints().iter().filter(|endpoint| endpoint.active && endpoint.address != own);
    let mut addresses: Vec<String> = addresses.map(|endpoint| endpoint.address.clone()).collect();
    addresses.sort();
    addresses.dedup();
    if local.settings.outgoing.proxy.is_some() {
        let text =
            format!("{} partners were not asked, because the node reaches them through a proxy", addresses.len());
        let remedy =
            "let the engine ask: schleuse task start DIR 'http://dsf.dev/bpe/Process/ping|1.0' startPing --wait";
        return vec![Seen::other("partners", Verdict::Unknown, text, remedy)];
    }
    let settings = Arc::new(local.settings.clone());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for address in addresses {
        let (settings, slots) = (Arc::clone(&settings), Arc::clone(&slots));
        asking.spawn(async move {
            let _slot = slots.acquire().await;
            ask(&settings, &address).await
        });
    }
    let mut seen: Vec<Seen> = asking.join_all().await;
    seen.sort_by(|one, other| one.text.cmp(&other.text));
    seen
}

async fn ask(settings: &Settings, text: &str) -> Seen {
    let Some(address) = Address::parse(text) else {
        let remedy = "correct the Endpoint in the allow-list, or tell its keeper";
        return Seen::other("partners", Verdict::Problem, format!("{text} is no usable address"), remedy);
    };
    let answer = match Own::at_partner(settings, address) {
        Ok(partner) => partner.get("/metadata").await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => Seen::good("partners", format!("{text} answers")),
        Err(OwnError::Refused { status, text: words, .. }) => {
            let remedy = if words.is_empty() {
                "the partner does not know your certificate: give it your thumbprint (schleuse cert thumbprint)"
            } else {
                "the partner knows you and refuses: its administrator finds the reason in its audit log"
            };
            Seen::other("partners", Verdict::Problem, format!("{text} answers {status} {words}"), remedy)
        }
        Err(OwnError::NotReachable { reason, .. }) => {
            let remedy = "is the partner up, its name known here, the port open in the firewalls between, its authority in trust/server-authorities.pem?";
            Seen::other("partners", Verdict::Problem, format!("{text}: {reason}"), remedy)
        }
        Err(error) => {
            Seen::other("partners", Verdict::Unknown, format!("{text}: {error}"), "repair the own certificate first")
        }
    }
}
