//! Comparing element values: `fixed[x]`, `pattern[x]` and FHIRPath equality.

use crate::{Object, Value};

/// Equal without regard to the order of members.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => same_object(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

/// Equal without regard to the order of members.
pub(crate) fn same_object(a: &Object, b: &Object) -> bool {
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
}

/// Whether `value` has everything that `pattern` has (`ElementDefinition.pattern[x]`).
pub(crate) fn fits(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(value), Value::Object(pattern)) => {
            pattern.iter().all(|(name, wanted)| value.get(name).is_some_and(|found| fits(found, wanted)))
        }
        (Value::Array(values), Value::Array(patterns)) => {
            patterns.iter().all(|wanted| values.iter().any(|found| fits(found, wanted)))
        }
        _ => value == pattern,
    }
}
