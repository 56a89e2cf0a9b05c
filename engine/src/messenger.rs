//! The way out: Tasks of the outbox and questions about references, through the one outgoing client.

use std::sync::Arc;

use arc_swap::ArcSwap;
use client::{Client, ClientError, ClientSettings, Identity, OutboundMode, OutboundPolicy, ProxySettings, Retry};
use endpoint::{Boxed, RemoteAnswer, RemoteReferences};
use link::CorrelationId;
use node::Settings;
use policies::{AllowList, Policy};
use processes::{Delivery, DeliveryFailure, FailureKind, Messenger};

/// Delivers with the node's client.
pub(crate) struct Outgoing {
    pub(crate) client: Client,
    pub(crate) allow_list: Arc<ArcSwap<AllowList>>,
}

impl Messenger for Outgoing {
    fn deliver<'m>(&'m self, delivery: Delivery<'m>) -> Boxed<'m, Result<(), DeliveryFailure>> {
        Box::pin(async move {
            let id = CorrelationId::random().to_string();
            let created =
                self.client.create_task(delivery.endpoint_url, delivery.task, Some(delivery.identifier), &id).await;
            created.map(drop).map_err(|error| failure(&error))
        })
    }
}

fn failure(error: &ClientError) -> DeliveryFailure {
    let kind = match error {
        ClientError::Http { status: 403, .. } => FailureKind::Forbidden,
        _ => FailureKind::NotReachable,
    };
    DeliveryFailure { kind, text: error.to_string(), may_pass: matches!(error.retry(), Retry::After(_)) }
}

impl RemoteReferences for Outgoing {
    fn exists(&self, url: String) -> Boxed<'_, RemoteAnswer> {
        Box::pin(async move {
            let Some((base_url, path)) = self.split(&url) else { return RemoteAnswer::Failed };
            let id = CorrelationId::random().to_string();
            let request = client::Request::new(client::Method::Head, &base_url, &path, &id);
            match self.client.request(request).await {
                Ok(answer) if answer.status == 200 => RemoteAnswer::Exists,
                Err(ClientError::Http { status: 404, .. }) => RemoteAnswer::Missing,
                Ok(_) | Err(_) => RemoteAnswer::Failed,
            }
        })
    }
}

impl Outgoing {
    /// Base URL of an active endpoint and the path below it.
    fn split(&self, url: &str) -> Option<(String, String)> {
        let allow_list = self.allow_list.load();
        let mut active = allow_list.endpoints().iter().filter(|endpoint| endpoint.active);
        active.find_map(|endpoint| {
            let path = url.strip_prefix(endpoint.address.as_str())?.strip_prefix('/')?;
            Some((endpoint.address.clone(), path.to_owned()))
        })
    }
}

/// Whether an active organisation has an active endpoint there.
fn is_active_endpoint(allow_list: &AllowList, base_url: &str) -> bool {
    allow_list.endpoints().iter().any(|endpoint| {
        endpoint.active
            && endpoint.address == base_url
            && endpoint.organization.as_ref().is_some_and(|organization| allow_list.is_active(organization))
    })
}

/// The client sends only these.
const fn client_method(method: policies::Method) -> Option<client::Method> {
    match method {
        policies::Method::Get => Some(client::Method::Get),
        policies::Method::Head => Some(client::Method::Head),
        policies::Method::Post => Some(client::Method::Post),
        policies::Method::Put => Some(client::Method::Put),
        policies::Method::Delete => Some(client::Method::Delete),
    }
}

/// The same for lists of partners, whose servers may be pinned.
pub(crate) fn list_client_settings(
    settings: &Settings,
    policy: &Policy,
    allow_list: &Arc<ArcSwap<AllowList>>,
) -> ClientSettings {
    let mut client = client_settings(settings, policy, allow_list);
    client.server_pins = policy.allow_list().pin_server_sha256.clone();
    client
}

/// The client's settings from those of the administrator and of the security officer.
pub(crate) fn client_settings(
    settings: &Settings,
    policy: &Policy,
    allow_list: &Arc<ArcSwap<AllowList>>,
) -> ClientSettings {
    let known = Arc::clone(allow_list);
    let own = settings.base_url.as_str().to_owned();
    let outbound = policy.outbound();
    let outbound = OutboundPolicy {
        mode: match outbound.mode {
            policies::policy::OutboundMode::Any => OutboundMode::Any,
            policies::policy::OutboundMode::AllowListEndpoints => OutboundMode::AllowListEndpoints,
            policies::policy::OutboundMode::List => OutboundMode::List,
        },
        // The own endpoint too: processes send Tasks to their own node.
        endpoints: Arc::new(move |base_url| base_url == own || is_active_endpoint(&known.load(), base_url)),
        extra: outbound.extra.clone(),
        deny_private_addresses: outbound.deny_private_addresses,
        private_hosts: outbound.private_hosts.clone(),
        partner_methods: outbound.partner_methods.iter().filter_map(|method| client_method(*method)).collect(),
    };
    let pair = &settings.client_certificate;
    let identity = Identity { certificate: pair.certificate.clone(), private_key: pair.private_key.clone() };
    let mut client = ClientSettings::new(Some(identity), settings.trust_stores.server.clone(), outbound);
    client.proxy = settings.outgoing.proxy.as_ref().map(|proxy| ProxySettings {
        url: proxy.url.clone(),
        username: proxy.username.clone(),
        password_file: proxy.password_file.clone(),
        exceptions: proxy.exceptions.clone(),
    });
    client.connect_timeout = settings.outgoing.connect_timeout;
    client.read_timeout = settings.outgoing.read_timeout;
    client
}
