//! The servers that the gateway is measured beside, each with mutual TLS, a condition on issuer and country, the client
//! certificate in a header, no access log and the same upstream socket.
//!
//! Apache httpd is configured as DSF's proxy is (`access-and-edge.md` 1.2), with HTTP/2 in addition; nginx and haproxy do
//! the same as far as they can. What is raised above the defaults is raised so that a test is not cut short: requests per
//! connection, connections, buffers for the large body.

mod haproxy;
mod httpd;
mod nginx;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::error::{During as _, Failure, Outcome};
use crate::limits::READY;
use crate::load::{Endpoint, KeepAlive, Question};
use crate::pki::{ClientSide, Files};
use crate::process::{Lifeline, Process, free_port};
use crate::processors::{self, Side};

/// Requests on one connection, the bound of our gateway.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// Account for the workers of servers that are started by root.
const USER: &str = "www-data";

/// A server of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Nginx,
    Haproxy,
    Httpd,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) label: &'static str,
    pub(crate) process: Process,
    pub(crate) endpoint: Endpoint,
}

/// What a configuration is made from.
struct Site<'a> {
    /// Folder for configuration, logs and temporary files.
    folder: &'a Path,
    files: &'a Files,
    /// Socket of the upstream.
    upstream: &'a Path,
    port: u16,
    workers: usize,
    /// Whether workers have to change their user.
    is_root: bool,
}

// === impl Peer ===

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Httpd];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Httpd => "httpd",
        }
    }

    /// Debian's name of program and package.
    const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Httpd => "apache2",
        }
    }

    /// The version that it tells of itself.
    pub(crate) fn version(self) -> Outcome<String> {
        let option = if self == Self::Haproxy { "-vv" } else { "-V" };
        let program = self.find().during(format!("looking for {}", self.program()))?;
        let output =
            Command::new(program).arg(option).output().during(format!("asking {} for its version", self.program()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default().trim();
        Ok(match self {
            Self::Nginx => format!("{}, built with {}", after("nginx version: nginx/"), after("built with ")),
            Self::Haproxy => format!("{}, {}", after("HAProxy version "), after("Running on OpenSSL version : ")),
            Self::Httpd => after("Server version: Apache/").to_owned(),
        })
    }

    fn find(self) -> Option<PathBuf> {
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(self.program()))
            .find(|path| path.is_file())
    }

    /// Starts the server in a folder of its own and waits for its first answer.
    pub(crate) async fn start(
        self,
        folder: &Path,
        files: &Files,
        upstream: &Path,
        client: &ClientSide,
        question: Question,
    ) -> Outcome<Server> {
        let folder = folder.join(self.label());
        std::fs::create_dir(&folder).during(format!("creating {}", folder.display()))?;
        let port = free_port()?;
        let workers = processors::count(Side::Server);
        let is_root = rustix::process::geteuid().is_root();
        let site = Site { folder: &folder, files, upstream, port, workers, is_root };
        let text = match self {
            Self::Nginx => nginx::configuration(&site),
            Self::Haproxy => haproxy::configuration(&site),
            Self::Httpd => httpd::configuration(&site),
        };
        let path = folder.join("server.conf");
        std::fs::write(&path, text).during(format!("writing {}", path.display()))?;
        let (path, root) = (path.display().to_string(), folder.display().to_string());
        let arguments = match self {
            Self::Nginx => vec!["-p", &root, "-c", &path, "-e", "stderr"],
            Self::Haproxy => vec!["-db", "-f", &path],
            Self::Httpd => vec!["-d", &root, "-f", &path, "-DFOREGROUND"],
        };
        let program = self.find().during(format!("looking for {}", self.program()))?;
        let log = folder.join("output.log");
        let turn = processors::turn(Side::Server);
        let process = Process::start(self.label(), &program, &arguments, &log, Lifeline::Signal)?;
        drop(turn);
        let endpoint = Endpoint { address: ([127, 0, 0, 1], port).into(), client: client.clone() };
        let mut server = Server { label: self.label(), process, endpoint };
        server.wait(question).await?;
        Ok(server)
    }
}

// === impl Server ===

impl Server {
    /// Waits until the question is answered.
    pub(crate) async fn wait(&mut self, question: Question) -> Outcome<()> {
        let end = Instant::now() + READY;
        loop {
            self.process.must_run()?;
            match KeepAlive::open(&self.endpoint, question, 1).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(self.process.failure(&format!("does not answer ({error})")));
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }
}

/// Installs what is missing, by the package manager of the machine.
pub(crate) fn install_missing() -> Outcome<()> {
    let missing: Vec<&str> = Peer::ALL.iter().filter(|peer| peer.find().is_none()).map(|peer| peer.program()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    // `policy-rc.d` semantics are not needed: the services that the packages start listen on port 80, which nothing here uses.
    let status = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Failure::new(format!("install these packages first: {}", missing.join(", ")))),
    }
}
