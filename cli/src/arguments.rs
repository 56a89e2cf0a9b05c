//! What can be typed. The help texts teach: what a command does, what it needs, an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One Data Sharing Framework node as a hardened edge appliance.
///
/// Start with `schleuse demo`: a whole consortium on this machine, nothing to install.
#[derive(Debug, Parser)]
#[command(name = "schleuse", version, max_term_width = 110, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Answer for people (text) or for programs (json)
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a demonstration consortium on this machine and ping every site
    Demo(Demo),
    /// Create the directory of a new node: node.toml, policies, folders
    Init(Init),
    /// Run a node until it is stopped (SIGTERM or Ctrl-C; SIGHUP reloads certificates and policies)
    Run(Directory),
    /// Say everything that is wrong with a node's configuration, at once
    Check(Check),
    /// Show how a running node is doing
    Status(Directory),
    /// Look at certificates as partners see them
    #[command(subcommand)]
    Cert(Cert),
    /// Work with the audit records of a node
    #[command(subcommand)]
    Audit(Audit),
    /// Start Tasks and list them
    #[command(subcommand)]
    Task(Task),
    /// Show the processes that a node has installed
    #[command(subcommand)]
    Process(Process),
    /// Convert and validate FHIR resources; needs no node
    #[command(subcommand)]
    Fhir(Fhir),
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also let the running node compare what its store has beside the resources (versions, indexes, keys, readers,
    /// content of Binaries) with the resources themselves; the node goes on working meanwhile
    #[arg(long)]
    pub(crate) deep: bool,
}

/// Builds and runs a consortium on loopback: a research portal, data integration centres, a data management site and a
/// trusted third party, each a real gateway and a real engine with its own certificates, policies and store. Applies the
/// allow-list, lets the portal ping every site, prints a table and keeps serving until Ctrl-C.
///
/// DIR/demo.json describes the running network for tools: addresses, process ids, certificates.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse demo                            the whole thing in a temporary folder\n  schleuse demo --once                     run, print the table, stop; exit 0 only if every site answered\n  schleuse demo --directory net --no-run   start the network in ./net for your own experiments"
)]
pub(crate) struct Demo {
    /// Run the demonstration, print the table, stop every process; exit 0 only if every step succeeded
    #[arg(long, conflicts_with = "no_run")]
    pub(crate) once: bool,
    /// Start the network and apply the allow-list, run nothing
    #[arg(long)]
    pub(crate) no_run: bool,
    /// Where the nodes live; an existing network is started again with its data [default: a temporary folder, removed at exit]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Number of data integration centres
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) sites: u8,
    /// First port; 0 picks free ports and keeps them in DIR
    #[arg(long, default_value_t = 20443)]
    pub(crate) port: u16,
    /// Where the nodes keep their data: sqlite, or postgres://USER@/DATABASE?host=/run/postgresql, where each node of a new
    /// network gets a schema of its own, which stays
    #[arg(long, default_value = "sqlite", value_parser = demo_store)]
    pub(crate) store: DemoStore,
}

/// Where the nodes of a demonstration keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DemoStore {
    Sqlite,
    /// Schemas of one database of this machine.
    PostgreSql(String),
}

fn demo_store(text: &str) -> Result<DemoStore, &'static str> {
    match text {
        "sqlite" => Ok(DemoStore::Sqlite),
        url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            Ok(DemoStore::PostgreSql(url.to_owned()))
        }
        _ => Err("write sqlite or postgres://USER@HOST:PORT/DATABASE"),
    }
}

/// Writes a commented node.toml and the default policies. Nothing that exists is overwritten.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse init /srv/schleuse --organization-identifier hospital.example --base-url https://dsf.hospital.example/fhir\n\nThen put the certificates where node.toml names them and run `schleuse check /srv/schleuse`."
)]
pub(crate) struct Init {
    /// Directory to create
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Identifier of your organisation in the consortium, by convention the domain of its home page
    #[arg(long)]
    pub(crate) organization_identifier: String,
    /// Address at which partners reach the node: https, ends in /fhir
    #[arg(long)]
    pub(crate) base_url: String,
    /// Local address of the gateway [default: all interfaces, port of the base URL]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Local address of health, readiness and metrics
    #[arg(long, default_value = "127.0.0.1:9443", value_name = "ADDRESS")]
    pub(crate) management: String,
    /// Issue certificates for trials; with the folder of a demonstration network's authority (DIR/authority), they join
    /// that network. Write it after the directory of the node
    #[arg(long, value_name = "AUTHORITY_DIR", num_args = 0..=1, default_missing_value = "")]
    pub(crate) development_certificates: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Explain every certificate in a file: names, purposes, validity, what a partner would object to
    Inspect(CertFiles),
    /// Print the SHA-512 thumbprint by which the allow-list names a certificate
    Thumbprint(CertFiles),
}

#[derive(Debug, Args)]
pub(crate) struct CertFiles {
    /// PEM or DER files, chains too
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recompute the hash chains; says at which record a chain was altered, cut or reordered
    Verify(AuditVerify),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Directory of a node, or one audit file
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a process on this node by a Task, as the node's own organisation
    Start(TaskStart),
    /// List Tasks, newest first
    List(TaskList),
}

/// Starts a process: `schleuse task start DIR http://dsf.dev/bpe/Process/ping|1.0 startPing`. The Task is made from the
/// process's own profile; inputs are added with --input system|code=value.
#[derive(Debug, Args)]
pub(crate) struct TaskStart {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// instantiatesCanonical of the process, with version; `schleuse process list` shows them
    #[arg(value_name = "PROCESS")]
    pub(crate) process: String,
    /// Message name of the start event
    #[arg(value_name = "MESSAGE")]
    pub(crate) message: String,
    /// Further inputs, as SYSTEM|CODE=VALUE (string values)
    #[arg(long, value_name = "SYSTEM|CODE=VALUE")]
    pub(crate) input: Vec<String>,
    /// Wait until the Task is completed or failed and show its outputs
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TaskList {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only Tasks with this status
    #[arg(long, value_parser = ["draft", "requested", "in-progress", "completed", "failed"])]
    pub(crate) status: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Process {
    /// List installed processes with their messages, versions and running instances
    List(Directory),
    /// Say of every model what would run, and what would be refused and why, with its line
    Check(ProcessCheck),
}

/// Checks BPMN files without a node: `schleuse process check FOLDER --simulate`.
#[derive(Debug, Args)]
pub(crate) struct ProcessCheck {
    /// A BPMN file, or a folder that is searched for them
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) path: PathBuf,
    /// Run every model that loads with steps that do nothing, and print the path of its tokens
    #[arg(long)]
    pub(crate) simulate: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fhir {
    /// Write resources as XML or JSON; nothing is lost on the way
    Convert(FhirConvert),
    /// Say everything that is wrong with resources, by R4, the DSF base profiles and profiles of your own
    Validate(FhirValidate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FhirFormat {
    Xml,
    Json,
}

/// Reads XML and JSON by their content, whatever the names of files say. One resource goes to standard output; several
/// need --output, where they keep their names and folders. Nothing that exists is overwritten.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse fhir convert task.xml                          as JSON on standard output\n  schleuse fhir convert resources --to xml --output out   every file of a folder\n  cat task.json | schleuse fhir convert --pretty          from standard input"
)]
pub(crate) struct FhirConvert {
    /// Files or folders; `-` or nothing is standard input
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) sources: Vec<PathBuf>,
    /// What to write [default: XML of JSON, JSON of XML]
    #[arg(long, value_enum)]
    pub(crate) to: Option<FhirFormat>,
    /// With line breaks and indentation
    #[arg(long)]
    pub(crate) pretty: bool,
    /// Folder to write to
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

/// Validates as the endpoint of a node does before it stores a resource: by the structure of R4 and by every profile that
/// the resource names. Known are the DSF base resources and what is in the folders of --profiles. Where references lead and
/// what the allow-list permits is a matter of a running node.
///
/// Exit code 0: no errors (warnings may be listed); 1: errors.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse fhir validate task.xml --profiles my-process/fhir\n  schleuse fhir validate my-process/fhir --profiles my-process/fhir --set version=1.0 --set date=2026-01-01\n  schleuse fhir validate patient.json --profile http://example.org/fhir/StructureDefinition/patient --outcome"
)]
pub(crate) struct FhirValidate {
    /// Files or folders; `-` or nothing is standard input
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) sources: Vec<PathBuf>,
    /// Folder with StructureDefinitions, ValueSets, CodeSystems and Questionnaires to validate by; may be repeated
    #[arg(long, value_name = "FOLDER")]
    pub(crate) profiles: Vec<PathBuf>,
    /// Validate by this profile as well, whether or not a resource names it; may be repeated
    #[arg(long, value_name = "CANONICAL")]
    pub(crate) profile: Vec<String>,
    /// Replace the placeholder #{NAME} of process plug-ins before reading; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Answer with FHIR: an OperationOutcome, or a Bundle of one for each resource
    #[arg(long)]
    pub(crate) outcome: bool,
}
