//! What expressions work on: nodes of a resource tree and values made on the way.

use std::borrow::Cow;

use crate::{Object, Value};

/// A collection in its order.
pub(crate) type Collection<'a> = Vec<Item<'a>>;

/// One element of a collection.
#[derive(Clone, Debug)]
pub(crate) enum Item<'a> {
    Node(Node<'a>),
    Boolean(bool),
    Text(Cow<'a, str>),
    /// The text of a number.
    Number(Cow<'a, str>),
}

/// An element of the tree, with the object that carries id and extensions of a primitive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    /// The `_name` object beside a primitive.
    pub(crate) extra: Option<&'a Object>,
    /// The data type, where the name of the element tells it.
    pub(crate) type_name: Option<&'a str>,
}

/// The types that a choice may have (`*` in R4), as they stand in names.
const CHOICE_TYPES: [&str; 50] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "CodeableConcept",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Date",
    "DateTime",
    "Decimal",
    "Distance",
    "Dosage",
    "Duration",
    "Expression",
    "HumanName",
    "Id",
    "Identifier",
    "Instant",
    "Integer",
    "Markdown",
    "Meta",
    "Money",
    "Oid",
    "ParameterDefinition",
    "Period",
    "PositiveInt",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "String",
    "Time",
    "Timing",
    "TriggerDefinition",
    "UnsignedInt",
    "Uri",
    "Url",
    "UsageContext",
    "Uuid",
];

/// The type suffix of `member` if it is the choice `stem[x]`: `String` for `valueString`.
pub(crate) fn choice_suffix<'a>(stem: &str, member: &'a str) -> Option<&'a str> {
    let suffix = member.strip_prefix(stem)?;
    CHOICE_TYPES.binary_search(&suffix).is_ok().then_some(suffix)
}

static NULL: Value = Value::Null;

impl<'a> Node<'a> {
    /// A node without extras.
    pub(crate) const fn plain(value: &'a Value) -> Self {
        Self { value, extra: None, type_name: None }
    }

    /// A resource: trees keep resources as objects, nodes keep values, so the members come from the extra object.
    pub(crate) fn resource(object: &'a Object) -> Self {
        Self { value: &NULL, extra: Some(object), type_name: object.str("resourceType") }
    }

    /// The elements with the name, or, if there is none, those of the choice with this stem.
    pub(crate) fn members(self, name: &str) -> Vec<Self> {
        if name == "value" && self.has_value() {
            return vec![Self::plain(self.value)];
        }
        let mut found = self.exactly(name);
        if found.is_empty() {
            found = self.choice(name);
        }
        found
    }

    /// The elements with exactly this name.
    pub(crate) fn exactly(self, name: &str) -> Vec<Self> {
        let mut found = Vec::new();
        if let Some(object) = self.object() {
            push_members(object, name, None, &mut found);
        }
        found
    }

    /// The elements of the choice `stem[x]`.
    pub(crate) fn choice(self, stem: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let Some(object) = self.object() else { return found };
        for (member, _) in object.iter() {
            let name = member.strip_prefix('_').unwrap_or(member);
            // The companion of a member that is there comes with it.
            if let Some(suffix) = choice_suffix(stem, name).filter(|_| name == member || object.get(name).is_none()) {
                push_members(object, name, Some(suffix), &mut found);
            }
        }
        found
    }

    /// Every element below, one level.
    pub(crate) fn children(self) -> Vec<Self> {
        let mut found = Vec::new();
        let Some(object) = self.object() else { return found };
        for (member, _) in object.iter() {
            match member.strip_prefix('_') {
                Some(primitive) if object.get(primitive).is_some() => {}
                Some(primitive) => push_members(object, primitive, None, &mut found),
                None if member == "resourceType" => {}
                None => push_members(object, member, None, &mut found),
            }
        }
        found
    }

    /// Whether there is a primitive value.
    pub(crate) fn has_value(self) -> bool {
        matches!(self.value, Value::Bool(_) | Value::Number(_) | Value::String(_))
    }

    /// The type, if the name of the element or `resourceType` tells it.
    pub(crate) fn known_type(self) -> Option<&'a str> {
        self.type_name.or_else(|| self.value.str("resourceType")).filter(|name| !name.is_empty())
    }

    /// Whether a list holds the element `name`.
    pub(crate) fn is_list(self, name: &str) -> bool {
        self.object().is_some_and(|object| matches!(object.get(name), Some(Value::Array(_))))
    }

    /// The members of an element, or those beside a primitive.
    pub(crate) fn object(self) -> Option<&'a Object> {
        match self.value {
            Value::Object(object) => Some(object),
            _ => self.extra,
        }
    }
}

/// Adds the elements of the member and of its `_` companion, position by position.
fn push_members<'a>(object: &'a Object, name: &str, type_name: Option<&'a str>, found: &mut Vec<Node<'a>>) {
    let value = object.get(name);
    let extra = object.iter().find(|(member, _)| member.strip_prefix('_') == Some(name)).map(|(_, extra)| extra);
    match (value, extra) {
        (Some(Value::Array(values)), _) => {
            let extras = extra.map_or(&[][..], Value::elements);
            for (index, value) in values.iter().enumerate() {
                found.push(Node { value, extra: extras.get(index).and_then(Value::as_object), type_name });
            }
            let more = extras.get(values.len()..).unwrap_or(&[]).iter().filter_map(Value::as_object);
            found.extend(more.map(|extra| Node { value: &NULL, extra: Some(extra), type_name }));
        }
        (Some(value), _) => found.push(Node { value, extra: extra.and_then(Value::as_object), type_name }),
        (None, Some(Value::Array(extras))) => {
            let extras = extras.iter().filter_map(Value::as_object);
            found.extend(extras.map(|extra| Node { value: &NULL, extra: Some(extra), type_name }));
        }
        (None, Some(Value::Object(extra))) => found.push(Node { value: &NULL, extra: Some(extra), type_name }),
        (None, _) => {}
    }
}

impl<'a> Item<'a> {
    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Node(node) => node.value.as_str(),
            Self::Boolean(_) | Self::Number(_) => None,
        }
    }

    /// The text of a number.
    pub(crate) fn number(&self) -> Option<&str> {
        match self {
            Self::Number(text) => Some(text),
            Self::Node(Node { value: Value::Number(number), .. }) => Some(number.as_str()),
            Self::Node(_) | Self::Boolean(_) | Self::Text(_) => None,
        }
    }

    /// The boolean.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Node(node) => node.value.as_bool(),
            Self::Text(_) | Self::Number(_) => None,
        }
    }

    /// The node, if it is one.
    pub(crate) const fn node(&self) -> Option<Node<'a>> {
        match self {
            Self::Node(node) => Some(*node),
            Self::Boolean(_) | Self::Text(_) | Self::Number(_) => None,
        }
    }

    /// A count as an item.
    pub(crate) fn count(count: usize) -> Self {
        Self::Number(Cow::Owned(count.to_string()))
    }
}
