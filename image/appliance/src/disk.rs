//! The data disk: found by the name of its partition, or made at the first boot on the one disk that is blank. It is
//! encrypted always: with a key that the machine's TPM keeps, or with one that the configuration brings. A disk that cannot be opened is never written to; the node then does not start.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use crate::bundle::DISK_KEY;
use crate::firmware::verified;
use crate::limits::{BLANK_BYTES, DATA_DISK_BYTES, DEVICES, HEADER_BYTES};
use crate::problem::{self, STATE};
use crate::program::{self, ProgramError};
use crate::source::{self, ConfigurationDisk, SourceError};

const PARTITION: &str = "/dev/disk/by-partlabel/schleuse-data";
const NAME: &str = "schleuse-data";
/// By which key measurements of the running system are signed; the boot stub brings it along.
const SIGNED_BY: &str = "/run/systemd/tpm2-pcr-public-key.pem";
/// How the header of a disk names a key that a TPM keeps, and the recovery key that comes with one.
const TOKENS: [&[u8]; 2] = [b"\"systemd-tpm2\"", b"\"systemd-recovery\""];
const MAPPED: &str = "/dev/mapper/schleuse-data";
/// Where the recovery key of a new disk waits for `provision`.
pub(crate) const RECOVERY_KEY: &str = "/run/schleuse-appliance/recovery-key";
/// Says that `/var` is the data disk.
pub(crate) const OPENED: &str = "/run/schleuse-appliance/data-disk";

/// Why there is no data disk.
#[derive(Debug, thiserror::Error)]
enum DiskError {
    #[error("this machine has no data disk: no disk is blank, and none was made by an appliance")]
    None,
    #[error("this machine has several blank disks ({0}), and no data disk yet")]
    Several(String),
    #[error("the blank disk {0} is smaller than {mebibytes} MiB", mebibytes = DATA_DISK_BYTES >> 20)]
    Small(String),
    #[error("the data disk needs a key: this machine has no TPM, and the configuration brings no file {DISK_KEY}")]
    NoKey,
    #[error("the data disk was not opened: {0}")]
    Open(#[source] ProgramError),
    #[error("a new data disk could not be made: {0}")]
    Make(#[source] ProgramError),
    #[error("the data disk is open, but its file system cannot be used: {0}")]
    FileSystem(#[source] io::Error),
    #[error("the disks of this machine cannot be looked at: {0}")]
    Look(#[source] io::Error),
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("the key of the data disk cannot be handed on: {0}")]
    Key(#[source] io::Error),
}

impl DiskError {
    fn remedy(&self) -> &'static str {
        match self {
            Self::None => "attach an empty disk of at least 8 GiB to this virtual machine and start it again",
            Self::Several(_) => "leave exactly one empty disk attached and start the machine again",
            Self::Small(_) => "make the disk larger (8 GiB or more) and start the machine again",
            Self::NoKey => {
                "add a virtual TPM 2.0 to this machine, or put a file disk-key with a long random text on the configuration disk"
            }
            Self::Open(_) => {
                "give the machine the TPM with which the disk was made, or put the recovery key into a file disk-key on the configuration disk; nothing on the disk was changed"
            }
            Self::Make(_) => "attach another empty disk, look at the TPM of this machine, and start it again",
            Self::FileSystem(_) => {
                "restore the disk from a backup of the machine, or attach an empty one and run schleuse restore"
            }
            Self::Look(_) => "look at the disks of this virtual machine and start it again",
            Self::Source(_) => "correct the configuration disk and start the machine again",
            Self::Key(_) => "give the machine more memory and start it again",
        }
    }
}

/// Opens the data disk; without one `/var` is empty memory, so that the console can say why.
pub(crate) fn run() {
    let found = fs::create_dir_all(STATE).map_err(DiskError::Key).and_then(|()| open());
    match found {
        Ok(()) => {
            if let Err(error) = fs::write(OPENED, "") {
                eprintln!("{OPENED}: {error}");
            }
        }
        Err(error) => {
            problem::report("1-disk", &error.to_string(), error.remedy());
            if let Err(error) = mount("var", "/var", "tmpfs", safe(), Some(c"mode=0755,size=16m")) {
                eprintln!("/var: {error}");
            }
        }
    }
}

const fn safe() -> MountFlags {
    MountFlags::NODEV.union(MountFlags::NOSUID).union(MountFlags::NOEXEC)
}

fn open() -> Result<(), DiskError> {
    settle();
    let key = key()?;
    let tpm = fs::exists("/dev/tpmrm0").unwrap_or(false);
    if !tpm && key.is_none() {
        return Err(DiskError::NoKey);
    }
    if !fs::exists(PARTITION).unwrap_or(false) {
        make(&blank_disk()?, key)?;
        settle();
        attach(key)?;
        if key.is_none() {
            recovery_key()?;
        }
    } else if tpm && key.is_some() && is_bound(Path::new(PARTITION)).map_err(DiskError::Look)? {
        // The TPM first: the recovery key may only have been left on the configuration disk.
        if attach(None).is_err() {
            attach(key)?;
            rebind(key);
        }
    } else {
        attach(key)?;
    }
    // Journals are replayed by the kernel; what is left is repaired as far as that needs no decision.
    if let Err(error) = program::run("/usr/sbin/fsck.ext4", &["-p", MAPPED]) {
        eprintln!("{error}");
    }
    mount(MAPPED, "/var", "ext4", safe(), None).map_err(|error| DiskError::FileSystem(error.into()))
}

fn settle() {
    let timeout = format!("--timeout={}", DEVICES.as_secs());
    if let Err(error) = program::run("/usr/bin/udevadm", &["settle", &timeout]) {
        eprintln!("{error}");
    }
}

/// The key that the configuration brings, as a file in memory.
fn key() -> Result<Option<&'static str>, DiskError> {
    const FILE: &str = "/run/schleuse-appliance/disk-key";
    let disk = ConfigurationDisk::open()?;
    let bundle = match &disk {
        Some(disk) => disk.read()?,
        None => source::from_credentials()?,
    };
    let Some(key) = bundle.get(DISK_KEY) else { return Ok(None) };
    let key = key.trim_ascii_end();
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(FILE)
        .and_then(|file| file.write_all_at(key, 0))
        .map_err(DiskError::Key)?;
    Ok(Some(FILE))
}

fn make(disk: &str, key: Option<&str>) -> Result<(), DiskError> {
    let mut arguments = vec!["--dry-run=no", "--empty=require", "--seed=random", "--discard=no"];
    let key_file;
    match key {
        Some(file) => {
            key_file = format!("--key-file={file}");
            arguments.extend(["--definitions=/usr/lib/schleuse/data-disk/key", &key_file]);
        }
        None => {
            arguments.push("--definitions=/usr/lib/schleuse/data-disk/tpm");
            arguments.extend(binding());
        }
    }
    arguments.push(disk);
    program::run("/usr/bin/systemd-repart", &arguments).map(drop).map_err(DiskError::Make)
}

fn attach(key: Option<&str>) -> Result<(), DiskError> {
    let options = match key {
        Some(_) => "headless=1,discard,no-read-workqueue,no-write-workqueue",
        None => "headless=1,discard,no-read-workqueue,no-write-workqueue,tpm2-device=auto",
    };
    program::run("/usr/lib/systemd/systemd-cryptsetup", &["attach", NAME, PARTITION, key.unwrap_or("-"), options])
        .map(drop)
        .map_err(DiskError::Open)
}

/// To what the TPM gives the key: to systems whose measurement our builder has signed (PCR 11), which a later version of the
/// appliance is too; and where the firmware verifies what it starts, only under the same keys of the firmware (PCR 7), because
/// otherwise another program could pretend to be measured so.
fn binding() -> Vec<&'static str> {
    let mut arguments = vec!["--tpm2-device=auto"];
    arguments.push(if verified() { "--tpm2-pcrs=7" } else { "--tpm2-pcrs=" });
    if fs::exists(SIGNED_BY).unwrap_or(false) {
        arguments.extend(["--tpm2-public-key=/run/systemd/tpm2-pcr-public-key.pem", "--tpm2-public-key-pcrs=11"]);
    }
    arguments
}

/// Whether the disk was made with a TPM: its header names the token, or that of the recovery key.
fn is_bound(partition: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    fs::File::open(partition)?.take(HEADER_BYTES).read_to_end(&mut header)?;
    Ok(TOKENS.iter().any(|token| header.windows(token.len()).any(|window| window == *token)))
}

/// Binds a disk that only its recovery key opened to the TPM of this machine, and to no other any more.
fn rebind(key: Option<&str>) {
    // First of all: what is to be bound in the same way as before counts as bound already. After a power cut in between the
    // recovery key is asked for once more.
    if let Err(error) = program::run("/usr/bin/systemd-cryptenroll", &["--wipe-slot=tpm2", PARTITION]) {
        eprintln!("{error}");
    }
    let unlock = format!("--unlock-key-file={}", key.unwrap_or_default());
    let mut arguments = vec![unlock.as_str()];
    arguments.extend(binding());
    arguments.push(PARTITION);
    match program::run("/usr/bin/systemd-cryptenroll", &arguments) {
        Ok(_) => eprintln!("the recovery key opened the data disk; it is now bound to the TPM of this machine"),
        Err(error) => problem::report(
            "1-disk",
            &format!("the data disk is open, but could not be bound to the TPM of this machine: {error}"),
            "leave the recovery key in disk-key on the configuration disk until this is gone",
        ),
    }
}

/// A second key of a new disk for the day on which the TPM is gone. It is shown once and kept nowhere.
fn recovery_key() -> Result<(), DiskError> {
    let key = program::run("/usr/bin/systemd-cryptenroll", &["--unlock-tpm2-device=auto", "--recovery-key", PARTITION])
        .map_err(DiskError::Make)?;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(RECOVERY_KEY)
        .and_then(|file| file.write_all_at(key.trim().as_bytes(), 0))
        .map_err(DiskError::Key)
}

/// The one disk on which nothing is.
fn blank_disk() -> Result<String, DiskError> {
    let mut blank = Vec::new();
    for entry in fs::read_dir("/sys/block").map_err(DiskError::Look)? {
        let name = entry.map_err(DiskError::Look)?.file_name().to_string_lossy().into_owned();
        let is_disk = ["vd", "sd", "nvme", "xvd"].iter().any(|kind| name.starts_with(kind));
        if is_disk && is_blank(Path::new(&format!("/dev/{name}"))).map_err(DiskError::Look)? {
            blank.push(format!("/dev/{name}"));
        }
    }
    blank.sort();
    match blank.as_slice() {
        [] => Err(DiskError::None),
        [disk] => {
            let size =
                fs::File::open(disk).and_then(|mut file| file.seek(SeekFrom::End(0))).map_err(DiskError::Look)?;
            if size < DATA_DISK_BYTES { Err(DiskError::Small(disk.clone())) } else { Ok(disk.clone()) }
        }
        several => Err(DiskError::Several(several.join(", "))),
    }
}

/// Whether the beginning and the end of a disk are zero.
fn is_blank(path: &Path) -> io::Result<bool> {
    let mut file = fs::File::open(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    if size == 0 {
        return Ok(false);
    }
    for start in [0, size.saturating_sub(BLANK_BYTES)] {
        file.seek(SeekFrom::Start(start))?;
        let mut part = Vec::new();
        (&mut file).take(BLANK_BYTES).read_to_end(&mut part)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disk_of_zeros_is_blank() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let size = 3 * BLANK_BYTES as usize;
        for (at, blank) in [(None, true), (Some(0), false), (Some(511), false), (Some(size - 1), false)] {
            let mut content = vec![0; size];
            if let Some(at) = at {
                content[at] = 1;
            }
            fs::write(&path, content).unwrap();
            assert_eq!(is_blank(&path).unwrap(), blank, "{at:?}");
        }
        fs::write(&path, "").unwrap();
        assert!(!is_blank(&path).unwrap());
    }

    #[test]
    fn a_disk_of_a_tpm_is_known_by_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        for (content, bound) in [
            (r#"{"tokens":{"0":{"type":"systemd-tpm2"}}}"#, true),
            (r#"{"tokens":{"0":{"type":"systemd-recovery"}}}"#, true),
            (r#"{"tokens":{}}"#, false),
            ("", false),
        ] {
            let mut header = vec![0; 4096];
            header.extend_from_slice(content.as_bytes());
            fs::write(&path, header).unwrap();
            assert_eq!(is_bound(&path).unwrap(), bound, "{content}");
        }
        assert!(is_bound(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn every_problem_says_what_to_do() {
        for error in
            [DiskError::None, DiskError::Several("a".to_owned()), DiskError::Small("a".to_owned()), DiskError::NoKey]
        {
            assert!(error.remedy().contains("disk"), "{error}");
        }
    }
}
