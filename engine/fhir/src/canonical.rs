//! Canonical references: `url|version`.

use std::fmt;

/// A canonical URL with the version that is wanted, if one is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Canonical {
    /// The part before `|`, with its fragment.
    pub url: String,
    /// The part behind `|`.
    pub version: Option<String>,
}

impl Canonical {
    /// Splits at the first `|`; an empty version counts as none, an empty URL is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (url, version) = match text.split_once('|') {
            Some((url, version)) => (url, Some(version).filter(|version| !version.is_empty())),
            None => (text, None),
        };
        (!url.is_empty()).then(|| Self { url: url.to_owned(), version: version.map(str::to_owned) })
    }

    /// Whether a resource with this `url` and `version` is meant.
    #[must_use]
    pub fn means(&self, url: &str, version: Option<&str>) -> bool {
        self.url == url && self.version.as_deref().is_none_or(|wanted| version == Some(wanted))
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.version {
            Some(version) => write!(f, "|{version}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Canonical;

    #[test]
    fn versions_are_split_off_and_compared() {
        let canonical = Canonical::parse("http://dsf.dev/bpe/Process/ping|1.0").unwrap();
        assert_eq!(
            (canonical.url.as_str(), canonical.version.as_deref()),
            ("http://dsf.dev/bpe/Process/ping", Some("1.0"))
        );
        assert_eq!(canonical.to_string(), "http://dsf.dev/bpe/Process/ping|1.0");
        assert!(canonical.means("http://dsf.dev/bpe/Process/ping", Some("1.0")));
        assert!(!canonical.means("http://dsf.dev/bpe/Process/ping", Some("1.1")));
        assert!(!canonical.means("http://dsf.dev/bpe/Process/ping", None));
        assert!(Canonical::parse("http://x|").unwrap().means("http://x", Some("2")));
        assert_eq!(Canonical::parse("|1.0"), None);
    }
}
