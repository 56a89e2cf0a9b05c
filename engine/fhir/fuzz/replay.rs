//! Runs the fuzz targets on the corpus in `fuzz/corpus/<target>/` and on mutations of it. `FUZZ_ROUNDS` sets how many
//! mutations each file gets (default 200).

// The whole file is test code; what fails here shall panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No input of the corpus may cost more; the slowest takes a few milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn replay(target: &str, run: fn(&[u8])) {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let files = corpus(target);
    let contents: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for (file, bytes) in files.iter().zip(&contents) {
        let begin = Instant::now();
        run(bytes);
        assert!(begin.elapsed() < LONGEST, "{} took {:?}", file.display(), begin.elapsed());
        if bytes.len() > 1 << 16 {
            continue;
        }
        for _ in 0..rounds {
            run(&mutated(bytes, &contents, &mut random));
        }
    }
}

fn next(random: &mut u64, end: usize) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    usize::try_from(*random >> 33).unwrap() % end.max(1)
}

/// Changes, removes, repeats or splices a few bytes.
fn mutated(bytes: &[u8], others: &[Vec<u8>], random: &mut u64) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=next(random, 3) {
        let at = next(random, out.len());
        let end = (at + 1 + next(random, 12)).min(out.len());
        match next(random, 5) {
            0 if !out.is_empty() => out[at] = u8::try_from(next(random, 256)).unwrap(),
            1 => drop(out.drain(at..end)),
            2 => {
                let piece = out[at..end].to_vec();
                for byte in piece.repeat(1 + next(random, 4)) {
                    out.insert(at, byte);
                }
            }
            3 => {
                let special = b"<>&\"'{}[]:,\\/;=#x0?!-|%+ \n";
                out.insert(at, special[next(random, special.len())]);
            }
            _ => {
                let other = &others[next(random, others.len())];
                let from = next(random, other.len());
                let to = (from + next(random, 40)).min(other.len());
                for (offset, byte) in other[from..to].iter().enumerate() {
                    out.insert((at + offset).min(out.len()), *byte);
                }
            }
        }
    }
    out
}

#[test]
fn json_corpus() {
    replay("json", targets::json);
}

#[test]
fn xml_corpus() {
    replay("xml", targets::xml);
}

#[test]
fn search_corpus() {
    replay("search", targets::search);
}

#[test]
fn binary_corpus() {
    replay("binary", targets::binary);
    replay("json", targets::binary);
    replay("xml", targets::binary);
}

#[test]
fn every_hostile_case_is_refused_as_hostile() {
    let limits = fhir::Limits::default();
    let mut checked = 0;
    for (target, format) in [("json", fhir::Format::Json), ("xml", fhir::Format::Xml)] {
        for file in corpus(target) {
            if file.file_name().unwrap().to_str().unwrap().starts_with("hostile-") {
                let error = fhir::parse(format, &std::fs::read(&file).unwrap(), &limits).unwrap_err();
                assert!(error.is_hostile(), "{}: {error}", file.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 12, "{checked}");
}
