//! The DSF base resources: profiles, terminology, naming systems and subscriptions that every node holds.
//!
//! They are part of the program and stored without validation, as in the reference, because they are what everything
//! else is validated against. The digest of the shipped set is kept, so that a start with an unchanged set reads nothing
//! and leaves alone what was changed since. A newer build replaces what it ships otherwise, as a new version of the same
//! resource; a start that changes nothing writes nothing.

use std::collections::BTreeMap;

use fhir::{Resource, ResourceType, Value};
use sha2::{Digest as _, Sha256};
use store::{ReadFilter, Store, StoreError, Transaction};

const SETTING: &str = "base-resources";

/// Why the base resources cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum BaseResourceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shipped file cannot be read.
    #[error(transparent)]
    File(#[from] fhir::base::BaseResourceError),
}

/// Stores what is missing, and what this build ships otherwise than the one before.
pub(crate) async fn store_missing(store: &Store) -> Result<(), BaseResourceError> {
    let digest = digest();
    let stored = store.read(|tx| tx.setting(SETTING)).await?;
    if stored.as_deref() == Some(digest.as_slice()) {
        return Ok(());
    }
    let resources = fhir::base::resources()?;
    store
        .write(move |tx| {
            for resource in resources {
                create_or_replace(tx, resource)?;
            }
            tx.set_setting(SETTING, &digest)
        })
        .await?;
    Ok(())
}

fn create_or_replace(tx: &mut Transaction<'_>, resource: Resource) -> Result<(), StoreError> {
    let Some(resource_type) = resource.resource_type() else { return Ok(()) };
    let query = fhir::search::parse_query(resource_type, &identifying_query(resource_type, &resource));
    if !query.errors.is_empty() {
        return Ok(());
    }
    match tx.search(&query, &ReadFilter::everything())?.matches.into_iter().next() {
        None => {
            tx.create(resource, &store::new_id())?;
        }
        Some(stored) if content(&stored.resource) != content(&resource) => {
            tx.update(resource, &stored.id, None)?;
        }
        Some(_) => {}
    }
    Ok(())
}

/// A resource without what the store adds to it, members in one order.
fn content(resource: &Resource) -> BTreeMap<String, Value> {
    let mut tree = resource.tree().clone();
    tree.remove("id");
    if let Some(meta) = tree.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
    tree.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
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
    for (name, text) in fhir::base::files() {
        hash.update(name.as_bytes());
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use store::{Store, StoreOptions};

    #[tokio::test]
    async fn a_newer_build_replaces_what_it_ships_otherwise_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(folder.path().join("engine.db"), StoreOptions::default()).await.unwrap();
        super::store_missing(&store).await.unwrap();
        let all = fhir::search::parse_query(fhir::ResourceType::CodeSystem, "_count=100");
        let read = async || {
            let all = all.clone();
            store.read(move |tx| tx.search(&all, &store::ReadFilter::everything())).await.unwrap().matches
        };
        let before = read().await;
        assert!(before.len() > 3 && before.iter().all(|stored| stored.version == 1));
        // What an older build shipped, and the digest of its set.
        let (id, mut other) = (before[0].id.clone(), before[0].resource.as_ref().clone());
        let title = before[0].resource.str("title").map(str::to_owned);
        other.set("title", "as it was");
        let update = move |tx: &mut store::Transaction<'_>| {
            tx.update(other, &id, None)?;
            tx.set_setting(super::SETTING, b"older")
        };
        store.write(update).await.unwrap();
        super::store_missing(&store).await.unwrap();
        let after = read().await;
        assert_eq!(after.len(), before.len());
        for stored in &after {
            let is_replaced = stored.id == before[0].id;
            assert_eq!(stored.version, if is_replaced { 3 } else { 1 });
            if is_replaced {
                assert_eq!(stored.resource.str("title").map(str::to_owned), title);
            }
        }
        super::store_missing(&store).await.unwrap();
        assert_eq!(read().await.iter().map(|stored| stored.version).max(), Some(3));
    }

    #[test]
    fn every_shipped_resource_is_readable_and_can_be_found_again() {
        let resources = fhir::base::resources().unwrap();
        assert!(resources.len() > 60, "{}", resources.len());
        for resource in resources {
            let resource_type = resource.resource_type().expect("a served type");
            let query = fhir::search::parse_query(resource_type, &super::identifying_query(resource_type, &resource));
            assert!(query.errors.is_empty(), "{:?}", query.errors);
            assert!(fhir::search::matches(&query, &resource), "{:?}", resource.str("url"));
        }
    }
}
