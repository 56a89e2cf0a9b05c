use time::macros::datetime;

use super::*;
use crate::world::*;
use crate::{Policy, canonicalize, decide};

fn with(extra: &str) -> Policy {
    let mut files: Vec<(&str, &str)> = crate::default_files().to_vec();
    files.push(("extra.toml", extra));
    load(&files)
}

fn ping(digit: char, now: OffsetDateTime) -> Recorded {
    let task = json(&sent_task(MEMBER, "ping"));
    Recorded {
        thumbprint: thumbprint(digit),
        email: None,
        interaction: Interaction::Create,
        resource_type: Some(ResourceType::Task),
        task: Some(TaskFacts::of(task.tree())),
        context: Context { now, ..inside() },
    }
}

#[test]
fn a_replay_decides_as_the_decision_did() {
    let (policy, list) = (hospital_policy(), allow_list());
    let mut replay = Replay::new(Side { policy: &policy, allow_list: &list });
    for digit in [
        LOCAL_CERTIFICATE,
        MEMBER_CERTIFICATE,
        OTHER_CERTIFICATE,
        ADMIN_CERTIFICATE,
        PERSON_CERTIFICATE,
        STRANGER_CERTIFICATE,
    ] {
        let identity = list.identify(&thumbprint(digit), None, &policy);
        for (method, target) in
            [("GET", "/fhir/Task/1"), ("DELETE", "/fhir/Task/1"), ("GET", "/fhir/ws"), ("GET", "/fhir/metadata")]
        {
            let request = canonicalize(method, target, "/fhir").unwrap();
            let decided = decide(&policy, &list, &identity, &request, None, &inside());
            let recorded = Recorded {
                interaction: request.interaction(),
                resource_type: request.resource_type(),
                task: None,
                ..ping(digit, inside().now)
            };
            let replayed = replay.judge(&recorded);
            assert_eq!(matches!(replayed, Replayed::Permitted(_)), decided.is_permit(), "{digit} {method} {target}");
        }
    }
}

#[test]
fn facts_of_a_task_are_enough_for_its_conditions() {
    let list = allow_list();
    let policy = with(
        "[[rule]]\nid = \"no-ping\"\neffect = \"deny\"\nsubject = \"any\"\nmatch = { operations = [\"create\"], types = [\"Task\"] }\nwhen.task = { process = \"http://dsf.dev/bpe/Process/pong|1.0\", message-name = \"ping\", status = \"requested\" }\nwhen.profile = \"http://dsf.dev/fhir/StructureDefinition/task-ping|*\"\n",
    );
    let mut replay = Replay::new(Side { policy: &policy, allow_list: &list });
    let recorded = ping(MEMBER_CERTIFICATE, inside().now);
    assert_eq!(replay.judge(&recorded), Replayed::Refused("GW-POL-013", Some("no-ping".parse().unwrap())));
    let other = Recorded {
        task: Some(TaskFacts { message_name: Some("pong".to_owned()), ..TaskFacts::default() }),
        ..recorded
    };
    assert!(matches!(replay.judge(&other), Replayed::Refused("GW-POL-012", None)), "no status, so no rule allows it");
}

#[test]
fn counts_and_rates_are_played_in_order() {
    let list = allow_list();
    let rule = |only: &str| {
        with(&format!(
            "[[rule]]\nid = \"few\"\neffect = \"restrict\"\nsubject = \"any\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nonly.{only}\n"
        ))
    };
    let count = rule("count = { most = 2, per = \"day\" }");
    let mut replay = Replay::new(Side { policy: &count, allow_list: &list });
    let day = datetime!(2026-07-06 10:00 UTC);
    let mut permitted = |digit, now| matches!(replay.judge(&ping(digit, now)), Replayed::Permitted(_));
    let next = day + time::Duration::DAY;
    let asked = [
        (MEMBER_CERTIFICATE, day),
        (MEMBER_CERTIFICATE, day),
        (MEMBER_CERTIFICATE, day),
        (OTHER_CERTIFICATE, day),
        (MEMBER_CERTIFICATE, next),
    ];
    assert_eq!(asked.map(|(digit, now)| permitted(digit, now)), [true, true, false, true, true]);

    let rate = rule("rate = \"1/min\"");
    let mut replay = Replay::new(Side { policy: &rate, allow_list: &list });
    let mut permitted = |seconds| {
        matches!(
            replay.judge(&ping(MEMBER_CERTIFICATE, day + time::Duration::seconds(seconds))),
            Replayed::Permitted(_)
        )
    };
    assert_eq!([0, 30, 61].map(&mut permitted), [true, false, true]);
}
