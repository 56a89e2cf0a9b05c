//! `binary`: content of Binaries through gateway and engine, into the store and back, and the memory that it takes.
//!
//! A demonstration network runs with its own stores, so an upload is on disk before it is answered. The same bytes go as
//! they are and as base64 of a FHIR resource, by HTTP/1.1 and HTTP/2. Rates are those of the content: base64 carries a
//! third more. Growth is the peak of the resident memory of a process within a transfer, over what it had before.

use std::time::Instant;

use tests::binaries::is_slow;
use tests::client::JSON;
use tests::transfer::{Memory, Part, Parts, Protocol};
use tests::{Client, Network, Node, search};

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::report::{Report, Table, Target, number};

const MEBIBYTE: u64 = 1 << 20;
const RAW: &str = "application/octet-stream";

/// How content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw,
    Resource,
}

/// One transfer.
struct Measured {
    megabytes_per_second: f64,
    gateway: f64,
    engine: f64,
}

/// The node under load.
struct Side {
    node: Node,
    client: Client,
    context: String,
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let length = match (run.quick, is_slow()) {
        (true, _) => 256 * MEBIBYTE,
        (false, true) => 4096 * MEBIBYTE,
        (false, false) => 1024 * MEBIBYTE,
    };
    let folder = tempfile::Builder::new().prefix("benchmark-").tempdir().during("making a temporary folder")?;
    eprintln!("binary: starting a network");
    let network = Network::start_in(&folder.path().join("network"), folder.path(), 1).map_err(Failure::new)?;
    let (node, client) = (network.node("dms"), network.organization("dms", "dms"));
    let found = search::all(&client, "Organization", &format!("identifier={}", node.organization_identifier)).await;
    let id = found.first().and_then(|own| own.get("id")?.as_str()).during("looking for the own organization")?;
    let side = Side { context: format!("Organization/{id}"), node, client };
    let mut rows = Vec::new();
    let mut most: f64 = 0.0;
    let mut head: f64 = 0.0;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for form in [Form::Raw, Form::Resource] {
            eprintln!("binary: {} MiB by {protocol:?}, {form:?}", length / MEBIBYTE);
            // Warm: what the first request of its kind takes is no growth by content.
            let (warm, _) = side.upload(protocol, form, 8 * MEBIBYTE).await?;
            side.download(protocol, form, &warm, 8 * MEBIBYTE).await?;
            let (id, up) = side.upload(protocol, form, length).await?;
            head = head.max(side.head(form, &id).await?);
            let down = side.download(protocol, form, &id, length).await?;
            for (name, measured) in [("up", &up), ("down", &down)] {
                most = most.max(measured.gateway).max(measured.engine);
                let mut row = vec![format!("{protocol:?} {form:?} {name}")];
                row.extend([measured.megabytes_per_second, measured.gateway, measured.engine].map(number));
                rows.push(row);
            }
            for id in [warm, id] {
                side.delete(&id).await?;
            }
        }
    }
    let title = format!("Content of {} MiB", length / MEBIBYTE);
    report.table(Table::new(title, &["transfer", "MB/s", "gateway +MiB", "engine +MiB"], rows));
    report.figure("growth of resident memory, gateway or engine", most, "MiB", Target::Below(64.0));
    report.figure("HEAD, slowest", head, "ms", Target::Below(200.0));
    report.note("one client and one connection; durable before the answer to an upload");
    Ok(())
}

// === impl Side ===

impl Side {
    async fn upload(&self, protocol: Protocol, form: Form, length: u64) -> Outcome<(String, Measured)> {
        let (media_type, parts) = match form {
            Form::Raw => (RAW, vec![Part::Content(length)]),
            Form::Resource => {
                let begin = format!(
                    r#"{{"resourceType":"Binary","contentType":"{RAW}","securityContext":{{"reference":"{}"}},"data":""#,
                    self.context
                );
                (JSON, vec![Part::Text(begin), Part::Base64(length), Part::Text("\"}".to_owned())])
            }
        };
        let mut fields = vec![("content-type", media_type), ("accept", JSON), ("prefer", "return=minimal")];
        if form == Form::Raw {
            fields.push(("x-security-context", &self.context));
        }
        let before = self.forget_peaks()?;
        let started = Instant::now();
        let sent = self.client.exchange(protocol, "POST", "/Binary", &fields, Parts::new(parts)).await;
        let created = sent.during("uploading")?;
        let seconds = started.elapsed().as_secs_f64();
        let location = created.field("location").unwrap_or_default().to_owned();
        if created.status != 201 {
            let status = created.status;
            return Err(Failure::new(format!("upload: {status} {}", created.text().await)));
        }
        let id =
            location.split("/Binary/").nth(1).and_then(|rest| rest.split('/').next()).during("reading Location")?;
        Ok((id.to_owned(), self.measured(length, seconds, before)?))
    }

    async fn download(&self, protocol: Protocol, form: Form, id: &str, length: u64) -> Outcome<Measured> {
        let accept = if form == Form::Raw { RAW } else { JSON };
        let before = self.forget_peaks()?;
        let started = Instant::now();
        let path = format!("/Binary/{id}");
        let sent = self.client.exchange(protocol, "GET", &path, &[("accept", accept)], Parts::new([])).await;
        let (received, is_same) = sent.during("downloading")?.compare().await.during("downloading")?;
        let seconds = started.elapsed().as_secs_f64();
        if received < length || (form == Form::Raw && !is_same) {
            return Err(Failure::new(format!("download: {received} bytes of {length}, the same: {is_same}")));
        }
        self.measured(length, seconds, before)
    }

    /// Milliseconds of a HEAD on a connection of its own, handshake included.
    async fn head(&self, form: Form, id: &str) -> Outcome<f64> {
        let accept = if form == Form::Raw { RAW } else { JSON };
        let started = Instant::now();
        let answer = self.client.try_send("HEAD", &format!("/Binary/{id}"), &[("accept", accept)], "").await;
        let answer = answer.during("asking for the head")?;
        if answer.status == 200 {
            Ok(started.elapsed().as_secs_f64() * 1e3)
        } else {
            Err(Failure::new(format!("HEAD: {}", answer.status)))
        }
    }

    async fn delete(&self, id: &str) -> Outcome<()> {
        for (method, tail) in [("DELETE", ""), ("POST", "/$permanent-delete")] {
            let target = format!("/Binary/{id}{tail}");
            let answer = self.client.try_send(method, &target, &[("accept", JSON)], "").await.during("deleting")?;
            if answer.status != 200 {
                return Err(Failure::new(format!("{method} {target}: {}", answer.status)));
            }
        }
        Ok(())
    }

    /// Resident memory of gateway and engine, from which growth is counted.
    fn forget_peaks(&self) -> Outcome<[u64; 2]> {
        let now = |pid: i32| {
            Memory::forget_peak(pid);
            Memory::of(pid).map(|memory| memory.now).during("looking at a process of the node")
        };
        Ok([now(self.node.gateway_pid)?, now(self.node.engine_pid)?])
    }

    fn measured(&self, length: u64, seconds: f64, before: [u64; 2]) -> Outcome<Measured> {
        let growth = |pid: i32, before: u64| {
            let memory = Memory::of(pid).during("looking at a process of the node")?;
            Ok(memory.peak.saturating_sub(before) as f64 / MEBIBYTE as f64)
        };
        Ok(Measured {
            megabytes_per_second: length as f64 / 1e6 / seconds,
            gateway: growth(self.node.gateway_pid, before[0])?,
            engine: growth(self.node.engine_pid, before[1])?,
        })
    }
}
