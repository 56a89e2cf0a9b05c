//! Whether what a model names by class can be done here: looked at when a model is loaded, so that no instance finds out.
//!
//! A class may be known and still be of no use: what sends messages cannot do a service task, what workers do cannot be a
//! listener. Both that and a class that nobody implements are findings, with element and line.

use bpmn::Process;
use bpmn::model::{Implementation, NodeKind};

use super::Implementations;
use crate::user_task::DEFAULT_LISTENERS;

/// A class that cannot do what an element needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misbound {
    /// The element.
    pub element: String,
    /// Its line in the file.
    pub line: u32,
    /// What is wrong, with the class.
    pub text: String,
    /// Whether somebody implements the class, though not for such an element.
    pub is_known: bool,
}

/// What an element needs of its class.
#[derive(Clone, Copy)]
enum Need {
    Service,
    Message,
    Listener,
    TaskListener,
}

/// A class where the model names it.
struct Named<'p> {
    element: &'p str,
    line: u32,
    class: &'p str,
    need: Need,
}

/// Everything of a process that cannot be done with these implementations, in the order of lines.
pub(crate) fn misbound(process: &Process, all: &Implementations) -> Vec<Misbound> {
    let unmet = named(process).into_iter().filter(|named| !named.need.is_met(named.class, all));
    let mut found: Vec<Misbound> = unmet
        .map(|Named { element, line, class, need }| {
            let is_known = all.has(class);
            let text = match is_known {
                true => format!("is bound to {class}, which {}; {}", deeds(class, all), need.as_str()),
                false => format!("needs the implementation {class}, which is not there"),
            };
            Misbound { element: element.to_owned(), line, text, is_known }
        })
        .collect();
    found.sort_by(|a, b| (a.line, &a.element).cmp(&(b.line, &b.element)));
    found
}

fn named<'p>(process: &'p Process) -> Vec<Named<'p>> {
    let mut all = Vec::new();
    let mut name = |element: &'p str, line, implementation: &'p Implementation, need| {
        // Workers do what is external, and expressions are evaluated here.
        if let Implementation::Class { class, .. } = implementation {
            all.push(Named { element, line, class, need });
        }
    };
    for (node, implementation) in process.implementations() {
        let need = if matches!(node.kind, NodeKind::ServiceTask(_)) { Need::Service } else { Need::Message };
        name(&node.id, node.line, implementation, need);
    }
    for listener in &process.listeners {
        name(&process.id, process.line, &listener.implementation, Need::Listener);
    }
    for node in process.nodes.values() {
        for listener in &node.listeners {
            name(&node.id, node.line, &listener.implementation, Need::Listener);
        }
        if let NodeKind::UserTask(task) = &node.kind {
            for listener in &task.listeners {
                name(&node.id, node.line, &listener.implementation, Need::TaskListener);
            }
        }
    }
    for flow in process.flows.values() {
        for listener in &flow.listeners {
            name(&flow.id, flow.line, &listener.implementation, Need::Listener);
        }
    }
    all
}

/// What a known class is for.
fn deeds(class: &str, all: &Implementations) -> &'static str {
    if all.topics.contains_key(class) {
        return "is done by workers";
    }
    if all.sends.contains_key(class) {
        return "sends messages";
    }
    if all.listeners.contains_key(class) {
        return "is an execution listener";
    }
    if all.services.contains_key(class) || all.works.contains_key(class) {
        return "is a step";
    }
    "is a listener of user tasks"
}

// === impl Misbound ===

impl std::fmt::Display for Misbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: element {} {}", self.line, self.element, self.text)
    }
}

impl From<Misbound> for bpmn::ModelError {
    fn from(Misbound { element, line, text, .. }: Misbound) -> Self {
        Self { element, line, text }
    }
}

// === impl Need ===

impl Need {
    fn is_met(self, class: &str, all: &Implementations) -> bool {
        match self {
            Self::Service => {
                all.services.contains_key(class) || all.works.contains_key(class) || all.topics.contains_key(class)
            }
            Self::Message => all.sends.contains_key(class) || all.topics.contains_key(class),
            Self::Listener => all.listeners.contains_key(class),
            Self::TaskListener => {
                all.user_tasks.contains_key(class)
                    || all.listeners.contains_key(class)
                    || DEFAULT_LISTENERS.contains(&class)
            }
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "a service task needs a step or a topic of workers",
            Self::Message => "an element that sends a message needs step = \"send\" or a topic of workers",
            Self::Listener => "an execution listener is needed",
            Self::TaskListener => "a listener of user tasks is needed",
        }
    }
}
