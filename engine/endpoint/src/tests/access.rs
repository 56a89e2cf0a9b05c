//! Read-access tags and the rights of identities (cases 46 to 55).

use serde_json::{Value, json};

use super::support::{
    EXTERNAL, LOCAL, Node, Who, code_system, patient, tag_all, tag_local, tag_organization, tag_role,
};

#[tokio::test]
async fn fhir_046_to_049_tags_decide_who_reads() {
    let node = Node::start().await;
    let table: [(Vec<Value>, u16); 6] = [
        (vec![tag_local()], 403),
        (vec![tag_all()], 200),
        (vec![tag_local(), tag_organization(EXTERNAL)], 200),
        (vec![tag_local(), tag_organization(LOCAL)], 403),
        (vec![tag_local(), tag_role("TTP")], 200),
        (vec![tag_local(), tag_role("DIC")], 403),
    ];
    for (index, (tags, foreign)) in table.into_iter().enumerate() {
        let body = code_system("http://test.example/cs", &index.to_string(), &tags);
        let path = format!("/CodeSystem/{}", node.post(Who::Loc, "/CodeSystem", &body).await.expect(201).id());
        node.get(Who::Loc, &path).await.expect(200);
        node.get(Who::Ext, &path).await.expect(foreign);
        let visible = u64::from(foreign == 200);
        let query = format!("/CodeSystem?url=http://test.example/cs&version={index}");
        assert_eq!(node.count(Who::Ext, &query).await, visible, "{index}");
        assert_eq!(node.count(Who::Loc, &query).await, 1);
        // Persons without the right to read the type see nothing of it.
        node.get(Who::Min, &path).await.expect_outcome(403, "forbidden");
    }
}

#[tokio::test]
async fn fhir_050_and_051_access_is_decided_per_version() {
    let node = Node::start().await;
    let mut stored = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let path = format!("/Patient/{}", stored["id"].as_str().unwrap());
    stored["meta"]["tag"] = json!([tag_local()]);
    node.put(Who::Loc, &path, &stored).await.expect(200);
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
    node.get(Who::Ext, &format!("{path}/_history/2")).await.expect(403);
    node.get(Who::Ext, &format!("{path}/_history/1")).await.expect(200);
    let history = node.get(Who::Ext, &format!("{path}/_history")).await.expect(200).json();
    assert_eq!(history["total"], 1);
    assert_eq!(history["entry"][0]["resource"]["meta"]["versionId"], "1");
    assert_eq!(node.count(Who::Ext, "/Patient").await, 0);
    assert_eq!(node.count(Who::Ext, "/Patient/_history").await, 1);
    assert_eq!(node.count(Who::Loc, "/Patient/_history").await, 2);
}

#[tokio::test]
async fn fhir_052_to_054_tags_must_be_a_valid_set_and_the_writer_local() {
    let node = Node::start().await;
    for tags in [
        vec![],
        vec![tag_all(), tag_local()],
        vec![tag_organization(EXTERNAL)],
        vec![tag_local(), tag_local()],
        vec![tag_local(), tag_organization("nobody")],
        vec![tag_local(), tag_role("XYZ")],
    ] {
        node.post(Who::Loc, "/Patient", &patient(&tags)).await.expect(403);
    }
    node.post(Who::Ext, "/Patient", &patient(&[tag_all()])).await.expect_outcome(403, "forbidden");
    node.post(Who::Min, "/Patient", &patient(&[tag_all()])).await.expect_outcome(403, "forbidden");
    node.post(Who::Pra, "/Patient", &patient(&[tag_all()])).await.expect(201);
}

#[tokio::test]
async fn fhir_055_a_lost_role_closes_what_was_tagged_for_it() {
    let node = Node::start().await;
    let body = code_system("http://test.example/cs", "1", &[tag_local(), tag_role("TTP")]);
    let path = format!("/CodeSystem/{}", node.post(Who::Loc, "/CodeSystem", &body).await.expect(201).id());
    node.get(Who::Ext, &path).await.expect(200);
    let organization = node.find("/Organization?identifier=External_Test_Organization").await;
    let id =
        node.find(&format!("/OrganizationAffiliation?participating-organization=Organization/{organization}")).await;
    let mut affiliation = node.get(Who::Loc, &format!("/OrganizationAffiliation/{id}")).await.expect(200).json();
    affiliation["code"][0]["coding"].as_array_mut().unwrap().remove(0);
    node.put(Who::Loc, &format!("/OrganizationAffiliation/{id}"), &affiliation).await.expect(200);
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
}

#[tokio::test]
async fn remote_organizations_write_nothing_but_tasks() {
    let node = Node::start().await;
    let organization = node.find("/Organization?identifier=Test_Organization").await;
    let mut body = node.get(Who::Ext, &format!("/Organization/{organization}")).await.expect(200).json();
    body["name"] = json!("other");
    node.put(Who::Ext, &format!("/Organization/{organization}"), &body).await.expect_outcome(403, "forbidden");
    node.put(Who::Ext, "/Organization?identifier=Test_Organization", &body).await.expect_outcome(403, "forbidden");
    node.delete(Who::Ext, &format!("/Organization/{organization}")).await.expect_outcome(403, "forbidden");
    node.delete(Who::Ext, "/Organization?identifier=Test_Organization").await.expect_outcome(403, "forbidden");
    assert_eq!(node.count(Who::Loc, "/Organization?name=other").await, 0);
}

#[tokio::test]
async fn a_deleted_resource_tells_nothing_to_whom_it_was_closed() {
    let node = Node::start().await;
    let id = node.post(Who::Loc, "/Patient", &patient(&[tag_local()])).await.expect(201).id();
    node.delete(Who::Loc, &format!("/Patient/{id}")).await.expect(200);
    node.get(Who::Ext, &format!("/Patient/{id}")).await.expect_outcome(403, "forbidden");
    node.get(Who::Loc, &format!("/Patient/{id}")).await.expect_outcome(410, "deleted");
}
