//! Why a request is decided as it is: every rule that is about the interaction and the type, and why it does or does not
//! apply.
//!
//! The refused caller learns a code; the officer learns the whole derivation. Nothing here decides: the decision itself is
//! [`crate::decide`]'s, this only says which of its questions had which answer.

use fhir::Object;
use serde::Serialize;

use crate::decision::{Context, Origin, hidden_types};
use crate::identity::Identity;
use crate::interaction::Interaction;
use crate::matrix::{Cell, Side};
use crate::policy::rules::Body;
use crate::policy::{Effect, Rule};

/// One rule and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Considered {
    /// Its id.
    pub rule: String,
    /// `allow`, `deny` or `restrict`.
    pub effect: &'static str,
    /// Whether it applies.
    pub applies: bool,
    /// Why, or why not.
    pub because: String,
}

/// Types of which nothing stands in the answers to a caller, and why: what the decision on reading said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeftOut {
    /// The types.
    pub types: Vec<String>,
    /// The rule that hides them; none if no rule lets the caller read them.
    pub rule: Option<String>,
    /// Code of the decision on reading.
    pub code: &'static str,
    /// Why.
    pub because: String,
}

/// What the rules leave out of the answer to a search, a history, a Bundle or a WebSocket, whatever led to it: matches,
/// includes, versions and events. Empty for interactions whose answer is one resource.
#[must_use]
pub fn left_out(side: Side<'_>, caller: &Identity, interaction: Interaction, context: &Context) -> Vec<LeftOut> {
    if !interaction.answers_with_many() {
        return Vec::new();
    }
    let mut found: Vec<LeftOut> = Vec::new();
    for (resource_type, denial) in hidden_types(side.policy, side.allow_list, caller, context) {
        let rule = denial.rule.as_ref().map(ToString::to_string);
        let name = resource_type.to_string();
        match found.iter_mut().find(|known| known.rule == rule && known.code == denial.code.as_str()) {
            Some(known) => known.types.push(name),
            None => {
                // The text names the type, of which there may be many.
                let because = denial.text.replace(&format!("read {name}"), "reading");
                found.push(LeftOut { types: vec![name], rule, code: denial.code.as_str(), because });
            }
        }
    }
    found
}

/// The rules about the cell with their answers to a request; `body` is the resource that it carries. To a request that
/// shows one stored resource belong the rules about reading.
#[must_use]
pub fn considered(
    side: Side<'_>,
    caller: &Identity,
    cell: Cell,
    body: Option<&Object>,
    context: &Context,
) -> Vec<Considered> {
    let reads = cell.interaction.shows_stored();
    let about = |rule: &&Rule| covers(rule, cell.interaction, cell) || (reads && covers(rule, Interaction::Read, cell));
    side.policy.rules().all().iter().filter(about).map(|rule| answer(side, caller, rule, body, context)).collect()
}

fn covers(rule: &Rule, interaction: Interaction, cell: Cell) -> bool {
    rule.interactions.contains(&interaction)
        && match (&rule.types, cell.resource_type) {
            (None, _) => true,
            (Some(types), Some(resource_type)) => types.contains(&resource_type),
            (Some(_), None) => false,
        }
}

fn answer(side: Side<'_>, caller: &Identity, rule: &Rule, body: Option<&Object>, context: &Context) -> Considered {
    let effect = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
        Effect::Restrict => "restrict",
    };
    let zone = side.policy.zone();
    let of = |applies, because: String| Considered { rule: rule.id.to_string(), effect, applies, because };
    if !rule.subjects.iter().any(|subject| subject.matches(caller, side.allow_list)) {
        return of(false, "it is about somebody else".to_owned());
    }
    if let Some(window) = rule.time.filter(|window| !window.contains(context.now, zone)) {
        return of(false, format!("it holds at {window} ({}) only", zone.name()));
    }
    if let Origin::Address(address) = context.origin
        && !rule.networks.is_empty()
        && !rule.networks.iter().any(|network| network.contains(address))
    {
        return of(false, format!("it is about other networks than that of {address}"));
    }
    if !rule.admits_body(body.map_or(Body::None, Body::Resource)) {
        return of(false, "its condition on the resource is not met".to_owned());
    }
    match rule.effect {
        Effect::Restrict => match rule.only.unmet(context, zone) {
            Some(unmet) => of(true, format!("what it demands is not met: {unmet}")),
            None if rule.only.count.is_some() || rule.only.rate.is_some() => {
                of(true, "what it demands is met, as long as not more come than it permits".to_owned())
            }
            None => of(true, "what it demands is met".to_owned()),
        },
        Effect::Allow => of(true, "it permits the request".to_owned()),
        Effect::Deny => of(true, "it refuses the request".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::*;

    #[test]
    fn every_rule_about_the_request_says_why() {
        let (policy, list) = (strict_policy(), allow_list());
        let side = Side { policy: &policy, allow_list: &list };
        let member = list.identify(&thumbprint(MEMBER_CERTIFICATE), None, &policy);
        let cell = Cell { interaction: Interaction::Read, resource_type: Some(fhir::ResourceType::Patient) };
        let found = considered(side, &member, cell, None, &inside());
        let say = |rule: &str| {
            found.iter().find(|known| known.rule == rule).map(|known| (known.applies, known.because.as_str()))
        };
        assert_eq!(say("no-remote-patient-data"), Some((true, "it refuses the request")));
        assert_eq!(say("remote-read"), Some((true, "it permits the request")));
        assert_eq!(say("local-inside"), Some((false, "it is about somebody else")));
        assert_eq!(say("remote-task-create"), None);
        let local = list.identify(&thumbprint(LOCAL_CERTIFICATE), None, &policy);
        let outside = considered(side, &local, cell, None, &from("192.0.2.1"));
        assert!(outside.iter().any(|known| known.because.contains("192.0.2.1")));
    }

    #[test]
    fn what_is_left_out_of_an_answer_is_told_with_its_rule() {
        let (policy, list) = (strict_policy(), allow_list());
        let side = Side { policy: &policy, allow_list: &list };
        let member = list.identify(&thumbprint(MEMBER_CERTIFICATE), None, &policy);
        let of = |interaction| left_out(side, &member, interaction, &inside());
        let found = of(Interaction::Search);
        let hidden = found.iter().find(|known| known.rule.as_deref() == Some("no-remote-patient-data")).unwrap();
        assert!(hidden.types.contains(&"Patient".to_owned()), "{hidden:?}");
        assert_eq!(
            (hidden.code, hidden.because.as_str()),
            ("GW-POL-013", "reading is denied by rule no-remote-patient-data")
        );
        assert_eq!(of(Interaction::Websocket), found);
        assert!(of(Interaction::Read).is_empty());
    }
}
