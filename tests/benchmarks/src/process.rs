//! Programs that run beside the benchmark: started in folders of their own, counted, and stopped whatever happens.
//!
//! CPU seconds and memory are read from `/proc` for a program and all its descendants, so that servers of many processes
//! compare with servers of one. A program ends with its owner here; if this process is killed, it ends as well, by the
//! signal that the kernel sends on the death of a parent or by the end of its standard input.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal};

use crate::error::{During as _, Failure, Outcome};
use crate::limits::STOP;

/// How a program notices that this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifeline {
    /// It leaves when its standard input closes.
    StandardInput,
    /// The kernel sends it SIGTERM (`setpriv --pdeathsig`). Start it from the main thread: the death of the thread counts.
    Signal,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _lifeline: Option<ChildStdin>,
}

/// Memory in bytes, over all processes of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in each process.
    pub(crate) rss: u64,
    /// Resident, shared pages counted in proportion.
    pub(crate) pss: u64,
}

// === impl Process ===

impl Process {
    /// Starts a program; what it says goes to the file `log`.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        log: &Path,
        lifeline: Lifeline,
    ) -> Outcome<Self> {
        let mut command = match lifeline {
            Lifeline::StandardInput => Command::new(program),
            Lifeline::Signal => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "TERM", "--"]).arg(program);
                command
            }
        };
        let file = std::fs::File::create(log).during(format!("creating {}", log.display()))?;
        let copy = file.try_clone().during("a log file")?;
        command.args(arguments).stdout(copy).stderr(file);
        command.stdin(if lifeline == Lifeline::StandardInput { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().during(format!("starting {}", program.display()))?;
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), _lifeline: input })
    }

    /// Fails with the end of its log if the program has ended.
    pub(crate) fn must_run(&mut self) -> Outcome<()> {
        match self.child.try_wait().during("looking after a process")? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended with {status}"))),
        }
    }

    /// A failure with the end of the log.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(12).collect();
        lines.reverse();
        Failure::new(format!("{} {what}; it said:\n  {}", self.name, lines.join("\n  ")))
    }

    /// The program and its descendants.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let parents = parents();
        let mut pids = vec![self.child.id()];
        let mut index = 0;
        while let Some(parent) = pids.get(index).copied() {
            pids.extend(parents.iter().filter(|(_, known)| *known == parent).map(|(pid, _)| *pid));
            index += 1;
        }
        pids
    }

    /// Those of them that run this program.
    pub(crate) fn pids_of(&self, program: &str) -> Vec<u32> {
        let runs = |pid: &u32| {
            let path = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            path.file_name().is_some_and(|name| name == program)
        };
        self.pids().into_iter().filter(runs).collect()
    }

    /// CPU time so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds_of(&self.pids())
    }

    pub(crate) fn memory(&self) -> Memory {
        memory_of(&self.pids())
    }

    /// Asks the program to end.
    pub(crate) fn ask_to_stop(&self) {
        signal(self.child.id(), Signal::TERM);
    }

    /// Ends the program and waits for it.
    pub(crate) fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pids = self.pids();
        signal(self.child.id(), Signal::TERM);
        let end = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// CPU time of processes so far, user and system.
pub(crate) fn cpu_seconds_of(pids: &[u32]) -> f64 {
    let ticks: u64 = pids.iter().filter_map(|pid| cpu_ticks(*pid)).sum();
    (ticks as f64) / (rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of processes together.
pub(crate) fn memory_of(pids: &[u32]) -> Memory {
    let mut memory = Memory::default();
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        memory.rss += kilobytes("Rss:").unwrap_or(0) * 1024;
        memory.pss += kilobytes("Pss:").unwrap_or(0) * 1024;
    }
    memory
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Process and parent, of every process.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let parent = stat(pid)?.get(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    // proc(5): utime is field 14, stime 15; fields here begin with field 3.
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Fields of `/proc/PID/stat` after the name, which may hold spaces and parentheses.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// A port of loopback that nobody listens on now.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).during("finding a free port")?;
    Ok(listener.local_addr().during("finding a free port")?.port())
}
