//! The machine and the moment of a run: figures without them say nothing.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{During as _, Outcome};
use crate::limits::IDLE_LOAD;
use crate::statistics::Values;

/// Flushes from which the typical one is taken.
const FLUSHES: usize = 200;

/// What a run depends on besides the programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Load average of the last minute before the run.
    pub(crate) load: f64,
    /// Median time of an fdatasync of 4 KiB in the folder for temporary files, in microseconds.
    pub(crate) fdatasync_p50_us: f64,
    /// Commit, with `+` if files of it are changed.
    pub(crate) commit: String,
    /// How the program was built.
    pub(crate) profile: String,
    pub(crate) time: String,
}

// === impl Machine ===

impl Machine {
    pub(crate) fn examine() -> Outcome<Self> {
        let load = load().during("reading /proc/loadavg")?;
        let own = std::env::current_exe().during("finding this program")?;
        let folder = own.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            cores: crate::processors::all(),
            cpu: field("/proc/cpuinfo", "model name"),
            memory_mib: field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load,
            fdatasync_p50_us: flush_time(&std::env::temp_dir()).during("measuring fdatasync")?,
            commit: commit(),
            profile: if folder == "debug" { "dev".to_owned() } else { folder },
            time: time::OffsetDateTime::now_utc().replace_nanosecond(0).map(|now| now.to_string()).unwrap_or_default(),
        })
    }

    /// Whether verdicts mean something.
    pub(crate) fn was_idle(&self) -> bool {
        self.load < IDLE_LOAD
    }
}

/// Waits until the machine is idle, but not longer than `patience`.
pub(crate) async fn wait_until_idle(patience: Duration) {
    let end = Instant::now() + patience;
    while load().is_ok_and(|load| load >= IDLE_LOAD) && Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn load() -> std::io::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    text.split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .ok_or_else(|| std::io::Error::other("no load average"))
}

/// The first value of a `name : value` file of the kernel.
fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn flush_time(folder: &Path) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Values::new(times).p50())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{head}+") } else { head }
}
