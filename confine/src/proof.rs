//! Trying what is forbidden, before and after the confinement.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use crate::{ConfineError, Confinement, Profile, apply, in_thread};

/// Something that a service has no reason to do.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Open a file.
    Read(PathBuf),
    /// List a folder.
    List(PathBuf),
    /// Open an existing file for writing.
    Change(PathBuf),
    /// Make a file in a folder.
    Create(PathBuf),
    /// Connect to a TCP port of this machine.
    Connect,
    /// Open a listening TCP port.
    Listen,
    /// Open a UDP socket.
    Datagram,
    /// Start a program.
    Execute,
    /// Send a signal.
    Signal,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The kernel refused.
    Refused,
    /// There was nothing to try it on.
    Absent,
}

/// An attempt before and after.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tried {
    /// In words.
    pub attempt: String,
    /// Without confinement.
    pub before: Outcome,
    /// Within it.
    pub after: Outcome,
}

/// Makes each attempt, confines a thread as a start would confine the process, and makes each attempt there again.
pub fn prove(profile: &Profile, attempts: &[Attempt]) -> Result<(Confinement, Vec<Tried>), ConfineError> {
    let target = TcpListener::bind("127.0.0.1:0").map_err(|error| ConfineError::Kernel(error.to_string()))?;
    let target = target.local_addr().map(|address| (target, address));
    let (_held, address) = target.map_err(|error| ConfineError::Kernel(error.to_string()))?;
    let before: Vec<Outcome> = attempts.iter().map(|attempt| attempt.make(address)).collect();
    let (confinement, after) = in_thread(|| {
        let confinement = apply(&profile.existing())?;
        Ok((confinement, attempts.iter().map(|attempt| attempt.make(address)).collect::<Vec<Outcome>>()))
    })?;
    let pairs = attempts.iter().zip(before.into_iter().zip(after));
    let tried = pairs.map(|(attempt, (before, after))| Tried { attempt: attempt.to_string(), before, after }).collect();
    Ok((confinement, tried))
}

// === impl Attempt ===

impl Attempt {
    fn make(&self, address: SocketAddr) -> Outcome {
        let made = match self {
            Self::Read(path) => std::fs::File::open(path).map(drop),
            Self::List(path) => std::fs::read_dir(path).map(drop),
            Self::Change(path) => std::fs::OpenOptions::new().append(true).open(path).map(drop),
            Self::Create(folder) => {
                let path = folder.join(format!(".schleuse-proof-{}", std::process::id()));
                std::fs::File::create_new(&path).and_then(|_| std::fs::remove_file(&path))
            }
            Self::Connect => TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop),
            Self::Listen => TcpListener::bind("127.0.0.1:0").map(drop),
            Self::Datagram => UdpSocket::bind("127.0.0.1:0").map(drop),
            Self::Execute => execute(),
            Self::Signal => rustix::process::test_kill_process(rustix::process::getpid()).map_err(Error::from),
        };
        match made {
            Ok(()) => Outcome::Allowed,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Outcome::Refused,
            Err(_) => Outcome::Absent,
        }
    }
}

/// This program, because a hardened machine may have no other.
fn execute() -> Result<(), Error> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()?.wait().map(drop)
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::List(path) => write!(f, "list {}", path.display()),
            Self::Change(path) => write!(f, "write {}", path.display()),
            Self::Create(path) => write!(f, "create a file in {}", path.display()),
            Self::Connect => f.write_str("connect to a TCP port"),
            Self::Listen => f.write_str("listen on a TCP port"),
            Self::Datagram => f.write_str("open a UDP socket"),
            Self::Execute => f.write_str("start a program"),
            Self::Signal => f.write_str("send a signal"),
        }
    }
}
