//! The engine's audit chain (`audit/engine.log`), joined with the gateway's by correlation id. Records name what was
//! touched and never what is in it.

use std::sync::Arc;
use std::time::Duration;

use audit::Log;
use endpoint::{Audit, AuditError, AuditEvent, AuditRecord, Boxed};
use serde::Serialize;
use time::OffsetDateTime;

/// Longest time that a record is in the file without being on disk.
const LATEST_SYNC: Duration = Duration::from_secs(1);

/// The chain.
#[derive(Clone)]
pub(crate) struct Records {
    log: Arc<Log>,
}

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'l> {
    correlation_id: String,
    identity: String,
    kind: &'l str,
    interaction: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'l str>,
    #[serde(flatten)]
    event: Event<'l>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Event<'l> {
    Begun {
        rule: &'l str,
        policy_version: &'l str,
    },
    Ended {
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'l str>,
    },
    Answered {
        rule: &'l str,
        policy_version: &'l str,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'l str>,
    },
    Administration {
        command: &'l str,
        uid: u32,
    },
    Worker {
        request: &'l str,
    },
}

impl Records {
    pub(crate) const fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// Records a command of the administration socket; on disk when it resolves.
    pub(crate) async fn administration(&self, command: &str, uid: u32) -> Result<(), AuditError> {
        let line = Line {
            correlation_id: link::CorrelationId::random().to_string(),
            identity: format!("uid {uid}"),
            kind: "administrator",
            interaction: "administration",
            resource_type: None,
            id: None,
            event: Event::Administration { command, uid },
        };
        self.append(OffsetDateTime::now_utc(), &line)?;
        self.on_disk().await
    }

    /// Records a request of an external worker; on disk when it resolves.
    pub(crate) async fn worker(&self, credential: &str, request: &str) -> Result<(), AuditError> {
        let line = Line {
            correlation_id: link::CorrelationId::random().to_string(),
            identity: credential.to_owned(),
            kind: "worker",
            interaction: "external-task",
            resource_type: None,
            id: None,
            event: Event::Worker { request },
        };
        self.append(OffsetDateTime::now_utc(), &line)?;
        self.on_disk().await
    }

    /// Brings to disk what nobody waits for: that requests ended, and what was only read.
    pub(crate) async fn keep_on_disk(self) {
        loop {
            tokio::time::sleep(LATEST_SYNC).await;
            if let Err(error) = Audit::on_disk(&self).await {
                // The log takes nothing more until the next start, and every write is refused with this reason.
                tracing::error!(%error, "audit log cannot be written; writes are refused until the node is restarted");
                return std::future::pending().await;
            }
        }
    }

    fn append(&self, at: OffsetDateTime, line: &Line<'_>) -> Result<(), AuditError> {
        self.log.append(at, line).map(drop).map_err(|error| AuditError(error.to_string()))
    }
}

impl Audit for Records {
    fn record(&self, record: &AuditRecord<'_>) -> Result<(), AuditError> {
        let event = match record.event {
            AuditEvent::Begun { rule, policy_version } => Event::Begun { rule, policy_version },
            AuditEvent::Ended { status, code } => Event::Ended { status, code },
            AuditEvent::Answered { rule, policy_version, status, code } => {
                Event::Answered { rule, policy_version, status, code }
            }
        };
        let line = Line {
            correlation_id: record.correlation_id.to_string(),
            identity: record.identity.name(),
            kind: record.identity.kind(),
            interaction: record.interaction,
            resource_type: record.resource_type.map(fhir::ResourceType::as_str),
            id: record.id,
            event,
        };
        self.append(record.at, &line)
    }

    fn on_disk(&self) -> Boxed<'_, Result<(), AuditError>> {
        Box::pin(async { self.log.durable(self.log.newest()).await.map_err(|error| AuditError(error.to_string())) })
    }
}
