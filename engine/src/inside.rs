//! What a node consists of beside its store, joined: processes, endpoint, the way out, and its plug-ins. Made at the start,
//! and by a trial of the plug-ins.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use client::Client;
use endpoint::{Endpoint, LeaveTasks, Options, PolicyHistory, Software, TaskHandler, peer_uids};
use node::{OnFailure, Processes, Settings};
use policies::AllowList;
use processes::{LocalNode, Plugin, Runtime, allow_list, data_sharing, feasibility, ping_pong};
use store::Store;

use crate::allow_lists::PartnerLists;
use crate::bootstrap;
use crate::configuration::Configuration;
use crate::data_sharing::NodeKeys;
use crate::feasibility::SiteCounts;
use crate::messenger::{Outgoing, client_settings, list_client_settings};
use crate::plug_ins::{PlugIns, Why};
use crate::records::Records;
use crate::run::RunError;
use crate::snapshots::Snapshots;
use crate::tasks::Tasks;

/// Entries of a page when the client names no number (DSF: 20).
const PAGE_COUNT: u32 = 20;

/// The parts.
pub(crate) struct Inside {
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) lists: Arc<PartnerLists>,
    pub(crate) node_keys: Arc<NodeKeys>,
    pub(crate) processes: Arc<Runtime>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) policies: Arc<PolicyHistory>,
    pub(crate) endpoint: Endpoint,
    pub(crate) plug_ins: Arc<PlugIns>,
}

impl Inside {
    /// Makes it on a store that holds the base resources; the node itself and its plug-ins are stored then. `keys` is where
    /// the node's keys are, or are made.
    pub(crate) async fn open(
        configuration: &Configuration,
        keys: &Path,
        gateway: u32,
        store: &Store,
        records: &Records,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<Self, RunError> {
        let settings = &configuration.settings;
        let empty = AllowList::empty(settings.organization_identifier.clone(), settings.base_url.as_str());
        let allow_list = Arc::new(ArcSwap::from_pointee(empty));
        let client = Client::new(client_settings(settings, &configuration.policy, &allow_list))?;
        let outgoing = Arc::new(Outgoing { client, allow_list: Arc::clone(&allow_list) });
        let node_keys = NodeKeys::open(keys, settings, &allow_list)
            .map_err(|source| RunError::System { what: "the keys of data sharing", source })?;
        let node_keys = Arc::new(node_keys);
        let policies = Arc::new(PolicyHistory::new(Arc::clone(&configuration.policy)));
        let lists = Client::new(list_client_settings(settings, &configuration.policy, &allow_list))?;
        let lists = Arc::new(PartnerLists::new(lists, Arc::clone(&policies), store.clone()));
        let plugins = installed(configuration, &outgoing, &node_keys, &lists)?;
        let processes = Runtime::start(store.clone(), local_node(configuration), &plugins, store.owner());
        let keeps_incidents = settings.engine.on_failure == OnFailure::Incident;
        let processes = processes.await?.keeping_incidents(keeps_incidents).keeping(kept(settings.retention));
        let single = settings.engine.on_failure_of.iter();
        let single = single.map(|(process, on_failure)| (process.clone(), *on_failure == OnFailure::Incident));
        let processes = Arc::new(processes.with_incidents_of(single.collect()).map_err(RunError::UnknownProcess)?);
        let snapshots = Snapshots::new(store.clone(), allow_list);
        let endpoint = Endpoint::new(Options {
            base_url: settings.base_url.as_str().to_owned(),
            organization: settings.organization_identifier.clone(),
            page_count: PAGE_COUNT,
            software: software(),
            store: store.clone(),
            policies: Arc::clone(&policies),
            peers: peer_uids(vec![gateway]),
            tasks: task_handler(settings.engine.processes, &processes),
            audit: Arc::new(records.clone()),
            publisher: Arc::clone(&snapshots) as Arc<dyn endpoint::AllowListPublisher>,
            remote: Arc::clone(&outgoing) as Arc<dyn endpoint::RemoteReferences>,
            metrics,
        });
        lists.open(endpoint.clone(), bootstrap::own_identity(configuration));
        bootstrap::own_node(configuration, &endpoint, store).await?;
        let folder = settings.engine.plugins.as_path();
        let folder = (settings.engine.processes == Processes::Installed).then_some(folder);
        let plug_ins = PlugIns::new(folder, bootstrap::own_identity(configuration), &processes, &endpoint, store);
        plug_ins.load(Why::Start).await?;
        Ok(Self { outgoing, lists, node_keys, processes, snapshots, policies, endpoint, plug_ins })
    }
}

fn installed(
    configuration: &Configuration,
    outgoing: &Arc<Outgoing>,
    keys: &Arc<NodeKeys>,
    lists: &Arc<PartnerLists>,
) -> Result<Vec<Plugin>, RunError> {
    let settings: &Settings = &configuration.settings;
    if settings.engine.processes == Processes::None {
        return Ok(Vec::new());
    }
    let counts = SiteCounts::open(settings, &configuration.policy)
        .map_err(|source| RunError::System { what: "the source of records", source })?;
    let counts = Arc::new(counts);
    let parts = data_sharing::Parts {
        contents: Arc::clone(outgoing) as Arc<dyn data_sharing::Contents>,
        vault: Arc::clone(keys) as Arc<dyn data_sharing::Vault>,
        records: Arc::clone(&counts) as Arc<dyn data_sharing::SiteRecords>,
        rules: data_sharing::SiteRules {
            four_eyes: settings.data_sharing.four_eyes,
            minimum_cohort: settings.data_sharing.minimum_cohort,
        },
    };
    let counts = counts as Arc<dyn feasibility::Counts>;
    let partners = Arc::clone(outgoing) as Arc<dyn feasibility::Partners>;
    let count = settings.source.as_ref().map_or(0, |source| source.requests_per_hour);
    let rules = feasibility::Rules {
        limit: feasibility::RateLimit { count, interval: time::Duration::HOUR },
        questions: Some(settings.feasibility.questions),
        answer_time: settings.feasibility.answer_time,
        minimum_sites: settings.feasibility.minimum_sites,
    };
    let lists = Arc::clone(lists) as Arc<dyn allow_list::Lists>;
    let feasibility =
        settings.feasibility.versions.iter().map(|version| feasibility::plugin(version, &partners, &counts, rules));
    let downloads = Arc::clone(outgoing) as Arc<dyn ping_pong::measured::Downloads>;
    Ok([
        ping_pong::plugin(),
        ping_pong::measured::plugin(&downloads),
        allow_list::plugin(&lists),
        data_sharing::plugin(&parts),
    ]
    .into_iter()
    .chain(feasibility)
    .collect())
}

fn task_handler(processes: Processes, runtime: &Arc<Runtime>) -> Arc<dyn TaskHandler> {
    match processes {
        Processes::Installed => Arc::new(Tasks(Arc::clone(runtime))),
        Processes::None => Arc::new(LeaveTasks),
    }
}

fn local_node(configuration: &Configuration) -> LocalNode {
    let settings = &configuration.settings;
    LocalNode {
        organization_identifier: settings.organization_identifier.to_string(),
        endpoint_identifier: settings.endpoint_identifier.to_string(),
        base_url: settings.base_url.as_str().to_owned(),
    }
}

fn kept(retention: node::Retention) -> processes::retention::Retention {
    let node::Retention { tasks, instances, history, audit: _ } = retention;
    processes::retention::Retention { tasks, instances, history }
}

fn software() -> Software {
    Software {
        name: "Schleuse".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        release_date: "2026-11-22".to_owned(),
    }
}
