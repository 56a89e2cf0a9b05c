//! The portal's side: checking a request, giving the sites a key that neither the trusted third party nor the data
//! management site has, and taking the data set over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use extraction::Definition;
use fhir::{Object, Resource, ResourceType};
use linkage::parameters;
use secrets::Key;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::delivery::{self, Letter, NDJSON};
use super::kept::{self, Kept};
use super::link::Naming;
use super::parties::{self, Network, address_of, entries, failed, organization_of};
use super::site::text_of;
use super::{Parts, announcement, failure, inputs, limits, time_limits};
use crate::feasibility::id_at;
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::task;
use crate::work::WorkContext;

/// Purpose of the sealed key.
pub(super) const KEY_PURPOSE: &str = "linkageKey";
/// How long the data management site may take to release, before the portal gives up.
const RELEASE_TIME: time::Duration = time::Duration::days(90);
/// Raw bytes: as JSON it could be taken for a resource.
const MANIFEST_TYPE: &str = delivery::SEALED;

/// The outcome of a site, as far as the portal knows it before the data management site tells the rest.
fn outcome_variable(site: &str) -> String {
    format!("outcome:{site}")
}

/// Checks who takes part and what is asked for, and lets the sites read the definition.
pub(super) struct CheckRequest;

impl ServiceStep for CheckRequest {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let request = context.start_task()?;
        let text = |name: &str| inputs::text(request, name).unwrap_or_default();
        let project = text("project").to_owned();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if project.is_empty() || project.len() > limits::TEXT || !project.bytes().all(is_plain) {
            return failed("the project is named by letters, digits, dots, dashes and underscores");
        }
        if text("decision").chars().count() > limits::TEXT {
            return failed(format!("the decision has more than {} characters", limits::TEXT));
        }
        let now = context.now();
        let deadline = time_limits::after(now, "the approval time", text("approval-time"))?;
        let end = time_limits::after(deadline, "the transfer time", text("transfer-time"))?;
        let merge_end = time_limits::after(end, "the transfer time", text("transfer-time"))?;
        time_limits::after(now, "the retention", text("retention"))?;
        if Naming::of(inputs::text(request, "pseudonyms")).is_none() {
            return failed("pseudonyms are made keyed or by table");
        }
        let third_party = inputs::organization(request, "trusted-third-party").unwrap_or_default();
        let network = Network::of(context, "HRP", third_party, "TTP")?;
        let management = inputs::organization(request, "data-management-site").unwrap_or_default();
        let sites = sites(&network, request, context)?;
        let ttp = parties::target(network.member(third_party, "TTP")?, None);
        let dms = parties::target(network.member(management, "DMS")?, None);
        if [third_party, management].iter().any(|name| sites.iter().any(|site| organization_of(site) == *name))
            || third_party == management
        {
            return failed("trusted third party, data management site and sites must be different organisations");
        }
        let names: Vec<&str> = sites.iter().map(organization_of).collect();
        let definition = open_definition(context, text("definition"), &names)?;
        context.set("definition", definition);
        Kept::Portal.write(context, &kept::record(&project, &[("ttp", ttp.clone()), ("dms", dms.clone())]))?;
        context.set("ttp", ttp);
        context.set("dms", dms);
        context.set("sites", json!({ "entries": sites }));
        time_limits::set(context, "deadline", deadline);
        time_limits::set(context, "final", merge_end + RELEASE_TIME);
        tracing::info!(project, sites = names.len(), "a data set is requested");
        Ok(())
    }
}

/// The sites that are named, or all of the network.
fn sites(network: &Network, request: &Resource, context: &StepContext<'_, '_>) -> Result<Vec<Value>, StepError> {
    let named = inputs::sites(request);
    let mut members = Vec::new();
    if named.is_empty() {
        members.extend(network.of_role("DIC"));
    }
    for (site, _) in &named {
        members.push(network.member(site, "DIC")?);
    }
    members.sort_unstable_by(|one, other| one.organization.cmp(&other.organization));
    members.dedup_by(|one, other| one.organization == other.organization);
    if members.is_empty() || members.len() > linkage::limits::SITES {
        return failed(format!("a data set has 1 to {} sites, not {}", linkage::limits::SITES, members.len()));
    }
    Ok(members.into_iter().map(|member| parties::target(member, Some(&context.new_id()))).collect())
}

/// Reads the definition, and lets these sites alone read it; gives its URL.
fn open_definition(context: &mut StepContext<'_, '_>, named: &str, sites: &[&str]) -> Result<String, StepError> {
    let base_url = context.node().base_url.clone();
    let absolute = if named.starts_with("Library/") { format!("{base_url}/{named}") } else { named.to_owned() };
    let Some(id) = id_at(&absolute, &base_url, "Library").map(str::to_owned) else {
        return failed("the definition is no Library of this node");
    };
    let Some(stored) = context.transaction().read(ResourceType::Library, &id)?.current() else {
        return failed("the Library with the definition is not there");
    };
    let mut library = (*stored.resource).clone();
    let text = definition_of(&library).map_err(|error| StepError::Failed(error.to_string()))?;
    Definition::parse(text.as_bytes()).map_err(|error| StepError::Failed(format!("the definition: {error}")))?;
    let mut meta = library.get("meta").and_then(fhir::Value::as_object).cloned().unwrap_or_default();
    meta.set("tag", delivery::readers(sites.iter().copied()));
    library.set("meta", meta);
    context.transaction().update(library, &id, None)?;
    Ok(format!("{base_url}/Library/{id}"))
}

/// The definition in a Library.
pub(super) fn definition_of(library: &Resource) -> Result<String, WorkError> {
    let refused = |text: &str| failure::refused(failure::DEFINITION_REFUSED, text);
    let contents = library.list("content").iter();
    let mut contents = contents.filter(|content| content.str("contentType") == Some("application/json"));
    let data = contents.next().and_then(|content| content.str("data"));
    let data = data.ok_or_else(|| refused("the Library has no content of type application/json"))?;
    let bytes = STANDARD.decode(data).map_err(|_| refused("the content of the Library is no base64"))?;
    if bytes.len() > limits::DEFINITION_BYTES {
        return Err(refused("the definition has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| refused("the definition is no text"))
}

/// Makes the key of the filters and seals it to every site. The portal forgets it with this step.
pub(super) struct PrepareKeys(pub(super) Parts);

impl WorkStep for PrepareKeys {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        Ok(json!({
            "project": inputs::text(context.start_task()?, "project"),
            "run": context.business_key(),
            "sites": entries(context, "sites"),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let key = Key::random().map_err(|error| WorkError::retry(error.to_string()))?;
            let mut sites = Vec::new();
            for site in input.get("sites").and_then(Value::as_array).into_iter().flatten() {
                let organization = organization_of(site);
                let announced = announcement::fetch(&self.0, organization, address_of(site)).await;
                let announced = match announced {
                    Err(error @ WorkError::Retry { .. }) if context.attempt() < limits::PARTNER_ATTEMPTS => {
                        return Err(error);
                    }
                    announced => announced,
                };
                let letter = Letter::of(input, &context.node().organization_identifier, organization, KEY_PURPOSE);
                match announced.and_then(|announced| delivery::sealed(&announced, &letter, key.secret_bytes())) {
                    Ok(sealed) => sites.push(json!({ "site": site, "key": STANDARD.encode(sealed) })),
                    Err(error) => {
                        tracing::warn!(site = organization, %error, "a site cannot be asked for data");
                        sites.push(json!({ "site": site }));
                    }
                }
            }
            Ok(Value::Array(sites))
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let mut targets = Vec::new();
        for prepared in output.as_array().into_iter().flatten() {
            let mut site = prepared.get("site").cloned().unwrap_or_default();
            match (prepared.get("key"), site.as_object_mut()) {
                (Some(key), Some(members)) => {
                    members.insert("linkageKey".to_owned(), key.clone());
                    targets.push(site);
                }
                _ => context.set(outcome_variable(organization_of(&site)), failure::NOT_REACHED),
            }
        }
        if targets.is_empty() {
            failure::set(context, failure::NOT_REACHED, NOBODY);
        }
        context.set("targets", json!({ "entries": targets }));
        Ok(())
    }
}

/// Said when no site takes part.
const NOBODY: &str = "no site can be asked; `schleuse doctor` asks every partner and says why";

/// Ends a request that no site has got: nobody would answer it until the deadline.
pub(super) struct CheckAsked;

impl ServiceStep for CheckAsked {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let targets = entries(context, "targets");
        let is_lost = |target: &Value| {
            context.string(&outcome_variable(organization_of(target))).as_deref() == Some(failure::NOT_REACHED)
        };
        if targets.iter().all(is_lost) {
            failure::set(context, failure::NOT_REACHED, NOBODY);
        }
        Ok(())
    }
}

/// The inputs that say who takes part.
fn site_inputs(context: &StepContext<'_, '_>) -> Vec<Object> {
    let sites = entries(context, "targets");
    let inputs =
        sites.iter().map(|site| inputs::site(organization_of(site), parties::key_of(site).unwrap_or_default()));
    inputs.collect()
}

/// What several messages say alike.
fn common(context: &StepContext<'_, '_>, names: &[&str]) -> Result<Vec<Object>, StepError> {
    let request = context.start_task()?;
    let texts = names.iter().filter_map(|name| inputs::text(request, name).map(|text| inputs::string(name, text)));
    let mut common: Vec<Object> = texts.collect();
    common.push(inputs::instant("deadline", &context.string("deadline").unwrap_or_default()));
    Ok(common)
}

fn partner(context: &StepContext<'_, '_>, code: &str, variable: &str) -> Object {
    inputs::organization_input(code, organization_of(&context.variable(variable).unwrap_or_default()))
}

pub(super) struct SendLinkageSetup;

impl SendStep for SendLinkageSetup {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut all = common(context, &["project", "transfer-time", "retention"])?;
        if let Some(pseudonyms) = inputs::text(context.start_task()?, "pseudonyms") {
            all.push(inputs::code("pseudonyms", pseudonyms));
        }
        all.push(inputs::string("linkage-parameters", parameters::HARDENED.name));
        all.push(partner(context, "data-management-site", "dms"));
        all.extend(site_inputs(context));
        parties::message(context, "ttp", None, all)
    }
}

pub(super) struct SendMergeSetup;

impl SendStep for SendMergeSetup {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut all = common(context, &["project", "transfer-time", "retention"])?;
        all.push(partner(context, "trusted-third-party", "ttp"));
        all.extend(site_inputs(context));
        parties::message(context, "dms", None, all)
    }
}

pub(super) struct SendExtractPseudonymised;

impl SendStep for SendExtractPseudonymised {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let request = context.start_task()?;
        let mut all = common(context, &["project", "decision", "transfer-time", "retention"])?;
        all.push(inputs::url("definition", &context.string("definition").unwrap_or_default()));
        all.push(inputs::unsigned("minimum-cohort", inputs::count(request, "minimum-cohort").unwrap_or(u64::MAX)));
        all.push(inputs::string("linkage-parameters", parameters::HARDENED.name));
        let key = target.get("linkageKey").and_then(Value::as_str).unwrap_or_default();
        all.push(inputs::base64("linkage-key", key));
        all.push(partner(context, "data-management-site", "dms"));
        all.push(partner(context, "trusted-third-party", "ttp"));
        parties::message(context, "target", parties::key_of(&target).map(str::to_owned), all)
    }

    /// A site that cannot be asked is an outcome, not a failure of the request.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(error) = result {
            let target = context.variable("target").unwrap_or_default();
            tracing::warn!(site = organization_of(&target), error = error.text, "a site could not be asked for data");
            context.set(outcome_variable(organization_of(&target)), failure::NOT_REACHED);
        }
        Ok(())
    }
}

/// Takes the data set over, so that researchers need no way to the data management site.
pub(super) struct ReceiveDataSet(pub(super) Parts);

impl WorkStep for ReceiveDataSet {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        if !parties::is_from(context, "dms") {
            failure::set(context, failure::FAILED, "the answer is not from the data management site");
            return Ok(Value::Null);
        }
        let Some(answer) = context.latest_task().cloned() else { return Ok(Value::Null) };
        for (site, outcome) in inputs::outcomes(&answer) {
            context.set(outcome_variable(&site), failure::known(&outcome));
        }
        for count in ["persons", "resources"] {
            if let Some(number) = inputs::count(&answer, count) {
                context.set(count, number);
            }
        }
        match (inputs::text(&answer, "failure"), inputs::text(&answer, "delivery")) {
            (None, Some(delivery)) => Ok(json!({
                "project": inputs::text(context.start_task()?, "project"),
                "run": context.business_key(),
                "dms": context.variable("dms"),
                "delivery": delivery,
            })),
            (code, _) => {
                let text = "the data management site provides no data set";
                failure::set(context, code.unwrap_or(failure::FAILED), text);
                Ok(Value::Null)
            }
        }
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            failure::settle(&context, failure::FAILED, receive(&self.0, input, "dataSetProvided", &context).await)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        take_over(context, &done, 0)?;
        let end = retention_end(context)?;
        time_limits::set(context, "retentionEnd", end);
        for count in ["persons", "resources"] {
            if let Some(number) = context.variable(count).and_then(|number| number.as_u64()) {
                context.add_output(inputs::unsigned(count, number));
            }
        }
        Ok(())
    }
}

/// When the copy of this node goes: with the data at the data management site, and never later than the request says.
fn retention_end(context: &StepContext<'_, '_>) -> Result<OffsetDateTime, StepError> {
    let retention = inputs::text(context.start_task()?, "retention").unwrap_or_default();
    let end = time_limits::after(context.now(), "the retention", retention)?;
    let told = context.latest_task().and_then(|answer| inputs::text(answer, "retention-end"));
    Ok(told.and_then(fhir::date::parse_instant).map_or(end, |told| told.min(end)))
}

/// Makes what was received the data set of this node, in the place of what it had. An older revision changes nothing.
pub(super) fn take_over(context: &mut StepContext<'_, '_>, received: &Value, revision: u64) -> Result<(), StepError> {
    let record = Kept::Portal.read(context)?;
    let record = record.ok_or_else(|| StepError::Failed("this node has not asked for the data set".to_owned()))?;
    let has = record.get("revision").and_then(Value::as_u64);
    if has.is_some_and(|has| has >= revision) {
        tracing::info!(revision, "an older revision of a data set was not taken over");
        return Ok(());
    }
    kept::delete(context, &kept::texts(&record, kept::BINARIES))?;
    let files = received.get("files").map(delivery::uploads).unwrap_or_default();
    let manifest = received.get("manifest").map(delivery::uploads).unwrap_or_default();
    let files = delivery::create(context, &files, NDJSON, None)?;
    let manifest = delivery::create(context, &manifest, MANIFEST_TYPE, None)?;
    for (code, ids) in [("data-set", &manifest), ("part", &files)] {
        for id in ids {
            let url = delivery::url(context, id);
            context.add_output(inputs::url(code, &url));
        }
    }
    let all: Vec<String> = manifest.into_iter().chain(files).collect();
    Kept::Portal.write(context, &kept::with(kept::with(record, kept::BINARIES, all), "revision", revision))
}

/// Fetches a data set, from the sender to copies of its own.
pub(super) async fn receive(
    parts: &Parts,
    input: &Value,
    purpose: &str,
    context: &WorkContext,
) -> Result<Value, WorkError> {
    let dms = input.get("dms").cloned().unwrap_or_default();
    let letter = Letter::of(input, organization_of(&dms), &context.node().organization_identifier, purpose);
    let mut opened = delivery::open(parts, address_of(&dms), text_of(input, "delivery"), letter).await?;
    let mut files = Vec::new();
    for place in 0..opened.manifest.parts.len() {
        let id = store::new_id();
        files.push(delivery::upload(context, id, &opened.file(place).await?).await?);
        context.progress(&format!("{} of {} files received", place + 1, opened.manifest.parts.len())).await;
    }
    // Here the names are those of the copies.
    let names: Vec<String> = opened.names().map(str::to_owned).collect();
    for ((part, name), file) in opened.manifest.parts.iter_mut().zip(names).zip(&files) {
        part.name = format!("{}/{name}", file.id);
    }
    let manifest = serde_json::to_vec(&opened.manifest).map_err(|error| WorkError::failed(error.to_string()))?;
    let manifest = delivery::upload(context, store::new_id(), &manifest).await?;
    Ok(json!({ "files": files, "manifest": [manifest] }))
}

/// Says what came of every site.
pub(super) struct ConcludeRequest;

impl ServiceStep for ConcludeRequest {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let sites = entries(context, "sites");
        let outcomes = sites.iter().map(|site| {
            let outcome = context.string(&outcome_variable(organization_of(site)));
            inputs::outcome(organization_of(site), outcome.as_deref().unwrap_or(failure::NO_ANSWER))
        });
        let outcomes = outcomes.collect();
        match failure::code_of(context) {
            Some(_) => drop(Kept::Portal.forget(context)?),
            // Who has asked has what was asked for; the instance waits for the end of the retention.
            None => context.complete_tasks(),
        }
        failure::conclude(context, outcomes)
    }
}

/// The retention is over: the copy goes with all versions, and the Task says when, if it is still there.
pub(super) struct ForgetDataSet;

impl ServiceStep for ForgetDataSet {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let files = Kept::Portal.forget(context)?;
        let now = fhir::date::format_instant(context.now());
        let id = context.start_task().ok().and_then(|task| task.id().map(str::to_owned));
        if let Some(mut start) = id.map(|id| task::read(context.transaction(), &id)).transpose()?.flatten() {
            start.push("output", inputs::instant("deleted", &now));
            task::write(context.transaction(), start)?;
        }
        tracing::info!(files, "the copy of a data set was deleted after its retention");
        Ok(())
    }
}
