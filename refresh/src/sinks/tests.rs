use audit::{Log, Options};
use node::Directory;
use tokio::net::UnixDatagram;

use super::*;

/// A node with an audit log, and a journal.
struct Lab {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path());
        directory.create().unwrap();
        let text = node::node_toml(&node::Template {
            organization_identifier: "a.example".to_owned(),
            base_url: "https://a.example/fhir".to_owned(),
            endpoint_identifier: "a.example".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            management: "127.0.0.1:2".to_owned(),
        });
        std::fs::write(directory.node_toml(), text).unwrap();
        let (settings, _) = node::load(&directory).unwrap();
        Self { folder, settings }
    }

    fn sink(&self) -> AuditSink {
        AuditSink::Journald { socket: self.folder.path().join("journal") }
    }

    fn shipper(&self) -> Shipper {
        Shipper::new(&self.settings, &self.sink(), Duration::from_secs(60))
    }

    fn state(&self) -> SinkState {
        SinkState::read(&SinkState::path(&self.settings.directory, &self.sink())).unwrap()
    }

    fn append(&self, chain: &str, count: u32) {
        let path = self.settings.directory.audit().join(format!("{chain}.log"));
        let log = Log::open(&path, Options::default()).unwrap();
        for number in 0..count {
            log.append(OffsetDateTime::now_utc(), &serde_json::json!({ "event": "permit", "number": number })).unwrap();
        }
    }
}

/// Chain and number of each entry that came.
fn entries(journal: &UnixDatagram) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 100_000];
    while let Ok(read) = journal.try_recv(&mut buffer) {
        let text = std::str::from_utf8(&buffer[..read]).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        all.push((field("SCHLEUSE_CHAIN="), field("SCHLEUSE_SEQUENCE=").parse().unwrap()));
    }
    all
}

async fn all_rounds(shipper: &mut Shipper) {
    for _ in 0..20 {
        shipper.round().await;
    }
}

#[tokio::test]
async fn records_of_both_chains_go_to_the_journal_once_and_the_mark_survives_a_restart() {
    let lab = Lab::new();
    let journal = UnixDatagram::bind(lab.folder.path().join("journal")).unwrap();
    lab.append("gateway", 3);
    lab.append("engine", 2);
    all_rounds(&mut lab.shipper()).await;
    // A restarted log says nothing of its own; a restarted shipper repeats nothing.
    lab.append("gateway", 1);
    let mut again = lab.shipper();
    all_rounds(&mut again).await;
    journal.readable().await.unwrap();
    let (mut gateway, mut engine) = (Vec::new(), Vec::new());
    for (chain, number) in entries(&journal) {
        if chain == "gateway" { gateway.push(number) } else { engine.push(number) }
    }
    assert_eq!((gateway, engine), (vec![1, 2, 3, 4], vec![1, 2]));
    let state = lab.state();
    assert_eq!((state.records, state.missing, state.waiting_since), (6, 0, None));
}

#[tokio::test]
async fn a_dead_sink_makes_records_wait_says_since_when_and_backs_off() {
    let lab = Lab::new();
    lab.append("gateway", 2);
    let mut shipper = lab.shipper();
    let pauses = [shipper.round().await, shipper.round().await, shipper.round().await];
    assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
    for _ in 0..20 {
        assert!(shipper.round().await <= LONGEST_PAUSE);
    }
    let since = lab.state().waiting_since.unwrap();
    assert!(lab.state().last_error.is_some());
    // Killed and started again, the time goes on.
    let mut shipper = lab.shipper();
    shipper.round().await;
    assert_eq!(lab.state().waiting_since, Some(since));
    let journal = UnixDatagram::bind(lab.folder.path().join("journal")).unwrap();
    all_rounds(&mut shipper).await;
    journal.readable().await.unwrap();
    assert_eq!(entries(&journal).len(), 2);
    assert_eq!((lab.state().waiting_since, lab.state().last_error), (None, None));
}

#[tokio::test]
async fn what_was_removed_before_it_was_sent_and_what_is_damaged_is_told() {
    let lab = Lab::new();
    let journal = UnixDatagram::bind(lab.folder.path().join("journal")).unwrap();
    lab.append("gateway", 1);
    let mut shipper = lab.shipper();
    all_rounds(&mut shipper).await;
    journal.readable().await.unwrap();
    assert_eq!(entries(&journal).len(), 1);
    // Another program threw the records 2 to 4 away.
    lab.append("gateway", 4);
    let file = lab.settings.directory.audit().join("gateway.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.lines().skip(4).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let mut shipper = lab.shipper();
    all_rounds(&mut shipper).await;
    assert_eq!(lab.state().missing, 3);
    std::fs::write(&file, "rubbish\n".repeat(10)).unwrap();
    let mut shipper = lab.shipper();
    all_rounds(&mut shipper).await;
    let state = lab.state();
    assert!(state.last_error.unwrap().contains("has no record"), "a damaged file is no silence");
    assert!(state.waiting_since.is_some());
}
