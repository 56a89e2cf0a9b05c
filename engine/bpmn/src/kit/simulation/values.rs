//! Values that stub steps write: those that the expressions of the models hold their variables against.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::expression::Expression;
use crate::expression::analysis::{Expected, Guess, Guesses};
use crate::model::{
    Binding, BoundaryTrigger, Catch, Condition, EndResult, Field, FieldValue, Implementation, Mapping, Model, Node,
    NodeKind, ParameterValue, Repetition, StartTrigger, Throw,
};
use crate::timer::Timer;
use crate::{Process, VariableWrite};

/// A small generator of chance, the same for the same seed.
#[derive(Debug, Clone)]
pub(in crate::kit) struct Random(u64);

/// What is known of the variables of some models.
#[derive(Debug)]
pub(super) struct Values {
    guesses: Guesses,
    /// Values that conditional events wait for.
    conditions: BTreeSet<String>,
    pub(super) random: Random,
}

/// What a variable must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Role {
    #[default]
    Any,
    Duration,
    Date,
    List,
    Count,
}

// === impl Random ===

impl Random {
    pub(in crate::kit) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed_5eed_5eed_5eed)
    }

    /// A number below the bound; 0 if the bound is.
    pub(in crate::kit) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.0.checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }
}

// === impl Values ===

impl Values {
    /// Looks at every expression of the models.
    pub(super) fn of(models: &[Model], random: Random) -> Self {
        let mut reader = Reader::default();
        for process in models.iter().flat_map(|model| &model.processes) {
            reader.process(process);
        }
        let Reader { mut guesses, roles, elements, conditions } = reader;
        guesses.values_mut().for_each(Guess::complete);
        for (path, role) in roles {
            let Some((name, members)) = path.split_first() else { continue };
            let mut guess = guesses.entry(name.clone()).or_default();
            for member in members {
                guess = guess.members.entry(member.clone()).or_default();
            }
            guess.values = match role {
                Role::Any => continue,
                Role::Duration => vec![Value::from("PT10S")],
                Role::Date => vec![Value::from("2030-01-01T00:01:00Z")],
                Role::Count => vec![Value::from(2)],
                Role::List => vec![Value::Array(Vec::new())],
            };
        }
        // Elements of a list look like the variable that takes them.
        for (path, variable) in elements {
            let shape = variable.and_then(|variable| guesses.get(&variable).cloned()).unwrap_or_default();
            let list = Value::Array((0..2).map(|index| first_value(&shape, index)).collect());
            let Some((name, members)) = path.split_first() else { continue };
            let mut guess = guesses.entry(name.clone()).or_default();
            for member in members {
                guess = guess.members.entry(member.clone()).or_default();
            }
            guess.values = vec![list];
        }
        Self { guesses, conditions, random }
    }

    /// A value for every variable; those that models ask for may be missing.
    pub(super) fn all(&mut self) -> Vec<(String, Value)> {
        let guesses = self.guesses.clone();
        let mut chosen = Vec::new();
        for (name, guess) in &guesses {
            if guess.is_optional && self.random.below(2) == 0 {
                continue;
            }
            let value = self.choose(guess, 0);
            chosen.push((name.clone(), value));
        }
        chosen
    }

    /// New values for some variables.
    pub(super) fn pairs(&mut self) -> Vec<(String, Value)> {
        let all = self.all();
        all.into_iter().filter(|_| self.random.below(2) == 0).collect()
    }

    /// Writes of new values for some variables.
    pub(super) fn some(&mut self) -> Vec<VariableWrite> {
        super::writes(self.pairs())
    }

    /// Writes that conditional events may wait for.
    pub(super) fn satisfying(&mut self) -> Vec<VariableWrite> {
        let names = self.conditions.clone();
        let mut pairs = Vec::new();
        for name in names {
            let guess = self.guesses.get(&name).cloned().unwrap_or_default();
            pairs.push((name, self.choose(&guess, 0)));
        }
        super::writes(pairs)
    }

    fn choose(&mut self, guess: &Guess, index: usize) -> Value {
        if !guess.members.is_empty() && guess.values.is_empty() {
            let mut object = Map::new();
            for (name, member) in &guess.members {
                object.insert(name.clone(), self.choose(member, index));
            }
            return Value::Object(object);
        }
        let chosen = self.random.below(guess.values.len());
        guess.values.get(chosen).cloned().unwrap_or_else(|| text(index))
    }
}

/// A value without chance, for elements of lists.
fn first_value(guess: &Guess, index: usize) -> Value {
    if guess.members.is_empty() {
        return guess.values.first().cloned().unwrap_or_else(|| text(index));
    }
    let members = guess.members.iter().map(|(name, member)| (name.clone(), first_value(member, index)));
    Value::Object(members.collect())
}

fn text(index: usize) -> Value {
    Value::String(format!("text-{index}"))
}

/// Goes through the expressions of processes.
#[derive(Default)]
struct Reader {
    guesses: Guesses,
    roles: BTreeMap<Vec<String>, Role>,
    /// Lists and the variable that takes their elements.
    elements: Vec<(Vec<String>, Option<String>)>,
    conditions: BTreeSet<String>,
}

impl Reader {
    fn process(&mut self, process: &Process) {
        for flow in process.flows.values() {
            self.condition(flow.condition.as_ref());
        }
        for node in process.nodes.values() {
            self.node(node);
        }
        // What the engine itself sets is no guess.
        for name in ["loopCounter", "nrOfInstances", "nrOfActiveInstances", "nrOfCompletedInstances"] {
            self.guesses.remove(name);
        }
    }

    fn node(&mut self, node: &Node) {
        for parameter in node.inputs.iter().chain(&node.outputs) {
            self.parameter(&parameter.value);
        }
        for listener in &node.listeners {
            self.implementation(&listener.implementation);
        }
        match &node.kind {
            NodeKind::StartEvent(StartTrigger::Event { catch, .. })
            | NodeKind::IntermediateCatchEvent(catch)
            | NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Event(catch), .. } => self.catch(catch),
            NodeKind::EndEvent(EndResult::Signal { signal, payload })
            | NodeKind::IntermediateThrowEvent(Throw::Signal { signal, payload }) => {
                self.text(Some(signal));
                self.mappings(payload);
            }
            NodeKind::EndEvent(EndResult::Error { code, message }) => {
                self.text(Some(code));
                self.text(message.as_ref());
            }
            NodeKind::ReceiveTask { message } => self.text(Some(message)),
            NodeKind::UserTask(task) => {
                for expression in
                    [&task.form_key, &task.assignee, &task.candidate_users, &task.candidate_groups, &task.description]
                {
                    self.text(expression.as_ref());
                }
                for listener in &task.listeners {
                    self.implementation(&listener.implementation);
                }
                for date in [&task.due, &task.follow_up] {
                    self.role(date.as_ref(), Role::Date);
                }
                self.role(task.priority.as_ref(), Role::Count);
            }
            NodeKind::ScriptTask { script, .. } => self.text(Some(script)),
            NodeKind::CallActivity(call) => {
                self.text(Some(&call.called));
                if let Binding::VersionTag(tag) = &call.binding {
                    self.text(Some(tag));
                }
                self.text(call.business_key.as_ref());
                self.mappings(&call.inputs);
            }
            _ => {}
        }
        if let Some(implementation) = node.implementation() {
            self.implementation(implementation);
        }
        match &node.repetition {
            Some(Repetition::MultiInstance(marker)) => {
                self.role(marker.cardinality.as_ref(), Role::Count);
                self.role(marker.collection.as_ref(), Role::List);
                if let Some(path) = marker.collection.as_ref().and_then(Expression::path) {
                    self.elements.push((path, marker.element_variable.clone()));
                }
                self.condition(marker.completion.as_ref());
            }
            Some(Repetition::Standard(marker)) => self.condition(marker.condition.as_ref()),
            None => {}
        }
    }

    fn catch(&mut self, catch: &Catch) {
        match catch {
            Catch::Message { message: name } | Catch::Signal { signal: name } => self.text(Some(name)),
            Catch::Timer(Timer::Date(expression)) => self.role(Some(expression), Role::Date),
            Catch::Timer(timer) => self.role(Some(timer.expression()), Role::Duration),
            Catch::Condition(Condition { expression, variable, .. }) => {
                let mut guesses = Guesses::new();
                expression.guess(Expected::Boolean, &mut guesses);
                self.conditions.extend(guesses.into_keys().chain(variable.clone()));
                self.condition(Some(expression));
            }
        }
    }

    fn implementation(&mut self, implementation: &Implementation) {
        match implementation {
            Implementation::Class { priority, fields, .. } => {
                self.role(priority.as_ref(), Role::Count);
                self.fields(fields);
            }
            Implementation::External { topic, priority, fields } => {
                self.text(Some(topic));
                self.role(priority.as_ref(), Role::Count);
                self.fields(fields);
            }
            Implementation::Expression { expression, .. } => self.text(Some(expression)),
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            if let FieldValue::Expression(expression) = &field.value {
                self.text(Some(expression));
            }
        }
    }

    fn mappings(&mut self, mappings: &[Mapping]) {
        for mapping in mappings {
            if let Mapping::Variable { source, is_expression: true, .. } = mapping {
                self.text(Some(source));
            }
        }
    }

    fn parameter(&mut self, value: &ParameterValue) {
        match value {
            ParameterValue::Null => {}
            ParameterValue::Expression(expression) => self.text(Some(expression)),
            ParameterValue::List(values) => values.iter().for_each(|value| self.parameter(value)),
            ParameterValue::Map(entries) => entries.iter().for_each(|(_, value)| self.parameter(value)),
        }
    }

    fn condition(&mut self, expression: Option<&Expression>) {
        if let Some(expression) = expression {
            expression.guess(Expected::Boolean, &mut self.guesses);
        }
    }

    fn text(&mut self, expression: Option<&Expression>) {
        if let Some(expression) = expression {
            expression.guess(Expected::Text, &mut self.guesses);
        }
    }

    /// An expression that must give a value of this kind: so must every variable in it that stands for itself.
    fn role(&mut self, expression: Option<&Expression>, role: Role) {
        let Some(expression) = expression else { return };
        let mut guesses = Guesses::new();
        expression.guess(Expected::Text, &mut guesses);
        match expression.path() {
            Some(path) => {
                self.roles.insert(path, role);
            }
            None => {
                for (name, guess) in &guesses {
                    if guess.members.is_empty() && guess.values.is_empty() {
                        self.roles.insert(vec![name.clone()], role);
                    }
                }
            }
        }
        self.text(Some(expression));
    }
}
