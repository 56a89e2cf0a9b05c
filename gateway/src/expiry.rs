//! What `[trust]` reports without refusing it: certificates that end soon (`warn-expiry`), short keys (`warn-rsa-leaf`).
//!
//! The own server certificate and the trusted authorities are looked at by `check`, at each start and reload, and then
//! hourly; clients when they are identified. What is found goes to the log, because nobody is refused for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use certs::Certificate;
use certs::certificate::KeyType;
use policies::Finding;
use policies::policy::Trust;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::reload::{Active, Loaded};

/// Between two looks at the own certificates.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How many of the times before expiry have come; 0 when none has.
fn stage(trust: &Trust, certificate: &Certificate, now: OffsetDateTime) -> usize {
    let left = Duration::try_from(certificate.not_after() - now).unwrap_or_default();
    trust.warn_expiry.iter().filter(|before| left <= **before).count()
}

fn days_left(certificate: &Certificate, now: OffsetDateTime) -> i64 {
    (certificate.not_after() - now).whole_days()
}

/// Warnings about what was loaded.
pub(crate) fn findings(loaded: &Loaded, now: OffsetDateTime) -> Vec<Finding> {
    let ending = loaded.tls.certificates().filter(|known| stage(loaded.policy.trust(), known, now) > 0);
    ending
        .map(|certificate| {
            let text = format!("certificate {} ends in {} days", certificate.subject(), days_left(certificate, now));
            let remedy = "renew it, or take it out of the trust store, and reload";
            let finding = Finding::in_file(node::NODE_TOML, text, remedy);
            Finding { severity: policies::Severity::Warning, ..finding }
        })
        .collect()
}

/// Reports each own certificate whenever another of the times before its end has come, until told to stop.
pub(crate) async fn watch(active: Arc<Active>, mut stop: watch::Receiver<bool>) {
    let mut changes = active.changes();
    let mut reported: HashMap<String, usize> = HashMap::new();
    loop {
        let (tls, basis, now) = (active.tls(), active.basis(), OffsetDateTime::now_utc());
        for certificate in tls.certificates() {
            let stage = stage(basis.policy.trust(), certificate, now);
            if stage > reported.insert(certificate.thumbprint().to_owned(), stage).unwrap_or(0) {
                let (subject, days) = (certificate.subject().to_string(), days_left(certificate, now));
                tracing::warn!(subject, days, "certificate ends soon");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            changed = changes.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Reports a client that was identified.
pub(crate) fn report_client(trust: &Trust, certificate: &Certificate, name: &str, now: OffsetDateTime) {
    let thumbprint = certificate.thumbprint().get(..8).unwrap_or_default();
    if stage(trust, certificate, now) > 0 {
        let days = days_left(certificate, now);
        metrics::counter!("schleuse_client_certificates_ending_total").increment(1);
        tracing::warn!(name, thumbprint, days, "certificate of a client ends soon");
    }
    if let KeyType::Rsa { bits } = certificate.key()
        && u32::try_from(*bits).is_ok_and(|bits| bits < trust.keys.warn_rsa_leaf)
    {
        metrics::counter!("schleuse_client_certificates_short_key_total").increment(1);
        tracing::warn!(name, thumbprint, bits, "certificate of a client has a short key");
    }
}
