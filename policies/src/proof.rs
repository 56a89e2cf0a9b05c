//! The invariants of the policy language, gone through for the rule set that is in force.
//!
//! `schleuse check` runs [`prove`] over every kind of caller, every row of the table of interactions, every type, and the
//! moments and addresses at which a rule of the set changes its mind. The space is finite, so what holds here holds; what
//! does not is told as a request that shows it. A policy that passed the checks at load cannot break an invariant unless
//! the decision itself is wrong: this is the second look, by another way, at what everything else relies on.

use std::net::IpAddr;

use fhir::{Format, Resource, ResourceType};
use time::OffsetDateTime;

use crate::allow_list::AllowList;
use crate::decision::{Context, Decision, Origin};
use crate::identity::Identity;
use crate::interaction::{BodyKind, Interaction, PathForm, ROWS, Row};
use crate::matrix::{Caller, Side};
use crate::policy::{Effect, Policy, Rule};
use crate::request::{CanonicalRequest, canonicalize};

/// How much was gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proven {
    /// Callers, one for each set of rules that can concern somebody.
    pub callers: usize,
    /// Requests.
    pub requests: usize,
    /// Moments and addresses.
    pub contexts: usize,
    /// Decisions.
    pub decisions: usize,
}

/// A request that shows that an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[error("{invariant}: {request} of {caller} from {address} at {time} is {decision}")]
pub struct CounterExample {
    /// What does not hold.
    pub invariant: &'static str,
    /// Method and target.
    pub request: String,
    /// Who asks.
    pub caller: String,
    /// From where.
    pub address: String,
    /// When.
    pub time: String,
    /// What was decided.
    pub decision: String,
}

/// Most callers that are gone through; each stands for all to whom the same rules apply.
const CALLERS: usize = 64;
/// Most moments and addresses.
const CONTEXTS: usize = 24;

/// The base under which the requests of the space lie.
const BASE: &str = "/fhir";

/// A decision as [`crate::decide`] makes it; tests put a broken one here.
pub type Decider<'a> = dyn Fn(&Identity, &CanonicalRequest, Option<&Resource>, &Context) -> Decision + 'a;
/// The types that answers may hold, as [`crate::shown_types`] tells them; tests put a broken one here.
pub type Filter<'a> = dyn Fn(&Identity, &Context) -> Option<Vec<ResourceType>> + 'a;

/// Goes through the space of the policy.
pub fn prove(policy: &Policy, allow_list: &AllowList) -> Result<Proven, Box<CounterExample>> {
    let decide = |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| {
        crate::decide(policy, allow_list, identity, request, body, context)
    };
    let filter = |identity: &Identity, context: &Context| crate::shown_types(policy, allow_list, identity, context);
    prove_with(policy, allow_list, &decide, &filter)
}

/// Goes through the space with a decider and a filter of answers.
pub fn prove_with(
    policy: &Policy,
    allow_list: &AllowList,
    decide: &Decider<'_>,
    filter: &Filter<'_>,
) -> Result<Proven, Box<CounterExample>> {
    let side = Side { policy, allow_list };
    let callers = representatives(side);
    let contexts = contexts(policy);
    let space = requests();
    let mut decisions = 0;
    for caller in &callers {
        for (row, request) in &space {
            let body = body(row, request, &caller.identity, allow_list);
            for (index, context) in contexts.iter().enumerate() {
                decisions += 1;
                let decision = decide(&caller.identity, request, body.as_ref(), context);
                if let Some(invariant) = broken(policy, allow_list, &caller.identity, request, context, &decision) {
                    return Err(counter_example(invariant, caller, request, context, &decision));
                }
                if decision.is_permit() && request.interaction().shows_stored() {
                    decisions += 1;
                    let read = read_of(request.resource_type());
                    if !read.is_some_and(|read| decide(&caller.identity, &read, None, context).is_permit()) {
                        let invariant = "what may not be read is shown by no other request";
                        return Err(counter_example(invariant, caller, request, context, &decision));
                    }
                }
                if row.in_bundle && index == 0 {
                    decisions += 1;
                    let wrapped = in_bundle(row, request, body.as_ref());
                    let Some((root, bundle)) = wrapped else { continue };
                    let bundled = decide(&caller.identity, &root, Some(&bundle), context);
                    if bundled.is_permit() && !decision.is_permit() {
                        let invariant = "an entry of a Bundle is permitted no more than the request alone";
                        return Err(counter_example(invariant, caller, request, context, &bundled));
                    }
                }
            }
        }
        for context in &contexts {
            decisions += prove_answers(caller, context, decide, filter)?;
        }
    }
    Ok(Proven { callers: callers.len(), requests: space.len(), contexts: contexts.len(), decisions })
}

/// Searches, includes, histories, Bundles and events show exactly the types that a read would show, at each moment and
/// from each address: nothing that a rule hides comes out another way, and nothing is lost.
fn prove_answers(
    caller: &Caller,
    context: &Context,
    decide: &Decider<'_>,
    filter: &Filter<'_>,
) -> Result<usize, Box<CounterExample>> {
    let shown = filter(&caller.identity, context);
    for resource_type in ResourceType::ALL {
        let Some(read) = read_of(Some(*resource_type)) else { continue };
        let decision = decide(&caller.identity, &read, None, context);
        let is_shown = shown.as_ref().is_none_or(|types| types.contains(resource_type));
        let invariant = match (is_shown, decision.is_permit()) {
            (true, false) => "what may not be read stands in no answer to a search, a history or an event",
            (false, true) => "what may be read is left out of no answer",
            _ => continue,
        };
        return Err(counter_example(invariant, caller, &read, context, &decision));
    }
    Ok(ResourceType::ALL.len())
}

fn read_of(resource_type: Option<ResourceType>) -> Option<CanonicalRequest> {
    canonicalize("GET", &format!("{BASE}/{}/1", resource_type?), BASE).ok()
}

/// The invariant that the decision breaks.
fn broken(
    policy: &Policy,
    allow_list: &AllowList,
    caller: &Identity,
    request: &CanonicalRequest,
    context: &Context,
    decision: &Decision,
) -> Option<&'static str> {
    let Decision::Permit(permit) = decision else { return None };
    let (interaction, resource_type) = (request.interaction(), request.resource_type());
    if *caller == Identity::Unknown {
        return Some("nobody unknown is permitted anything");
    }
    if matches!(caller, Identity::Remote(_)) {
        let within = match interaction {
            Interaction::Create => resource_type == Some(ResourceType::Task),
            _ => !interaction.is_write() && interaction != Interaction::Websocket,
        };
        if !within {
            return Some("a remote organisation creates Tasks and changes nothing else");
        }
    }
    let granted = interaction.dsf_operation().is_none_or(|operation| caller.has_dsf_role(operation, resource_type));
    if !granted {
        return Some("nobody is permitted more than the DSF roles grant");
    }
    let covers = |rule: &Rule| {
        rule.interactions.contains(&interaction)
            && (rule.types.is_none()
                || resource_type.is_some_and(|of| rule.types.as_ref().is_some_and(|types| types.contains(&of))))
            && rule.subjects.iter().any(|subject| subject.matches(caller, allow_list))
    };
    let named = policy.rules().all().iter().find(|rule| rule.id == *permit.rule());
    if !named.is_some_and(|rule| rule.effect == Effect::Allow && covers(rule)) {
        return Some("every permit names a rule that allows the request");
    }
    let denied = |rule: &&Rule| rule.effect == Effect::Deny && rule.is_unconditional() && covers(rule);
    if policy.rules().all().iter().any(|rule| denied(&rule)) {
        return Some("a deny beats every allow");
    }
    let Origin::Address(address) = context.origin else { return None };
    let unmet = |rule: &&Rule| {
        rule.effect == Effect::Restrict
            && rule.is_unconditional()
            && covers(rule)
            && (rule.only.time.is_some_and(|window| !window.contains(context.now, policy.zone()))
                || (!rule.only.networks.is_empty() && !rule.only.networks.iter().any(|known| known.contains(address))))
    };
    policy.rules().all().iter().any(|rule| unmet(&rule)).then_some("a restriction holds for everybody whom it is about")
}

fn counter_example(
    invariant: &'static str,
    caller: &Caller,
    request: &CanonicalRequest,
    context: &Context,
    decision: &Decision,
) -> Box<CounterExample> {
    let address = match context.origin {
        Origin::Address(address) => address.to_string(),
        Origin::Engine => "anywhere".to_owned(),
    };
    let decision = match decision {
        Decision::Permit(permit) => format!("permitted by rule {}", permit.rule()),
        Decision::Deny(denial) => format!("refused with {}", denial.code),
    };
    let request = format!("{} {}", request.method(), request.target(BASE));
    let (caller, time) = (caller.name.clone(), context.now.to_string());
    Box::new(CounterExample { invariant, request, caller, address, time, decision })
}

// === the space ===

/// One caller for each set of subjects that match; the unknown one first.
fn representatives(side: Side<'_>) -> Vec<Caller> {
    let subjects: Vec<_> = side.policy.rules().all().iter().flat_map(|rule| &rule.subjects).collect();
    let mut seen: Vec<(&'static str, Vec<bool>)> = Vec::new();
    let mut kept = vec![Caller { name: "nobody".to_owned(), identity: Identity::Unknown }];
    for caller in Caller::all(side) {
        let persons = matches!(caller.identity, Identity::Person(_));
        let matched: Vec<bool> =
            subjects.iter().map(|subject| subject.matches(&caller.identity, side.allow_list)).collect();
        let key = (caller.identity.kind(), matched);
        // Persons differ by their roles, which no subject tells.
        if kept.len() < CALLERS && (persons || !seen.contains(&key)) {
            seen.push(key);
            kept.push(caller);
        }
    }
    kept
}

/// Every request of the table: each row with each type for which it exists.
fn requests() -> Vec<(&'static Row, CanonicalRequest)> {
    let mut all = Vec::new();
    for row in ROWS {
        let types: Vec<Option<ResourceType>> =
            if row.path.has_type() { ResourceType::ALL.iter().copied().map(Some).collect() } else { vec![None] };
        for resource_type in types {
            let path = path(row.path, resource_type.map_or("", ResourceType::as_str));
            // Operations that a type does not have have no canonical form.
            if let Ok(request) = canonicalize(row.method.as_str(), &format!("{BASE}{path}"), BASE) {
                all.push((row, request));
            }
        }
    }
    all
}

fn path(form: PathForm, name: &str) -> String {
    match form {
        PathForm::Root => String::new(),
        PathForm::Metadata => "/metadata".to_owned(),
        PathForm::Websocket => "/ws".to_owned(),
        PathForm::History => "/_history".to_owned(),
        PathForm::Type => format!("/{name}?identifier=a|b"),
        PathForm::TypeHistory => format!("/{name}/_history"),
        PathForm::TypeOperation(operation) => format!("/{name}/{}", operation.as_str()),
        PathForm::Instance => format!("/{name}/1"),
        PathForm::InstanceHistory => format!("/{name}/1/_history"),
        PathForm::Version => format!("/{name}/1/_history/1"),
        PathForm::InstanceOperation(operation) => format!("/{name}/1/{}", operation.as_str()),
    }
}

/// A body that the request could have. A Task is one that the caller is authorised to send, if there is such a message.
fn body(row: &Row, request: &CanonicalRequest, caller: &Identity, allow_list: &AllowList) -> Option<Resource> {
    match row.body {
        BodyKind::Absent => None,
        BodyKind::Parameters => Some(Resource::new("Parameters")),
        BodyKind::Bundle => {
            let mut bundle = Resource::new("Bundle");
            bundle.set("type", "batch");
            Some(bundle)
        }
        BodyKind::Resource if request.resource_type() == Some(ResourceType::Task) => {
            Some(task(caller, allow_list).unwrap_or_else(|| Resource::new("Task")))
        }
        BodyKind::Resource => Some(Resource::new(request.resource_type()?.as_str())),
    }
}

fn task(caller: &Identity, allow_list: &AllowList) -> Option<Resource> {
    let message = allow_list.processes().iter().find_map(|process| {
        let message = process.messages.iter().find(|message| {
            message.requesters.iter().any(|party| party.admits_requester(caller, allow_list))
                && message.recipients.iter().any(|party| party.admits_recipient(allow_list))
        })?;
        Some((format!("{}|{}", process.url, process.version), message))
    })?;
    let (canonical, message) = message;
    let json = serde_json::json!({
        "resourceType": "Task",
        "meta": { "profile": [message.task_profile] },
        "instantiatesCanonical": canonical,
        "status": "requested",
        "intent": "order",
        "requester": { "type": "Organization", "identifier": organization(caller.organization()?.as_str()) },
        "restriction": { "recipient": [{ "type": "Organization", "identifier": organization(allow_list.local().as_str()) }] },
        "input": [{
            "type": { "coding": [{ "system": crate::task::BPMN_MESSAGE, "code": "message-name" }] },
            "valueString": message.message_name,
        }],
    });
    fhir::parse(Format::Json, json.to_string().as_bytes(), &fhir::Limits::default()).ok()
}

fn organization(value: &str) -> serde_json::Value {
    serde_json::json!({ "system": crate::identifier::ORGANIZATION_IDENTIFIER, "value": value })
}

/// The request as the only entry of a batch.
fn in_bundle(row: &Row, request: &CanonicalRequest, body: Option<&Resource>) -> Option<(CanonicalRequest, Resource)> {
    let root = canonicalize("POST", BASE, BASE).ok()?;
    let mut entry = serde_json::json!({
        "fullUrl": "urn:uuid:1",
        "request": { "method": row.method.as_str(), "url": request.relative_target() },
    });
    if let Some(body) = body {
        let text = fhir::print(Format::Json, body, false);
        entry.as_object_mut()?.insert("resource".to_owned(), serde_json::from_str(&text).ok()?);
    }
    let bundle = serde_json::json!({ "resourceType": "Bundle", "type": "batch", "entry": [entry] });
    let bundle = fhir::parse(Format::Json, bundle.to_string().as_bytes(), &fhir::Limits::default()).ok()?;
    Some((root, bundle))
}

/// The moments and addresses at which a rule changes its mind: the edges of its windows, the first address of its
/// networks, and one of each that no rule names.
fn contexts(policy: &Policy) -> Vec<Context> {
    // A Thursday at midnight, and an address of the documentation networks.
    let epoch = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
    let elsewhere = IpAddr::from([192, 0, 2, 1]);
    let mut times = vec![epoch];
    let mut addresses = vec![elsewhere];
    for rule in policy.rules().all() {
        for window in [rule.time, rule.only.time].into_iter().flatten() {
            for minute in [window.from, window.to] {
                for day in [0, 3] {
                    let edge = epoch + time::Duration::days(day) + time::Duration::minutes(i64::from(minute));
                    times.push(edge);
                }
            }
        }
        addresses.extend(rule.networks.iter().chain(&rule.only.networks).map(|network| network.address()));
    }
    for list in policy.identity().people.iter().flat_map(|person| &person.networks) {
        addresses.push(list.address());
    }
    times.sort();
    times.dedup();
    addresses.sort();
    addresses.dedup();
    let mut contexts = Vec::new();
    for now in times {
        for address in &addresses {
            if contexts.len() < CONTEXTS {
                contexts.push(Context { now, origin: Origin::Address(*address), body_bytes: None });
            }
        }
    }
    contexts
}

#[cfg(test)]
mod tests;
