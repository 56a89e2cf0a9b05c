//! The public key of a node, as it stands at its FHIR endpoint for everybody: a DocumentReference whose attachment holds
//! the key and a manifest that names its hash, signed with the key of the organisation's certificate. A gateway or a name
//! server on the way cannot put another key in its place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::{Object, Resource};
use sealing::{Manifest, ManifestError, Part, PublicKey, SignedManifest, Signer};
use serde_json::{Value, json};

use super::{Parts, Vault, failure};
use crate::step::WorkError;

/// Identifier of the DocumentReference.
pub const IDENTIFIER_SYSTEM: &str = "http://schleuse.example/sid/cryptography";
/// Its value.
pub const IDENTIFIER_VALUE: &str = "public-key";
const CONTENT: &str = "application/json";

/// The resource with which a node announces its key.
pub fn build(organization: &str, key: &PublicKey, signer: &Signer, now: &str) -> Result<Resource, ManifestError> {
    let manifest = Manifest {
        sender: organization.to_owned(),
        recipient: String::new(),
        project: String::new(),
        run: String::new(),
        created: now.to_owned(),
        revision: None,
        parts: vec![Part::of(IDENTIFIER_VALUE, key.as_bytes(), 1)],
    };
    let signed = String::from_utf8(signer.sign(&manifest)?.to_json()?).map_err(|_| ManifestError::Format)?;
    let content = json!({ "key": STANDARD.encode(key.as_bytes()), "signed": signed }).to_string();
    let tag = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "ALL");
    let mut resource = Resource::new("DocumentReference");
    resource.set("meta", Object::new().with("tag", vec![tag.into()]));
    let identifier = Object::new().with("system", IDENTIFIER_SYSTEM).with("value", IDENTIFIER_VALUE);
    resource.push("identifier", identifier);
    resource.set("status", "current");
    resource.set("docStatus", "final");
    let attachment = Object::new().with("contentType", CONTENT).with("data", STANDARD.encode(content));
    resource.push("content", Object::new().with("attachment", attachment));
    Ok(resource)
}

/// The announced key, if the organisation has signed it.
#[must_use]
pub fn read(resource: &Resource, organization: &str, vault: &dyn Vault) -> Option<PublicKey> {
    let attachment = resource.list("content").first()?.get("attachment")?;
    let content = STANDARD.decode(attachment.str("data")?).ok()?;
    let content: Value = serde_json::from_slice(&content).ok()?;
    let key = STANDARD.decode(content.get("key")?.as_str()?).ok()?;
    let verified = SignedManifest::verify(content.get("signed")?.as_str()?.as_bytes()).ok()?;
    let is_signed = verified.manifest.sender == organization
        && verified.manifest.parts == [Part::of(IDENTIFIER_VALUE, &key, 1)]
        && vault.is_certificate_of(organization, &verified.certificate);
    if is_signed { PublicKey::new(&key).ok() } else { None }
}

/// Asks a partner for its key.
pub(super) async fn fetch(parts: &Parts, organization: &str, base_url: &str) -> Result<PublicKey, WorkError> {
    let identifier = format!("{IDENTIFIER_SYSTEM}|{IDENTIFIER_VALUE}");
    let parameters = [("identifier", identifier.as_str())];
    let found = parts.contents.search(base_url, "DocumentReference", &parameters).await?;
    let key = found.iter().find_map(|resource| read(resource, organization, parts.vault.as_ref()));
    key.ok_or_else(|| {
        let text = format!("{organization} announces no key that its certificate has signed");
        failure::refused(failure::NOT_REACHED, text)
    })
}
