//! Shared helpers of the model readers: name spaces, attributes and the list of errors.

use super::ModelError;
use crate::ElementId;
use crate::expression::Expression;
use crate::limits;
use crate::xml::Element;

/// Name space of BPMN 2.0 models.
const BPMN: &str = "http://www.omg.org/spec/BPMN/20100524/MODEL";

/// Name spaces of the engine's extensions: Camunda 7 and its fork Operaton, which mean the same.
const ENGINE: [&str; 2] = ["http://camunda.org/schema/1.0/bpmn", "http://operaton.org/schema/1.0/bpmn"];

/// Errors found so far.
#[derive(Default)]
pub(super) struct Errors {
    list: Vec<ModelError>,
}

impl Errors {
    /// Adds an error about an XML element.
    pub(super) fn report(&mut self, element: &Element, text: impl Into<String>) {
        self.report_at(element.label(), element.line, text);
    }

    /// Adds an error about something that was read before.
    pub(super) fn report_at(&mut self, element: &str, line: u32, text: impl Into<String>) {
        if self.list.len() < limits::MODEL_ERRORS {
            self.list.push(ModelError { element: element.to_owned(), line, text: text.into() });
        }
    }

    /// `true` once something was reported.
    pub(super) fn found_any(&self) -> bool {
        !self.list.is_empty()
    }

    /// The value, or all errors in document order.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Vec<ModelError>> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort_by_key(|error| error.line);
        Err(self.list)
    }
}

impl Element {
    /// `true` for the BPMN element of this name.
    pub(super) fn is_bpmn(&self, name: &str) -> bool {
        self.in_bpmn() && &*self.name == name
    }

    /// `true` for elements of BPMN itself.
    pub(super) fn in_bpmn(&self) -> bool {
        self.namespace.as_deref() == Some(BPMN)
    }

    /// `true` for extension elements of the engine.
    pub(super) fn in_engine(&self) -> bool {
        self.namespace.as_deref().is_some_and(|namespace| ENGINE.contains(&namespace))
    }

    /// The BPMN child elements of this name.
    pub(super) fn bpmn_children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.is_bpmn(name))
    }

    /// The engine's extension elements of this name.
    pub(super) fn engine_extensions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.extensions().filter(move |extension| &*extension.name == name)
    }

    /// All extension elements of the engine.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &Self> {
        self.bpmn_children("extensionElements")
            .flat_map(|extensions| extensions.children.iter())
            .filter(|child| child.in_engine())
    }

    /// Value of an attribute of the engine.
    pub(super) fn engine_attribute(&self, name: &str) -> Option<&str> {
        self.engine_attributes().find(|(attribute, _)| *attribute == name).map(|(_, value)| value)
    }

    /// Attributes of the engine, with or without prefix on extension elements.
    pub(super) fn engine_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .filter(|attribute| attribute.namespace.as_deref().is_some_and(|namespace| ENGINE.contains(&namespace)))
            .map(|attribute| (&*attribute.name, attribute.value.as_str()))
    }

    /// `id`, or the element's name when it has none.
    pub(super) fn label(&self) -> &str {
        self.attribute("id").filter(|id| !id.is_empty()).unwrap_or(&self.name)
    }

    /// `id`; a missing or empty one is reported.
    pub(super) fn id(&self, errors: &mut Errors) -> Option<ElementId> {
        let id = self.attribute("id").map(str::trim).filter(|id| !id.is_empty());
        if id.is_none() {
            errors.report(self, format!("{} has no id", self.name));
        }
        id.map(ElementId::from)
    }

    /// A reference attribute as written, without a name space prefix.
    pub(super) fn reference(&self, name: &str) -> Option<&str> {
        self.attribute(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A boolean attribute of BPMN.
    pub(super) fn flag(&self, name: &str, default: bool, errors: &mut Errors) -> bool {
        parse_flag(self, name, self.attribute(name), default, errors)
    }

    /// A boolean attribute of the engine.
    pub(super) fn engine_flag(&self, name: &str, default: bool, errors: &mut Errors) -> bool {
        parse_flag(self, name, self.engine_attribute(name), default, errors)
    }

    /// Parses an expression and reports what is wrong with it.
    pub(super) fn expression(&self, text: &str, errors: &mut Errors) -> Option<Expression> {
        match Expression::parse(text) {
            Ok(expression) => Some(expression),
            Err(error) => {
                errors.report(self, error.to_string());
                None
            }
        }
    }
}

fn parse_flag(element: &Element, name: &str, value: Option<&str>, default: bool, errors: &mut Errors) -> bool {
    match value.map(str::trim) {
        None | Some("") => default,
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(other) => {
            errors.report(element, format!("attribute {name} is {other:?} instead of true or false"));
            default
        }
    }
}
