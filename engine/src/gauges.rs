//! What waits at this moment, for the metrics: instances by process and state, messages to be sent, work to be done.
//!
//! Counters are raised where things happen; these levels are read from the store now and then, by one short read, so
//! that they are right after a restart and with several engines on one database.

use std::collections::BTreeMap;
use std::time::Duration;

use store::processes::WorkKind;
use store::{Store, StoreError, Transaction};

/// Time between two readings: about what monitoring asks in.
const INTERVAL: Duration = Duration::from_secs(15);

/// A series: name and labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// Reads the levels again and again.
pub(crate) async fn keep(store: Store) {
    let mut known = BTreeMap::new();
    loop {
        match store.read(levels).await {
            Ok(levels) => set(&mut known, levels),
            Err(error) => tracing::warn!(%error, "what waits cannot be counted for the metrics"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn levels(tx: &mut Transaction<'_>) -> Result<BTreeMap<Series, u64>, StoreError> {
    let mut levels = BTreeMap::new();
    for (key, version, state, count) in tx.count_running_instances()? {
        let labels = vec![("process", format!("{key}|{version}")), ("state", state.as_str().to_owned())];
        levels.insert(("schleuse_instances", labels), count);
    }
    for (kind, topic, count) in tx.count_work_items()? {
        let kind = match kind {
            WorkKind::Step => "step",
            WorkKind::External => "external",
        };
        levels.insert(("schleuse_work_items", vec![("kind", kind.to_owned()), ("topic", topic)]), count);
    }
    levels.insert(("schleuse_messages_waiting", Vec::new()), tx.count_outbox()?);
    Ok(levels)
}

/// Sets the gauges; what has gone is zero from now on.
fn set(known: &mut BTreeMap<Series, u64>, levels: BTreeMap<Series, u64>) {
    for count in known.values_mut() {
        *count = 0;
    }
    known.extend(levels);
    for ((name, labels), count) in &*known {
        let labels: Vec<metrics::Label> =
            labels.iter().map(|(label, value)| metrics::Label::new(*label, value.clone())).collect();
        metrics::gauge!(*name, labels).set(*count as f64);
    }
    // A series that is zero once has been told; processes and topics come and go with plug-ins.
    known.retain(|_, count| *count > 0);
}
