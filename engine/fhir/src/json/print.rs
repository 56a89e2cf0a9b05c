//! Writes a tree as JSON, compact or indented by two blanks.

use crate::{Object, Value};

/// Appends `value`.
pub(super) fn value(out: &mut String, value: &Value, pretty: bool) {
    write_value(out, value, pretty.then_some(0));
}

/// Appends `object`.
pub(super) fn object(out: &mut String, object: &Object, pretty: bool) {
    write_object(out, object, pretty.then_some(0));
}

/// `indent` is the level when printing pretty.
fn write_value(out: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number.as_str()),
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => write_array(out, elements, indent),
        Value::Object(object) => write_object(out, object, indent),
    }
}

fn write_array(out: &mut String, elements: &[Value], indent: Option<usize>) {
    let inner = indent.map(|level| level + 1);
    out.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line_break(out, inner);
        write_value(out, element, inner);
    }
    if !elements.is_empty() {
        line_break(out, indent);
    }
    out.push(']');
}

fn write_object(out: &mut String, object: &Object, indent: Option<usize>) {
    let inner = indent.map(|level| level + 1);
    out.push('{');
    for (index, (name, value)) in object.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line_break(out, inner);
        write_string(out, name);
        out.push_str(if indent.is_some() { ": " } else { ":" });
        write_value(out, value, inner);
    }
    if !object.is_empty() {
        line_break(out, indent);
    }
    out.push('}');
}

fn line_break(out: &mut String, indent: Option<usize>) {
    if let Some(level) = indent {
        out.push('\n');
        for _ in 0..level {
            out.push_str("  ");
        }
    }
}

/// Copies runs that need no escape at once; only `"`, `\` and control characters need one.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => {
                out.push_str("\\u00");
                for shift in [4, 0] {
                    out.push(char::from_digit((u32::from(control) >> shift) & 0xF, 16).unwrap_or('0'));
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
