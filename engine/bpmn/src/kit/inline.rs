//! Models written in a scenario: the elements as XML, the flows as arrows, declarations made from their names.
//!
//! `a -> b -> c` are two sequence flows, `a -[${x > 1}]-> b` has a condition, `a -*-> b` is the default flow of `a`. A
//! reference `messageRef="m-NAME"`, `signalRef="s-NAME"`, `errorRef="e-NAME"` or `escalationRef="x-NAME"` declares the
//! message, signal, error or escalation of this name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Process bodies as one BPMN file.
pub(super) fn document(processes: &[(String, Vec<String>)]) -> String {
    let mut out = String::from(
        "<definitions xmlns=\"http://www.omg.org/spec/BPMN/20100524/MODEL\" \
         xmlns:camunda=\"http://camunda.org/schema/1.0/bpmn\" id=\"scenario\">\n",
    );
    let body: String = processes.iter().flat_map(|(_, lines)| lines.iter()).fold(String::new(), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    });
    for (attribute, element, prefix, extra) in [
        ("messageRef", "message", "m-", "name"),
        ("signalRef", "signal", "s-", "name"),
        ("errorRef", "error", "e-", "errorCode"),
        ("escalationRef", "escalation", "x-", "escalationCode"),
    ] {
        for name in references(&body, attribute, prefix) {
            let _ = writeln!(out, "<{element} id=\"{prefix}{name}\" {extra}=\"{name}\"/>");
        }
    }
    for (attributes, lines) in processes {
        let (id, attributes) = attributes.split_once(' ').unwrap_or((attributes, ""));
        let attributes = format!("id=\"{id}\" isExecutable=\"true\" {attributes}");
        let (elements, defaults) = body_of(lines);
        let _ = writeln!(out, "<process {}>", attributes.trim_end());
        out.push_str(&with_defaults(&elements, &defaults));
        out.push_str("</process>\n");
    }
    out.push_str("</definitions>\n");
    out
}

fn references(body: &str, attribute: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for found in body.split(&format!("{attribute}=\"{prefix}")).skip(1) {
        let name = found.split('"').next().unwrap_or_default().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Elements with flows, and the default flow by element.
fn body_of(lines: &[String]) -> (String, BTreeMap<String, String>) {
    let (mut elements, mut defaults) = (String::new(), BTreeMap::new());
    for line in lines {
        if line.trim_start().starts_with('<') || !line.contains("->") {
            elements.push_str(line);
            elements.push('\n');
            continue;
        }
        let mut ends = line.split("->").map(str::trim);
        let mut previous = ends.next().unwrap_or_default().to_owned();
        for end in ends {
            let (source, mark) = match previous.split_once(" -") {
                Some((source, mark)) => (source.trim().to_owned(), mark.trim_end_matches('-').trim().to_owned()),
                None => (previous.trim().to_owned(), String::new()),
            };
            let target = end.split(" -").next().unwrap_or_default().trim();
            let id = format!("{source}-{target}");
            let condition = mark.strip_prefix('[').and_then(|mark| mark.strip_suffix(']')).map(|condition| {
                format!(
                    "<conditionExpression>{}</conditionExpression>",
                    condition.replace('&', "&amp;").replace('<', "&lt;")
                )
            });
            if mark == "*" {
                defaults.insert(source.clone(), id.clone());
            }
            let _ = writeln!(
                elements,
                "<sequenceFlow id=\"{id}\" sourceRef=\"{source}\" targetRef=\"{target}\">{}</sequenceFlow>",
                condition.unwrap_or_default()
            );
            previous = end.to_owned();
        }
    }
    (elements, defaults)
}

fn with_defaults(elements: &str, defaults: &BTreeMap<String, String>) -> String {
    let mut text = elements.to_owned();
    for (source, flow) in defaults {
        text = text.replacen(&format!(" id=\"{source}\""), &format!(" id=\"{source}\" default=\"{flow}\""), 1);
    }
    text
}
