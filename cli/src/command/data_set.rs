//! `schleuse data-set request`, `approve`, `release`, `fetch`, `status`, `withdraw`, `reidentify` and `patient`: the people's
//! side of data sharing.
//!
//! Everything goes through the gateway with the certificate of who asks, as with user tasks.

use std::path::Path;

use serde_json::{Value, json};

use super::{fail, user_task};
use crate::arguments::data_set::{Approve, Fetch, Reidentify, Release, Request, Run, Status};
use crate::arguments::{Access, Format, TaskAnswer, TaskOne};
use crate::data_set::{self, APPROVALS, DataSetError, REIDENTIFICATIONS, RELEASES, Wanted};
use crate::local::{Local, LocalError};
use crate::output::{Table, answer};
use crate::own::{Own, OwnError};

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    DataSet(#[from] DataSetError),
    #[error("{0}")]
    Usage(String),
}

impl CommandError {
    const fn code(&self) -> u8 {
        match self {
            Self::Local(error) => error.code(),
            Self::DataSet(DataSetError::Node(error)) => error.code(),
            Self::DataSet(DataSetError::Definition { .. }) | Self::Usage(_) => 2,
            Self::DataSet(_) => 1,
        }
    }
}

impl From<OwnError> for CommandError {
    fn from(error: OwnError) -> Self {
        Self::DataSet(error.into())
    }
}

fn end(result: Result<(), CommandError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn request(arguments: &Request, format: Format) -> u8 {
    end(ask(arguments, format).await)
}

pub(super) async fn status(arguments: &Status, format: Format) -> u8 {
    end(show(arguments, format).await)
}

pub(super) async fn fetch(arguments: &Fetch, format: Format) -> u8 {
    end(get(arguments, format).await)
}

pub(super) async fn approve(arguments: &Approve, format: Format) -> u8 {
    let (forms, what): (&[&str], _) = match arguments.reidentification {
        true => (&REIDENTIFICATIONS, "the approval of a re-identification"),
        false => (&APPROVALS, "an approval"),
    };
    let decision = Decision { forms, item: "approve", what, show: arguments.show, yes: !arguments.refuse };
    decide(&arguments.run, &decision, arguments.reason.as_deref(), format).await
}

pub(super) async fn release(arguments: &Release, format: Format) -> u8 {
    let decision =
        Decision { forms: &RELEASES, item: "release", what: "a release", show: arguments.show, yes: !arguments.refuse };
    decide(&arguments.run, &decision, arguments.reason.as_deref(), format).await
}

fn connect(access: &Access, directory: &Path) -> Result<Own, CommandError> {
    let person = (&access.node, &access.certificate, &access.private_key, &access.authority);
    if let (Some(node), Some(certificate), Some(private_key), Some(authority)) = person {
        return Ok(Own::as_person(node, certificate, private_key, authority)?);
    }
    Ok(Own::new(&Local::load(directory)?.settings)?)
}

async fn ask(arguments: &Request, format: Format) -> Result<(), CommandError> {
    let path = &arguments.definition;
    let definition = std::fs::read(path).map_err(|source| DataSetError::File { path: path.clone(), source })?;
    extraction::Definition::parse(&definition)
        .map_err(|error| DataSetError::Definition { path: path.clone(), problem: error.to_string() })?;
    let local = Local::load(&arguments.directory)?;
    let node = connect(&arguments.access, &arguments.directory)?;
    let only = |given: &Option<String>, role: &str, option: &str| match given {
        Some(given) => Ok(given.clone()),
        None => only_one(&local, role, option),
    };
    let wanted = Wanted {
        project: &arguments.project,
        definition: &definition,
        data_management_site: &only(&arguments.data_management_site, "DMS", "--data-management-site")?,
        trusted_third_party: &only(&arguments.trusted_third_party, "TTP", "--trusted-third-party")?,
        sites: &arguments.site,
        decision: arguments.decision.as_deref(),
        approval_time: &arguments.approval_time,
        transfer_time: &arguments.transfer_time,
        retention: &arguments.retention,
        minimum_cohort: arguments.minimum_cohort,
        pseudonyms: &arguments.pseudonyms,
    };
    let organization = local.settings.organization_identifier.to_string();
    let run = data_set::request(&node, &organization, &wanted).await?;
    answer(
        format,
        || format!("requested as run {run}; `schleuse data-set status --run {run}` says how it stands\n"),
        || json!({ "run": run }),
    );
    Ok(())
}

/// The one organisation of the allow-list in a role.
fn only_one(local: &Local, role: &str, option: &str) -> Result<String, CommandError> {
    let affiliations = local.allow_list()?.affiliations().iter();
    let of_role = affiliations.filter(|one| one.roles.iter().any(|known| known.code() == role));
    let mut found: Vec<String> = of_role.map(|affiliation| affiliation.member.to_string()).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(CommandError::Usage(format!("no organisation of the allow-list has the role {role}"))),
        several => Err(CommandError::Usage(format!("say which with {option}: {}", several.join(", ")))),
    }
}

/// What is decided.
struct Decision<'d> {
    forms: &'d [&'d str],
    item: &'d str,
    what: &'static str,
    show: bool,
    yes: bool,
}

async fn decide(run: &Run, decision: &Decision<'_>, reason: Option<&str>, format: Format) -> u8 {
    let id = match waiting(run, decision).await {
        Ok(id) => id,
        Err(error) => return fail(&error, error.code()),
    };
    let access = Access {
        node: run.access.node.clone(),
        certificate: run.access.certificate.clone(),
        private_key: run.access.private_key.clone(),
        authority: run.access.authority.clone(),
    };
    let one = TaskOne { id, directory: run.directory.clone(), access };
    if decision.show {
        return user_task::show(&one, format).await;
    }
    let mut set = vec![format!("{}={}", decision.item, decision.yes)];
    set.extend(reason.map(|reason| format!("reason={reason}")));
    user_task::answer_task(&TaskAnswer { one, set }, format).await
}

/// The user task of the run that waits for the decision.
async fn waiting(run: &Run, decision: &Decision<'_>) -> Result<String, CommandError> {
    let node = connect(&run.access, &run.directory)?;
    let waiting = data_set::waiting(&node).await?;
    let found = waiting.iter().find(|(of, form, _)| *of == run.run && decision.forms.contains(&form.as_str()));
    let id = found.and_then(|(_, _, response)| response.id()).map(str::to_owned);
    id.ok_or_else(|| DataSetError::NothingWaits { run: run.run.clone(), what: decision.what }.into())
}

async fn show(arguments: &Status, format: Format) -> Result<(), CommandError> {
    let node = connect(&arguments.access, &arguments.directory)?;
    let mut parts = data_set::parts(&node).await?;
    if let Some(run) = &arguments.run {
        parts.retain(|part| part.run == *run);
        if parts.is_empty() {
            return Err(DataSetError::NoRun(run.clone()).into());
        }
    }
    let waiting = data_set::waiting(&node).await?;
    let waits = |run: &str| {
        let forms = waiting.iter().filter(|(of, ..)| of == run).map(|(_, form, _)| form.as_str());
        forms.collect::<Vec<_>>().join(", ")
    };
    let text = || {
        let mut table = Table::new(&["run", "project", "process", "status", "waits for", "persons", "outcome"]);
        for part in &parts {
            let mut outcome: Vec<String> =
                part.outcomes().into_iter().map(|(site, code)| format!("{site} {code}")).collect();
            outcome.extend(part.error());
            outcome.extend(part.output("revision").map(|number| format!("revision {number}")));
            outcome.extend(part.output("deleted").map(|time| format!("deleted {time}")));
            let persons = part.output("persons").unwrap_or_default();
            let status = part.status().to_owned();
            table.row([
                part.run.clone(),
                part.project(),
                part.process.clone(),
                status,
                waits(&part.run),
                persons,
                outcome.join("; "),
            ]);
        }
        table.to_string()
    };
    answer(format, text, || {
        let runs: Vec<Value> = parts
            .iter()
            .map(|part| {
                let outcomes: serde_json::Map<String, Value> =
                    part.outcomes().into_iter().map(|(site, code)| (site, code.into())).collect();
                json!({
                    "run": part.run,
                    "project": part.project(),
                    "process": part.process,
                    "status": part.status(),
                    "waits-for": waits(&part.run),
                    "persons": part.output("persons"),
                    "resources": part.output("resources"),
                    "outcomes": outcomes,
                    "failure": part.output("failure"),
                    "error": part.error(),
                    "deleted": part.output("deleted"),
                    "revision": part.output("revision"),
                })
            })
            .collect();
        json!({ "runs": runs })
    });
    Ok(())
}

async fn get(arguments: &Fetch, format: Format) -> Result<(), CommandError> {
    let node = connect(&arguments.run.access, &arguments.run.directory)?;
    let files = data_set::download(&node, &arguments.run.run).await?;
    data_set::write(&arguments.into, &files)?;
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    answer(
        format,
        || format!("{} files, {bytes} bytes, written to {}\n", files.len(), arguments.into.display()),
        || json!({ "files": files.iter().map(|file| file.name.clone()).collect::<Vec<_>>(), "bytes": bytes }),
    );
    Ok(())
}

pub(super) async fn withdraw(arguments: &Run, format: Format) -> u8 {
    end(tell_withdrawn(arguments, format).await)
}

async fn tell_withdrawn(arguments: &Run, format: Format) -> Result<(), CommandError> {
    let local = Local::load(&arguments.directory)?;
    let node = connect(&arguments.access, &arguments.directory)?;
    data_set::withdraw(&node, &local.settings.organization_identifier.to_string(), &arguments.run).await?;
    let run = &arguments.run;
    answer(
        format,
        || format!("comparing; `schleuse data-set status --run {run}` says how many have left the data set\n"),
        || json!({ "run": run }),
    );
    Ok(())
}

pub(super) async fn reidentify(arguments: &Reidentify, format: Format) -> u8 {
    end(ask_who(arguments, format).await)
}

async fn ask_who(arguments: &Reidentify, format: Format) -> Result<(), CommandError> {
    let run = &arguments.run;
    let local = Local::load(&run.directory)?;
    let node = connect(&run.access, &run.directory)?;
    let wanted = (arguments.pseudonym.as_str(), arguments.reason.as_str(), arguments.approval_time.as_str());
    data_set::reidentify(&node, &local.settings.organization_identifier.to_string(), &run.run, wanted).await?;
    let run = &run.run;
    answer(
        format,
        || format!("asked; `schleuse data-set status --run {run}` says what came of it\n"),
        || json!({ "run": run }),
    );
    Ok(())
}

pub(super) async fn patient(arguments: &Run, format: Format) -> u8 {
    end(show_patients(arguments, format).await)
}

async fn show_patients(arguments: &Run, format: Format) -> Result<(), CommandError> {
    let node = connect(&arguments.access, &arguments.directory)?;
    let found = data_set::patients(&node, &arguments.run).await?;
    if found.is_empty() {
        return Err(DataSetError::Nobody(arguments.run.clone()).into());
    }
    answer(format, || found.iter().map(|patient| format!("{patient}\n")).collect(), || json!({ "patients": found }));
    Ok(())
}
