//! A process that ends with the test program.
//!
//! Statics are never dropped and a test program may be killed, so a destructor alone would leave a network behind. A
//! shell holds the read end of a pipe: when the pipe closes, for whatever reason, it ends the process, waits for it and
//! removes the folder.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::binaries::is_kept;
use crate::wait::until_blocking;

/// `$1` folder for `pid`, `out`, `err` and `code`; `$2` folder to remove or nothing; then the command.
const SCRIPT: &str = r#"
folder=$1; remove=$2; shift 2
exec 3<&0
"$@" </dev/null >"$folder/out" 2>"$folder/err" 3<&- & process=$!
echo "$process" >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
{
    cat >/dev/null
    tenth=0
    while [ ! -e "$folder/code" ] && [ "$tenth" -lt 400 ]; do
        [ "$tenth" = 0 ] && kill -TERM "$process" 2>/dev/null
        [ "$tenth" = 300 ] && kill -KILL "$process" 2>/dev/null
        tenth=$((tenth + 1))
        sleep 0.1
    done
    [ -n "$remove" ] && rm -rf "$remove"
} <&3 & exec 3<&-
wait "$process"; code=$?
echo "$code" >"$folder/code"
exit "$code"
"#;

/// Time for a process to end after SIGTERM; the shell kills it before.
const END_TIME: Duration = Duration::from_secs(45);

/// The running process.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    lifeline: Option<ChildStdin>,
    folder: PathBuf,
    pid: Pid,
}

impl Guard {
    /// Starts `command`; `folder` receives `out`, `err` and `pid`, `remove` goes away when the test program has ended.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, remove: Option<&Path>, command: &[&std::ffi::OsStr]) -> Self {
        let remove = remove.filter(|_| !is_kept());
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(folder)
            .arg(remove.unwrap_or_else(|| Path::new("")))
            .args(command)
            .stdin(Stdio::piped())
            // Whoever reads the output of the test program must not wait for the shell.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let lifeline = shell.stdin.take();
        let pid = until_blocking("the pid of the process", Duration::from_secs(20), || {
            let text = std::fs::read_to_string(folder.join("pid")).ok()?;
            text.trim().parse().ok().and_then(Pid::from_raw)
        });
        Self { shell, lifeline, folder: folder.to_owned(), pid }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        // It may have ended a moment ago; then there is nobody to tell.
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// Its exit status when it has ended. As a shell tells it: a signal is 128 and its number.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("the shell is a child")
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.lifeline = None;
        until_blocking("the end of the process", END_TIME, || self.ended())
    }

    /// What it wrote to standard output.
    #[must_use]
    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn err(&self) -> String {
        std::fs::read_to_string(self.folder.join("err")).unwrap_or_default()
    }

    /// The process itself.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.lifeline = None;
        let end = std::time::Instant::now() + END_TIME;
        while matches!(self.shell.try_wait(), Ok(None)) && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
