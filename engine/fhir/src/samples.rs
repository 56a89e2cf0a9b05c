//! Resources for tests: random ones that use every corner of the tables, and the published ones beside the repository.

use std::path::{Path, PathBuf};

use crate::definitions::{ElementDefinition, TypeDefinition, TypeKind, TypeReference, definitions};
use crate::{Number, Object, Resource, Value};

/// A small generator of numbers (xorshift), so that a failing case is told by its seed.
pub(crate) struct Random(u64);

const TEXTS: &[&str] = &[
    "a",
    "ä€😀",
    "line\nfeed",
    "tab\tand\rreturn",
    "<&>\"'",
    "  blanks  ",
    "]]>",
    "&#10;",
    "#{version}",
    "http://x.example/y|1.0",
];
const NUMBERS: &[&str] = &["0", "-1", "1.00", "1E5", "12345678901234567890123456789", "-0.5e-3"];
const DIV: &str = "<div xmlns=\"http://www.w3.org/1999/xhtml\">\n <p title=\"a &amp; b\">x<br/>&lt;y&gt;</p></div>";

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    /// A resource of any type of R4.
    pub(crate) fn resource(&mut self) -> Resource {
        let types: Vec<_> = definitions()
            .types()
            .iter()
            .filter(|definition| definition.kind == TypeKind::Resource && !definition.is_abstract)
            .collect();
        let definition = types[self.below(types.len())];
        Resource::from_tree(self.object(definition, 4)).unwrap()
    }

    /// An instance in schema order, never empty.
    fn object(&mut self, definition: &'static TypeDefinition, depth: usize) -> Object {
        let mut object = Object::new();
        if definition.kind == TypeKind::Resource {
            object.set("resourceType", definition.name);
        }
        let likely = if definition.elements().len() < 6 { 2 } else { 6 };
        for element in definition.elements() {
            if depth > 0 && self.one_in(likely) {
                self.element(element, &mut object, depth - 1);
            }
        }
        if object.is_empty() {
            object.set("id", "i");
        }
        object
    }

    fn element(&mut self, element: &ElementDefinition, object: &mut Object, depth: usize) {
        let reference = &element.types[self.below(element.types.len())];
        let name = element.instance_name(reference);
        let count = if element.is_list() { 1 + self.below(3) } else { 1 };
        let mut values = Vec::new();
        let mut extras = Vec::new();
        for _ in 0..count {
            let (value, extra) = self.value(element, reference, depth);
            values.push(value);
            extras.push(extra);
        }
        let mut add = |name: &str, mut values: Vec<Value>| {
            if values.iter().any(|value| *value != Value::Null) {
                object.set(name, if element.is_list() { Value::Array(values) } else { values.remove(0) });
            }
        };
        add(&name, values);
        add(&format!("_{name}"), extras);
    }

    fn value(&mut self, element: &ElementDefinition, reference: &TypeReference, depth: usize) -> (Value, Value) {
        let definition = definitions().type_(reference.code).unwrap();
        match definition.kind {
            TypeKind::Complex | TypeKind::Backbone => (Value::Object(self.object(definition, depth)), Value::Null),
            TypeKind::Resource => {
                let patient = definitions().resource("Patient").unwrap();
                (Value::Object(self.object(patient, depth.min(2))), Value::Null)
            }
            TypeKind::Primitive if reference.code == "xhtml" => (Value::from(DIV), Value::Null),
            TypeKind::Primitive => {
                let value = self.primitive(reference.code);
                if element.is_xml_attribute || depth == 0 || !self.one_in(4) {
                    return (value, Value::Null);
                }
                let extra = self.object(definitions().type_("Element").unwrap(), depth);
                (if self.one_in(3) { Value::Null } else { value }, Value::Object(extra))
            }
        }
    }

    fn primitive(&mut self, code: &str) -> Value {
        match code {
            "boolean" => Value::Bool(self.one_in(2)),
            "decimal" | "integer" | "unsignedInt" | "positiveInt" => {
                Value::Number(Number::parse(self.pick(NUMBERS)).unwrap())
            }
            _ => Value::from(self.pick(TEXTS)),
        }
    }
}

/// The published resources with this file ending; says so if they are not there.
pub(crate) fn fixtures(ending: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let mut files = Vec::new();
    for folder in ["fixtures", "bpmn-plugins"] {
        find(&root.join(folder), ending, &mut files);
    }
    if files.is_empty() {
        println!("skipped: no *.{ending} under {}", root.display());
    }
    files.sort();
    files
}

fn find(folder: &Path, ending: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, ending, files);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            files.push(path);
        }
    }
}
