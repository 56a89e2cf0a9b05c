//! A trial of the plug-ins: what a start would leave out of them, found with the code of the start on a store that is
//! thrown away. `schleuse check` reports it.

use std::sync::Arc;
use std::time::Duration;

use audit::Log;
use node::Processes;
use processes::Refused;
use settings::{Finding, Severity};
use store::{Store, StoreOptions};

use crate::configuration::Configuration;
use crate::inside::Inside;
use crate::records::Records;
use crate::run::{AUDIT_FILE_BYTES, RunError, UNMAPPED_USER};

/// Longest trial of the plug-ins; a start with many of them takes seconds.
const TRIAL_TIME: Duration = Duration::from_secs(120);

/// Loads the plug-ins as a start does, into a store that is thrown away; gives what is left out.
async fn try_plug_ins(configuration: &Configuration) -> Result<Vec<Refused>, RunError> {
    let system = |what| move |source| RunError::System { what, source };
    let place = tempfile::tempdir().map_err(system("a folder for the trial of the plug-ins"))?;
    let store = Store::open_sqlite(place.path().join("trial.db"), StoreOptions::default()).await?;
    crate::base_resources::store_missing(&store).await?;
    let log = Log::open(&place.path().join("trial.log"), audit::Options { file_bytes: AUDIT_FILE_BYTES })?;
    let records = Records::new(Arc::new(log));
    let keeping = tokio::spawn(records.clone().keep_on_disk());
    let opened =
        Inside::open(configuration, place.path(), UNMAPPED_USER, &store, &records, Arc::new(String::new)).await;
    let refused = opened.map(|inside| inside.processes.catalogue().refused().to_vec());
    keeping.abort();
    store.close().await;
    refused
}

/// What a start would leave out of the plug-ins: a whole plug-in is an error, one process of it a warning.
pub(crate) fn findings(configuration: &Configuration) -> Vec<Finding> {
    let engine = &configuration.settings.engine;
    let is_empty = std::fs::read_dir(&engine.plugins).map_or(true, |mut entries| entries.next().is_none());
    if engine.processes == Processes::None || (is_empty && engine.on_failure_of.is_empty()) {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let tried = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let limit = tokio::time::timeout(TRIAL_TIME, try_plug_ins(configuration)).await;
            limit.map_err(|_| "they took too long".to_owned())?.map_err(|error| with_causes(&error))
        }),
        Err(error) => Err(error.to_string()),
    };
    match tried {
        Ok(refused) => refused.iter().map(finding).collect(),
        Err(reason) => {
            let text = format!("engine.plugins: the plug-ins could not be tried: {reason}");
            vec![Finding::in_file(node::NODE_TOML, text, "the start of the node does the same; correct what is named")]
        }
    }
}

fn finding(refused: &Refused) -> Finding {
    let mut file = refused.source.clone();
    file.extend(&refused.file);
    let file = file.strip_prefix(".").unwrap_or(&file).display().to_string();
    let remedy = "correct it or remove the plug-in; until then it does not run, everything else does";
    let severity = if refused.whole { Severity::Error } else { Severity::Warning };
    Finding { severity, ..Finding::in_file(&file, refused.reason.clone(), remedy) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
