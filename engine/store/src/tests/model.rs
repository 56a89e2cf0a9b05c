//! Random operations, compared after each with a model in memory.

use std::collections::BTreeMap;

use fhir::Resource;
use fhir::ResourceType::CodeSystem;
use proptest::prelude::*;

use super::support::{Backend, each_backend_in_turns, resource};
use crate::{Deletion, Found, HistoryQuery, HistoryScope, ReadFilter, Store, StoreError};

#[derive(Clone, Debug)]
enum Operation {
    Create {
        id: u8,
        url: u8,
        open: bool,
    },
    Update {
        id: u8,
        url: u8,
        open: bool,
        expected: Option<u64>,
    },
    Delete {
        id: u8,
    },
    DeletePermanently {
        id: u8,
    },
    /// The operations of one transaction that is given up at the end.
    Undone(Vec<Self>),
}

/// A version: url and openness, `None` for a deletion.
type Version = Option<(u8, bool)>;

#[derive(Clone, Debug, Default)]
struct Model {
    versions: BTreeMap<u8, Vec<Version>>,
}

fn content(url: u8, open: bool) -> Resource {
    let code = if open { "ALL" } else { "LOCAL" };
    resource(&format!(
        "{{'resourceType':'CodeSystem','meta':{{'tag':[{{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'{code}'}}]}},\
         'url':'http://{url}','version':'1.0'}}"
    ))
}

impl Model {
    fn current(&self, id: u8) -> Option<(u8, bool)> {
        self.versions.get(&id).and_then(|versions| versions.last().copied().flatten())
    }

    fn taken(&self, url: u8, by_other_than: u8) -> bool {
        self.versions.keys().any(|id| *id != by_other_than && self.current(*id).is_some_and(|found| found.0 == url))
    }

    /// Applies the operation; the text names the kind of answer.
    fn apply(&mut self, operation: &Operation) -> &'static str {
        match *operation {
            Operation::Create { id, .. } if self.versions.contains_key(&id) => "exists",
            Operation::Create { id, url, .. } if self.taken(url, id) => "duplicate",
            Operation::Create { id, url, open } => {
                self.versions.insert(id, vec![Some((url, open))]);
                "done"
            }
            Operation::Update { id, .. } if !self.versions.contains_key(&id) => "missing",
            Operation::Update { id, .. } if self.current(id).is_none() => "deleted",
            Operation::Update { id, expected: Some(expected), .. } if self.versions[&id].len() as u64 != expected => {
                "conflict"
            }
            Operation::Update { id, url, .. } if self.taken(url, id) => "duplicate",
            Operation::Update { id, url, open, .. } => {
                self.versions.get_mut(&id).unwrap().push(Some((url, open)));
                "done"
            }
            Operation::Delete { id } | Operation::DeletePermanently { id } if !self.versions.contains_key(&id) => {
                "missing"
            }
            Operation::Delete { id } if self.current(id).is_none() => "already",
            Operation::Delete { id } => {
                self.versions.get_mut(&id).unwrap().push(None);
                "done"
            }
            Operation::DeletePermanently { id } if self.current(id).is_some() => "not deleted",
            Operation::DeletePermanently { id } => {
                self.versions.remove(&id);
                "done"
            }
            Operation::Undone(_) => "undone",
        }
    }
}

fn run(tx: &mut crate::Transaction<'_>, operation: &Operation) -> Result<&'static str, StoreError> {
    let name = |id: u8| format!("c{id}");
    Ok(match operation {
        Operation::Create { id, url, open } => {
            tx.create(content(*url, *open), &name(*id))?;
            "done"
        }
        Operation::Update { id, url, open, expected } => {
            tx.update(content(*url, *open), &name(*id), *expected)?;
            "done"
        }
        Operation::Delete { id } => match tx.delete(CodeSystem, &name(*id))? {
            Deletion::Marked(_) => "done",
            Deletion::Already(_) => "already",
        },
        Operation::DeletePermanently { id } => {
            tx.delete_permanently(CodeSystem, &name(*id))?;
            "done"
        }
        Operation::Undone(operations) => {
            for operation in operations {
                run(tx, operation)?;
            }
            return Err(StoreError::Unsearchable("undone".to_owned()));
        }
    })
}

fn answer(result: Result<&'static str, StoreError>) -> &'static str {
    match result {
        Ok(text) => text,
        Err(StoreError::Exists { .. }) => "exists",
        Err(StoreError::Duplicate { .. }) => "duplicate",
        Err(StoreError::Missing { .. }) => "missing",
        Err(StoreError::Deleted { .. }) => "deleted",
        Err(StoreError::VersionConflict { .. }) => "conflict",
        Err(StoreError::NotDeleted { .. }) => "not deleted",
        Err(StoreError::Unsearchable(_)) => "undone",
        Err(other) => panic!("{other}"),
    }
}

async fn compare(store: &Store, model: &Model) {
    let model = model.clone();
    store
        .read(move |tx| {
            let partner = ReadFilter::remote_organization("a.org", &[]);
            let mut total = 0;
            for (id, versions) in &model.versions {
                let name = format!("c{id}");
                for (index, expected) in versions.iter().enumerate() {
                    let version = index as u64 + 1;
                    let found = tx.read_version(CodeSystem, &name, version)?;
                    let visible = tx.is_readable(CodeSystem, &name, version, &partner)?;
                    match expected {
                        Some((url, open)) => {
                            let stored = found.current().expect("a version is missing");
                            assert_eq!(stored.resource.str("url"), Some(format!("http://{url}").as_str()));
                            assert_eq!(visible, *open);
                        }
                        None => assert!(matches!(found, Found::Deleted { version: at, .. } if at == version)),
                    }
                }
                total += versions.len() as u64;
                assert_eq!(tx.read(CodeSystem, &name)?.current().is_some(), model.current(*id).is_some());
            }
            let query =
                HistoryQuery { scope: HistoryScope::Type(CodeSystem), from: None, before: None, page: 1, count: 0 };
            assert_eq!(tx.history(&query, &ReadFilter::everything())?.total, total);
            let current = model.versions.keys().filter(|id| model.current(**id).is_some()).count();
            assert_eq!(tx.all(CodeSystem)?.len(), current);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

fn single() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (0..4_u8, 0..4_u8, any::<bool>()).prop_map(|(id, url, open)| Operation::Create { id, url, open }),
        4 => (0..4_u8, 0..4_u8, any::<bool>(), proptest::option::of(1..4_u64))
            .prop_map(|(id, url, open, expected)| Operation::Update { id, url, open, expected }),
        2 => (0..4_u8).prop_map(|id| Operation::Delete { id }),
        1 => (0..4_u8).prop_map(|id| Operation::DeletePermanently { id }),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let any = prop_oneof![
        8 => single(),
        1 => proptest::collection::vec(single(), 1..4).prop_map(Operation::Undone),
    ];
    proptest::collection::vec(any, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_give_what_the_model_gives(operations in operations()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(each_backend_in_turns(|backend: Backend| {
            let operations = operations.clone();
            async move {
                let mut store = backend.open().await;
                let mut model = Model::default();
                for (index, operation) in operations.into_iter().enumerate() {
                    let expected = model.apply(&operation);
                    let result = store.write(move |tx| run(tx, &operation)).await;
                    if expected == "undone" {
                        assert!(result.is_err());
                    } else {
                        assert_eq!(answer(result), expected);
                    }
                    if index % 10 == 9 {
                        store.close().await;
                        store = backend.open().await;
                    }
                }
                compare(&store, &model).await;
                store.close().await;
            }
        }));
    }
}
