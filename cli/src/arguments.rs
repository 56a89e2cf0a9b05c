//! What can be typed. The help texts teach: what a command does, what it needs, an example. One file for each group of
//! commands; all names are used from here.

mod allow_list;
mod audit;
mod certificates;
pub(crate) mod data_set;
mod demo;
mod distribution;
mod feasibility;
mod fhir;
mod node;
mod policy;
mod process;
mod source;
mod task;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use allow_list::*;
pub(crate) use audit::*;
pub(crate) use certificates::*;
pub(crate) use demo::*;
pub(crate) use distribution::*;
pub(crate) use feasibility::*;
pub(crate) use fhir::*;
pub(crate) use node::*;
pub(crate) use policy::*;
pub(crate) use process::*;
pub(crate) use source::*;
pub(crate) use task::*;

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
    /// Data sets of several sites: ask for one, approve, release, fetch, look how it stands
    #[command(subcommand)]
    DataSet(data_set::DataSet),
    /// Ask the sites of the network how many patients belong to a cohort
    #[command(subcommand)]
    Feasibility(Feasibility),
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
