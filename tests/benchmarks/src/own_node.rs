//! A whole node as an administrator has it: made by `schleuse init`, run by `schleuse run`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{During as _, Failure, Outcome};
use crate::limits::READY;
use crate::process::{Lifeline, Memory, Process, free_port, memory_of};
use crate::report::number;
use crate::{Run, http_status};

/// The organisation that runs the node.
pub(crate) const ORGANIZATION: &str = "benchmark.example";
/// Between two looks whether the node is ready.
const LOOK: Duration = Duration::from_millis(1);
/// Time until memory is read.
const SETTLE: Duration = Duration::from_secs(3);

/// A node that can be started.
pub(crate) struct Node<'a> {
    run: &'a Run,
    pub(crate) directory: PathBuf,
    /// Where the gateway listens.
    pub(crate) port: u16,
    management_port: u16,
}

/// Memory of the two processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeMemory {
    engine: Memory,
    gateway: Memory,
}

// === impl Node ===

impl<'a> Node<'a> {
    /// Makes a node with its own authority. Partners would reach it at `base_url`, which is stored and must stay.
    pub(crate) fn init(run: &'a Run, directory: &Path, base_url: &str) -> Outcome<Self> {
        let output = std::process::Command::new(run.program("schleuse")?)
            .arg("init")
            .arg(directory)
            .args(["--organization-identifier", ORGANIZATION, "--base-url", base_url, "--development-certificates"])
            .output()
            .during("running schleuse init")?;
        if !output.status.success() {
            return Err(Failure::new(format!("schleuse init: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Self::existing(run, directory)
    }

    /// A node that was made before, on ports that are free now.
    pub(crate) fn existing(run: &'a Run, directory: &Path) -> Outcome<Self> {
        let path = directory.join("node.toml");
        let text = std::fs::read_to_string(&path).during(format!("reading {}", path.display()))?;
        let (port, management_port) = (free_port()?, free_port()?);
        let mut ports = [port, management_port].into_iter();
        // The template has two addresses: listen, then management.
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.starts_with("address = ").then(|| ports.next()).flatten() {
                Some(port) => format!("address = \"127.0.0.1:{port}\""),
                None => line.to_owned(),
            })
            .collect();
        std::fs::write(&path, lines.join("\n") + "\n").during(format!("writing {}", path.display()))?;
        Ok(Self { run, directory: directory.to_owned(), port, management_port })
    }

    /// Leaves Tasks to a foreign engine from the next start on; the resources of the processes stay.
    pub(crate) fn leave_tasks(&self) -> Outcome<()> {
        let path = self.directory.join("node.toml");
        let text = std::fs::read_to_string(&path).during(format!("reading {}", path.display()))?;
        let changed = text.replace("processes = \"installed\"", "processes = \"none\"");
        if changed == text {
            return Err(Failure::new("node.toml does not say which processes are installed"));
        }
        std::fs::write(&path, changed).during(format!("writing {}", path.display()))
    }

    /// Starts the node and waits until it is ready.
    pub(crate) async fn start(&self) -> Outcome<(Process, Duration)> {
        let directory = self.directory.display().to_string();
        let log = self.directory.join("output.log");
        let program = self.run.program("schleuse")?;
        let started = Instant::now();
        let mut process = Process::start("schleuse run", &program, &["run", &directory], &log, Lifeline::Signal)?;
        loop {
            if http_status(self.management_port, "/ready").await == Some(200) {
                return Ok((process, started.elapsed()));
            }
            process.must_run()?;
            if started.elapsed() > READY {
                return Err(process.failure("is not ready"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Milliseconds of one start.
    pub(crate) async fn time_to_ready(&self) -> Outcome<f64> {
        let (process, time) = self.start().await?;
        drop(process);
        Ok(time.as_secs_f64() * 1e3)
    }

    pub(crate) async fn times_to_ready(&self, count: usize) -> Outcome<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(self.time_to_ready().await?);
        }
        Ok(times)
    }

    /// Memory some time after the start.
    pub(crate) async fn memory(&self) -> Outcome<NodeMemory> {
        let (process, _) = self.start().await?;
        tokio::time::sleep(SETTLE).await;
        Ok(NodeMemory::of(&process))
    }
}

// === impl NodeMemory ===

impl NodeMemory {
    /// Of a running node.
    pub(crate) fn of(process: &Process) -> Self {
        let of = |name| memory_of(&process.pids_of(name));
        Self { engine: of("schleuse-engine"), gateway: of("schleuse-gateway") }
    }

    pub(crate) const fn both(&self) -> Memory {
        Memory { rss: self.engine.rss + self.gateway.rss, pss: self.engine.pss + self.gateway.pss }
    }

    pub(crate) fn row(&self, name: &str) -> Vec<String> {
        let bytes = [self.engine.rss, self.gateway.rss, self.both().rss, self.both().pss];
        let cells = bytes.into_iter().map(|bytes| number((bytes as f64) / 1e6));
        std::iter::once(name.to_owned()).chain(cells).collect()
    }
}
