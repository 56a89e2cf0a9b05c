//! The machine: clock, disk, name resolution, TPM.

use std::path::Path;
use std::time::Duration;

use super::{Seen, Verdict};
use crate::local::Local;

/// Below this much free space a node is near the end: the store refuses content, the audit log refuses requests.
const LEAST_FREE_BYTES: u64 = 1 << 30;
/// Below this much it stops.
const NO_FREE_BYTES: u64 = 128 << 20;
/// Time for a name.
const NAME_TIME: Duration = Duration::from_secs(5);
/// What time services leave where they run, and whether it says that the clock is right.
const TIME_SERVICES: [(&str, bool); 4] = [
    ("/run/systemd/timesync/synchronized", true),
    ("/run/chrony/chronyd.pid", false),
    ("/run/chronyd.pid", false),
    ("/run/ntpd.pid", false),
];

/// Certificates, time windows and audit records need a clock that is right.
pub(super) fn clock() -> Vec<Seen> {
    let found = TIME_SERVICES.iter().find(|(path, _)| Path::new(path).try_exists().unwrap_or(false));
    let now = time::OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let seen = match found {
        Some((_, true)) => Seen::good("clock", format!("{now}, synchronised")),
        Some((path, false)) => Seen::other(
            "clock",
            Verdict::Unknown,
            format!("{now}; a time service runs ({path}), which does not say whether the clock is right"),
            "ask it: chronyc tracking, or ntpq -p",
        ),
        None => Seen::other(
            "clock",
            Verdict::Warning,
            format!("{now}; no time service was found, so nobody corrects the clock"),
            "enable systemd-timesyncd or chrony, or make sure that the hypervisor sets the clock",
        ),
    };
    vec![seen]
}

/// Space for data and audit log.
pub(super) fn disk(directory: &Path) -> Vec<Seen> {
    let mut devices = Vec::new();
    let mut all = Vec::new();
    for name in ["data", "audit"] {
        let path = directory.join(name);
        let Ok(found) = rustix::fs::statvfs(&path) else {
            let remedy = "create the node, or run the command as a user who may look there";
            all.push(Seen::other("disk", Verdict::Unknown, format!("{} cannot be looked at", path.display()), remedy));
            continue;
        };
        // Two folders of one file system are told once.
        if devices.contains(&found.f_fsid) {
            continue;
        }
        devices.push(found.f_fsid);
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let text = format!("{} has {} MiB free", path.display(), free >> 20);
        let remedy = "enlarge the disk, or move old audit files away";
        all.push(if free < NO_FREE_BYTES {
            Seen::other("disk", Verdict::Problem, text, remedy)
        } else if free < LEAST_FREE_BYTES || (found.f_files > 0 && found.f_favail < 1000) {
            Seen::other("disk", Verdict::Warning, format!("{text}, {} files more", found.f_favail), remedy)
        } else {
            Seen::good("disk", text)
        });
    }
    all
}

/// Only an encrypted disk that opens by itself needs one.
pub(super) fn tpm() -> Vec<Seen> {
    let is_there = ["/dev/tpmrm0", "/dev/tpm0"].iter().any(|path| Path::new(path).try_exists().unwrap_or(false));
    vec![if is_there {
        Seen::good("tpm", "a TPM is there")
    } else {
        Seen::other(
            "tpm",
            Verdict::Unknown,
            "no TPM is there; a node works without one, only the disk cannot be bound to this machine",
            "give the virtual machine a TPM 2.0 if its disk is to be encrypted without a passphrase",
        )
    }]
}

/// The own name; those of partners are looked up when they are asked.
pub(super) async fn names(local: &Local) -> Vec<Seen> {
    let address = &local.settings.base_url;
    let lookup = tokio::time::timeout(NAME_TIME, tokio::net::lookup_host((address.host(), address.port()))).await;
    let host = address.host();
    let remedy = "see /etc/resolv.conf and the firewall; partners need the name too, this machine only for itself";
    vec![match lookup {
        Ok(Ok(found)) => {
            let mut found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            found.dedup();
            Seen::good("names", format!("{host} is {}", found.join(", ")))
        }
        Ok(Err(error)) => {
            Seen::other("names", Verdict::Warning, format!("{host} cannot be resolved here: {error}"), remedy)
        }
        Err(_) => Seen::other("names", Verdict::Warning, format!("{host}: no answer from the name servers"), remedy),
    }]
}
