use std::path::PathBuf;

use super::*;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Small deterministic mutations: the same inputs in every run, on every machine.
fn mutate(seed: &[u8], round: u64) -> Vec<u8> {
    let mut state = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.len() as u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound.max(1) as u64).unwrap()
    };
    let mut data = seed.to_vec();
    for _ in 0..=next(4) {
        let position = next(data.len());
        match next(4) {
            0 if !data.is_empty() => data[position] = next(256) as u8,
            1 => data.insert(position, b"%/.?&=$\\;\0+ "[next(12)]),
            2 if !data.is_empty() => drop(data.remove(position)),
            _ => data.extend_from_within(position..),
        }
    }
    data
}

#[test]
fn corpus_of_request_targets_makes_nothing_panic() {
    for seed in corpus("request_target") {
        request_target(&seed);
        for round in 0..400 {
            request_target(&mutate(&seed, round));
        }
    }
}

#[test]
fn corpus_of_policy_files_makes_nothing_panic() {
    let shipped = crate::default_files().iter().map(|(_, text)| text.as_bytes().to_vec());
    for seed in corpus("policy_file").into_iter().chain(shipped) {
        policy_file(&seed);
        for round in 0..40 {
            policy_file(&mutate(&seed, round));
        }
    }
}

#[test]
fn corpus_of_allow_list_bundles_makes_nothing_panic() {
    let list = crate::world::allow_list();
    let mut applied = 0;
    for seed in corpus("allow_list_bundle") {
        for round in 0..60 {
            // The first round is the seed itself.
            let data = if round == 0 { seed.clone() } else { mutate(&seed, round) };
            let Ok(bundle) = fhir::parse(fhir::Format::Json, &data, &fhir::Limits::default()) else { continue };
            let Ok(next) = crate::change::apply(&list, &bundle) else { continue };
            let own = |list: &crate::AllowList| list.organization(list.local()).map(|own| own.thumbprints.clone());
            assert_eq!(own(&list), own(&next), "a list from elsewhere changes the own organisation");
            let _ = crate::change::difference(&list, &next);
            applied += 1;
        }
    }
    assert!(applied > 0, "nothing of the corpus can be applied");
}
