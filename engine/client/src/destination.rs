//! Where the node may connect to: `[outbound]` of the policy.
//!
//! A destination is a base URL, written exactly as in `Endpoint.address`, because that text is how partners identify a
//! node. The list of active Endpoints is asked on every call; a partner that left the network is out with the next one.

use std::sync::Arc;

use url::Url;

use crate::error::{Denial, SettingsError};
use crate::limits;

/// Answers whether a base URL is the address of an active Endpoint of an active organisation in the current allow-list.
pub type Endpoints = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// `[outbound]` of the policy.
#[derive(Clone)]
pub struct OutboundPolicy {
    /// Which destinations are permitted.
    pub mode: OutboundMode,
    /// Active Endpoints of the allow-list.
    pub endpoints: Endpoints,
    /// Further base URLs, exact or with `*` at the end. Plain `http` is possible here and nowhere else.
    pub extra: Vec<String>,
    /// Whether private addresses are refused.
    pub deny_private_addresses: bool,
    /// Host names and addresses to which that does not apply.
    pub private_hosts: Vec<String>,
    /// Methods that may be used towards Endpoints of the allow-list; empty permits all.
    pub partner_methods: Vec<crate::Method>,
}

/// Which destinations are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundMode {
    /// Every https URL.
    Any,
    /// Active Endpoints of the allow-list and [`OutboundPolicy::extra`].
    AllowListEndpoints,
    /// Only [`OutboundPolicy::extra`].
    List,
}

/// A permitted destination: made only by [`Destinations::permit`].
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The base URL without a slash at the end.
    base: String,
    parsed: Url,
}

/// The policy in the form that is asked.
pub(crate) struct Destinations {
    policy: OutboundPolicy,
    extra: Vec<Pattern>,
}

struct Pattern {
    url: Url,
    is_prefix: bool,
}

/// Whether a list like [`OutboundPolicy::extra`] has the base URL.
pub fn is_listed(extra: &[String], base_url: &str) -> Result<bool, SettingsError> {
    let patterns: Vec<Pattern> = extra.iter().map(|entry| Pattern::parse(entry)).collect::<Result<_, _>>()?;
    let wrong = |reason| SettingsError::Destination { entry: base_url.to_owned(), reason };
    let url = parse_base(base_url).map_err(wrong)?;
    Ok(patterns.iter().any(|pattern| pattern.matches(&url)))
}

// === impl Destinations ===

impl Destinations {
    pub(crate) fn new(policy: OutboundPolicy) -> Result<Self, SettingsError> {
        let extra = policy.extra.iter().map(|entry| Pattern::parse(entry)).collect::<Result<_, _>>()?;
        let lower = |host: &String| host.trim_matches(['[', ']']).to_ascii_lowercase();
        let private_hosts = policy.private_hosts.iter().map(lower).collect();
        Ok(Self { policy: OutboundPolicy { private_hosts, ..policy }, extra })
    }

    pub(crate) fn permit(&self, base_url: &str, method: crate::Method) -> Result<Destination, Denial> {
        let parsed = parse_base(base_url).map_err(|reason| Denial::InvalidUrl { reason })?;
        let destination = Destination { base: base_url.strip_suffix('/').unwrap_or(base_url).to_owned(), parsed };
        if self.extra.iter().any(|pattern| pattern.matches(&destination.parsed)) {
            return Ok(destination);
        }
        if destination.parsed.scheme() != "https" {
            return Err(Denial::InvalidUrl {
                reason: "only https is permitted, except for entries of [outbound] extra",
            });
        }
        match self.policy.mode {
            OutboundMode::Any => {}
            OutboundMode::AllowListEndpoints if (self.policy.endpoints)(base_url) => {}
            OutboundMode::AllowListEndpoints | OutboundMode::List => return Err(Denial::NotListed),
        }
        let methods = &self.policy.partner_methods;
        if !methods.is_empty() && !methods.contains(&method) {
            return Err(Denial::Method { method: method.as_str().to_owned() });
        }
        Ok(destination)
    }

    /// Whether the guard lets a connection to this address of this host pass.
    pub(crate) fn permits_address(&self, host: &str, address: std::net::IpAddr) -> bool {
        let excepted = |text: &str| self.policy.private_hosts.iter().any(|entry| entry == text);
        !self.policy.deny_private_addresses
            || !crate::is_private(address)
            || excepted(&host.to_ascii_lowercase())
            || excepted(&address.to_canonical().to_string())
    }
}

// === impl Destination ===

impl Destination {
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The URL of a path below the base. A path that leaves the base is refused.
    pub(crate) fn join(&self, path: &str) -> Result<Url, &'static str> {
        if path.contains(['\\', '#']) || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("the path has characters that a path cannot have");
        }
        let base = self.parsed.as_str().trim_end_matches('/');
        let text = match path {
            "" => base.to_owned(),
            query if query.starts_with('?') => format!("{base}{query}"),
            path => format!("{base}/{path}"),
        };
        let url = Url::parse(&text).map_err(|_| "the path cannot be part of a URL")?;
        let stays = url.as_str().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if stays { Ok(url) } else { Err("the path leaves the base URL") }
    }
}

impl Pattern {
    fn parse(entry: &str) -> Result<Self, SettingsError> {
        let (text, is_prefix) = entry.strip_suffix('*').map_or((entry, false), |text| (text, true));
        let url = parse_base(text).map_err(|reason| SettingsError::Destination { entry: entry.to_owned(), reason })?;
        Ok(Self { url, is_prefix })
    }

    /// Scheme, host and port are always compared whole: a prefix never ends inside a host name.
    fn matches(&self, url: &Url) -> bool {
        let same_origin = self.url.origin() == url.origin();
        let (own, other) = (self.url.path(), url.path());
        same_origin
            && if self.is_prefix {
                other.starts_with(own)
            } else {
                own.trim_end_matches('/') == other.trim_end_matches('/')
            }
    }
}

/// Reads a base URL and refuses every part that could make two readers see two destinations.
fn parse_base(text: &str) -> Result<Url, &'static str> {
    if text.len() > limits::URL_BYTES {
        return Err("the URL is too long");
    }
    let lower = text.to_ascii_lowercase();
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return Err("the URL has a space, a control character or a backslash");
    }
    if lower.contains("/../")
        || lower.contains("/./")
        || lower.ends_with("/..")
        || lower.ends_with("/.")
        || lower.contains("%2e")
    {
        return Err("the URL has dot segments");
    }
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    // URL parsers take further slashes, or none, and look for the host behind them.
    match rest.ok_or("the URL begins with neither https:// nor http://")?.bytes().next() {
        None | Some(b'/') => return Err("the URL has no host"),
        Some(_) => {}
    }
    let url = Url::parse(text).map_err(|_| "the text is not a URL")?;
    if !url.username().is_empty()
        || url.password().is_some()
        || lower.split('/').nth(2).is_some_and(|part| part.contains('@'))
    {
        return Err("the URL has a user name");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL has a query or fragment");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL has no host");
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
