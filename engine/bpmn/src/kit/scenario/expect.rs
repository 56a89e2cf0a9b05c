//! Expectations of a scenario.

use serde::Serialize;
use serde_json::Value;

use super::Stage;
use crate::kit::TaskStatus;
use crate::kit::network::Running;
use crate::kit::words::Words;
use crate::timer::IsoDuration;
use crate::{Event, Owner, Status, TokenState};

impl Stage {
    /// Holds one line against what happened.
    pub(super) fn expect(&mut self, verb: &str, words: &mut Words) -> Result<(), String> {
        match verb {
            "path" => {
                let entered = self.new_path();
                equal(&words.rest()?, &entered)
            }
            "entered" => {
                let entered: Vec<String> = self.network.running().flat_map(path).collect();
                let missing: Vec<String> =
                    words.rest()?.into_iter().filter(|element| !entered.contains(element)).collect();
                if missing.is_empty() { Ok(()) } else { Err(format!("not entered: {}", missing.join(" "))) }
            }
            "waits" => {
                let mut expected = words.rest()?;
                expected.sort();
                equal(&expected, &self.waiting())
            }
            "variables" => {
                let expected = words.json()?;
                let found = self.network.running().next_back().map(variables).unwrap_or_default();
                contains(&expected, &found)
            }
            "absent" => {
                let found = self.network.running().next_back().map(variables).unwrap_or_default();
                let there: Vec<String> =
                    words.rest()?.into_iter().filter(|name| found.get(name.as_str()).is_some()).collect();
                if there.is_empty() { Ok(()) } else { Err(format!("variables exist: {}", there.join(" "))) }
            }
            "ended" => self.ended(words),
            "running" => equal(&words.text()?, &self.network.active().count().to_string()),
            "task" => self.task(words),
            "due" => self.due(words),
            "event" => {
                let expected = words.json()?;
                let mut events = self.network.running().flat_map(|running| running.history.iter());
                match events.any(|event| contains(&expected, &json(event)).is_ok()) {
                    true => Ok(()),
                    false => Err(format!("no event {expected}")),
                }
            }
            "step" => {
                let (element, expected) = (words.text()?, words.json()?);
                let mut steps = self.network.active().flat_map(crate::Instance::steps);
                let step = steps.find(|step| *step.element == *element);
                contains(&expected, &json(step.ok_or_else(|| format!("no step at {element}; {}", self.situation()))?))
            }
            "user" => {
                let (element, expected) = (words.text()?, words.json()?);
                let mut tasks = self.network.active().flat_map(crate::Instance::user_tasks);
                let task = tasks.find(|task| *task.element == *element);
                let task = task.ok_or_else(|| format!("no user task at {element}; {}", self.situation()))?;
                contains(&expected, &json(task))
            }
            "refused" => {
                let (element, text) = (words.text()?, words.rest()?.join(" "));
                let found = self.refused.iter().any(|error| error.element == element && error.text.contains(&text));
                if found { Ok(()) } else { Err(format!("the findings are {:?}", self.refused)) }
            }
            other => Err(format!("{other} is neither a command nor an expectation")),
        }
    }

    /// Elements entered since the last look, instance by instance.
    fn new_path(&mut self) -> Vec<String> {
        let mut entered = Vec::new();
        for running in self.network.running() {
            let Some(id) = running.instance.id() else { continue };
            let all: Vec<String> = path(running).collect();
            let seen = self.seen.insert(id.clone(), all.len()).unwrap_or(0);
            entered.extend(all.into_iter().skip(seen));
        }
        entered
    }

    fn waiting(&self) -> Vec<String> {
        let tokens = self.network.active().flat_map(crate::Instance::tokens);
        let mut waiting: Vec<String> =
            tokens.filter(|token| token.state != TokenState::Inner).map(|token| token.element.to_string()).collect();
        waiting.sort();
        waiting
    }

    fn ended(&self, words: &mut Words) -> Result<(), String> {
        let (process, expected, text) = (words.text()?, words.text()?, words.rest()?.join(" "));
        let mut instances = self.network.running().rev();
        let found = instances
            .find(|running| running.instance.process().is_some_and(|found| **found == *process))
            .ok_or_else(|| format!("no instance of {process}"))?;
        let (status, reason) = match found.instance.status() {
            Status::New => ("new", ""),
            Status::Active => ("active", ""),
            Status::Completed => ("completed", ""),
            Status::Failed { reason } => ("failed", reason.as_str()),
            Status::Cancelled { reason } => ("cancelled", reason.as_str()),
        };
        if status == expected && reason.contains(&text) {
            return Ok(());
        }
        Err(format!("{process} is {status} {reason}; {}", self.situation()))
    }

    fn task(&self, words: &mut Words) -> Result<(), String> {
        let (task, expected, text) = (words.text()?, words.text()?, words.rest()?.join(" "));
        let (status, reason) = match self.network.task(&task) {
            None => ("unknown", ""),
            Some(TaskStatus::InProgress) => ("in-progress", ""),
            Some(TaskStatus::Completed) => ("completed", ""),
            Some(TaskStatus::Failed(reason)) => ("failed", reason.as_str()),
        };
        if status == expected && reason.contains(&text) {
            Ok(())
        } else {
            Err(format!("Task {task} is {status} {reason}"))
        }
    }

    fn due(&self, words: &mut Words) -> Result<(), String> {
        let (element, expected) = (words.text()?, words.text()?);
        let expected = IsoDuration::parse(&expected).and_then(|duration| duration.after(self.network.now()));
        let expected = expected.map_err(|error| error.to_string())?;
        let jobs = self.network.active().flat_map(crate::Instance::jobs);
        let due: Vec<_> = jobs.filter(|job| *job.element == *element).filter_map(|job| job.due).collect();
        if due.contains(&expected) { Ok(()) } else { Err(format!("{element} is due at {due:?} instead of {expected}")) }
    }
}

fn path(running: &Running) -> impl Iterator<Item = String> + use<'_> {
    running.history.iter().filter_map(|event| match event {
        Event::ElementEntered { element, .. } => Some(element.to_string()),
        _ => None,
    })
}

/// Variables of the process scope, also those that an ended instance had.
fn variables(running: &Running) -> Value {
    let mut found = serde_json::Map::new();
    let mut root = None;
    for event in &running.history {
        match event {
            Event::ScopeOpened { scope, parent: None, .. } => root = Some(*scope),
            Event::VariableSet { owner: Owner::Scope(scope), name, value } if Some(*scope) == root => {
                found.insert(name.clone(), Value::clone(value));
            }
            Event::VariableRemoved { owner: Owner::Scope(scope), name } if Some(*scope) == root => {
                found.remove(name);
            }
            _ => {}
        }
    }
    // The last token of a scope hands its variables over without an event of its own.
    for (name, value) in running.instance.root_variables().to_map() {
        found.insert(name, Value::clone(&value));
    }
    Value::Object(found)
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn equal<T: PartialEq + std::fmt::Debug>(expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("found {found:?}")) }
}

/// Every member of the expected object is there and equal.
fn contains(expected: &Value, found: &Value) -> Result<(), String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().try_for_each(|(name, value)| {
            contains(value, found.get(name).unwrap_or(&Value::Null)).map_err(|text| format!("{name}: {text}"))
        }),
        (expected, found) if expected == found => Ok(()),
        (_, found) => Err(format!("found {found}")),
    }
}
