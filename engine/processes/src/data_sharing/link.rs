//! The trusted third party's side: filters in; date shifts to the sites and pseudonyms to the data management site out.
//!
//! Nothing of the filters is stored here: they are fetched, compared and forgotten within one step. Pseudonyms and shifts
//! follow from the key of this node, the project and the temporary ids, so a step that is done again gives the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use linkage::{Effort, Filter, Filters, ParameterSet, clusters};
use pseudonyms::{DateShift, Pseudonym, Pseudonyms, ShiftMode};
use serde_json::{Value, json};

use super::delivery::{self, Letter, NDJSON, SEALED};
use super::encode::seal_rows;
use super::kept::{self, Kept};
use super::parties::{self, Network, address_of, entries, failed, organization_of};
use super::rows::{self, FilterRow, PseudonymRow, ShiftRow};
use super::{Parts, announcement, failure, inputs, limits, site, time_limits};
use crate::feasibility::requester;
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Checks who asks and who will send.
pub(super) struct CheckLinkageSetup;

impl ServiceStep for CheckLinkageSetup {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let setup = context.start_task()?;
        let asker = requester(setup).unwrap_or_default();
        let network = Network::of(context, "TTP", asker, "HRP")?;
        let management = inputs::organization(setup, "data-management-site").unwrap_or_default();
        let dms = parties::target(network.member(management, "DMS")?, None);
        let targets = sites_of(&network, setup)?;
        let portal = parties::target(network.member(asker, "HRP")?, None);
        if let Some(retention) = inputs::text(setup, "retention") {
            time_limits::after(context.now(), "the retention", retention)?;
        }
        Naming::of(inputs::text(setup, "pseudonyms"))
            .ok_or_else(|| StepError::Failed("this way of making pseudonyms is not known here".to_owned()))?;
        let parameters = inputs::text(setup, "linkage-parameters").unwrap_or_default();
        if ParameterSet::named(parameters).is_none() {
            return failed("the linkage parameters are not known here");
        }
        let deadline = time_limits::deadline(context, inputs::text(setup, "deadline").unwrap_or_default())?;
        let transfer = inputs::text(setup, "transfer-time").unwrap_or_default();
        let transferred = time_limits::after(deadline, "the transfer time", transfer)?;
        let expiry = time_limits::after(transferred, "the transfer time", transfer)?;
        context.set("dms", dms);
        context.set("portal", portal);
        context.set("targets", json!({ "entries": targets }));
        time_limits::set(context, "deadline", deadline);
        time_limits::set(context, "linkageExpiry", expiry);
        Ok(())
    }
}

/// The sites of a setup as targets with their correlation keys, each once.
pub(super) fn sites_of(network: &Network, setup: &fhir::Resource) -> Result<Vec<Value>, StepError> {
    let mut sites = BTreeMap::new();
    for (site, key) in inputs::sites(setup) {
        if key.is_empty() {
            return failed(format!("{site} has no correlation key"));
        }
        let target = parties::target(network.member(&site, "DIC")?, Some(&key));
        if sites.insert(site, target).is_some() {
            return failed("a site is named twice");
        }
    }
    match sites.len() {
        1..=linkage::limits::SITES => Ok(sites.into_values().collect()),
        count => failed(format!("a data set has 1 to {} sites, not {count}", linkage::limits::SITES)),
    }
}

/// Compares the filters and seals what follows from them.
pub(super) struct Link(pub(super) Parts);

impl WorkStep for Link {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let mut sites = Vec::new();
        for target in entries(context, "targets") {
            sites.push(match parties::submission(context, organization_of(&target)) {
                Ok(delivery) => json!({ "target": target, "delivery": delivery }),
                Err(code) => json!({ "target": target, "failure": code }),
            });
        }
        let setup = context.start_task()?;
        Ok(json!({
            "project": inputs::text(setup, "project"),
            "parameters": inputs::text(setup, "linkage-parameters"),
            "pseudonyms": inputs::text(setup, "pseudonyms"),
            "run": context.business_key(),
            "dms": context.variable("dms"),
            "sites": sites,
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, link(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let done = failure::take(context, &output).unwrap_or_default();
        let told = |target: &Value, name: &str, value: Value| {
            let mut target = target.clone();
            if let Some(members) = target.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
            target
        };
        let mut linked = Vec::new();
        let mut outcomes = Vec::new();
        for target in entries(context, "targets") {
            let site = organization_of(&target).to_owned();
            let result = done.pointer("/sites").and_then(|sites| sites.get(&site));
            let uploads = result.and_then(|result| result.get("sealed")).map(delivery::uploads).unwrap_or_default();
            if let Some(manifest) = uploads.first() {
                delivery::store(context, &uploads, SEALED, Some(&site))?;
                let url = delivery::url(context, &manifest.id);
                linked.push(told(&target, "delivery", url.into()));
                outcomes.push(json!([site, failure::LINKED]));
                continue;
            }
            let code = result.and_then(|result| result.get("failure")?.as_str()).unwrap_or(failure::FAILED);
            // A site that has said why it does not take part waits for nothing.
            if parties::submission(context, &site).is_ok() {
                linked.push(told(&target, "failure", code.into()));
            }
            outcomes.push(json!([site, code]));
        }
        let map = done.get("map").map(delivery::uploads).unwrap_or_default();
        let dms = context.variable("dms").unwrap_or_default();
        match map.first() {
            Some(manifest) => {
                delivery::store(context, &map, SEALED, Some(organization_of(&dms)))?;
                let url = delivery::url(context, &manifest.id);
                context.set("map", url);
            }
            None => failure::set(context, failure::NO_SITES, "no site has sent filters that could be used"),
        }
        let table = done.get("table").map(delivery::uploads).unwrap_or_default();
        if let Some(id) = delivery::create(context, &table, NDJSON, None)?.pop() {
            context.set(TABLE, id);
        }
        if let Some(persons) = done.get("persons").and_then(Value::as_u64) {
            context.add_output(inputs::unsigned("persons", persons));
        }
        context.set("linked", json!({ "entries": linked }));
        context.set("outcomes", Value::Array(outcomes));
        Ok(())
    }
}

/// Variable and member of the record with the id of the Binary that holds the table of pseudonyms.
pub(super) const TABLE: &str = "table";

/// How persons get their pseudonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// By the key of this node and the project: the same person has the same one in every run.
    Keyed,
    /// At random, known to the table of the run alone: whoever is taken out of the table is forgotten.
    Table,
}

impl Naming {
    pub(super) fn of(code: Option<&str>) -> Option<Self> {
        match code {
            None | Some("keyed") => Some(Self::Keyed),
            Some("table") => Some(Self::Table),
            Some(_) => None,
        }
    }
}

/// What a site has sent.
struct Submitted {
    site: String,
    announced: sealing::PublicKey,
    rows: Vec<FilterRow>,
}

async fn link(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = context.node().organization_identifier.clone();
    let parameters = ParameterSet::named(&text("parameters"))
        .ok_or_else(|| WorkError::failed("the linkage parameters are not known here"))?;
    let letter = |sender: &str, recipient: &str, purpose: &str| Letter::of(input, sender, recipient, purpose);
    let mut results = serde_json::Map::new();
    let mut submitted = Vec::new();
    for entry in input.get("sites").and_then(Value::as_array).into_iter().flatten() {
        let target = entry.get("target").cloned().unwrap_or_default();
        let site = organization_of(&target).to_owned();
        if let Some(code) = entry.get("failure").and_then(Value::as_str) {
            results.insert(site, json!({ "failure": code }));
            continue;
        }
        let delivery = entry.get("delivery").and_then(Value::as_str).unwrap_or_default();
        let from_site = letter(&site, &own, "submitLinkage");
        match fetch_filters(parts, &target, delivery, from_site, parameters).await {
            Ok(found) => submitted.push(found),
            Err(error @ WorkError::Retry { .. }) if context.attempt() < limits::PARTNER_ATTEMPTS => return Err(error),
            Err(error) => {
                tracing::warn!(site, %error, "the filters of a site cannot be used");
                results.insert(site, json!({ "failure": failure::FILTERS_REFUSED }));
            }
        }
    }
    if submitted.is_empty() {
        return Ok(json!({ "sites": results }));
    }
    let dms = input.get("dms").cloned().unwrap_or_default();
    let announced = announcement::fetch(parts, organization_of(&dms), address_of(&dms)).await?;
    context.progress("comparing").await;
    let keyed = Pseudonyms::new(&parts.vault.secret()?, &text("project"));
    let naming = Naming::of(input.get("pseudonyms").and_then(Value::as_str))
        .ok_or_else(|| WorkError::failed("this way of making pseudonyms is not known here"))?;
    let shifts = parts.vault.secret()?.derive(&[b"date shift", text("project").as_bytes()]);
    let cancelled = std::sync::Arc::new(AtomicBool::new(false));
    let stop = StopOnDrop(std::sync::Arc::clone(&cancelled));
    let compare = move || {
        let persons = persons_of(&submitted, parameters, &cancelled)?;
        named(submitted, &persons, &shifts, |original| pseudonym(naming, &keyed, original))
    };
    let compared = tokio::task::spawn_blocking(compare).await.map_err(|error| WorkError::retry(error.to_string()))?;
    drop(stop);
    let Named { sites, map, persons } = compared?;
    for (site, recipient, rows) in sites {
        let to_site = letter(&own, &site, "linkageDone");
        let sealed = seal_rows(parts, context, &recipient, &to_site, "shifts", rows).await?;
        results.insert(site, json!({ "sealed": sealed }));
    }
    let table = rows::print_all(&map)?;
    let table = delivery::upload(context, store::new_id(), table.as_bytes()).await?;
    let to_dms = letter(&own, organization_of(&dms), "pseudonymMap");
    let map = seal_rows(parts, context, &announced, &to_dms, "pseudonyms", map).await?;
    tracing::info!(persons, "persons were linked");
    Ok(json!({ "sites": results, "map": map, "persons": persons, "table": [table] }))
}

/// Ends a comparison that nobody waits for any more.
struct StopOnDrop(std::sync::Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn fetch_filters(
    parts: &Parts,
    target: &Value,
    delivery: &str,
    letter: Letter,
    parameters: &'static ParameterSet,
) -> Result<Submitted, WorkError> {
    let announced = announcement::fetch(parts, organization_of(target), address_of(target)).await?;
    let opened = delivery::open(parts, address_of(target), delivery, letter).await?;
    let rows: Vec<FilterRow> = opened.all_rows().await?;
    let mut ids = std::collections::BTreeSet::new();
    for row in &rows {
        let is_id = row.id.parse::<Pseudonym>().is_ok();
        if !is_id || !ids.insert(row.id.as_str()) {
            return Err(WorkError::failed("a temporary id is none, or is there twice"));
        }
        if let Some(filter) = &row.filter {
            Filter::from_base64(parameters, filter).map_err(|error| WorkError::failed(error.to_string()))?;
        }
    }
    Ok(Submitted { site: organization_of(target).to_owned(), announced, rows })
}

/// Site and row of every record of a person.
type Records = Vec<(usize, usize)>;

/// The persons: linked ones, and those of whom too little is known to be linked, each alone.
fn persons_of(
    submitted: &[Submitted],
    parameters: &'static ParameterSet,
    cancelled: &AtomicBool,
) -> Result<Vec<Records>, WorkError> {
    let failed = |error: &dyn std::fmt::Display| WorkError::failed(error.to_string());
    let mut lists = Vec::new();
    let mut places: Vec<Vec<usize>> = Vec::new();
    let mut persons = Vec::new();
    for (site, of_site) in submitted.iter().enumerate() {
        let mut filters = Filters::new(parameters);
        let mut places_of_site = Vec::new();
        for (place, row) in of_site.rows.iter().enumerate() {
            match &row.filter {
                Some(text) => {
                    let filter = Filter::from_base64(parameters, text).map_err(|error| failed(&error))?;
                    filters.push(&filter).map_err(|error| failed(&error))?;
                    places_of_site.push(place);
                }
                None => persons.push(vec![(site, place)]),
            }
        }
        lists.push(filters);
        places.push(places_of_site);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let effort = Effort { threads, cancelled, threshold: parameters.strict };
    for cluster in clusters(&lists, effort).map_err(|error| failed(&error))? {
        let records = cluster.members.iter().filter_map(|member| {
            let site = member.site as usize;
            Some((site, *places.get(site)?.get(member.record as usize)?))
        });
        persons.push(records.collect());
    }
    Ok(persons)
}

/// What goes to whom.
struct Named {
    sites: Vec<(String, sealing::PublicKey, Vec<ShiftRow>)>,
    map: Vec<PseudonymRow>,
    persons: usize,
}

/// The pseudonym of a person who is named after this record.
fn pseudonym(naming: Naming, keyed: &Pseudonyms, original: &str) -> Result<Pseudonym, WorkError> {
    match naming {
        Naming::Keyed => Ok(keyed.of("person", original)),
        // 80 random bits: among a million persons two have the same once in a trillion runs, and that run ends.
        Naming::Table => Pseudonym::random().map_err(|error| WorkError::retry(error.to_string())),
    }
}

fn named(
    submitted: Vec<Submitted>,
    persons: &[Records],
    shifts: &secrets::Keyed,
    name: impl Fn(&str) -> Result<Pseudonym, WorkError>,
) -> Result<Named, WorkError> {
    let mut map = Vec::new();
    let mut given = std::collections::HashSet::new();
    let mut rows: Vec<Vec<ShiftRow>> = submitted.iter().map(|_| Vec::new()).collect();
    for records in persons {
        let known: Vec<(usize, &str, &str)> = records
            .iter()
            .filter_map(|(site, place)| {
                let of_site = submitted.get(*site)?;
                Some((*site, of_site.site.as_str(), of_site.rows.get(*place)?.id.as_str()))
            })
            .collect();
        // The person is named after the first of the records, by site and id, whatever the order they came in.
        let Some((site, id)) = known.iter().map(|(_, site, id)| (*site, *id)).min() else { continue };
        let pseudonym = name(&format!("{site}/{id}"))?;
        if !given.insert(pseudonym.clone()) {
            return Err(WorkError::retry("two persons got the same pseudonym"));
        }
        let shift = DateShift::derive(shifts, pseudonym.as_str(), ShiftMode::Weekday);
        for (place, site, id) in known {
            map.push(PseudonymRow { site: site.to_owned(), id: id.to_owned(), pseudonym: pseudonym.to_string() });
            if let Some(rows) = rows.get_mut(place) {
                rows.push(ShiftRow { id: id.to_owned(), days: shift.days() });
            }
        }
    }
    // The order must not say who was linked.
    map.sort_unstable_by(|one, other| (&one.pseudonym, &one.site).cmp(&(&other.pseudonym, &other.site)));
    rows.iter_mut().for_each(|rows| rows.sort_unstable_by(|one, other| one.id.cmp(&other.id)));
    let sites = submitted.into_iter().zip(rows).map(|(of_site, rows)| (of_site.site, of_site.announced, rows));
    Ok(Named { sites: sites.collect(), map, persons: persons.len() })
}

pub(super) struct SendPseudonymMap;

impl SendStep for SendPseudonymMap {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut all = match context.string("map") {
            Some(url) => vec![inputs::url("delivery", &url)],
            None => vec![inputs::code("failure", &failure::code_of(context).unwrap_or_default())],
        };
        let outcomes = context.variable("outcomes").unwrap_or_default();
        for outcome in outcomes.as_array().into_iter().flatten() {
            if let (Some(site), Some(code)) =
                (outcome.get(0).and_then(Value::as_str), outcome.get(1).and_then(Value::as_str))
            {
                all.push(inputs::outcome(site, code));
            }
        }
        parties::message(context, "dms", None, all)
    }
}

pub(super) struct SendLinkageDone;

impl SendStep for SendLinkageDone {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let text = |name: &str| target.get(name).and_then(Value::as_str);
        let answer = match text("delivery") {
            Some(url) => inputs::url("delivery", url),
            None => inputs::code("failure", text("failure").unwrap_or(failure::FAILED)),
        };
        parties::message(context, "target", None, vec![answer])
    }

    /// The data management site waits for this site and tells what is missing.
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
                "a site could not be told its date shifts"
            );
        }
        Ok(())
    }
}

/// Nothing that was sealed stays; the table stays until the retention is over, for withdrawals and re-identifications.
pub(super) struct ConcludeLinkage;

impl ServiceStep for ConcludeLinkage {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        delivery::delete_all(context)?;
        let outcomes = context.variable("outcomes").unwrap_or_default();
        let mut outputs = Vec::new();
        for outcome in outcomes.as_array().into_iter().flatten() {
            if let (Some(site), Some(code)) =
                (outcome.get(0).and_then(Value::as_str), outcome.get(1).and_then(Value::as_str))
            {
                outputs.push(inputs::outcome(site, code));
            }
        }
        keep_table(context)?;
        failure::conclude(context, outputs)
    }
}

fn keep_table(context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
    let Some(table) = context.string(TABLE) else { return Ok(()) };
    let retention = inputs::text(context.start_task()?, "retention").map(str::to_owned);
    let (Some(retention), None) = (retention, failure::code_of(context)) else {
        kept::delete(context, &[table])?;
        return Ok(());
    };
    let end = time_limits::after(context.now(), "the retention", &retention)?;
    let project = inputs::text(context.start_task()?, "project").unwrap_or_default();
    let partner = |name: &'static str| (name, context.variable(name).unwrap_or_default());
    let record = kept::record(project, &[partner("portal"), partner("dms")]);
    let record = kept::with(record, "sites", entries(context, "targets"));
    let record = kept::with(kept::with(record, TABLE, table.clone()), kept::BINARIES, vec![table]);
    Kept::ThirdParty.write(context, &record)?;
    time_limits::set(context, "retentionEnd", end);
    Ok(())
}

/// The retention is over: nobody finds out any more whose pseudonym it was.
pub(super) struct ForgetTable;

impl ServiceStep for ForgetTable {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        site::forget(context, Kept::ThirdParty)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use super::super::rows::FilterRow;
    use super::super::tests::{filter, key};
    use super::{Named, Naming, Submitted, named, persons_of};

    fn submitted(site: &str, rows: &[(&str, Option<&str>)]) -> Submitted {
        let row = |(id, family): &(&str, Option<&str>)| FilterRow {
            id: (*id).to_owned(),
            filter: family.map(|family| filter(family, "1970-02-03")),
        };
        let announced = sealing::PrivateKey::generate().unwrap().public();
        Submitted { site: site.to_owned(), announced, rows: rows.iter().map(row).collect() }
    }

    fn link(submitted: Vec<Submitted>) -> Named {
        link_by(Naming::Keyed, submitted)
    }

    fn link_by(naming: Naming, submitted: Vec<Submitted>) -> Named {
        let persons = persons_of(&submitted, &linkage::parameters::HARDENED, &AtomicBool::new(false)).unwrap();
        let keyed = pseudonyms::Pseudonyms::new(&key(9), "p");
        named(submitted, &persons, &key(9).derive(&[b"date shift", b"p"]), |original| {
            super::pseudonym(naming, &keyed, original)
        })
        .unwrap()
    }

    fn pseudonyms(named: &Named) -> BTreeMap<(String, String), String> {
        let rows = named.map.iter();
        rows.map(|row| ((row.site.clone(), row.id.clone()), row.pseudonym.clone())).collect()
    }

    #[test]
    fn pseudonyms_of_a_table_are_others_each_time_and_one_for_each_person() {
        let a = || submitted("a.example", &[("a1", Some("Lovelace")), ("a2", None)]);
        let b = || submitted("b.example", &[("b1", Some("Noether")), ("b2", Some("Lovelace"))]);
        let (one, other) = (link_by(Naming::Table, vec![a(), b()]), link_by(Naming::Table, vec![a(), b()]));
        let all: std::collections::BTreeSet<String> =
            pseudonyms(&one).into_values().chain(pseudonyms(&other).into_values()).collect();
        assert_eq!(all.len(), 6, "three persons in each run");
        let of = |site: &str, id: &str| pseudonyms(&one)[&(site.to_owned(), id.to_owned())].clone();
        assert_eq!(of("a.example", "a1"), of("b.example", "b2"));
        assert_eq!((Naming::of(None), Naming::of(Some("guessed"))), (Some(Naming::Keyed), None));
    }

    #[test]
    fn the_same_person_has_one_pseudonym_and_one_shift_whatever_the_order_of_the_sites() {
        let a = || submitted("a.example", &[("a1", Some("Lovelace")), ("a2", None)]);
        let b = || submitted("b.example", &[("b1", Some("Noether")), ("b2", Some("Lovelace")), ("b3", None)]);
        let (one, other) = (link(vec![a(), b()]), link(vec![b(), a()]));
        assert_eq!(pseudonyms(&one), pseudonyms(&other));
        let of = |site: &str, id: &str| pseudonyms(&one)[&(site.to_owned(), id.to_owned())].clone();
        assert_eq!(of("a.example", "a1"), of("b.example", "b2"));
        // Nobody is joined of whom too little is known.
        assert_ne!(of("a.example", "a2"), of("b.example", "b3"));
        assert_eq!(one.persons, 4);
        let shift = |named: &Named, id: &str| {
            let rows = named.sites.iter().flat_map(|(_, _, rows)| rows);
            rows.into_iter().find(|row| row.id == id).unwrap().days
        };
        assert_eq!(shift(&one, "a1"), shift(&one, "b2"));
        assert_eq!(shift(&one, "a1"), shift(&other, "a1"));
        // Sites get shifts of their own persons and nothing else.
        for (site, _, rows) in &one.sites {
            assert!(rows.iter().all(|row| site.starts_with(row.id.trim_end_matches(char::is_numeric))), "{site}");
        }
    }
}
