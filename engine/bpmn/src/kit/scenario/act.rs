//! Commands of a scenario.

use std::sync::Arc;

use super::Stage;
use crate::kit::Refusal;
use crate::kit::network::{ListenerBehaviour, Message};
use crate::kit::words::Words;
use crate::timer::IsoDuration;
use crate::{Command, Id, StepOutcome, VariableWrite};

/// Jobs that one `jobs` may run.
const JOBS: usize = 100_000;

type Done = Result<(), Refusal>;

impl Stage {
    /// Runs a command; `None` if the verb is none.
    pub(super) fn act(&mut self, verb: &str, words: &mut Words) -> Result<Option<Done>, String> {
        Ok(Some(match verb {
            "start" => self.start(words)?,
            "send" => {
                let (process, name) = (words.text()?, words.text()?);
                let message = Message { process, name, ..message_options(words)? };
                self.network.accept(&message)
            }
            "message" => {
                let name = words.text()?;
                let message = Message { name, ..message_options(words)? };
                self.network.message(&message)
            }
            "signal" => {
                let name = words.text()?;
                let variables = words.variables("with")?.into_iter().map(|(name, value)| (name, Arc::new(value)));
                self.network.signal(&name, &variables.collect())
            }
            "do" => {
                let element = words.text()?;
                let variables = writes(words)?;
                self.answer_step(&element, StepOutcome::Completed { variables })?
            }
            "error" => {
                let (element, code) = (words.text()?, words.text()?);
                let variables = writes(words)?;
                let message = words.rest()?.into_iter().next();
                self.answer_step(&element, StepOutcome::BpmnError { code, message, variables })?
            }
            "fails" => {
                let element = words.text()?;
                self.answer_step(&element, StepOutcome::Failed { reason: words.rest()?.join(" ") })?
            }
            "answer" => self.answer_user_task(words)?,
            "set" => self.set(words)?,
            "pass" => {
                let duration = IsoDuration::parse(&words.text()?).map_err(|error| error.to_string())?;
                let until = duration.after(self.network.now()).map_err(|error| error.to_string())?;
                self.network.pass(until - self.network.now())
            }
            "jobs" => self.jobs(),
            "cancel" => {
                let reason = words.rest()?.join(" ");
                let id = self.only()?;
                self.network.command(&id, Command::Cancel { reason }).map(drop)
            }
            "listener" => {
                self.listener(words)?;
                Ok(())
            }
            _ => return Ok(None),
        }))
    }

    fn start(&mut self, words: &mut Words) -> Result<Done, String> {
        let process = words.text()?;
        let name = words.option("message")?;
        let at = words.option("at")?;
        let options = message_options(words)?;
        if let Some(name) = name {
            let message = Message { process, name, ..options };
            return Ok(self.network.accept(&message));
        }
        Ok(self.network.start(&process, at.as_deref(), options).map(drop))
    }

    fn answer_step(&mut self, element: &str, outcome: StepOutcome) -> Result<Done, String> {
        let open = self.network.active().find_map(|instance| {
            let step = instance.steps().filter(|step| &*step.element == element).min_by_key(|step| step.token)?;
            Some((instance.id()?.clone(), step.step.clone()))
        });
        let (id, step) = open.ok_or_else(|| format!("no step is open at {element}; {}", self.situation()))?;
        Ok(self.network.command(&id, Command::StepCompleted { step, outcome }).map(drop))
    }

    fn answer_user_task(&mut self, words: &mut Words) -> Result<Done, String> {
        let element = words.text()?;
        let variables = writes(words)?;
        let open = self.network.active().find_map(|instance| {
            let task = instance.user_tasks().find(|task| *task.element == *element)?;
            Some((instance.id()?.clone(), task.user_task.clone()))
        });
        let (id, user_task) = open.ok_or_else(|| format!("no user task is open at {element}; {}", self.situation()))?;
        Ok(self.network.command(&id, Command::UserTaskCompleted { user_task, variables }).map(drop))
    }

    fn set(&mut self, words: &mut Words) -> Result<Done, String> {
        let serde_json::Value::Object(members) = words.json()? else { return Err("an object is expected".to_owned()) };
        let variables = members
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::Null => VariableWrite::remove(name),
                value => VariableWrite::set(name, value),
            })
            .collect();
        let id = self.only()?;
        Ok(self.network.command(&id, Command::SetVariables { token: None, variables }).map(drop))
    }

    fn jobs(&mut self) -> Done {
        for _ in 0..JOBS {
            let Some((instance, job)) = self.network.continuations().into_iter().next() else { return Ok(()) };
            self.network.run_job(&instance, &job)?;
        }
        Err(Refusal::Nothing("jobs follow each other without end".to_owned()))
    }

    fn listener(&mut self, words: &mut Words) -> Result<(), String> {
        let class = words.text()?;
        let mut writes = Vec::new();
        for (name, value) in words.variables("writes")? {
            writes.push(VariableWrite::set(name, value));
        }
        for (name, value) in words.variables("local")? {
            writes.push(VariableWrite::set_local(name, value));
        }
        let behaviour = match (words.option("throws")?, words.option("fails")?) {
            (Some(code), _) => ListenerBehaviour::Throws(code),
            (None, Some(reason)) => ListenerBehaviour::Fails(reason),
            (None, None) => ListenerBehaviour::Writes(writes),
        };
        self.network.set_listener(&class, behaviour);
        Ok(())
    }

    /// The one instance that runs, or the first of several.
    pub(super) fn only(&self) -> Result<Id, String> {
        let first = self.network.active().find_map(|instance| instance.id().cloned());
        first.ok_or_else(|| "no instance is running".to_owned())
    }

    /// Where everything stands, for texts.
    pub(super) fn situation(&self) -> String {
        let instances = self.network.active().map(|instance| {
            let tokens: Vec<String> =
                instance.tokens().map(|token| format!("{} ({:?})", token.element, token.state)).collect();
            format!("{} at {}", instance.process().map_or("?", |process| process), tokens.join(", "))
        });
        let instances: Vec<String> = instances.collect();
        if instances.is_empty() { "nothing is running".to_owned() } else { instances.join("; ") }
    }
}

fn message_options(words: &mut Words) -> Result<Message, String> {
    Ok(Message {
        business_key: words.option("key")?,
        correlation_key: words.option("ck")?,
        task: words.option("task")?,
        variables: words.variables("with")?,
        ..Message::default()
    })
}

fn writes(words: &mut Words) -> Result<Vec<VariableWrite>, String> {
    let shared = words.variables("with")?.into_iter().map(|(name, value)| VariableWrite::set(name, value));
    let local = words.variables("local")?.into_iter().map(|(name, value)| VariableWrite::set_local(name, value));
    Ok(shared.chain(local).collect())
}
