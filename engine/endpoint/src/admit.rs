//! Admission: from a request head to a caller and a canonical request, or a refusal.
//!
//! The gateway has judged the request; here its judgement is checked, not believed. Exactly one permit, of a policy and
//! a snapshot that this engine has, for the interaction that the target really is by the same table. Whatever does not
//! fit is a fault between the two processes, so it is refused without a body and logged as an error.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use link::{CorrelationId, PERMIT_HEADER, PermitError, PermitParts, PermittedRequest};
use policies::request::RequestError;
use policies::{AllowList, CanonicalRequest, Identity, Origin, Policy};

use crate::approval::ListChanges;
use crate::clients::{Client, Clients, Standing};
use crate::content::Contents;
use crate::policy_history::PolicyHistory;
use crate::refusal::{Code, Refusal};

/// Who asks, by which policy, under which correlation id.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The client of the gateway; none for the engine itself.
    pub(crate) client: Option<Arc<Client>>,
    /// Who it was when the gateway judged the request.
    pub(crate) identity: Arc<Identity>,
    pub(crate) correlation_id: CorrelationId,
    /// Rule of the gateway, for the audit record.
    pub(crate) rule: String,
    pub(crate) policy: Arc<Policy>,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The engine itself, which is not identified by a certificate.
    pub(crate) is_internal: bool,
    /// Whether it brings what comes with the program; snapshots of that are made when somebody asks for them.
    pub(crate) is_shipped: bool,
    /// What it may do to the allow-list.
    pub(crate) list_changes: ListChanges,
    /// Stored contents that the answer to this request shows.
    pub(crate) contents: Arc<Contents>,
}

/// What an admitted request is.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) caller: Arc<Caller>,
    pub(crate) request: CanonicalRequest,
}

impl Caller {
    /// Who the client is by this allow-list, and what it may read; `None` if nobody, or the engine itself.
    pub(crate) fn standing(&self, allow_list: &Arc<AllowList>) -> Option<Standing> {
        self.client.as_ref()?.standing(allow_list, &self.policy)
    }
}

/// Reads the permit and derives the request again.
pub(crate) fn admit(
    parts: &Parts,
    base_path: &str,
    clients: &Clients,
    policies: &PolicyHistory,
    snapshot_version: u64,
) -> Result<Admitted, Refusal> {
    let (client, permit) = permit(parts, clients)?;
    let Some(policy) = policies.accepted(&client.policy_version) else {
        return Err(Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::PolicyUnknown)
            .because(format!("permit of unknown policy {}", client.policy_version)));
    };
    if client.snapshot_version > snapshot_version {
        return Err(Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::PolicyUnknown)
            .because(format!("permit of unknown snapshot {}", client.snapshot_version)));
    }
    if *client.identity == Identity::Unknown {
        return Err(Refusal::empty(StatusCode::FORBIDDEN, Code::IdentityUnknown).because("permit of unknown identity"));
    }
    let request = request(parts, base_path)?;
    if request.interaction().as_str() != permit.interaction {
        return Err(mismatch(format!("permit is for {}, request is {}", permit.interaction, request.interaction())));
    }
    let caller = Caller {
        identity: Arc::clone(&client.identity),
        client: Some(client),
        correlation_id: permit.correlation_id,
        rule: permit.rule,
        policy,
        origin: Origin::Address(permit.address),
        is_internal: false,
        is_shipped: false,
        list_changes: ListChanges::Governed,
        contents: Arc::new(Contents::new()),
    };
    Ok(Admitted { caller: Arc::new(caller), request })
}

fn permit(parts: &Parts, clients: &Clients) -> Result<(Arc<Client>, PermittedRequest), Refusal> {
    let refuse = |reason: String| Refusal::empty(StatusCode::FORBIDDEN, Code::Permit).because(reason);
    let mut values = parts.headers.get_all(PERMIT_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let read = || -> Result<_, PermitError> {
                let parts = PermitParts::of(value.as_bytes())?;
                Ok((clients.of(parts.client)?, PermittedRequest::decode(parts.request)?))
            };
            read().map_err(|error| refuse(format!("permit is refused: {error}")))
        }
        (None, _) => Err(refuse("request without permit".to_owned())),
        (Some(_), Some(_)) => Err(refuse("request with several permits".to_owned())),
    }
}

fn request(parts: &Parts, base_path: &str) -> Result<CanonicalRequest, Refusal> {
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    match policies::canonicalize(parts.method.as_str(), target, base_path) {
        Ok(request) if request.target(base_path) == target => Ok(request),
        // The gateway writes targets from the canonical form only.
        Ok(_) => Err(mismatch("target is not in canonical form".to_owned())),
        Err(RequestError::MethodNotAllowed { .. }) if is_root_read(parts, base_path) => Err(Refusal::root_read()),
        Err(error) => Err(mismatch(error.to_string())),
    }
}

fn is_root_read(parts: &Parts, base_path: &str) -> bool {
    let path = parts.uri.path().trim_end_matches('/');
    matches!(parts.method, http::Method::GET | http::Method::HEAD) && path == base_path.trim_end_matches('/')
}

fn mismatch(reason: String) -> Refusal {
    Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::PermitMismatch).because(reason)
}
