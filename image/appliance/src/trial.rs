//! The trial of an updated system: a unit of its own that runs only while the boot loader counts. If the node becomes ready
//! and stays so for a while, the version is kept for good; if not, it is given up and the machine starts the version before.
//! A version that does not even come so far is left by the boot loader after its tries.

use std::time::Instant;

use crate::console::{show, sleep};
use crate::limits::{TRIAL_OFF, TRIAL_READY, TRIAL_TIME};
use crate::readiness::{Readiness, readiness};
use crate::restart::restart;
use crate::system_disk::{Versions, is_trial};
use crate::update;
use crate::version::Version;

pub(crate) fn run() {
    let Some(running) = Version::running() else { return };
    if !is_trial() {
        note(running);
        return;
    }
    let good = becomes_ready();
    match settle(running, good) {
        Ok(()) if good => {
            note(running);
            show(&format!("\nVersion {running} is ready and is kept.\n"));
        }
        Ok(()) => {
            show(&format!("\nVersion {running} did not become ready. The machine starts the version before it.\n"));
            restart();
        }
        Err(error) => {
            show(&format!("\nThe system disk cannot be used, so version {running} stays on trial: {error}\n"));
            if !good {
                // The boot loader counts on.
                restart();
            }
        }
    }
}

/// Waits until the node is ready and stays so, or it is plain that it will not be.
fn becomes_ready() -> bool {
    let start = Instant::now();
    let mut since = (Readiness::Off, start);
    while start.elapsed() < TRIAL_TIME {
        let now = readiness();
        if std::mem::discriminant(&now) != std::mem::discriminant(&since.0) {
            since = (now, Instant::now());
        }
        match since.0 {
            Readiness::Ready if since.1.elapsed() >= TRIAL_READY => return true,
            Readiness::Off if since.1.elapsed() >= TRIAL_OFF => return false,
            _ => sleep(),
        }
    }
    false
}

fn settle(running: Version, good: bool) -> std::io::Result<()> {
    match Versions::open()? {
        Some(versions) => versions.settle(running, good),
        None => Err(std::io::Error::other("it is not there")),
    }
}

/// A version that became ready is the oldest that may run from now on.
fn note(running: Version) {
    if let Err(error) = update::raise_floor(running) {
        eprintln!("{error}");
    }
}
