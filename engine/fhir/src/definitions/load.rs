//! Reads the compact tables. They are part of the program, so a malformed line is a mistake of the build; such lines are
//! left out here and the tests count what must be there.

use std::collections::HashMap;

use super::{
    Binding, BindingStrength, Definitions, ElementDefinition, Invariant, TypeDefinition, TypeKind, TypeReference,
    ValueSetCodes,
};

pub(super) const TYPES: &str = include_str!("r4.txt");
const CODES: &str = include_str!("r4-codes.txt");
const INVARIANTS: &str = include_str!("r4-invariants.txt");
const VALUE_SET: &str = "http://hl7.org/fhir/ValueSet/";

/// A type with the elements that it defines itself.
struct Raw {
    definition: TypeDefinition,
    own: Vec<ElementDefinition>,
}

pub(super) fn definitions() -> Definitions {
    let mut raws = raw_types();
    give_open_choices_their_types(&mut raws);
    let by_name: HashMap<_, _> = raws.iter().enumerate().map(|(index, raw)| (raw.definition.name, index)).collect();
    let flattened: Vec<_> = raws.iter().map(|raw| all_elements(raw, &raws, &by_name)).collect();
    let types = raws
        .into_iter()
        .zip(flattened)
        .map(|(raw, elements)| {
            let children = children(&elements, &by_name);
            TypeDefinition { elements, children, ..raw.definition }
        })
        .collect();
    Definitions { types, by_name, value_sets: value_sets(), invariants: invariants() }
}

fn raw_types() -> Vec<Raw> {
    let mut raws: Vec<Raw> = Vec::new();
    for line in TYPES.lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("= ") {
            raws.extend(type_head(head).map(|definition| Raw { definition, own: Vec::new() }));
        } else if let (Some(raw), Some(element)) = (raws.last_mut(), element(line)) {
            raw.own.push(element);
        }
    }
    raws
}

fn type_head(head: &'static str) -> Option<TypeDefinition> {
    let mut fields = head.splitn(4, ' ');
    let (name, base, kind, rest) = (fields.next()?, fields.next()?, fields.next()?, fields.next());
    let kind = match kind {
        "primitive" => TypeKind::Primitive,
        "complex" => TypeKind::Complex,
        "resource" => TypeKind::Resource,
        "backbone" => TypeKind::Backbone,
        _ => return None,
    };
    Some(TypeDefinition {
        name,
        kind,
        base: (base != "-").then_some(base),
        is_abstract: rest == Some("abstract"),
        regex: rest.filter(|_| kind == TypeKind::Primitive),
        elements: Vec::new(),
        children: HashMap::new(),
    })
}

fn element(line: &'static str) -> Option<ElementDefinition> {
    let mut fields = line.split(' ');
    let (name, cardinality, types, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (min, max) = match cardinality {
        "?" => (0, Some(1)),
        "1" => (1, Some(1)),
        "*" => (0, None),
        "+" => (1, None),
        other => {
            let (min, max) = other.split_once("..")?;
            (min.parse().ok()?, if max == "*" { None } else { Some(max.parse().ok()?) })
        }
    };
    let binding = match (fields.next(), fields.next()) {
        (Some(strength), Some(value_set)) => Some(Binding {
            strength: match strength {
                "required" => BindingStrength::Required,
                "extensible" => BindingStrength::Extensible,
                "preferred" => BindingStrength::Preferred,
                _ => BindingStrength::Example,
            },
            value_set: value_set.replacen('~', VALUE_SET, 1),
        }),
        _ => None,
    };
    Some(ElementDefinition {
        name: name.trim_end_matches("[x]"),
        is_choice: name.ends_with("[x]"),
        min,
        max,
        types: if types == "*" { Vec::new() } else { types.split(',').map(type_reference).collect() },
        is_xml_attribute: flags.contains('@'),
        is_summary: flags.contains('S'),
        is_modifier: flags.contains('M'),
        binding,
    })
}

fn type_reference(text: &'static str) -> TypeReference {
    match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((code, targets)) => TypeReference { code, targets: targets.split('|').collect() },
        None => TypeReference { code: text, targets: Vec::new() },
    }
}

/// `*` stands for all data types that may stand in an extension: the primitives and complex types that are neither
/// abstract nor only parts of something.
fn give_open_choices_their_types(raws: &mut [Raw]) {
    let open: Vec<_> =
        OPEN_TYPES.split_ascii_whitespace().map(|code| TypeReference { code, targets: Vec::new() }).collect();
    for element in raws.iter_mut().flat_map(|raw| &mut raw.own).filter(|element| element.types.is_empty()) {
        element.types.clone_from(&open);
    }
}

/// <https://hl7.org/fhir/R4/datatypes.html#open>
const OPEN_TYPES: &str = "base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid \
    positiveInt string time unsignedInt uri url uuid Address Age Annotation Attachment CodeableConcept Coding \
    ContactPoint Count Distance Duration HumanName Identifier Money Period Quantity Range Ratio Reference SampledData \
    Signature Timing ContactDetail Contributor DataRequirement Expression ParameterDefinition RelatedArtifact \
    TriggerDefinition UsageContext Dosage Meta";

fn all_elements(raw: &Raw, raws: &[Raw], by_name: &HashMap<&str, usize>) -> Vec<ElementDefinition> {
    let base = raw.definition.base.and_then(|base| raws.get(*by_name.get(base)?));
    let mut elements = base.map_or_else(Vec::new, |base| all_elements(base, raws, by_name));
    elements.extend(raw.own.iter().cloned());
    elements
}

/// From the names in instances to (element, type in the element, type).
fn children(elements: &[ElementDefinition], by_name: &HashMap<&str, usize>) -> HashMap<String, (usize, usize, usize)> {
    let mut children = HashMap::new();
    for (position, element) in elements.iter().enumerate() {
        for (type_in_element, reference) in element.types.iter().enumerate() {
            if let Some(type_) = by_name.get(reference.code) {
                children.insert(element.instance_name(reference), (position, type_in_element, *type_));
            }
        }
    }
    children
}

fn value_sets() -> HashMap<String, ValueSetCodes> {
    let mut sets: HashMap<String, ValueSetCodes> = HashMap::new();
    let mut current = String::new();
    for line in CODES.lines().filter(|line| !line.starts_with('#')) {
        if let Some(url) = line.strip_prefix("= ") {
            current = url.replacen('~', VALUE_SET, 1);
        } else if let Some((system, codes)) = line.split_once(' ') {
            sets.entry(current.clone()).or_default().groups.push((system, codes.split(' ').collect()));
        }
    }
    sets
}

fn invariants() -> HashMap<&'static str, Vec<Invariant>> {
    let mut invariants: HashMap<_, Vec<_>> = HashMap::new();
    for line in INVARIANTS.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let (Some(path), Some(key), Some(severity), Some(expression), Some(human)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        invariants.entry(path).or_default().push(Invariant { key, is_error: severity == "error", expression, human });
    }
    invariants
}
