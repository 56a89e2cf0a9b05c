//! Programs of the system that this one starts: with nothing of the environment, no input, a time limit, and their words kept
//! for the console.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::limits::{PROGRAM, TEXT_BYTES};
use crate::problem::shorten;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{0} cannot be started: {1}")]
    Start(&'static str, #[source] std::io::Error),
    #[error("{0} did not end within {seconds} seconds", seconds = PROGRAM.as_secs())]
    Time(&'static str),
    #[error("{0} failed: {1}")]
    Failed(&'static str, String),
}

/// Runs a program to its end and gives what it wrote to its standard output.
pub(crate) fn run(program: &'static str, arguments: &[&str]) -> Result<String, ProgramError> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/usr/sbin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| ProgramError::Start(program, error))?;
    let output = child.stdout.take().map(read);
    let errors = child.stderr.take().map(read);
    let status = wait(&mut child).ok_or(ProgramError::Time(program))?;
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (output, errors) = (text(output), text(errors));
    if status.success() {
        return Ok(output);
    }
    let words = if errors.trim().is_empty() { output } else { errors };
    Err(ProgramError::Failed(program, format!("{status}: {}", shorten(words.trim()))))
}

/// Reads what a program says, to its end, and keeps the beginning.
fn read(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = (&mut pipe).take(TEXT_BYTES as u64).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    })
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + PROGRAM;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_give_their_words_or_why_they_failed() {
        assert_eq!(run("/bin/echo", &["well"]).unwrap(), "well\n");
        let failed = run("/bin/sh", &["-c", "echo no >&2; exit 3"]).unwrap_err().to_string();
        assert!(failed.contains("no") && failed.contains('3'), "{failed}");
        assert!(run("/no/such/program", &[]).unwrap_err().to_string().contains("cannot be started"));
    }

    #[test]
    fn a_program_that_says_too_much_is_read_to_its_end() {
        let said = run("/bin/sh", &["-c", "head -c 1000000 /dev/zero | tr '\\0' x"]).unwrap();
        assert_eq!(said.len(), TEXT_BYTES);
    }
}
