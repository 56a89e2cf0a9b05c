use super::*;
use crate::tests::support::resource;

fn keys(json: &str) -> Vec<String> {
    let resource = resource(json);
    let keys = unique_keys(resource.resource_type().unwrap(), &resource, Some("https://own.org/fhir"));
    keys.into_iter().map(|key| format!("{} {}", key.kind, key.key)).collect()
}

#[test]
fn each_type_has_the_keys_of_the_specification() {
    let none: [&str; 0] = [];
    assert_eq!(keys("{'resourceType':'Patient','identifier':[{'system':'s','value':'v'}]}"), none);
    assert_eq!(keys("{'resourceType':'CodeSystem','url':'http://a','version':'1'}"), ["code-system 8:http://a|1:1"]);
    assert_eq!(
        keys(
            "{'resourceType':'Task','status':'requested','identifier':[{'system':'http://dsf.dev/sid/task-identifier','value':'t'}]}"
        ),
        none
    );
    assert_eq!(
        keys(
            "{'resourceType':'Task','status':'draft','identifier':[{'system':'http://dsf.dev/sid/task-identifier','value':'t'}]}"
        ),
        ["draft-task-identifier t"]
    );
    assert_eq!(
        keys(
            "{'resourceType':'Organization','identifier':[{'system':'http://dsf.dev/sid/organization-identifier','value':'a.org'},{'system':'x','value':'y'}],'extension':[{'url':'http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint','valueString':'AB'},{'url':'http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint','valueString':'ab'}]}"
        ),
        ["certificate-thumbprint ab", "organization-identifier a.org"]
    );
    assert_eq!(
        keys("{'resourceType':'Subscription','criteria':'Task?status=requested','channel':{'type':'websocket'}}"),
        ["subscription 21:Task?status=requested|9:websocket|0:"]
    );
    assert_eq!(
        keys("{'resourceType':'NamingSystem','name':'n','uniqueId':[{'type':'other','value':'v'}]}"),
        ["naming-system-name n", "naming-system-unique-id v"]
    );
}

#[test]
fn fhir_077_an_affiliation_holds_its_endpoint_and_each_role_of_the_pair() {
    let found = keys(
        "{'resourceType':'OrganizationAffiliation','organization':{'reference':'Organization/p/_history/2'},\
         'participatingOrganization':{'reference':'https://own.org/fhir/Organization/m'},'endpoint':[{'reference':'Endpoint/e'}],\
         'code':[{'coding':[{'system':'s','code':'DIC'},{'system':'s','code':'HRP'}]}]}",
    );
    assert_eq!(
        found,
        [
            "affiliation-endpoint 14:Organization/p|14:Organization/m|10:Endpoint/e",
            "affiliation-role 14:Organization/p|14:Organization/m|1:s|3:DIC",
            "affiliation-role 14:Organization/p|14:Organization/m|1:s|3:HRP",
        ]
    );
}
