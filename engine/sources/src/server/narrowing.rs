//! What a server is asked for: as little as R4's search parameters can say, and never less than what may match.
//!
//! Every resource that comes back is looked at here again, so a server that ignores a parameter only costs time.

use ::client::escape;

use super::matching::Check;
use crate::folder::extract;
use crate::limits;

/// One search: parameter and values of which one must hold; none reads the whole type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) parameter: Option<(&'static str, Vec<String>)>,
}

/// Search parameters of coded elements, and whether their values have a system.
const CODES: &[(&str, &str, bool)] = &[
    ("Condition.code", "code", true),
    ("Observation.code", "code", true),
    ("Procedure.code", "code", true),
    ("Medication.code", "code", true),
    ("MedicationAdministration.medication", "code", true),
    ("MedicationStatement.medication", "code", true),
    ("MedicationRequest.medication", "code", true),
    ("Specimen.type", "type", true),
    ("Patient.gender", "gender", false),
];

/// Search parameters of references.
const REFERENCES: &[(&str, &str)] = &[
    ("MedicationAdministration.medication", "medication"),
    ("MedicationStatement.medication", "medication"),
    ("MedicationRequest.medication", "medication"),
    ("Observation.specimen", "specimen"),
    ("Condition.encounter", "encounter"),
];

/// Where a type says whom it is about; types with another element are read whole.
const SUBJECTS: &[(&str, &str)] = &[
    ("Patient", "gender"),
    ("Condition", "subject"),
    ("Observation", "subject"),
    ("Procedure", "subject"),
    ("Specimen", "subject"),
    ("Encounter", "subject"),
    ("Medication", "code"),
];

/// The searches that together find every resource that passes the checks.
pub(super) fn searches(checks: &[Check]) -> Vec<Search> {
    checks.iter().find_map(narrow).unwrap_or_else(|| vec![Search { parameter: None }])
}

fn narrow(check: &Check) -> Option<Vec<Search>> {
    match check {
        Check::Code { element, codes } => {
            let (_, parameter, has_system) = CODES.iter().find(|(known, ..)| known == element)?;
            let mut values: Vec<String> = codes
                .listed()?
                .map(
                    |(system, code)| {
                        if *has_system { format!("{}|{}", escape(system), escape(code)) } else { escape(code) }
                    },
                )
                .collect();
            values.sort_unstable();
            values.dedup();
            Some(chunks(parameter, &values))
        }
        Check::Linked { element, targets } if targets.references.len() <= limits::SEARCH_REFERENCES => {
            let (_, parameter) = REFERENCES.iter().find(|(known, _)| known == element)?;
            Some(chunks(parameter, &targets.references))
        }
        Check::AnyOf(checks) => {
            let all: Option<Vec<Vec<Search>>> = checks.iter().map(narrow).collect();
            Some(all?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

pub(super) fn chunks(parameter: &'static str, values: &[String]) -> Vec<Search> {
    let chunk = |values: &[String]| Search { parameter: Some((parameter, values.to_vec())) };
    values.chunks(limits::SEARCH_VALUES).map(chunk).collect()
}

/// `_elements` for the checks, where leaving out the rest cannot change the answer. Servers disagree about the names of
/// choices (`value`, `value[x]`), so resources with one that matters are read whole.
pub(super) fn elements(resource_type: &str, checks: &[Check]) -> Option<String> {
    let (_, subject) = SUBJECTS.iter().find(|(known, _)| *known == resource_type)?;
    let mut names = vec![(*subject).to_owned()];
    for check in checks {
        add_elements(resource_type, check, &mut names)?;
    }
    names.sort_unstable();
    names.dedup();
    Some(names.join(","))
}

fn add_elements(resource_type: &str, check: &Check, names: &mut Vec<String>) -> Option<()> {
    let mut add = |element: &str| {
        let rest = element.strip_prefix(resource_type)?.strip_prefix('.')?;
        let name = rest.split('.').next()?;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphabetic()) && !extract::is_choice(name);
        is_plain.then(|| names.push(name.to_owned()))
    };
    match check {
        Check::Code { element, .. } | Check::Linked { element, .. } => add(element),
        Check::Time { elements, .. } => elements.iter().try_for_each(|element| add(element)),
        Check::CodeOf { .. } | Check::Quantity { .. } => None,
        Check::AnyOf(checks) => checks.iter().try_for_each(|check| add_elements(resource_type, check, names)),
    }
}

#[cfg(test)]
mod tests {
    use super::{elements, searches};
    use crate::plan::{Bounds, Code};
    use crate::server::matching::{Check, Codes, Targets};

    fn code(element: &str, codes: &[Code]) -> Check {
        Check::Code { element: element.to_owned(), codes: Codes::new(codes) }
    }

    #[test]
    fn listed_codes_are_searched_for_and_others_are_not() {
        let exact = [Code::exact("http://loinc.org", "718-7"), Code::exact("a|b", "x,y")];
        let found = searches(&[code("Observation.code", &exact)]);
        let (parameter, values) = found[0].parameter.as_ref().unwrap();
        assert_eq!((found.len(), *parameter), (1, "code"));
        assert_eq!(values, &["a\\|b|x\\,y", "http://loinc.org|718-7"]);
        let below = Code { descendants: true, ..Code::exact("icd", "C34") };
        assert!(searches(&[code("Condition.code", &[below])])[0].parameter.is_none());
        assert!(searches(&[code("Consent.permit", &exact)])[0].parameter.is_none());
    }

    #[test]
    fn many_codes_are_many_searches_and_no_code_is_none() {
        let codes: Vec<Code> = (0..250).map(|number| Code::exact("s", number.to_string())).collect();
        assert_eq!(searches(&[code("Condition.code", &codes)]).len(), 3);
        assert!(searches(&[Check::AnyOf(Vec::new())]).is_empty());
        let nothing = Check::Linked { element: "Observation.specimen".to_owned(), targets: Targets::default() };
        assert!(searches(&[nothing]).is_empty());
    }

    #[test]
    fn an_alternative_that_cannot_be_searched_for_widens_the_whole() {
        let any = Check::AnyOf(vec![code("Encounter.class", &[Code::exact("s", "c")]), code("Condition.code", &[])]);
        assert!(searches(&[any])[0].parameter.is_none());
    }

    #[test]
    fn elements_are_named_only_where_none_is_a_choice() {
        let plain = code("Condition.code", &[]);
        assert_eq!(elements("Condition", &[plain]).as_deref(), Some("code,subject"));
        let value = Check::Quantity {
            element: "Observation.value".to_owned(),
            group: None,
            unit: String::new(),
            bounds: Bounds::Above(1.0),
        };
        assert_eq!(elements("Observation", &[value]), None);
        assert_eq!(elements("MedicationStatement", &[]), None);
        let onset = Check::Time {
            elements: vec!["Condition.onset".to_owned()],
            days: crate::date::Days::parse("2020").unwrap(),
        };
        assert_eq!(elements("Condition", &[onset]), None);
    }
}
