//! What keeps the node from starting, in plain words: one small file each below `/run`, so that whoever finds it and whoever
//! shows it are different programs. They are gone with the next boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::TEXT_BYTES;

/// State of this boot.
pub(crate) const STATE: &str = "/run/schleuse-appliance";

/// Where they are, below the state.
pub(crate) const FOLDER: &str = "problems";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is wrong, and what to do, one sentence a line.
    pub(crate) text: String,
}

fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// Records a problem, under the name of the part that found it. It is also said at once, for the journal.
pub(crate) fn report(name: &str, text: &str, remedy: &str) {
    let text = format!("{text}\nwhat to do: {remedy}");
    eprintln!("{text}");
    if let Err(error) = write(Path::new(STATE), name, &text) {
        eprintln!("this cannot be shown on the console: {error}");
    }
}

fn write(state: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder(state))?;
    fs::write(folder(state).join(name), shorten(text))
}

/// All problems of this boot, by name.
pub(crate) fn all(state: &Path) -> Vec<Problem> {
    let Ok(entries) = fs::read_dir(folder(state)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).map(|text| Problem { text }).collect()
}

/// Printable, and not longer than a screen.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let mut end = TEXT_BYTES.min(short.len());
    while !short.is_char_boundary(end) {
        end -= 1;
    }
    short.truncate(end);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_kept_printable_and_short() {
        let state = tempfile::tempdir().unwrap();
        write(state.path(), "disk", &format!("\u{1b}[2Jbad\n{}", "ä".repeat(TEXT_BYTES))).unwrap();
        write(state.path(), "configuration", "missing").unwrap();
        let found = all(state.path());
        assert_eq!(found[0].text, "missing");
        assert!(found[1].text.starts_with("[2Jbad\nä"), "{}", found[1].text);
        assert!(found[1].text.len() <= TEXT_BYTES);
        assert_eq!(all(Path::new("/nowhere")), []);
    }
}
