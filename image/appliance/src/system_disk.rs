//! The partition that the firmware reads: one file for each version of the system, of which systemd-boot starts the newest.
//! Its name carries how often it may still be tried (`schleuse_1.2.0+2-1.efi`: two more times, once done; the boot loader
//! counts), so a version that never becomes ready is left for the one before without anybody's doing. The file of the
//! running version is never written to. A power cut at any point leaves names that mean what was true before or after.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::problem::STATE;
use crate::version::Version;

const PARTITION: &str = "/dev/disk/by-partlabel/schleuse-system";
const FOLDER: &str = "EFI/Linux";
/// Set by the boot loader if the started file is still on trial.
const COUNTED: &str = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// How often a version is started before it must have become ready.
pub(crate) const TRIES: u32 = 3;
/// End of names of files that are not yet whole; the boot loader passes them over.
pub(crate) const UNFINISHED: &str = ".new";

/// Name of one version's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: Version,
    /// Without, the version has become ready once and is started for good.
    pub(crate) trial: Option<Trial>,
}

/// How often a version may still be tried, and how often it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) left: u32,
    pub(crate) done: u32,
}

impl Entry {
    pub(crate) const fn kept(version: Version) -> Self {
        Self { version, trial: None }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_prefix("schleuse_")?.strip_suffix(".efi")?;
        let Some((version, counts)) = stem.split_once('+') else {
            return Some(Self::kept(stem.parse().ok()?));
        };
        let (left, done) = counts.split_once('-').unwrap_or((counts, "0"));
        let trial = Trial { left: left.parse().ok()?, done: done.parse().ok()? };
        Some(Self { version: version.parse().ok()?, trial: Some(trial) })
    }

    /// Whether it was tried as often as it may, or was given up.
    pub(crate) fn is_bad(&self) -> bool {
        self.trial.is_some_and(|trial| trial.left == 0)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schleuse_{}", self.version)?;
        match self.trial {
            None => {}
            Some(Trial { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Trial { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".efi")
    }
}

/// The folder of the versions. Mounted while this value lives, or any folder in tests.
pub(crate) struct Versions {
    folder: PathBuf,
    mounted: Option<PathBuf>,
}

impl Versions {
    /// The partition that this machine was started from, to change it; `None` where firmware and boot loader had no part in
    /// it, as when a hypervisor starts the kernel itself.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        Self::mount(MountFlags::empty())
    }

    /// The same, only to look: nothing that goes wrong then can harm it.
    pub(crate) fn look() -> io::Result<Option<Self>> {
        Self::mount(MountFlags::RDONLY)
    }

    fn mount(access: MountFlags) -> io::Result<Option<Self>> {
        if !fs::exists("/sys/firmware/efi")? || !fs::exists(PARTITION)? {
            return Ok(None);
        }
        let mounted = Path::new(STATE).join("system-disk");
        fs::create_dir_all(&mounted)?;
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        mount(PARTITION, &mounted, "vfat", safe | access, Some(c"umask=0077"))?;
        Ok(Some(Self { folder: mounted.join(FOLDER), mounted: Some(mounted) }))
    }

    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), mounted: None }
    }

    /// Every version that is there, in any state. Files of other names are none of ours.
    pub(crate) fn all(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            found.extend(entry?.file_name().to_str().and_then(Entry::parse));
        }
        Ok(found)
    }

    /// Removes every version but one, and what was left unfinished.
    pub(crate) fn keep_only(&self, version: Version) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(UNFINISHED) || Entry::parse(name).is_some_and(|entry| entry.version != version) {
                fs::remove_file(entry.path())?;
            }
        }
        self.synchronize()
    }

    /// A file for a version that is not whole yet.
    pub(crate) fn unfinished(&self, version: Version) -> PathBuf {
        self.folder.join(format!("schleuse_{version}{UNFINISHED}"))
    }

    /// Makes a whole file a version that is tried.
    pub(crate) fn finish(&self, version: Version) -> io::Result<()> {
        let entry = Entry { version, trial: Some(Trial { left: TRIES, done: 0 }) };
        fs::rename(self.unfinished(version), self.folder.join(entry.to_string()))?;
        self.synchronize()
    }

    /// Ends the trial of a version: it is started for good, or never again.
    pub(crate) fn settle(&self, version: Version, good: bool) -> io::Result<()> {
        let tried = self.all()?.into_iter().find(|entry| entry.version == version);
        let Some(tried) = tried else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let Some(trial) = tried.trial else { return Ok(()) };
        let settled = if good {
            Entry::kept(version)
        } else {
            Entry { version, trial: Some(Trial { left: 0, done: trial.done.max(1) }) }
        };
        fs::rename(self.folder.join(tried.to_string()), self.folder.join(settled.to_string()))?;
        self.synchronize()
    }

    fn synchronize(&self) -> io::Result<()> {
        fs::File::open(&self.folder)?.sync_all()
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted
            && let Err(error) = unmount(mounted, UnmountFlags::empty())
        {
            eprintln!("{}: {error}", mounted.display());
        }
    }
}

/// Whether the running version is on trial.
pub(crate) fn is_trial() -> bool {
    fs::exists(COUNTED).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_version_and_trial() {
        for (name, left_and_done) in [
            ("schleuse_1.2.3.efi", None),
            ("schleuse_1.2.3+3.efi", Some((3, 0))),
            ("schleuse_1.2.3+2-1.efi", Some((2, 1))),
            ("schleuse_1.2.3+0-3.efi", Some((0, 3))),
        ] {
            let entry = Entry::parse(name).unwrap();
            assert_eq!(entry.trial.map(|trial| (trial.left, trial.done)), left_and_done);
            assert_eq!(entry.to_string(), name);
            assert_eq!(entry.is_bad(), left_and_done == Some((0, 3)));
        }
        for name in
            ["schleuse_1.2.3.new", "schleuse_1.2.efi", "other_1.2.3.efi", "schleuse_1.2.3+x.efi", "schleuse_1.2.3+.efi"]
        {
            assert_eq!(Entry::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_trial_ends_once_and_others_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::in_folder(folder.path());
        let (old, new) = ("1.0.0".parse().unwrap(), "1.1.0".parse().unwrap());
        for name in
            ["schleuse_1.0.0.efi", "schleuse_0.9.0.efi", "schleuse_1.0.5+0-3.efi", "schleuse_1.0.7.new", "theirs.efi"]
        {
            fs::write(folder.path().join(name), name).unwrap();
        }
        versions.keep_only(old).unwrap();
        fs::write(versions.unfinished(new), "new").unwrap();
        assert_eq!(versions.all().unwrap(), [Entry::kept(old)]);
        versions.finish(new).unwrap();
        assert!(folder.path().join("schleuse_1.1.0+3.efi").exists() && folder.path().join("theirs.efi").exists());
        // The boot loader counts.
        fs::rename(folder.path().join("schleuse_1.1.0+3.efi"), folder.path().join("schleuse_1.1.0+2-1.efi")).unwrap();
        versions.settle(new, false).unwrap();
        assert!(folder.path().join("schleuse_1.1.0+0-1.efi").exists());
        versions.settle(new, true).unwrap();
        assert!(folder.path().join("schleuse_1.1.0.efi").exists());
        versions.settle(new, false).unwrap();
        assert!(folder.path().join("schleuse_1.1.0.efi").exists(), "what is kept is kept");
        assert!(versions.settle("3.0.0".parse().unwrap(), true).is_err());
    }
}
