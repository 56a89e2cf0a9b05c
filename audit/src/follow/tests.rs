use std::io::Write as _;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::{Log, Options};

struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }

    fn log(&self, file_bytes: u64) -> Log {
        Log::open(&self.path(), Options { file_bytes }).unwrap()
    }

    fn follower(&self, mark: Mark) -> Follower {
        Follower::new(self.path(), mark)
    }
}

fn append(log: &Log, count: u64) {
    for number in 0..count {
        log.append(OffsetDateTime::now_utc(), &serde_json::json!({ "event": "permit", "number": number })).unwrap();
    }
}

fn sequences(records: &[Followed]) -> Vec<u64> {
    records.iter().map(|record| record.mark.sequence).collect()
}

#[test]
fn records_are_given_again_until_they_are_confirmed() {
    let lab = Lab::new();
    let mut follower = lab.follower(Mark::default());
    assert_eq!(follower.next(1 << 20).unwrap(), []);
    let log = lab.log(1 << 20);
    append(&log, 3);
    for _ in 0..2 {
        assert_eq!(sequences(&follower.next(1 << 20).unwrap()), [1, 2, 3]);
    }
    let records = follower.next(1).unwrap();
    assert_eq!(sequences(&records), [1], "one record, however long it is");
    follower.confirm(&records[0].mark);
    assert_eq!(sequences(&follower.next(1 << 20).unwrap()), [2, 3]);
    let mark: Mark = serde_json::from_str(&serde_json::to_string(follower.mark()).unwrap()).unwrap();
    assert_eq!(sequences(&lab.follower(mark).next(1 << 20).unwrap()), [2, 3], "after a restart");
}

#[test]
fn what_was_removed_before_it_was_delivered_is_counted() {
    let lab = Lab::new();
    let log = lab.log(600);
    append(&log, 9);
    let mut follower = lab.follower(Mark::default());
    let first = follower.next(1).unwrap().remove(0);
    follower.confirm(&first.mark);
    for number in 1..=2 {
        std::fs::remove_file(lab.folder.path().join(format!("gateway.{number:06}.log"))).unwrap();
    }
    let next = lab.follower(first.mark).next(1).unwrap().remove(0);
    assert!(next.mark.sequence > 2, "{next:?}");
    assert_eq!(next.missing, next.mark.sequence - 2);
}

#[test]
fn a_chain_that_was_begun_anew_is_sent_from_its_beginning() {
    let lab = Lab::new();
    let log = lab.log(1 << 20);
    append(&log, 5);
    let mut follower = lab.follower(Mark::default());
    let last = follower.next(1 << 20).unwrap().pop().unwrap();
    drop(log);
    for records in [3, 7] {
        std::fs::remove_file(lab.path()).unwrap();
        append(&lab.log(1 << 20), records);
        let found = sequences(&lab.follower(last.mark.clone()).next(1 << 20).unwrap());
        assert_eq!(found, (1..=records).collect::<Vec<_>>());
    }
}

#[test]
fn a_line_in_writing_is_not_given_and_rubbish_is_an_error() {
    let lab = Lab::new();
    append(&lab.log(1 << 20), 2);
    let mut file = std::fs::OpenOptions::new().append(true).open(lab.path()).unwrap();
    file.write_all(b"{\"sequence\":3,\"time").unwrap();
    let mut follower = lab.follower(Mark::default());
    let records = follower.next(1 << 20).unwrap();
    assert_eq!(sequences(&records), [1, 2]);
    follower.confirm(&records[1].mark);
    assert_eq!(follower.next(1 << 20).unwrap(), []);
    file.write_all(b"\n").unwrap();
    assert!(matches!(follower.next(1 << 20), Err(FollowError::Damaged { .. })));
    std::fs::write(lab.path(), vec![b'x'; limits::LINE_BYTES * 2]).unwrap();
    assert!(matches!(lab.follower(Mark::default()).next(1 << 20), Err(FollowError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written, rotated, read in pieces of any size, lost with the reader: all records come, in order.
    #[test]
    fn every_record_comes_in_order_over_files_and_restarts(
        file_bytes in 300_u64..3000,
        steps in prop::collection::vec((0_u64..6, 1_usize..2000, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let lab = Lab::new();
        let log = lab.log(file_bytes);
        let mut follower = lab.follower(Mark::default());
        let mut delivered = Vec::new();
        let mut written = 0;
        for (count, bytes, confirms, restarts) in steps {
            append(&log, count);
            written += count;
            let records = follower.next(bytes).unwrap();
            prop_assert!(records.iter().all(|record| record.missing == 0));
            if let Some(last) = records.last().filter(|_| confirms) {
                follower.confirm(&last.mark);
                delivered.extend(sequences(&records));
            }
            if restarts {
                follower = lab.follower(follower.mark().clone());
            }
        }
        loop {
            let records = follower.next(1000).unwrap();
            let Some(last) = records.last() else { break };
            follower.confirm(&last.mark);
            delivered.extend(sequences(&records));
        }
        prop_assert_eq!(delivered, (1..=written).collect::<Vec<_>>());
    }
}
