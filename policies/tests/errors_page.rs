//! The parts of `docs/errors.md` about decisions and requests say what the code says.

mod page;

use page::Row;
use policies::decision::DenyCode;
use policies::interaction::Method;
use policies::request::RequestError;

#[test]
fn every_code_of_a_denial_is_on_the_page() {
    let rows: Vec<Row> =
        DenyCode::ALL.iter().map(|code| Row::new(code.as_str(), &code.status(), code.cause(), code.remedy())).collect();
    page::check("decisions", &rows);
}

#[test]
fn every_code_of_a_request_without_canonical_form_is_on_the_page() {
    let errors = [
        RequestError::TargetTooLong { bytes: 0 },
        RequestError::NotOriginForm,
        RequestError::PathByte { byte: 0 },
        RequestError::PathEncoding,
        RequestError::PathSegment,
        RequestError::QueryByte { byte: 0 },
        RequestError::QueryEncoding,
        RequestError::QueryParameters,
        RequestError::QueryParameter,
        RequestError::CriteriaMissing,
        RequestError::OutsideBase,
        RequestError::NotFound,
        RequestError::UnknownType,
        RequestError::MethodNotAllowed { allow: Vec::<Method>::new() },
        RequestError::MethodNotImplemented,
        RequestError::EntryUrl,
    ];
    let rows: Vec<Row> = errors
        .iter()
        .map(|error| {
            let (cause, remedy) = explanation(error);
            Row::new(error.code(), &error.status(), cause, remedy)
        })
        .collect();
    page::check("requests", &rows);
}

/// Exhaustive, so that a new error does not compile without its explanation.
fn explanation(error: &RequestError) -> (&'static str, &'static str) {
    match error {
        RequestError::TargetTooLong { .. } => {
            ("path and query are too long", "shorten the query, or send the search by its parts")
        }
        RequestError::NotOriginForm => ("the request target is no path", "send `/fhir/…`; the node is no proxy"),
        RequestError::PathByte { .. } => (
            "the path has a character that must not be there, such as `;`, `\\` or a space",
            "paths consist of resource types, ids and operations alone",
        ),
        RequestError::PathEncoding => (
            "the path hides a character behind percent-encoding",
            "do not encode what needs no encoding; a path of FHIR needs none",
        ),
        RequestError::PathSegment => ("the path has `//`, `.` or `..`", "send the path in its plain form"),
        RequestError::QueryByte { .. } => {
            ("the query has a raw character that a URI must not have", "percent-encode it")
        }
        RequestError::QueryEncoding => ("the query has broken percent-encoding or is not UTF-8", "encode UTF-8 text"),
        RequestError::QueryParameters => ("the query has too many parameters", "send several searches"),
        RequestError::QueryParameter => (
            "a parameter has no name, or stands for another method (`_method`)",
            "send the method as the method of the request",
        ),
        RequestError::CriteriaMissing => (
            "a conditional update or delete has no criteria",
            "add the search that finds the resource, or name its id in the path",
        ),
        RequestError::OutsideBase => {
            ("the path lies outside the base URL", "use the base URL of the node, which ends in `/fhir`")
        }
        RequestError::NotFound => ("no such path", "see `metadata` for what the node offers"),
        RequestError::UnknownType => {
            ("the path names no resource type of the node", "see `metadata`; types are case-sensitive")
        }
        RequestError::MethodNotAllowed { .. } => {
            ("the path does not take the method", "the field `Allow` of the answer names those that it takes")
        }
        RequestError::MethodNotImplemented => ("the method is unknown, or not in upper case", "use a method of HTTP"),
        RequestError::EntryUrl => (
            "the url of a Bundle entry is absolute, or none that an entry may have",
            "write it relative to the base URL, such as `Task?identifier=…`",
        ),
    }
}
