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
    /// Save a whole node to one file, while it runs
    ///
    /// Settings, policies, certificates with their keys, audit chains and data, each database as one state of one moment. The
    /// file is for its owner alone: keep it like a key.
    Backup(Backup),
    /// Bring a node back from a file of `schleuse backup`
    ///
    /// Everything is verified before the first file is in its place. A directory that holds a node is refused.
    Restore(Restore),
    /// Look at machine, node and partners, and say the remedy for everything that is wrong
    ///
    /// Configuration, confinement by the kernel, clock, disk, names, TPM, engine, gateway, port, certificates, allow-list, and
    /// every partner of the allow-list, asked as the own organisation. Changes nothing. Exit code 1 if there is a problem.
    Doctor(Doctor),
    /// Look at certificates as partners see them
    #[command(subcommand)]
    Cert(Cert),
    /// Say what the policy permits, for everybody and everything
    ///
    /// Goes through every caller that the allow-list and the section identity know, every interaction and every type, and says what the
    /// policy permits: always, under which conditions, or never. Works on files; the node need not run.
    Matrix(Matrix),
    /// Say which decisions and settings a candidate policy changes
    ///
    /// Compares two policies by what they decide, not by their text: ids, comments and order make no difference. Callers and
    /// types in which the same changes are told together, with the conditions before and after; then settings that differ.
    Diff(Diff),
    /// Say why a request was, or would be, decided as it is
    ///
    /// Tells the whole derivation: handshake, identity, every rule about the request and why it does or does not apply, and
    /// the decision with cause and remedy.
    Explain(Explain),
    /// Ask decisions of the audit log again of a candidate policy or allow-list
    ///
    /// Reads the gateway's audit log and asks the rules again, in order, so that counted limits and rates are played too. Says
    /// which decisions would change, for whom, and names one record of each kind. Resource content is not in the log, so what
    /// depends on it (process authorisation, entries of Bundles) is not judged again.
    Replay(Replay),
    /// Sign policies as a security officer, put them in force, go back
    #[command(subcommand)]
    Policy(Policy),
    /// Look at changes of the allow-list, bring them in, take them back
    #[command(subcommand)]
    AllowList(AllowList),
    /// Block a certificate at once, on open connections too; without THUMBPRINT list what is blocked
    ///
    /// Takes every right from the holder of a certificate, whatever policy and allow-list say: its next request is refused and
    /// its WebSockets are cut. Nothing has to be signed or reloaded, and the block survives restarts.
    Block(Block),
    /// Work with the audit records of a node
    #[command(subcommand)]
    Audit(Audit),
    /// Start Tasks and list them
    #[command(subcommand)]
    Task(Task),
    /// Show the processes that a node has installed
    #[command(subcommand)]
    Process(Process),
    /// Look at the records of the site, index them, count cohorts in them
    #[command(subcommand)]
    Source(Source),
    /// Look at process instances, and at what waits for an operator
    #[command(subcommand)]
    Instance(Instance),
    /// Steps that failed and wait for an operator
    #[command(subcommand)]
    Incident(Incident),
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
/// allow-list, lets the portal ping every site, lets every data integration centre count cohorts in generated records,
/// prints both tables, the counts beside the truth, and keeps serving until Ctrl-C.
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
    /// Write a node for the units of the package: gateway and engine with users of their own. The package has made the
    /// folders of /var/lib/schleuse
    #[arg(long)]
    pub(crate) service: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File of `schleuse backup`
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Directory for the node; new, or as the package made it
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Ask no partner
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Explain every certificate in a file: names, purposes, validity, what a partner would object to
    Inspect(CertFiles),
    /// Say whether the node would let a certificate in, and why not
    ///
    /// Judges by the code of the handshake and gives its reasons: chain, revocation, rules of the section trust. Without --anchor the
    /// trust store, the revocation lists and the policy of the node count; with it the named files alone.
    Verify(CertVerify),
    /// Print the SHA-512 thumbprint by which the allow-list names a certificate
    Thumbprint(CertFiles),
}

/// What is verified, and against what.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse cert verify partner.pem --directory /srv/schleuse        would this node let it in now?\n  schleuse cert verify partner.pem --time 2027-01-01T00:00:00Z      and next year?\n  schleuse cert verify partner.pem --anchor ca.pem --crl ca.crl --revocation hard\n  schleuse cert verify server.pem --purpose server --host dsf.partner.example --anchor ca.pem\n\nExit code 0: accepted; 1: refused, the last line says why."
)]
pub(crate) struct CertVerify {
    /// PEM or DER file: the certificate first, its issuing authorities after it as the partner sends them
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Directory of the node whose trust and policy count
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Trusted authorities instead of those of the node
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// Further certificates that the partner sends
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: Vec<PathBuf>,
    /// Revocation lists, with --anchor
    #[arg(long, value_name = "FILE", requires = "anchor")]
    pub(crate) crl: Vec<PathBuf>,
    /// What an unknown revocation status means, with --crl
    #[arg(long, default_value = "hard", value_parser = ["soft", "hard"])]
    pub(crate) revocation: String,
    /// Moment of the question instead of now, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// What the certificate is used for
    #[arg(long, default_value = "client", value_parser = ["client", "server"])]
    pub(crate) purpose: String,
    /// Host name that a server certificate must hold
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse matrix /srv/schleuse                              everybody, told together where the same holds\n  schleuse matrix /srv/schleuse --caller dic-1.example      one organisation\n  schleuse matrix /srv/schleuse --kinds                     one of each kind, without the allow-list\n\nA refusal here is certain. A permit can still be refused by tags, process authorisation and the state of what is stored."
)]
pub(crate) struct Matrix {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only this organisation, or person:ID
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// One caller of each kind instead of those that are known
    #[arg(long)]
    pub(crate) kinds: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse diff /srv/schleuse --candidate new-policies/             the node's policies against a folder\n  schleuse diff . --before policies.2025/ --candidate policies/     two folders, with this node's allow-list\n\nExit code 0: nothing changes; 1: something does."
)]
pub(crate) struct Diff {
    /// Directory of the node whose allow-list, and without --before whose policy, counts
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Folder with policy files, one policy file, or another node
    #[arg(long, value_name = "PATH")]
    pub(crate) candidate: PathBuf,
    /// What to compare with instead of the node's policy
    #[arg(long, value_name = "PATH")]
    pub(crate) before: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse explain 0190a5d2-... --directory /srv/schleuse           the X-Correlation-Id that a partner was given\n  schleuse explain --certificate partner.pem --url /fhir/Task/1      would it be permitted now?\n  schleuse explain --certificate partner.pem --method POST --url /fhir/Task --body task.json --time 2026-01-31T18:00:00Z\n  schleuse explain --request request.json                            {\"thumbprint\": \"...\", \"method\": \"GET\", \"url\": \"/fhir/Task/1\"}"
)]
pub(crate) struct Explain {
    /// Correlation id of a recorded decision
    #[arg(value_name = "ID", conflicts_with_all = ["certificate", "thumbprint", "request"])]
    pub(crate) correlation_id: Option<String>,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Certificate of the caller
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Thumbprint of the caller's certificate
    #[arg(long, conflicts_with = "certificate")]
    pub(crate) thumbprint: Option<String>,
    /// Method
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// URL or path with query
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Resource in the body, JSON or XML
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// Address of the caller
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// Moment instead of now
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// A file with all of this
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "thumbprint"])]
    pub(crate) request: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse replay /srv/schleuse --policy new-policies/\n  schleuse replay /srv/schleuse --allow-list bundle.xml\n  schleuse replay /srv/schleuse --policy new-policies/ --format json\n\nExit code 0: no decision changes; 1: some do."
)]
pub(crate) struct Replay {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Candidate policy: a folder with policy files, one file, or another node
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Option<PathBuf>,
    /// Candidate allow-list: a Bundle as it is distributed
    #[arg(long, value_name = "FILE")]
    pub(crate) allow_list: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Sign the draft in policies/ as one of the officers of node.toml
    ///
    /// Signs the number and every byte of the files, and writes signatures.json beside them. Several officers sign one after
    /// the other; with a copy of the files it works away from the node as well.
    Sign(PolicySign),
    /// Say whether a signed policy holds, and if not which file or signature was changed
    Verify(PolicyVerify),
    /// Put the signed draft in force
    ///
    /// Verifies the signatures, proves the rules and lets both programs try the policy; then the running node is told. A
    /// policy with a number that is not above the one in force is refused.
    Activate(PolicyActivate),
    /// Bring an older policy back, under the next number and signed anew
    ///
    /// With several officers each runs the command once; the last signature that is needed puts the policy in force. The
    /// draft in policies/ is not touched.
    Rollback(PolicyRollback),
}

/// The officer who signs.
#[derive(Debug, Args)]
pub(crate) struct OfficerKey {
    /// PEM file of the officer's certificate, as node.toml names it
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse policy sign /srv/schleuse --certificate me.pem --private-key me.key\n  schleuse policy sign --policies copy/ --organization-identifier hospital.example --number 7 --certificate me.pem --private-key me.key"
)]
pub(crate) struct PolicySign {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Folder with the policy files instead of DIR/policies
    #[arg(long, value_name = "FOLDER")]
    pub(crate) policies: Option<PathBuf>,
    /// Number of the policy [default: one above the highest that was activated]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) number: Option<u64>,
    /// Organisation of the node, where there is no node.toml
    #[arg(long, value_name = "IDENTIFIER")]
    pub(crate) organization_identifier: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyVerify {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Folder with policy files and signatures.json instead of the policy in force
    #[arg(long, value_name = "FOLDER")]
    pub(crate) policies: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyActivate {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Further signatures of officers who signed copies of the same files
    #[arg(long, value_name = "FILE")]
    pub(crate) signatures: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse policy rollback /srv/schleuse --to 6 --certificate me.pem --private-key me.key"
)]
pub(crate) struct PolicyRollback {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Number of the policy that comes back [default: the one before the newest]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) to: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AllowList {
    /// Say who gains and loses what by a Bundle, which certificates change, and which running Tasks are affected
    Diff(AllowListDiff),
    /// Bring a Bundle into the running node, keeping the way back
    ///
    /// Refuses what is no allow-list: other types, other methods, an entry that is not what its URL names, a certificate that
    /// two organisations would have, and everything about the own organisation.
    Apply(AllowListApply),
    /// Take the last applied Bundle back
    Rollback(AllowListRollback),
    /// Show changes that wait for approval; with --digest everything that one of them stores
    ///
    /// With `approval` in the section allow-list of the policy every change of an Organization, an Endpoint or an
    /// OrganizationAffiliation waits here, whoever sent it and however.
    Pending(AllowListPending),
    /// Approve a change as one of the officers of node.toml; the last approval that is needed brings it into force
    Approve(AllowListApprove),
    /// Drop a change that waits
    Reject(AllowListReject),
}

#[derive(Debug, Args)]
pub(crate) struct AllowListPending {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Beginning of the digest of one change
    #[arg(long)]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list approve 3f2a --certificate me.pem --private-key me.key --directory /srv/schleuse"
)]
pub(crate) struct AllowListApprove {
    /// Beginning of the digest, as `schleuse allow-list pending` shows it
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: String,
    #[command(flatten)]
    pub(crate) key: OfficerKey,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListReject {
    /// Beginning of the digest
    #[arg(value_name = "DIGEST")]
    pub(crate) digest: String,
    /// Why; stands in the audit log
    #[arg(long)]
    pub(crate) reason: String,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse allow-list diff bundle.xml --directory /srv/schleuse\n\nExit code 0: nothing changes; 1: something does, or the Bundle is refused."
)]
pub(crate) struct AllowListDiff {
    /// The Bundle, JSON or XML
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListApply {
    /// The Bundle, JSON or XML
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Bring it in although it changes more than [allow-list.max-delta] permits
    #[arg(long)]
    pub(crate) accept_large_change: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AllowListRollback {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse block $(schleuse cert thumbprint partner.pem | cut -d' ' -f1) --reason \"key lost, ticket 4711\"\n  schleuse block THUMBPRINT --reason \"being looked at\" --until 2026-01-31T18:00:00Z\n  schleuse block                        what is blocked\n  schleuse block THUMBPRINT --lift      permit it again"
)]
pub(crate) struct Block {
    /// SHA-512 thumbprint of the certificate
    #[arg(value_name = "THUMBPRINT")]
    pub(crate) thumbprint: Option<String>,
    /// Why; stands in blocks.toml
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// When the block ends by itself, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// End the block
    #[arg(long, conflicts_with_all = ["reason", "until"], requires = "thumbprint")]
    pub(crate) lift: bool,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CertFiles {
    /// PEM or DER files, chains too
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recompute the hash chains and verify the signed checkpoints; names the record that was altered, cut or reordered
    Verify(AuditVerify),
    /// Find records of both processes, newest last
    Search(AuditSearch),
    /// Write records as JSON lines or as FHIR AuditEvents, one a line
    Export(AuditExport),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Directory of a node, or one audit file
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,
    /// Certificates that the node had before, whose checkpoints count too
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Vec<PathBuf>,
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct AuditFilter {
    /// Records of one request: the X-Correlation-Id that the caller was given
    #[arg(long, value_name = "ID")]
    pub(crate) correlation_id: Option<String>,
    /// Records about this organisation, or organisation/person
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Records about a certificate, by the beginning of its thumbprint
    #[arg(long)]
    pub(crate) thumbprint: Option<String>,
    /// permit, deny, refuse, answered, failed, begun, ended, administration, reloaded, blocks, ...
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Records with this code of a refusal, such as GW-POL-012
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Decisions of this rule
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// Requests about this resource type
    #[arg(long, value_name = "TYPE")]
    pub(crate) resource_type: Option<String>,
    /// From this moment on, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse audit search /srv/schleuse --correlation-id 0190a5d2-...       everything about one request\n  schleuse audit search /srv/schleuse --event deny --since 2026-01-31T00:00:00Z\n\nExit code 0: something was found; 1: nothing."
)]
pub(crate) struct AuditSearch {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// At most this many, the newest
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// The lines of the log, with the name of their chain
    JsonLines,
    /// FHIR R4 AuditEvent
    Fhir,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse audit export /srv/schleuse --form fhir --since 2026-01-01T00:00:00Z --output january.ndjson"
)]
pub(crate) struct AuditExport {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = ExportForm::JsonLines)]
    pub(crate) form: ExportForm,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// File to write to instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a process on this node by a Task, as the node's own organisation
    Start(TaskStart),
    /// List Tasks, newest first; with --open the user tasks that wait for an answer, oldest first
    List(TaskList),
    /// Show a user task: its questions and what is filled in
    Show(TaskOne),
    /// Answer a user task; its process goes on
    Answer(TaskAnswer),
    /// Refuse a user task: its process takes the way for that, or fails
    Reject(TaskOne),
}

/// Who asks: a person at a node anywhere, else the organisation of the node in a directory of this machine.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// URL of the node, such as `https://dsf.example.org/fhir`
    #[arg(long, value_name = "URL", requires_all = ["certificate", "private_key", "authority"])]
    pub(crate) node: Option<String>,
    /// Certificate of the person
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) certificate: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) private_key: Option<PathBuf>,
    /// Authority that signed the certificate of the node
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) authority: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TaskOne {
    /// Id of the user task; `schleuse task list --open` shows them
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse task answer 0f1e... /srv/schleuse --set release=true\n  schleuse task answer 0f1e... --node https://dsf.example.org/fhir --certificate me.pem --private-key me.key --authority ca.pem --set release=true --set comment=\"as agreed\""
)]
pub(crate) struct TaskAnswer {
    #[command(flatten)]
    pub(crate) one: TaskOne,
    /// Answer to an item; may be repeated. A choice is SYSTEM|CODE or the code of an option, a quantity is `VALUE UNIT`
    #[arg(long, value_name = "ITEM=VALUE")]
    pub(crate) set: Vec<String>,
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
    /// User tasks that wait for an answer
    #[arg(long, conflicts_with = "status")]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) access: Access,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Say what is in the folder of the records and whether its index is up to date
    ///
    /// Exit code 0: there is an index and nothing has changed since; 1: something is to be done.
    Check(Directory),
    /// Bring the index up to date with the records; only what changed is read
    ///
    /// A line that is no resource ends the attempt with file and line, and the index before stays in force: a count of a
    /// part would look like a count of the whole.
    Index(Directory),
    /// Say how many resources there are of which type, and how often which codes occur
    Stats(SourceStats),
    /// Count the persons of a cohort definition (CCDL); the exact number, for the site itself
    Count(SourceCount),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse source stats /srv/schleuse\n  schleuse source stats /srv/schleuse --codes Condition.code --most 50"
)]
pub(crate) struct SourceStats {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also count the codes of this element, named without the type of a choice (Observation.value); may be repeated
    #[arg(long, value_name = "ELEMENT")]
    pub(crate) codes: Vec<String>,
    /// How many codes of each element
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) most: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  schleuse source count cohort.json --directory /srv/schleuse")]
pub(crate) struct SourceCount {
    /// File with the cohort definition
    #[arg(value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// Directory of the node, the one that holds node.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Instance {
    /// List instances, oldest first
    List(InstanceList),
    /// Show where an instance is, what it waits for, and its variables
    Show(InstanceOne),
    /// Step through everything that happened to an instance
    History(InstanceOne),
    /// Try the failed steps of an instance again
    Retry(InstanceOne),
    /// Go on behind the failed steps of an instance, as if they had ended well
    Resolve(InstanceResolve),
    /// End an instance; its Tasks fail with the reason
    Cancel(InstanceCancel),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Incident {
    /// List the steps that wait for an operator
    List(Directory),
}

#[derive(Debug, Args)]
pub(crate) struct InstanceList {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only instances in this state; `running` includes those with an incident
    #[arg(long, default_value = "running", value_parser = ["running", "incident", "completed", "failed", "cancelled", "all"])]
    pub(crate) state: String,
    /// Only instances of this process, such as dsfdev_ping
    #[arg(long, value_name = "KEY")]
    pub(crate) process: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceOne {
    /// Id of the instance; `schleuse instance list` shows them
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceResolve {
    #[command(flatten)]
    pub(crate) one: InstanceOne,
    /// Variable that the step would have written; VALUE is JSON, or else a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceCancel {
    #[command(flatten)]
    pub(crate) one: InstanceOne,
    /// Why; stands in its Tasks
    #[arg(long, default_value = "cancelled by an operator")]
    pub(crate) reason: String,
}
