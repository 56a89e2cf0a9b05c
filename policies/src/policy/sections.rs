//! The sections without rules: what they hold, their keys and their defaults.
//!
//! Each `section!` is one table of the file: field, type, reader of the key, default. The defaults are DSF's behaviour
//! (`access-and-edge` 1.2, 8.2). Most of these values are consumed by the gateway; they are validated here, because a
//! policy is accepted or refused as a whole. What this version does not enforce is refused when it is set to anything
//! that would restrict (`super::unenforced`): a key that is accepted holds.

use std::time::Duration;

use fhir::ResourceType;
use settings::{Item, Reader, Section};

use super::draft::{Slot, list, rate, text_list};
use super::sink::{AuditSink, DeadSink};
use crate::identifier::Thumbprint;
use crate::interaction::Method;

macro_rules! section {
    ($(#[$doc:meta])* $vis:vis $name:ident / $draft:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty = $read:expr, $default:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: $ty,)*
        }

        #[derive(Default)]
        pub(super) struct $draft {
            $(pub(super) $field: Slot<$ty>,)*
        }

        impl $draft {
            /// Takes the keys of one file and reports unknown ones.
            pub(super) fn read(&mut self, section: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
                $({
                    let read: fn(&mut Section<'_>, &mut Reader<'_>) -> Option<Item<$ty>> = $read;
                    let item = read(section, reader);
                    self.$field.put(item, reader, file);
                })*
            }

            pub(super) fn build(self) -> $name {
                $name { $($field: self.$field.take().unwrap_or_else(|| $default),)* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $draft::default().build()
            }
        }
    };
}

// --- [trust] ---

/// `[trust]`: which client certificates are accepted at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Most certificates of authorities above the leaf.
    pub max_depth: u8,
    /// Common names of issuing authorities that are accepted; empty: every authority of the trust store.
    pub issuer_cn: Vec<String>,
    /// SHA-256 fingerprints of issuing authorities that are accepted, lower-case hexadecimal; empty: not checked.
    pub issuer_sha256: Vec<String>,
    /// Values of the subject's country that are accepted; empty: not checked.
    pub subject_country: Vec<String>,
    /// Issuers whose certificates may lack a country.
    pub allow_missing_country_for: Vec<String>,
    /// Certificates that are blocked whatever the allow-list says.
    pub deny_thumbprints: Vec<Thumbprint>,
    /// Times before expiry at which a certificate is reported.
    pub warn_expiry: Vec<Duration>,
    /// What happens to a certificate without extended key usage.
    pub absent_eku: AbsentEku,
    /// `[trust.keys]`
    pub keys: KeyLimits,
    /// `[trust.revocation]`
    pub revocation: Revocation,
}

section! {
    /// The keys of `[trust]` itself.
    pub(super) TrustKeys / TrustDraft {
        /// `max-depth`
        max_depth: u8 = |s, r| small(s, r, "max-depth", 1..9), 3;
        /// `issuer-cn`
        issuer_cn: Vec<String> = |s, r| filled(s, r, "issuer-cn"), Vec::new();
        /// `issuer-sha256`
        issuer_sha256: Vec<String> = |s, r| list(s, r, "issuer-sha256", "64 lower-case hexadecimal digits", |text| {
            (text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then(|| text.to_owned())
        }), Vec::new();
        /// `subject-country`
        subject_country: Vec<String> = |s, r| list(s, r, "subject-country", "a country of two capital letters", |text| {
            (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())).then(|| text.to_owned())
        }), Vec::new();
        /// `allow-missing-country-for`
        allow_missing_country_for: Vec<String> = |s, r| text_list(s, r, "allow-missing-country-for"), Vec::new();
        /// `deny-thumbprints`
        deny_thumbprints: Vec<Thumbprint> = |s, r| list(s, r, "deny-thumbprints", "a thumbprint of 128 lower-case hexadecimal digits", |text| text.parse().ok()), Vec::new();
        /// `warn-expiry`
        warn_expiry: Vec<Duration> = |s, r| list(s, r, "warn-expiry", "a duration such as \"30d\"", settings::parse_duration), [60, 30, 14, 7].map(|days| Duration::from_secs(days * 86_400)).to_vec();
        /// `absent-eku`
        absent_eku: AbsentEku = |s, r| s.choice(r, "absent-eku", &[("accept", AbsentEku::Accept), ("reject", AbsentEku::Reject)]), AbsentEku::Accept;
    }
}

/// What happens to a certificate without extended key usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsentEku {
    /// It is accepted, as by DSF.
    #[default]
    Accept,
    /// It is rejected.
    Reject,
}

section! {
    /// `[trust.keys]`: keys of client certificates.
    pub KeyLimits / KeyLimitsDraft {
        /// Fewest bits of an RSA leaf.
        min_rsa_leaf: u32 = |s, r| number(s, r, "min-rsa-leaf", 2048..16385), 2048;
        /// Fewest bits of an RSA leaf that is not reported.
        warn_rsa_leaf: u32 = |s, r| number(s, r, "warn-rsa-leaf", 2048..16385), 3072;
        /// Curves of EC leaves.
        curves: Vec<String> = |s, r| list(s, r, "curves", "one of \"P-256\", \"P-384\", \"P-521\"", |text| {
            ["P-256", "P-384", "P-521"].contains(&text).then(|| text.to_owned())
        }).filter(|item| filled_list(item, r)), ["P-256", "P-384", "P-521"].map(str::to_owned).to_vec();
    }
}

/// How revocation is checked. This version checks nothing and refuses the other modes at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// Not at all, as by DSF.
    Off,
    /// Revoked certificates are refused; a missing or stale list is reported.
    Soft,
    /// A missing or stale list refuses the certificates of its issuer.
    Hard,
}

section! {
    /// `[trust.revocation]`
    pub Revocation / RevocationDraft {
        /// How it is checked.
        mode: RevocationMode = |s, r| s.choice(r, "mode", &[("off", RevocationMode::Off), ("soft", RevocationMode::Soft), ("hard", RevocationMode::Hard)]), RevocationMode::Off;
        /// Age at which a list is stale, whatever its `nextUpdate` says.
        max_age: Duration = |s, r| s.duration(r, "max-age"), Duration::from_secs(48 * 3600);
    }
}

// --- [tls] ---

/// A set of TLS versions, suites and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3 with the suites of the DSF proxies.
    DsfCompat,
    /// What BSI TR-02102-2 recommends.
    Bsi,
    /// Only TLS 1.3.
    Tls13Only,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Versions, suites and groups.
    pub profile: TlsProfile,
    /// Value of `Strict-Transport-Security`.
    pub hsts: String,
    /// `[tls.tickets]`
    pub tickets: Tickets,
}

section! {
    /// The keys of `[tls]` itself.
    pub(super) TlsKeys / TlsDraft {
        /// `profile`
        profile: TlsProfile = |s, r| s.choice(r, "profile", &[("dsf-compat", TlsProfile::DsfCompat), ("bsi", TlsProfile::Bsi), ("tls13-only", TlsProfile::Tls13Only)]), TlsProfile::DsfCompat;
        /// `hsts`
        hsts: String = |s, r| header_value(s, r, "hsts"), "max-age=63072000; includeSubDomains".to_owned();
    }
}

section! {
    /// `[tls.tickets]`: resumption of sessions.
    pub Tickets / TicketsDraft {
        /// Whether sessions can be resumed.
        enabled: bool = |s, r| s.boolean(r, "enabled"), true;
        /// How often ticket keys change.
        rotate: Duration = |s, r| duration_within(s, r, "rotate", Duration::from_secs(60), Duration::from_secs(24 * 3600)), Duration::from_secs(12 * 3600);
    }
}

// --- [limits] ---

/// `[limits]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `[limits.head]`
    pub head: HeadLimits,
    /// `[limits.body]`
    pub body: BodyLimits,
    /// `[limits.json]`
    pub json: JsonLimits,
    /// `[limits.xml]`
    pub xml: XmlLimits,
    /// `[limits.query]`
    pub query: QueryLimits,
    /// `[limits.timeouts]`
    pub timeouts: Timeouts,
    /// `[limits.rate]`
    pub rate: RateLimits,
}

section! {
    /// `[limits.head]`: the head of a request.
    pub HeadLimits / HeadLimitsDraft {
        /// Most bytes of the head.
        bytes: u64 = |s, r| size_within(s, r, "bytes", 1 << 10, 1 << 20), 32 << 10;
        /// Most header fields.
        headers: u32 = |s, r| number(s, r, "headers", 1..257), 100;
        /// Most bytes of the request target.
        uri_bytes: u64 = |s, r| size_within(s, r, "uri-bytes", 256, crate::limits::TARGET_BYTES as u64), crate::limits::TARGET_BYTES as u64;
    }
}

/// `[limits.body]`: most bytes of a body, by resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    pub(super) default: u64,
    pub(super) by_type: Vec<(ResourceType, u64)>,
}

section! {
    /// `[limits.json]`
    pub JsonLimits / JsonLimitsDraft {
        /// Deepest nesting.
        depth: u32 = |s, r| number(s, r, "depth", 8..257), 64;
        /// Most members and elements of a document.
        members: u32 = |s, r| number(s, r, "members", 100..10_000_001), 100_000;
    }
}

section! {
    /// `[limits.xml]`
    pub XmlLimits / XmlLimitsDraft {
        /// Deepest nesting.
        depth: u32 = |s, r| number(s, r, "depth", 8..257), 64;
        /// Most attributes of an element.
        attributes: u32 = |s, r| number(s, r, "attributes", 1..257), 64;
    }
}

section! {
    /// `[limits.query]`
    pub QueryLimits / QueryLimitsDraft {
        /// Most entries of a batch or transaction.
        bundle_entries: u32 = |s, r| number(s, r, "bundle-entries", 1..100_001), 2000;
        /// Most parameters of a search.
        search_params: u32 = |s, r| number(s, r, "search-params", 1..257), 32;
        /// Most `_include` and `_revinclude` of a search.
        include_params: u32 = |s, r| number(s, r, "include-params", 0..257), 8;
    }
}

section! {
    /// `[limits.timeouts]`
    pub Timeouts / TimeoutsDraft {
        /// From the connection until TLS is established.
        handshake: Duration = |s, r| timeout(s, r, "handshake"), Duration::from_secs(10);
        /// From the first byte of a request until its head is complete.
        header: Duration = |s, r| timeout(s, r, "header"), Duration::from_secs(10);
        /// Between two reads of a body.
        body_idle: Duration = |s, r| timeout(s, r, "body-idle"), Duration::from_secs(30);
        /// Between two requests of a connection.
        keep_alive: Duration = |s, r| timeout(s, r, "keep-alive"), Duration::from_secs(60);
        /// Until the engine answers.
        upstream: Duration = |s, r| timeout(s, r, "upstream"), Duration::from_secs(60);
        /// Between two frames of a WebSocket.
        ws_idle: Duration = |s, r| timeout(s, r, "ws-idle"), Duration::from_secs(120);
    }
}

section! {
    /// `[limits.rate]`
    pub RateLimits / RateLimitsDraft {
        /// Requests of one identity per second; 0 in the file form `"off"`: unlimited.
        per_identity: u32 = |s, r| rate(s, r, "per-identity"), 0;
        /// Requests that may exceed the rate for a moment.
        burst: u32 = |s, r| number(s, r, "burst", 1..100_001), 200;
        /// TLS handshakes of one address per second.
        handshakes_per_ip: u32 = |s, r| rate(s, r, "handshakes-per-ip"), 0;
        /// Requests of one identity at the same time.
        concurrent_per_identity: u32 = |s, r| number(s, r, "concurrent-per-identity", 1..100_001), 256;
    }
}

// --- [search], [bundle] ---

/// What happens to a search with parameters that are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownParameters {
    /// The client's `Prefer: handling=` decides, as in DSF.
    Prefer,
    /// It is refused.
    Reject,
}

section! {
    /// `[search]`
    pub Search / SearchDraft {
        /// What happens to unknown parameters.
        unknown_parameters: UnknownParameters = |s, r| s.choice(r, "unknown-parameters", &[("prefer", UnknownParameters::Prefer), ("reject", UnknownParameters::Reject)]), UnknownParameters::Prefer;
        /// Whether chained parameters (`subject.name`) go on to the endpoint, which treats them as unknown.
        chained: bool = |s, r| s.boolean(r, "chained"), true;
        /// Whether `_has` goes on to the endpoint, which treats it as unknown.
        has: bool = |s, r| s.boolean(r, "has"), true;
        /// The values of `_include` that are allowed; `["*"]`: all.
        include_allow: Vec<String> = |s, r| text_list(s, r, "include-allow"), vec!["*".to_owned()];
        /// The values of `_revinclude` that are allowed; `["*"]`: all.
        revinclude_allow: Vec<String> = |s, r| text_list(s, r, "revinclude-allow"), vec!["*".to_owned()];
    }
}

/// `[bundle]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSection {
    /// Whether a batch is allowed.
    pub batch: bool,
    /// Whether a transaction is allowed.
    pub transaction: bool,
    /// Methods that entries may have.
    pub entry_methods: Vec<Method>,
}

section! {
    /// The keys of `[bundle]`.
    pub(super) BundleKeys / BundleDraft {
        /// `allow`
        allow: Vec<String> = |s, r| list(s, r, "allow", "\"batch\" or \"transaction\"", |text| {
            ["batch", "transaction"].contains(&text).then(|| text.to_owned())
        }), ["batch", "transaction"].map(str::to_owned).to_vec();
        /// `entry-methods`
        entry_methods: Vec<Method> = |s, r| list(s, r, "entry-methods", "one of \"GET\", \"HEAD\", \"POST\", \"PUT\", \"DELETE\"", |text| text.parse().ok()), Method::ALL.to_vec();
    }
}

// --- [allow-list], [outbound], [audit] ---

/// How many people approve a change of the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nobody: it is applied at once, as by DSF.
    None,
    /// One.
    OnePerson,
    /// Two different ones.
    TwoPerson,
}

/// `[allow-list]`: what may change the allow-list, where lists are taken from, and who approves a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowListSection {
    /// URLs from which lists are taken, exact or with `*` at the end; empty: any endpoint of the list.
    pub sources: Vec<String>,
    /// `system|value` that the Bundle must have.
    pub require_identifier: String,
    /// Whether changes of the own Organization, Endpoint and affiliations are refused.
    pub protect_self: bool,
    /// Who approves.
    pub approval: Approval,
    /// `[allow-list.max-delta]`
    pub max_delta: Delta,
    /// SHA-256 fingerprints of server certificates of the sources; empty: not checked.
    pub pin_server_sha256: Vec<String>,
}

section! {
    /// The keys of `[allow-list]` itself.
    pub(super) AllowListKeys / AllowListDraft {
        /// `sources`
        sources: Vec<String> = |s, r| list(s, r, "sources", "an https URL, with \"*\" at most at its end", https_pattern), Vec::new();
        /// `require-identifier`
        require_identifier: String = |s, r| system_and_value(s, r, "require-identifier"), "http://dsf.dev/fhir/CodeSystem/allow-list|allow_list".to_owned();
        /// `protect-self`
        protect_self: bool = |s, r| s.boolean(r, "protect-self"), false;
        /// `approval`
        approval: Approval = |s, r| s.choice(r, "approval", &[("none", Approval::None), ("one-person", Approval::OnePerson), ("two-person", Approval::TwoPerson)]), Approval::None;
        /// `pin-server-sha256`
        pin_server_sha256: Vec<String> = |s, r| list(s, r, "pin-server-sha256", "64 lower-case hexadecimal digits", |text| {
            (text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then(|| text.to_owned())
        }), Vec::new();
    }
}

section! {
    /// `[allow-list.max-delta]`: a larger change waits for approval.
    pub Delta / DeltaDraft {
        /// Organisations that are new.
        organizations_added: u32 = |s, r| number(s, r, "organizations-added", 0..1_000_001), 1_000_000;
        /// Organisations that are gone or inactive.
        organizations_removed: u32 = |s, r| number(s, r, "organizations-removed", 0..1_000_001), 1_000_000;
        /// Organisations whose thumbprints change.
        thumbprints_changed: u32 = |s, r| number(s, r, "thumbprints-changed", 0..1_000_001), 1_000_000;
    }
}

/// Where the engine may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundMode {
    /// Anywhere.
    Any,
    /// Addresses of active endpoints of the allow-list, and `extra`.
    AllowListEndpoints,
    /// Only `extra`.
    List,
}

section! {
    /// `[outbound]`
    pub Outbound / OutboundDraft {
        /// Where the engine may connect to.
        mode: OutboundMode = |s, r| s.choice(r, "mode", &[("any", OutboundMode::Any), ("allow-list-endpoints", OutboundMode::AllowListEndpoints), ("list", OutboundMode::List)]), OutboundMode::AllowListEndpoints;
        /// Further base URLs, exact or with `*` at the end.
        extra: Vec<String> = |s, r| list(s, r, "extra", "an https URL, with \"*\" at most at its end", https_pattern), Vec::new();
        /// Whether addresses of private, loopback and link-local networks are refused.
        deny_private_addresses: bool = |s, r| s.boolean(r, "deny-private-addresses"), true;
        /// Host names to which that does not apply.
        private_hosts: Vec<String> = |s, r| list(s, r, "private-hosts", "a host name or address without port", |text| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            (!text.is_empty() && text.len() < 254 && text.bytes().all(legal)).then(|| text.to_ascii_lowercase())
        }), Vec::new();
        /// Methods that are used towards partners.
        partner_methods: Vec<Method> = |s, r| list(s, r, "partner-methods", "one of \"GET\", \"HEAD\", \"POST\", \"PUT\", \"DELETE\"", |text| text.parse().ok()), vec![Method::Get, Method::Head, Method::Post];
    }
}

/// The form of audit records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON object per line with the names of this product.
    JsonLines,
    /// One JSON object per line with the names of the Elastic Common Schema.
    EcsJson,
}

section! {
    /// `[audit]`
    pub Audit / AuditDraft {
        /// The form of records.
        format: AuditFormat = |s, r| s.choice(r, "format", &[("json-lines", AuditFormat::JsonLines), ("ecs-json", AuditFormat::EcsJson)]), AuditFormat::JsonLines;
        /// Where records go besides the audit file of the process, sent by the refresher.
        sink: Vec<AuditSink> = |s, r| list(s, r, "sink", super::sink::EXPECTED, AuditSink::parse).filter(|item| few_sinks(item, r)), Vec::new();
        /// What happens while a sink takes nothing.
        dead_sink: DeadSink = |s, r| s.choice(r, "dead-sink", &[("refuse-writes", DeadSink::RefuseWrites), ("serve", DeadSink::Serve)]), DeadSink::RefuseWrites;
        /// How long a sink may take nothing of what waits for it until it counts as dead.
        sink_patience: Duration = |s, r| patience(s, r), super::sink::PATIENCE;
        /// Whether values of query parameters are recorded; they may be personal data.
        log_query_values: bool = |s, r| s.boolean(r, "log-query-values"), false;
    }
}

// === impl Trust, Tls, BodyLimits ===

impl Trust {
    pub(super) fn of(own: TrustKeys, keys: KeyLimits, revocation: Revocation) -> Self {
        Self {
            max_depth: own.max_depth,
            issuer_cn: own.issuer_cn,
            issuer_sha256: own.issuer_sha256,
            subject_country: own.subject_country,
            allow_missing_country_for: own.allow_missing_country_for,
            deny_thumbprints: own.deny_thumbprints,
            warn_expiry: own.warn_expiry,
            absent_eku: own.absent_eku,
            keys,
            revocation,
        }
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::of(TrustKeys::default(), KeyLimits::default(), Revocation::default())
    }
}

impl Default for Tls {
    fn default() -> Self {
        let TlsKeys { profile, hsts } = TlsKeys::default();
        Self { profile, hsts, tickets: Tickets::default() }
    }
}

impl AllowListSection {
    pub(super) fn of(own: AllowListKeys, max_delta: Delta) -> Self {
        Self {
            sources: own.sources,
            require_identifier: own.require_identifier,
            protect_self: own.protect_self,
            approval: own.approval,
            max_delta,
            pin_server_sha256: own.pin_server_sha256,
        }
    }
}

impl AllowListSection {
    /// Whether a list may be taken from the Bundle at this URL, which is written without a version.
    #[must_use]
    pub fn permits_source(&self, url: &str) -> bool {
        let is = |pattern: &String| match pattern.strip_suffix('*') {
            Some(begin) => url.starts_with(begin),
            None => url == pattern,
        };
        self.sources.is_empty() || self.sources.iter().any(is)
    }

    /// Whether a Bundle has the identifier that lists must have.
    #[must_use]
    pub fn has_required_identifier(&self, bundle: &fhir::Resource) -> bool {
        let identifier = bundle.get("identifier");
        let member = |name: &str| identifier.and_then(|identifier| identifier.str(name)).unwrap_or_default();
        format!("{}|{}", member("system"), member("value")) == self.require_identifier
    }
}

impl Default for AllowListSection {
    fn default() -> Self {
        Self::of(AllowListKeys::default(), Delta::default())
    }
}

impl Default for BodyLimits {
    fn default() -> Self {
        let by_type =
            vec![(ResourceType::Binary, 8 << 30), (ResourceType::Bundle, 64 << 20), (ResourceType::Task, 4 << 20)];
        Self { default: 1 << 20, by_type }
    }
}

impl BodyLimits {
    /// Most bytes of a body for the type; a batch or transaction counts as `Bundle`.
    #[must_use]
    pub fn of(&self, resource_type: Option<ResourceType>) -> u64 {
        let resource_type = resource_type.unwrap_or(ResourceType::Bundle);
        self.by_type.iter().find(|(name, _)| *name == resource_type).map_or(self.default, |(_, bytes)| *bytes)
    }
}

// --- readers of keys ---

fn number(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
    bounds: std::ops::Range<i64>,
) -> Option<Item<u32>> {
    let item = section.integer(reader, name, bounds)?;
    Some(Item { value: u32::try_from(item.value).ok()?, key: item.key, span: item.span })
}

fn small(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
    bounds: std::ops::Range<i64>,
) -> Option<Item<u8>> {
    let item = section.integer(reader, name, bounds)?;
    Some(Item { value: u8::try_from(item.value).ok()?, key: item.key, span: item.span })
}

fn timeout(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<Duration>> {
    duration_within(section, reader, name, Duration::from_millis(100), Duration::from_secs(3600))
}

fn duration_within(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
    low: Duration,
    high: Duration,
) -> Option<Item<Duration>> {
    let item = section.duration(reader, name)?;
    if (low..=high).contains(&item.value) {
        return Some(item);
    }
    reader.refuse(&item, "is out of bounds", format!("write a duration from {low:?} to {high:?}"));
    None
}

pub(super) fn size_within(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
    low: u64,
    high: u64,
) -> Option<Item<u64>> {
    let item = section.size(reader, name)?;
    if (low..=high).contains(&item.value) {
        return Some(item);
    }
    reader.refuse(&item, "is out of bounds", format!("write a size from {low}B to {high}B"));
    None
}

/// Whether the list has entries: nobody writes on purpose that no key at all is accepted, and elsewhere an empty list
/// means that all are.
fn filled_list<T>(item: &Item<Vec<T>>, reader: &mut Reader<'_>) -> bool {
    if item.value.is_empty() {
        reader.refuse(item, "is empty", "name what is accepted, or leave the key out");
    }
    !item.value.is_empty()
}

fn few_sinks(item: &Item<Vec<AuditSink>>, reader: &mut Reader<'_>) -> bool {
    let mut different = item.value.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() < item.value.len() {
        reader.refuse(item, "names a sink twice", "name each once");
        return false;
    }
    if item.value.len() > super::sink::SINKS {
        reader.refuse(
            item,
            format!("names more than {} sinks", super::sink::SINKS),
            "let one receiver pass records on",
        );
        return false;
    }
    true
}

fn patience(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Item<Duration>> {
    duration_within(section, reader, "sink-patience", Duration::from_secs(1), Duration::from_secs(86_400))
}

/// A list that must not be empty: no entry would mean that nobody is accepted, which nobody writes on purpose.
fn filled(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<Vec<String>>> {
    let item = text_list(section, reader, name)?;
    if item.value.is_empty() {
        reader.refuse(
            &item,
            "is empty",
            "name the issuers, or leave the key out to accept every authority of the trust store",
        );
        return None;
    }
    Some(item)
}

fn header_value(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<String>> {
    let item = section.string(reader, name)?;
    if item.value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !item.value.trim().is_empty() {
        return Some(item);
    }
    reader.refuse(
        &item,
        "is not the value of a header",
        "write printable ASCII such as \"max-age=63072000; includeSubDomains\"",
    );
    None
}

fn system_and_value(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<String>> {
    let item = section.string(reader, name)?;
    if item.value.parse::<crate::identifier::Role>().is_ok() {
        return Some(item);
    }
    reader.refuse(&item, "is not system|value", "write system and value with exactly one \"|\" between them");
    None
}

fn https_pattern(text: &str) -> Option<String> {
    let host = text.strip_prefix("https://")?;
    let body = text.strip_suffix('*').unwrap_or(text);
    // The star must stand behind the path's first slash: "https://trusted.example*" would also match another host.
    let host_ends = host.find('/').is_some_and(|slash| slash > 0);
    let legal = !body.contains(['*', '@', '#', '?', '\\', ' ']) && (host_ends || (body == text && !host.is_empty()));
    legal.then(|| text.to_owned())
}
