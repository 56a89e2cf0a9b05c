//! Versions of the appliance. A newer one is a greater one; text that is not exactly three numbers is no version.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// Three numbers, the most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u32; 3]);

/// Not the text of a version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no version: three numbers with dots between, such as 1.4.0")]
pub(crate) struct NoVersion;

impl Version {
    /// Of the system that runs, as it says itself.
    pub(crate) fn running() -> Option<Self> {
        let text = fs::read_to_string("/usr/lib/os-release").ok()?;
        text.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="))?.parse().ok()
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            let part = parts.next().ok_or(NoVersion)?;
            let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            *number = if plain { part.parse().map_err(|_| NoVersion)? } else { return Err(NoVersion) };
        }
        if parts.next().is_some() { Err(NoVersion) } else { Ok(Self(numbers)) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_and_newer_is_greater() {
        let version = |text: &str| text.parse::<Version>();
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "1..3", "+1.2.3", "1.2.4294967296", "1.2.3 "] {
            assert_eq!(version(text), Err(NoVersion), "{text:?}");
        }
        assert_eq!(version("10.20.4294967295").unwrap().to_string(), "10.20.4294967295");
        let order =
            ["0.0.9", "0.0.10", "0.1.0", "0.9.9", "1.0.0", "2.0.0", "10.0.0"].map(|text| version(text).unwrap());
        assert!(order.is_sorted());
    }
}
