//! What is in force: certificates, policy and allow-list, each validated before it replaces what was there.
//!
//! [`Active`] is what requests read, [`load()`] is how it is made, at start and on SIGHUP by the same code. Readers take one
//! [`Basis`] per request, so that a request is decided by one policy and one allow-list, never by a mixture. A failed load
//! changes nothing: at start the process refuses to run, at reload the last good state stays and the failure is counted.

mod load;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use certs::CertificateRules;
use http::HeaderValue;
use link::Snapshot;
use node::{Address, Officers, SignedBy};
use policies::{Policy, Thumbprint};
use tokio::sync::watch;

use crate::limits::Limits;
use crate::listen::TlsState;
use crate::respond::Standing;
use crate::sinks::SinkReport;

pub use load::{LoadError, Loaded, load, policy_findings};

/// What is in force now.
#[derive(Debug)]
pub struct Active {
    base: Address,
    authorities: Vec<String>,
    authority: HeaderValue,
    tls: ArcSwap<TlsState>,
    basis: ArcSwap<Basis>,
    generation: watch::Sender<u64>,
    link_up: AtomicBool,
    sinks: ArcSwap<Vec<SinkReport>>,
    refuse_writes: AtomicBool,
}

/// What a request is decided by.
#[derive(Debug)]
pub struct Basis {
    /// Grows with every change.
    pub generation: u64,
    /// The security officer's policy.
    pub policy: Arc<Policy>,
    /// Its conditions on certificates.
    pub rules: CertificateRules,
    /// Its limits.
    pub limits: Limits,
    /// Fields of every response.
    pub(crate) standing: Standing,
    /// The allow-list; none until the engine published one for the first time.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Certificates that `schleuse block` blocked.
    pub blocked: Arc<BTreeSet<Thumbprint>>,
    /// Who signed the policy.
    pub signed: Option<Arc<SignedBy>>,
    /// Who is in office: whose signatures the next policy needs.
    pub(crate) officers: Option<Arc<Officers>>,
}

// === impl Basis ===

impl Basis {
    /// The same with these blocks.
    fn next(&self, blocked: &Arc<BTreeSet<Thumbprint>>) -> Self {
        Self {
            generation: self.generation + 1,
            policy: Arc::clone(&self.policy),
            rules: self.rules.clone(),
            limits: self.limits.clone(),
            standing: self.standing.clone(),
            snapshot: self.snapshot.clone(),
            blocked: Arc::clone(blocked),
            signed: self.signed.clone(),
            officers: self.officers.clone(),
        }
    }
}

// === impl Active ===

impl Active {
    /// Puts the first state in force.
    #[must_use]
    pub fn new(base: Address, loaded: Loaded, snapshot: Option<Snapshot>) -> Arc<Self> {
        let Loaded { tls, policy, rules, limits, signed, officers } = loaded;
        let officers = officers.map(Arc::new);
        let standing = Standing::from_policy(&policy);
        let (snapshot, blocked, signed) = (snapshot.map(Arc::new), Arc::default(), signed.map(Arc::new));
        let basis = Basis { generation: 1, policy, rules, limits, standing, snapshot, blocked, signed, officers };
        let mut authorities = vec![format!("{}:{}", base.host(), base.port())];
        if base.port() == 443 {
            authorities.push(base.host().to_owned());
        }
        // A host name is always a header value.
        let authority = authorities.first().and_then(|authority| HeaderValue::from_str(authority).ok());
        Arc::new(Self {
            base,
            authorities,
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            tls: ArcSwap::from_pointee(tls),
            basis: ArcSwap::from_pointee(basis),
            generation: watch::Sender::new(1),
            link_up: AtomicBool::new(false),
            sinks: ArcSwap::default(),
            refuse_writes: AtomicBool::new(false),
        })
    }

    /// Our address.
    #[must_use]
    pub const fn base(&self) -> &Address {
        &self.base
    }

    /// The spellings of our host and port that a client may use.
    #[must_use]
    pub fn authorities(&self) -> &[String] {
        &self.authorities
    }

    /// Our host and port as the engine sees them.
    pub(crate) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// For handshakes.
    #[must_use]
    pub fn tls(&self) -> Arc<TlsState> {
        self.tls.load_full()
    }

    /// For decisions.
    #[must_use]
    pub fn basis(&self) -> Arc<Basis> {
        self.basis.load_full()
    }

    /// Tells of every change of the basis or of trust.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Whether the engine is connected.
    #[must_use]
    pub fn is_link_up(&self) -> bool {
        self.link_up.load(Ordering::Acquire)
    }

    /// Notes whether the engine is connected.
    pub fn set_link(&self, up: bool) {
        self.link_up.store(up, Ordering::Release);
        metrics::gauge!("schleuse_link_up").set(if up { 1.0 } else { 0.0 });
    }

    /// Notes how it stands with the sinks of the audit log, and whether writes are refused because of them.
    pub(crate) fn set_sinks(&self, reports: Vec<SinkReport>, refuse_writes: bool) {
        if !reports.is_empty() || !self.sinks.load().is_empty() {
            self.sinks.store(Arc::new(reports));
        }
        self.refuse_writes.store(refuse_writes, Ordering::Release);
    }

    /// The sinks of the audit log.
    pub(crate) fn sinks(&self) -> Arc<Vec<SinkReport>> {
        self.sinks.load_full()
    }

    /// Whether a sink of the audit log is dead and the policy demands that nothing is changed then.
    pub(crate) fn refuses_writes(&self) -> bool {
        self.refuse_writes.load(Ordering::Acquire)
    }

    /// Puts a new load in force.
    pub fn replace(&self, loaded: Loaded) {
        let Loaded { tls, policy, rules, limits, signed, officers } = loaded;
        let (signed, officers) = (signed.map(Arc::new), officers.map(Arc::new));
        self.tls.store(Arc::new(tls));
        self.change(|basis| Basis {
            generation: basis.generation + 1,
            policy: Arc::clone(&policy),
            rules: rules.clone(),
            limits: limits.clone(),
            standing: Standing::from_policy(&policy),
            snapshot: basis.snapshot.clone(),
            blocked: Arc::clone(&basis.blocked),
            signed: signed.clone(),
            officers: officers.clone(),
        });
    }

    /// Puts a new allow-list in force.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        metrics::gauge!("schleuse_allow_list_version")
            .set(f64::from(u32::try_from(snapshot.version()).unwrap_or(u32::MAX)));
        self.change(|basis| Basis {
            generation: basis.generation + 1,
            policy: Arc::clone(&basis.policy),
            rules: basis.rules.clone(),
            limits: basis.limits.clone(),
            standing: basis.standing.clone(),
            snapshot: Some(Arc::clone(&snapshot)),
            blocked: Arc::clone(&basis.blocked),
            signed: basis.signed.clone(),
            officers: basis.officers.clone(),
        });
    }

    /// Puts other blocks in force.
    pub fn replace_blocks(&self, blocked: BTreeSet<Thumbprint>) {
        let blocked = Arc::new(blocked);
        self.change(|basis| basis.next(&blocked));
    }

    /// Has every client verified again, because what the verifier asks has changed.
    pub fn verify_again(&self) {
        self.tls.rcu(|tls| Arc::new(tls.renewed()));
        self.change(|basis| basis.next(&basis.blocked));
    }

    /// Requests that load the basis after this returned see the new one.
    fn change(&self, next: impl Fn(&Basis) -> Basis) {
        self.basis.rcu(|basis| Arc::new(next(basis)));
        let generation = self.basis.load().generation;
        self.generation.send_modify(|known| *known = (*known).max(generation));
    }
}
