//! The table of coverage: which elements are executed, and by which scenarios that is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// What this engine does with an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Support {
    Executed,
    Read,
    Refused,
}

/// Elements: name, number of published DSF models that use it, Camunda 7 and Operaton, support, and what must be shown.
const ROWS: &[(&str, &str, &str, Support, &[&str])] = &{
    use Support::{Executed, Read, Refused};
    [
        (
            "process, sequence flow, condition, default flow",
            "78 / 34 / 4",
            "yes",
            Executed,
            &["condition", "default-flow"],
        ),
        (
            "pool, lane, data object and store, annotation, association, group",
            "6",
            "read",
            Read,
            &["parsed:lane", "parsed:data", "parsed:artefact"],
        ),
        ("none start event", "16", "yes", Executed, &["none-start"]),
        ("message start event", "78", "yes", Executed, &["message-start"]),
        ("several start events in one process", "7", "yes", Executed, &["several-starts"]),
        ("timer start event (date, duration, cycle)", "0", "yes", Executed, &["timer-start"]),
        ("signal start event", "0", "yes", Executed, &["signal-start"]),
        ("conditional start event", "0", "yes", Executed, &["conditional-start"]),
        ("none end event", "68", "yes", Executed, &["none-end"]),
        ("message end event", "23", "yes", Executed, &["message-end"]),
        ("signal end event", "7", "yes", Executed, &["signal-end"]),
        ("error end event", "0", "yes", Executed, &["error-end"]),
        ("terminate end event", "0", "yes", Executed, &["terminate-end"]),
        ("escalation end and throw event", "0", "yes", Executed, &["escalation-end", "escalation-throw"]),
        ("compensation end and throw event", "0", "yes", Executed, &["compensation-end", "compensation-throw"]),
        (
            "compensation handler and boundary event",
            "0",
            "yes",
            Executed,
            &["compensation-handler", "compensation-boundary"],
        ),
        (
            "compensation of sub-processes, with handler or event sub-process",
            "0",
            "yes",
            Executed,
            &["compensation-sub-process", "compensation-event-sub-process"],
        ),
        ("cancel end and boundary event", "0", "yes", Refused, &["refused:cancel-event"]),
        ("link throw and catch event", "0", "yes", Executed, &["link-event"]),
        ("none throw event", "0", "yes", Executed, &["none-throw"]),
        ("message throw event", "20", "yes", Executed, &["message-throw"]),
        ("signal throw event, with variables", "7", "yes", Executed, &["signal-throw", "signal-payload"]),
        ("message catch event", "25", "yes", Executed, &["message-catch"]),
        ("timer catch event", "31", "yes", Executed, &["timer-catch"]),
        ("signal catch event", "7", "yes", Executed, &["signal-catch"]),
        ("conditional catch event", "1", "yes", Executed, &["conditional-catch"]),
        (
            "timer by duration, date, cycle (ISO 8601 and cron)",
            "38",
            "yes",
            Executed,
            &["timer-duration", "timer-date", "timer-cycle"],
        ),
        ("multiple and parallel multiple events", "0", "no", Refused, &["refused:multiple-events"]),
        ("error boundary event", "27", "yes", Executed, &["error-boundary"]),
        ("timer boundary event", "9", "yes", Executed, &["timer-boundary"]),
        ("message boundary event", "3", "yes", Executed, &["message-boundary"]),
        ("signal boundary event", "0", "yes", Executed, &["signal-boundary"]),
        ("conditional boundary event", "0", "yes", Executed, &["conditional-boundary"]),
        ("escalation boundary event", "0", "yes", Executed, &["escalation-boundary"]),
        (
            "boundary events that do not interrupt",
            "0",
            "yes",
            Executed,
            &[
                "non-interrupting-message-boundary",
                "non-interrupting-timer-boundary",
                "non-interrupting-signal-boundary",
                "non-interrupting-conditional-boundary",
                "non-interrupting-escalation-boundary",
            ],
        ),
        ("service task (class, delegate expression, expression)", "76", "yes", Executed, &["service-task"]),
        ("service task for external workers", "0", "yes", Executed, &["external-task"]),
        ("send task", "27", "yes", Executed, &["send-task"]),
        ("receive task", "9", "yes", Executed, &["receive-task"]),
        ("receive task that starts a process", "0", "yes", Refused, &["refused:instantiating-receive-task"]),
        ("user task", "11", "yes", Executed, &["user-task"]),
        ("task without type, manual task", "2", "yes", Executed, &["manual-task"]),
        ("script task with an expression", "0", "yes", Executed, &["script-task"]),
        ("script task in another language", "0", "yes", Refused, &["refused:foreign-script"]),
        ("business rule task", "0", "yes", Refused, &["refused:business-rule-task"]),
        ("call activity", "0", "yes", Executed, &["call-activity", "call-activity-mappings"]),
        ("embedded sub-process", "16", "yes", Executed, &["sub-process"]),
        (
            "event sub-process",
            "0",
            "yes",
            Executed,
            &[
                "event-sub-process",
                "non-interrupting-event-sub-process",
                "error-event-sub-process",
                "escalation-event-sub-process",
            ],
        ),
        ("transaction sub-process", "0", "yes", Refused, &["refused:transaction"]),
        ("ad-hoc sub-process", "0", "no", Refused, &["refused:ad-hoc-sub-process"]),
        ("exclusive gateway", "52", "yes", Executed, &["exclusive-gateway"]),
        ("parallel gateway", "4", "yes", Executed, &["parallel-gateway"]),
        ("inclusive gateway", "0", "yes", Executed, &["inclusive-gateway"]),
        ("event-based gateway", "30", "yes", Executed, &["event-based-gateway"]),
        (
            "complex gateway, parallel event-based gateway",
            "0",
            "no",
            Refused,
            &["refused:complex-gateway", "refused:parallel-event-gateway"],
        ),
        ("multi-instance, parallel", "23", "yes", Executed, &["multi-instance-parallel", "multi-instance-collection"]),
        ("multi-instance, sequential", "0", "yes", Executed, &["multi-instance-sequential"]),
        (
            "multi-instance by cardinality, completion condition",
            "0",
            "yes",
            Executed,
            &["multi-instance-cardinality", "multi-instance-completion-condition"],
        ),
        ("standard loop", "0", "no", Executed, &["standard-loop"]),
        ("input and output parameters", "28", "yes", Executed, &["io-mapping"]),
        ("execution and task listeners", "9 / 10", "yes", Executed, &["execution-listener", "task-listener"]),
        ("field injection", "41", "yes", Executed, &["field-injection"]),
        ("asynchronous continuations, exclusive jobs, retry cycles", "9", "yes", Executed, &["async"]),
    ]
};

/// Numbers of the acceptance cases (`process-engine.md` section 9).
fn cases() -> impl Iterator<Item = String> {
    (1..=82).map(|number| format!("{number:03}")).flat_map(|number| {
        let also = (number == "026").then(|| "026a".to_owned());
        [number].into_iter().chain(also)
    })
}

/// Cases that a name like `bpmn_004_to_007_a_task...` or `bpmn_056 bpmn_057 ...` stands for.
pub(crate) fn cases_of(name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in name.split("bpmn_").skip(1) {
        let mut is_range = false;
        for word in part.split(['_', ' ', '(']) {
            let number = word.get(..3).and_then(|digits| digits.parse::<u32>().ok()).filter(|_| word.len() <= 4);
            match (word, number) {
                ("and", _) => {}
                ("to", _) => is_range = true,
                (_, Some(number)) => {
                    let last = found.last().and_then(|last| last.get(..3)?.parse::<u32>().ok()).unwrap_or(number);
                    if std::mem::take(&mut is_range) {
                        found.extend((last + 1..number).map(|number| format!("{number:03}")));
                    }
                    found.push(word.to_owned());
                }
                (_, None) => break,
            }
        }
    }
    found
}

/// Every row is shown, everything that is shown has a row, and the table in the documentation is up to date.
pub(crate) fn check(covered: &BTreeMap<String, Vec<String>>, tests: &BTreeMap<String, BTreeSet<String>>, table: &Path) {
    let known: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.4.iter().copied()).collect();
    let unknown: Vec<&String> = covered.keys().filter(|key| !known.contains(key.as_str())).collect();
    assert!(unknown.is_empty(), "scenarios cover what the table does not know: {unknown:?}");
    let missing: Vec<&str> = known.into_iter().filter(|key| !covered.contains_key(*key)).collect();
    assert!(missing.is_empty(), "no scenario shows: {missing:?}");

    let text = table_of(covered) + &cases_table(tests);
    if std::env::var_os("SCHLEUSE_UPDATE").is_some() {
        std::fs::write(table, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(table).unwrap_or_default();
    assert!(found == text, "{} is not up to date: run this test with SCHLEUSE_UPDATE=1", table.display());
}

fn table_of(covered: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::from(
        "# BPMN coverage\n\n\
         What the process engine does with each element of BPMN 2.0. This page is written by the test `scenarios` of\n\
         `engine/bpmn` (`SCHLEUSE_UPDATE=1`): each row is shown by scenarios in `engine/bpmn/tests/scenarios`, which run with every\n\
         build. *Refused* means at load, by element and line; *read* means kept and printed again, without behaviour.\n\n\
         \"DSF\" counts the published models of DSF process plug-ins that use the element; the next column says what Camunda 7 and\n\
         Operaton execute.\n\n\
         | element | DSF | Camunda 7, Operaton | Schleuse | shown in |\n|---|---|---|---|---|\n",
    );
    for (name, used, camunda, support, keys) in ROWS {
        let files: BTreeSet<&str> =
            keys.iter().flat_map(|key| covered.get(*key).into_iter().flatten()).map(String::as_str).collect();
        let support = match support {
            Support::Executed => "executed",
            Support::Read => "read",
            Support::Refused => "refused",
        };
        let files: Vec<&str> = files.into_iter().collect();
        writeln!(text, "| {name} | {used} | {camunda} | {support} | {} |", files.join(", ")).unwrap();
    }
    text
}

/// Which test shows which acceptance case.
fn cases_table(tests: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut text = String::from(
        "\n## Acceptance cases\n\n\
         The numbered cases of the process engine's specification and the tests that bear their numbers: scenarios of this crate,\n\
         tests of `engine/processes` where a case needs a database, Tasks or plug-ins, and of `tests/tests` where it needs a node.\n\n\
         | case | shown in |\n|---|---|\n",
    );
    let mut open = Vec::new();
    for case in cases() {
        match tests.get(&case) {
            Some(files) => {
                let files: Vec<&str> = files.iter().map(String::as_str).collect();
                writeln!(text, "| {case} | {} |", files.join(", ")).unwrap();
            }
            None => open.push(case),
        }
    }
    match open.is_empty() {
        true => writeln!(text, "\nEvery case has a test of its number."),
        false => writeln!(text, "\nWithout a test of that number: {}.", open.join(", ")),
    }
    .unwrap();
    text
}
