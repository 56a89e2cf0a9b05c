//! What a comparison of the store with itself finds, and that it finds nothing without a cause.

use fhir::ResourceType::Patient;

use super::support::{Backend, each_backend, new_id, patient, resource};
use crate::{StoreError, Transaction, Verified};

async fn verify(backend: &Backend) -> Verified {
    let store = backend.open().await;
    let verified = store
        .read(|tx| {
            let mut all = tx.verify_contents()?;
            all.problems.extend(tx.verify_counts()?.problems);
            let mut after = 0;
            loop {
                let portion = tx.verify_resources(after, 2)?;
                all.resources += portion.resources;
                all.versions += portion.versions;
                all.problems.extend(portion.problems);
                match portion.next {
                    Some(next) => after = next,
                    None => return Ok::<_, StoreError>(all),
                }
            }
        })
        .await
        .unwrap();
    store.close().await;
    verified
}

async fn fill(backend: &Backend) {
    let store = backend.open().await;
    let fill = |tx: &mut Transaction<'_>| {
        for name in ["A", "B", "C"] {
            tx.create(patient(name), &new_id())?;
        }
        let changed = new_id();
        tx.create(patient("D"), &changed)?;
        tx.update(patient("E"), &changed, Some(1))?;
        tx.delete(Patient, &changed)?;
        let organization = resource(
            "{'resourceType':'Organization','meta':{'tag':[{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ALL'}]},\
             'identifier':[{'system':'http://dsf.dev/sid/organization-identifier','value':'a.example'}],'active':true,'name':'A',\
             'endpoint':[{'reference':'Endpoint/00000000-0000-4000-8000-000000000000'}]}",
        );
        tx.create(organization, &new_id())?;
        let binary = new_id();
        let content = resource(
            "{'resourceType':'Binary','contentType':'text/plain','meta':{'tag':[{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ALL'}]}}",
        );
        tx.start_upload("u")?;
        tx.append_chunk("u", b"hello")?;
        tx.create(content, &binary)?;
        tx.adopt_upload("u", &binary, 1)
    };
    store.write(fill).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn what_was_written_by_the_rules_has_no_problems() {
    each_backend(|backend| async move {
        fill(&backend).await;
        let verified = verify(&backend).await;
        assert_eq!(verified.problems, Vec::<String>::new());
        assert_eq!((verified.resources, verified.versions), (6, 8));
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    let damages: [(&'static str, &str); 13] = [
        ("DELETE FROM string_index", "string_index has no row for Organization.name"),
        ("UPDATE token_index SET code = 'x' WHERE parameter = 'Patient.active'", "token_index has a wrong row"),
        ("DELETE FROM reference_index", "reference_index has no row"),
        ("DELETE FROM unique_key", "unique keys"),
        ("DELETE FROM read_access WHERE grantee = 'LOCAL' AND version = 1", "readers"),
        ("DELETE FROM resource_version WHERE version = 2", "versions"),
        ("UPDATE resource SET version = 7 WHERE type = 'Organization'", "versions"),
        (
            "UPDATE resource_version SET content = '{\"resourceType\":\"Patient\"}' WHERE type = 'Organization'",
            "content is another",
        ),
        ("UPDATE tally SET count = count + 1 WHERE level = 18", "are counted on level 18"),
        ("DELETE FROM audience_grant WHERE grantee = 'LOCAL'", "counts by readers"),
        ("UPDATE token_index SET last_updated = 5", "rows have another time than their resource"),
        ("DELETE FROM binary_content", "owned by no version"),
        ("DELETE FROM upload_chunk", "0 bytes in 0 pieces of 5"),
    ];
    for (damage, told) in damages {
        each_backend(|backend| async move {
            fill(&backend).await;
            let store = backend.open().await;
            store.write(move |tx| tx.execute(damage, &[])).await.unwrap();
            store.close().await;
            let verified = verify(&backend).await;
            let is_told = verified.problems.iter().any(|problem| problem.contains(told));
            assert!(is_told, "{damage}: {:#?}", verified.problems);
        })
        .await;
    }
}
