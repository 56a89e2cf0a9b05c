//! `only`: what a rule with the effect `restrict` demands.
//!
//! Time, size and network are judged at once. Rates and counts cannot be: the decision is pure, so it names what is to be
//! charged ([`crate::Charge`]); the gateway charges rates, the engine counts in the transaction that accepts the Task.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::{Period, TimeWindow, Zone};
use crate::decision::{Charge, ChargeLimit, Context, Origin};
use crate::identifier::RuleId;
use crate::identity::Identity;
use crate::network::Network;

/// Demands; a request must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// When it may come.
    pub time: Option<TimeWindow>,
    /// From where it may come; empty: anywhere.
    pub networks: Vec<Network>,
    /// Most bytes of its body.
    pub size: Option<u64>,
    /// How often it may come; per caller.
    pub rate: Option<Rate>,
    /// How often it may be accepted; per caller.
    pub count: Option<Count>,
}

/// Requests per span of time, forgotten at a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u32,
    /// In which span.
    pub span: Duration,
}

/// Accepted requests per period of the calendar, kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub most: u64,
    /// In which period.
    pub per: Period,
}

// === impl Demands ===

impl Demands {
    /// Whether nothing is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first demand that is not met, in words.
    pub(crate) fn unmet(&self, context: &Context, zone: &Zone) -> Option<String> {
        if let Some(window) = self.time.filter(|window| !window.contains(context.now, zone)) {
            return Some(format!("only at {window} ({})", zone.name()));
        }
        if let Origin::Address(address) = context.origin
            && !self.networks.is_empty()
            && !self.contains(address)
        {
            return Some("only from other networks".to_owned());
        }
        match (self.size, context.body_bytes) {
            (Some(most), Some(bytes)) if bytes > most => Some(format!("only up to {most} bytes")),
            _ => None,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// What is charged for a request that goes on.
    pub(crate) fn charges(
        &self,
        rule: &RuleId,
        caller: &Identity,
        context: &Context,
        zone: &Zone,
    ) -> impl Iterator<Item = Charge> {
        let charge = |limit| Charge { rule: rule.clone(), caller: caller.name(), limit };
        let rate = self.rate.map(|rate| charge(ChargeLimit::Rate { most: rate.most, span: rate.span }));
        let count = self.count.map(|count| {
            let start = count.per.start(context.now, zone);
            charge(ChargeLimit::Count { most: count.most, per: count.per, start })
        });
        rate.into_iter().chain(count)
    }
}
