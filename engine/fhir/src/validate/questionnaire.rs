//! A QuestionnaireResponse against the Questionnaire that it answers (`fhir-api` 4.4, 6.6).
//!
//! Every answered item must be one of the Questionnaire, at its place, in its order, and have answers of the item's type;
//! required items must be answered once the response is complete. Where the text of an item differs from the
//! Questionnaire's, and where something cannot be decided here, that is a warning. `enableWhen` is not evaluated: an item
//! that has one is not demanded.

use super::terminology::{self, Membership};
use super::{IssueCode, Validator};
use crate::canonical::Canonical;
use crate::{Object, Value};

/// Whether missing answers are violations already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Complete,
    Open,
}

impl<'a> Validator<'a> {
    /// Checks the answers, if the resource is a QuestionnaireResponse of a known Questionnaire.
    pub(super) fn answers(&mut self, response: &'a Object) {
        let Some(canonical) = response.str("questionnaire").and_then(Canonical::parse) else { return };
        let Some(questionnaire) = self.source.questionnaire(&canonical.url, canonical.version.as_deref()) else {
            // That it exists where the resource is stored is a rule of its own (`fhir-api` 4.1).
            let text = format!("Questionnaire {canonical} is not known, the answers were not checked against it");
            let before = self.findings.enter("questionnaire", None);
            self.findings.warning(IssueCode::NotFound, text);
            self.findings.leave(before);
            return;
        };
        let progress = match response.str("status") {
            Some("completed" | "amended") => Progress::Complete,
            _ => Progress::Open,
        };
        self.items(response, questionnaire.list("item"), questionnaire.list("item"), progress);
    }

    /// Checks the items below a response, an item or an answer, given what the Questionnaire has at this place.
    fn items(&mut self, parent: &'a Object, wanted: &[Value], all: &[Value], progress: Progress) {
        if !self.may_go_on() {
            return;
        }
        self.depth += 1;
        let mut last = 0;
        for (index, item) in parent.list("item").iter().enumerate() {
            let Some(item) = item.as_object() else { continue };
            let before = self.findings.enter("item", Some(index));
            let link_id = item.str("linkId").unwrap_or_default();
            match wanted.iter().position(|known| known.str("linkId") == Some(link_id)) {
                Some(position) => {
                    if position < last {
                        let text = format!("item {link_id} is out of the order of the Questionnaire");
                        self.findings.error(IssueCode::Structure, text);
                    }
                    last = last.max(position);
                    if let Some(known) = wanted.get(position) {
                        self.item(item, known, all, progress);
                    }
                }
                None => {
                    let text = if find(all, link_id) {
                        format!("item {link_id} stands at another place in the Questionnaire")
                    } else {
                        format!("linkId {link_id} is not in the Questionnaire")
                    };
                    self.findings.error(IssueCode::Structure, text);
                }
            }
            self.findings.leave(before);
        }
        for known in wanted {
            self.occurrences(parent, known, progress);
        }
        self.depth -= 1;
    }

    /// How often an item of the Questionnaire is answered.
    fn occurrences(&mut self, parent: &Object, known: &Value, progress: Progress) {
        let link_id = known.str("linkId").unwrap_or_default();
        let items: Vec<_> = parent.list("item").iter().filter(|item| item.str("linkId") == Some(link_id)).collect();
        let is_group = known.str("type") == Some("group");
        let answers: usize = items.iter().map(|item| item.list("answer").len()).sum();
        let repeats = known.get("repeats").and_then(Value::as_bool) == Some(true);
        let before = self.findings.enter("item", None);
        if !repeats && (items.len() > 1 || answers > 1) {
            let text = format!("item {link_id} is answered more than once and does not repeat");
            self.findings.error(IssueCode::Structure, text);
        }
        let is_missing = if is_group { items.is_empty() } else { answers == 0 };
        let is_required = known.get("required").and_then(Value::as_bool) == Some(true);
        if is_missing && is_required && known.str("type") != Some("display") {
            let text = format!("required item {link_id} is not answered");
            let is_conditional = known.get("enableWhen").is_some();
            if progress == Progress::Complete && !is_conditional {
                self.findings.error(IssueCode::Required, text);
            } else {
                self.findings.warning(IssueCode::Required, text);
            }
        }
        self.findings.leave(before);
    }

    fn item(&mut self, item: &'a Object, known: &Value, all: &[Value], progress: Progress) {
        if let Some(text) = item.str("text")
            && known.str("text").is_some_and(|wanted| wanted != text)
        {
            let before = self.findings.enter("text", None);
            let text = "text does not match that of the Questionnaire for the linkId";
            self.findings.warning(IssueCode::Invariant, text);
            self.findings.leave(before);
        }
        let kind = known.str("type").unwrap_or_default();
        let answers = item.list("answer");
        if matches!(kind, "group" | "display") && !answers.is_empty() {
            self.findings.error(IssueCode::Structure, format!("an item of type {kind} has no answer"));
            return;
        }
        if kind == "group" {
            self.items(item, known.list("item"), all, progress);
            return;
        }
        if item.get("item").is_some() {
            self.findings.error(IssueCode::Structure, "items of a question stand below its answer");
        }
        for (index, answer) in answers.iter().enumerate() {
            let Some(answer) = answer.as_object() else { continue };
            let before = self.findings.enter("answer", Some(index));
            self.answer(answer, kind, known);
            if answer.get("item").is_some() || !known.list("item").is_empty() {
                self.items(answer, known.list("item"), all, progress);
            }
            self.findings.leave(before);
        }
    }

    fn answer(&mut self, answer: &Object, kind: &str, known: &Value) {
        let Some((name, value)) = answer.iter().find(|(name, _)| name.starts_with("value")) else { return };
        let allowed = types_of(kind);
        let type_name = name.strip_prefix("value").unwrap_or_default();
        if !allowed.contains(&type_name) {
            let text = format!("an answer to an item of type {kind} is {}, not {type_name}", allowed.join(" or "));
            self.findings.error(IssueCode::Value, text);
            return;
        }
        let options = known.list("answerOption");
        let is_option = |option: &Value| option.get(name).is_some_and(|wanted| is_chosen(value, wanted));
        // Whoever may answer freely may answer with a text that is no option.
        let is_free = kind == "open-choice" && type_name == "String";
        if !options.is_empty() && !is_free && !options.iter().any(is_option) {
            self.findings.error(IssueCode::CodeInvalid, "the answer is none of the options of the Questionnaire");
        }
        if let (Some(value_set), Some(code), false) = (known.str("answerValueSet"), value.str("code"), is_free) {
            self.chosen(value_set, value, code);
        }
    }

    fn chosen(&mut self, value_set: &str, value: &Value, code: &str) {
        let Some(codes) = terminology::expand(value_set, self.source) else {
            let text = format!("value set {value_set} is not known, the answer was not checked");
            self.findings.warning(IssueCode::NotFound, text);
            return;
        };
        match codes.membership(value.str("system"), value.str("version"), code) {
            Membership::Member => {}
            Membership::Foreign => {
                self.findings.error(IssueCode::CodeInvalid, format!("the answer is no code of value set {value_set}"));
            }
            Membership::Unknown(reason) => {
                let text = format!("the answer was not checked against value set {value_set}: {reason}");
                self.findings.warning(IssueCode::NotSupported, text);
            }
        }
    }
}

/// The types of answers, as they end the name of the value.
fn types_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "boolean" => &["Boolean"],
        "decimal" => &["Decimal"],
        "integer" => &["Integer"],
        "date" => &["Date"],
        "dateTime" => &["DateTime"],
        "time" => &["Time"],
        "string" | "text" => &["String"],
        "url" => &["Uri"],
        "choice" => &["Coding"],
        "open-choice" => &["Coding", "String"],
        "attachment" => &["Attachment"],
        "reference" => &["Reference"],
        "quantity" => &["Quantity"],
        _ => &[],
    }
}

/// Codings are the same by system and code, everything else by its value.
fn is_chosen(value: &Value, option: &Value) -> bool {
    match (value.as_object(), option.as_object()) {
        (Some(value), Some(option)) if option.get("code").is_some() => {
            value.str("code") == option.str("code")
                && (option.get("system").is_none() || value.str("system") == option.str("system"))
        }
        _ => super::equality::same(value, option),
    }
}

/// Whether any item has the link id. The depth of a stored Questionnaire is bounded by the parser.
fn find(items: &[Value], link_id: &str) -> bool {
    items.iter().any(|item| item.str("linkId") == Some(link_id) || find(item.list("item"), link_id))
}

/// Whether the item type is one of R4, for the test that no type is forgotten.
#[cfg(test)]
pub(super) fn has_answers(kind: &str) -> bool {
    !types_of(kind).is_empty()
}

/// Item types of R4.
#[cfg(test)]
pub(super) fn kinds() -> Vec<&'static str> {
    let codes = crate::definitions::definitions()
        .codes("http://hl7.org/fhir/ValueSet/item-type")
        .expect("an enumerated value set");
    codes.groups.iter().flat_map(|(_, codes)| codes.iter().copied()).collect()
}
