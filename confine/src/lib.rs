//! Confinement of a service by the kernel, applied by the service itself before it starts its first thread.
//!
//! A [`Profile`] says what a service needs: files to read, folders to write, and its part of the network. [`enter`] turns
//! it into a Landlock domain (files, TCP ports, signals) and a seccomp filter (system calls, socket families, no new
//! processes, no memory that is both writable and executable) for the calling thread and all that it starts later;
//! neither can be lifted again. [`probe`] tries the same in a thread that ends, and [`prove`] tries what the profile
//! forbids before and after, so that a machine can show that its kernel keeps the promise.
//!
//! Invariants: what is not granted is refused; a layer that the kernel lacks is reported, never assumed; a service that
//! requires confinement does not start without it.

mod calls;
mod files;
mod profile;
mod proof;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use profile::{Access, Network, Profile};
pub use proof::{Attempt, Outcome, Tried, prove};

/// How long threads that have ended may stay in the list of the kernel.
const ENDING_THREADS: Duration = Duration::from_secs(2);

/// Between two looks at that list.
const LOOK: Duration = Duration::from_millis(2);

/// How much of one layer is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// All that the profile asks for.
    Enforced,
    /// What this kernel knows.
    Partial,
    /// Nothing.
    Missing,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Confinement {
    /// Files and folders (Landlock).
    pub files: Layer,
    /// TCP ports and signals (Landlock of Linux 6.12); without it the socket families of the filter remain.
    pub ports: Layer,
    /// System calls (seccomp).
    pub system_calls: Layer,
    /// Why something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a service is not confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel lacks what is required.
    #[error("the kernel does not confine this process: {0}")]
    Missing(String),
    /// A folder that the service needs is not there.
    #[error("{path} cannot be granted: {reason}")]
    Path {
        /// The folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Threads that run already would stay free.
    #[error("{0} threads run already and would not be confined")]
    Threads(usize),
    /// Nobody knows whether other threads run.
    #[error("the threads of this process cannot be counted in /proc/self/task: {0}")]
    Uncounted(String),
    /// The kernel refused the rules.
    #[error("the kernel refused the confinement: {0}")]
    Kernel(String),
}

impl ConfineError {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Kernel(_) => {
                "use Linux 5.19 or newer with Landlock and seccomp (in /sys/kernel/security/lsm), or write sandbox = \"best-effort\" and confine the processes from outside"
            }
            Self::Path { .. } => "make the folder accessible for the user of this program",
            Self::Uncounted(_) => "mount /proc for this program, at least with its own processes (ProcSubset=pid)",
            Self::Threads(_) => "report this",
        }
    }
}

impl Confinement {
    /// Whether files and system calls are confined, which a node with `sandbox = "required"` demands. Ports may be missing:
    /// the kernel of Debian 12 does not know them, and the socket families of the filter hold everywhere.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.files != Layer::Missing && self.system_calls == Layer::Enforced
    }

    /// For a log line and a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let word = |layer| match layer {
            Layer::Enforced => "confined",
            Layer::Partial => "confined in part",
            Layer::Missing => "not confined",
        };
        let mut text =
            format!("files {}, ports {}, system calls {}", word(self.files), word(self.ports), word(self.system_calls));
        if let Some(reason) = &self.reason {
            text.push_str(&format!(" ({reason})"));
        }
        text
    }
}

/// Confines the calling process, which must have only this thread. With `required` an incomplete confinement is an error;
/// what could be applied stays applied, so the process must end.
pub fn enter(profile: &Profile, required: bool) -> Result<Confinement, ConfineError> {
    wait_until_alone(|| Ok(std::fs::read_dir("/proc/self/task")?.count()))?;
    demand(apply(profile)?, required)
}

/// A thread that was joined, such as that of [`probe`], is still listed for a moment.
fn wait_until_alone(mut count: impl FnMut() -> io::Result<usize>) -> Result<(), ConfineError> {
    let deadline = Instant::now() + ENDING_THREADS;
    loop {
        match count() {
            Ok(1) => return Ok(()),
            Ok(2..) if Instant::now() < deadline => thread::sleep(LOOK),
            Ok(threads) => return Err(ConfineError::Threads(threads)),
            Err(error) => return Err(ConfineError::Uncounted(error.to_string())),
        }
    }
}

/// Tries the confinement in a thread of its own, which ends; the process stays as it is. Folders that a start would make
/// need not be there.
pub fn probe(profile: &Profile, required: bool) -> Result<Confinement, ConfineError> {
    in_thread(|| apply(&profile.existing())).and_then(|confinement| demand(confinement, required))
}

fn demand(confinement: Confinement, required: bool) -> Result<Confinement, ConfineError> {
    if required && !confinement.holds() {
        return Err(ConfineError::Missing(confinement.summary()));
    }
    Ok(confinement)
}

/// Files first: the filter refuses the system calls of Landlock like all others that a service does not need.
fn apply(profile: &Profile) -> Result<Confinement, ConfineError> {
    let (files, ports) = files::restrict(profile)?;
    let (system_calls, reason) = match calls::restrict(profile.network) {
        Ok(()) => (Layer::Enforced, None),
        Err(reason) => (Layer::Missing, Some(reason)),
    };
    let reason = match files {
        Layer::Missing => Some("Landlock is not in the kernel or not switched on".to_owned()),
        Layer::Enforced | Layer::Partial => reason,
    };
    Ok(Confinement { files, ports, system_calls, reason })
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, ConfineError> + Send) -> Result<T, ConfineError> {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|_| Err(ConfineError::Kernel("the trial ended unexpectedly".to_owned())))
    })
}

#[cfg(test)]
mod tests;
