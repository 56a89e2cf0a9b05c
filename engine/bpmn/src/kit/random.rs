//! Random block-structured models: every part has one entry and one exit, so that each of them can run to its end.
//!
//! Messages `m-a` and `m-b`, signal `s-go`, error `e-x` (code `X`) and escalation `x-e` are declared by who writes the
//! document. Its variables are `choice` and `flag` (booleans) and `lists` (lists of 0 to 3 values); the process `other` is
//! called. Steps are of the class `C`, those with parameters of the class `Mapped`.

use super::simulation::Random;

/// A part of a process with one entry and one exit.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named as what it is written as")]
pub enum Block {
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

impl Block {
    /// A block of a seed: a sequence of up to `length` blocks that nest up to `depth` deep.
    #[must_use]
    pub fn random(seed: u64, length: usize, depth: u32) -> Self {
        let mut random = Random::new(seed);
        Self::Sequence((0..length.max(1)).map(|_| Self::any(&mut random, depth)).collect())
    }

    fn any(random: &mut Random, depth: u32) -> Self {
        let flag = |random: &mut Random| random.below(2) == 0;
        if depth == 0 || random.below(3) == 0 {
            return match random.below(12) {
                0 => Self::Step { before: flag(random), after: flag(random) },
                1 => Self::Expression,
                2 => Self::CaughtStep { code: flag(random) },
                3 => Self::TimedUserTask,
                4 => Self::Receive,
                5 => Self::Timer,
                6 => Self::Signal,
                7 => Self::Mapped,
                8 => Self::Events,
                9 => Self::Script,
                10 => Self::Call { caught: flag(random) },
                _ => Self::Link,
            };
        }
        let depth = depth.saturating_sub(1);
        let one = |random: &mut Random| Box::new(Self::any(random, depth));
        let some = |random: &mut Random, least: usize, more: usize| {
            let count = random.below(more.saturating_add(1)).saturating_add(least);
            (0..count).map(|_| Self::any(random, depth)).collect::<Vec<_>>()
        };
        match random.below(13) {
            0 => Self::Sequence(some(random, 1, 2)),
            1 => Self::Exclusive(one(random), one(random)),
            2 => Self::Parallel(some(random, 2, 1)),
            3 => Self::SubProcess(one(random)),
            4 => Self::Interruptible(one(random)),
            5 => Self::Instances {
                count: u8::try_from(random.below(4)).unwrap_or_default(),
                before: flag(random),
                sequential: flag(random),
                early: flag(random),
                block: one(random),
            },
            6 => Self::Loop(one(random)),
            7 => Self::Inclusive(some(random, 2, 1)),
            8 => Self::Watched(one(random)),
            9 => Self::Guarded(one(random)),
            10 => Self::Escalating { interrupting: flag(random), block: one(random) },
            11 => Self::Terminating(one(random)),
            _ => Self::Compensated(some(random, 1, 1)),
        }
    }

    /// The body of a process whose start event has this content.
    #[must_use]
    pub fn body(&self, start: &str) -> String {
        let mut writer = Writer::default();
        let (start, end) = (writer.add("s", "startEvent", "", start), writer.add("e", "endEvent", "", ""));
        let (entry, exit) = writer.block(self);
        writer.flow(&start, &entry, "");
        writer.flow(&exit, &end, "");
        writer.xml
    }
}

/// Form of the user tasks.
pub const FORM: &str = "http://test.org/fhir/Questionnaire/release|1.0";

/// Writes a block as BPMN.
#[derive(Default)]
struct Writer {
    xml: String,
    next: u32,
}

impl Writer {
    fn id(&mut self, kind: &str) -> String {
        self.next = self.next.saturating_add(1);
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
            Block::Mapped => single(self.add("mapped", "serviceTask", "camunda:class=\"Mapped\"",
                "<extensionElements><camunda:inputOutput><camunda:inputParameter name=\"in\">${choice}</camunda:inputParameter>\
                 <camunda:outputParameter name=\"out\">${in}</camunda:outputParameter></camunda:inputOutput></extensionElements>")),
            Block::CaughtStep { code } => {
                let task = self.add("throwing", "serviceTask", "camunda:class=\"C\"", "");
                let reference = if *code { "errorRef=\"e-x\"" } else { "" };
                self.with_boundary(&task, &format!("<errorEventDefinition {reference}/>"))
            }
            Block::TimedUserTask => {
                let task = self.add("user", "userTask", &format!("camunda:formKey=\"{FORM}\""), "");
                self.with_boundary(&task, "<timerEventDefinition><timeDuration>PT5M</timeDuration></timerEventDefinition>")
            }
            Block::Receive => single(self.add("receive", "receiveTask", "messageRef=\"m-a\"", "")),
            Block::Timer => single(self.add("timer", "intermediateCatchEvent", "",
                "<timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition>")),
            Block::Signal => single(self.add("signal", "intermediateThrowEvent", "", "<signalEventDefinition signalRef=\"s-go\"/>")),
            Block::Sequence(blocks) => {
                let ends: Vec<_> = blocks.iter().map(|block| self.block(block)).collect();
                for (before, after) in ends.iter().zip(ends.iter().skip(1)) {
                    self.flow(&before.1, &after.0, "");
                }
                let entry = ends.first().map(|(entry, _)| entry.clone()).unwrap_or_default();
                (entry, ends.last().map(|(_, exit)| exit.clone()).unwrap_or_default())
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
                for (before, after) in activities.iter().zip(activities.iter().skip(1)) {
                    self.flow(before, after, "");
                }
                (activities.first().cloned().unwrap_or_default(), throw)
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
