//! What nodes have on disk, and what may be there.

use std::collections::BTreeSet;

use synthetic::{Network as Persons, Patient};
use tests::Network;
use tests::network::Node;

/// Everything that a node has on disk about resources and processes, as text.
pub(super) fn dump(node: &Node) -> String {
    let mut bytes = Vec::new();
    let mut folders = vec![node.directory.join("data"), node.directory.join("audit")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap().path();
            match entry.is_dir() {
                // The index of a site's own records holds them by purpose.
                true if entry.ends_with("source") => {}
                true => folders.push(entry),
                false => bytes.extend(std::fs::read(entry).unwrap_or_default()),
            }
        }
    }
    assert!(bytes.len() > 100_000, "{} has a store", node.name);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Some persons of every site; looking for all would take minutes.
fn some_persons(persons: &Persons) -> Vec<Patient> {
    (0..persons.sites).flat_map(|site| persons.patients_of(site).step_by(70).collect::<Vec<Patient>>()).collect()
}

/// The texts that name them.
fn names(persons: &Persons) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for patient in some_persons(persons) {
        let person = &patient.identity;
        texts.extend([
            format!("\"{}\"", person.family),
            format!("\"{}\"", person.given),
            person.street.clone(),
            patient.id,
        ]);
        texts.extend(person.insurance.clone());
    }
    texts
}

/// Raw content of the stores: no name and no id away from the sites, no filter and no date of birth at the data management
/// site, nothing medical at the trusted third party, no pseudonym at a site.
pub(super) fn assert_stores_hold_only_what_they_may(network: &Network, persons: &Persons, sites: &[&str]) {
    let names = names(persons);
    let away = ["portal", "ttp", "dms"].map(|name| dump(&network.node(name)));
    for (text, name) in away.iter().zip(["portal", "ttp", "dms"]) {
        let found: Vec<&String> = names.iter().filter(|person| text.contains(person.as_str())).collect();
        assert!(found.is_empty(), "{found:?} at {name}");
    }
    let [_, ttp, dms] = &away;
    let births: Vec<String> =
        some_persons(persons).iter().map(|patient| format!("\"birthDate\":\"{}\"", patient.identity.birth)).collect();
    for medical in
        ["\"resourceType\":\"Observation\"", "\"resourceType\":\"Condition\"", "\"4548-4\"", "\"birthDate\":\""]
    {
        assert!(!ttp.contains(medical), "{medical} at the trusted third party");
    }
    assert!(dms.contains("\"resourceType\":\"Observation\"") && dms.contains("\"4548-4\""), "the data are there");
    assert!(!dms.contains("\"filter\":\""), "a filter is at the data management site");
    // A moved date is by chance one of somebody else in one of forty cases.
    let found = births.iter().filter(|birth| dms.contains(birth.as_str())).count();
    assert!(found * 5 <= births.len(), "{found} of {} dates of birth are at the data management site", births.len());
    let begin = "{\"resourceType\":\"Patient\",\"id\":\"";
    let ids = dms.match_indices(begin).filter_map(|(place, _)| dms.get(place + begin.len()..place + begin.len() + 17));
    let pseudonyms: BTreeSet<&str> = ids.collect();
    assert!(pseudonyms.len() > 100, "{} pseudonyms", pseudonyms.len());
    for site in sites {
        let text = dump(&network.node(site));
        for pseudonym in pseudonyms.iter().step_by(29) {
            assert!(!text.contains(pseudonym), "{pseudonym} is at {site}");
        }
    }
}
