//! The data management site's side: who was linked, what the sites have sent, and the merged data set.
//!
//! A site counts as a whole: if one file of it cannot be used, nothing of it is merged, and its outcome says so. Merged
//! files hold the resources of one site each and end with a Provenance that names it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fhir::{Limits, Object, Resource};
use pseudonyms::{Pseudonym, rename};
use sealing::Part;
use serde_json::{Value, json};

use super::delivery::{self, Letter, NDJSON, Opened, Uploaded};
use super::kept::{self, Kept};
use super::parties::{self, Network, address_of, entries, organization_of};
use super::rows::PseudonymRow;
use super::{Parts, failure, inputs, limits, link, time_limits};
use crate::feasibility::requester;
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::task;
use crate::work::WorkContext;

/// Outcomes of sites, by organisation.
pub(super) const OUTCOMES: &str = "outcomes";
/// What the merged data set holds, in numbers.
pub(super) const SUMMARY: &str = "summary";
/// Member of the record with the files of the merged data set.
pub(super) const MERGED_FILES: &str = "mergedFiles";

/// Checks who asks, and what will come from whom.
pub(super) struct CheckMergeSetup;

impl ServiceStep for CheckMergeSetup {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let setup = context.start_task()?;
        let asker = requester(setup).unwrap_or_default();
        let network = Network::of(context, "DMS", asker, "HRP")?;
        let third_party = inputs::organization(setup, "trusted-third-party").unwrap_or_default();
        let ttp = parties::target(network.member(third_party, "TTP")?, None);
        let portal = parties::target(network.member(asker, "HRP")?, None);
        let sites = link::sites_of(&network, setup)?;
        let deadline = time_limits::deadline(context, inputs::text(setup, "deadline").unwrap_or_default())?;
        let transfer = inputs::text(setup, "transfer-time").unwrap_or_default();
        let map_end = time_limits::after(deadline, "the transfer time", transfer)?;
        time_limits::after(context.now(), "the retention", inputs::text(setup, "retention").unwrap_or_default())?;
        context.set("ttp", ttp);
        context.set("portal", portal);
        context.set("sites", json!({ "entries": sites }));
        context.set("targets", json!({ "entries": [] }));
        context.set("told", json!({ "entries": [] }));
        time_limits::set(context, "mapEnd", map_end);
        Ok(())
    }
}

/// Notes who was linked; only these are waited for.
pub(super) struct NoteMap;

impl ServiceStep for NoteMap {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(answer) = context.latest_task().filter(|_| parties::is_from(context, "ttp")).cloned() else {
            failure::set(context, failure::FAILED, "the pseudonyms are not from the trusted third party");
            return Ok(());
        };
        let outcomes: BTreeMap<String, &str> =
            inputs::outcomes(&answer).into_iter().map(|(site, code)| (site, failure::known(&code))).collect();
        let mut linked = entries(context, "sites");
        linked.retain(|site| outcomes.get(organization_of(site)) == Some(&failure::LINKED));
        context.set(OUTCOMES, json!(outcomes));
        match (inputs::text(&answer, "failure"), inputs::text(&answer, "delivery")) {
            (None, Some(map)) => {
                context.set("map", map);
                context.set("targets", json!({ "entries": linked }));
                let transfer = inputs::text(context.start_task()?, "transfer-time").unwrap_or_default();
                let end = time_limits::after(context.now(), "the transfer time", transfer)?;
                time_limits::set(context, "dataEnd", end);
            }
            (code, _) => {
                let text = "the trusted third party has linked nobody";
                failure::set(context, code.unwrap_or(failure::FAILED), text);
            }
        }
        Ok(())
    }
}

/// Joins what the sites have sent.
pub(super) struct Merge(pub(super) Parts);

impl WorkStep for Merge {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        if failure::code_of(context).is_some() {
            return Ok(Value::Null);
        }
        let mut sites = Vec::new();
        let mut outcomes = context.variable(OUTCOMES).unwrap_or_default();
        for target in entries(context, "targets") {
            let site = organization_of(&target).to_owned();
            match parties::submission(context, &site) {
                Ok(delivery) => sites.push(json!({ "target": target, "delivery": delivery })),
                Err(code) => note(&mut outcomes, &site, &code),
            }
        }
        context.set(OUTCOMES, outcomes);
        Ok(json!({
            "project": inputs::text(context.start_task()?, "project"),
            "run": context.business_key(),
            "ttp": context.variable("ttp"),
            "map": context.variable("map"),
            "sites": sites,
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            failure::settle(&context, failure::FAILED, merge(&self.0, input, &context).await)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let done = failure::take(context, &output).unwrap_or_default();
        let mut outcomes = context.variable(OUTCOMES).unwrap_or_default();
        let mut told = Vec::new();
        for target in entries(context, "targets") {
            let site = organization_of(&target).to_owned();
            if parties::submission(context, &site).is_err() {
                continue;
            }
            let is_merged = done.pointer("/summary/sites").is_some_and(|sites| sites.get(&site).is_some());
            let code = if is_merged { failure::MERGED } else { failure::DATA_SET_REFUSED };
            note(&mut outcomes, &site, code);
            let mut target = target;
            if let (false, Some(members)) = (is_merged, target.as_object_mut()) {
                members.insert("failure".to_owned(), code.into());
            }
            told.push(target);
        }
        context.set(OUTCOMES, outcomes);
        context.set("told", json!({ "entries": told }));
        let files = done.get("files").map(delivery::uploads).unwrap_or_default();
        if files.is_empty() {
            failure::set(context, failure::NO_SITES, "no site has sent data that could be merged");
            return Ok(());
        }
        let ids = delivery::create(context, &files, NDJSON, None)?;
        // From here on there is something that must go.
        let retention = inputs::text(context.start_task()?, "retention").unwrap_or_default();
        let end = time_limits::after(context.now(), "the retention", retention)?;
        time_limits::set(context, "retentionEnd", end);
        let summary = done.get("summary").cloned().unwrap_or_default();
        let project = inputs::text(context.start_task()?, "project").unwrap_or_default();
        let partner = |name: &'static str| (name, context.variable(name).unwrap_or_default());
        let record = kept::record(project, &[partner("portal"), partner("ttp")]);
        let record = kept::with(record, MERGED_FILES, done.get("named").cloned().unwrap_or_default());
        let record = kept::with(kept::with(record, SUMMARY, summary), kept::BINARIES, ids);
        Kept::Management.write(context, &record)?;
        Ok(())
    }
}

fn note(outcomes: &mut Value, site: &str, code: &str) {
    if let Some(members) = outcomes.as_object_mut() {
        members.insert(site.to_owned(), failure::known(code).into());
    }
}

/// What became of the sites' data.
#[derive(Default)]
struct Merged {
    files: Vec<Uploaded>,
    named: Vec<Part>,
    /// How many sites know a person.
    persons: Arc<BTreeMap<String, u32>>,
    resources: BTreeMap<String, u64>,
    /// Persons of each site.
    sites: BTreeMap<String, u64>,
}

async fn merge(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = context.node().organization_identifier.clone();
    let letter = |sender: &str, purpose: &str| Letter::of(input, sender, &own, purpose);
    let ttp = input.get("ttp").cloned().unwrap_or_default();
    let from_ttp = letter(organization_of(&ttp), "pseudonymMap");
    let map = delivery::open(parts, address_of(&ttp), &text("map"), from_ttp).await?;
    let map = Arc::new(read_map(&map).await?);
    let mut sites = Vec::new();
    for site in input.get("sites").and_then(Value::as_array).into_iter().flatten() {
        let target = site.get("target").cloned().unwrap_or_default();
        let delivery = site.get("delivery").and_then(Value::as_str).unwrap_or_default().to_owned();
        sites.push((organization_of(&target).to_owned(), address_of(&target).to_owned(), delivery));
    }
    // A site whose data turn out to be of no use takes nothing of the others with it.
    loop {
        let mut merged = Merged::default();
        let mut refused = None;
        for (place, (site, base_url, delivery)) in sites.iter().enumerate() {
            let letter = letter(site, "submitDataSet");
            let added = add_site(parts, context, &mut merged, (base_url, delivery), letter, &map).await;
            match added {
                Ok(()) => {}
                Err(error @ WorkError::Retry { .. }) if context.attempt() < limits::PARTNER_ATTEMPTS => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(site, %error, "the data of a site cannot be merged");
                    refused = Some(place);
                    break;
                }
            }
        }
        match refused {
            Some(place) => drop(sites.remove(place)),
            None => return Ok(merged.into_output()),
        }
    }
}

type Pseudonyms = HashMap<(String, String), Pseudonym>;

async fn read_map(delivered: &Opened<'_>) -> Result<Pseudonyms, WorkError> {
    let mut map = HashMap::new();
    let insert = |row: PseudonymRow| {
        let pseudonym = row.pseudonym.parse().map_err(|_| WorkError::failed("a pseudonym is none"))?;
        match map.insert((row.site, row.id), pseudonym) {
            Some(_) => Err(WorkError::failed("a person has two pseudonyms")),
            None => Ok(()),
        }
    };
    delivered.rows(insert).await?;
    Ok(map)
}

async fn add_site(
    parts: &Parts,
    context: &WorkContext,
    merged: &mut Merged,
    (base_url, delivery): (&str, &str),
    letter: Letter,
    map: &Arc<Pseudonyms>,
) -> Result<(), WorkError> {
    let site = letter.sender.clone();
    let opened: Opened<'_> = delivery::open(parts, base_url, delivery, letter).await?;
    let mut persons = BTreeSet::new();
    let mut others = BTreeSet::new();
    for file in 0..opened.manifest.parts.len() {
        let bytes = opened.file(file).await?;
        let (map, of_site) = (Arc::clone(map), site.clone());
        let state = Renaming {
            map,
            site: of_site,
            known: Arc::clone(&merged.persons),
            persons,
            others,
            references: Vec::new(),
            lines: Vec::new(),
            resources: BTreeMap::new(),
        };
        let renaming = tokio::task::spawn_blocking(move || state.run(&bytes)).await;
        let renamed = renaming.map_err(|error| WorkError::retry(error.to_string()))??;
        (persons, others) = (renamed.persons, renamed.others);
        for (name, count) in renamed.resources {
            *merged.resources.entry(name).or_default() += count;
        }
        if renamed.lines.is_empty() {
            continue;
        }
        let number = merged.files.len() + 1;
        let provenance = provenance(
            number,
            &site,
            &renamed.references,
            &fhir::date::format_instant(time::OffsetDateTime::now_utc()),
        );
        let mut bytes = renamed.lines;
        bytes.extend_from_slice(fhir::json::print(&provenance, false).as_bytes());
        bytes.push(b'\n');
        let id = store::new_id();
        let records = renamed.references.len() as u64 + 1;
        merged.named.push(Part::of(&format!("{id}/data-{number:04}.ndjson"), &bytes, records));
        merged.files.push(delivery::upload(context, id, &bytes).await?);
        context.progress(&format!("{number} files merged")).await;
    }
    merged.sites.insert(site, persons.len() as u64);
    // Nobody reads them any more, so nothing is copied here.
    let known = Arc::make_mut(&mut merged.persons);
    for person in persons {
        *known.entry(person).or_default() += 1;
    }
    Ok(())
}

/// One file at work.
struct Renaming {
    map: Arc<Pseudonyms>,
    site: String,
    /// Persons that another site has brought: their Patient is there already.
    known: Arc<BTreeMap<String, u32>>,
    /// Persons of this site.
    persons: BTreeSet<String>,
    /// Resources of nobody (medications) that this site has brought already.
    others: BTreeSet<String>,
    references: Vec<String>,
    lines: Vec<u8>,
    resources: BTreeMap<String, u64>,
}

impl Renaming {
    fn run(mut self, bytes: &[u8]) -> Result<Self, WorkError> {
        let wrong = |place: usize, what: &str| WorkError::failed(format!("line {}: {what}", place + 1));
        for (place, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let resource = fhir::json::parse(line, &Limits::default()).map_err(|_| wrong(place, "no resource"))?;
            let find = |id: &str| self.map.get(&(self.site.clone(), id.to_owned())).cloned();
            let resource = rename(resource, &find).map_err(|error| wrong(place, &error.to_string()))?;
            self.add(&resource).map_err(|what| wrong(place, what))?;
        }
        Ok(self)
    }

    fn add(&mut self, resource: &Resource) -> Result<(), &'static str> {
        let id = resource.id().ok_or("the resource has no id")?.to_owned();
        let name = resource.type_name().to_owned();
        let reference = format!("{name}/{id}");
        let is_new = match name.as_str() {
            "Patient" => self.persons.insert(id.clone()) && !self.known.contains_key(&id),
            "Medication" => self.others.insert(reference.clone()),
            _ => true,
        };
        // A person's Patient is of every site that knows them, whoever has brought it.
        self.references.push(reference);
        if is_new {
            self.lines.extend_from_slice(fhir::json::print(resource, false).as_bytes());
            self.lines.push(b'\n');
            *self.resources.entry(name).or_default() += 1;
        }
        Ok(())
    }
}

impl Merged {
    fn into_output(self) -> Value {
        let linked = self.persons.values().filter(|sites| **sites > 1).count();
        let total: u64 = self.resources.values().sum();
        json!({
            "files": self.files,
            "named": self.named,
            "summary": {
                "persons": self.persons.len(),
                "linked": linked,
                "total": total,
                "resources": self.resources,
                "sites": self.sites,
            },
        })
    }
}

/// Where the resources of a file are from.
fn provenance(number: usize, site: &str, references: &[String], now: &str) -> Resource {
    let coding = |system: &str, code: &str| {
        Object::new().with("coding", vec![Object::new().with("system", system).with("code", code).into()])
    };
    let mut provenance = Resource::new("Provenance");
    provenance.set("id", format!("merge-{number:04}"));
    let targets = references.iter().map(|reference| Object::new().with("reference", reference.as_str()).into());
    provenance.set("target", targets.collect::<Vec<fhir::Value>>());
    provenance.set("recorded", now);
    provenance.set("activity", coding("http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion", "AU"));
    let who = task::organization_reference(site);
    let kind = coding("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author");
    provenance.push("agent", Object::new().with("type", kind).with("who", who));
    provenance
}

pub(super) struct SendDataSetReceived;

impl SendStep for SendDataSetReceived {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let code = target.get("failure").and_then(Value::as_str);
        parties::message(context, "target", None, code.map(|code| inputs::code("failure", code)).into_iter().collect())
    }

    /// The site gives up waiting by itself, and deletes what it has sealed.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(error) = result {
            let target = context.variable("target").unwrap_or_default();
            tracing::warn!(
                site = organization_of(&target),
                error = error.text,
                "a site could not be told that its data were received"
            );
        }
        Ok(())
    }
}

pub(super) struct SendMergeDone;

impl SendStep for SendMergeDone {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        parties::message(context, "ttp", None, Vec::new())
    }

    /// The trusted third party gives up waiting by itself, and deletes the pseudonyms that it has sealed.
    fn delivered(&self, _: &mut StepContext<'_, '_>, result: &Result<(), DeliveryFailure>) -> Result<(), StepError> {
        if let Err(error) = result {
            tracing::warn!(error = error.text, "the trusted third party could not be told that the data were merged");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};
    use std::sync::Arc;

    use secrets::Key;

    use super::super::tests::key;
    use super::Renaming;

    fn pseudonym(key: &Key, original: &str) -> pseudonyms::Pseudonym {
        pseudonyms::Pseudonyms::new(key, "p").of("person", original)
    }

    fn renaming(known: &[String]) -> Renaming {
        let map = HashMap::from([(("a.example".to_owned(), "t1".to_owned()), pseudonym(&key(1), "1"))]);
        Renaming {
            map: Arc::new(map),
            site: "a.example".to_owned(),
            known: Arc::new(known.iter().map(|person| (person.clone(), 1)).collect()),
            persons: BTreeSet::new(),
            others: BTreeSet::new(),
            references: Vec::new(),
            lines: Vec::new(),
            resources: BTreeMap::new(),
        }
    }

    const FILE: &str = concat!(
        r#"{"resourceType":"Patient","id":"t1","gender":"female"}"#,
        "\n",
        r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/t1"}}"#,
        "\n",
        r#"{"resourceType":"Medication","id":"m1"}"#,
        "\n",
        r#"{"resourceType":"Medication","id":"m1"}"#,
        "\n",
    );

    #[test]
    fn a_person_is_there_once_under_the_pseudonym_with_what_every_site_has() {
        let id = pseudonym(&key(1), "1").to_string();
        let first = renaming(&[]).run(FILE.as_bytes()).unwrap();
        let text = String::from_utf8(first.lines).unwrap();
        assert!(text.contains(&format!("\"Patient/{id}\"")) && !text.contains("t1"), "{text}");
        assert_eq!(
            first.resources,
            BTreeMap::from(
                [("Condition", 1), ("Medication", 1), ("Patient", 1)].map(|(name, count)| (name.to_owned(), count))
            )
        );
        // Another site has brought the Patient already; Provenance still names this site for the person.
        let second = renaming(std::slice::from_ref(&id)).run(FILE.as_bytes()).unwrap();
        assert_eq!(second.resources.get("Patient"), None);
        assert!(second.persons.contains(&id) && second.references.contains(&format!("Patient/{id}")));
    }

    #[test]
    fn nothing_of_a_person_without_pseudonym_is_merged() {
        let stranger = FILE.replace("t1", "t2");
        assert!(renaming(&[]).run(stranger.as_bytes()).is_err());
        assert!(renaming(&[]).run(b"no resource\n").is_err());
    }
}
