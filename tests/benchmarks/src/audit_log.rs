//! `audit`: what a record costs on the way of a request.
//!
//! Appends records of the size and shape of the gateway's decisions to a real log, alone and while the log is being
//! synced; and, for information, the time until a single record is on disk.

use std::sync::Arc;
use std::time::Instant;

use audit::{Log, Options};
use serde::Serialize;
use time::OffsetDateTime;

use crate::Run;
use crate::error::{During as _, Outcome};
use crate::report::{Report, Target};
use crate::statistics::Values;
use crate::upstream::SMALL_TARGET;

/// A record as the gateway writes one for a permitted read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Record<'a> {
    event: &'a str,
    correlation_id: String,
    address: &'a str,
    tls: &'a str,
    thumbprint: &'a str,
    subject: &'a str,
    identity: &'a str,
    name: &'a str,
    method: &'a str,
    target: &'a str,
    interaction: &'a str,
    resource_type: &'a str,
    rule: &'a str,
    policy_version: &'a str,
    snapshot_version: u64,
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let folder = tempfile::tempdir().during("making a temporary folder")?;
    let path = folder.path().join("gateway.log");
    let log = Arc::new(Log::open(&path, Options::default()).during("opening an audit log")?);
    let count = if run.quick { 20_000 } else { 200_000 };
    let thumbprint = certs::thumbprint(b"benchmark");
    let one = || Record {
        event: "permit",
        correlation_id: uuid::Uuid::new_v4().to_string(),
        address: "127.0.0.1",
        tls: "TLSv1_3 TLS13_AES_128_GCM_SHA256",
        thumbprint: &thumbprint,
        subject: "C=DE, O=Benchmark, CN=client.example",
        identity: "remote-organization",
        name: "client.example",
        method: "GET",
        target: SMALL_TARGET,
        interaction: "read",
        resource_type: "Organization",
        rule: "remote-read",
        policy_version: "0b8b2a1c0d6cb5d3f7e3f0c1ad20c1a7a51f6c1bb6f0b6f0a6f0c1d2e3f40516",
        snapshot_version: 1,
    };
    let append = |record: &Record<'_>| -> Outcome<f64> {
        let started = Instant::now();
        log.append(OffsetDateTime::now_utc(), record).during("appending")?;
        Ok(started.elapsed().as_secs_f64() * 1e6)
    };
    // The first records make the file and its buffers.
    for _ in 0..1_000 {
        append(&one())?;
    }
    let mut alone = Vec::with_capacity(count);
    for _ in 0..count {
        alone.push(append(&one())?);
    }

    // Somebody always waits for the disk, as under a load of writes.
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            while log.durable(log.newest()).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
    let mut synced = Vec::with_capacity(count);
    for number in 0..count {
        synced.push(append(&one())?);
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    waiting.abort();

    let mut durable = Vec::new();
    for _ in 0..if run.quick { 100 } else { 500 } {
        let record = one();
        let started = Instant::now();
        let position = log.append(OffsetDateTime::now_utc(), &record).during("appending")?;
        log.durable(position).await.during("syncing")?;
        durable.push(started.elapsed().as_secs_f64() * 1e6);
    }

    let (alone, synced, durable) = (Values::new(alone), Values::new(synced), Values::new(durable));
    report.figure("append, p50", alone.p50(), "us", Target::Below(20.0));
    report.value("append, p99", alone.p99(), "us");
    report.value("append, mean", alone.mean(), "us");
    report.value("append while the log is synced, p50", synced.p50(), "us");
    report.value("append while the log is synced, p99", synced.p99(), "us");
    report.value("append until on disk, one at a time, p50", durable.p50(), "us");
    let bytes = serde_json::to_vec(&one()).during("a record")?.len();
    report.note(format!(
        "{count} records of {bytes} bytes besides the chain's own fields, one thread; durable: {}",
        durable.len()
    ));
    Ok(())
}
