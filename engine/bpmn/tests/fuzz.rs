//! Fuzz targets as plain functions: replay of the corpus and deterministic mutations of it, on stable.
//!
//! The property is that no input makes the crate panic, recurse without bound or run without end. A model that loads is
//! also started and driven for a few commands.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken test input may stop the test")]

use std::path::{Path, PathBuf};

use bpmn::expression::{Context, Expression};
use bpmn::{Command, Environment, Instance, ListenerCall, ListenerError, Model, StepOutcome, VariableWrite, step};
use serde_json::{Value, json};
use time::OffsetDateTime;

struct Host(u32);

impl Environment for Host {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }

    fn new_id(&mut self) -> String {
        self.0 += 1;
        self.0.to_string()
    }

    fn listen(&mut self, _: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        Ok(vec![VariableWrite::set_local("correlationKey", "k")])
    }
}

struct Variables(Value);

impl Context for Variables {
    fn variable(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn local_variable(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn business_key(&self) -> Option<&str> {
        None
    }

    fn instance_id(&self) -> Option<&str> {
        None
    }
}

/// Target: any bytes as a model.
fn fuzz_model(bytes: &[u8]) {
    let Ok(model) = Model::parse(bytes) else { return };
    for process in &model.processes {
        let starts = process.message_starts();
        let Some(start_event) = process.none_start().or_else(|| starts.first().map(|(id, _)| *id)) else { continue };
        let start = Command::Start {
            process: process.id.to_string(),
            start_event: start_event.clone(),
            business_key: None,
            variables: vec![("targets".to_owned(), json!({"entries": [1, 2]}))],
            message: None,
            caller: None,
        };
        let (mut instance, mut host) = (Instance::default(), Host(0));
        let mut next = Some(start);
        for _ in 0..20 {
            let Some(command) = next.take() else { break };
            if step(&model, &mut instance, command, &mut host).is_err() {
                break;
            }
            let pending = instance.steps().next().map(|step| step.step.clone());
            let job = instance.jobs().next().map(|job| job.job.clone());
            next = match (pending, job) {
                (Some(step), _) => Some(Command::StepCompleted { step, outcome: StepOutcome::completed() }),
                (None, Some(job)) => Some(Command::Job { job }),
                (None, None) => None,
            };
        }
    }
}

/// Target: any bytes as an expression.
fn fuzz_expression(bytes: &[u8]) {
    let Ok(expression) = Expression::parse(&String::from_utf8_lossy(bytes)) else { return };
    let variables = Variables(json!({"a": {"b": [{"c": 1}]}, "x": "text", "d": "PT1S"}));
    let _ = expression.evaluate(&variables);
    let _ = expression.condition(&variables);
}

fn corpus(folder: &Path, inputs: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            corpus(&path, inputs);
        } else if path.metadata().is_ok_and(|metadata| metadata.len() < 60_000) {
            inputs.push(std::fs::read(path).unwrap());
        }
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A small generator, so that every run mutates the same way.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

const FRAGMENTS: [&[u8]; 14] = [
    b"<",
    b">",
    b"&",
    b"${",
    b"}",
    b"\"",
    b"<!DOCTYPE a>",
    b"&#0;",
    b"</process>",
    b"id=\"x\"",
    b"\xff",
    b"camunda:",
    b"(((((",
    b"PT1S",
];

fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1).min(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, FRAGMENTS[random.below(FRAGMENTS.len())].iter().copied())),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                let from = random.below(other.len());
                let to = (from + random.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).unwrap();
                }
            }
        }
    }
    bytes
}

fn run(inputs: &[Vec<u8>], rounds: usize, target: fn(&[u8])) {
    let rounds = if std::env::var_os("SCHLEUSE_SLOW").is_some() { rounds * 100 } else { rounds };
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for input in inputs {
        target(input);
    }
    for _ in 0..rounds {
        let (input, other) = (random.below(inputs.len()), random.below(inputs.len()));
        target(&mutate(&inputs[input], &inputs[other], &mut random));
    }
}

#[test]
fn no_bytes_make_the_model_reader_or_engine_panic() {
    let mut inputs = Vec::new();
    for folder in ["tests/models", "fuzz/corpus/model", "../../../shared/bpmn"] {
        corpus(&here(folder), &mut inputs);
    }
    run(&inputs, 2_000, fuzz_model);
}

#[test]
fn no_bytes_make_the_expression_reader_panic() {
    let mut inputs = Vec::new();
    corpus(&here("fuzz/corpus/expression"), &mut inputs);
    run(&inputs, 20_000, fuzz_expression);
}
