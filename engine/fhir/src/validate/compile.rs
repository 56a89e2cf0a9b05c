//! From StructureDefinitions to a [`CompiledProfile`].
//!
//! The chain of `baseDefinition` is followed down to the type of R4, and the differentials are merged from there upwards
//! into one tree. This replaces the snapshot: what R4 itself says about elements is checked from the tables, so only what
//! profiles add has to be merged. Constraints only ever narrow: the greater minimum and the smaller maximum win.

mod merge;
mod resolve;

use std::sync::Arc;

use super::profile::{CompiledProfile, Constraints};
use super::{ProfileSource, limits};
use crate::Resource;
use crate::canonical::Canonical;
use crate::definitions::definitions;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// A profile cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("profile {0} is not known")]
    Unknown(String),
    #[error("profile {profile} is based on {base}, which is not known")]
    UnknownBase { profile: String, base: String },
    #[error("profile {0} needs itself")]
    Circular(String),
    #[error("profile {0} has too many bases or needs profiles too deep")]
    TooDeep(String),
    #[error("profile {profile} has more than {limit} elements")]
    TooLarge { profile: String, limit: usize },
    #[error("profile {profile} is malformed at {element}: {fault}")]
    Malformed { profile: String, element: String, fault: &'static str },
}

/// Compiles profiles, and remembers which are being compiled.
pub(crate) struct Compiler<'s> {
    source: &'s dyn ProfileSource,
    stack: Vec<String>,
}

/// The name of the R4 type whose definition has this canonical.
pub(crate) fn core_type(canonical: &str) -> Option<&'static str> {
    let name = canonical.split('|').next()?.strip_prefix(CORE)?;
    definitions().type_(name).map(|definition| definition.name)
}

impl<'s> Compiler<'s> {
    pub(crate) const fn new(source: &'s dyn ProfileSource) -> Self {
        Self { source, stack: Vec::new() }
    }

    /// The compiled form of the profile, kept or new.
    pub(crate) fn compile(&mut self, canonical: &str) -> Result<Arc<CompiledProfile>, ProfileError> {
        if let Some(kept) = self.source.compiled(canonical) {
            return Ok(kept);
        }
        if let Some(type_name) = core_type(canonical) {
            return Ok(Arc::new(empty(canonical, type_name)));
        }
        if self.stack.len() >= limits::NESTED_PROFILES {
            return Err(ProfileError::TooDeep(canonical.to_owned()));
        }
        let (chain, type_name) = self.chain(canonical)?;
        let Some(definition) = chain.first() else { return Err(ProfileError::Unknown(canonical.to_owned())) };
        let identity =
            format!("{}|{}", definition.str("url").unwrap_or_default(), definition.str("version").unwrap_or_default());
        if self.stack.contains(&identity) {
            return Err(ProfileError::Circular(canonical.to_owned()));
        }
        let mut root = Constraints::default();
        for definition in chain.iter().rev() {
            merge::merge(&mut root, definition)?;
        }
        self.stack.push(identity);
        self.resolve(&mut root, &type_name);
        self.stack.pop();
        let profile = Arc::new(CompiledProfile {
            url: definition.str("url").unwrap_or_default().to_owned(),
            version: definition.str("version").map(str::to_owned),
            type_name,
            contexts: contexts(definition),
            root,
        });
        // What was cut off by a circle or by depth belongs to this way of reaching the profile, so only complete ones stay.
        if self.stack.is_empty() {
            self.source.keep(canonical, &profile);
        }
        Ok(profile)
    }

    /// The definitions from the profile to the one that is based on a type of R4, and that type.
    fn chain(&self, canonical: &str) -> Result<(Vec<Arc<Resource>>, String), ProfileError> {
        let mut chain: Vec<Arc<Resource>> = Vec::new();
        let mut next = canonical.to_owned();
        loop {
            if chain.len() >= limits::CHAIN {
                return Err(ProfileError::TooDeep(canonical.to_owned()));
            }
            let found = Canonical::parse(&next)
                .and_then(|wanted| self.source.structure_definition(&wanted.url, wanted.version.as_deref()));
            let Some(definition) = found else {
                return Err(if chain.is_empty() {
                    ProfileError::Unknown(canonical.to_owned())
                } else {
                    ProfileError::UnknownBase { profile: canonical.to_owned(), base: next }
                });
            };
            let base = definition.str("baseDefinition").map(str::to_owned);
            chain.push(definition);
            let Some(base) = base else {
                return Err(ProfileError::Malformed {
                    profile: next,
                    element: "StructureDefinition.baseDefinition".to_owned(),
                    fault: "is missing",
                });
            };
            if let Some(type_name) = core_type(&base) {
                return Ok((chain, type_name.to_owned()));
            }
            next = base;
        }
    }
}

fn empty(canonical: &str, type_name: &str) -> CompiledProfile {
    CompiledProfile {
        url: canonical.split('|').next().unwrap_or(canonical).to_owned(),
        version: None,
        type_name: type_name.to_owned(),
        contexts: Vec::new(),
        root: Constraints::default(),
    }
}

fn contexts(definition: &Resource) -> Vec<String> {
    let contexts = definition.list("context");
    // A context by FHIRPath or by enclosing extension is not checked; then neither are the others, any of which may hold.
    if contexts.iter().any(|context| context.str("type") != Some("element")) {
        return Vec::new();
    }
    contexts.iter().filter_map(|context| context.str("expression")).map(str::to_owned).collect()
}
