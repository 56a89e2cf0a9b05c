use super::{Issue, IssueCode, OperationOutcome, Severity};
use crate::json;

#[test]
fn an_error_prints_as_the_reference_does() {
    let outcome = OperationOutcome::error(IssueCode::Forbidden, "no").with_details("urn:x", "GW-1").into_resource();
    assert_eq!(
        json::print(&outcome, false),
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","details":{"coding":[{"system":"urn:x","code":"GW-1"}]},"diagnostics":"no"}]}"#
    );
}

#[test]
fn details_belong_to_the_issue_added_last() {
    let outcome = OperationOutcome::error(IssueCode::Invalid, "a")
        .and(Issue::new(Severity::Warning, IssueCode::Value, "b").at("Task.status"))
        .with_details("s", "c");
    let issues: Vec<_> = outcome.issues().map(|issue| issue.details.is_some()).collect();
    assert_eq!(issues, [false, true]);
}

#[test]
fn no_issues_make_no_outcome() {
    assert_eq!(OperationOutcome::of([]), None);
}
