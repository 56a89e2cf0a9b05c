use std::path::Path;

/// Every file of the corpus as it is, and with one byte after the other changed.
#[test]
fn the_corpus_and_its_mutations_are_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        count += 1;
        super::file(&bytes);
        super::certificate(&bytes);
        let step = (bytes.len() / 200).max(1);
        for position in (0..bytes.len()).step_by(step) {
            for value in [0, 0x7f, 0x80, 0xff, b'-', b'\n'] {
                let mut mutated = bytes.clone();
                mutated[position] = value;
                super::file(&mutated);
                super::certificate(&mutated);
            }
        }
    }
    assert!(count >= 15, "the corpus has {count} files");
}
