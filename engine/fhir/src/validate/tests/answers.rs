//! QuestionnaireResponses against their Questionnaires.

use super::support::{json, listed};
use crate::validate::questionnaire::{has_answers, kinds};
use crate::validate::{ProfileRegistry, validate};

fn registry(items: &str) -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    registry.add(json(&format!(
        r#"{{"resourceType":"Questionnaire","url":"http://example.org/q","version":"1.0","status":"active","item":[{items}]}}"#
    )));
    registry
}

const ITEMS: &str = r#"
    {"linkId":"note","text":"Read this","type":"display"},
    {"linkId":"release","text":"Release?","type":"boolean","required":true},
    {"linkId":"group","type":"group","required":true,"item":[
        {"linkId":"name","type":"string","required":true,"repeats":true},
        {"linkId":"kind","type":"choice","answerOption":[{"valueCoding":{"system":"http://s","code":"a"}}]}]},
    {"linkId":"open","type":"open-choice","answerOption":[{"valueCoding":{"code":"a"}}]},
    {"linkId":"more","type":"string","required":true,"enableWhen":[{"question":"release","operator":"=","answerBoolean":true}]}"#;

/// The findings about the answers as `severity place`.
fn findings(status: &str, items: &str) -> Vec<String> {
    let response = json(&format!(
        r#"{{"resourceType":"QuestionnaireResponse","questionnaire":"http://example.org/q|1.0","status":"{status}","item":[{items}]}}"#
    ));
    let issues = validate(&response, &registry(ITEMS));
    println!("{}", listed(&issues));
    issues
        .iter()
        .map(|issue| {
            let place = issue.expression.as_deref().unwrap_or_default();
            format!("{} {}", issue.severity, place.trim_start_matches("QuestionnaireResponse."))
        })
        .collect()
}

const RELEASE: &str = r#"{"linkId":"release","answer":[{"valueBoolean":true}]}"#;
const GROUP: &str =
    r#"{"linkId":"group","item":[{"linkId":"name","answer":[{"valueString":"x"},{"valueString":"y"}]}]}"#;
const MORE: &str = r#"{"linkId":"more","answer":[{"valueString":"x"}]}"#;
const NONE: [&str; 0] = [];

#[test]
fn answers_that_fit_are_accepted() {
    let note = r#"{"linkId":"note","text":"Read this"}"#;
    let open = r#"{"linkId":"open","answer":[{"valueString":"free"}]}"#;
    let all = [note, RELEASE, GROUP, open, MORE].join(",");
    assert_eq!(findings("completed", &all), NONE);
    assert_eq!(findings("amended", &[RELEASE, GROUP, MORE].join(",")), NONE);
}

#[test]
fn required_items_are_demanded_when_the_response_is_complete() {
    assert_eq!(findings("completed", GROUP), ["error item", "warning item"]);
    assert_eq!(findings("in-progress", GROUP), ["warning item", "warning item"]);
    let empty_group = r#"{"linkId":"group","text":"x"}"#;
    assert_eq!(findings("completed", &[RELEASE, empty_group, MORE].join(",")), ["error item[1].item"]);
    assert_eq!(findings("stopped", MORE), ["warning item", "warning item"]);
}

#[test]
fn items_have_their_place_order_and_number() {
    let with = |items: &[&str]| findings("completed", &items.join(","));
    assert_eq!(with(&[RELEASE, GROUP, MORE, r#"{"linkId":"other"}"#]), ["error item[3]"]);
    assert_eq!(with(&[GROUP, RELEASE, MORE]), ["error item[1]"]);
    assert_eq!(with(&[RELEASE, RELEASE, GROUP, MORE]), ["error item"]);
    let misplaced = r#"{"linkId":"name","answer":[{"valueString":"x"}]}"#;
    assert_eq!(with(&[RELEASE, GROUP, misplaced, MORE]), ["error item[2]"]);
    let twice = r#"{"linkId":"release","answer":[{"valueBoolean":true},{"valueBoolean":false}]}"#;
    assert_eq!(with(&[twice, GROUP, MORE]), ["error item"]);
}

#[test]
fn answers_have_the_type_of_their_item() {
    let with = |item: &str| findings("completed", &[RELEASE, GROUP, item, MORE].join(","));
    let wrong = r#"{"linkId":"release","answer":[{"valueString":"yes"}]}"#;
    assert_eq!(findings("completed", &[wrong, GROUP, MORE].join(",")), ["error item[0].answer[0]"]);
    let display = r#"{"linkId":"note","answer":[{"valueString":"x"}]}"#;
    assert_eq!(findings("completed", &[display, RELEASE, GROUP, MORE].join(",")), ["error item[0]"]);
    assert_eq!(with(r#"{"linkId":"open","answer":[{"valueCoding":{"code":"a"}}]}"#), NONE);
    assert_eq!(with(r#"{"linkId":"open","answer":[{"valueCoding":{"code":"b"}}]}"#), ["error item[2].answer[0]"]);
    let kind = |code: &str| {
        let group = GROUP.replace(
            "]}]}",
            &format!(
                r#"]}},{{"linkId":"kind","answer":[{{"valueCoding":{{"system":"http://s","code":"{code}"}}}}]}}]}}"#
            ),
        );
        findings("completed", &[RELEASE, group.as_str(), MORE].join(","))
    };
    assert_eq!(kind("a"), NONE);
    assert_eq!(kind("b"), ["error item[1].item[1].answer[0]"]);
}

#[test]
fn another_text_and_an_unknown_questionnaire_are_warnings() {
    let other = r#"{"linkId":"release","text":"Really?","answer":[{"valueBoolean":true}]}"#;
    assert_eq!(findings("completed", &[other, GROUP, MORE].join(",")), ["warning item[0].text"]);
    let response = json(
        r#"{"resourceType":"QuestionnaireResponse","questionnaire":"http://example.org/q|2.0","status":"completed"}"#,
    );
    let issues = validate(&response, &registry(ITEMS));
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0].expression.as_deref(), Some("QuestionnaireResponse.questionnaire"));
}

#[test]
fn every_type_of_item_is_known() {
    let without: Vec<_> = kinds().into_iter().filter(|kind| !has_answers(kind)).collect();
    assert_eq!(without, ["group", "display", "question"]);
}
