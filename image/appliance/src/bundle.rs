//! The files that an administrator hands to an appliance, wherever they come from. Names are a closed list: a file that
//! nothing would read is reported, because its author believes that it is in force.

use std::collections::BTreeMap;

use crate::configuration::APPLIANCE_TOML;
use crate::limits::FILES;

/// Own certificates and keys, where `node.toml` names them.
pub(crate) const PAIRS: [&str; 2] = ["server", "client"];
/// Key of the data disk on machines without a TPM.
pub(crate) const DISK_KEY: &str = "disk-key";
/// Where the appliance puts what the administrator takes out.
pub(crate) const OUTPUT: &str = "from-appliance";
/// Folders with files of free names, and how those end.
const FOLDERS: [(&str, &[&str]); 2] = [("trust", &[".pem"]), ("policies", &[".toml"])];

/// Files by their path on the configuration disk, such as `certificates/server.pem`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// Why a set of files is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("the configuration holds {0}, which nothing reads")]
    Unknown(String),
    #[error("the configuration holds more than {FILES} files")]
    TooMany,
}

impl Bundle {
    /// Takes a file in; refuses names that mean nothing.
    pub(crate) fn add(&mut self, path: &str, content: Vec<u8>) -> Result<(), BundleError> {
        if !is_known(path) {
            return Err(BundleError::Unknown(path.to_owned()));
        }
        if self.files.len() >= FILES {
            return Err(BundleError::TooMany);
        }
        self.files.insert(path.to_owned(), content);
        Ok(())
    }

    pub(crate) fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The files of a folder by their names in it.
    pub(crate) fn folder<'b>(&'b self, folder: &'b str) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.files.iter().filter_map(move |(path, content)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((name, content.as_slice()))
        })
    }
}

/// Whether a path has a meaning.
pub(crate) fn is_known(path: &str) -> bool {
    if [APPLIANCE_TOML, "node.toml", DISK_KEY].contains(&path) {
        return true;
    }
    let Some((folder, name)) = path.split_once('/') else { return false };
    if folder == "certificates" {
        return PAIRS.iter().any(|pair| [".pem", ".key"].iter().any(|end| name.strip_suffix(end) == Some(pair)));
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain
        && name.len() <= 100
        && !name.starts_with('.')
        && FOLDERS.iter().any(|(known, ends)| folder == *known && ends.iter().any(|end| name.ends_with(end)))
}

/// The path that a credential of the service manager stands for: `schleuse.certificates.server.pem` is
/// `certificates/server.pem`.
pub(crate) fn path_of_credential(name: &str) -> Option<String> {
    let rest = name.strip_prefix("schleuse.")?;
    let folder = ["certificates", "trust", "policies"].into_iter().find_map(|folder| {
        let file = rest.strip_prefix(folder)?.strip_prefix('.')?;
        Some(format!("{folder}/{file}"))
    });
    Some(folder.unwrap_or_else(|| rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_closed_list() {
        for known in ["appliance.toml", "node.toml", "disk-key", "certificates/server.pem", "certificates/client.key"] {
            assert!(is_known(known), "{known}");
        }
        for known in ["trust/client-authorities.pem", "policies/strict.toml"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in [
            "Appliance.toml",
            "certificates/other.pem",
            "certificates/server",
            "trust/../node.toml.pem",
            "trust/a/b.pem",
            "trust/.pem",
            "policies/strict.yaml",
            "policies",
            "",
        ] {
            assert!(!is_known(unknown), "{unknown}");
        }
        let mut bundle = Bundle::default();
        assert_eq!(bundle.add("readme.txt", vec![]), Err(BundleError::Unknown("readme.txt".to_owned())));
        bundle.add("trust/a.pem", vec![1]).unwrap();
        assert_eq!(bundle.folder("trust").collect::<Vec<_>>(), [("a.pem", [1].as_slice())]);
    }

    #[test]
    fn credentials_stand_for_paths() {
        for (name, path) in [
            ("schleuse.appliance.toml", Some("appliance.toml")),
            ("schleuse.certificates.server.pem", Some("certificates/server.pem")),
            ("schleuse.trust.client-authorities.pem", Some("trust/client-authorities.pem")),
            ("other", None),
        ] {
            assert_eq!(path_of_credential(name).as_deref(), path);
        }
    }
}
