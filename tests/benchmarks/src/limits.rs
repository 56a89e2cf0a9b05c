//! Every bound of the benchmarks: how long, how many. A run ends, whatever the programs under test do.

use std::time::Duration;

/// Load of the last minute above which no verdict is given.
pub(crate) const IDLE_LOAD: f64 = 0.5;

/// Time for a server to answer its first request.
pub(crate) const READY: Duration = Duration::from_secs(30);

/// Time for a server to end after SIGTERM, then it is killed.
pub(crate) const STOP: Duration = Duration::from_secs(8);

/// Time for one request, handshake included.
pub(crate) const REQUEST: Duration = Duration::from_secs(20);

/// Largest response that is read.
pub(crate) const RESPONSE_BYTES: usize = 16 << 20;

/// Connections of the keep-alive test.
pub(crate) const CONNECTIONS: usize = 32;

/// Connections of the HTTP/2 test, and streams on each.
pub(crate) const H2: (usize, usize) = (8, 8);

/// Loops of the handshake tests.
pub(crate) const HANDSHAKE_LOOPS: usize = 16;

/// Idle connections of the memory test.
pub(crate) const IDLE_CONNECTIONS: usize = 1_000;

/// Idle connections that share a source address: the gateway admits 256 of one address.
pub(crate) const IDLE_PER_ADDRESS: usize = 200;

/// Longest wait for a server to close on a slow client. Apache httpd needs up to 40 s by its defaults.
pub(crate) const SLOW_CLIENT: Duration = Duration::from_secs(45);

/// Interval of the bytes of a slow client.
pub(crate) const DRIP: Duration = Duration::from_secs(1);

/// Entries of the allow-list.
pub(crate) const CERTIFICATES: usize = 5_000;

/// Rules of the policy.
pub(crate) const RULES: usize = 200;

/// Tasks in the store of the start benchmark.
pub(crate) const STORED_TASKS: u64 = 100_000;

/// Time for one ping.
pub(crate) const PING: Duration = Duration::from_secs(30);

/// Time for one step of a data set between nodes.
pub(crate) const DATA_SET: Duration = Duration::from_secs(1_800);

/// Time for all pings.
pub(crate) const PINGS: Duration = Duration::from_secs(600);

/// Tasks in the small store of the scale benchmark.
pub(crate) const SMALL_STORE: u64 = 5_000;

/// Tasks in its large store.
pub(crate) fn large_store() -> u64 {
    if std::env::var_os("SCHLEUSE_SLOW").is_some() { 1_000_000 } else { 100_000 }
}
