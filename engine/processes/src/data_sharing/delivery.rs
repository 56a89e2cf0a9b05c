//! A delivery: files for one organisation, each a sealed Binary, and a sealed, signed manifest that names them.
//!
//! ```text
//! lines ─▶ PartWriter ─ parts of some MiB ─▶ seal ─▶ uploads ─▶ store: Binaries that the recipient alone may read
//! manifest URL ─▶ open: fetch, unseal, verify signature, sender and run ─▶ file by file: fetch, unseal, compare hash
//! ```
//!
//! Memory holds a few parts, however large the whole is.

use fhir::{Object, Resource};
use sealing::{Binding, Manifest, Opener, Part, PublicKey, Revision, Sealer, SignedManifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::site::text_of;
use super::{Parts, kept, limits, rows};
use crate::step::{StepContext, StepError, WorkError};
use crate::terms;
use crate::work::WorkContext;

const READ_ACCESS: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
/// Variable with the ids of Binaries that the instance has made and must delete.
const BINARIES: &str = "binaries";
pub(super) const SEALED: &str = "application/octet-stream";
pub(super) const NDJSON: &str = "application/fhir+ndjson";

/// Between whom and for what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) sender: String,
    pub(super) recipient: String,
    pub(super) project: String,
    /// Name of the message that brings the manifest.
    pub(super) purpose: String,
    /// Business key.
    pub(super) run: String,
}

/// Content that waits for becoming a Binary of this id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Uploaded {
    pub(super) id: String,
    pub(super) upload: String,
}

/// A file before it is sealed.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
}

/// Collects lines and hands them on in files of bounded size. Runs beside the runtime's threads.
pub(super) struct PartWriter {
    name: &'static str,
    sender: mpsc::Sender<File>,
    buffer: Vec<u8>,
    records: u64,
    files: u32,
}

/// A delivery whose manifest was verified.
pub(super) struct Opened<'o> {
    parts: &'o Parts,
    base_url: String,
    letter: Letter,
    pub(super) manifest: Manifest,
}

// === impl Letter ===

impl Letter {
    /// In the run and project that the input of a work step names.
    pub(super) fn of(input: &Value, sender: &str, recipient: &str, purpose: &str) -> Self {
        Self {
            sender: sender.to_owned(),
            recipient: recipient.to_owned(),
            project: text_of(input, "project").to_owned(),
            purpose: purpose.to_owned(),
            run: text_of(input, "run").to_owned(),
        }
    }

    pub(super) fn binding(&self) -> Binding<'_> {
        Binding {
            sender: &self.sender,
            recipient: &self.recipient,
            project: &self.project,
            purpose: &self.purpose,
            run: &self.run,
        }
    }
}

// === impl PartWriter ===

impl PartWriter {
    /// Files get the names `name-0001.ndjson` and so on.
    pub(super) fn new(name: &'static str) -> (Self, mpsc::Receiver<File>) {
        let (sender, receiver) = mpsc::channel(limits::PARTS_AHEAD);
        (Self { name, sender, buffer: Vec::new(), records: 0, files: 0 }, receiver)
    }

    /// Adds a line.
    pub(super) fn line(&mut self, line: &str) -> Result<(), String> {
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        self.records += 1;
        if self.buffer.len() >= limits::PART_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> Result<(), String> {
        if self.buffer.is_empty() { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.files += 1;
        let name = format!("{}-{:04}.ndjson", self.name, self.files);
        let file = File { name, bytes: std::mem::take(&mut self.buffer), records: std::mem::take(&mut self.records) };
        self.sender.blocking_send(file).map_err(|_| "nobody takes the data any more".to_owned())
    }
}

/// Seals files as they come, and the manifest after them. The first upload is the manifest.
pub(super) async fn seal(
    parts: &Parts,
    context: &WorkContext,
    recipient: &PublicKey,
    letter: &Letter,
    files: &mut mpsc::Receiver<File>,
) -> Result<Vec<Uploaded>, WorkError> {
    seal_revision(parts, context, recipient, letter, None, files).await
}

/// The same for a data set that was made anew.
pub(super) async fn seal_revision(
    parts: &Parts,
    context: &WorkContext,
    recipient: &PublicKey,
    letter: &Letter,
    revision: Option<Revision>,
    files: &mut mpsc::Receiver<File>,
) -> Result<Vec<Uploaded>, WorkError> {
    let mut uploads = Vec::new();
    let mut named = Vec::new();
    while let Some(file) = files.recv().await {
        let id = store::new_id();
        named.push(Part::of(&format!("{id}/{}", file.name), &file.bytes, file.records));
        uploads.push(upload(context, id, &sealed(recipient, letter, &file.bytes)?).await?);
        context.progress(&format!("{} files sealed", named.len())).await;
    }
    let manifest = Manifest {
        sender: letter.sender.clone(),
        recipient: letter.recipient.clone(),
        project: letter.project.clone(),
        run: letter.run.clone(),
        created: fhir::date::format_instant(time::OffsetDateTime::now_utc()),
        revision,
        parts: named,
    };
    let signed = parts.vault.signer()?.sign(&manifest).and_then(|signed| signed.to_json());
    let signed = signed.map_err(|error| WorkError::failed(error.to_string()))?;
    let id = store::new_id();
    let manifest = upload(context, id, &sealed(recipient, letter, &signed)?).await?;
    uploads.insert(0, manifest);
    Ok(uploads)
}

pub(super) fn sealed(recipient: &PublicKey, letter: &Letter, bytes: &[u8]) -> Result<Vec<u8>, WorkError> {
    let failed = |error: sealing::SealError| WorkError::failed(error.to_string());
    let mut sealer = Sealer::new(Vec::new(), recipient, &letter.binding()).map_err(failed)?;
    sealer.write(bytes).map_err(failed)?;
    sealer.finish().map_err(failed)
}

pub(super) async fn upload(context: &WorkContext, id: String, bytes: &[u8]) -> Result<Uploaded, WorkError> {
    let mut writer = context.write_content().await?;
    writer.write(bytes).await?;
    let (upload, _) = writer.finish().await?;
    Ok(Uploaded { id, upload })
}

/// Makes the uploads Binaries that one organisation may read beside this one, or with none this one alone. They go with the
/// instance ([`delete_all`]).
pub(super) fn store(
    context: &mut StepContext<'_, '_>,
    uploads: &[Uploaded],
    content_type: &str,
    reader: Option<&str>,
) -> Result<(), StepError> {
    let mut all = binaries(context);
    all.extend(create(context, uploads, content_type, reader)?);
    context.set(BINARIES, all);
    Ok(())
}

/// The same for Binaries that belong to the run and outlive the instance; gives their ids.
pub(super) fn create(
    context: &mut StepContext<'_, '_>,
    uploads: &[Uploaded],
    content_type: &str,
    reader: Option<&str>,
) -> Result<Vec<String>, StepError> {
    for uploaded in uploads {
        let mut binary = Resource::new("Binary");
        binary.set("meta", Object::new().with("tag", readers(reader)));
        binary.set("contentType", content_type);
        let stored = context.transaction().create(binary, &uploaded.id)?;
        context.transaction().adopt_upload(&uploaded.upload, &stored.id, stored.version)?;
    }
    Ok(uploads.iter().map(|uploaded| uploaded.id.clone()).collect())
}

/// Read-access tags for this organisation and others.
pub(crate) fn readers<'r>(organizations: impl IntoIterator<Item = &'r str>) -> Vec<fhir::Value> {
    let tag = |code: &str| Object::new().with("system", READ_ACCESS).with("code", code);
    let mut tags = vec![tag("LOCAL").into()];
    tags.extend(organizations.into_iter().map(|organization| {
        let identifier = Object::new().with("system", terms::ORGANIZATION_IDENTIFIER).with("value", organization);
        let extension = Object::new()
            .with("url", "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization")
            .with("valueIdentifier", identifier);
        fhir::Value::from(
            Object::new()
                .with("extension", vec![extension.into()])
                .with("system", READ_ACCESS)
                .with("code", "ORGANIZATION"),
        )
    }));
    tags
}

fn binaries(context: &StepContext<'_, '_>) -> Vec<String> {
    let ids = context.variable(BINARIES);
    let ids = ids.as_ref().and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Takes a Binary out of those that go with the instance.
pub(super) fn keep(context: &mut StepContext<'_, '_>, id: &str) {
    let mut ids = binaries(context);
    ids.retain(|known| known != id);
    context.set(BINARIES, ids);
}

/// Removes every Binary that the instance has made, with all versions; gives how many.
pub(super) fn delete_all(context: &mut StepContext<'_, '_>) -> Result<usize, StepError> {
    let ids = binaries(context);
    let deleted = kept::delete(context, &ids)?;
    context.set(BINARIES, Vec::<String>::new());
    Ok(deleted)
}

/// The uploads in the result of work.
pub(super) fn uploads(value: &Value) -> Vec<Uploaded> {
    Vec::deserialize(value).unwrap_or_default()
}

/// URL of a Binary of this node.
pub(super) fn url(context: &StepContext<'_, '_>, id: &str) -> String {
    format!("{}/Binary/{id}", context.node().base_url)
}

/// Fetches and verifies the manifest of a delivery.
pub(super) async fn open<'o>(
    parts: &'o Parts,
    base_url: &str,
    manifest: &str,
    letter: Letter,
) -> Result<Opened<'o>, WorkError> {
    let id = crate::feasibility::id_at(manifest, base_url, "Binary")
        .ok_or_else(|| WorkError::failed("the delivery is not at the endpoint of its sender"))?;
    let bytes = fetch(parts, base_url, id, &letter).await?;
    let verified = SignedManifest::verify(&bytes).map_err(|error| WorkError::failed(error.to_string()))?;
    let manifest = verified.manifest;
    let is_ours = manifest.sender == letter.sender
        && manifest.recipient == letter.recipient
        && manifest.project == letter.project
        && manifest.run == letter.run;
    if !is_ours || !parts.vault.is_certificate_of(&letter.sender, &verified.certificate) {
        return Err(WorkError::failed("the manifest is not of this sender and run"));
    }
    Ok(Opened { parts, base_url: base_url.to_owned(), letter, manifest })
}

async fn fetch(parts: &Parts, base_url: &str, id: &str, letter: &Letter) -> Result<Vec<u8>, WorkError> {
    let sealed = parts.contents.content(base_url, id).await?;
    let keyring = parts.vault.keyring()?;
    let refused = |error: sealing::OpenError| WorkError::failed(error.to_string());
    let mut opener = Opener::new(sealed.as_slice(), &keyring, &letter.binding()).map_err(refused)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = opener.next_chunk().map_err(refused)? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

// === impl Opened ===

impl Opened<'_> {
    /// The names of the files, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.manifest.parts.iter().map(|part| part.name.split_once('/').map_or("", |(_, name)| name))
    }

    /// A file, after its hash was compared.
    pub(super) async fn file(&self, place: usize) -> Result<Vec<u8>, WorkError> {
        let wrong = || WorkError::failed("a file of the delivery is not what the manifest says");
        let part = self.manifest.parts.get(place).ok_or_else(wrong)?;
        let (id, _) = part.name.split_once('/').ok_or_else(wrong)?;
        if part.bytes > limits::LARGEST_PART || !fhir::reference::is_id(id) {
            return Err(wrong());
        }
        let bytes = fetch(self.parts, &self.base_url, id, &self.letter).await?;
        if Part::of(&part.name, &bytes, part.records) == *part { Ok(bytes) } else { Err(wrong()) }
    }

    /// Every row of every file; one file is in memory at a time.
    pub(super) async fn rows<R: for<'de> Deserialize<'de>>(
        &self,
        mut take: impl FnMut(R) -> Result<(), WorkError>,
    ) -> Result<(), WorkError> {
        for place in 0..self.manifest.parts.len() {
            let text = String::from_utf8(self.file(place).await?);
            let text = text.map_err(|_| WorkError::failed("a file of the delivery is no text"))?;
            rows::read(&text)?.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    /// All rows, where there must be all of them at one time.
    pub(super) async fn all_rows<R: for<'de> Deserialize<'de>>(&self) -> Result<Vec<R>, WorkError> {
        let mut all = Vec::new();
        self.rows(|row| {
            all.push(row);
            Ok(())
        })
        .await?;
        Ok(all)
    }
}
