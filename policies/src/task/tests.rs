use super::*;
use crate::world::*;

fn create(text: &str, certificate: char) -> Result<TaskStatus, TaskError> {
    check_create(json(text).tree(), &identify(certificate), &allow_list())
}

fn draft() -> String {
    sent_task(LOCAL, "local").replace(r#""status":"requested""#, r#""status":"draft""#).replace(
        r#""intent""#,
        r#""identifier":[{"system":"http://dsf.dev/sid/task-identifier","value":"http://dsf.dev/bpe/Process/pong/1.0/local"}],"intent""#,
    )
}

/// A Task of the person, who names herself.
fn own_task(certificate: char, message: &str) -> String {
    let person = format!("{}@certificate.invalid", thumbprint(certificate));
    sent_task(LOCAL, message).replacen(
        r#""requester":{"type":"Organization","identifier":{"system":"http://dsf.dev/sid/organization-identifier","value":"hospital.example"}}"#,
        &format!(r#""requester":{{"type":"Practitioner","identifier":{{"system":"http://dsf.dev/sid/practitioner-identifier","value":"{person}"}}}}"#),
        1,
    )
}

#[test]
fn edge_t42_t43_requested_tasks_follow_the_process_authorisation() {
    assert_eq!(create(&sent_task(MEMBER, "ping"), MEMBER_CERTIFICATE), Ok(TaskStatus::Requested));
    assert_eq!(create(&sent_task(OTHER, "ping"), OTHER_CERTIFICATE), Ok(TaskStatus::Requested));
    assert_eq!(create(&sent_task(MEMBER, "members"), MEMBER_CERTIFICATE), Ok(TaskStatus::Requested));
    assert_eq!(create(&sent_task(OTHER, "members"), OTHER_CERTIFICATE), Err(AuthorizationError::Requester.into()));
    assert_eq!(create(&sent_task(LOCAL, "local"), LOCAL_CERTIFICATE), Ok(TaskStatus::Requested));
    assert_eq!(create(&sent_task(MEMBER, "local"), MEMBER_CERTIFICATE), Err(AuthorizationError::Requester.into()));
}

#[test]
fn attack_a27_forged_tasks_are_refused() {
    let good = sent_task(MEMBER, "ping");
    let replace = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let input = r#"{"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"message-name"}]},"valueString":"ping"}"#;
    let recipient = r#"{"type":"Organization","identifier":{"system":"http://dsf.dev/sid/organization-identifier","value":"hospital.example"}}"#;
    for (text, expected) in [
        (sent_task(OTHER, "ping"), TaskError::Requester),
        (sent_task(LOCAL, "ping"), TaskError::Requester),
        (
            replace(
                r#""requester":{"type":"Organization","#,
                r#""requester":{"reference":"Organization/other","type":"Organization","#,
            ),
            TaskError::Requester,
        ),
        (replace("sid/organization-identifier", "sid/practitioner-identifier"), TaskError::Requester),
        (replace(r#""requester""#, r#""owner""#), TaskError::Requester),
        (replace(recipient, &recipient.replace("hospital", "other")), TaskError::Recipient),
        (replace(recipient, &format!("{recipient},{recipient}")), TaskError::Recipient),
        (replace(r#""restriction":{"recipient":"#, r#""restriction":{"x":"#), TaskError::Recipient),
        (replace("pong|1.0", "pong|1.0.1"), TaskError::InstantiatesCanonical),
        (replace("pong|1.0", "pong"), TaskError::InstantiatesCanonical),
        (
            replace("http://dsf.dev/bpe/Process/pong|1.0", "http://dsf.dev/bpe/Other/pong|1.0"),
            TaskError::InstantiatesCanonical,
        ),
        (
            replace("http://dsf.dev/bpe/Process/pong|1.0", "http://localhost/bpe/Process/pong|1.0"),
            TaskError::InstantiatesCanonical,
        ),
        (replace("pong|1.0", "unknown|1.0"), AuthorizationError::UnknownProcess.into()),
        (replace("pong|1.0", "retired|1.0"), AuthorizationError::UnknownProcess.into()),
        (replace("task-ping|1.0", "task-ping|9.9"), AuthorizationError::UnknownMessage.into()),
        (replace("task-ping|1.0", "task-members|1.0"), AuthorizationError::UnknownMessage.into()),
        (replace(input, &format!("{input},{input}")), TaskError::MessageName),
        (replace(r#""valueString":"ping""#, r#""valueString":" ""#), TaskError::MessageName),
        (replace(r#""valueString":"ping""#, r#""valueCode":"ping""#), TaskError::MessageName),
        (replace(r#""intent""#, r#""output":[{}],"intent""#), TaskError::Output),
        (replace("requested", "draft"), TaskError::NotLocal),
        (replace("requested", "in-progress"), TaskError::Status),
        (replace("requested", "completed"), TaskError::Status),
        (replace("requested", "ready"), TaskError::Status),
        (replace(r#""status":"requested","#, ""), TaskError::Status),
        (
            replace(
                r#""intent""#,
                r#""identifier":[{"system":"http://dsf.dev/sid/task-identifier","value":"x"}],"intent""#,
            ),
            TaskError::TaskIdentifier,
        ),
    ] {
        assert_eq!(create(&text, MEMBER_CERTIFICATE), Err(expected), "{text}");
    }
    assert_eq!(create(&good, STRANGER_CERTIFICATE), Err(TaskError::UnknownCaller));
}

#[test]
fn edge_t65_t66_persons_send_tasks_as_themselves() {
    assert_eq!(create(&own_task(ADMIN_CERTIFICATE, "local"), ADMIN_CERTIFICATE), Ok(TaskStatus::Requested));
    assert_eq!(
        create(&own_task(PERSON_CERTIFICATE, "local"), PERSON_CERTIFICATE),
        Err(AuthorizationError::Requester.into())
    );
    assert_eq!(create(&own_task(ADMIN_CERTIFICATE, "local"), PERSON_CERTIFICATE), Err(TaskError::Requester));
    assert_eq!(create(&sent_task(LOCAL, "local"), ADMIN_CERTIFICATE), Err(TaskError::Requester));
    assert_eq!(create(&own_task(ADMIN_CERTIFICATE, "local"), LOCAL_CERTIFICATE), Err(TaskError::Requester));
}

#[test]
fn fhir_091_drafts_belong_to_the_local_organisation_and_administrators() {
    assert_eq!(create(&draft(), LOCAL_CERTIFICATE), Ok(TaskStatus::Draft));
    assert_eq!(create(&draft(), ADMIN_CERTIFICATE), Ok(TaskStatus::Draft));
    assert_eq!(create(&draft(), PERSON_CERTIFICATE), Err(TaskError::NotLocal));
    assert_eq!(create(&draft(), MEMBER_CERTIFICATE), Err(TaskError::NotLocal));
    let nameless = draft().replace("sid/task-identifier", "sid/other");
    assert_eq!(create(&nameless, LOCAL_CERTIFICATE), Err(TaskError::TaskIdentifier));
    let foreign = draft().replacen(LOCAL, MEMBER, 1);
    assert_eq!(create(&foreign, LOCAL_CERTIFICATE), Err(TaskError::Requester));
}

fn update(old: &str, new: &str, certificate: char) -> Result<(), TaskError> {
    check_update(json(old).tree(), json(new).tree(), &identify(certificate), &allow_list())
}

fn with_status(text: &str, status: &str) -> String {
    text.replacen(r#""status":"requested""#, &format!(r#""status":"{status}""#), 1)
}

#[test]
fn only_the_transitions_of_dsf_are_allowed() {
    let task = sent_task(MEMBER, "ping");
    let statuses = ["draft", "requested", "in-progress", "completed", "failed", "cancelled"];
    let allowed = [
        ("requested", "in-progress"),
        ("requested", "failed"),
        ("in-progress", "in-progress"),
        ("in-progress", "completed"),
        ("in-progress", "failed"),
    ];
    for old in statuses {
        for new in statuses {
            let result = update(&with_status(&task, old), &with_status(&task, new), LOCAL_CERTIFICATE);
            assert_eq!(result.is_ok(), allowed.contains(&(old, new)), "{old} -> {new}: {result:?}");
            assert!(update(&with_status(&task, old), &with_status(&task, new), MEMBER_CERTIFICATE).is_err());
            assert!(update(&with_status(&task, old), &with_status(&task, new), PERSON_CERTIFICATE).is_err());
        }
    }
    assert_eq!(update(&draft(), &draft(), LOCAL_CERTIFICATE), Ok(()));
    assert_eq!(
        update(&draft(), &draft().replace("pong/1.0/local", "other"), LOCAL_CERTIFICATE),
        Err(TaskError::Changed("task identifier"))
    );
}

#[test]
fn edge_t83_what_a_task_asks_for_never_changes() {
    let old = sent_task(MEMBER, "ping");
    let running = with_status(&old, "in-progress");
    let key = r#"{"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"business-key"}]},"valueString":"k"}"#;
    let with_key = |text: &str| text.replacen(r#""input":["#, &format!(r#""input":[{key},"#), 1);
    let two_keys = with_key(&with_key(&running));
    for (old, new, expected) in [
        (&old, &running.replacen(MEMBER, OTHER, 1), Err(TaskError::Changed("requester"))),
        (&old, &running.replacen(LOCAL, OTHER, 1), Err(TaskError::Changed("restriction"))),
        (&old, &running.replacen("pong|1.0", "ping|1.0", 1), Err(TaskError::Changed("instantiatesCanonical"))),
        (
            &old,
            &running.replacen(r#""valueString":"ping""#, r#""valueString":"members""#, 1),
            Err(TaskError::Changed("input")),
        ),
        (&old, &running.replacen(r#""intent""#, r#""output":[{}],"intent""#, 1), Err(TaskError::Output)),
        (&old, &with_key(&running), Ok(())),
        (&old, &two_keys, Err(TaskError::Changed("input"))),
        (&running, &with_key(&running), Err(TaskError::Changed("input"))),
        (&with_key(&running), &running, Err(TaskError::Changed("input"))),
        (&running, &running.replacen(r#""intent""#, r#""output":[{}],"intent""#, 1), Ok(())),
    ] {
        assert_eq!(update(old, new, LOCAL_CERTIFICATE), expected, "{old} {new}");
    }
    // The server keeps a literal reference beside the identifier and does not show it.
    let stored = old.replacen(r#""requester":{"#, r#""requester":{"reference":"Organization/member","#, 1);
    assert_eq!(update(&stored, &running, LOCAL_CERTIFICATE), Ok(()));
    let stored = old.replacen(r#""recipient":[{"#, r#""recipient":[{"reference":"Organization/local","#, 1);
    assert_eq!(update(&stored, &running, LOCAL_CERTIFICATE), Ok(()));
}

#[test]
fn a_task_of_a_removed_process_can_only_fail() {
    let old = sent_task(MEMBER, "ping").replacen("pong|1.0", "removed|1.0", 1);
    let local = LOCAL_CERTIFICATE;
    assert_eq!(update(&old, &with_status(&old, "in-progress"), local), Err(AuthorizationError::UnknownProcess.into()));
    assert_eq!(update(&old, &with_status(&old, "failed"), local), Ok(()));
}

#[test]
fn only_drafts_are_deleted() {
    let delete = |text: &str, certificate| check_delete(json(text).tree(), &identify(certificate));
    assert_eq!(delete(&draft(), LOCAL_CERTIFICATE), Ok(()));
    assert_eq!(delete(&draft(), ADMIN_CERTIFICATE), Ok(()));
    assert_eq!(delete(&draft(), PERSON_CERTIFICATE), Err(TaskError::NotLocal));
    assert_eq!(delete(&sent_task(MEMBER, "ping"), LOCAL_CERTIFICATE), Err(TaskError::Transition));
}

#[test]
fn edge_t51_tasks_are_read_by_their_parties() {
    let may = |text: &str| -> Vec<char> {
        [
            LOCAL_CERTIFICATE,
            MEMBER_CERTIFICATE,
            OTHER_CERTIFICATE,
            ADMIN_CERTIFICATE,
            PERSON_CERTIFICATE,
            STRANGER_CERTIFICATE,
        ]
        .into_iter()
        .filter(|certificate| may_read(json(text).tree(), &identify(*certificate), &allow_list()))
        .collect()
    };
    assert_eq!(may(&sent_task(MEMBER, "ping")), [LOCAL_CERTIFICATE, MEMBER_CERTIFICATE, ADMIN_CERTIFICATE]);
    assert_eq!(may(&draft()), [LOCAL_CERTIFICATE, ADMIN_CERTIFICATE, PERSON_CERTIFICATE]);
    assert_eq!(may(&own_task(PERSON_CERTIFICATE, "local")), [LOCAL_CERTIFICATE, ADMIN_CERTIFICATE, PERSON_CERTIFICATE]);
    assert_eq!(
        TaskFilter::of(&identify(MEMBER_CERTIFICATE), &allow_list()),
        TaskFilter::Requester(MEMBER.parse().unwrap())
    );
    assert_eq!(TaskFilter::of(&Identity::Unknown, &allow_list()), TaskFilter::Nothing);
}

#[test]
fn canonicals_of_processes_have_one_form() {
    let parsed =
        ProcessCanonical::parse("http://medizininformatik-initiative.de/bpe/Process/feasibility-Request|1.12").unwrap();
    assert_eq!(
        (parsed.domain, parsed.name, parsed.version),
        ("medizininformatik-initiative.de", "feasibility-Request", "1.12")
    );
    for wrong in [
        "ftp://dsf.dev/bpe/Process/x|1.0",
        "http://dsf/bpe/Process/x|1.0",
        "http://-dsf.dev/bpe/Process/x|1.0",
        "http://dsf..dev/bpe/Process/x|1.0",
        "http://dsf.dev/bpe/Process/|1.0",
        "http://dsf.dev/bpe/Process/x_y|1.0",
        "http://dsf.dev/bpe/Process/x/y|1.0",
        "http://dsf.dev/bpe/Process/x|1",
        "http://dsf.dev/bpe/Process/x|1.0.0",
        "http://dsf.dev/bpe/Process/x|1.0|1.0",
        "http://dsf.dev:80/bpe/Process/x|1.0",
        "",
    ] {
        assert_eq!(ProcessCanonical::parse(wrong), None, "{wrong}");
    }
}
