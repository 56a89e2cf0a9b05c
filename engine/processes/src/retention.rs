//! Retention: ended instances and their events are kept for a time, as evidence, and then removed; Tasks, answers to user
//! tasks and replaced versions of resources stay, unless the node says for how long (`[retention]`).
//!
//! The time of instances is the model's `historyTimeToLive` (`P30D` or a number of days), else that of the node, else
//! [`limits::RETENTION`]. An instance that waits is never removed, however old it is, and neither is a Task that has not
//! ended, nor the current version of anything.

use std::sync::Arc;

use fhir::ResourceType;
use store::ReadFilter;
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use crate::limits;
use crate::runtime::{ProcessError, Runtime, pause};

/// How long what has ended is kept, where the node says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Ended Tasks and answered user tasks; none: for ever.
    pub tasks: Option<std::time::Duration>,
    /// Ended instances whose model does not say; none: [`limits::RETENTION`].
    pub instances: Option<std::time::Duration>,
    /// Versions of resources after they were replaced; none: for ever.
    pub history: Option<std::time::Duration>,
}

/// Runs until `stop` turns true.
pub(crate) async fn work(runtime: Arc<Runtime>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match remove_old(&runtime).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "ended instances were removed after their time"),
            Err(error) => tracing::error!(%error, "ended instances could not be removed"),
        }
        match remove_old_tasks(&runtime, runtime.retention.tasks).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "ended Tasks and user tasks were removed after their time"),
            Err(error) => tracing::error!(%error, "ended Tasks could not be removed"),
        }
        match remove_old_versions(&runtime, runtime.retention.history).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "replaced versions of resources were removed after their time"),
            Err(error) => tracing::error!(%error, "replaced versions of resources could not be removed"),
        }
        pause(&mut stop, limits::RETENTION_PAUSE).await;
    }
}

/// Removes every ended instance whose time is over and says how many these were.
pub(crate) async fn remove_old(runtime: &Arc<Runtime>) -> Result<usize, ProcessError> {
    let (mut after, mut removed): (Option<(OffsetDateTime, String)>, usize) = (None, 0);
    loop {
        let from = after.clone();
        let page = runtime.store.read(move |tx| {
            let now = tx.now();
            let from = from.as_ref().map(|(created, id)| (*created, id.as_str()));
            Ok::<_, ProcessError>((now, tx.ended_instances(now, from, limits::BATCH)?))
        });
        let (now, page) = page.await?;
        let catalogue = runtime.catalogue();
        let Some(last) = page.last() else { return Ok(removed) };
        after = Some((last.created, last.id.clone()));
        let is_old = |ended: &store::processes::EndedInstance| {
            let definition = catalogue.definitions.by_digest(&ended.definition_digest);
            let of_node = runtime.retention.instances.and_then(|time| Duration::try_from(time).ok());
            let of_node = of_node.unwrap_or(limits::RETENTION);
            now - ended.ended > definition.and_then(|definition| definition.retention).unwrap_or(of_node)
        };
        let old: Vec<String> = page.into_iter().filter(is_old).map(|ended| ended.id).collect();
        if old.is_empty() {
            continue;
        }
        removed += old.len();
        // In small portions: whoever writes meanwhile waits for one of them and not for all.
        for portion in old.chunks(limits::REMOVED_AT_ONCE) {
            let portion = portion.to_vec();
            let delete = move |tx: &mut store::Transaction<'_>| {
                portion.iter().try_for_each(|id| tx.delete_instance(id).map(drop)).map_err(ProcessError::from)
            };
            runtime.store.write(delete).await?;
        }
    }
}

/// What has ended, by type and status.
const ENDED: [(ResourceType, &str); 7] = [
    (ResourceType::Task, "completed"),
    (ResourceType::Task, "failed"),
    (ResourceType::Task, "rejected"),
    (ResourceType::Task, "cancelled"),
    (ResourceType::QuestionnaireResponse, "completed"),
    (ResourceType::QuestionnaireResponse, "amended"),
    (ResourceType::QuestionnaireResponse, "stopped"),
];

/// Removes Tasks and answers to user tasks whose time is over, with all their versions; says how many these were.
pub(crate) async fn remove_old_tasks(
    runtime: &Arc<Runtime>,
    kept: Option<std::time::Duration>,
) -> Result<usize, ProcessError> {
    let Some(kept) = kept else { return Ok(0) };
    let mut removed = 0;
    for (resource_type, ended) in ENDED {
        loop {
            let remove = move |tx: &mut store::Transaction<'_>| {
                let before = fhir::date::format_instant(tx.now() - kept);
                let query = format!("status={ended}&_lastUpdated=lt{before}");
                let query = fhir::search::parse_query_in(&tx.context().as_context(), resource_type, &query);
                if !query.errors.is_empty() {
                    // Without its conditions the search would find what has not ended.
                    tracing::error!(query = ended, "a search for what has ended is not understood; nothing is removed");
                    return Ok(0);
                }
                let most = u32::try_from(limits::REMOVED_AT_ONCE).unwrap_or(1);
                let ids = tx.search_ids(&query, &ReadFilter::everything(), most)?;
                for id in &ids {
                    tx.delete(resource_type, id)?;
                    tx.delete_permanently(resource_type, id)?;
                }
                Ok::<_, ProcessError>(ids.len())
            };
            match runtime.store.write(remove).await? {
                0 => break,
                count => removed += count,
            }
        }
    }
    Ok(removed)
}

/// Removes versions that were replaced before that time; says how many these were.
pub(crate) async fn remove_old_versions(
    runtime: &Arc<Runtime>,
    kept: Option<std::time::Duration>,
) -> Result<usize, ProcessError> {
    let Some(kept) = kept else { return Ok(0) };
    let (mut from, mut removed) = (None, 0);
    loop {
        let remove = move |tx: &mut store::Transaction<'_>| {
            let before = tx.now() - kept;
            tx.remove_versions(from, before, limits::REMOVED_VERSIONS).map_err(ProcessError::from)
        };
        let (count, last) = runtime.store.write(remove).await?;
        removed += count;
        if last.is_none() {
            return Ok(removed);
        }
        from = last;
    }
}

/// Reads `historyTimeToLive`: days, also as `P30D`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let days = text.strip_prefix('P').and_then(|rest| rest.strip_suffix('D')).unwrap_or(text);
    days.parse::<u32>().ok().map(|days| Duration::days(i64::from(days)))
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::parse;

    #[test]
    fn a_time_to_live_is_a_number_of_days() {
        assert_eq!(parse("180"), Some(Duration::days(180)));
        assert_eq!(parse("P30D"), Some(Duration::days(30)));
        for text in ["", "P", "PD", "P1M", "-1", "P-1D", "99999999999", "one"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
