//! Every bound of the gateway, with its reason. What the security officer may change comes from `[limits]` of the
//! policy through [`Limits::from_policy`]; the constants are the technical rest.

use std::time::Duration;

use policies::policy::{BodyLimits, RateLimits};

/// Plain text that waits above TLS until a response is flushed, and never more memory than this per connection: what fits
/// leaves as one record, which holds at most as much.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// Write buffer that an idle connection may keep.
pub const IDLE_WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// Streams of one HTTP/2 connection that may run at once.
pub const H2_STREAMS: u32 = 100;

/// Streams that a client may open and reset before the connection is closed (rapid reset).
pub const H2_RESET_STREAMS: usize = 50;

/// Requests on one connection; renewing connections gives every partner the current certificate and trust.
pub const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// Longest head of an answer of the engine, and most of its fields. Both processes are ours: what is longer is a fault.
pub const ENGINE_HEAD_BYTES: usize = 64 * 1024;

/// See [`ENGINE_HEAD_BYTES`].
pub const ENGINE_HEAD_FIELDS: usize = 64;

/// Idle connections to the engine, of each thread.
pub const ENGINE_CONNECTIONS: usize = 64;

/// Time to connect to the engine's socket. It is local: what takes longer is not running.
pub const ENGINE_CONNECT: Duration = Duration::from_secs(2);

/// Identities kept per policy and snapshot; derived again when evicted.
pub const IDENTITY_CACHE: u64 = 20_000;

/// Time for which a verified chain counts for further connections of the same client, resumed ones. Dates of the client's
/// own certificate are asked on every request; this bounds how late the end of an authority between is noticed.
pub const TRUST_MEMORY: Duration = Duration::from_secs(60);

/// Pause of the accept loop when the process has no file descriptors left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// First and longest pause between attempts to reach the engine's snapshot socket. While the engine may still be starting
/// it stays at the first.
pub const SNAPSHOT_RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Time that partners' connections wait in the socket until a gateway that starts has reached the engine: a new program takes
/// over without an answer 503. If the engine is not there they are served after it, with that answer.
pub const FIRST_LINK: Duration = Duration::from_secs(2);

/// Time that the engine may take to start beside the gateway before its absence is worth a warning.
pub const ENGINE_START: Duration = Duration::from_secs(10);

/// Metrics text of the engine that is merged into ours.
pub const ENGINE_METRICS_BYTES: usize = 4 * 1024 * 1024;

/// Time between two sums of the samples of histograms, which hold memory until then.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Seconds after which a client may try again while the engine is away.
pub const RETRY_AFTER_SECONDS: &str = "2";

/// Longest text of the client that is copied into an audit record or log line.
pub const RECORDED_TEXT: usize = 256;

/// Connections at once. Each costs about 50 KiB when idle.
pub const CONNECTIONS: usize = 4096;

/// Connections of one address (IPv6: of one /64) at once; a site needs a handful.
pub const CONNECTIONS_PER_ADDRESS: usize = 256;

/// Handshakes at once: the dearest thing that a stranger can ask for.
pub const HANDSHAKES: usize = 1024;

/// Handshakes of one address at once. A handshake takes milliseconds and a silent client ten seconds, so this is far more
/// than a site needs and far less than it takes to lock the others out.
pub const HANDSHAKES_PER_ADDRESS: usize = 32;

/// A Binary in its FHIR form up to this size is judged in memory like any other resource; of a larger one this is the
/// most that it may have beside its content, which passes through.
pub const BINARY_BYTES: usize = 256 << 10;

/// Judged bodies in memory at once, over all requests, in bytes.
pub const BUFFERED_BYTES: usize = 256 << 20;

/// Judged bodies of one identity in memory at once; the largest judged body that a policy can allow fits.
pub const BUFFERED_BYTES_PER_IDENTITY: usize = policies::limits::JUDGED_BODY_BYTES as usize;

/// Records about strangers per second and at once, from one address (IPv6: one /64).
pub const STRANGER_RECORDS_PER_ADDRESS: (u32, u32) = (2, 20);

/// Records about strangers per second and at once, from all addresses: at most 2 GiB a day.
pub const STRANGER_RECORDS: (u32, u32) = (20, 500);

/// Requests of a stranger on one HTTP/2 connection, which has no other way to end after a refusal.
pub const STRANGER_REQUESTS: u32 = 8;

/// Time that a judged body may take besides its transfer at [`SLOWEST_BODY_RATE`].
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Slowest sender of a body, in bytes per second.
pub const SLOWEST_BODY_RATE: u64 = 16 * 1024;

/// Slowest reader of a response, in bytes per second.
pub const SLOWEST_READER: usize = 1024;

/// Time for which a refused client is heard out before its connection is closed, and how much of what it sends is read.
pub const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub const LINGER_BYTES: usize = 8 << 20;

/// Time after the last connection was accepted in which its first request may come: what a partner and the network need
/// between the handshake and the request.
pub const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Time for running requests to end at stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Identities and addresses whose rate is remembered.
pub const RATE_ENTRIES: u64 = 20_000;

/// The bounds that the policy sets, in the units of the code that enforces them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TLS handshake, from accept to the end.
    pub handshake: Duration,
    /// A request head, from its first byte to its last; also the silence after a handshake.
    pub header: Duration,
    /// Silence within a body.
    pub body_idle: Duration,
    /// Silence between two requests of a connection.
    pub keep_alive: Duration,
    /// Silence of the engine.
    pub upstream: Duration,
    /// Silence of an established WebSocket; the engine pings every 28 s.
    pub websocket_idle: Duration,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Header fields.
    pub head_fields: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of a body by type.
    pub body: BodyLimits,
    /// Limits of the JSON parser.
    pub json: fhir::Limits,
    /// Limits of the XML parser.
    pub xml: fhir::Limits,
    /// Requests and handshakes per second.
    pub rate: RateLimits,
}

impl Limits {
    /// Takes over what the policy says.
    #[must_use]
    pub fn from_policy(policy: &policies::policy::Limits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let parser = fhir::Limits::default();
        let members = count(policy.json.members);
        Self {
            handshake: policy.timeouts.handshake,
            header: policy.timeouts.header,
            body_idle: policy.timeouts.body_idle,
            keep_alive: policy.timeouts.keep_alive,
            upstream: policy.timeouts.upstream,
            websocket_idle: policy.timeouts.ws_idle,
            head_bytes: size(policy.head.bytes),
            head_fields: count(policy.head.headers),
            target_bytes: size(policy.head.uri_bytes),
            body: policy.body.clone(),
            json: fhir::Limits { depth: count(policy.json.depth), members, ..parser },
            xml: fhir::Limits {
                depth: count(policy.xml.depth),
                members,
                attributes: count(policy.xml.attributes),
                ..parser
            },
            rate: policy.rate.clone(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from_policy(&policies::policy::Limits::default())
    }
}
