use std::collections::BTreeSet;

use fhir::date::Zone;
use fhir::search::{IndexValue, ReferenceFilter, extract, matches, parse_query};
use fhir::{Resource, ResourceType};
use proptest::prelude::*;

use super::conditions::after_all_with;
use super::*;
use crate::search::SearchResult;
use crate::tests::support::{Backend, TestClock, each_backend, each_backend_in_turns, resource};
use crate::{IndexContext, Store, StoreError, StoreOptions};

fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

async fn search(store: &Store, type_: ResourceType, raw: &str, filter: &ReadFilter) -> SearchResult {
    let query = parse_query(type_, raw);
    assert_eq!(query.errors, [], "{raw}");
    let filter = filter.clone();
    store.read(move |tx| tx.search(&query, &filter)).await.unwrap()
}

fn ids(resources: &[StoredResource]) -> Vec<&str> {
    resources.iter().map(|stored| stored.id.as_str()).collect()
}

async fn store_all(store: &Store, resources: Vec<Resource>) {
    store
        .write(move |tx| {
            for (number, resource) in resources.into_iter().enumerate() {
                tx.create(resource, &id(number))?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

// === the SQL against fhir::search::matches ===

/// Members of each kind, from small pools so that queries hit.
fn any_resource() -> impl Strategy<Value = String> {
    let system = prop_oneof![Just(""), Just("'system':'s1',"), Just("'system':'s2',")];
    let identifier = (system, 0..4_u8).prop_map(|(system, value)| format!("{{{system}'value':'v{value}'}}"));
    let identifiers = proptest::collection::vec(identifier.clone(), 0..3).prop_map(|all| all.join(","));
    let name = proptest::sample::select(vec!["Alpha", "alpha beta", "ALPHABET", "50%_\\x", "Ärzte", "", "\u{10FFFF}z"]);
    let date = proptest::sample::select(vec![
        "2020",
        "2020-03",
        "2020-03-01",
        "2020-03-01T10:00:00Z",
        "2020-03-01T10:00:00.500+01:00",
        "2021-01-01T00:00:00",
    ]);
    let reference = proptest::sample::select(vec![
        "'reference':'Organization/00000000-0000-4000-8000-000000000000'".to_owned(),
        "'reference':'Organization/00000000-0000-4000-8000-000000000001/_history/1'".to_owned(),
        "'reference':'Practitioner/00000000-0000-4000-8000-000000000001'".to_owned(),
        "'reference':'https://other.org/fhir/Organization/1'".to_owned(),
        "'type':'Organization','identifier':{'system':'s1','value':'v1'}".to_owned(),
        "'identifier':{'value':'v2'}".to_owned(),
        "'display':'nothing'".to_owned(),
    ]);
    let status = proptest::sample::select(vec!["draft", "requested", "completed"]);
    let profile = proptest::sample::select(vec!["http://a/p", "http://a/p|1.0", "http://a/pq"]);
    let task = (identifiers.clone(), status, date.clone(), reference, profile).prop_map(
        |(identifiers, status, date, reference, profile)| {
            format!(
                "{{'resourceType':'Task','meta':{{'profile':['{profile}']}},'identifier':[{identifiers}],\
                 'status':'{status}','authoredOn':'{date}','requester':{{{reference}}}}}"
            )
        },
    );
    let organization =
        (identifiers.clone(), any::<bool>(), name, name_or_none()).prop_map(|(identifiers, active, name, alias)| {
            let name = name.replace('\\', "\\\\");
            format!(
                "{{'resourceType':'Organization','active':{active},'identifier':[{identifiers}],'name':'{name}'{alias},\
                 'type':[{{'coding':[{{'system':'s1','code':'c1'}},{{'code':'c2'}}]}}]}}"
            )
        });
    let measure = (date, proptest::sample::select(vec!["http://a/m", "http://a/mm", "http://b"]), 0..3_u8).prop_map(
        |(date, url, version)| {
            format!(
                "{{'resourceType':'Measure','date':'{date}','url':'{url}','version':'{version}',\
                 'library':['{url}|{version}'],'relatedArtifact':[{{'type':'depends-on','resource':'http://x|{version}'}}]}}"
            )
        },
    );
    prop_oneof![3 => task, 3 => organization, 2 => measure]
}

fn name_or_none() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["", ",'alias':['Gamma','alpha']"])
}

const QUERIES: &[(ResourceType, &[&str])] = &[
    (
        ResourceType::Task,
        &[
            "status=requested",
            "status:not=requested",
            "identifier=v1",
            "identifier=s1|v1",
            "identifier=|v1",
            "identifier=s1|",
            "identifier:not=s1|v1",
            "identifier=v1&identifier=v2",
            "identifier=v1&status=draft&identifier:not=v2",
            "authored-on=2020",
            "authored-on=2020-03-01",
            "authored-on=ne2020-03-01",
            "authored-on=gt2020-03-01",
            "authored-on=lt2020-03-01",
            "authored-on=ge2020-03-01",
            "authored-on=le2020-03-01",
            "authored-on=gt2020-03-01T09:59:59Z&authored-on=lt2020-03-01T10:00:01Z",
            "_profile=http://a/p",
            "_profile=http://a/p|1.0",
            "_profile:below=http://a/p",
            "requester=00000000-0000-4000-8000-000000000001",
            "requester=Organization/00000000-0000-4000-8000-000000000000",
            "requester=https://other.org/fhir/Organization/1",
            "requester:identifier=v2",
            "requester:identifier=s1|v1",
            "requester:identifier=s1|",
            "requester:identifier=|v2",
            "_id=00000000-0000-4000-8000-000000000003",
            "_lastUpdated=ge2023-11-14T22:13:20Z",
            "_lastUpdated=gt2023-11-14T22:13:20Z",
            "_lastUpdated=lt2023-11-14T22:13:20Z",
            "_lastUpdated=le2023-11-14T22:13:20Z",
            "_lastUpdated=2023-11-14",
            "_lastUpdated=ne2023-11-14",
        ],
    ),
    (
        ResourceType::Organization,
        &[
            "name=alpha",
            "name=ALPHA",
            "name:exact=Alpha",
            "name:exact=alpha",
            "name:contains=BET",
            "name:contains=%25_",
            "name:contains=%5C",
            "name=%C3%A4r",
            "name=%F4%8F%BF%BF",
            "name:contains=_",
            "active=true",
            "active=false&name=a",
            "type=c1",
            "type=s1|c1",
            "type=|c2",
            "type:not=c1",
            "identifier:not=v0",
        ],
    ),
    (
        ResourceType::Measure,
        &[
            "url=http://a/m",
            "url=http://a/m|1",
            "url:below=http://a/m",
            "url:below=http://a/m|2",
            "version=1",
            "version:not=1",
            "depends-on=http://x",
            "depends-on=http://x|1",
            "depends-on=http://a/m",
            "date=2020",
            "date=2020-03&url=http://b",
        ],
    ),
];

/// [`matches`] sees one resource; the identifier of a referenced one is added here.
fn naive(query: &Query, candidate: &Resource, all: &[Resource]) -> bool {
    let (by_target, others): (Vec<_>, Vec<_>) = query
        .filters
        .iter()
        .cloned()
        .partition(|filter| matches!(filter.value, FilterValue::Reference(ReferenceFilter::Identifier(_))));
    let rest = Query { filters: others, ..query.clone() };
    matches(&rest, candidate)
        && by_target.iter().all(|filter| {
            let single = Query { filters: vec![filter.clone()], ..query.clone() };
            matches(&single, candidate) || points_to_identified(filter, candidate, all)
        })
}

fn points_to_identified(filter: &Filter, candidate: &Resource, all: &[Resource]) -> bool {
    let FilterValue::Reference(ReferenceFilter::Identifier(wanted)) = &filter.value else { return false };
    extract(candidate).iter().any(|entry| match &entry.value {
        IndexValue::Reference { type_name: Some(type_name), id: Some(id), .. }
            if entry.parameter == filter.parameter.name =>
        {
            all.iter().filter(|target| target.type_name() == type_name && target.id() == Some(id)).any(|target| {
                extract(target).iter().any(|entry| match &entry.value {
                    IndexValue::Token { system, code } => {
                        entry.parameter == "identifier" && wanted.matches(system.as_deref(), code)
                    }
                    _ => false,
                })
            })
        }
        _ => false,
    })
}

use fhir::search::FilterValue;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_an_evaluation_of_every_resource_finds(
        texts in proptest::collection::vec(any_resource(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(each_backend_in_turns(|backend: Backend| {
            let texts = texts.clone();
            async move {
                let clock = TestClock::new();
                let store = backend.open_with(clock.options()).await.unwrap();
                let first = texts.len() / 2;
                let resources: Vec<_> = texts.iter().map(|text| resource(text)).collect();
                let (early, late) = resources.split_at(first);
                let early = early.to_vec();
                store_all(&store, early).await;
                clock.advance(time::Duration::milliseconds(700));
                let late = late.to_vec();
                let stored: Vec<Resource> = store
                    .write(move |tx| {
                        for (number, resource) in late.into_iter().enumerate() {
                            tx.create(resource, &id(first + number))?;
                        }
                        let mut all = Vec::new();
                        for type_ in [ResourceType::Task, ResourceType::Organization, ResourceType::Measure] {
                            all.extend(tx.all(type_)?.into_iter().map(|stored| (*stored.resource).clone()));
                        }
                        Ok::<_, StoreError>(all)
                    })
                    .await
                    .unwrap();
                for (type_, raws) in QUERIES {
                    for raw in *raws {
                        let query = parse_query(*type_, &format!("{raw}&_count=1000"));
                        assert_eq!(query.errors, [], "{raw}");
                        let expected: BTreeSet<_> = stored
                            .iter()
                            .filter(|candidate| naive(&query, candidate, &stored))
                            .map(|candidate| candidate.id().unwrap().to_owned())
                            .collect();
                        let copy = query.clone();
                        let found =
                            store.read(move |tx| tx.search(&copy, &ReadFilter::everything())).await.unwrap();
                        let found_ids: BTreeSet<_> = found.matches.iter().map(|stored| stored.id.clone()).collect();
                        assert_eq!(found_ids, expected, "{type_}?{raw}");
                        assert_eq!(found.total, expected.len() as u64, "{type_}?{raw}");
                        assert_eq!(found.matches.len(), expected.len(), "{type_}?{raw}");
                        let few = store
                            .read(move |tx| tx.search_ids(&query, &ReadFilter::everything(), 2))
                            .await
                            .unwrap();
                        assert_eq!(few.len(), expected.len().min(2));
                    }
                }
                store.close().await;
            }
        }));
    }
}

// === order, pages, filters, includes ===

const LOCAL: &str = "'meta':{'tag':[{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'LOCAL'}]}";
const ALL: &str = "'meta':{'tag':[{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ALL'}]}";

#[tokio::test]
async fn fhir_043_pages_are_exact_and_their_order_is_total() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let names = ["c", "a", "b", "a", "e"];
        let organization = |name: &&str| resource(&format!("{{'resourceType':'Organization',{ALL},'name':'{name}'}}"));
        store_all(&store, names.iter().map(organization).collect()).await;
        let page = |raw: &'static str| {
            let store = store.clone();
            async move {
                let found = search(&store, ResourceType::Organization, raw, &ReadFilter::everything()).await;
                assert_eq!(found.total, 5);
                found.matches.iter().map(|stored| stored.resource.str("name").unwrap().to_owned()).collect::<Vec<_>>()
            }
        };
        assert_eq!(page("_sort=name").await, ["a", "a", "b", "c", "e"]);
        assert_eq!(page("_sort=-name").await, ["e", "c", "b", "a", "a"]);
        assert_eq!(page("_sort=name&_count=2&_page=2").await, ["b", "c"]);
        assert_eq!(page("_sort=name&_count=2&_page=3").await, ["e"]);
        assert_eq!(page("_count=2&_page=9").await, [] as [&str; 0]);
        assert_eq!(page("_count=0").await, [] as [&str; 0]);
        assert_eq!(page("_sort=-_id&_count=1").await, ["e"]);
        assert_eq!(page("_sort=_lastUpdated,-_id&_count=2").await, ["e", "a"]);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_filter_hides_is_neither_counted_nor_shown_nor_a_gap_on_a_page() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let code_system = |number: usize| {
            let tag = if number.is_multiple_of(3) { ALL } else { LOCAL };
            resource(&format!("{{'resourceType':'CodeSystem',{tag},'url':'http://{number}','version':'1'}}"))
        };
        store_all(&store, (0..30).map(code_system).collect()).await;
        let partner = ReadFilter::remote_organization("a.org", &[]);
        let found = search(&store, ResourceType::CodeSystem, "version=1&_count=4&_page=2", &partner).await;
        assert_eq!((found.total, found.matches.len()), (10, 4));
        let found = search(&store, ResourceType::CodeSystem, "url=http://1", &partner).await;
        assert_eq!(found.total, 0);
        let local = ReadFilter::local_organization("own.org", &[]);
        assert_eq!(search(&store, ResourceType::CodeSystem, "", &local).await.total, 30);
        assert_eq!(search(&store, ResourceType::CodeSystem, "", &ReadFilter::nothing()).await.total, 0);
        let other = ReadFilter::everything().restricted_to([ResourceType::Task]);
        assert_eq!(search(&store, ResourceType::CodeSystem, "", &other).await.total, 0);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn fhir_032_033_includes_follow_references_both_ways_once_and_filtered() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let organization = |tag: &str, endpoint: usize| {
            resource(&format!(
                "{{'resourceType':'Organization',{tag},'endpoint':[{{'reference':'Endpoint/{}'}}]}}",
                id(endpoint)
            ))
        };
        let endpoint = |organization: usize| {
            resource(&format!(
                "{{'resourceType':'Endpoint',{ALL},'address':'https://{organization}.org/fhir',\
                 'managingOrganization':{{'reference':'Organization/{}'}}}}",
                id(organization)
            ))
        };
        store_all(&store, vec![organization(ALL, 2), organization(LOCAL, 3), endpoint(0), endpoint(1)]).await;
        let everything = ReadFilter::everything();
        let found = search(&store, ResourceType::Endpoint, "_include=Endpoint:organization", &everything).await;
        assert_eq!((found.total, ids(&found.includes).len()), (2, 2));
        let found = search(&store, ResourceType::Endpoint, "_revinclude=Organization:endpoint", &everything).await;
        assert_eq!((found.total, ids(&found.includes).len()), (2, 2));
        let both = "_include=Endpoint:organization&_revinclude=Organization:endpoint";
        let found = search(&store, ResourceType::Endpoint, both, &everything).await;
        assert_eq!(ids(&found.includes).len(), 2, "each once");
        let partner = ReadFilter::remote_organization("a.org", &[]);
        let found = search(&store, ResourceType::Endpoint, both, &partner).await;
        assert_eq!((found.total, ids(&found.includes)), (2, vec![id(0).as_str()]));
        let found =
            search(&store, ResourceType::Endpoint, "_include=Endpoint:organization&_count=1", &everything).await;
        assert_eq!((found.total, found.includes.len()), (2, 1), "only with the page");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn fhir_044_a_canonical_includes_the_version_that_it_names() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let questionnaire = |version: &str| {
            resource(&format!("{{'resourceType':'Questionnaire',{ALL},'url':'http://q','version':'{version}'}}"))
        };
        let answer = |canonical: &str| {
            resource(&format!("{{'resourceType':'QuestionnaireResponse','questionnaire':'{canonical}'}}"))
        };
        store_all(
            &store,
            vec![
                questionnaire("1"),
                questionnaire("2"),
                questionnaire("1.0"),
                answer("http://q|1"),
                answer("http://q"),
            ],
        )
        .await;
        let raw = |id: &str| format!("_id={id}&_include=QuestionnaireResponse:questionnaire");
        let type_ = ResourceType::QuestionnaireResponse;
        let found = search(&store, type_, &raw(&id(3)), &ReadFilter::everything()).await;
        assert_eq!(ids(&found.includes), [id(0)]);
        let found = search(&store, type_, &raw(&id(4)), &ReadFilter::everything()).await;
        assert_eq!(found.includes.len(), 3);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_updated_or_deleted_resource_is_found_only_by_what_it_is_now() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let task = |status: &str| resource(&format!("{{'resourceType':'Task','status':'{status}'}}"));
        store_all(&store, vec![task("requested")]).await;
        let total = |raw: &'static str| {
            let store = store.clone();
            async move { search(&store, ResourceType::Task, raw, &ReadFilter::everything()).await.total }
        };
        let update = task("in-progress");
        store.write(move |tx| tx.update(update, &id(0), None)).await.unwrap();
        assert_eq!((total("status=requested").await, total("status=in-progress").await), (0, 1));
        assert_eq!(total("status:not=requested").await, 1);
        store.write(|tx| tx.delete(ResourceType::Task, &id(0))).await.unwrap();
        assert_eq!(
            (total("status=in-progress").await, total("status:not=requested").await, total("").await),
            (0, 0, 0)
        );
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_index_is_made_anew_for_another_base_url() {
    each_backend(|backend: Backend| async move {
        let at = |base: &str| StoreOptions {
            context: IndexContext { zone: Zone::UTC, base: Some(base.to_owned()) },
            ..StoreOptions::default()
        };
        let store = backend.open_with(at("https://old.org/fhir")).await.unwrap();
        let endpoint = resource(&format!(
            "{{'resourceType':'Endpoint',{ALL},'managingOrganization':{{'reference':'https://new.org/fhir/Organization/{}'}}}}",
            id(1)
        ));
        store_all(&store, vec![endpoint]).await;
        let raw = format!("organization={}", id(1));
        assert_eq!(search(&store, ResourceType::Endpoint, &raw, &ReadFilter::everything()).await.total, 0);
        store.close().await;
        let store = backend.open_with(at("https://new.org/fhir")).await.unwrap();
        assert_eq!(search(&store, ResourceType::Endpoint, &raw, &ReadFilter::everything()).await.total, 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn long_values_are_found_by_the_whole_value() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let long = "x".repeat(5000);
        let task = |value: &str| {
            resource(&format!("{{'resourceType':'Task','identifier':[{{'system':'s','value':'{value}'}}]}}"))
        };
        store_all(&store, vec![task(&long), task(&format!("{long}y"))]).await;
        let raw = format!("identifier=s|{long}");
        let found = search(&store, ResourceType::Task, &raw, &ReadFilter::everything()).await;
        assert_eq!(ids(&found.matches), [id(0)]);
        store.close().await;
    })
    .await;
}

// === plans ===

/// Every search that DSF's engines send, and the partner's own, must be answered from an index.
#[tokio::test]
async fn no_search_walks_through_a_whole_table() {
    let directory = tempfile::tempdir().unwrap();
    let store = Backend::Sqlite(crate::tests::support::file(directory.path())).open().await;
    let task = |number: usize| {
        resource(&format!(
            "{{'resourceType':'Task','status':'{}','identifier':[{{'system':'s','value':'{number}'}}]}}",
            if number.is_multiple_of(100) { "requested" } else { "completed" }
        ))
    };
    store_all(&store, (0..2000).map(task).collect()).await;
    let local = ReadFilter::local_organization("own.org", &[]);
    let partner = ReadFilter::remote_organization("a.org", &[]);
    for (raw, filter, begins_with_few) in [
        ("status=requested&_sort=_lastUpdated", &ReadFilter::everything(), true),
        ("status=requested&_lastUpdated=gt2020-01-01T00:00:00Z&_sort=_lastUpdated", &ReadFilter::everything(), true),
        ("identifier=s|17&status=completed", &ReadFilter::everything(), true),
        ("status=completed", &ReadFilter::everything(), false),
        ("status:not=requested", &ReadFilter::everything(), false),
        ("", &ReadFilter::everything(), false),
        ("status=completed", &local, true),
        ("", &partner, true),
    ] {
        let query = parse_query(ResourceType::Task, raw);
        let filter = filter.clone();
        let (plan, text) = store
            .read(move |tx| {
                let from = tx.plan(query.resource_type, &query.filters, &filter, &[500])?;
                let mut page = Statement::new("EXPLAIN QUERY PLAN SELECT r.rid").with(&from);
                page.push(" ORDER BY r.last_updated, r.id LIMIT 20");
                let plan = tx.rows(page.text(), page.params(), |row| row.string(3))?;
                Ok::<_, StoreError>((plan, page.text().to_owned()))
            })
            .await
            .unwrap();
        let scans: Vec<_> = plan
            .iter()
            .filter(|line| line.starts_with("SCAN") && !line.contains("few") && !line.contains(" x"))
            .collect();
        assert!(scans.is_empty(), "{raw}: {plan:#?}");
        assert_eq!(text.contains("CROSS JOIN"), begins_with_few, "{raw}");
        if !begins_with_few {
            assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{raw}: {plan:#?}");
        }
    }
    store.close().await;
}

#[test]
fn a_beginning_ends_before_the_next_text_in_the_order_of_bytes() {
    assert_eq!(after_all_with("ab").as_deref(), Some("ac"));
    assert_eq!(after_all_with("a\u{10FFFF}").as_deref(), Some("b"));
    assert_eq!(after_all_with("\u{D7FF}").as_deref(), Some("\u{E000}"));
    assert_eq!(after_all_with("\u{10FFFF}"), None);
    assert_eq!(after_all_with(""), None);
}
