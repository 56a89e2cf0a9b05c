//! Random block-structured models, run with a random host: every instance ends, and (in [`Run`]) replay and restart give
//! the identical instance after every single command.

use proptest::prelude::*;
use serde_json::json;
use time::Duration;

use super::support::Run;
use crate::kit::random::Block;
use crate::{CallOutcome, Command, JobKind, Status, StepOutcome, Trigger, VariableWrite};

fn block() -> impl Strategy<Value = Block> {
    let leaf = prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(before, after)| Block::Step { before, after }),
        Just(Block::Expression),
        any::<bool>().prop_map(|code| Block::CaughtStep { code }),
        Just(Block::TimedUserTask),
        Just(Block::Receive),
        Just(Block::Timer),
        Just(Block::Signal),
        Just(Block::Mapped),
        Just(Block::Events),
        Just(Block::Script),
        any::<bool>().prop_map(|caught| Block::Call { caught }),
        Just(Block::Link),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Block::Sequence),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Block::Exclusive(a.into(), b.into())),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Block::Parallel),
            inner.clone().prop_map(|block| Block::SubProcess(block.into())),
            inner.clone().prop_map(|block| Block::Interruptible(block.into())),
            (0_u8..4, any::<bool>(), any::<bool>(), any::<bool>(), inner.clone()).prop_map(
                |(count, before, sequential, early, block)| Block::Instances {
                    count,
                    before,
                    sequential,
                    early,
                    block: block.into()
                }
            ),
            inner.clone().prop_map(|block| Block::Loop(block.into())),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Block::Inclusive),
            inner.clone().prop_map(|block| Block::Watched(block.into())),
            inner.clone().prop_map(|block| Block::Guarded(block.into())),
            (any::<bool>(), inner.clone())
                .prop_map(|(interrupting, block)| Block::Escalating { interrupting, block: block.into() }),
            inner.clone().prop_map(|block| Block::Terminating(block.into())),
            prop::collection::vec(inner, 1..3).prop_map(Block::Compensated),
        ]
    })
}

fn model(block: &Block) -> String {
    super::support::document(&block.body(""))
}

/// Everything that the host could do next.
fn choices(run: &Run) -> Vec<Command> {
    let mut choices = Vec::new();
    for step in run.instance.steps() {
        let variables = vec![VariableWrite::set("w", 1), VariableWrite::set_local(format!("l-{}", step.element), 2)];
        choices.push(Command::StepCompleted {
            step: step.step.clone(),
            outcome: StepOutcome::Completed { variables: variables.clone() },
        });
        if step.element.starts_with("throwing") {
            let outcome = StepOutcome::BpmnError { code: "X".to_owned(), message: None, variables };
            choices.push(Command::StepCompleted { step: step.step.clone(), outcome });
        }
    }
    for job in run.instance.jobs() {
        choices.push(Command::Job { job: job.job.clone() });
    }
    for subscription in run.instance.subscriptions() {
        match &subscription.trigger {
            Trigger::Message { .. } => choices.push(Command::Message {
                subscription: subscription.subscription.clone(),
                variables: vec![("m".to_owned(), json!(1))],
                message: Some("Task/m".to_owned()),
            }),
            Trigger::Signal { name } => choices.push(Command::Signal { name: name.clone(), variables: Vec::new() }),
            Trigger::Condition => {
                choices.push(Command::SetVariables { token: None, variables: vec![VariableWrite::set("flag", true)] });
            }
        }
    }
    for call in run.instance.calls() {
        let variables = crate::VariableMap::from([("back".to_owned(), std::sync::Arc::new(json!(3)))]);
        let call = call.call.clone();
        choices.push(Command::CallReturned {
            call: call.clone(),
            outcome: CallOutcome::Completed { variables: variables.clone() },
        });
        // Without a catch the error would end a token that a join may wait for.
        let element = run.instance.calls().find(|open| open.call == call).unwrap().element.clone();
        if !run.model.processes[0].node(&element).unwrap().boundary_events.is_empty() {
            let outcome = CallOutcome::BpmnError { code: "X".to_owned(), message: None, variables };
            choices.push(Command::CallReturned { call, outcome });
        }
    }
    for user_task in run.instance.user_tasks() {
        choices.push(Command::UserTaskCompleted { user_task: user_task.user_task.clone(), variables: vec![] });
    }
    choices
}

/// Events that do not interrupt go on waiting.
fn is_repeatable(run: &Run, command: &Command) -> bool {
    match command {
        Command::Message { subscription, .. } => run
            .instance
            .subscriptions()
            .any(|open| open.subscription == *subscription && open.element.starts_with("nonint")),
        Command::Signal { .. } | Command::SetVariables { .. } => {
            run.instance.subscriptions().any(|open| open.element.starts_with("nonint"))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SCHLEUSE_SLOW").is_some() { 4_000 } else { 128 }))]
    #[test]
    fn every_random_model_ends_and_replays_identically(block in prop::collection::vec(block(), 3..7).prop_map(Block::Sequence), choice in any::<bool>(), picks in prop::collection::vec(any::<prop::sample::Index>(), 400)) {
        let xml = model(&block);
        let mut run = Run::new(&xml);
        run.start(json!({"choice": choice, "flag": false, "lists": [[], [1], [1, 2], [1, 2, 3]]}));
        for pick in &picks {
            let choices = choices(&run);
            if choices.is_empty() {
                break;
            }
            run.host.now += Duration::seconds(1);
            run.command(pick.get(&choices).clone()).unwrap();
        }
        // What is left after many random commands is finished in order, without triggering again what may be triggered for ever.
        while let Some(command) = choices(&run).into_iter().min_by_key(|command| is_repeatable(&run, command)) {
            run.command(command).unwrap();
        }
        prop_assert_eq!(run.status(), &Status::Completed, "{}", xml);
        prop_assert_eq!(run.instance.jobs().filter(|job| job.kind == JobKind::Timer).count(), 0);
    }
}
