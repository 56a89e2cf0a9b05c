//! From criteria to conditions on resources: the mapping that comes with the program, and code trees of the operator.
//!
//! A criterion is found by its context and the code system of its codes. A code that its system cannot have, a system
//! that the context does not know, a filter that the resources do not have: each is an error, never a zero.

mod age;
mod code_system;
mod native;
mod plan;
mod tree;

use std::collections::HashMap;
use std::path::Path;

use crate::ccdl::{Criterion, TermCode};
use crate::error::QueryError;
use crate::limits;
use crate::plan::Code;
use code_system::Form;
use native::{Entry, Native};

pub use native::MappingError;
pub use tree::Tree;

/// The mapping that comes with the program, with the code tree of a file.
pub fn load(code_tree: Option<&Path>) -> Result<Mapping, MappingError> {
    let mapping = Mapping::native()?;
    let Some(path) = code_tree else { return Ok(mapping) };
    let fail = |reason: String| MappingError::Tree { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > limits::TREE_BYTES {
        return Err(fail(format!("it has more than {} bytes", limits::TREE_BYTES)));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let tree = Tree::parse(&bytes).map_err(|error| fail(error.to_string()))?;
    Ok(mapping.with_tree(tree))
}

/// How criteria become conditions.
pub struct Mapping {
    entries: Vec<Entry>,
    forms: HashMap<String, Form>,
    tree: Option<Tree>,
}

// === impl Mapping ===

impl Mapping {
    /// The mapping that comes with the program.
    pub fn native() -> Result<Self, MappingError> {
        Self::parse(include_str!("mapping/native.toml"))
    }

    /// A mapping from its text.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let native = Native::parse(text)?;
        let forms = native.system.into_iter().flat_map(|system| {
            let form = system.form;
            system.url.into_iter().map(move |url| (url, form))
        });
        Ok(Self { forms: forms.collect(), entries: native.criterion, tree: None })
    }

    /// Expands codes by a tree where it has the context.
    #[must_use]
    pub fn with_tree(mut self, tree: Tree) -> Self {
        self.tree = Some(tree);
        self
    }

    /// The entry for a criterion.
    fn entry(&self, criterion: &Criterion) -> Result<&Entry, QueryError> {
        let code =
            criterion.codes.first().ok_or_else(|| QueryError::Unreadable("a criterion without code".to_owned()))?;
        let context = criterion.context.as_ref();
        let fits = |entry: &&Entry| {
            let in_context = context.is_none_or(|context| entry.contexts.contains(&context.code));
            in_context && entry.knows(code)
        };
        self.entries.iter().find(fits).ok_or_else(|| QueryError::NoMapping {
            context: context.map_or_else(|| "(none)".to_owned(), |context| context.code.clone()),
            system: code.system.clone(),
            code: code.code.clone(),
        })
    }

    /// Every code that the codes of a criterion mean.
    fn expand(&self, criterion: &Criterion, entry: &Entry) -> Result<Vec<Code>, QueryError> {
        let mut codes = Vec::new();
        for code in &criterion.codes {
            if !entry.knows(code) {
                return Err(QueryError::NoMapping {
                    context: entry.contexts.first().cloned().unwrap_or_default(),
                    system: code.system.clone(),
                    code: code.code.clone(),
                });
            }
            codes.extend(self.expand_code(criterion.context.as_ref(), code)?);
            if codes.len() > limits::CODES_PER_CRITERION {
                return Err(QueryError::TooLarge { what: "codes in a criterion", limit: limits::CODES_PER_CRITERION });
            }
        }
        Ok(codes)
    }

    fn expand_code(&self, context: Option<&TermCode>, code: &TermCode) -> Result<Vec<Code>, QueryError> {
        let unknown = || QueryError::UnknownCode { system: code.system.clone(), code: code.code.clone() };
        if let (Some(tree), Some(context)) = (&self.tree, context)
            && tree.has(context)
        {
            return tree.expand(context, code).ok_or_else(unknown);
        }
        let form = self.forms.get(&code.system).ok_or_else(unknown)?;
        form.expand(&code.system, &code.code).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests;
