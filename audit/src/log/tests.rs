use super::*;
use crate::{VerifyError, verify};
use proptest::prelude::*;
use serde_json::json;

fn log_with(folder: &Path, records: usize, file_bytes: u64) -> PathBuf {
    let path = folder.join("gateway.log");
    let log = Log::open(&path, Options { file_bytes }).unwrap();
    for index in 0..records {
        log.append(OffsetDateTime::UNIX_EPOCH, &json!({ "index": index, "text": "a \"quoted\" ü\n" })).unwrap();
    }
    path
}

#[test]
fn untouched_chain_verifies_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    log_with(folder.path(), 5, 1 << 20);
    let path = log_with(folder.path(), 5, 1 << 20);
    let report = verify(&path).unwrap();
    assert_eq!((report.records, report.first_sequence, report.last_sequence), (10, 1, 10));
}

#[test]
fn chain_goes_on_over_rotated_files_and_a_missing_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), 40, 1000);
    let report = verify(&path).unwrap();
    assert!(report.files > 4, "{report:?}");
    assert_eq!(report.records, 40);
    log_with(folder.path(), 1, 1000);
    assert_eq!(verify(&path).unwrap().records, 41);
    std::fs::remove_file(folder.path().join("gateway.000002.log")).unwrap();
    assert!(matches!(verify(&path), Err(VerifyError::Missing { missing: 2, .. })));
    std::fs::remove_file(folder.path().join("gateway.000001.log")).unwrap();
    assert!(verify(&path).unwrap().first_sequence > 1);
}

#[test]
fn rotation_right_before_a_crash_continues_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), 3, 1 << 20);
    std::fs::rename(&path, folder.path().join("gateway.000001.log")).unwrap();
    log_with(folder.path(), 2, 1 << 20);
    assert_eq!(verify(&path).unwrap().records, 5);
}

#[test]
fn line_cut_by_a_crash_is_repaired_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), 3, 1 << 20);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    assert!(verify(&path).unwrap().unfinished_bytes > 0);
    drop(Log::open(&path, Options::default()).unwrap());
    let report = verify(&path).unwrap();
    assert_eq!((report.records, report.unfinished_bytes), (3, 0));
    assert!(std::fs::read_to_string(&path).unwrap().contains("repaired"));
}

#[test]
fn second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.log");
    let _first = Log::open(&path, Options::default()).unwrap();
    assert!(matches!(Log::open(&path, Options::default()), Err(LogError::InUse { .. })));
}

#[tokio::test]
async fn durable_waits_for_many_records_together() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(&folder.path().join("gateway.log"), Options::default()).unwrap();
    let log = Arc::new(log);
    let mut waiting = tokio::task::JoinSet::new();
    for index in 0..50 {
        let log = Arc::clone(&log);
        waiting.spawn(async move {
            let position = log.append(OffsetDateTime::UNIX_EPOCH, &json!({ "index": index })).unwrap();
            log.durable(position).await
        });
    }
    while let Some(result) = waiting.join_next().await {
        result.unwrap().unwrap();
    }
}

#[test]
fn removed_and_swapped_lines_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_with(folder.path(), 4, 1 << 20);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(&path, [lines[0], lines[2], lines[3]].concat()).unwrap();
    assert!(verify(&path).is_err());
    std::fs::write(&path, [lines[0], lines[2], lines[1], lines[3]].concat()).unwrap();
    assert!(verify(&path).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_changed_byte_is_found(position in any::<prop::sample::Index>(), change in 1_u8..=255) {
        let folder = tempfile::tempdir().unwrap();
        let path = log_with(folder.path(), 3, 1 << 20);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        let at = position.index(last + 1);
        bytes[at] ^= change;
        std::fs::write(&path, &bytes).unwrap();
        let result = verify(&path);
        // The last line feed alone: the line is then an unfinished one, which the report names.
        let found = result.is_err() || result.is_ok_and(|report| at == last && report.unfinished_bytes > 0);
        prop_assert!(found, "byte {at}");
    }
}

#[test]
fn a_full_disk_refuses_and_an_emptied_one_goes_on_with_the_gap_in_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.log");
    let log = Log::open(&path, Options::default()).unwrap();
    let now = OffsetDateTime::now_utc();
    log.append(now, &"before").unwrap();
    let full = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let good = std::mem::replace(&mut log.shared.lock().file, full);
    assert!(log.failure().is_none());
    for _ in 0..3 {
        assert!(matches!(log.append(now, &"lost"), Err(LogError::Io { action: "written", .. })));
    }
    assert!(log.failure().is_some());
    log.shared.lock().file = good;
    assert!(log.failure().is_none(), "there is room again");
    log.append(now, &"after").unwrap();
    drop(log);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"event\":\"resumed\",\"refused-records\":3") && !text.contains("lost"), "{text}");
    assert_eq!(verify(&path).unwrap().records, 3);
}
