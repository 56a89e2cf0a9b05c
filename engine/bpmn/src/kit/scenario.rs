//! Scenarios: what a process does, in a text that people can read.
//!
//! ```text
//! scenario bpmn_030 a site that does not answer is missing
//! covers timer-catch event-based-gateway
//! model models/ping.bpmn
//! start dsfdev_ping message startPing task T1 key A
//! do SelectPingTargets with {"targets": {"entries": [{"correlationKey": "k"}]}}
//! jobs
//! do SendPing
//! pass PT20S
//! path StartPingMessageStartEvent SelectPingTargets SubProcess
//! task T1 completed
//! ```
//!
//! A line is a command or an expectation, run from top to bottom; `#` begins a comment. Instead of `model` a process may
//! be written between `process ID` and `end` (elements as XML, flows as `a -> b`). The verbs are listed at [`Scenario::run`].

mod act;
mod expect;

use super::words::Words;
use super::{Network, inline};
use crate::Model;

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Case and what holds.
    pub name: String,
    /// Elements that it shows, for the table of coverage.
    pub covers: Vec<String>,
    /// Line of its name in the file.
    pub line: usize,
    sources: Vec<Source>,
    lines: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
enum Source {
    File(String),
    Processes(Vec<(String, Vec<String>)>),
}

/// Why a scenario does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct Failure {
    /// Line in the file.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// A running scenario.
#[derive(Default)]
struct Stage {
    network: Network,
    /// Findings of models that were refused.
    refused: Vec<crate::ModelError>,
    /// Elements whose path was looked at, by instance.
    seen: std::collections::BTreeMap<crate::Id, usize>,
}

impl Scenario {
    /// Reads the scenarios of a file.
    pub fn parse(text: &str) -> Result<Vec<Self>, Failure> {
        let mut scenarios: Vec<Self> = Vec::new();
        let mut open: Option<(String, Vec<String>)> = None;
        for (index, line) in text.lines().enumerate() {
            let number = index.saturating_add(1);
            let failure = |text: &str| Failure { line: number, text: text.to_owned() };
            let trimmed = line.trim();
            if let Some((_, lines)) = &mut open {
                if trimmed == "end" {
                    let scenario = scenarios.last_mut().ok_or_else(|| failure("no scenario"))?;
                    if let Some(process) = open.take() {
                        match scenario.sources.last_mut() {
                            Some(Source::Processes(processes)) => processes.push(process),
                            _ => scenario.sources.push(Source::Processes(vec![process])),
                        }
                    }
                } else {
                    lines.push(line.to_owned());
                }
                continue;
            }
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (verb, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
            if verb == "scenario" {
                let (name, rest) = (rest.to_owned(), Vec::new());
                scenarios.push(Self { name, covers: rest, line: number, sources: Vec::new(), lines: Vec::new() });
                continue;
            }
            let scenario = scenarios.last_mut().ok_or_else(|| failure("the file begins with no scenario"))?;
            match verb {
                "covers" => scenario.covers.extend(rest.split_whitespace().map(str::to_owned)),
                "model" => scenario.sources.push(Source::File(rest.trim().to_owned())),
                "process" => open = Some((rest.trim().to_owned(), Vec::new())),
                _ => scenario.lines.push((number, trimmed.to_owned())),
            }
        }
        match open {
            Some((process, _)) => {
                Err(Failure { line: text.lines().count(), text: format!("process {process} has no end") })
            }
            None => Ok(scenarios),
        }
    }

    /// BPMN files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|source| match source {
            Source::File(name) => Some(name.as_str()),
            Source::Processes(_) => None,
        })
    }

    /// Runs the scenario; `read` gives the content of a BPMN file.
    ///
    /// Commands: `start PROCESS [message NAME] [at ELEMENT] [task ID] [key BK] [with {...}]`, `send PROCESS NAME task ID
    /// [key BK] [ck CK] [with {...}]` (a Task, correlated as in DSF), `message NAME [key BK] [ck CK] [task ID] [with
    /// {...}]`, `signal NAME [with {...}]`, `do ELEMENT [with {...}] [local {...}]`, `error ELEMENT CODE [TEXT]`, `fails
    /// ELEMENT REASON`, `answer ELEMENT [with {...}]`, `set {...}`, `pass DURATION`, `jobs`, `cancel REASON`, `listener
    /// CLASS writes {...} | local {...} | throws CODE | fails REASON`, `refuses TEXT COMMAND...`.
    ///
    /// Expectations: `path ELEMENT...` (entered since the last), `entered ELEMENT...` (among all), `waits ELEMENT...`,
    /// `variables {...}`, `absent NAME...`, `ended PROCESS completed|failed|cancelled [TEXT]`, `running COUNT`, `task ID
    /// completed|in-progress|failed [TEXT]`, `due ELEMENT DURATION`, `event {...}`, `step ELEMENT {...}`, `user ELEMENT
    /// {...}`, `refused ELEMENT TEXT` (at load).
    pub fn run(&self, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<(), Failure> {
        let mut stage = Stage::default();
        for source in &self.sources {
            let xml = match source {
                Source::File(name) => read(name)
                    .ok_or_else(|| Failure { line: self.line, text: format!("model {name} cannot be read") })?,
                Source::Processes(processes) => inline::document(processes).into_bytes(),
            };
            match Model::parse(&xml) {
                Ok(model) => stage.network.add(model),
                Err(errors) => stage.refused.extend(errors),
            }
        }
        let expects_refusal = self.lines.iter().any(|(_, line)| line.starts_with("refused "));
        if let Some(error) = stage.refused.first().filter(|_| !expects_refusal) {
            return Err(Failure { line: self.line, text: format!("model is refused: {error}") });
        }
        for (line, text) in &self.lines {
            stage.line(text).map_err(|text| Failure { line: *line, text })?;
        }
        Ok(())
    }
}

impl Stage {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = Words::of(line)?;
        let verb = words.text()?;
        if verb == "refuses" {
            let text = words.text()?;
            let verb = words.text()?;
            return match self.act(&verb, &mut words)? {
                Some(Err(refusal)) if refusal.to_string().contains(&text) => Ok(()),
                Some(Err(refusal)) => Err(format!("refused by {refusal}")),
                Some(Ok(())) => Err("not refused".to_owned()),
                None => Err(format!("{verb} is no command")),
            };
        }
        match self.act(&verb, &mut words)? {
            Some(done) => {
                words.end()?;
                done.map_err(|refusal| refusal.to_string())
            }
            None => self.expect(&verb, &mut words),
        }
    }
}
