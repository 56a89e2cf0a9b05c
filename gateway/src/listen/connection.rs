//! What is known about one connection, shared between its byte stream and its requests.
//!
//! Made once after the handshake. The thumbprint is computed here and never again; everything that can change while the
//! connection lives (allow-list, expiry, trust) is asked per request by [`crate::decide`].

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use certs::Certificate;
use policies::Thumbprint;
use rustls_pki_types::CertificateDer;

use crate::decide::Caller;
use crate::limits::STRANGER_REQUESTS;
use crate::record;
use crate::request::HeadRefusal;

/// The client of a connection, as proven by the handshake.
#[derive(Debug)]
pub struct Peer {
    /// Address of the other end.
    pub address: IpAddr,
    /// SHA-512 of the leaf certificate.
    pub thumbprint: Thumbprint,
    /// The leaf certificate; connections of the same client share it.
    pub certificate: Arc<Certificate>,
    /// The rest of the chain as the client sent it: verified again when trust changed or the session was resumed.
    pub intermediates: Vec<CertificateDer<'static>>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// Whether the client asked for our name in the ClientHello, or for none.
    pub sni_matches: bool,
    /// TLS version and suite for the audit record.
    pub protocol: String,
    /// Address of the client for the audit record.
    pub(crate) address: String,
    /// Subject of its certificate for the audit record.
    pub(crate) subject: String,
    /// Generation of the trust that verified the chain; 0 for a resumed session, which nobody verified yet.
    pub trust_generation: AtomicU64,
    head: Mutex<HeadState>,
    cut: AtomicBool,
    /// Requests that were refused because nobody knows the client.
    strange: AtomicU32,
    /// A WebSocket: no heads any more.
    upgraded: AtomicBool,
    reader: Mutex<Option<Waker>>,
    /// Wait for the first byte of the next head.
    keep_alive: Duration,
    /// Who the client was found to be, by the policy and allow-list of this generation.
    caller: Mutex<Option<(u64, Arc<Caller>)>>,
}

/// The head that the stream read last.
#[derive(Debug, Default)]
struct HeadState {
    refusal: Option<HeadRefusal>,
    /// The response is done: the stream may read the next head.
    next: bool,
    /// A head was passed on and no request has come of it yet.
    passed: bool,
    /// The proxy has seen a request.
    begun: bool,
}

// === impl Connection ===

impl Connection {
    /// A connection after its handshake.
    pub fn new(peer: Peer, sni_matches: bool, protocol: String, trust_generation: u64, keep_alive: Duration) -> Self {
        Self {
            address: peer.address.to_string(),
            subject: record::cut(&peer.certificate.subject().to_string()).into_owned(),
            peer,
            sni_matches,
            protocol,
            trust_generation: AtomicU64::new(trust_generation),
            head: Mutex::new(HeadState::default()),
            cut: AtomicBool::new(false),
            strange: AtomicU32::new(0),
            upgraded: AtomicBool::new(false),
            reader: Mutex::new(None),
            keep_alive,
            caller: Mutex::new(None),
        }
    }

    /// Who the client is, if that was found out by the policy and allow-list of `generation`.
    pub(crate) fn caller(&self, generation: u64) -> Option<Arc<Caller>> {
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        caller.as_ref().filter(|(of, _)| *of == generation).map(|(_, caller)| Arc::clone(caller))
    }

    /// Keeps what was found out.
    pub(crate) fn keep_caller(&self, generation: u64, caller: &Arc<Caller>) {
        let mut known = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((generation, Arc::clone(caller)));
    }

    /// Takes note of a head that must not be parsed.
    pub fn refuse_head(&self, refusal: HeadRefusal) {
        self.head().refusal = Some(refusal);
    }

    /// Takes note of a head that the parser gets.
    pub fn pass_head(&self) {
        self.head().passed = true;
    }

    /// Whether the parser refused a head that was passed to it.
    pub fn was_refused_by_parser(&self) -> bool {
        self.head().passed
    }

    /// The reason why the head of the request at hand stands for one that was refused.
    pub fn begin_request(&self) -> Option<HeadRefusal> {
        let mut head = self.head();
        head.begun = true;
        head.passed = false;
        head.refusal
    }

    /// The response is complete: what the client sends next is a head.
    pub fn end_request(&self) {
        self.head().next = true;
    }

    /// Whether the next bytes begin a head; asked by the stream.
    pub fn take_next_head(&self) -> bool {
        std::mem::take(&mut self.head().next)
    }

    /// Whether a first request has come.
    pub fn has_begun(&self) -> bool {
        self.head().begun
    }

    /// Silence allowed between requests.
    pub const fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// The connection carries a WebSocket from here on.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    /// Whether the connection carries a WebSocket.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// Ends the connection: the stream fails its next read and write.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        if let Some(waker) = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Counts a request of a stranger; after some the connection is not worth its keep.
    pub fn refuse_stranger(&self) {
        if self.strange.fetch_add(1, Ordering::AcqRel) + 1 >= STRANGER_REQUESTS {
            self.cut();
        }
    }

    /// Whether [`Connection::cut`] was called.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Keeps the task to wake by [`Connection::cut`].
    pub fn wake_on_cut(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }

    fn head(&self) -> std::sync::MutexGuard<'_, HeadState> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
