//! `schleuse matrix` and `schleuse diff`: what a policy says about everybody, and where two policies differ.

use std::collections::BTreeMap;

use policies::matrix::{self, Caller, Cell, Change, Outlook, Side};
use policies::{AllowList, Policy};
use serde_json::json;

use super::fail;
use crate::arguments::{Diff, Format, Matrix};
use crate::local::{Local, LocalError, policy_at};
use crate::output::{answer, printable};

pub(super) fn matrix(arguments: &Matrix, format: Format) -> u8 {
    let local = match Local::load(&arguments.directory) {
        Ok(local) => local,
        Err(error) => return fail(&error, error.code()),
    };
    let list = local.allow_list_or_own();
    let side = Side { policy: &local.policy, allow_list: &list };
    let mut callers = Caller::all(side);
    if callers.is_empty() || arguments.kinds {
        callers = Caller::kinds(side);
    }
    if let Some(wanted) = &arguments.caller {
        callers.retain(|caller| caller.name == *wanted);
        if callers.is_empty() {
            eprintln!("schleuse: nobody is called {}; without --caller all are listed", printable(wanted));
            return 1;
        }
    }
    // Callers of whom the same is said are told together.
    let mut said: BTreeMap<Vec<(Outlook, Vec<String>)>, Vec<String>> = BTreeMap::new();
    for caller in &callers {
        let mut of_caller: BTreeMap<Outlook, Vec<String>> = BTreeMap::new();
        for cell in Cell::all() {
            of_caller.entry(matrix::outlook(side, &caller.identity, cell)).or_default().push(cell.to_string());
        }
        said.entry(of_caller.into_iter().collect()).or_default().push(caller.name.clone());
    }
    let text = || {
        let mut lines = Vec::new();
        for (outlooks, callers) in &said {
            lines.push(format!("{}:", names(callers)));
            for (outlook, cells) in outlooks.iter().rev() {
                lines.push(format!("  {outlook}: {}", grouped(cells)));
            }
        }
        lines.join("\n")
    };
    answer(format, text, || {
        let of = |(outlooks, callers): (&Vec<(Outlook, Vec<String>)>, &Vec<String>)| {
            let said: Vec<_> =
                outlooks.iter().map(|(outlook, cells)| json!({ "outlook": outlook, "cells": cells })).collect();
            json!({ "callers": callers, "said": said })
        };
        json!({ "policy-version": local.policy.version(), "matrix": said.iter().map(of).collect::<Vec<_>>() })
    });
    0
}

pub(super) fn diff(arguments: &Diff, format: Format) -> u8 {
    match load(arguments) {
        Ok((before, after, list)) => {
            let side = |policy| Side { policy, allow_list: &list };
            let changes = matrix::diff(side(&before), side(&after));
            let settings = before.settings_diff(&after);
            answer(format, || diff_text(&changes, &settings), || json!({ "decisions": changes, "settings": settings }));
            u8::from(!(changes.is_empty() && settings.is_empty()))
        }
        Err(error) => fail(&error, error.code()),
    }
}

fn load(arguments: &Diff) -> Result<(Policy, Policy, AllowList), LocalError> {
    let local = Local::load(&arguments.directory)?;
    let list = local.allow_list_or_own();
    let after = policy_at(&arguments.candidate)?;
    let before = match &arguments.before {
        Some(path) => policy_at(path)?,
        None => local.policy,
    };
    Ok((before, after, list))
}

fn diff_text(changes: &[Change], settings: &[String]) -> String {
    if changes.is_empty() && settings.is_empty() {
        return "no decision and no setting changes\n".to_owned();
    }
    let mut text = String::new();
    for change in changes {
        let what = format!("{}: {}", names(&change.callers), grouped(&change.cells));
        let (before, after) = (change.before.to_string(), change.after.to_string());
        text.push_str(&format!("{}\n  was: {}\n  is:  {}\n", printable(&what), printable(&before), printable(&after)));
    }
    for line in settings {
        text.push_str(&format!("setting {}\n", printable(line)));
    }
    text
}

pub(super) fn names(callers: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = callers.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if callers.len() > SHOWN { format!("{shown} and {} more", callers.len() - SHOWN) } else { shown }
}

/// `read Task`, `read Binary` as `read Binary Task`; all types as `*`.
pub(super) fn grouped(cells: &[String]) -> String {
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cell in cells {
        let (interaction, resource_type) = cell.split_once(' ').unwrap_or((cell, ""));
        by.entry(interaction).or_default().push(resource_type);
    }
    let all = Cell::all().filter(|cell| cell.resource_type.is_some()).fold(BTreeMap::new(), |mut counts, cell| {
        *counts.entry(cell.interaction.as_str()).or_insert(0_usize) += 1;
        counts
    });
    let words = by.into_iter().map(|(interaction, types)| {
        let types: Vec<&str> = types.into_iter().filter(|name| !name.is_empty()).collect();
        match types.len() {
            0 => interaction.to_owned(),
            count if all.get(interaction) == Some(&count) && count > 1 => format!("{interaction} *"),
            _ => format!("{interaction} {}", types.join(" ")),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}
