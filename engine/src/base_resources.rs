//! The DSF base resources: profiles, terminology, naming systems and subscriptions that every node holds.
//!
//! They are part of the program and stored without validation, as in the reference, because they are what everything
//! else is validated against. A resource that is there already is left alone: partners rely on `url|version` meaning one
//! thing. The digest of the shipped set is kept, so that a start with an unchanged set reads nothing.

use fhir::{Format, Limits, Resource, ResourceType};
use sha2::{Digest as _, Sha256};
use store::{ReadFilter, Store, StoreError, Transaction};

include!(concat!(env!("OUT_DIR"), "/dsf_base.rs"));

const SETTING: &str = "base-resources";

/// Why the base resources cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum BaseResourceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shipped file cannot be read, which a test excludes.
    #[error("shipped resource {file}: {source}")]
    File {
        /// Name of the file.
        file: &'static str,
        /// Cause.
        #[source]
        source: fhir::ParseError,
    },
}

/// Stores what is missing.
pub(crate) async fn store_missing(store: &Store) -> Result<(), BaseResourceError> {
    let digest = digest();
    let stored = store.read(|tx| tx.setting(SETTING)).await?;
    if stored.as_deref() == Some(digest.as_slice()) {
        return Ok(());
    }
    let resources = read_all()?;
    store
        .write(move |tx| {
            for resource in resources {
                create_if_missing(tx, resource)?;
            }
            tx.set_setting(SETTING, &digest)
        })
        .await?;
    Ok(())
}

/// Reads every shipped file.
pub(crate) fn read_all() -> Result<Vec<Resource>, BaseResourceError> {
    let read = |(file, text): &(&'static str, &str)| {
        fhir::parse(Format::Xml, text.as_bytes(), &Limits::default())
            .map_err(|source| BaseResourceError::File { file, source })
    };
    FILES.iter().map(read).collect()
}

fn create_if_missing(tx: &mut Transaction<'_>, resource: Resource) -> Result<(), StoreError> {
    let Some(resource_type) = resource.resource_type() else { return Ok(()) };
    let query = fhir::search::parse_query(resource_type, &identifying_query(resource_type, &resource));
    if query.errors.is_empty() && tx.search(&query, &ReadFilter::everything())?.total == 0 {
        tx.create(resource, &uuid::Uuid::new_v4().to_string())?;
    }
    Ok(())
}

/// The search that finds the resource if it is stored.
fn identifying_query(resource_type: ResourceType, resource: &Resource) -> String {
    let value = |name: &str| percent_encoded(resource.str(name).unwrap_or_default());
    match resource_type {
        ResourceType::NamingSystem => format!("name={}", value("name")),
        ResourceType::Subscription => {
            let payload = resource.get("channel").and_then(|channel| channel.str("payload")).unwrap_or_default();
            format!("criteria:exact={}&type=websocket&payload={}", value("criteria"), percent_encoded(payload))
        }
        _ => format!("url={}&version={}", value("url"), value("version")),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn digest() -> Vec<u8> {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(name.as_bytes());
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_shipped_resource_is_readable_and_can_be_found_again() {
        let resources = super::read_all().unwrap();
        assert!(resources.len() > 60, "{}", resources.len());
        for resource in resources {
            let resource_type = resource.resource_type().expect("a served type");
            let query = fhir::search::parse_query(resource_type, &super::identifying_query(resource_type, &resource));
            assert!(query.errors.is_empty(), "{:?}", query.errors);
            assert!(fhir::search::matches(&query, &resource), "{:?}", resource.str("url"));
        }
    }
}
