//! Where configuration comes from: a small disk with the label SCHLEUSE (FAT or ISO 9660), which every hypervisor can attach,
//! or credentials that the hypervisor hands to systemd. The disk is read at every boot at which it is there; of both, the
//! disk counts.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::bundle::{Bundle, BundleError, OUTPUT, path_of_credential};
use crate::limits::{FILE_BYTES, FILES};
use crate::problem::STATE;
use crate::report::REPORT_CREDENTIAL;
use crate::update;

/// Label of the file system with the configuration.
const DEVICE: &str = "/dev/disk/by-label/SCHLEUSE";
/// What computers leave on disks of their own accord.
const PASSED_OVER: [&str; 1] = ["System Volume Information"];
/// Folders that are no part of the configuration.
const OTHERS: [&str; 2] = [OUTPUT, update::FOLDER];

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("the configuration disk cannot be mounted: {0}")]
    Mount(#[source] io::Error),
    #[error("{path} of the configuration cannot be read: {source}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} of the configuration is longer than {FILE_BYTES} bytes")]
    TooLong(String),
    #[error("{0}")]
    Bundle(#[from] BundleError),
}

/// The configuration disk while it is mounted; it is unmounted when this value goes.
pub(crate) struct ConfigurationDisk {
    folder: PathBuf,
    writable: bool,
}

impl ConfigurationDisk {
    /// The disk, if one is attached.
    pub(crate) fn open() -> Result<Option<Self>, SourceError> {
        if !fs::exists(DEVICE).unwrap_or(false) {
            return Ok(None);
        }
        let folder = Path::new(STATE).join("configuration");
        fs::create_dir_all(&folder).map_err(SourceError::Mount)?;
        let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        if mount(DEVICE, &folder, "vfat", safe, Some(c"umask=0077")).is_ok() {
            return Ok(Some(Self { folder, writable: true }));
        }
        for kind in ["vfat", "iso9660"] {
            if mount(DEVICE, &folder, kind, safe | MountFlags::RDONLY, None).is_ok() {
                return Ok(Some(Self { folder, writable: false }));
            }
        }
        Err(SourceError::Mount(io::Error::other("it holds neither FAT nor ISO 9660")))
    }

    pub(crate) fn read(&self) -> Result<Bundle, SourceError> {
        from_folder(&self.folder)
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a file on the disk for the administrator; `false` if it can only be read.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        if !self.writable {
            return Ok(false);
        }
        let folder = self.folder.join(OUTPUT);
        fs::create_dir_all(&folder)?;
        let mut file =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(folder.join(name))?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(true)
    }
}

impl Drop for ConfigurationDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.folder, UnmountFlags::empty());
    }
}

/// Reads a folder with the layout of the configuration disk.
pub(crate) fn from_folder(root: &Path) -> Result<Bundle, SourceError> {
    let mut bundle = Bundle::default();
    for name in names(root, "")? {
        let path = root.join(&name);
        if path.is_dir() {
            for inner in names(&path, &name)? {
                let relative = format!("{name}/{inner}");
                let content = read(&path.join(&inner), &relative)?;
                bundle.add(&relative, content)?;
            }
        } else {
            let content = read(&path, &name)?;
            bundle.add(&name, content)?;
        }
    }
    Ok(bundle)
}

fn names(folder: &Path, shown: &str) -> Result<Vec<String>, SourceError> {
    let fail = |source| SourceError::Read { path: shown.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.')
            || PASSED_OVER.contains(&name.as_str())
            || (shown.is_empty() && OTHERS.contains(&name.as_str()))
        {
            continue;
        }
        if names.len() >= FILES {
            return Err(BundleError::TooMany.into());
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path, shown: &str) -> Result<Vec<u8>, SourceError> {
    let fail = |source| SourceError::Read { path: shown.to_owned(), source };
    let file = fs::File::open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(BundleError::Unknown(shown.to_owned()).into());
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(fail)?;
    if content.len() as u64 > FILE_BYTES {
        return Err(SourceError::TooLong(shown.to_owned()));
    }
    Ok(content)
}

/// Credentials of the hypervisor that the unit imports; none is an empty bundle.
pub(crate) fn from_credentials() -> Result<Bundle, SourceError> {
    let mut bundle = Bundle::default();
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) else { return Ok(bundle) };
    for name in names(&folder, "credentials")? {
        // Asks the console for something; it is no part of the configuration.
        if name == REPORT_CREDENTIAL {
            continue;
        }
        if let Some(path) = path_of_credential(&name) {
            bundle.add(&path, read(&folder.join(&name), &name)?)?;
        }
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_whole_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &[u8]| {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), content).unwrap();
        };
        put("appliance.toml", b"a");
        put("trust/client-authorities.pem", b"b");
        put("System Volume Information/x", b"");
        put(".hidden", b"");
        put("from-appliance/server.csr", b"");
        put("update/system.efi", &vec![0; FILE_BYTES as usize + 1]);
        let bundle = from_folder(root.path()).unwrap();
        assert_eq!(bundle.files.keys().collect::<Vec<_>>(), ["appliance.toml", "trust/client-authorities.pem"]);
        put("polices/strict.toml", b"");
        assert!(from_folder(root.path()).unwrap_err().to_string().contains("polices/strict.toml"));
        fs::remove_dir_all(root.path().join("polices")).unwrap();
        put("trust/big.pem", &vec![0; FILE_BYTES as usize + 1]);
        assert!(matches!(from_folder(root.path()), Err(SourceError::TooLong(_))));
    }
}
