//! Code trees of the operator, in the form of the public mapping archive: for every context the codes and what is below.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::ccdl::TermCode;
use crate::error::QueryError;
use crate::limits;
use crate::plan::Code;

/// Codes by context.
#[derive(Debug, Default)]
pub struct Tree {
    modules: HashMap<(String, String), Module>,
}

#[derive(Debug, Default)]
struct Module {
    by_code: HashMap<TermCode, Vec<usize>>,
    entries: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    code: TermCode,
    children: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTree {
    Modules(Vec<RawModule>),
    One(RawModule),
}

#[derive(Deserialize)]
struct RawModule {
    context: TermCode,
    entries: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry {
    key: String,
    term_code: TermCode,
    #[serde(default)]
    children: Vec<String>,
}

// === impl Tree ===

impl Tree {
    /// Reads a tree or a list of trees.
    pub fn parse(bytes: &[u8]) -> Result<Self, QueryError> {
        let raw: RawTree =
            serde_json::from_slice(bytes).map_err(|error| QueryError::Unreadable(format!("the code tree: {error}")))?;
        let modules = match raw {
            RawTree::Modules(modules) => modules,
            RawTree::One(module) => vec![module],
        };
        let mut tree = Self::default();
        for raw in modules {
            if raw.entries.len() > limits::TREE_CODES {
                return Err(QueryError::TooLarge { what: "codes in the code tree", limit: limits::TREE_CODES });
            }
            tree.modules.insert((raw.context.system, raw.context.code), Module::new(raw.entries)?);
        }
        Ok(tree)
    }

    pub(super) fn has(&self, context: &TermCode) -> bool {
        self.module(context).is_some()
    }

    fn module(&self, context: &TermCode) -> Option<&Module> {
        self.modules.get(&(context.system.clone(), context.code.clone()))
    }

    /// The code and everything below; `None` if the context does not have it.
    pub(super) fn expand(&self, context: &TermCode, code: &TermCode) -> Option<Vec<Code>> {
        let module = self.module(context)?;
        let mut open: Vec<usize> = module.by_code.get(code)?.clone();
        let (mut seen, mut found) = (HashSet::new(), HashSet::new());
        while let Some(index) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            let Some(node) = module.entries.get(index) else { continue };
            found.insert(Code::exact(node.code.system.as_str(), node.code.code.as_str()));
            open.extend(&node.children);
        }
        let mut found: Vec<Code> = found.into_iter().collect();
        found.sort();
        Some(found)
    }
}

impl Module {
    fn new(raw: Vec<RawEntry>) -> Result<Self, QueryError> {
        let places: HashMap<String, usize> =
            raw.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
        let mut module = Self::default();
        for entry in raw {
            let place = |key: &String| {
                let missing =
                    || QueryError::Unreadable(format!("the code tree: {} has a child that is not there", entry.key));
                places.get(key).copied().ok_or_else(missing)
            };
            let children = entry.children.iter().map(place).collect::<Result<_, _>>()?;
            module.by_code.entry(entry.term_code.clone()).or_default().push(module.entries.len());
            module.entries.push(Node { code: entry.term_code, children });
        }
        Ok(module)
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;
    use crate::ccdl::TermCode;

    fn code(code: &str) -> TermCode {
        TermCode { system: "s".to_owned(), code: code.to_owned() }
    }

    #[test]
    fn a_code_means_everything_below_it_even_in_a_tree_with_a_loop() {
        let text = r#"[{"context":{"system":"x","code":"D","display":"d"},"entries":[
            {"key":"1","termCode":{"system":"s","code":"A"},"children":["2","3"]},
            {"key":"2","termCode":{"system":"s","code":"B"},"children":["1"]},
            {"key":"3","termCode":{"system":"s","code":"C"}}]}]"#;
        let tree = Tree::parse(text.as_bytes()).unwrap();
        let context = TermCode { system: "x".to_owned(), code: "D".to_owned() };
        let expand = |name: &str| {
            Some(tree.expand(&context, &code(name))?.into_iter().map(|code| code.code).collect::<Vec<_>>())
        };
        assert_eq!(expand("A"), Some(vec!["A".into(), "B".into(), "C".into()]));
        assert_eq!(expand("C"), Some(vec!["C".into()]));
        assert_eq!(expand("X"), None);
    }

    #[test]
    fn a_tree_with_a_missing_child_is_refused() {
        let text = r#"{"context":{"system":"x","code":"D"},"entries":[{"key":"1","termCode":{"system":"s","code":"A"},"children":["9"]}]}"#;
        assert!(Tree::parse(text.as_bytes()).is_err());
        assert!(Tree::parse(b"[]]").is_err());
    }
}
