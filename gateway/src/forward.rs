//! From a verified client to the engine: judge, record, hand over, clean what comes back.
//!
//! [`Gateway`] is what the proxy calls for each request. The order is fixed in `judge`: nothing is forwarded without a
//! [`link::Permit`], the permit exists only after a decision, the decision is recorded before anything goes on, and the
//! head that goes on is built from the canonical request (`head::EngineHead`). Requests and answers pass through
//! `exchange` over connections of `engine`; the proxy's own way to an upstream carries WebSockets alone.

mod engine;
mod exchange;
mod head;
mod judge;
mod proxy;
mod websocket;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::Log;
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::watch;

use crate::decide::Identities;
use crate::limits;
use crate::memory::Memory;
use crate::meters::Meters;
use crate::rate::Rates;
use crate::reload::Active;
use crate::strangers::Strangers;

use engine::Engine;

/// Everything that requests share.
pub struct Gateway {
    active: Arc<Active>,
    identities: Identities,
    audit: Arc<Log>,
    engine: Engine,
    peer: HttpPeer,
    memory: Memory,
    strangers: Strangers,
    meters: Meters,
    rule_rates: Rates<String>,
    stop: watch::Receiver<bool>,
}

/// Why the proxy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The socket path is no path for a Unix socket.
    #[error("engine socket {path} is no usable path for a unix socket (at most 107 bytes)")]
    Socket {
        /// The path.
        path: PathBuf,
    },
}

/// Builds the proxy.
pub fn build(
    active: Arc<Active>,
    audit: Arc<Log>,
    engine_socket: &Path,
    trust_placeholder: &Path,
    workers: usize,
    stop: watch::Receiver<bool>,
) -> Result<Arc<HttpProxy<Gateway>>, ProxyError> {
    let unusable = || ProxyError::Socket { path: engine_socket.to_owned() };
    let path = engine_socket.to_str().ok_or_else(unusable)?;
    let mut peer = HttpPeer::new_uds(path, false, String::new()).map_err(|_| unusable())?;
    peer.options.connection_timeout = Some(limits::ENGINE_CONNECT);
    peer.options.idle_timeout = Some(std::time::Duration::from_secs(60));
    let keep_alive = active.basis().limits.keep_alive;
    let head_bytes = u32::try_from(active.basis().limits.head_bytes).unwrap_or(u32::MAX);
    let gateway = Gateway {
        active,
        identities: Identities::default(),
        audit,
        engine: Engine::new(engine_socket, workers),
        peer,
        memory: Memory::default(),
        strangers: Strangers::default(),
        meters: Meters::default(),
        rule_rates: Rates::default(),
        stop,
    };
    // The connector loads a trust store even though it only ever speaks plain HTTP on a Unix socket, and panics on a
    // machine without one. Our own certificates give it something harmless to read.
    let conf = ServerConf {
        ca_file: Some(trust_placeholder.display().to_string()),
        threads: workers,
        upstream_keepalive_pool_size: limits::ENGINE_CONNECTIONS,
        // One more attempt when a pooled connection turns out to be closed.
        max_retries: 2,
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(gateway, Arc::new(conf));
    let mut options = HttpServerOptions::default();
    // Refused like every other unknown method, by our filter, with a record.
    options.allow_connect_method_proxying = true;
    options.keepalive_request_limit = Some(limits::REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(keep_alive);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    // A reload that narrows the limit is seen by `check_fields`; one that widens it counts from the next start.
    h2.max_header_list_size(head_bytes);
    h2.max_concurrent_streams(limits::H2_STREAMS);
    h2.max_concurrent_reset_streams(limits::H2_RESET_STREAMS);
    h2.max_pending_accept_reset_streams(limits::H2_RESET_STREAMS);
    h2.max_send_buffer_size(256 * 1024);
    proxy.h2_options = Some(h2);
    proxy.handle_init_modules();
    Ok(Arc::new(proxy))
}
