use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::checkpoint::{self, Judge, Signed, verify_signed};
use crate::{Follower, Options, verify};

const DAY: Duration = Duration::from_secs(86_400);
const KEPT: Duration = Duration::from_secs(86_400 * 100);

/// A key whose signatures are its name and the text.
struct Key(&'static str);

impl Signer for Key {
    fn sign(&self, content: &str) -> Result<(String, String), String> {
        Ok((self.0.to_owned(), format!("{}/{content}", self.0)))
    }
}

impl Judge for Key {
    fn holds(&self, certificate: &str, content: &str, signature: &str) -> Option<bool> {
        (certificate == self.0).then(|| signature == format!("{}/{content}", self.0))
    }
}

/// Receivers that have taken what the test says.
struct Taken(Mutex<Result<Vec<Mark>, String>>);

impl Receivers for Taken {
    fn taken(&self, _: &str) -> Result<Vec<Mark>, String> {
        self.0.lock().unwrap().clone()
    }
}

/// A log in a folder with the retention of its process.
struct Lab {
    folder: tempfile::TempDir,
    log: Arc<Log>,
    taken: Arc<Taken>,
    retention: Retention,
}

fn day(number: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + DAY * u32::try_from(number).unwrap()
}

impl Lab {
    /// One record a day, a few to a file.
    fn with_days(days: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let taken = Arc::new(Taken(Mutex::new(Ok(Vec::new()))));
        let receivers = Arc::clone(&taken) as Arc<dyn Receivers>;
        let retention = Retention { chain: "engine", kept: KEPT, signer: Arc::new(Key("good")), receivers };
        let log = open_log(folder.path());
        let lab = Self { folder, log, taken, retention };
        lab.record(0, days);
        lab
    }

    fn record(&self, from: u64, to: u64) {
        for number in from..to {
            self.log.append(day(number), &json!({ "event": "permit", "number": number })).unwrap();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.log")
    }

    fn file(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("engine.{number:06}.log"))
    }

    fn restart(self) -> Self {
        let Self { folder, log, taken, retention } = self;
        drop(log);
        let log = open_log(folder.path());
        Self { folder, log, taken, retention }
    }

    async fn look(&self, at: u64) -> Result<Option<Cut>, RetentionError> {
        self.retention.look(&self.log, day(at)).await
    }

    fn verified(&self) -> (crate::Report, Signed) {
        verify_signed(&self.path(), "engine", &Key("good")).unwrap()
    }

    /// The mark of a receiver that has taken everything up to a record.
    fn mark(&self, sequence: u64) -> Mark {
        let records = Follower::new(self.path(), Mark::default()).next(1 << 20).unwrap();
        let mut follower = Follower::new(self.path(), Mark::default());
        let mut all = records;
        while all.last().is_some_and(|last| last.mark.sequence < sequence) {
            follower.confirm(&all.last().unwrap().mark);
            all = follower.next(1 << 20).unwrap();
        }
        all.into_iter().find(|found| found.mark.sequence == sequence).unwrap().mark
    }
}

fn open_log(folder: &Path) -> Arc<Log> {
    Arc::new(Log::open(&folder.join("engine.log"), Options { file_bytes: 2000 }).unwrap())
}

#[tokio::test]
async fn what_is_older_than_the_period_goes_and_the_chain_begins_with_what_is_kept() {
    let lab = Lab::with_days(120);
    assert!(lab.look(99).await.unwrap().is_none(), "nothing is older than the period");
    let before = lab.verified().0;
    let cut = lab.look(160).await.unwrap().unwrap();
    let (report, signed) = lab.verified();
    // Files go as wholes: what is left begins at most one file before the day.
    assert_eq!((cut.first_sequence, report.first_sequence), (1, cut.last_sequence + 1));
    assert!(cut.last_sequence <= 60 && cut.last_sequence > 48, "{cut:?}");
    assert_eq!((cut.rule.as_str(), cut.kept_days), ("retention.audit", 100));
    assert_eq!((signed.cut.as_ref(), signed.removed_otherwise, signed.not_yet_removed), (Some(&cut), 0, 0));
    assert_eq!(report.last_sequence, before.last_sequence + 1, "the cut is a record of the chain");
    assert!(!lab.file(cut.last_file).exists() && lab.file(cut.last_file + 1).exists());

    // After a restart the chain goes on, and the next cut follows the one before.
    let lab = lab.restart();
    lab.record(161, 200);
    let next = lab.look(215).await.unwrap().unwrap();
    assert_eq!(next.first_sequence, cut.last_sequence + 1);
    let (report, signed) = lab.verified();
    assert_eq!((report.first_sequence, signed.removed_otherwise), (next.last_sequence + 1, 0));
    assert!(lab.look(215).await.unwrap().is_none(), "a look without anything to do writes nothing");
}

#[tokio::test]
async fn the_newest_closed_file_stays_and_numbers_go_on() {
    let lab = Lab::with_days(60);
    let before = rotated_files(&lab.path()).unwrap();
    lab.look(10_000).await.unwrap().unwrap();
    let left = rotated_files(&lab.path()).unwrap();
    // The file in use was old too and was closed; it is the newest closed one now.
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, before.last().unwrap().0 + 1);
    let lab = lab.restart();
    lab.record(10_001, 10_050);
    assert!(rotated_files(&lab.path()).unwrap().last().unwrap().0 > left[0].0);
    assert_eq!(lab.verified().1.removed_otherwise, 0);
}

#[tokio::test]
async fn a_quiet_log_is_closed_by_its_age() {
    let lab = Lab::with_days(3);
    assert!(rotated_files(&lab.path()).unwrap().is_empty());
    assert!(lab.look(9).await.unwrap().is_none());
    assert!(rotated_files(&lab.path()).unwrap().is_empty(), "it is not a tenth of the period old");
    lab.look(11).await.unwrap();
    assert_eq!(rotated_files(&lab.path()).unwrap().len(), 1);
    assert_eq!(lab.verified().0.records, 3);
}

#[tokio::test]
async fn killed_between_the_cut_and_the_removal_the_next_look_removes() {
    for removed_before_the_end in 0..4_usize {
        let lab = Lab::with_days(120);
        let whole = lab.verified().0.records;
        let (position, planned) = lab.retention.announce(&lab.log, day(160)).unwrap().unwrap();
        lab.log.durable(position).await.unwrap();
        for file in planned.files.iter().take(removed_before_the_end) {
            std::fs::remove_file(file).unwrap();
        }
        let lab = lab.restart();
        let (report, signed) = lab.verified();
        assert_eq!(signed.removed_otherwise, 0, "the cut covers what was removed");
        assert_eq!(signed.not_yet_removed, planned.cut.last_sequence + 1 - report.first_sequence);
        let again = lab.look(160).await.unwrap().unwrap();
        assert_eq!((again.last_sequence, &again.hash), (planned.cut.last_sequence, &planned.cut.hash));
        assert_eq!((again.first_sequence, again.removed_otherwise), (report.first_sequence, 0));
        let (report, signed) = lab.verified();
        assert_eq!((report.first_sequence, signed.not_yet_removed), (planned.cut.last_sequence + 1, 0));
        assert_eq!((report.last_sequence, signed.removed_otherwise), (whole + 2, 0));
    }
}

#[tokio::test]
async fn what_somebody_else_has_removed_is_found_before_and_after_a_cut() {
    // Without any cut.
    let lab = Lab::with_days(120);
    std::fs::remove_file(lab.file(1)).unwrap();
    let (report, signed) = lab.verified();
    assert!(signed.removed_otherwise > 0);
    assert_eq!(signed.removed_otherwise, report.first_sequence - 1);
    // A cut afterwards covers up nothing, and neither does one after that.
    let gone = signed.removed_otherwise;
    let cut = lab.look(160).await.unwrap().unwrap();
    assert_eq!((cut.removed_otherwise, lab.verified().1.removed_otherwise), (gone, gone));
    lab.record(161, 200);
    assert_eq!(lab.look(215).await.unwrap().unwrap().removed_otherwise, gone);
    assert_eq!(lab.verified().1.removed_otherwise, gone);
    // Beyond the cut.
    let kept = rotated_files(&lab.path()).unwrap();
    let records = |file: &Path| std::fs::read_to_string(file).unwrap().lines().count() as u64;
    let more = records(&kept[0].1);
    std::fs::remove_file(&kept[0].1).unwrap();
    assert_eq!(lab.verified().1.removed_otherwise, gone + more);
    // In the middle.
    std::fs::remove_file(&kept[2].1).unwrap();
    assert!(matches!(verify(&lab.path()), Err(VerifyError::Missing { .. })));
}

#[tokio::test]
async fn a_chain_that_is_not_whole_is_not_shortened() {
    let lab = Lab::with_days(120);
    let text = std::fs::read_to_string(lab.file(1)).unwrap();
    std::fs::write(lab.file(1), text.replacen("\"number\":2", "\"number\":9", 1)).unwrap();
    assert!(matches!(lab.look(160).await, Err(RetentionError::Chain(_))));
    std::fs::write(lab.file(1), &text).unwrap();
    let second = std::fs::read(lab.file(2)).unwrap();
    std::fs::remove_file(lab.file(2)).unwrap();
    assert!(matches!(lab.look(160).await, Err(RetentionError::Chain(_))), "a file is missing");
    std::fs::write(lab.file(2), second).unwrap();
    assert!(lab.file(1).exists());
    lab.look(160).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_receiver_has_not_taken_is_never_removed() {
    let lab = Lab::with_days(120);
    let set = |taken: Result<Vec<Mark>, String>| *lab.taken.0.lock().unwrap() = taken;
    let everything = lab.mark(118);
    set(Err("refresh/sink.json cannot be read".to_owned()));
    assert!(matches!(lab.look(160).await, Err(RetentionError::Receivers(_))));
    set(Ok(vec![everything.clone(), Mark::default()]));
    assert!(lab.look(160).await.unwrap().is_none(), "one of two has taken nothing");
    // A mark of another chain, however far it has got.
    let mut foreign = everything.clone();
    foreign.hash = "0".repeat(64);
    set(Ok(vec![foreign]));
    assert!(lab.look(160).await.unwrap().is_none());
    assert!(lab.file(1).exists());
    // Taken up to the middle of a file: that file stays.
    let middle = lab.mark(20);
    set(Ok(vec![everything.clone(), middle]));
    let cut = lab.look(160).await.unwrap().unwrap();
    assert!(cut.last_sequence < 20 && cut.last_sequence > 8, "{cut:?}");
    let mut follower = Follower::new(lab.path(), lab.mark(20));
    let next = follower.next(1 << 20).unwrap();
    assert_eq!((next[0].missing, next[0].mark.sequence), (0, 21), "the receiver misses nothing");
    set(Ok(vec![everything]));
    assert!(lab.look(160).await.unwrap().unwrap().last_sequence > 48);
}

#[tokio::test]
async fn a_cut_counts_only_with_a_signature_that_holds_and_about_the_record_that_it_names() {
    let lab = Lab::with_days(120);
    checkpoint::write(&lab.log, "engine", &Key("good"), day(120)).unwrap();
    lab.look(160).await.unwrap().unwrap();
    // A certificate that was not given: what is gone counts as gone otherwise.
    let (report, signed) = verify_signed(&lab.path(), "engine", &Key("other")).unwrap();
    assert_eq!((signed.cut, signed.removed_otherwise), (None, report.first_sequence - 1));
    // The signature of another chain's cut.
    let error = verify_signed(&lab.path(), "gateway", &Key("good")).unwrap_err().to_string();
    assert!(error.contains("signature"), "{error}");

    // A signed cut of one chain in another one that lacks as many records.
    let other = Lab::with_days(119);
    other.record(200, 201);
    let foreign = Cut::read(last_line_of(&lab.path()).as_bytes()).unwrap();
    other.log.append(day(201), &foreign).unwrap();
    for number in foreign.first_file..=foreign.last_file {
        std::fs::remove_file(other.file(number)).unwrap();
    }
    match verify_signed(&other.path(), "engine", &Key("good")) {
        // The same records give the same hash; then nothing is wrong with it.
        Ok((_, signed)) => assert_eq!(signed.removed_otherwise, 0),
        Err(error) => panic!("{error}"),
    }
    let stranger = Lab::with_days(0);
    stranger.record(1, 121);
    stranger.log.append(day(201), &foreign).unwrap();
    for number in foreign.first_file..=foreign.last_file {
        std::fs::remove_file(stranger.file(number)).unwrap();
    }
    let error = verify_signed(&stranger.path(), "engine", &Key("good"));
    let is_found = match error {
        Err(VerifyError::Front { .. }) => true,
        // Records of other lengths fill other files.
        Ok((_, signed)) => signed.removed_otherwise > 0,
        Err(_) => false,
    };
    assert!(is_found);
}

fn last_line_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().lines().last().unwrap().to_owned()
}

#[tokio::test]
async fn followers_and_writers_go_on_while_files_go() {
    let lab = Lab::with_days(120);
    let mut follower = Follower::new(lab.path(), lab.mark(100));
    assert_eq!(follower.next(1).unwrap()[0].mark.sequence, 101);
    lab.look(160).await.unwrap().unwrap();
    lab.record(161, 165);
    let mut seen = 100;
    loop {
        let records = follower.next(1 << 20).unwrap();
        let Some(last) = records.last() else { break };
        assert!(records.iter().all(|record| record.missing == 0));
        seen = last.mark.sequence;
        follower.confirm(&last.mark.clone());
    }
    assert_eq!(seen, lab.log.newest().0);
}
