//! What the screen of the machine shows: who this is, whether it serves, what is wrong and what to do. It takes no input.
//! The text is written again when it changes, so that the last screenful is always the state.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::configuration;
use crate::ended;
use crate::firmware::verified;
use crate::limits::CONSOLE_PERIOD;
use crate::problem::{self, STATE, shorten};
use crate::readiness::{Readiness, readiness};
use crate::report;
use crate::version::Version;

/// Shows the state until the machine stops.
pub(crate) fn run() {
    let mut shown = String::new();
    let mut reported = false;
    let mut quiet = 0_u32;
    loop {
        let readiness = readiness();
        if readiness == Readiness::Ready {
            ended::forget(Path::new(STATE));
        }
        let text = screen(&readiness);
        // Whoever attaches a screen late, or saw it scroll away, gets the state again.
        quiet += 1;
        if text != shown || quiet >= 100 {
            show(&text);
            shown = text;
            quiet = 0;
        }
        let settled = readiness == Readiness::Ready || readiness == Readiness::Off;
        if settled && !reported && report::is_wanted() {
            show(&format!("schleuse-report: {}\n", report::report()));
            reported = true;
        }
        for (name, content) in take_for_console() {
            show(&format!("---- {name}\n{content}----\n"));
        }
        sleep();
    }
}

fn screen(readiness: &Readiness) -> String {
    let version =
        Version::running().map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), |version| version.to_string());
    let mut text = format!("\nSchleuse {version}\n");
    let saved = fs::read_to_string("/var/lib/schleuse-appliance/appliance.toml").ok();
    if let Some(configuration) = saved.and_then(|saved| configuration::parse(&saved).ok()) {
        let _ = writeln!(text, "  node         {} at {}", configuration.organization, configuration.base_url);
    }
    if let Some(thumbprint) = thumbprint() {
        let _ = writeln!(text, "  certificate  {thumbprint}");
    }
    let _ = writeln!(text, "  trust        {}", trust());
    match readiness {
        Readiness::Ready => text.push_str("  state        ready\n"),
        Readiness::NotReady(reasons) => {
            let _ = writeln!(text, "  state        NOT READY: {}", shorten(reasons).trim());
        }
        Readiness::Off => text.push_str("  state        NOT STARTED\n"),
    }
    for problem in problem::all(Path::new(STATE)) {
        let _ = writeln!(text, "  problem      {}", problem.text.trim_end().replace('\n', "\n               "));
    }
    text
}

/// By which partners know the node.
fn thumbprint() -> Option<String> {
    let bytes = fs::read("/var/lib/schleuse/certificates/client.pem").ok()?;
    let chain = certs::read_certificates(&bytes, "client.pem").ok()?;
    chain.first().map(|leaf| leaf.thumbprint().to_owned())
}

/// What vouches for the programs that run.
fn trust() -> &'static str {
    let tpm = fs::exists("/dev/tpmrm0").unwrap_or(false);
    match (verified(), tpm) {
        (true, true) => "the firmware verified the signature of the image (Secure Boot); TPM present",
        (true, false) => "the firmware verified the signature of the image (Secure Boot); no TPM",
        (false, true) => "nobody verified the image: Secure Boot is off; TPM present",
        (false, false) => "nobody verified the image: Secure Boot is off; no TPM",
    }
}

/// Files that wait to be shown once; they are removed.
fn take_for_console() -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(Path::new(STATE).join("for-console")) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if let Ok(content) = fs::read_to_string(entry.path())
            && fs::remove_file(entry.path()).is_ok()
        {
            found.push((entry.file_name().to_string_lossy().into_owned(), content));
        }
    }
    found
}

/// Writes to every console of the kernel: the screen, and the serial line where there is one.
pub(crate) fn show(text: &str) {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    for name in active.split_whitespace() {
        let written = fs::OpenOptions::new()
            .write(true)
            .open(format!("/dev/{name}"))
            .and_then(|mut console| console.write_all(text.as_bytes()));
        if let Err(error) = written {
            eprintln!("console {name}: {error}");
        }
    }
}

/// Until it is worth looking again.
pub(crate) fn sleep() {
    std::thread::sleep(CONSOLE_PERIOD);
}
