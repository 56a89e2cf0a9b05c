use fhir::ResourceType::Task;
use fhir::search::parse_query;
use proptest::prelude::*;
use time::Duration;

use super::{LEVELS, ranges};
use crate::tests::support::{TestClock, each_backend, new_id, resource};
use crate::{HistoryQuery, HistoryScope, ReadFilter, Store, StoreError};

proptest! {
    #[test]
    fn buckets_and_edges_cover_a_range_once(low in -5_000_000_000_i64..5_000_000_000, length in 0_i64..4_000_000_000, at in -6_000_000_000_i64..6_000_000_000) {
        let (buckets, edges) = ranges(Some(low), Some(low + length));
        let covering = buckets.iter().filter(|(level, from, to)| (*from..*to).contains(&(at >> level))).count()
            + edges.iter().filter(|(low, high)| (*low..*high).contains(&at)).count();
        prop_assert_eq!(covering, usize::from((low..low + length).contains(&at)));
        prop_assert!(buckets.len() < 2 * LEVELS.len());
        prop_assert!(edges.iter().all(|(low, high)| high - low < 1 << LEVELS[0]));
    }

    #[test]
    fn buckets_cover_an_open_range(bound in -5_000_000_000_i64..5_000_000_000, at in -6_000_000_000_i64..6_000_000_000) {
        for (low, high) in [(Some(bound), None), (None, Some(bound))] {
            let (buckets, edges) = ranges(low, high);
            let covering = buckets.iter().filter(|(level, from, to)| (*from..*to).contains(&(at >> level))).count()
                + edges.iter().filter(|(low, high)| (*low..*high).contains(&at)).count();
            let is_inside = low.is_none_or(|low| at >= low) && high.is_none_or(|high| at < high);
            prop_assert_eq!(covering, usize::from(is_inside));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create { status: u8, requester: u8 },
    Update { which: u8, status: u8, requester: u8 },
    Delete { which: u8, permanently: bool },
    Undo { status: u8 },
    Wait { milliseconds: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_u8, 0..3_u8).prop_map(|(status, requester)| Step::Create { status, requester }),
        3 => (any::<u8>(), 0..3_u8, 0..3_u8).prop_map(|(which, status, requester)| Step::Update { which, status, requester }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, permanently)| Step::Delete { which, permanently }),
        1 => (0..3_u8).prop_map(|status| Step::Undo { status }),
        2 => (0..400_000_000_u32).prop_map(|milliseconds| Step::Wait { milliseconds: milliseconds >> (milliseconds % 29) }),
    ];
    proptest::collection::vec(step, 1..40)
}

fn task(status: u8, requester: u8) -> fhir::Resource {
    let status = ["requested", "in-progress", "completed"][usize::from(status)];
    resource(&format!(
        "{{'resourceType':'Task','status':'{status}','requester':{{'identifier':\
         {{'system':'http://dsf.dev/sid/organization-identifier','value':'{requester}.org'}}}},\
         'restriction':{{'recipient':[{{'identifier':\
         {{'system':'http://dsf.dev/sid/organization-identifier','value':'own.org'}}}}]}}}}"
    ))
}

async fn run(store: &Store, clock: &TestClock, steps: Vec<Step>) {
    let mut ids: Vec<String> = Vec::new();
    for step in steps {
        let pick = |which: u8| ids.get(usize::from(which) % ids.len().max(1)).cloned();
        match step {
            Step::Create { status, requester } => {
                let id = new_id();
                ids.push(id.clone());
                store.write(move |tx| tx.create(task(status, requester), &id).map(drop)).await.unwrap();
            }
            Step::Update { which, status, requester } => {
                let Some(id) = pick(which) else { continue };
                store
                    .write(move |tx| match tx.update(task(status, requester), &id, None) {
                        Ok(_) | Err(StoreError::Deleted { .. } | StoreError::Missing { .. }) => Ok::<_, StoreError>(()),
                        Err(error) => Err(error),
                    })
                    .await
                    .unwrap();
            }
            Step::Delete { which, permanently } => {
                let Some(id) = pick(which) else { continue };
                store
                    .write(move |tx| match tx.delete(Task, &id) {
                        Ok(_) if permanently => tx.delete_permanently(Task, &id),
                        Ok(_) | Err(StoreError::Missing { .. }) => Ok(()),
                        Err(error) => Err(error),
                    })
                    .await
                    .unwrap();
            }
            Step::Undo { status } => {
                let undone = move |tx: &mut crate::Transaction<'_>| {
                    let part = tx.attempt(|tx| {
                        tx.create(task(status, 0), &new_id())?;
                        Err::<(), _>(StoreError::Closed)
                    });
                    assert!(part.is_err());
                    Ok::<_, StoreError>(())
                };
                store.write(undone).await.unwrap();
            }
            Step::Wait { milliseconds } => clock.advance(Duration::milliseconds(i64::from(milliseconds))),
        }
    }
}

/// Totals and pages by the counts in a snapshot, and by looking at every row in a transaction that could write.
async fn compare(store: &Store, clock: &TestClock) {
    let filters = [
        ReadFilter::everything(),
        ReadFilter::local_organization("own.org", &[]),
        ReadFilter::remote_organization("1.org", &[]),
        ReadFilter::nothing(),
    ];
    let middle = fhir::date::format_instant(clock.now() - Duration::hours(20));
    let queries = [
        String::new(),
        "status=completed".to_owned(),
        "status=requested&_sort=-_lastUpdated".to_owned(),
        format!("_lastUpdated=gt{middle}"),
        format!("_lastUpdated=le{middle}&_sort=-_lastUpdated"),
        format!("_lastUpdated=ge{middle}&status=in-progress"),
    ];
    for filter in filters {
        for query in &queries {
            for page in 1..4 {
                let query = parse_query(Task, &format!("{query}&_count=3&_page={page}"));
                let (filter, again) = ((filter.clone(), query.clone()), (filter.clone(), query.clone()));
                let counted = store.read(move |tx| tx.search(&filter.1, &filter.0)).await;
                let looked = store.write(move |tx| tx.search(&again.1, &again.0)).await;
                assert_eq!(
                    counted.map_err(|error: StoreError| error.to_string()),
                    looked.map_err(|error: StoreError| error.to_string()),
                    "{query:?}"
                );
            }
        }
        for scope in [HistoryScope::System, HistoryScope::Type(Task)] {
            for from in [None, Some(clock.now() - Duration::hours(20))] {
                let query = HistoryQuery { scope: scope.clone(), from, before: None, page: 2, count: 4 };
                let (filter, again) = ((filter.clone(), query.clone()), (filter.clone(), query.clone()));
                let counted = store.read(move |tx| tx.history(&filter.1, &filter.0)).await;
                let looked = store.write(move |tx| tx.history(&again.1, &again.0)).await;
                assert_eq!(
                    counted.map_err(|error: StoreError| error.to_string()),
                    looked.map_err(|error: StoreError| error.to_string()),
                    "{query:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn counts_say_what_the_rows_say(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(each_backend(|backend| {
            let steps = steps.clone();
            async move {
                let clock = TestClock::new();
                let store = backend.open_with(clock.options()).await.unwrap();
                run(&store, &clock, steps).await;
                compare(&store, &clock).await;
                let verified = store.read(|tx| tx.verify_counts()).await.map_err(|error: StoreError| error).unwrap();
                assert_eq!(verified.problems, Vec::<String>::new());
                store.close().await;
            }
        }));
    }
}

#[tokio::test]
async fn counts_are_made_when_an_older_store_is_opened() {
    each_backend(|backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        let ids: Vec<String> = (0..7).map(|_| new_id()).collect();
        for (number, id) in ids.iter().enumerate() {
            let (id, number) = (id.clone(), u8::try_from(number % 3).unwrap());
            store.write(move |tx| tx.create(task(number, number), &id).map(drop)).await.unwrap();
        }
        let gone = ids[0].clone();
        store.write(move |tx| tx.delete(Task, &gone)).await.unwrap();
        store
            .write(|tx| {
                tx.execute("UPDATE tally SET count = 99", &[])?;
                tx.set_setting("index", b"made before there were counts")
            })
            .await
            .unwrap();
        let found = store.read(|tx| tx.verify_counts()).await.map_err(|error: StoreError| error).unwrap();
        assert!(!found.problems.is_empty());
        store.close().await;
        let store = backend.open_with(clock.options()).await.unwrap();
        compare(&store, &clock).await;
        let filter = ReadFilter::everything();
        let all =
            store.read(move |tx| tx.search(&parse_query(Task, ""), &filter)).await.map_err(|error: StoreError| error);
        assert_eq!(all.unwrap().total, 6);
        store.close().await;
    })
    .await;
}
