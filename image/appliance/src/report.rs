//! What runs inside, for the acceptance checks: listeners, processes and their rights, writable mounts, state of the kernel.
//! One line of JSON on the console, only when the hypervisor asks for it with the credential `schleuse.report`. It tells
//! nothing that the image itself does not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The credential by which the hypervisor asks.
pub(crate) const REPORT_CREDENTIAL: &str = "schleuse.report";

/// Whether the hypervisor asks.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from)
        .is_some_and(|folder| fs::exists(folder.join(REPORT_CREDENTIAL)).unwrap_or(false))
}

pub(crate) fn report() -> Value {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    json!({
        "listeners": listeners(),
        "processes": processes(),
        "writable": writable(),
        "lockdown": line("/sys/kernel/security/lockdown"),
        "modules-disabled": line("/proc/sys/kernel/modules_disabled"),
        "tainted": line("/proc/sys/kernel/tainted"),
        "kernel": line("/proc/sys/kernel/osrelease"),
        "memory-used-kib": memory_used(),
        "memory": memory(),
        "uptime": line("/proc/uptime"),
    })
}

/// Sockets that take something in: listening TCP, all of UDP and raw IP.
fn listeners() -> Vec<String> {
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let table = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap_or_default();
        for row in table.lines().skip(1) {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let (Some(local), Some(state)) = (fields.get(1), fields.get(3)) else { continue };
            if protocol.starts_with("tcp") && *state != "0A" {
                continue;
            }
            let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            let loopback = local.starts_with("0100007F:") || local.starts_with("00000000000000000000000001000000:");
            let place = if loopback { "loopback" } else { "every interface" };
            found.push(format!("{protocol} {} {place}", port.unwrap_or_default()));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Programs outside the kernel, with what they may do.
fn processes() -> Vec<Value> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    // `self` and `thread-self` are this program once more.
    let numbered =
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    let mut found: Vec<(String, Value)> = numbered.filter_map(|entry| process(&entry.path())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, value)| value).collect()
}

fn process(folder: &Path) -> Option<(String, Value)> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    // Threads of the kernel have no memory of their own.
    let memory = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let name = field("Name").to_owned();
    let user = field("Uid").split_whitespace().nth(1).unwrap_or_default().to_owned();
    let command = fs::read(folder.join("cmdline")).unwrap_or_default();
    let value = json!({
        "name": name,
        "command": String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " "),
        "user": user,
        "capabilities": field("CapEff"),
        "no-new-privileges": field("NoNewPrivs"),
        "seccomp": field("Seccomp"),
        "memory": memory.split_whitespace().nth(1),
    });
    Some((format!("{name} {user}"), value))
}

/// Mounts of real storage or memory that can be written.
fn writable() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split_whitespace().collect();
        let [_, target, kind, options, ..] = fields.as_slice() else { continue };
        let is_storage = ["ext4", "vfat", "tmpfs", "ramfs", "erofs", "iso9660", "overlay"].contains(kind);
        if is_storage && options.split(',').any(|option| option == "rw") {
            found.push(format!("{target} {kind}"));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What the kernel says of memory, by its own names.
fn memory() -> Value {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kibibytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
            (kibibytes > 0).then(|| (name.to_owned(), Value::from(kibibytes)))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn memory_used() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(1)?.parse::<u64>().ok())
            .unwrap_or_default()
    };
    field("MemTotal").saturating_sub(field("MemAvailable"))
}
