//! Variables as workers see them: JSON values with the type names of Operaton's REST interface, and back.
//!
//! What is no text, number or truth value travels as `Json`, its value a text of JSON, as the published clients expect.

use bpmn::VariableWrite;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A variable on the wire.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypedValue {
    #[serde(default)]
    value: Value,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    value_info: Option<Map<String, Value>>,
}

/// Variables by name.
pub(super) type TypedValues = std::collections::BTreeMap<String, TypedValue>;

/// As a worker is shown a value.
pub(super) fn typed(value: &Value) -> TypedValue {
    let (kind, value) = match value {
        Value::Null => ("Null", Value::Null),
        Value::Bool(_) => ("Boolean", value.clone()),
        Value::String(_) => ("String", value.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(integer) if i32::try_from(integer).is_ok() => ("Integer", value.clone()),
            Some(_) => ("Long", value.clone()),
            None => ("Double", value.clone()),
        },
        Value::Array(_) | Value::Object(_) => ("Json", Value::String(value.to_string())),
    };
    TypedValue { value, kind: Some(kind.to_owned()), value_info: Some(Map::new()) }
}

/// The value that a worker sent.
fn untyped(name: &str, sent: TypedValue) -> Result<Value, String> {
    let TypedValue { value, kind, value_info } = sent;
    let wrong = |kind: &str| format!("Cannot submit variable '{name}': the value is not of type {kind}");
    let Some(kind) = kind.filter(|kind| !kind.is_empty()) else { return Ok(value) };
    // The published clients write the names of types in either case.
    match kind.to_ascii_lowercase().as_str() {
        "null" => Ok(Value::Null),
        _ if value.is_null() => Ok(Value::Null),
        "string" | "date" if value.is_string() => Ok(value),
        "boolean" if value.is_boolean() => Ok(value),
        "short" | "integer" | "long" => whole(&value).ok_or_else(|| wrong(&kind)),
        "double" | "number" | "float" if value.is_number() => Ok(value),
        "json" => match value {
            Value::String(text) => serde_json::from_str(&text).map_err(|_| wrong("Json")),
            other => Ok(other),
        },
        "object" => {
            let format = value_info.as_ref().and_then(|info| info.get("serializationDataFormat")?.as_str());
            match (format, value) {
                (None | Some("application/json"), Value::String(text)) => {
                    serde_json::from_str(&text).map_err(|_| wrong("Object"))
                }
                (None | Some("application/json"), other) => Ok(other),
                (Some(other), _) => Err(format!("Cannot submit variable '{name}': objects are JSON here, not {other}")),
            }
        }
        "string" | "date" | "boolean" | "double" | "number" | "float" => Err(wrong(&kind)),
        _ => Err(format!("Cannot submit variable '{name}': values of type {kind} are not kept by this node")),
    }
}

/// A whole number, also one that a client wrote as text or with a fraction of zero.
fn whole(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(value.clone()),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9.0e15)?;
            format!("{number:.0}").parse::<i64>().ok().map(|number| json!(number))
        }
        Value::String(text) => text.trim().parse::<i64>().ok().map(|number| json!(number)),
        _ => None,
    }
}

/// What a worker wrote, local variables first.
pub(super) fn writes(variables: TypedValues, local: TypedValues) -> Result<Vec<VariableWrite>, String> {
    let mut writes = Vec::with_capacity(variables.len() + local.len());
    for (is_local, variables) in [(true, local), (false, variables)] {
        for (name, sent) in variables {
            let value = Some(untyped(&name, sent)?);
            writes.push(VariableWrite { name, value, local: is_local });
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: &str, value: Value) -> Result<Value, String> {
        untyped("x", TypedValue { value, kind: Some(kind.to_owned()), value_info: None })
    }

    #[test]
    fn every_value_comes_back_as_it_went() {
        for value in [
            json!(null),
            json!(true),
            json!("text"),
            json!(7),
            json!(9_007_199_254_740_993_i64),
            json!(1.5),
            json!([1, "a"]),
            json!({ "a": { "b": [null] } }),
        ] {
            assert_eq!(untyped("x", typed(&value)).as_ref(), Ok(&value), "{value}");
        }
    }

    #[test]
    fn types_are_read_as_the_clients_write_them() {
        assert_eq!(sent("integer", json!("12")), Ok(json!(12)));
        assert_eq!(sent("Long", json!(12.0)), Ok(json!(12)));
        assert_eq!(sent("json", json!("{\"a\":1}")), Ok(json!({ "a": 1 })));
        assert_eq!(sent("Object", json!("[1]")), Ok(json!([1])));
        assert_eq!(sent("Null", json!(1)), Ok(json!(null)));
        let plain = TypedValue { value: json!({ "a": 1 }), kind: None, value_info: None };
        assert_eq!(untyped("x", plain), Ok(json!({ "a": 1 })));
        for (kind, value) in [
            ("integer", json!(1.5)),
            ("integer", json!("x")),
            ("boolean", json!("true")),
            ("string", json!(1)),
            ("json", json!("{")),
            ("file", json!("x")),
            ("bytes", json!("x")),
        ] {
            assert!(sent(kind, value.clone()).is_err(), "{kind} {value}");
        }
    }
}
