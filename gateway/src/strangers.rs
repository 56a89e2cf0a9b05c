//! Records about strangers, within bounds.
//!
//! Whoever holds a certificate of a trusted authority can be refused as often as it likes, and authorities of the field
//! issue to thousands. Each refusal is answered, but a flood of them must not fill the disk of the audit log, because
//! without that log nobody is served. So per address, and over all addresses, only so many are written; how many were left
//! out stands in the next one that is written and in a metric.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::limits::{STRANGER_RECORDS, STRANGER_RECORDS_PER_ADDRESS};
use crate::rate::Rates;

/// Counts records about strangers.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    addresses: Rates<IpAddr>,
    all: Rates<()>,
    left_out: AtomicU64,
}

impl Strangers {
    /// Whether a record is written now; if so, how many were left out since the last one.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let (per_address, address_burst) = STRANGER_RECORDS_PER_ADDRESS;
        let (per_second, burst) = STRANGER_RECORDS;
        let site = crate::listen::site(address);
        if self.addresses.take(&site, per_address, address_burst, now) && self.all.take(&(), per_second, burst, now) {
            return Some(self.left_out.swap(0, Ordering::AcqRel));
        }
        self.left_out.fetch_add(1, Ordering::AcqRel);
        metrics::counter!("schleuse_audit_left_out_total").increment(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_written() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        let written = (0..10_000).filter(|_| strangers.admit(address, start).is_some()).count();
        assert_eq!(written, STRANGER_RECORDS_PER_ADDRESS.1 as usize);
        let later = start + std::time::Duration::from_secs(1);
        assert_eq!(strangers.admit(address, later), Some(10_000 - written as u64));
        assert_eq!(strangers.admit(address, later), Some(0));
        let many = (0..10_000_u32).filter(|n| strangers.admit(IpAddr::from(n.to_be_bytes()), later).is_some()).count();
        assert!(many <= STRANGER_RECORDS.1 as usize, "{many}");
    }
}
