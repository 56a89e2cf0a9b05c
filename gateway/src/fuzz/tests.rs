use std::path::PathBuf;

use super::*;

fn corpus() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/request_head");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20);
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The same changes in every run: bytes replaced, put in, taken out, and pieces of other heads.
fn mutated(seed: &[u8], others: &[Vec<u8>], state: &mut u64) -> Vec<u8> {
    let mut next = |bound: usize| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from((*state >> 16) % bound.max(1) as u64).unwrap()
    };
    let mut data = seed.to_vec();
    for _ in 0..=next(4) {
        let at = next(data.len() + 1);
        match next(5) {
            0 if at < data.len() => data[at] = next(256) as u8,
            1 => data.insert(at, b"\r\n :,;\t\0_/\x80\x0b"[next(12)]),
            2 if at < data.len() => drop(data.remove(at)),
            3 => data.splice(at..at, *b"\r\nTransfer-Encoding: chunked\r\n").for_each(drop),
            _ => {
                let other = &others[next(others.len())];
                let from = next(other.len());
                let piece = other[from..(from + next(40)).min(other.len())].to_vec();
                data.splice(at..at, piece).for_each(drop);
            }
        }
    }
    data
}

/// `FUZZ_ROUNDS` sets how many mutations each file gets.
#[test]
fn corpus_of_request_heads_has_one_reading() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(500);
    let seeds = corpus();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for seed in &seeds {
        request_head(seed);
        for _ in 0..rounds {
            request_head(&mutated(seed, &seeds, &mut state));
        }
    }
}
