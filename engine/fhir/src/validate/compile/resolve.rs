//! Resolves what merged constraints name, and works out by what slices are told apart.

use std::sync::Arc;

use super::{Compiler, core_type};
use crate::Value;
use crate::canonical::Canonical;
use crate::validate::fhirpath::Expression;
use crate::validate::profile::{
    Constraints, Criterion, Discriminator, DiscriminatorKind, Problem, ProfileLink, Rules, Slice, Slicing,
    TypeConstraint,
};
use crate::validate::terminology;

impl Compiler<'_> {
    /// Resolves the constraints of the element and everything below.
    pub(super) fn resolve(&mut self, constraints: &mut Constraints, name: &str) {
        for type_ in &mut constraints.types {
            self.resolve_type(type_);
        }
        if let Some(binding) = &mut constraints.binding {
            binding.codes = terminology::expand(&binding.value_set, self.source).map(Arc::new);
        }
        for (child, constraints) in &mut constraints.children {
            self.resolve(constraints, child);
        }
        for slice in &mut constraints.slices {
            self.resolve(&mut slice.constraints, name);
        }
        resolve_slicing(constraints, name);
    }

    fn resolve_type(&mut self, type_: &mut TypeConstraint) {
        for link in &mut type_.profiles {
            match self.compile(&link.canonical) {
                Ok(profile) => link.profile = Some(profile),
                Err(error) => link.reason = Some(error.to_string()),
            }
        }
        for target in &mut type_.targets {
            target.type_name = match core_type(&target.canonical) {
                Some(name) => Some(name.to_owned()),
                None => Canonical::parse(&target.canonical)
                    .and_then(|wanted| self.source.structure_definition(&wanted.url, wanted.version.as_deref()))
                    .and_then(|definition| definition.str("type").map(str::to_owned)),
            };
        }
    }
}

fn resolve_slicing(constraints: &mut Constraints, name: &str) {
    if constraints.slices.is_empty() {
        return;
    }
    if constraints.slicing.is_none() {
        constraints.slicing = implied_slicing(name);
    }
    let Some(slicing) = &constraints.slicing else {
        constraints.problems.push(Problem::error("the profile has slices without slicing".to_owned()));
        return;
    };
    for discriminator in &slicing.discriminators {
        if discriminator.kind == DiscriminatorKind::Unsupported {
            constraints
                .problems
                .push(Problem::error(format!("slicing by the profile of {} is not supported", discriminator.path)));
        }
        if let Err(reason) = &discriminator.expression {
            constraints
                .problems
                .push(Problem::error(format!("slicing by {} is not supported: {reason}", discriminator.path)));
        }
    }
    for slice in &mut constraints.slices {
        slice.criteria = slicing.discriminators.iter().map(|discriminator| criterion(discriminator, slice)).collect();
        let tells_nothing = slice.criteria.iter().all(|criterion| matches!(criterion, Criterion::Any));
        if tells_nothing && slice.name != super::super::DEFAULT_SLICE {
            constraints.problems.push(Problem::error(format!("slice {} has nothing that tells it apart", slice.name)));
        }
    }
}

/// Extensions are sliced by url and choices by type without saying so.
fn implied_slicing(name: &str) -> Option<Slicing> {
    let (kind, path) = match name {
        "extension" | "modifierExtension" => (DiscriminatorKind::Value, "url"),
        _ if name.ends_with("[x]") => (DiscriminatorKind::Type, "$this"),
        _ => return None,
    };
    let expression = Expression::compile(path).map_err(|error| error.to_string());
    let discriminator = Discriminator { kind, path: path.to_owned(), expression };
    Some(Slicing { discriminators: vec![discriminator], rules: Rules::Open, is_ordered: false })
}

fn criterion(discriminator: &Discriminator, slice: &Slice) -> Criterion {
    let path: Vec<&str> = discriminator.path.split('.').filter(|step| *step != "$this").collect();
    match discriminator.kind {
        DiscriminatorKind::Value => wanted(&slice.constraints, &path).unwrap_or(Criterion::Any),
        DiscriminatorKind::Exists => match find(&slice.constraints, &path) {
            Some(element) if element.max == Some(0) => Criterion::Absent,
            Some(element) if element.min > 0 => Criterion::Present,
            _ => Criterion::Any,
        },
        DiscriminatorKind::Type => match find(&slice.constraints, &path) {
            Some(element) if !element.types.is_empty() => {
                Criterion::Types(element.types.iter().map(|type_| type_.code.clone()).collect())
            }
            _ => Criterion::Any,
        },
        DiscriminatorKind::Unsupported => Criterion::Any,
    }
}

/// The constraints at the path below the element.
fn find<'c>(constraints: &'c Constraints, path: &[&str]) -> Option<&'c Constraints> {
    match path.split_first() {
        None => Some(constraints),
        Some((step, rest)) => {
            let child = constraints.child(step).or_else(|| constraints.child(&format!("{step}[x]")));
            child.and_then(|child| find(child, rest))
        }
    }
}

/// What the slice wants at the path: a fixed value or pattern on the way, a binding, or mere presence.
fn wanted(constraints: &Constraints, path: &[&str]) -> Option<Criterion> {
    if let Some(value) = constraints.fixed.as_ref().and_then(|fixed| part(fixed, path)) {
        return Some(Criterion::Fixed(value.clone()));
    }
    if let Some(value) = constraints.pattern.as_ref().and_then(|pattern| part(pattern, path)) {
        return Some(Criterion::Pattern(value.clone()));
    }
    let Some((step, rest)) = path.split_first() else {
        let codes = constraints.binding.as_ref().and_then(|binding| binding.codes.clone());
        return codes.map(Criterion::Member).or_else(|| presence(constraints));
    };
    let child = constraints.child(step).or_else(|| constraints.child(&format!("{step}[x]")));
    if let Some(found) = child.and_then(|child| wanted(child, rest)) {
        return Some(found);
    }
    let links = constraints.types.iter().flat_map(|type_| &type_.profiles);
    links.into_iter().find_map(|link| wanted_by_profile(link, path))
}

fn wanted_by_profile(link: &ProfileLink, path: &[&str]) -> Option<Criterion> {
    if let Some(found) = link.profile.as_ref().and_then(|profile| wanted(&profile.root, path)) {
        return Some(found);
    }
    // The url of an extension is the canonical of its profile, known or not.
    (path == ["url"]).then(|| {
        let url = link.canonical.split('|').next().unwrap_or_default();
        Criterion::Fixed(Value::from(url))
    })
}

fn presence(constraints: &Constraints) -> Option<Criterion> {
    match (constraints.min, constraints.max) {
        (_, Some(0)) => Some(Criterion::Absent),
        (0, _) => None,
        _ => Some(Criterion::Present),
    }
}

/// The part of a fixed value at the path; a primitive is its own `value`.
fn part<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    match (value, path.split_first()) {
        (_, None) => Some(value),
        (Value::Array(elements), Some(_)) => match elements.as_slice() {
            [only] => part(only, path),
            _ => None,
        },
        (Value::Object(object), Some((step, rest))) => object.get(step).and_then(|value| part(value, rest)),
        (_, Some((step, []))) if *step == "value" => Some(value),
        _ => None,
    }
}
