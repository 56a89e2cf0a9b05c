use super::*;
use crate::{Options, verify};

/// Signs by a number, which is enough to tell signatures apart.
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

#[derive(Serialize)]
struct Something {
    event: &'static str,
    number: u32,
}

fn fill(log: &Log, count: u32) {
    for number in 0..count {
        log.append(OffsetDateTime::UNIX_EPOCH, &Something { event: "permit", number }).unwrap();
    }
}

#[test]
fn a_chain_that_was_made_anew_has_no_checkpoint_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.log");
    let key = Key("good");
    let log = Log::open(&path, Options::default()).unwrap();
    assert_eq!(write(&log, "gateway", &key, OffsetDateTime::UNIX_EPOCH).unwrap(), None);
    fill(&log, 5);
    assert_eq!(write(&log, "gateway", &key, OffsetDateTime::UNIX_EPOCH).unwrap(), Some(Position(6)));
    assert_eq!(write(&log, "gateway", &key, OffsetDateTime::UNIX_EPOCH).unwrap(), None, "nothing has happened since");
    fill(&log, 3);
    write(&log, "gateway", &key, OffsetDateTime::UNIX_EPOCH).unwrap();
    drop(log);
    let (report, signed) = verify_signed(&path, "gateway", &key).unwrap();
    assert_eq!((report.records, signed.checkpoints, signed.signed_to), (10, 2, 9));
    // Another chain's checkpoints are not this one's, and unknown keys are told.
    let other = verify_signed(&path, "engine", &key).unwrap_err().to_string();
    assert!(other.contains("line 6") && other.contains("signature"), "{other}");
    let (_, unknown) = verify_signed(&path, "gateway", &Key("other")).unwrap();
    assert_eq!((unknown.checkpoints, unknown.unknown_certificates.get("good")), (0, Some(&2)));

    // Somebody leaves a record out and makes the chain anew around the old checkpoints.
    let forged = folder.path().join("forged.log");
    let log = Log::open(&forged, Options::default()).unwrap();
    fill(&log, 4);
    let text = std::fs::read_to_string(&path).unwrap();
    let old = read(text.lines().nth(5).unwrap().as_bytes()).unwrap();
    log.append(OffsetDateTime::UNIX_EPOCH, &old).unwrap();
    fill(&log, 4);
    drop(log);
    verify(&forged).unwrap();
    let found = verify_signed(&forged, "gateway", &key);
    assert!(found.is_err() || found.is_ok_and(|(_, signed)| signed.signed_to < 9), "a forged chain is fully signed");
}

#[test]
fn every_flipped_bit_of_a_log_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.log");
    let key = Key("good");
    let log = Log::open(&path, Options::default()).unwrap();
    fill(&log, 2);
    write(&log, "gateway", &key, OffsetDateTime::UNIX_EPOCH).unwrap();
    drop(log);
    let good = std::fs::read(&path).unwrap();
    for index in 0..good.len() {
        let line = 1 + good[..index].iter().filter(|byte| **byte == b'\n').count();
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        std::fs::write(&path, &bad).unwrap();
        match verify_signed(&path, "gateway", &key) {
            // The last line feed makes the last line an unfinished one.
            Ok((report, _)) => assert!(report.unfinished_bytes > 0, "byte {index}"),
            Err(error) => {
                let (this, next) = (format!("line {line}:"), format!("line {}:", line + 1));
                let text = error.to_string();
                assert!(text.contains(&this) || text.contains(&next), "byte {index} of line {line}: {text}");
            }
        }
    }
}
