//! Random block-structured models, run with a random host: every instance ends, and (in [`Run`]) replay and restart give
//! the identical instance after every single command.

use proptest::prelude::*;
use serde_json::json;
use time::Duration;

use super::support::Run;
use crate::{CallOutcome, Command, JobKind, Status, StepOutcome, Trigger, VariableWrite};

/// A part of a process with one entry and one exit.
#[derive(Debug, Clone)]
enum Block {
    Step { before: bool, after: bool },
    Expression,
    CaughtStep { code: bool },
    TimedUserTask,
    Receive,
    Timer,
    Signal,
    Mapped,
    Sequence(Vec<Self>),
    Exclusive(Box<Self>, Box<Self>),
    Parallel(Vec<Self>),
    Events,
    SubProcess(Box<Self>),
    Interruptible(Box<Self>),
    Instances { count: u8, before: bool, sequential: bool, early: bool, block: Box<Self> },
    Script,
    Call { caught: bool },
    Link,
    Loop(Box<Self>),
    Inclusive(Vec<Self>),
    Watched(Box<Self>),
    Guarded(Box<Self>),
    Escalating { interrupting: bool, block: Box<Self> },
    Terminating(Box<Self>),
    Compensated(Vec<Self>),
}

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

/// Writes a block as BPMN.
#[derive(Default)]
struct Writer {
    xml: String,
    next: u32,
}

impl Writer {
    fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    fn add(&mut self, kind: &str, element: &str, attributes: &str, content: &str) -> String {
        let id = self.id(kind);
        self.xml += &format!("<{element} id=\"{id}\" {attributes}>{content}</{element}>\n");
        id
    }

    fn flow(&mut self, from: &str, to: &str, condition: &str) {
        let content = if condition.is_empty() {
            String::new()
        } else {
            format!("<conditionExpression>{condition}</conditionExpression>")
        };
        self.add("f", "sequenceFlow", &format!("sourceRef=\"{from}\" targetRef=\"{to}\""), &content);
    }

    /// Writes the block and returns its first and last node.
    fn block(&mut self, block: &Block) -> (String, String) {
        let single = |id: String| (id.clone(), id);
        match block {
            Block::Step { before, after } => {
                let attributes = format!("camunda:class=\"C\" camunda:asyncBefore=\"{before}\" camunda:asyncAfter=\"{after}\"");
                single(self.add("step", "serviceTask", &attributes, ""))
            }
            Block::Expression => single(self.add("expr", "serviceTask", "camunda:expression=\"${1 + 1}\" camunda:resultVariable=\"sum\"", "")),
            Block::Mapped => single(self.add("mapped", "serviceTask", "camunda:class=\"C\"",
                "<extensionElements><camunda:inputOutput><camunda:inputParameter name=\"in\">${choice}</camunda:inputParameter>\
                 <camunda:outputParameter name=\"out\">${in}</camunda:outputParameter></camunda:inputOutput></extensionElements>")),
            Block::CaughtStep { code } => {
                let task = self.add("throwing", "serviceTask", "camunda:class=\"C\"", "");
                let reference = if *code { "errorRef=\"e-x\"" } else { "" };
                self.with_boundary(&task, &format!("<errorEventDefinition {reference}/>"))
            }
            Block::TimedUserTask => {
                let task = self.add("user", "userTask", "", "");
                self.with_boundary(&task, "<timerEventDefinition><timeDuration>PT5M</timeDuration></timerEventDefinition>")
            }
            Block::Receive => single(self.add("receive", "receiveTask", "messageRef=\"m-a\"", "")),
            Block::Timer => single(self.add("timer", "intermediateCatchEvent", "",
                "<timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition>")),
            Block::Signal => single(self.add("signal", "intermediateThrowEvent", "", "<signalEventDefinition signalRef=\"s-go\"/>")),
            Block::Sequence(blocks) => {
                let ends: Vec<_> = blocks.iter().map(|block| self.block(block)).collect();
                for pair in ends.windows(2) {
                    self.flow(&pair[0].1, &pair[1].0, "");
                }
                (ends[0].0.clone(), ends[ends.len() - 1].1.clone())
            }
            Block::Exclusive(first, second) => {
                let (split, join) = (self.add("xor", "exclusiveGateway", "", ""), self.add("merge", "exclusiveGateway", "", ""));
                for (block, condition) in [(first, "${choice}"), (second, "${!choice}")] {
                    let (entry, exit) = self.block(block);
                    self.flow(&split, &entry, condition);
                    self.flow(&exit, &join, "");
                }
                (split, join)
            }
            Block::Parallel(blocks) => {
                let (split, join) = (self.add("and", "parallelGateway", "", ""), self.add("join", "parallelGateway", "", ""));
                for block in blocks {
                    let (entry, exit) = self.block(block);
                    self.flow(&split, &entry, "");
                    self.flow(&exit, &join, "");
                }
                (split, join)
            }
            Block::Events => {
                let (gateway, merge) = (self.add("gate", "eventBasedGateway", "", ""), self.add("merge", "exclusiveGateway", "", ""));
                for definition in [
                    "<messageEventDefinition messageRef=\"m-b\"/>",
                    "<signalEventDefinition signalRef=\"s-go\"/>",
                    "<timerEventDefinition><timeDuration>PT2M</timeDuration></timerEventDefinition>",
                    "<conditionalEventDefinition><condition>${flag}</condition></conditionalEventDefinition>",
                ] {
                    let event = self.add("event", "intermediateCatchEvent", "", definition);
                    self.flow(&gateway, &event, "");
                    self.flow(&event, &merge, "");
                }
                (gateway, merge)
            }
            Block::SubProcess(block) => single(self.sub_process(block, "")),
            Block::Interruptible(block) => {
                let sub_process = self.sub_process(block, "");
                self.with_boundary(&sub_process, "<messageEventDefinition messageRef=\"m-b\"/>")
            }
            Block::Instances { count, before, sequential, early, block } => {
                let condition = if *early { "<completionCondition>${choice}</completionCondition>" } else { "" };
                let marker = format!(
                    "<multiInstanceLoopCharacteristics isSequential=\"{sequential}\" camunda:asyncBefore=\"{before}\" \
                     camunda:exclusive=\"false\" camunda:collection=\"${{lists[{count}]}}\" \
                     camunda:elementVariable=\"item\">{condition}</multiInstanceLoopCharacteristics>"
                );
                single(self.sub_process(block, &marker))
            }
            Block::Script => single(self.add("script", "scriptTask", "camunda:resultVariable=\"scripted\"", "<script>${choice ? 1 : 2}</script>")),
            Block::Call { caught } => {
                let call = self.add("call", "callActivity", "calledElement=\"other\"", "");
                if *caught { self.with_boundary(&call, "<errorEventDefinition/>") } else { single(call) }
            }
            Block::Link => {
                let id = self.id("L");
                let definition = format!("<linkEventDefinition name=\"{id}\"/>");
                (self.add("throw", "intermediateThrowEvent", "", &definition), self.add("catch", "intermediateCatchEvent", "", &definition))
            }
            Block::Loop(block) => {
                single(self.sub_process(block, "<standardLoopCharacteristics loopMaximum=\"2\"><loopCondition>${choice}</loopCondition></standardLoopCharacteristics>"))
            }
            Block::Inclusive(blocks) => {
                let (split, join) = (self.add("or", "inclusiveGateway", "", ""), self.add("orjoin", "inclusiveGateway", "", ""));
                for (index, block) in blocks.iter().enumerate() {
                    let (entry, exit) = self.block(block);
                    self.flow(&split, &entry, if index == 0 { "${true}" } else { "${choice}" });
                    self.flow(&exit, &join, "");
                }
                (split, join)
            }
            Block::Watched(block) => {
                let sub_process = self.sub_process(block, "");
                for definition in [
                    "<timerEventDefinition><timeCycle>R2/PT1M</timeCycle></timerEventDefinition>",
                    "<messageEventDefinition messageRef=\"m-b\"/>",
                    "<conditionalEventDefinition camunda:variableName=\"flag\"><condition>${flag}</condition></conditionalEventDefinition>",
                ] {
                    let boundary = self.add("nonint", "boundaryEvent", &format!("attachedToRef=\"{sub_process}\" cancelActivity=\"false\""), definition);
                    let end = self.add("e", "endEvent", "", "");
                    self.flow(&boundary, &end, "");
                }
                single(sub_process)
            }
            Block::Guarded(block) => {
                let mut guards = String::new();
                for (interrupting, definition) in [
                    (true, "<messageEventDefinition messageRef=\"m-a\"/>"),
                    (false, "<signalEventDefinition signalRef=\"s-go\"/>"),
                    (false, "<timerEventDefinition><timeCycle>R2/PT1M</timeCycle></timerEventDefinition>"),
                    (true, "<errorEventDefinition errorRef=\"e-x\"/>"),
                ] {
                    let kind = if interrupting { "g" } else { "nonint" };
                    let (sub_process, start, end) = (self.id("es"), self.id(kind), self.id("e"));
                    guards += &format!(
                        "<subProcess id=\"{sub_process}\" triggeredByEvent=\"true\"><startEvent id=\"{start}\" isInterrupting=\"{interrupting}\">{definition}</startEvent>\
                         <endEvent id=\"{end}\"/><sequenceFlow id=\"{start}-{end}\" sourceRef=\"{start}\" targetRef=\"{end}\"/></subProcess>"
                    );
                }
                single(self.sub_process(block, &guards))
            }
            Block::Escalating { interrupting, block } => {
                let inner = Block::Sequence(vec![(**block).clone(), Block::Step { before: false, after: false }]);
                let throwing = self.id("x");
                let sub_process = self.sub_process_ending(&inner, "", &throwing, "<escalationEventDefinition escalationRef=\"x-e\"/>");
                let merge = self.add("merge", "exclusiveGateway", "", "");
                let attributes = format!("attachedToRef=\"{sub_process}\" cancelActivity=\"{interrupting}\"");
                let boundary = self.add("boundary", "boundaryEvent", &attributes, "<escalationEventDefinition/>");
                self.flow(&sub_process, &merge, "");
                if *interrupting {
                    self.flow(&boundary, &merge, "");
                }
                (sub_process, merge)
            }
            Block::Terminating(block) => {
                let inner = Block::Parallel(vec![(**block).clone(), Block::Receive]);
                let end = self.id("stop");
                single(self.sub_process_ending(&inner, "", &end, "<terminateEventDefinition/>"))
            }
            Block::Compensated(blocks) => {
                let mut activities = Vec::new();
                for block in blocks {
                    let activity = self.sub_process(block, "");
                    let handler = self.add("undo", "serviceTask", "isForCompensation=\"true\" camunda:class=\"C\"", "");
                    let boundary = self.add("comp", "boundaryEvent", &format!("attachedToRef=\"{activity}\""), "<compensateEventDefinition/>");
                    self.add("as", "association", &format!("sourceRef=\"{boundary}\" targetRef=\"{handler}\""), "");
                    activities.push(activity);
                }
                let throw = self.add("compensate", "intermediateThrowEvent", "", "<compensateEventDefinition/>");
                activities.push(throw.clone());
                for pair in activities.windows(2) {
                    self.flow(&pair[0], &pair[1], "");
                }
                (activities[0].clone(), throw)
            }
        }
    }

    fn with_boundary(&mut self, activity: &str, definition: &str) -> (String, String) {
        let merge = self.add("merge", "exclusiveGateway", "", "");
        let boundary = self.add("boundary", "boundaryEvent", &format!("attachedToRef=\"{activity}\""), definition);
        self.flow(activity, &merge, "");
        self.flow(&boundary, &merge, "");
        (activity.to_owned(), merge)
    }

    fn sub_process(&mut self, block: &Block, marker: &str) -> String {
        let end = self.id("e");
        self.sub_process_ending(block, marker, &end, "")
    }

    fn sub_process_ending(&mut self, block: &Block, marker: &str, end: &str, definition: &str) -> String {
        let outer = std::mem::take(&mut self.xml);
        self.xml += marker;
        let start = self.add("s", "startEvent", "", "");
        self.xml += &format!("<endEvent id=\"{end}\" camunda:asyncAfter=\"true\">{definition}</endEvent>");
        let (entry, exit) = self.block(block);
        self.flow(&start, &entry, "");
        self.flow(&exit, end, "");
        let content = std::mem::replace(&mut self.xml, outer);
        self.add("sub", "subProcess", "", &content)
    }
}

fn model(block: &Block) -> String {
    let mut writer = Writer::default();
    let (start, end) = (writer.add("s", "startEvent", "", ""), writer.add("e", "endEvent", "", ""));
    let (entry, exit) = writer.block(block);
    writer.flow(&start, &entry, "");
    writer.flow(&exit, &end, "");
    super::support::document(&writer.xml)
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
