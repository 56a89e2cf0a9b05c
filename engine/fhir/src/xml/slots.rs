//! Collects the children of an element in reading and turns them into members in schema order.

use crate::definitions::{Child, TypeKind};
use crate::{Object, Value};

/// The children of one element so far.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
}

/// The children of one name.
struct Slot {
    child: Child,
    name: String,
    values: Vec<Value>,
    /// `id` and extensions of primitives, `Null` where there is none.
    extras: Vec<Value>,
}

/// The element may occur only once and did already.
pub(super) struct Repeated;

impl Slots {
    /// Whether one more object member would pass the limit.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds an occurrence of `name`.
    pub(super) fn add(
        &mut self,
        name: &str,
        child: Child,
        value: Option<Value>,
        extra: Option<Object>,
    ) -> Result<(), Repeated> {
        let index = match self.slots.iter().rposition(|slot| slot.name == name) {
            Some(_) if !child.element.is_list() => return Err(Repeated),
            Some(index) => index,
            None => {
                self.slots.push(Slot { child, name: name.to_owned(), values: Vec::new(), extras: Vec::new() });
                self.slots.len() - 1
            }
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.values.push(value.unwrap_or(Value::Null));
            slot.extras.push(extra.map_or(Value::Null, Value::Object));
        }
        Ok(())
    }

    /// Appends the members in schema order.
    pub(super) fn append_to(mut self, object: &mut Object) {
        self.slots.sort_by_key(|slot| slot.child.position);
        for slot in self.slots {
            let has_value = slot.values.iter().any(|value| *value != Value::Null);
            let has_extra = slot.extras.iter().any(|extra| *extra != Value::Null);
            let is_list = slot.child.element.is_list();
            let extra_name =
                (slot.child.definition.kind == TypeKind::Primitive && has_extra).then(|| format!("_{}", slot.name));
            if has_value {
                object.append_unchecked(slot.name, one_or_all(slot.values, is_list));
            }
            if let Some(name) = extra_name {
                object.append_unchecked(name, one_or_all(slot.extras, is_list));
            }
        }
    }
}

fn one_or_all(mut values: Vec<Value>, is_list: bool) -> Value {
    if is_list { Value::Array(values) } else { values.pop().unwrap_or(Value::Null) }
}
