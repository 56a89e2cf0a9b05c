//! `schleuse demo`: builds and runs a consortium on loopback, shows that it works, and keeps serving.
//!
//! Order: directory and lock, plan, certificates, node files, processes, readiness, allow-list, `demo.json`, ping, table.
//! Each step reports itself; the first that fails stops every process and says where to look. Whatever happens to this
//! process, no node outlives it (see [`crate::supervise`]), and a directory can be started again after any end.

mod allow_list;
mod certificates;
mod data_set;
mod document;
mod feasibility;
pub(crate) mod files;
mod join;
mod network;
mod node_files;
mod partner;
mod ping;
mod records;
mod report;
mod running;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arguments::{Demo, Format};
pub(crate) use join::development_certificates;
pub(crate) use running::interrupted;

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    #[error(transparent)]
    Certificates(#[from] certificates::CertificateError),
    #[error(transparent)]
    Running(#[from] running::RunningError),
    #[error("the allow-list could not be applied at {site}: {source}")]
    AllowList {
        site: String,
        #[source]
        source: partner::PartnerError,
    },
    #[error(transparent)]
    Partner(#[from] partner::PartnerError),
    #[error(transparent)]
    Ping(#[from] ping::PingError),
    #[error(transparent)]
    Feasibility(#[from] feasibility::FeasibilityError),
    #[error("the records of the sites: {0}")]
    Records(#[from] records::RecordsError),
}

/// Where the nodes live: a folder of the user, or a temporary one that goes away with the demonstration.
enum Home {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Home {
    fn open(directory: Option<&Path>) -> Result<Self, DemoError> {
        let fail = |path: &Path, source| DemoError::File { path: path.to_owned(), source };
        match directory {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|source| fail(path, source))?;
                std::fs::canonicalize(path).map(Self::Kept).map_err(|source| fail(path, source))
            }
            None => {
                let folder = tempfile::Builder::new().prefix("schleuse-demo-").tempdir();
                folder.map(Self::Temporary).map_err(|source| fail(&std::env::temp_dir(), source))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Runs the command and gives its exit code.
pub(crate) async fn run(arguments: &Demo, format: Format) -> u8 {
    let progress = report::Progress::new();
    match demonstrate(arguments, format, &progress).await {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            progress.failed(&error);
            1
        }
    }
}

/// The whole demonstration; whether every site answered.
async fn demonstrate(arguments: &Demo, format: Format, progress: &report::Progress) -> Result<bool, DemoError> {
    let home = Home::open(arguments.directory.as_deref())?;
    let root = home.path();
    let _lock = network::Lock::take(root)?;
    let network = network::Network::plan(root, arguments.sites, arguments.port)?;
    running::wait_for_free_ports(&network).await?;

    progress.begin(&format!("making certificates for {} nodes", network.sites.len()));
    certificates::issue_all(root, &network)?;
    node_files::write_all(root, &network, &arguments.store)
        .map_err(|(path, source)| DemoError::File { path, source })?;
    progress.begin("writing records of generated persons for every data integration centre");
    records::write_all(root, &network)?;

    progress.begin(&format!("starting {} gateways and {} engines", network.sites.len(), network.sites.len()));
    let (mut nodes, mut failures) = running::Nodes::start(root, &network);
    let result = tokio::select! {
        result = with_nodes(arguments, format, root, &network, &nodes, progress) => result,
        error = failures.next() => Err(error.into()),
        // Ending a network that serves is success; ending a demonstration before its table is not.
        () = interrupted() => Ok(!arguments.once),
    };
    progress.begin("stopping every process");
    nodes.stop().await;
    progress.end();
    result
}

async fn with_nodes(
    arguments: &Demo,
    format: Format,
    root: &Path,
    network: &network::Network,
    nodes: &running::Nodes,
    progress: &report::Progress,
) -> Result<bool, DemoError> {
    nodes.ready(root, network).await?;
    progress.begin(&format!("applying the allow-list of {} organisations at every node", network.sites.len() + 1));
    apply_allow_list(root, network).await?;
    nodes.describe(root, network).await?;
    let mut answered = true;
    if !arguments.no_run {
        progress.begin("portal pings every site (a Task to each, a Task back)");
        let rows = ping_every_site(root, network).await?;
        progress.end();
        progress.begin("every data integration centre indexes its records and counts three cohorts");
        let counts = records::count_all(root, network).await?;
        progress.begin("portal asks every data integration centre three feasibility questions");
        let asked = ask_every_site(root, network, &counts).await?;
        // Every site has a part in a data set: where one is missing it would only be waited for.
        let absent: Vec<&str> = rows.iter().filter(|row| !row.is_answered()).map(|row| row.site.as_str()).collect();
        let compared = if absent.is_empty() {
            data_set::run(root, network, progress).await
        } else {
            Err(data_set::SharingError::Absent(absent.join(", ")))
        };
        progress.end();
        answered = rows.iter().all(report::Row::is_answered)
            && counts.iter().all(records::Count::is_true)
            && asked.iter().all(report::Asked::fits)
            && compared.as_ref().is_ok_and(|counts| counts.iter().all(data_set::Compared::fits));
        report::print(format, &rows, &asked, compared.as_deref());
    }
    progress.end();
    if arguments.once {
        return Ok(answered);
    }
    progress.serving(root, network);
    nodes.keep_described(root, network).await?;
    Ok(answered)
}

/// Sends the transaction Bundle to every node, as the node's own organisation.
async fn apply_allow_list(root: &Path, network: &network::Network) -> Result<(), DemoError> {
    let mut thumbprints = Vec::new();
    for site in &network.sites {
        let path = site.directory(root).certificates().join("client.pem");
        let chain = partner::read_certificates(&path)?;
        thumbprints.push(chain.first().map(|leaf| leaf.thumbprint().to_owned()).unwrap_or_default());
    }
    let bundle = allow_list::bundle(&allow_list::members(network, &thumbprints));
    for site in &network.sites {
        let organization = organization_of(root, site)?;
        let applied = organization.post(site, "", &bundle).await;
        applied.map_err(|source| DemoError::AllowList { site: site.name.clone(), source })?;
    }
    Ok(())
}

/// Pings, and asks each site for its metadata to see its server certificate.
async fn ping_every_site(root: &Path, network: &network::Network) -> Result<Vec<report::Row>, DemoError> {
    let Some((portal, others)) = network.sites.split_first() else { return Ok(Vec::new()) };
    let organization = organization_of(root, portal)?;
    let mut replies: BTreeMap<String, ping::Reply> = ping::run(&organization, network).await?;
    let mut rows = Vec::new();
    for site in others {
        let metadata = organization.get(site, "/metadata").await;
        let certificate = metadata.ok().and_then(|answer| answer.server_certificate);
        let days_left = certificate.map(|certificate| certificate.days_left(time::OffsetDateTime::now_utc()));
        let reply = replies.remove(&site.organization_identifier());
        rows.push(report::Row { site: site.name.clone(), role: site.role.clone(), reply, days_left });
    }
    Ok(rows)
}

/// Asks the portal's questions one after the other, and puts what was told beside what each site has counted.
async fn ask_every_site<'c>(
    root: &Path,
    network: &network::Network,
    counts: &'c [records::Count],
) -> Result<Vec<report::Asked<'c>>, DemoError> {
    let Some(portal) = network.sites.first() else { return Ok(Vec::new()) };
    let organization = organization_of(root, portal)?;
    let mut asked = Vec::new();
    for question in synthetic::questions() {
        let told = feasibility::run(&organization, network, &question).await?;
        for count in counts.iter().filter(|count| count.question == question.text) {
            let told = told.get(&count.organization_identifier).cloned();
            asked.push(report::Asked { count, told });
        }
    }
    Ok(asked)
}

fn organization_of(root: &Path, site: &network::Site) -> Result<partner::Partner, partner::PartnerError> {
    let certificates = site.directory(root).certificates();
    let authority = root.join("authority/ca.pem");
    partner::Partner::new(&authority, &certificates.join("client.pem"), &certificates.join("client.key"))
}
