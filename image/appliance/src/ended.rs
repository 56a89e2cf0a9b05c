//! A program of the node has ended when it should not. Its last words go to the console, because nobody can log in and
//! look. The service manager starts this for the unit that failed; the problem goes away once the node serves again.

use std::fs;
use std::path::Path;

use crate::limits::LAST_WORDS;
use crate::problem;
use crate::program;

/// Begin of the names of these problems.
const PROBLEM: &str = "4-ended-";

/// Units of the node.
const UNITS: &[&str] = &["schleuse-gateway", "schleuse-engine", "schleuse-refresh", "schleuse-firewall"];

/// Reports the end of a unit. `result` and `status` are what the service manager says of it.
pub(crate) fn run(unit: &str, result: Option<&str>, status: Option<&str>) {
    let Some(unit) = UNITS.iter().find(|known| **known == unit) else {
        eprintln!("{unit:?} is no unit of the node");
        return;
    };
    let lines = format!("--lines={LAST_WORDS}");
    let name = format!("--unit={unit}.service");
    let words = program::run(
        "/usr/bin/journalctl",
        &["--quiet", "--no-pager", "--boot", "--output=cat", "--output-fields=MESSAGE", &lines, &name],
    );
    let words = words.unwrap_or_else(|error| error.to_string());
    let (text, remedy) = describe(unit, result.unwrap_or("unknown"), status.unwrap_or("unknown"), &words);
    problem::report(&format!("{PROBLEM}{unit}"), &text, remedy);
}

fn describe(unit: &str, result: &str, status: &str, words: &str) -> (String, &'static str) {
    let mut text = format!("{unit} has ended ({result}, {status}). Its last words:");
    for line in words.lines() {
        text.push_str("\n  ");
        text.push_str(line);
    }
    let remedy = if status == "78" {
        "correct what it names on the configuration disk and start the machine again"
    } else {
        "it is started again; if this stays, keep these words and restore a backup or go back to the version before"
    };
    (text, remedy)
}

/// Forgets what a node that serves again has survived.
pub(crate) fn forget(state: &Path) {
    for unit in UNITS {
        let path = state.join(problem::FOLDER).join(format!("{PROBLEM}{unit}"));
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_and_a_remedy_are_told() {
        let (text, remedy) = describe("schleuse-engine", "exit-code", "78", "schleuse-engine: one\n  because: two\n");
        assert_eq!(
            text,
            "schleuse-engine has ended (exit-code, 78). Its last words:\n  schleuse-engine: one\n    because: two"
        );
        assert!(remedy.contains("configuration disk"));
        let (_, remedy) = describe("schleuse-engine", "signal", "KILL", "");
        assert!(remedy.contains("started again"));
    }

    #[test]
    fn only_what_this_reported_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let problems = state.path().join(problem::FOLDER);
        fs::create_dir_all(&problems).unwrap();
        for name in ["1-disk", "4-ended-schleuse-engine", "4-ended-schleuse-gateway"] {
            fs::write(problems.join(name), name).unwrap();
        }
        forget(state.path());
        let left = problem::all(state.path());
        assert_eq!(left.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>(), ["1-disk"]);
        forget(Path::new("/nowhere"));
    }
}
