use super::*;
use crate::world::*;

fn cell(interaction: Interaction, resource_type: ResourceType) -> Cell {
    Cell { interaction, resource_type: Some(resource_type) }
}

fn with(extra: &str) -> Policy {
    let identity = identity_file();
    let mut files: Vec<(&str, &str)> = crate::default_files()
        .iter()
        .map(|(name, text)| (*name, if *name == "identity.toml" { identity.as_str() } else { *text }))
        .collect();
    files.push(("extra.toml", extra));
    load(&files)
}

const HOURS: &str = "[[rule]]\nid = \"hours\"\neffect = \"restrict\"\nsubject = \"org:dic-1.example\"\nmatch = { operations = [\"create\"], types = [\"Task\"] }\nwhen.task = { message-name = \"ping\" }\nonly.time = { days = [\"mon-fri\"], from = \"07:00\", to = \"19:00\" }\nonly.count = { most = 50, per = \"day\" }\n";

#[test]
fn the_outlook_names_what_is_asked() {
    let (policy, list) = (with(HOURS), allow_list());
    let side = Side { policy: &policy, allow_list: &list };
    let say = |digit, cell| outlook(side, &list.identify(&thumbprint(digit), None, &policy), cell).to_string();
    let create = cell(Interaction::Create, ResourceType::Task);
    assert_eq!(
        say(MEMBER_CERTIFICATE, create),
        "permitted if status requested; if message ping: only at mon,tue,wed,thu,fri 07:00-19:00 50 a day"
    );
    assert_eq!(say(OTHER_CERTIFICATE, create), "permitted if status requested");
    assert_eq!(say(OTHER_CERTIFICATE, cell(Interaction::Update, ResourceType::Task)), "refused");
    assert_eq!(say(STRANGER_CERTIFICATE, cell(Interaction::Read, ResourceType::Task)), "refused");
    assert_eq!(say(LOCAL_CERTIFICATE, cell(Interaction::Update, ResourceType::Task)), "permitted");
}

#[test]
fn a_difference_names_callers_and_cells_and_nothing_else() {
    let (before, after, list) = (with(""), with(HOURS), allow_list());
    let side = |policy| Side { policy, allow_list: &list };
    assert_eq!(diff(side(&before), side(&before)), []);
    let changes = diff(side(&before), side(&after));
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(
        (change.callers.as_slice(), change.cells.as_slice()),
        (&[MEMBER.to_owned()][..], &["create Task".to_owned()][..])
    );
}

#[test]
fn ids_comments_and_order_make_no_difference() {
    let rule = |id: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"deny\"\nsubject = \"any\"\nmatch = {{ operations = [\"read\"], types = [\"Group\"] }}\n"
        )
    };
    let (before, after, list) =
        (with(&rule("a")), with(&format!("# said twice\n{}{}", rule("z"), rule("b"))), allow_list());
    let side = |policy| Side { policy, allow_list: &list };
    assert_eq!(diff(side(&before), side(&after)), []);
}

#[test]
fn an_organisation_that_joins_is_a_difference() {
    let policy = hospital_policy();
    let all = allow_list();
    let without = AllowList::from_resources(
        resources().iter().filter(|resource| resource.id() != Some("member")),
        LOCAL.parse().unwrap(),
        BASE,
    );
    let changes = diff(Side { policy: &policy, allow_list: &without }, Side { policy: &policy, allow_list: &all });
    assert!(!changes.is_empty() && changes.iter().all(|change| change.callers == [MEMBER]), "{changes:?}");
}

/// Where the outlook refuses, the decision refuses; where it permits without condition, the decision permits.
#[test]
fn the_outlook_agrees_with_the_decision() {
    let list = allow_list();
    for policy in [hospital_policy(), strict_policy(), with(HOURS)] {
        let side = Side { policy: &policy, allow_list: &list };
        for caller in Caller::all(side) {
            for cell in Cell::all() {
                let Some(resource_type) = cell.resource_type else { continue };
                let permitted = crate::is_permitted_on_type(
                    &policy,
                    &list,
                    &caller.identity,
                    cell.interaction,
                    resource_type,
                    &inside(),
                );
                match outlook(side, &caller.identity, cell) {
                    Outlook::Refused => assert!(!permitted, "{} {cell}", caller.name),
                    Outlook::Permitted(conditions) if conditions == Conditions::default() => {
                        assert!(permitted, "{} {cell}", caller.name);
                    }
                    Outlook::Permitted(_) => {}
                }
            }
        }
    }
}
