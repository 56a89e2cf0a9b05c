//! Arguments of both services and what follows from them before anything else happens.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

/// Arguments of `schleuse-gateway` and `schleuse-engine`. Both are started by `schleuse run` or by a service manager.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Arguments {
    /// Directory of the node, the one that holds node.toml
    #[arg(long, value_name = "DIR")]
    pub directory: PathBuf,
    /// Refuse to run unless this is the build of the program (given by `schleuse`)
    #[arg(long, value_name = "BUILD", hide = true)]
    pub build: Option<String>,
    /// Stop when standard input is closed (given by `schleuse`, so that no process outlives it)
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Log one JSON object per line
    #[arg(long)]
    pub log_json: bool,
    /// Load and check the configuration, print the findings as JSON, and exit
    #[arg(long)]
    pub check: bool,
    /// Try what the confinement by the kernel forbids, print what came of it as JSON, and exit
    #[arg(long)]
    pub prove_confinement: bool,
}

/// Why the process cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// Another build.
    #[error(
        "this program is of build {own}, but was started by one of build {theirs}; install all programs of one release together"
    )]
    OtherBuild {
        /// Build of this program.
        own: &'static str,
        /// Build of the one that started it.
        theirs: String,
    },
    /// The directory cannot be entered.
    #[error("the directory {} cannot be entered ({source}); name the node's directory with --directory", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Compares builds, enters the directory (socket paths are relative to it and thereby short) and starts the log.
/// Files that the process makes are for its user alone.
pub fn enter(arguments: &Arguments) -> Result<(), EnterError> {
    if let Some(theirs) = arguments.build.as_deref().filter(|build| *build != link::BUILD) {
        return Err(EnterError::OtherBuild { own: link::BUILD, theirs: theirs.to_owned() });
    }
    std::env::set_current_dir(&arguments.directory)
        .map_err(|source| EnterError::Directory { directory: arguments.directory.clone(), source })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    start_log(arguments.log_json);
    Ok(())
}

fn start_log(json: bool) {
    // The proxy library reports each broken client as an error; what matters of that the gateway logs itself, once.
    let default = "info,pingora_core=error,pingora_proxy=error";
    let filter = EnvFilter::try_from_env("SCHLEUSE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter);
    // A second call happens only in tests that run a service inside their own process. `try_init` also takes over what
    // libraries write with the crate `log`.
    let _ = if json { log.json().try_init() } else { log.try_init() };
}
