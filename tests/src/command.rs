//! The command line `schleuse`.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binaries::binary;

/// A run of `schleuse`.
#[derive(Debug)]
pub struct Schleuse;

/// How it ended and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Schleuse {
    /// Runs to the end.
    ///
    /// # Panics
    /// When it has not ended within a minute.
    pub fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
        Self::run_within(Duration::from_secs(60), arguments)
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// When it has not ended within `limit`.
    pub fn run_within<A: AsRef<OsStr>>(limit: Duration, arguments: &[A]) -> Output {
        let mut running = Running::start(arguments);
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = running.child.try_wait().expect("schleuse is a child") {
                break status;
            }
            if Instant::now() > end {
                let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
                let said = running.said("err");
                panic!("schleuse {arguments:?} had not ended after {} s\n{said}", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Output { code: status.code(), out: running.said("out"), err: running.said("err") }
    }
}

/// A run of `schleuse` that goes on until it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).expect("a file in it");
        let child = Command::new(binary("schleuse"))
            .args(arguments)
            .stdin(Stdio::null())
            // Files, because a full pipe would stop the program.
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("schleuse starts");
        Self { child, folder }
    }

    /// Waits until `look` finds something in what it has said so far on standard output.
    ///
    /// # Panics
    /// When it ends, or nothing is found within `limit`.
    pub async fn until<T>(&mut self, what: &str, limit: Duration, look: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + limit;
        loop {
            let out = self.said("out");
            if let Some(found) = look(&out) {
                return found;
            }
            let ended = self.child.try_wait().expect("schleuse is a child");
            assert!(ended.is_none(), "schleuse ended by itself: {ended:?}\n{out}\n{}", self.said("err"));
            assert!(Instant::now() < end, "waited in vain for {what}\n{out}\n{}", self.said("err"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn said(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).expect("what was written");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Demands an exit code.
    ///
    /// # Panics
    /// When it is another.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}
