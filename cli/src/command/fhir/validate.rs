//! `schleuse fhir validate`

use fhir::base::BaseResourceError;
use fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};
use fhir::validate::{ProfileRegistry, has_errors, validate, validate_profile};
use fhir::{Format, Object, Resource, Value};
use serde_json::json;

use super::sources::{self, Source, SourceError};
use crate::arguments::{self, FhirValidate};
use crate::command::fail;
use crate::output::{answer, printable};

/// What was found about one source.
struct Report {
    name: String,
    issues: Vec<Issue>,
}

#[derive(Debug, thiserror::Error)]
enum ValidateError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Base(#[from] BaseResourceError),
    #[error("{file} of --profiles: {source}")]
    Profile {
        file: String,
        #[source]
        source: fhir::ParseError,
    },
    #[error("--set is NAME=VALUE, such as version=1.0; {0:?} is not")]
    Placeholder(String),
}

pub(in crate::command) fn run(arguments: &FhirValidate, format: arguments::Format) -> u8 {
    let reports = match reports(arguments) {
        Ok(reports) => reports,
        Err(error) => return fail(&error, 2),
    };
    let refused = reports.iter().filter(|report| has_errors(&report.issues)).count();
    if arguments.outcome {
        print_outcome(reports);
    } else {
        answer(format, || text(&reports, refused), || as_json(&reports, refused));
    }
    u8::from(refused > 0)
}

fn reports(arguments: &FhirValidate) -> Result<Vec<Report>, ValidateError> {
    let mut placeholders = Vec::new();
    for set in &arguments.set {
        let (name, value) = set.split_once('=').ok_or_else(|| ValidateError::Placeholder(set.clone()))?;
        placeholders.push((format!("#{{{name}}}"), value.to_owned()));
    }
    let registry = registry(arguments, &placeholders)?;
    let sources = sources::find(&arguments.sources)?;
    let report = |source: &Source| {
        let issues = match read(source, &placeholders)? {
            Ok(resource) => issues(&resource, &registry, &arguments.profile),
            Err(error) => vec![Issue::new(Severity::Fatal, IssueCode::Structure, error.to_string())],
        };
        Ok(Report { name: source.name.clone(), issues })
    };
    sources.iter().map(report).collect()
}

/// The DSF base resources, and what the folders hold.
fn registry(arguments: &FhirValidate, placeholders: &[(String, String)]) -> Result<ProfileRegistry, ValidateError> {
    let mut registry = ProfileRegistry::new();
    for resource in fhir::base::resources()? {
        registry.add(resource);
    }
    if !arguments.profiles.is_empty() {
        for source in sources::find(&arguments.profiles)? {
            match read(&source, placeholders)? {
                Ok(resource) => drop(registry.add(resource)),
                Err(error) => return Err(ValidateError::Profile { file: source.name, source: error }),
            }
        }
    }
    Ok(registry)
}

fn read(source: &Source, placeholders: &[(String, String)]) -> Result<Result<Resource, fhir::ParseError>, SourceError> {
    let mut bytes = source.bytes()?;
    if !placeholders.is_empty()
        && let Ok(text) = std::str::from_utf8(&bytes)
    {
        let replaced =
            placeholders.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value));
        bytes = replaced.into_bytes();
    }
    Ok(sources::parse(&bytes).map(|(_, resource)| resource))
}

fn issues(resource: &Resource, registry: &ProfileRegistry, profiles: &[String]) -> Vec<Issue> {
    let mut issues = validate(resource, registry);
    for profile in profiles {
        for issue in validate_profile(resource, profile, registry) {
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        }
    }
    issues.sort_by_key(|issue| std::cmp::Reverse(issue.severity));
    issues
}

fn text(reports: &[Report], refused: usize) -> String {
    let mut text = String::new();
    for report in reports {
        let is_error = |issue: &&Issue| issue.severity >= Severity::Error;
        let errors = report.issues.iter().filter(is_error).count();
        let others = report.issues.len() - errors;
        text.push_str(&printable(&format!("{}: {errors} errors, {others} warnings", report.name)));
        text.push('\n');
        for issue in &report.issues {
            let place = issue.expression.as_deref().map_or_else(String::new, |place| format!("{place}: "));
            let line = format!("  {}: {place}{} ({})", issue.severity, issue.diagnostics, issue.code);
            text.push_str(&printable(&line));
            text.push('\n');
        }
    }
    text.push_str(&format!("{} resources, {refused} with errors\n", reports.len()));
    text
}

fn as_json(reports: &[Report], refused: usize) -> serde_json::Value {
    let issue = |issue: &Issue| {
        json!({
            "severity": issue.severity.as_str(),
            "code": issue.code.as_str(),
            "expression": issue.expression,
            "diagnostics": issue.diagnostics,
        })
    };
    let resources: Vec<_> = reports
        .iter()
        .map(|report| json!({ "source": report.name, "issues": report.issues.iter().map(issue).collect::<Vec<_>>() }))
        .collect();
    json!({ "resources": resources, "with-errors": refused })
}

/// One OperationOutcome for one source, a Bundle of them for several.
fn print_outcome(reports: Vec<Report>) {
    let mut outcomes: Vec<Resource> = reports.into_iter().map(outcome).collect();
    let resource = if outcomes.len() == 1 {
        outcomes.pop().unwrap_or_else(|| Resource::new("OperationOutcome"))
    } else {
        let entry = |outcome: Resource| Value::Object(Object::new().with("resource", outcome.into_tree()));
        let mut bundle = Resource::new("Bundle");
        bundle.set("type", "collection");
        bundle.set("entry", outcomes.into_iter().map(entry).collect::<Vec<_>>());
        bundle
    };
    answer(arguments::Format::Text, || fhir::print(Format::Json, &resource, true), || serde_json::Value::Null);
}

/// The issues as FHIR; the source is named in the first one's place if there is nothing to say.
fn outcome(report: Report) -> Resource {
    let mut resource = OperationOutcome::of(report.issues).map_or_else(
        || OperationOutcome::information(IssueCode::Informational, "no issues").into_resource(),
        OperationOutcome::into_resource,
    );
    resource.set("id", id_of(&report.name));
    resource
}

/// The name of the source in the characters that a FHIR id may have.
fn id_of(name: &str) -> String {
    let id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let start = id.len().saturating_sub(64);
    id.get(start..).unwrap_or_default().to_owned()
}
