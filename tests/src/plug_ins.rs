//! A node of a network with a plug-in and a listener for workers: the example that `schleuse process new` writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::command::{Output, Schleuse};
use crate::network::{Network, Node, Process, free_ports};
use crate::wait::until;

/// The process of the example.
pub const PROCESS: &str = "http://example.org/bpe/Process/hello|1.0";
/// Its key.
pub const KEY: &str = "exampleorg_hello";
/// The topic of its service task.
pub const TOPIC: &str = "hello-greet";
/// The token of the worker that may fetch it.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef0123";
/// Longest time for what takes moments.
const TIME: Duration = Duration::from_secs(60);

/// A network, one node of which has a listener for workers.
#[derive(Debug)]
pub struct Place {
    /// The network.
    pub network: Network,
    /// Port of the listener.
    pub port: u16,
}

// === impl Place ===

impl Place {
    /// Starts a network and opens the listener of `dms`.
    pub async fn start() -> Self {
        let network = Network::start(1);
        let (port, _) = free_ports();
        let node = network.node("dms");
        let token = node.path("worker.token");
        std::fs::write(&token, TOKEN).expect("a token");
        set_private(&token);
        let other = node.path("other.token");
        std::fs::write(&other, TOKEN.to_uppercase()).expect("a token");
        set_private(&other);
        let certificates = node.text("node.toml");
        let server = certificates.lines().find(|line| line.starts_with("server = {")).expect("the server certificate");
        let part = |name: &str| {
            let after = server.split(&format!("{name} = \"")).nth(1).expect("a file");
            after.split('"').next().unwrap_or_default().to_owned()
        };
        let section = format!(
            "[workers]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"{}\"\nprivate-key = \"{}\"\n[[workers.credential]]\nname = \"greeter\"\ntopics = [\"{TOPIC}\"]\ntoken-file = \"worker.token\"\n[[workers.credential]]\nname = \"other\"\ntopics = [\"another\"]\ntoken-file = \"other.token\"\n",
            part("certificate"),
            part("private-key")
        );
        node.edit("node.toml", |text| with_workers(text, &section));
        let place = Self { network, port };
        place.network.kill_and_await_restart("dms", Process::Engine).await;
        place
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> Node {
        self.network.node("dms")
    }

    /// Directory of the node, as an argument.
    #[must_use]
    pub fn directory(&self) -> String {
        self.node().directory.display().to_string()
    }

    /// A folder with the example under this name.
    #[must_use]
    pub fn example(&self, name: &str) -> PathBuf {
        let folder = self.network.root().join(name);
        let at = folder.display().to_string();
        Schleuse::run(&["process", "new", &at]).expect(0);
        folder
    }

    /// Installs a plug-in.
    #[must_use]
    pub fn install(&self, folder: &Path) -> Output {
        Schleuse::run(&["process", "install", &folder.display().to_string(), &self.directory()])
    }

    /// Runs a command on the node: words, then the directory, then more words.
    #[must_use]
    pub fn run(&self, words: &[&str], more: &[&str]) -> Output {
        let directory = self.directory();
        let mut all = vec!["--format", "json"];
        all.extend(words);
        all.push(&directory);
        all.extend(more);
        Schleuse::run(&all)
    }

    /// A client of the listener without any credential.
    #[must_use]
    pub fn worker(&self) -> Client {
        let authority = self.network.authority().join("ca.pem");
        Client::new(&format!("https://localhost:{}/engine-rest", self.port), &authority, None)
    }

    /// Asks as a worker with a token.
    pub async fn ask(&self, token: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.worker().send("POST", path, &fields, body.to_string()).await
    }

    /// Starts the process; gives the Task.
    #[must_use]
    pub fn start_task(&self) -> String {
        let started = self.run(&["task", "start"], &[PROCESS, "hello"]).expect(0).json();
        started["id"].as_str().expect("the id of the Task").to_owned()
    }

    /// The open user tasks.
    #[must_use]
    pub fn open(&self) -> Vec<Value> {
        let list = self.run(&["task", "list"], &["--open"]).expect(0).json();
        list["tasks"].as_array().cloned().unwrap_or_default()
    }

    /// Starts the process and releases it, so that a worker finds it; gives the Task.
    pub async fn start_released(&self) -> String {
        let known: Vec<Value> = self.open().iter().map(|open| open["id"].clone()).collect();
        let task = self.start_task();
        let id = until("the user task", TIME, async || {
            let open = self.open();
            open.into_iter().map(|open| open["id"].clone()).find(|id| !known.contains(id))
        })
        .await;
        let id = id.as_str().expect("an id").to_owned();
        Schleuse::run(&["task", "answer", &id, &self.directory(), "--set", "release=true"]).expect(0);
        task
    }

    /// Fetches one task of the topic, waiting for it.
    pub async fn fetch(&self, worker: &str) -> Value {
        self.fetch_for(worker, 60_000).await
    }

    /// The same with a lock of so many milliseconds.
    pub async fn fetch_for(&self, worker: &str, lock: u64) -> Value {
        let body = json!({
            "workerId": worker, "maxTasks": 1, "asyncResponseTimeout": 20_000,
            "topics": [{ "topicName": TOPIC, "lockDuration": lock }],
        });
        let answer = self.ask(TOKEN, "/external-task/fetchAndLock", &body).await.expect(200);
        answer.json()[0].clone()
    }

    /// Waits until a Task has the status; gives what the list shows of it.
    pub async fn until_status(&self, task: &str, status: &str) -> Value {
        until(&format!("Task {task} to be {status}"), TIME, async || {
            let list = self.run(&["task", "list"], &["--count", "1000"]).expect(0).json();
            let tasks = list["tasks"].as_array().cloned().unwrap_or_default();
            tasks.into_iter().find(|found| found["id"] == *task && found["status"] == *status)
        })
        .await
    }

    /// The one running instance.
    ///
    /// # Panics
    /// When there is none or more.
    #[must_use]
    pub fn instance(&self) -> String {
        let list = self.run(&["instance", "list"], &[]).expect(0).json();
        let instances = list["instances"].as_array().cloned().unwrap_or_default();
        assert_eq!(instances.len(), 1, "{list:#}");
        instances[0]["id"].as_str().expect("an id").to_owned()
    }
}

/// Puts the keys of the listener into the section `[workers]`.
fn with_workers(text: &str, section: &str) -> String {
    match text.split_once("[workers]\n") {
        Some((before, after)) => {
            let keys = section.strip_prefix("[workers]\n").unwrap_or(section);
            let (own, credentials) = keys.split_once("[[").unwrap_or((keys, ""));
            // Credentials are tables of their own and stand behind the keys that are there.
            let end = after.find("\n[").map_or(after.len(), |at| at + 1);
            let (section, rest) = after.split_at(end);
            format!("{before}[workers]\n{own}{section}[[{credentials}{rest}")
        }
        None => format!("{text}\n{section}"),
    }
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}
